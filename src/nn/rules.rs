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
    /// [`PrintError::Init`] for arguments that PyTorch refuses.
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
