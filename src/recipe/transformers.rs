//! Language models, of Hugging Face's transformers.

use super::{fill_bias, name};
use crate::error::{Context, InitError};
use crate::init::{normal_, ones_, xavier_uniform_, zeros_};
use crate::nn::LayerKind;
use crate::walk::Layer;

/// The initialization of transformers' GPT-2, by transformers' names: weights of linear layers,
/// convolutions, `Conv1D` and embeddings normal of std `initializer_range` with zero biases,
/// normalizations weight one and bias zero, LSTMs Xavier uniform with zero biases; and then the
/// weights of the residual projections `c_proj` once more, of std
/// `initializer_range / sqrt(2 n_layer)`.
///
/// transformers' default of `initializer_range`: 0.02; as there, 0 means 0.02 but for `Conv1D` and
/// the residual projections. GPT-2 small has an `n_layer` of 12.
///
/// A `Conv1D` is a linear layer whose weight is transposed, `[inputs, outputs]`: two
/// variables, `weight` of two dimensions and `bias` as long as the second. `nn::linear` has the
/// same distribution there, and other bits unless its weight is transposed. The row of an
/// embedding's padding is zero where the layer says which it is.
///
/// Draws one weight after the other in the order of the visit, a residual projection's two times in
/// a row. A model of this crate's layers, with `Conv1D` weights drawn as `normal_(0, 0.02)`, made
/// in the order of `GPT2Model`'s `state_dict` and then visited, has the bits of
/// `GPT2Model(config)` after the same seed. `GPT2LMHeadModel` makes, fills and then ties its
/// `lm_head` after that model: leave it out of the `VarStore` and use the weight of `wte`.
///
/// Source: `_init_weights` in `modeling_gpt2.py` and `modeling_utils.py`, transformers 5.23.0.
///
/// # Errors
///
/// The visitor's: [`InitError::Argument`] at a residual projection if `n_layer` is not positive;
/// [`InitError`] if a parameter cannot be filled.
///
/// ```
/// use tch::nn::{Init, VarStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let c_proj = vs.root() / "h" / 0 / "mlp" / "c_proj";
/// let weight = c_proj.var("weight", &[32, 8], Init::Const(0.0));
/// c_proj.var("bias", &[8], Init::Const(7.0));
/// tch_init::apply(&vs, tch_init::recipe::gpt2(2, 0.02))?;
/// assert!((weight.std(true).double_value(&[]) - 0.01).abs() < 0.002);
/// # Ok(())
/// # }
/// ```
pub fn gpt2(
    n_layer: i64,
    initializer_range: f64,
) -> impl FnMut(&mut Layer<'_>) -> Result<(), InitError> {
    move |layer: &mut Layer<'_>| {
        if is_conv1d(layer) {
            layer.fill("weight", |weight, generator| {
                normal_(weight, 0.0, initializer_range, generator)
            })?;
            fill_bias(layer, 0.0)?;
        } else {
            init_weights(layer, initializer_range, None)?;
            layer.report_unknown(&[]);
        }
        if name(layer.path()) != "c_proj" {
            return Ok(());
        }
        // transformers draws when it visits the module around `c_proj`, whose last child that is.
        if n_layer <= 0 {
            return Err(InitError::Argument {
                function: "gpt2",
                argument: "n_layer",
                value: n_layer as f64,
                reason: "residual projections need a positive number of layers",
                shape: None,
            });
        }
        let std = initializer_range / (2.0 * n_layer as f64).sqrt();
        layer.fill("weight", |weight, generator| {
            normal_(weight, 0.0, std, generator)
        })
    }
}

/// The initialization of transformers' BERT: weights of linear layers, convolutions and embeddings
/// normal of std `initializer_range` with zero biases, the row of the padding zero, normalizations
/// weight one and bias zero, LSTMs Xavier uniform with zero biases, and the bias of the masked
/// language model's `predictions` zero.
///
/// transformers' defaults: an `initializer_range` of 0.02 (as there, 0 means that too) and a
/// `pad_token_id` of 0, whose row of `word_embeddings` stays zero. Other embeddings have such a row
/// where the layer says so.
///
/// Draws one weight after the other in the order of the visit. A model of this crate's layers, made
/// in the order of `BertModel`'s `state_dict` and then visited, has the bits of
/// `BertModel(config)` after the same seed. The models with heads make and fill those after that
/// model, and tie the decoder's weight last: leave that out of the `VarStore`.
///
/// Source: `_init_weights` in `modeling_bert.py` and `modeling_utils.py`, transformers 5.23.0.
///
/// # Errors
///
/// The visitor's: [`InitError`] if a parameter cannot be filled or has no row `pad_token_id`.
///
/// ```
/// use tch::nn::{self, VarStore};
/// use tch_init::Walk;
/// use tch_init::nn::LayerKind;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let path = vs.root() / "embeddings" / "word_embeddings";
/// let words = nn::embedding(path, 10, 4, Default::default());
/// // Of plain tch, this could be a linear layer without a bias.
/// let mut walk = Walk::new().prefer(LayerKind::Embedding);
/// walk.apply(&vs, tch_init::recipe::bert(0.02, Some(0)))?;
/// assert_eq!(words.ws.get(0).abs().max().double_value(&[]), 0.0);
/// # Ok(())
/// # }
/// ```
pub fn bert(
    initializer_range: f64,
    pad_token_id: Option<i64>,
) -> impl FnMut(&mut Layer<'_>) -> Result<(), InitError> {
    move |layer: &mut Layer<'_>| {
        let is_words = name(layer.path()) == "word_embeddings";
        init_weights(layer, initializer_range, pad_token_id.filter(|_| is_words))?;
        if layer.kind().is_none() && name(layer.path()) == "predictions" {
            fill_bias(layer, 0.0)?;
            layer.report_unknown(&["bias"]);
            return Ok(());
        }
        layer.report_unknown(&[]);
        Ok(())
    }
}

/// `PreTrainedModel._init_weights`, as far as it is for layers of `torch.nn`. `MultiheadAttention`
/// stays as it is: neither model has one.
fn init_weights(
    layer: &mut Layer<'_>,
    initializer_range: f64,
    padding_idx: Option<i64>,
) -> Result<(), InitError> {
    use LayerKind::*;
    let std = if initializer_range == 0.0 {
        0.02
    } else {
        initializer_range
    };
    match layer.kind() {
        Some(Linear | Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d) => {
            layer.fill("weight", |weight, generator| {
                normal_(weight, 0.0, std, generator)
            })?;
            fill_bias(layer, 0.0)
        }
        Some(LSTM) => {
            layer.fill_parameters(
                |name, parameter, generator| match name.starts_with("weight") {
                    true => xavier_uniform_(parameter, 1.0, generator),
                    false => zeros_(parameter),
                },
            )
        }
        Some(Embedding) => {
            let padding_idx = padding_idx.or(layer.padding_idx());
            layer.fill("weight", |weight, generator| {
                normal_(weight, 0.0, std, generator)?;
                match padding_idx {
                    Some(index) => {
                        zeros_(&mut weight.f_select(0, index).context("padding_idx", weight)?)
                    }
                    None => Ok(()),
                }
            })
        }
        Some(GroupNorm | BatchNorm1d | BatchNorm2d | BatchNorm3d | LayerNorm | RMSNorm) => {
            layer.fill("weight", |weight, _| ones_(weight))?;
            fill_bias(layer, 0.0)?;
            for (name, value_) in [
                ("running_mean", zeros_ as fn(&mut _) -> _),
                ("running_var", ones_),
                ("num_batches_tracked", zeros_),
            ] {
                if let Some(buffer) = layer.variable_mut(name) {
                    value_(buffer)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether these are the variables of a `Conv1D`: a weight of two dimensions and a bias as long as
/// the second. A square one looks like a linear layer, and is filled alike.
fn is_conv1d(layer: &Layer<'_>) -> bool {
    let mut shapes = layer
        .parameters()
        .map(|(name, tensor)| (name, tensor.size()));
    let (weight, bias, more) = (shapes.next(), shapes.next(), shapes.next());
    let (Some(("weight", weight)), Some(("bias", bias)), None) = (weight, bias, more) else {
        return false;
    };
    layer.kind().is_none() && weight.len() == 2 && weight[1..] == bias[..]
}
