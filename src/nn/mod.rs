//! PyTorch's layers: a drop-in for `tch::nn` whose layers are initialized as `torch.nn` initializes
//! them.
//!
//! A program changes `use tch::nn` to `use tch_init::nn` and nothing else. Each constructor makes
//! the parameters under PyTorch's `state_dict` names and in PyTorch's order, and draws what PyTorch
//! draws, in its order, from the default stream of the `VarStore`'s device. Where tch has the
//! layer, the constructor returns tch's type, but [`LSTM`] and [`GRU`] are of our own: theirs drop outputs in evaluation. An initializer that the caller sets replaces
//! PyTorch's, and only it draws. Everything else of `tch::nn` is re-exported; [`VarStore`] is tch's
//! with a `load` that accepts checkpoints of plain tch.
//!
//! Constructors of layers that tch has panic as tch's do, and have a fallible twin with `f_` before
//! its name. Constructors of layers that tch lacks return a `Result`, and their options have a
//! setter for each field.
//!
//! tch 0.26 silently initializes its layers differently from PyTorch:
//!
//! | layer | tch 0.26 | PyTorch 2.13, and here |
//! |---|---|---|
//! | Linear weight | uniform, a range sqrt(6) times as wide | uniform over +-1/sqrt(fan_in) |
//! | Linear order of draws | bias, weight | weight, bias |
//! | Conv, ConvTranspose weight | uniform, a range sqrt(6) times as wide | uniform over +-1/sqrt(fan_in) |
//! | Conv, ConvTranspose bias | zeros, no draw | uniform over +-1/sqrt(fan_in) |
//! | BatchNorm weight | uniform over 0 to 1 | ones, no draw |
//! | BatchNorm buffers | mean, var | mean, var, `num_batches_tracked` |
//! | LayerNorm, GroupNorm | ones and zeros | ones and zeros |
//! | Embedding | normal | normal, then zeros in the padding row |
//! | LSTM, GRU weights | uniform, over a range that depends on each weight's fan-in | uniform over +-1/sqrt(hidden) |
//! | LSTM, GRU biases | zeros, no draw | uniform over +-1/sqrt(hidden) |
//!
//! LSTM and GRU take `train` as an argument with [`RNNT`]. They keep tch's `batch_first: true`, where PyTorch's default is false, so that a
//! program's shapes keep their meaning. [`LayerKind`] lists every layer, and the lazy ones are
//! [`Lazy`].
//!
//! A layer is data, a [`LayerSpec`], made in one file of this module. The layers that tch lacks
//! have their forward pass in the same file (attention and transformers in a folder each), since
//! options, variables and forward pass share their fields and follow one class of PyTorch: a reader
//! compares one file with one class, and a new layer is one file.

mod adaptive;
mod attention;
mod batch_norm;
mod bilinear;
mod conv;
mod conv_transpose;
mod embedding;
mod embedding_bag;
mod group_norm;
mod instance_norm;
mod kind;
mod layer_norm;
mod layer_plan;
mod linear;
mod linear_cross_entropy;
mod norm_base;
mod prelu;
pub(crate) mod printed;
mod rms_norm;
mod rnn;
mod rnn_cell;
mod rules;
mod spec;
mod sync_batch_norm;
mod transformer;

#[cfg(feature = "tch")]
mod builder;
#[cfg(feature = "tch")]
pub(crate) mod config;
#[cfg(feature = "tch")]
mod elman_rnn;
#[cfg(feature = "tch")]
mod gated_cell;
#[cfg(feature = "tch")]
mod gru;
#[cfg(feature = "tch")]
pub mod init;
#[cfg(feature = "tch")]
mod lazy;
#[cfg(feature = "tch")]
mod lstm;
#[cfg(feature = "tch")]
pub(crate) mod named_tensors;
#[cfg(feature = "tch")]
mod recurrent;
#[cfg(feature = "tch")]
pub(crate) mod registry;
#[cfg(feature = "tch")]
pub(crate) mod reset;
#[cfg(feature = "tch")]
mod tch_layers;
#[cfg(feature = "tch")]
mod var_store;

pub use embedding_bag::EmbeddingBagMode;
pub use kind::{LayerKind, UnknownKind};
pub use printed::{PrintError, Printed};
pub use rnn::RnnNonlinearity;
#[cfg(feature = "tch")]
pub(crate) use rnn::is_recurrent;
pub use spec::{InitFill, InitStep, InitTarget, LayerSpec, VariableShapes, VariableSpec};

#[cfg(feature = "tch")]
pub use layers::*;

/// The public constructors and types of layers.
#[cfg(feature = "tch")]
mod layers {
    pub use super::adaptive::{
        AdaptiveLogSoftmaxWithLoss, AdaptiveLogSoftmaxWithLossConfig, AsmOutput,
        adaptive_log_softmax_with_loss,
    };
    pub use super::attention::{
        AttentionOptions, MultiheadAttention, MultiheadAttentionConfig, multihead_attention,
    };
    pub use super::batch_norm::{
        BatchNormConfig, batch_norm1d, batch_norm2d, batch_norm3d, f_batch_norm1d, f_batch_norm2d,
        f_batch_norm3d,
    };
    pub use super::bilinear::{Bilinear, BilinearConfig, bilinear};
    pub use super::conv::{
        ConvConfig, ConvConfigND, PaddedConv, conv, conv1d, conv2d, conv3d, f_conv, f_conv1d,
        f_conv2d, f_conv3d, no_bias, padded_conv,
    };
    pub use super::conv_transpose::{
        ConvTranspose, ConvTransposeConfig, ConvTransposeConfigND, conv_transpose,
        conv_transpose1d, conv_transpose2d, conv_transpose3d, f_conv_transpose1d,
        f_conv_transpose2d, f_conv_transpose3d,
    };
    pub use super::elman_rnn::{ElmanRnn, rnn};
    pub use super::embedding::{
        EmbeddingConfig, EmbeddingOptions, EmbeddingWithOptions, embedding, embedding_with,
        f_embedding,
    };
    pub use super::embedding_bag::{EmbeddingBag, EmbeddingBagConfig, embedding_bag};
    pub use super::gated_cell::{GruCell, LstmCell, gru_cell, lstm_cell};
    pub use super::group_norm::{GroupNormConfig, f_group_norm, group_norm};
    pub use super::gru::{GRU, f_gru, gru};
    pub use super::init::{Init, f_init, init};
    pub use super::instance_norm::{
        InstanceNorm, InstanceNormConfig, instance_norm1d, instance_norm2d, instance_norm3d,
    };
    pub use super::layer_norm::{LayerNormConfig, f_layer_norm, layer_norm};
    pub use super::lazy::{
        Lazy, lazy_batch_norm1d, lazy_batch_norm2d, lazy_batch_norm3d, lazy_conv,
        lazy_conv_transpose, lazy_conv_transpose1d, lazy_conv_transpose2d, lazy_conv_transpose3d,
        lazy_conv1d, lazy_conv2d, lazy_conv3d, lazy_instance_norm1d, lazy_instance_norm2d,
        lazy_instance_norm3d, lazy_linear,
    };
    pub use super::linear::{LinearConfig, f_linear, linear};
    pub use super::linear_cross_entropy::{
        LinearCrossEntropyLoss, LinearCrossEntropyLossConfig, linear_cross_entropy_loss,
    };
    pub use super::lstm::{LSTM, f_lstm, lstm, projected_lstm};
    pub use super::prelu::{PReLU, PReLUConfig, prelu};
    pub use super::recurrent::RNNT;
    pub use super::rms_norm::{RMSNorm, RMSNormConfig, rms_norm};
    pub use super::rnn::RNNConfig;
    pub use super::rnn_cell::{RNNCellConfig, RnnCell, rnn_cell};
    pub use super::sync_batch_norm::{SyncBatchNorm, SyncBatchNormConfig, sync_batch_norm};
    pub use super::transformer::{
        DecoderMasks, EncoderMasks, Transformer, TransformerActivation, TransformerConfig,
        TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
        TransformerLayerConfig, TransformerMasks, TransformerNormConfig, transformer,
        transformer_decoder, transformer_decoder_layer, transformer_encoder,
        transformer_encoder_layer,
    };
    pub use super::var_store::{VarStore, load};
    pub use tch::nn::{
        Adam, AdamW, BatchNorm, Conv, Conv1D, Conv2D, Conv3D, ConvTranspose1D, ConvTranspose2D,
        ConvTranspose3D, ConvTransposeND, Embedding, Func, FuncT, GRUState, GroupNorm, Id,
        LSTMState, LayerNorm, Linear, Module, ModuleT, Optimizer, OptimizerConfig, PaddingMode,
        Path, RNN, RmsProp, Sequential, SequentialT, Sgd, Variables, adam, adamw, func, func_t,
        rms_prop, seq, seq_t, sgd,
    };
}
