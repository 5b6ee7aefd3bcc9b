//! The list of layers.

use std::fmt;
use std::str::FromStr;

/// Calls a macro with the list of layers: the kind, the rule that makes its specs, and what its
/// initialization draws.
macro_rules! for_each_layer {
    ($callback:ident) => {
        $callback! {
            Linear: linear::Rule, "weight, then bias uniform over `+-1/sqrt(in_features)`";
            Bilinear: bilinear::Rule, "weight, then bias uniform over `+-1/sqrt(in1_features)`";
            Conv1d: conv::Rule, "weight, then bias uniform over `+-1/sqrt(fan_in)`";
            Conv2d: conv::Rule, "weight, then bias uniform over `+-1/sqrt(fan_in)`";
            Conv3d: conv::Rule, "weight, then bias uniform over `+-1/sqrt(fan_in)`";
            ConvTranspose1d: conv_transpose::Rule, "weight, then bias uniform over `+-1/sqrt(fan)`, with the fan of the weight's second dimension";
            ConvTranspose2d: conv_transpose::Rule, "weight, then bias uniform over `+-1/sqrt(fan)`, with the fan of the weight's second dimension";
            ConvTranspose3d: conv_transpose::Rule, "weight, then bias uniform over `+-1/sqrt(fan)`, with the fan of the weight's second dimension";
            BatchNorm1d: batch_norm::Rule, "ones and zeros, no draw";
            BatchNorm2d: batch_norm::Rule, "ones and zeros, no draw";
            BatchNorm3d: batch_norm::Rule, "ones and zeros, no draw";
            SyncBatchNorm: sync_batch_norm::Rule, "ones and zeros, no draw";
            InstanceNorm1d: instance_norm::Rule, "ones and zeros, no draw";
            InstanceNorm2d: instance_norm::Rule, "ones and zeros, no draw";
            InstanceNorm3d: instance_norm::Rule, "ones and zeros, no draw";
            LayerNorm: layer_norm::Rule, "ones and zeros, no draw";
            RMSNorm: rms_norm::Rule, "ones, no draw";
            GroupNorm: group_norm::Rule, "ones and zeros, no draw";
            PReLU: prelu::Rule, "0.25, or the slope that the caller sets, no draw";
            Embedding: embedding::Rule, "standard normal, then zeros in the padding row";
            EmbeddingBag: embedding_bag::Rule, "standard normal, then zeros in the padding row";
            RNN: rnn::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            LSTM: rnn::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            GRU: rnn::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            RNNCell: rnn_cell::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            LSTMCell: rnn_cell::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            GRUCell: rnn_cell::Rule, "all parameters uniform over `+-1/sqrt(hidden_size)`";
            MultiheadAttention: attention::Rule, "the output projection as a linear layer, then the input projections by `xavier_uniform_`, zeros for biases";
            TransformerEncoderLayer: transformer::LayerOfStackRule, "its attention, then its linear layers";
            TransformerDecoderLayer: transformer::LayerOfStackRule, "its two attentions, then its linear layers";
            TransformerEncoder: transformer::StackRule, "one layer, of which all others are copies";
            TransformerDecoder: transformer::StackRule, "one layer, of which all others are copies";
            Transformer: transformer::TransformerRule, "encoder and decoder, then every matrix again by `xavier_uniform_`";
            AdaptiveLogSoftmaxWithLoss: adaptive::Rule, "the head, then the linear layers of each cluster";
            LinearCrossEntropyLoss: linear_cross_entropy::Rule, "its linear layer";
        }
    };
}

pub(super) use for_each_layer;

/// A name that is not a kind of layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of layer that torch.nn initializes with parameters")]
pub struct UnknownKind(pub String);

macro_rules! kinds {
    ($($kind:ident: $rule:path, $init:literal;)*) => {
        /// The kind of a layer: the classes of `torch.nn` in PyTorch 2.13 that have parameters.
        #[allow(clippy::upper_case_acronyms)] // PyTorch's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum LayerKind {
            $(#[doc = concat!("`torch.nn.", stringify!($kind), "`: ", $init, ".")] $kind,)*
        }

        impl LayerKind {
            /// All kinds, in the order of their declaration.
            pub const ALL: &[LayerKind] = &[$(LayerKind::$kind),*];

            /// The name of PyTorch's class.
            ///
            /// ```
            /// use tch_init::nn::LayerKind;
            ///
            /// assert_eq!(LayerKind::Conv2d.name(), "Conv2d");
            /// assert_eq!("LSTM".parse(), Ok(LayerKind::LSTM));
            /// assert!("Softmax".parse::<LayerKind>().is_err());
            /// ```
            pub fn name(self) -> &'static str {
                match self {
                    $(LayerKind::$kind => stringify!($kind),)*
                }
            }
        }
    };
}

for_each_layer!(kinds);

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LayerKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<LayerKind, UnknownKind> {
        let kind = LayerKind::ALL.iter().find(|kind| kind.name() == name);
        kind.copied().ok_or_else(|| UnknownKind(name.to_owned()))
    }
}
