//! Specs of transformers and their layers.

use crate::error::InitError;
use crate::nn::attention::{self, Attention};
use crate::nn::kind::LayerKind;
use crate::nn::printed::{PrintError, Printed, python_module, python_module_list};
use crate::nn::spec::{LayerRule, LayerSpec, refused, xavier_uniform};
use crate::nn::{layer_norm, linear, rms_norm};
use tensor_parity::python_repr;

/// The arguments of a layer of an encoder or a decoder that affect its variables or its print.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) d_model: i64,
    pub(super) nhead: i64,
    pub(super) dim_feedforward: i64,
    pub(super) dropout: f64,
    pub(super) layer_norm_eps: f64,
    pub(super) bias: bool,
    /// The print of an activation that is a module.
    pub(super) activation: Option<String>,
}

impl Layer {
    /// `TransformerEncoderLayer.__init__` or `TransformerDecoderLayer.__init__`,
    /// `torch/nn/modules/transformer.py`, PyTorch 2.13. Children draw in the order of registration.
    pub(super) fn spec(&self, kind: LayerKind) -> Result<LayerSpec, InitError> {
        let attentions: &[&str] = match kind {
            LayerKind::TransformerDecoderLayer => &["self_attn", "multihead_attn"],
            _ => &["self_attn"],
        };
        let attention = Attention {
            bias: self.bias,
            ..Attention::new(self.d_model, self.nhead)
        };
        let attention = attention.spec()?;
        self.check_dropout(kind)?;
        let linear = |inputs, outputs| linear::spec("Linear", inputs, outputs, self.bias);
        let norm = layer_norm::spec(&[self.d_model], self.layer_norm_eps, true, self.bias);
        let linear1 = linear(self.d_model, self.dim_feedforward);
        let linear2 = linear(self.dim_feedforward, self.d_model);

        // As Python registers them; dropouts and activations have no variables.
        let mut children = Vec::new();
        let (mut norms, mut dropouts) = (Vec::new(), Vec::new());
        for i in 1..=attentions.len() + 1 {
            norms.push(format!("norm{i}"));
            dropouts.push(format!("dropout{i}"));
        }
        let dropout = format!(
            "Dropout(p={}, inplace=False)",
            python_repr::float(self.dropout)
        );
        children.extend(attentions.iter().map(|name| (*name, attention.repr())));
        children.push(("linear1", linear1.repr()));
        children.push(("dropout", &dropout));
        children.push(("linear2", linear2.repr()));
        children.extend(norms.iter().map(|name| (name.as_str(), norm.repr())));
        children.extend(
            dropouts
                .iter()
                .map(|name| (name.as_str(), dropout.as_str())),
        );
        if let Some(activation) = &self.activation {
            children.push(("activation", activation));
        }
        let mut spec = LayerSpec::new(kind, python_module(kind.name(), &children));
        for name in attentions {
            spec = spec.child(name, attention.clone());
        }
        spec = spec.child("linear1", linear1).child("linear2", linear2);
        for name in &norms {
            spec = spec.child(name, norm.clone());
        }
        Ok(spec)
    }

    /// Rejects what `torch.nn.Dropout` rejects.
    fn check_dropout(&self, kind: LayerKind) -> Result<(), InitError> {
        let dropout = self.dropout;
        // As PyTorch, this lets NaN pass.
        if !dropout.is_nan() && !(0.0..=1.0).contains(&dropout) {
            let message = format!("dropout = {dropout:?} must be between 0 and 1");
            return Err(refused(kind, "dropout", message));
        }
        Ok(())
    }

    /// The layer that was printed. Heads, the dropout and eps do not affect the variables.
    fn from_printed(printed: &Printed) -> Result<Layer, PrintError> {
        let attention = attention::from_printed(printed.child("self_attn")?)?;
        let linear1 = printed.child("linear1")?;
        let mut children = printed.children.iter();
        let activation = children.find(|(name, _)| name == "activation");
        let activation = activation.map(|(_, activation)| activation);
        if let Some(activation) = activation
            && activation.class.parse::<LayerKind>().is_ok()
        {
            let class = &activation.class;
            return Err(printed.refused(format!("its activation is {class}, which has parameters")));
        }
        Ok(Layer {
            d_model: attention.embed_dim,
            nhead: 1,
            dim_feedforward: linear1.int("out_features", None)?,
            dropout: 0.1,
            layer_norm_eps: 1e-5,
            bias: linear1.flag("bias", true)?,
            activation: activation.map(Printed::to_string),
        })
    }
}

pub(in crate::nn) struct LayerOfStackRule;

impl LayerRule for LayerOfStackRule {
    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(Layer::from_printed(printed)?.spec(kind)?)
    }
}

/// `TransformerEncoder.__init__` or `TransformerDecoder.__init__`, `torch/nn/modules/transformer.py`,
/// PyTorch 2.13: one layer is drawn, and all are copies of it (`_get_clones`). Without layers it is
/// drawn all the same.
pub(super) fn stack(
    kind: LayerKind,
    layer: LayerSpec,
    num_layers: i64,
    norm: Option<LayerSpec>,
) -> LayerSpec {
    let num_layers = usize::try_from(num_layers).unwrap_or(0);
    let list = python_module_list(&vec![layer.repr().to_owned(); num_layers]);
    let children: Vec<(&str, &str)> = [("layers", list.as_str())]
        .into_iter()
        .chain(norm.iter().map(|norm| ("norm", norm.repr())))
        .collect();
    let mut spec = LayerSpec::new(kind, python_module(kind.name(), &children));
    if num_layers == 0 {
        spec = spec.discarded_child(&layer);
    }
    for i in 0..num_layers {
        let name = format!("layers.{i}");
        spec = match i {
            0 => spec.child(&name, layer.clone()),
            _ => spec.copied_child(&name, layer.clone(), "layers.0"),
        };
    }
    match norm {
        Some(norm) => spec.child("norm", norm),
        None => spec,
    }
}

pub(in crate::nn) struct StackRule;

impl LayerRule for StackRule {
    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let of = match kind {
            LayerKind::TransformerDecoder => LayerKind::TransformerDecoderLayer,
            _ => LayerKind::TransformerEncoderLayer,
        };
        let layers = &printed.child("layers")?.children;
        let Some((_, first)) = layers.first() else {
            return Err(printed.refused("the layer that it was made from is not printed"));
        };
        if first.class != of.name() {
            return Err(printed.refused(format!("its layers are {}, not {of}", first.class)));
        }
        if layers
            .iter()
            .any(|(_, layer)| layer.to_string() != first.to_string())
        {
            return Err(printed.refused("its layers differ, so they are not copies"));
        }
        let norm = printed.children.iter().find(|(name, _)| name == "norm");
        let norm = match norm {
            None => None,
            Some((_, norm)) => match norm.class.as_str() {
                "LayerNorm" => {
                    let kind = LayerKind::LayerNorm;
                    Some(layer_norm::Rule::from_printed(kind, norm)?)
                }
                "RMSNorm" => Some(rms_norm::Rule::from_printed(LayerKind::RMSNorm, norm)?),
                class => return Err(printed.refused(format!("its norm is {class}"))),
            },
        };
        let layer = Layer::from_printed(first)?.spec(of)?;
        Ok(stack(kind, layer, layers.len() as i64, norm))
    }
}

/// `Transformer.__init__` and `_reset_parameters`, `torch/nn/modules/transformer.py`, PyTorch 2.13:
/// every matrix is drawn again.
pub(super) fn encoder_and_decoder(encoder: LayerSpec, decoder: LayerSpec) -> LayerSpec {
    let kind = LayerKind::Transformer;
    let children = [("encoder", encoder.repr()), ("decoder", decoder.repr())];
    let spec = LayerSpec::new(kind, python_module(kind.name(), &children))
        .child("encoder", encoder)
        .child("decoder", decoder);
    let matrices: Vec<(String, Vec<i64>)> = spec
        .variables()
        .filter(|(_, variable)| variable.shape().len() > 1)
        .map(|(name, variable)| (name, variable.shape().to_vec()))
        .collect();
    matrices.iter().fold(spec, |spec, (name, shape)| {
        spec.step(name, xavier_uniform(shape))
    })
}

pub(in crate::nn) struct TransformerRule;

impl LayerRule for TransformerRule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let part = |name: &str, kind: LayerKind| {
            let part = printed.child(name)?;
            match part.class == kind.name() {
                true => StackRule::from_printed(kind, part),
                false => Err(printed.refused(format!("its {name} is {}", part.class))),
            }
        };
        let encoder = part("encoder", LayerKind::TransformerEncoder)?;
        let decoder = part("decoder", LayerKind::TransformerDecoder)?;
        Ok(encoder_and_decoder(encoder, decoder))
    }
}
