//! Multi-head attention.

mod forward;
pub(super) mod mask;
mod project;

use super::build::{Build, make, python_module};
use super::named::Named;
use super::start::Start;
use super::{LayerKind, linear, or_panic};
use crate::error::InitError;
use crate::init::{xavier_normal_, xavier_uniform_, zeros_};
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{Linear, Path};

/// Options of a multi-head attention, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct MultiheadAttentionConfig {
    /// The share of attention weights that training drops. PyTorch's default: 0.
    pub dropout: f64,
    /// Whether the projections have biases. PyTorch's default: yes.
    pub bias: bool,
    /// Whether a learnt row is added to the keys and to the values. PyTorch's default: no.
    pub add_bias_kv: bool,
    /// Whether a row of zeros is added to the keys and to the values. PyTorch's default: no.
    pub add_zero_attn: bool,
    /// The features of the keys. PyTorch's default: `embed_dim`.
    pub kdim: Option<i64>,
    /// The features of the values. PyTorch's default: `embed_dim`.
    pub vdim: Option<i64>,
    /// Whether the batch comes before the sequence. PyTorch's default: no.
    pub batch_first: bool,
}

impl Default for MultiheadAttentionConfig {
    fn default() -> MultiheadAttentionConfig {
        MultiheadAttentionConfig {
            dropout: 0.0,
            bias: true,
            add_bias_kv: false,
            add_zero_attn: false,
            kdim: None,
            vdim: None,
            batch_first: false,
        }
    }
}

/// What an attention is told beyond query, key and value, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct AttentionOptions<'a> {
    /// Which keys are padding: of shape `[N, S]`, or `[S]` without a batch. `true` hides a key;
    /// floating-point values are added to the scores. PyTorch's default: none.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Whether the attention weights are returned too. PyTorch's default: yes.
    pub need_weights: bool,
    /// Which positions see which: of shape `[L, S]` or `[N * num_heads, L, S]`. `true` hides a
    /// position; floating-point values are added to the scores. PyTorch's default: none.
    pub attn_mask: Option<&'a Tensor>,
    /// Whether the returned weights are averaged over the heads. PyTorch's default: yes.
    pub average_attn_weights: bool,
    /// A promise that `attn_mask`, which has to be there, is the causal one. PyTorch's default: no.
    pub is_causal: bool,
}

impl Default for AttentionOptions<'_> {
    fn default() -> Self {
        AttentionOptions {
            key_padding_mask: None,
            need_weights: true,
            attn_mask: None,
            average_attn_weights: true,
            is_causal: false,
        }
    }
}

/// A multi-head attention; tch has none.
#[derive(Debug)]
pub struct MultiheadAttention {
    /// The projections of query, key and value in one, `[3 * embed_dim, embed_dim]`, where keys and
    /// values have `embed_dim` features.
    pub in_proj_weight: Option<Tensor>,
    /// Where they have not: the projection of the query, `[embed_dim, embed_dim]`.
    pub q_proj_weight: Option<Tensor>,
    /// Where they have not: the projection of the keys, `[embed_dim, kdim]`.
    pub k_proj_weight: Option<Tensor>,
    /// Where they have not: the projection of the values, `[embed_dim, vdim]`.
    pub v_proj_weight: Option<Tensor>,
    /// The bias of the three projections, `[3 * embed_dim]`.
    pub in_proj_bias: Option<Tensor>,
    /// The row added to the keys, `[1, 1, embed_dim]`.
    pub bias_k: Option<Tensor>,
    /// The row added to the values, `[1, 1, embed_dim]`.
    pub bias_v: Option<Tensor>,
    /// The projection of the output.
    pub out_proj: Linear,
    /// The features of query and output.
    pub embed_dim: i64,
    /// The number of heads.
    pub num_heads: i64,
    /// The options it was made with.
    pub config: MultiheadAttentionConfig,
}

/// `torch.nn.MultiheadAttention(embed_dim, num_heads)`: `in_proj_weight` (or `q_proj_weight`,
/// `k_proj_weight` and `v_proj_weight`, where `kdim` or `vdim` is not `embed_dim`) uniform by
/// Xavier, `in_proj_bias` zeros, `bias_k` and `bias_v` normal by Xavier, `out_proj.weight` uniform
/// over `+-1/sqrt(embed_dim)`, `out_proj.bias` zeros.
///
/// Draws in PyTorch's order: `out_proj` as a linear layer, with a bias that is then set to zero, the
/// projections, `bias_k`, `bias_v`.
///
/// # Errors
///
/// [`InitError::Layer`] for sizes that are not positive and for heads that do not divide the
/// features; [`InitError::Libtorch`] for negative `kdim` or `vdim`, or a `VarStore` whose kind
/// cannot be trained.
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let attention =
///     tch_init::nn::f_multihead_attention(vs.root() / "attn", 8, 2, Default::default())?;
/// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
/// let (output, weights) = attention.f_forward(&x, &x, &x, Default::default(), false)?;
/// assert_eq!(output.size(), [5, 3, 8]);
/// assert_eq!(weights.map(|weights| weights.size()), Some(vec![3, 5, 5]));
/// # Ok(())
/// # }
/// ```
pub fn f_multihead_attention<'a, T: Borrow<Path<'a>>>(
    vs: T,
    embed_dim: i64,
    num_heads: i64,
    config: MultiheadAttentionConfig,
) -> Result<MultiheadAttention, InitError> {
    make(vs.borrow(), &[], |build| {
        declare(build, embed_dim, num_heads, config)
    })
}

/// [`f_multihead_attention`] that panics.
///
/// # Panics
///
/// Where [`f_multihead_attention`] returns an error.
pub fn multihead_attention<'a, T: Borrow<Path<'a>>>(
    vs: T,
    embed_dim: i64,
    num_heads: i64,
    config: MultiheadAttentionConfig,
) -> MultiheadAttention {
    or_panic(f_multihead_attention(vs, embed_dim, num_heads, config))
}

impl MultiheadAttention {
    /// The output, `[L, N, embed_dim]`, and the weights, `[N, L, S]` (`[N, num_heads, L, S]` if they
    /// are not averaged), of a query `[L, N, embed_dim]`, a key `[S, N, kdim]` and a value
    /// `[S, N, vdim]`. `N` comes first with `batch_first`, and may be left out everywhere.
    ///
    /// Follows `torch.nn.functional.multi_head_attention_forward`, and its bits: so it matters, as
    /// in PyTorch, whether query, key and value are one and the same tensor. With `train` it draws
    /// the dropout from the default stream. Without, where nothing asks for gradients, PyTorch's
    /// fused kernel runs under the conditions that PyTorch sets; of these autocasting alone is not
    /// asked for.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for shapes and masks that PyTorch refuses, [`InitError::Libtorch`]
    /// where libtorch does.
    pub fn f_forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttentionOptions<'_>,
        train: bool,
    ) -> Result<(Tensor, Option<Tensor>), InitError> {
        forward::forward(self, query, key, value, options, train)
    }

    /// [`f_forward`](MultiheadAttention::f_forward) that panics.
    ///
    /// # Panics
    ///
    /// Where `f_forward` returns an error.
    pub fn forward(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttentionOptions<'_>,
        train: bool,
    ) -> (Tensor, Option<Tensor>) {
        or_panic(self.f_forward(query, key, value, options, train))
    }
}

pub(super) fn declare(
    build: &mut Build<'_>,
    embed_dim: i64,
    num_heads: i64,
    config: MultiheadAttentionConfig,
) -> Result<MultiheadAttention, InitError> {
    check(embed_dim, num_heads)?;
    let kdim = config.kdim.unwrap_or(embed_dim);
    let vdim = config.vdim.unwrap_or(embed_dim);
    let packed = kdim == embed_dim && vdim == embed_dim;
    let kind = LayerKind::MultiheadAttention;
    build.layer(kind, Start::other(start), |build| {
        let three = embed_dim.saturating_mul(3);
        let row = [1, 1, embed_dim];
        let attention = MultiheadAttention {
            in_proj_weight: build.optional_parameter(
                packed,
                "in_proj_weight",
                &[three, embed_dim],
            )?,
            q_proj_weight: build.optional_parameter(
                !packed,
                "q_proj_weight",
                &[embed_dim, embed_dim],
            )?,
            k_proj_weight: build.optional_parameter(
                !packed,
                "k_proj_weight",
                &[embed_dim, kdim],
            )?,
            v_proj_weight: build.optional_parameter(
                !packed,
                "v_proj_weight",
                &[embed_dim, vdim],
            )?,
            in_proj_bias: build.optional_parameter(config.bias, "in_proj_bias", &[three])?,
            bias_k: build.optional_parameter(config.add_bias_kv, "bias_k", &row)?,
            bias_v: build.optional_parameter(config.add_bias_kv, "bias_v", &row)?,
            out_proj: build.child("out_proj", |build| {
                let class = "NonDynamicallyQuantizableLinear";
                linear::declare(build, class, embed_dim, embed_dim, config.bias)
            })?,
            embed_dim,
            num_heads,
            config,
        };
        let repr = python_module("MultiheadAttention", &[("out_proj", build.last_repr())]);
        Ok((attention, repr))
    })
}

fn check(embed_dim: i64, num_heads: i64) -> Result<(), InitError> {
    if embed_dim <= 0 || num_heads <= 0 {
        return Err(refusal(format!(
            "embed_dim = {embed_dim} and num_heads = {num_heads} must be greater than 0"
        )));
    }
    if embed_dim % num_heads != 0 {
        return Err(refusal(format!(
            "embed_dim = {embed_dim} must be divisible by num_heads = {num_heads}"
        )));
    }
    Ok(())
}

pub(super) fn refusal(message: String) -> InitError {
    InitError::Layer {
        kind: "MultiheadAttention",
        message,
    }
}

/// `MultiheadAttention.__init__` and `_reset_parameters`, `torch/nn/modules/activation.py`,
/// PyTorch 2.13: the output's projection draws when it is made, before the others are filled.
pub(super) fn start(tensors: &Named) -> Result<(), InitError> {
    Start::Linear.run(&tensors.child("out_proj"))?;
    let xavier_uniform = |weight: &mut Tensor| xavier_uniform_(weight, 1.0, None);
    let xavier_normal = |row: &mut Tensor| xavier_normal_(row, 1.0, None);
    tensors.fill("in_proj_weight", xavier_uniform)?;
    tensors.fill("q_proj_weight", xavier_uniform)?;
    tensors.fill("k_proj_weight", xavier_uniform)?;
    tensors.fill("v_proj_weight", xavier_uniform)?;
    tensors.fill("in_proj_bias", zeros_)?;
    tensors.fill("out_proj.bias", zeros_)?;
    tensors.fill("bias_k", xavier_normal)?;
    tensors.fill("bias_v", xavier_normal)
}
