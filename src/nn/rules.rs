//! Finds the rule of a kind of layer.

use super::kind::{LayerKind, for_each_layer};
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use super::{
    adaptive, attention, batch_norm, bilinear, conv, conv_transpose, embedding, embedding_bag,
    group_norm, instance_norm, layer_norm, linear, linear_cross_entropy, prelu, rms_norm, rnn,
    rnn_cell, sync_batch_norm, transformer,
};

macro_rules! rules {
    ($($kind:ident: $rule:path, $init:literal;)*) => {
        fn parse(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
            match kind {
                $(LayerKind::$kind => <$rule>::from_printed(kind, printed),)*
            }
        }

        fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
            match kind {
                $(LayerKind::$kind => <$rule>::infer(kind, variables),)*
            }
        }

        impl LayerKind {
            /// Whether variables that fit are taken for this kind without a hint from the caller.
            #[cfg(feature = "tch")]
            pub(crate) fn is_inferred(self) -> bool {
                match self {
                    $(LayerKind::$kind => <$rule as LayerRule>::INFERRED,)*
                }
            }
        }
    };
}

for_each_layer!(rules);

impl LayerSpec {
    /// The layer that Python printed, or `None` if its class is not a [`LayerKind`].
    ///
    /// What a print does not show is taken to be PyTorch's default: the sizes of keys and values
    /// and the key and value biases of an attention, and the class weights of a loss.
    ///
    /// # Errors
    ///
    /// [`PrintError::Layer`] if an argument that is needed is missing or malformed, and
    /// [`PrintError::Init`] for arguments that PyTorch rejects.
    pub fn from_printed(printed: &Printed) -> Result<Option<LayerSpec>, PrintError> {
        let Ok(kind) = printed.class.parse::<LayerKind>() else {
            return Ok(None);
        };
        let spec = parse(kind, printed)?;
        Ok(Some(spec.printing(printed.to_string())))
    }

    /// The layer of a kind that has these variables, if there is one.
    ///
    /// Layers that PyTorch gives children cannot be inferred. What the shapes do not show is
    /// printed as `...`.
    pub fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        infer(kind, variables)
    }
}

#[cfg(test)]
mod tests {
    use super::{LayerSpec, Printed};

    #[test]
    fn what_a_print_does_not_show_is_a_typed_error() {
        let attention = |features| {
            format!(
                "(self_attn): MultiheadAttention(\n(out_proj): NonDynamicallyQuantizableLinear(\
                 in_features={features}, out_features={features}, bias=True)\n)"
            )
        };
        let layer = |class: &str, hidden, more: &str| {
            format!(
                "{class}(\n{}\n(linear1): Linear(in_features=8, out_features={hidden}, bias=True)\n\
                 {more})",
                attention(8)
            )
        };
        let encoder = |layers: &[String], norm: &str| {
            let layers = layers.iter().enumerate();
            let layers = layers.map(|(i, layer)| format!("({i}): {layer}\n"));
            let layers = layers.collect::<String>();
            format!("TransformerEncoder(\n(layers): ModuleList(\n{layers})\n{norm})")
        };
        let name = "TransformerEncoderLayer";
        let activation = "(activation): PReLU(num_parameters=1)\n";
        for (text, reason) in [
            (
                "Linear(in_features=2)".to_owned(),
                "out_features is not printed",
            ),
            (
                "Linear(in_features=2, out_features=x)".to_owned(),
                "`x` is malformed",
            ),
            (
                "Conv2d(1, 2, kernel_size=(3, 3, 3))".to_owned(),
                "number of dimensions",
            ),
            ("MultiheadAttention()".to_owned(), "out_proj is not printed"),
            (
                layer(name, 4, activation),
                "its activation is PReLU, which has parameters",
            ),
            (
                encoder(&[], ""),
                "the layer that it was made from is not printed",
            ),
            (
                encoder(&[layer("Block", 4, "")], ""),
                "its layers are Block",
            ),
            (
                encoder(&[layer(name, 4, ""), layer(name, 5, "")], ""),
                "its layers differ, so they are not copies",
            ),
            (
                encoder(&[layer(name, 4, "")], "(norm): BatchNorm1d(8)\n"),
                "its norm is BatchNorm1d",
            ),
            ("Transformer()".to_owned(), "encoder is not printed"),
        ] {
            let printed = Printed::parse(&text).unwrap();
            let error = LayerSpec::from_printed(&printed).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let ok = Printed::parse(&encoder(&[layer(name, 4, "")], "")).unwrap();
        assert!(LayerSpec::from_printed(&ok).unwrap().is_some());
        let other = Printed::parse("Block()").unwrap();
        assert_eq!(LayerSpec::from_printed(&other).unwrap(), None);
    }
}
