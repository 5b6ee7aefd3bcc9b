//! PyTorch's layers, a drop-in for `tch::nn`: tch's own layer types, started as `torch.nn` starts
//! them.
//!
//! A program changes `use tch::nn` to `use tch_init::nn` and nothing else. Each constructor makes
//! the parameters under PyTorch's `state_dict` names and in PyTorch's order, and draws what PyTorch
//! draws, in its order, from the default stream of the `VarStore`'s device; where tch has the layer,
//! it returns tch's. An initialiser that the caller sets wins, and then only it draws. Everything
//! else of `tch::nn` is here as it is there.
//!
//! Every constructor has a fallible twin with `f_` before its name; the one without panics where
//! tch's panics.
//!
//! | layer | tch 0.26 | PyTorch 2.13 | here |
//! |---|---|---|---|
//! | Linear weight | uniform, a range sqrt(6) times as wide | uniform over +-1/sqrt(fan_in) | as PyTorch |
//! | Linear order of draws | bias, weight | weight, bias | as PyTorch |
//! | Conv, ConvTranspose weight | uniform, a range sqrt(6) times as wide | uniform over +-1/sqrt(fan_in) | as PyTorch |
//! | Conv, ConvTranspose bias | zeros, no draw | uniform over +-1/sqrt(fan_in) | as PyTorch |
//! | BatchNorm weight | uniform over 0 to 1 | ones, no draw | as PyTorch |
//! | BatchNorm buffers | mean, var | mean, var, `num_batches_tracked` | as PyTorch |
//! | LayerNorm, GroupNorm | ones and zeros | ones and zeros | the same |
//! | Embedding | normal | normal, then the padding row zero | as PyTorch |
//! | LSTM, GRU weights | uniform, a range by each weight's fan in | uniform over +-1/sqrt(hidden) | as PyTorch |
//! | LSTM, GRU biases | zeros, no draw | uniform over +-1/sqrt(hidden) | as PyTorch |
//! | LSTM, GRU `batch_first` | true | false | true: a program's shapes keep their meaning |
//! | Bilinear, RMSNorm, InstanceNorm, SyncBatchNorm, PReLU, EmbeddingBag, RNN, LSTM with a projection, RNN/LSTM/GRU cells | none | | as PyTorch, types of our own |
//! | MultiheadAttention, TransformerEncoderLayer, TransformerDecoderLayer, TransformerEncoder, TransformerDecoder, Transformer | none | | as PyTorch, types of our own |
//! | AdaptiveLogSoftmaxWithLoss, LinearCrossEntropyLoss | none | | as PyTorch, types of our own |
//! | LazyLinear, LazyConv, LazyConvTranspose, LazyBatchNorm, LazyInstanceNorm | none | drawn at the first input | as PyTorch, `Lazy` |

mod adaptive;
mod adaptive_forward;
mod attention;
mod batch_norm;
mod bilinear;
pub(crate) mod build;
mod conv;
mod conv_transpose;
mod elman_rnn;
mod embedding;
mod embedding_bag;
mod gated_cell;
mod group_norm;
pub mod init;
mod instance_norm;
mod kind;
mod layer_norm;
mod lazy;
mod linear;
mod linear_cross_entropy;
mod lstm_gru;
pub(crate) mod named;
mod norm_base;
mod prelu;
mod projected_lstm;
pub(crate) mod registry;
mod rnn;
mod rnn_cell;
pub(crate) mod start;
mod sync_batch_norm;
mod transformer;

pub use adaptive::{
    AdaptiveLogSoftmaxWithLoss, AdaptiveLogSoftmaxWithLossConfig, AsmOutput,
    adaptive_log_softmax_with_loss, f_adaptive_log_softmax_with_loss,
};
pub use attention::{
    AttentionOptions, MultiheadAttention, MultiheadAttentionConfig, f_multihead_attention,
    multihead_attention,
};
pub use batch_norm::{
    BatchNormConfig, batch_norm1d, batch_norm2d, batch_norm3d, f_batch_norm1d, f_batch_norm2d,
    f_batch_norm3d,
};
pub use bilinear::{Bilinear, BilinearConfig, bilinear, f_bilinear};
pub use conv::{
    ConvConfig, ConvConfigND, conv, conv1d, conv2d, conv3d, f_conv, f_conv1d, f_conv2d, f_conv3d,
    no_bias,
};
pub use conv_transpose::{
    ConvTransposeConfig, ConvTransposeConfigND, conv_transpose1d, conv_transpose2d,
    conv_transpose3d, f_conv_transpose1d, f_conv_transpose2d, f_conv_transpose3d,
};
pub use elman_rnn::{ElmanRnn, f_rnn, rnn};
pub use embedding::{
    EmbeddingConfig, EmbeddingOptions, EmbeddingWithOptions, embedding, embedding_with,
    f_embedding, f_embedding_with,
};
pub use embedding_bag::{
    EmbeddingBag, EmbeddingBagConfig, EmbeddingBagMode, embedding_bag, f_embedding_bag,
};
pub use gated_cell::{GruCell, LstmCell, f_gru_cell, f_lstm_cell, gru_cell, lstm_cell};
pub use group_norm::{GroupNormConfig, f_group_norm, group_norm};
pub use init::{Init, f_init, init};
pub use instance_norm::{
    InstanceNorm, InstanceNormConfig, f_instance_norm1d, f_instance_norm2d, f_instance_norm3d,
    instance_norm1d, instance_norm2d, instance_norm3d,
};
pub use kind::{LayerKind, UnknownKind};
pub use layer_norm::{
    LayerNormConfig, RMSNorm, RMSNormConfig, f_layer_norm, f_rms_norm, layer_norm, rms_norm,
};
pub use lazy::{
    Lazy, f_lazy_batch_norm1d, f_lazy_batch_norm2d, f_lazy_batch_norm3d, f_lazy_conv,
    f_lazy_conv_transpose1d, f_lazy_conv_transpose2d, f_lazy_conv_transpose3d, f_lazy_conv1d,
    f_lazy_conv2d, f_lazy_conv3d, f_lazy_instance_norm1d, f_lazy_instance_norm2d,
    f_lazy_instance_norm3d, f_lazy_linear, lazy_batch_norm1d, lazy_batch_norm2d, lazy_batch_norm3d,
    lazy_conv, lazy_conv_transpose1d, lazy_conv_transpose2d, lazy_conv_transpose3d, lazy_conv1d,
    lazy_conv2d, lazy_conv3d, lazy_instance_norm1d, lazy_instance_norm2d, lazy_instance_norm3d,
    lazy_linear,
};
pub use linear::{LinearConfig, f_linear, linear};
pub use linear_cross_entropy::{
    LinearCrossEntropyLoss, LinearCrossEntropyLossConfig, f_linear_cross_entropy_loss,
    linear_cross_entropy_loss,
};
pub use lstm_gru::{f_gru, f_lstm, gru, lstm};
pub use prelu::{PReLU, PReLUConfig, f_prelu, prelu};
pub use projected_lstm::{ProjectedLstm, f_projected_lstm, projected_lstm};
pub use rnn::{RNNConfig, RnnNonlinearity};
pub use rnn_cell::{RNNCellConfig, RnnCell, f_rnn_cell, rnn_cell};
pub use sync_batch_norm::{SyncBatchNorm, SyncBatchNormConfig, f_sync_batch_norm, sync_batch_norm};
pub use tch::nn::{
    Adam, AdamW, BatchNorm, Conv, Conv1D, Conv2D, Conv3D, ConvTranspose1D, ConvTranspose2D,
    ConvTranspose3D, ConvTransposeND, Embedding, Func, FuncT, GRU, GRUState, GroupNorm, Id, LSTM,
    LSTMState, LayerNorm, Linear, Module, ModuleT, Optimizer, OptimizerConfig, PaddingMode, Path,
    RNN, RmsProp, Sequential, SequentialT, Sgd, VarStore, Variables, adam, adamw, func, func_t,
    rms_prop, seq, seq_t, sgd,
};
pub use transformer::{
    DecoderMasks, EncoderMasks, Transformer, TransformerActivation, TransformerConfig,
    TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer,
    TransformerLayerConfig, TransformerMasks, TransformerNormConfig, f_transformer,
    f_transformer_decoder, f_transformer_decoder_layer, f_transformer_encoder,
    f_transformer_encoder_layer, transformer, transformer_decoder, transformer_decoder_layer,
    transformer_encoder, transformer_encoder_layer,
};

use crate::error::InitError;
use tch::Device;

/// A layer of tch's type with placeholder tensors, which the caller replaces.
///
/// tch's layer types have private fields, so only tch's constructors make them; given this
/// `VarStore` and a constant initialisation they draw nothing and leave the user's alone.
fn placeholder<L>(make: impl FnOnce(&Path<'_>) -> L) -> L {
    let scratch = VarStore::new(Device::Cpu);
    make(&scratch.root())
}

/// What tch's constructors do with an error.
#[track_caller]
fn or_panic<L>(layer: Result<L, InitError>) -> L {
    match layer {
        Ok(layer) => layer,
        Err(error) => panic!("{error}"),
    }
}
