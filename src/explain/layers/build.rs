//! Makes a printed layer.

use super::text::{ModelError, Module};
use crate::nn;
use std::str::FromStr;
use tch::nn::Path;

/// The kind of a printed module.
pub(in crate::explain) enum Built {
    /// A layer, which was made.
    Layer,
    /// A module with children and without parameters.
    Container,
    /// A module whose print does not show whether it has parameters.
    Opaque,
}

/// Modules of `torch.nn` whose parameters are copies or are drawn again after they were made.
const REDRAWN: [&str; 3] = ["TransformerEncoder", "TransformerDecoder", "Transformer"];

/// Modules that hold parameters which their print does not name, or that have none yet.
const HIDDEN: [&str; 2] = ["AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss"];

/// Makes a layer at a path.
pub(in crate::explain) fn layer(root: &Path<'_>, module: &Module) -> Result<Built, ModelError> {
    let p = Printed { module };
    match module.class.as_str() {
        "Linear" => {
            let config = nn::LinearConfig {
                bias: p.flag("bias", true)?,
                ..Default::default()
            };
            nn::f_linear(
                root,
                p.int("in_features", None)?,
                p.int("out_features", None)?,
                config,
            )?;
        }
        "Bilinear" => {
            let config = nn::BilinearConfig {
                bias: p.flag("bias", true)?,
                ..Default::default()
            };
            let [one, two, out] = ["in1_features", "in2_features", "out_features"];
            nn::f_bilinear(
                root,
                p.int(one, None)?,
                p.int(two, None)?,
                p.int(out, None)?,
                config,
            )?;
        }
        "Conv1d" => p.conv::<1>(root)?,
        "Conv2d" => p.conv::<2>(root)?,
        "Conv3d" => p.conv::<3>(root)?,
        "ConvTranspose1d" | "ConvTranspose2d" | "ConvTranspose3d" => p.conv_transpose(root)?,
        "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d" | "SyncBatchNorm" => {
            let config = nn::SyncBatchNormConfig {
                affine: p.flag("affine", true)?,
                track_running_stats: p.flag("track_running_stats", true)?,
                ..Default::default()
            };
            nn::f_sync_batch_norm(root, p.int("num_features", Some(0))?, config)?;
        }
        "InstanceNorm1d" | "InstanceNorm2d" | "InstanceNorm3d" => {
            let config = nn::InstanceNormConfig {
                affine: p.flag("affine", false)?,
                track_running_stats: p.flag("track_running_stats", false)?,
                ..Default::default()
            };
            nn::f_instance_norm2d(root, p.int("num_features", Some(0))?, config)?;
        }
        "LayerNorm" => {
            if p.module.argument("bias", None) == Some("False") {
                return Err(p.refuse("its bias is left out, which tch cannot"));
            }
            let config = nn::LayerNormConfig {
                elementwise_affine: p.flag("elementwise_affine", true)?,
                ..Default::default()
            };
            nn::f_layer_norm(root, p.ints("normalized_shape", Some(0))?, config)?;
        }
        "RMSNorm" => {
            let config = nn::RMSNormConfig {
                elementwise_affine: p.flag("elementwise_affine", true)?,
                ..Default::default()
            };
            nn::f_rms_norm(root, p.ints("normalized_shape", Some(0))?, config)?;
        }
        "GroupNorm" => {
            let config = nn::GroupNormConfig {
                affine: p.flag("affine", true)?,
                ..Default::default()
            };
            let (groups, channels) = (
                p.int("num_groups", Some(0))?,
                p.int("num_channels", Some(1))?,
            );
            nn::f_group_norm(root, groups, channels, config)?;
        }
        "Embedding" => {
            let options = nn::EmbeddingOptions {
                padding_idx: p.optional("padding_idx")?,
                ..Default::default()
            };
            nn::f_embedding_with(
                root,
                p.int("num_embeddings", Some(0))?,
                p.int("embedding_dim", Some(1))?,
                options,
            )?;
        }
        "EmbeddingBag" => {
            let config = nn::EmbeddingBagConfig {
                padding_idx: p.optional("padding_idx")?,
                ..Default::default()
            };
            nn::f_embedding_bag(
                root,
                p.int("num_embeddings", Some(0))?,
                p.int("embedding_dim", Some(1))?,
                config,
            )?;
        }
        "PReLU" => {
            let config = nn::PReLUConfig {
                num_parameters: p.int("num_parameters", None)?,
                ..Default::default()
            };
            nn::f_prelu(root, config)?;
        }
        "RNN" | "LSTM" | "GRU" => p.recurrent(root)?,
        "RNNCell" | "LSTMCell" | "GRUCell" => {
            let config = nn::RNNCellConfig {
                bias: p.flag("bias", true)?,
                ..Default::default()
            };
            let (input, hidden) = (
                p.int("input_size", Some(0))?,
                p.int("hidden_size", Some(1))?,
            );
            match module.class.as_str() {
                "RNNCell" => drop(nn::f_rnn_cell(
                    root,
                    input,
                    hidden,
                    nn::RnnNonlinearity::Tanh,
                    config,
                )?),
                "LSTMCell" => drop(nn::f_lstm_cell(root, input, hidden, config)?),
                _ => drop(nn::f_gru_cell(root, input, hidden, config)?),
            }
        }
        "MultiheadAttention" => p.attention(root)?,
        class if REDRAWN.contains(&class) => {
            return Err(p.refuse("it copies or redraws the layers that its print shows"));
        }
        class if HIDDEN.contains(&class) => {
            return Err(p.refuse("its print does not show how its parameters are drawn"));
        }
        class if class.starts_with("Lazy") => {
            return Err(p.refuse("it has no parameters until its first input"));
        }
        "ParameterList" | "ParameterDict" => {
            return Err(p.refuse("its print does not show how its parameters are drawn"));
        }
        _ if !module.children.is_empty() => return Ok(Built::Container),
        _ if root.components().next().is_none() => return Err(p.refuse("it has no layers")),
        _ => return Ok(Built::Opaque),
    }
    Ok(Built::Layer)
}

/// A print whose arguments are asked for.
struct Printed<'a> {
    module: &'a Module,
}

impl Printed<'_> {
    fn refuse(&self, reason: &str) -> ModelError {
        ModelError::Layer {
            line: self.module.line,
            class: self.module.class.clone(),
            reason: reason.to_owned(),
        }
    }

    fn parse<T: FromStr>(&self, name: &str, value: &str) -> Result<T, ModelError> {
        let wrong = |_| self.refuse(&format!("{name} = `{value}` is not what is printed there"));
        value.parse().map_err(wrong)
    }

    fn int(&self, name: &str, place: Option<usize>) -> Result<i64, ModelError> {
        match self.module.argument(name, place) {
            Some(value) => self.parse(name, value),
            None => Err(self.refuse(&format!("{name} is not printed"))),
        }
    }

    fn optional(&self, name: &str) -> Result<Option<i64>, ModelError> {
        match self.module.argument(name, None) {
            None | Some("None") => Ok(None),
            Some(value) => self.parse(name, value).map(Some),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.module.argument(name, None) {
            None => Ok(default),
            Some("True") => Ok(true),
            Some("False") => Ok(false),
            Some(value) => {
                Err(self.refuse(&format!("{name} = `{value}` is neither True nor False")))
            }
        }
    }

    /// `(3, 3)` or `3`.
    fn ints(&self, name: &str, place: Option<usize>) -> Result<Vec<i64>, ModelError> {
        let Some(value) = self.module.argument(name, place) else {
            return Err(self.refuse(&format!("{name} is not printed")));
        };
        value
            .trim_matches(['(', ')', '[', ']'])
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| self.parse(name, part))
            .collect()
    }

    fn conv<const N: usize>(&self, root: &Path<'_>) -> Result<(), ModelError> {
        let kernel = self.ints("kernel_size", None)?;
        let kernel: [i64; N] = match (kernel.as_slice().try_into(), kernel.as_slice()) {
            (Ok(kernel), _) => kernel,
            (_, [one]) => [*one; N],
            _ => return Err(self.refuse("kernel_size has another number of dimensions")),
        };
        let config = nn::ConvConfigND {
            stride: [1; N],
            padding: [0; N],
            dilation: [1; N],
            groups: self.optional("groups")?.unwrap_or(1),
            bias: self.flag("bias", true)?,
            ws_init: nn::init::PYTORCH_DEFAULT,
            bs_init: nn::init::PYTORCH_DEFAULT,
            padding_mode: nn::PaddingMode::Zeros,
        };
        nn::f_conv(
            root,
            self.int("in_channels", Some(0))?,
            self.int("out_channels", Some(1))?,
            kernel,
            config,
        )?;
        Ok(())
    }

    fn conv_transpose(&self, root: &Path<'_>) -> Result<(), ModelError> {
        let kernel = self.ints("kernel_size", None)?;
        let [size, rest @ ..] = kernel.as_slice() else {
            return Err(self.refuse("kernel_size is empty"));
        };
        if rest.iter().any(|other| other != size) {
            return Err(self.refuse("its kernel has unequal sides, which tch cannot"));
        }
        let config = nn::ConvTransposeConfig {
            groups: self.optional("groups")?.unwrap_or(1),
            bias: self.flag("bias", true)?,
            ..Default::default()
        };
        let (inputs, outputs) = (
            self.int("in_channels", Some(0))?,
            self.int("out_channels", Some(1))?,
        );
        match self.module.class.as_str() {
            "ConvTranspose1d" => drop(nn::f_conv_transpose1d(
                root, inputs, outputs, *size, config,
            )?),
            "ConvTranspose2d" => drop(nn::f_conv_transpose2d(
                root, inputs, outputs, *size, config,
            )?),
            _ => drop(nn::f_conv_transpose3d(
                root, inputs, outputs, *size, config,
            )?),
        }
        Ok(())
    }

    fn recurrent(&self, root: &Path<'_>) -> Result<(), ModelError> {
        let config = nn::RNNConfig {
            has_biases: self.flag("bias", true)?,
            num_layers: self.optional("num_layers")?.unwrap_or(1),
            bidirectional: self.flag("bidirectional", false)?,
            ..Default::default()
        };
        let (input, hidden) = (
            self.int("input_size", Some(0))?,
            self.int("hidden_size", Some(1))?,
        );
        match (self.module.class.as_str(), self.optional("proj_size")?) {
            ("LSTM", Some(projection)) if projection != 0 => {
                drop(nn::f_projected_lstm(
                    root, input, hidden, projection, config,
                )?);
            }
            ("LSTM", _) => drop(nn::f_lstm(root, input, hidden, config)?),
            ("GRU", _) => drop(nn::f_gru(root, input, hidden, config)?),
            _ => drop(nn::f_rnn(
                root,
                input,
                hidden,
                nn::RnnNonlinearity::Tanh,
                config,
            )?),
        }
        Ok(())
    }

    /// Only the projection of the outputs is printed; sizes of keys and values that differ from it
    /// are not, and the number of heads does not matter to what is drawn.
    fn attention(&self, root: &Path<'_>) -> Result<(), ModelError> {
        let projection = self
            .module
            .children
            .iter()
            .find(|(name, _)| name == "out_proj");
        let Some((_, projection)) = projection else {
            return Err(self.refuse("out_proj is not printed"));
        };
        let printed = Printed { module: projection };
        let config = nn::MultiheadAttentionConfig {
            bias: printed.flag("bias", true)?,
            ..Default::default()
        };
        nn::f_multihead_attention(root, printed.int("out_features", None)?, 1, config)?;
        Ok(())
    }
}
