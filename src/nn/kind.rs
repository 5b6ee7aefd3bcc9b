//! The kinds of layers, by PyTorch's class names.

use std::fmt;
use std::str::FromStr;

/// A name that is no layer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of layer that torch.nn starts with parameters")]
pub struct UnknownKind(pub String);

macro_rules! kinds {
    ($($kind:ident)*) => {
        /// What a layer is, as `torch.nn` names it: the layers of PyTorch 2.13 that have
        /// parameters.
        #[allow(clippy::upper_case_acronyms)] // PyTorch's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum LayerKind {
            $(#[doc = concat!("`torch.nn.", stringify!($kind), "`.")] $kind,)*
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

kinds! {
    Linear
    Bilinear
    Conv1d
    Conv2d
    Conv3d
    ConvTranspose1d
    ConvTranspose2d
    ConvTranspose3d
    BatchNorm1d
    BatchNorm2d
    BatchNorm3d
    SyncBatchNorm
    InstanceNorm1d
    InstanceNorm2d
    InstanceNorm3d
    LayerNorm
    RMSNorm
    GroupNorm
    PReLU
    Embedding
    EmbeddingBag
    RNN
    LSTM
    GRU
    RNNCell
    LSTMCell
    GRUCell
    MultiheadAttention
    TransformerEncoderLayer
    TransformerDecoderLayer
    TransformerEncoder
    TransformerDecoder
    Transformer
    AdaptiveLogSoftmaxWithLoss
    LinearCrossEntropyLoss
}

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
