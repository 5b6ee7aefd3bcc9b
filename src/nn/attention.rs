//! Multi-head attention.

#[cfg(feature = "tch")]
mod forward;
#[cfg(feature = "tch")]
mod in_projection;
#[cfg(feature = "tch")]
pub(super) mod mask;

use super::linear;
use super::printed::{PrintError, Printed, python_module};
use super::spec::{InitFill, LayerRule, LayerSpec, refused, xavier_normal, xavier_uniform};
use crate::error::InitError;
use crate::nn::kind::LayerKind;

const KIND: LayerKind = LayerKind::MultiheadAttention;

/// The arguments of an attention that affect its variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) embed_dim: i64,
    pub(super) num_heads: i64,
    pub(super) kdim: i64,
    pub(super) vdim: i64,
    pub(super) bias: bool,
    pub(super) add_bias_kv: bool,
}

impl Attention {
    /// An attention with PyTorch's defaults.
    pub(super) fn new(embed_dim: i64, num_heads: i64) -> Attention {
        Attention {
            embed_dim,
            num_heads,
            kdim: embed_dim,
            vdim: embed_dim,
            bias: true,
            add_bias_kv: false,
        }
    }

    /// `MultiheadAttention.__init__` and `_reset_parameters`, `torch/nn/modules/activation.py`,
    /// PyTorch 2.13: the output projection draws when it is made, before the others are filled, and
    /// its bias is then set to zero.
    pub(super) fn spec(&self) -> Result<LayerSpec, InitError> {
        self.check()?;
        let embed_dim = self.embed_dim;
        let class = "NonDynamicallyQuantizableLinear";
        let out_proj = linear::spec(class, embed_dim, embed_dim, self.bias);
        let repr = python_module(KIND.name(), &[("out_proj", out_proj.repr())]);
        let packed = self.kdim == embed_dim && self.vdim == embed_dim;
        let three = embed_dim.saturating_mul(3);
        let mut spec = LayerSpec::new(KIND, repr).child("out_proj", out_proj);
        for (present, name, shape) in [
            (packed, "in_proj_weight", [three, embed_dim]),
            (!packed, "q_proj_weight", [embed_dim, embed_dim]),
            (!packed, "k_proj_weight", [embed_dim, self.kdim]),
            (!packed, "v_proj_weight", [embed_dim, self.vdim]),
        ] {
            spec = spec.parameter_if(present, name, &shape, xavier_uniform(&shape));
        }
        if self.bias {
            spec = spec
                .parameter("in_proj_bias", &[three], InitFill::Constant(0.0))
                .step("out_proj.bias", InitFill::Constant(0.0));
        }
        let row = [1, 1, embed_dim];
        Ok(spec
            .parameter_if(self.add_bias_kv, "bias_k", &row, xavier_normal(&row))
            .parameter_if(self.add_bias_kv, "bias_v", &row, xavier_normal(&row)))
    }

    fn check(&self) -> Result<(), InitError> {
        let (embed_dim, num_heads) = (self.embed_dim, self.num_heads);
        if embed_dim <= 0 || num_heads <= 0 {
            return Err(refused(
                KIND,
                "embed_dim",
                format!(
                    "embed_dim = {embed_dim} and num_heads = {num_heads} must be greater than 0"
                ),
            ));
        }
        if embed_dim % num_heads != 0 {
            return Err(refused(
                KIND,
                "embed_dim",
                format!("embed_dim = {embed_dim} must be divisible by num_heads = {num_heads}"),
            ));
        }
        Ok(())
    }
}

/// The attention that was printed. The print shows only its output projection; the number of heads
/// does not affect the variables, and other sizes of keys and values or added rows are taken to be the
/// defaults.
pub(super) fn from_printed(printed: &Printed) -> Result<Attention, PrintError> {
    let projection = printed.child("out_proj")?;
    Ok(Attention {
        bias: projection.flag("bias", true)?,
        ..Attention::new(projection.int("out_features", None)?, 1)
    })
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(from_printed(printed)?.spec()?)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::Attention;
    use crate::error::InitError;
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::linear;
    use crate::nn::named_tensors::NamedTensors;
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{Linear, Path};

    config! {
        /// Options of a multi-head attention, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct MultiheadAttentionConfig {
            /// The share of attention weights that training drops. PyTorch's default: 0.
            dropout: f64 = 0.0,
            /// Whether the projections have biases. PyTorch's default: yes.
            bias: bool = true,
            /// Whether a learned row is appended to the keys and to the values. PyTorch's default:
            /// no.
            add_bias_kv: bool = false,
            /// Whether a row of zeros is appended to the keys and to the values. PyTorch's default:
            /// no.
            add_zero_attn: bool = false,
            /// The features of the keys. PyTorch's default: `embed_dim`.
            kdim: Option<i64> = None,
            /// The features of the values. PyTorch's default: `embed_dim`.
            vdim: Option<i64> = None,
            /// Whether the batch comes before the sequence. PyTorch's default: no.
            batch_first: bool = false,
        }
    }

    config! {
        /// Arguments of an attention's forward pass beyond query, key and value, with PyTorch's
        /// defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct AttentionOptions<'a> {
            /// Which keys are padding: of shape `[N, S]`, or `[S]` without a batch. `true` hides a
            /// key; floating-point values are added to the scores. PyTorch's default: none.
            key_padding_mask: Option<&'a Tensor> = None,
            /// Whether the attention weights are returned too. PyTorch's default: yes.
            need_weights: bool = true,
            /// Which positions see which: of shape `[L, S]` or `[N * num_heads, L, S]`. `true`
            /// hides a position; floating-point values are added to the scores. PyTorch's default:
            /// none.
            attn_mask: Option<&'a Tensor> = None,
            /// Whether the returned weights are averaged over the heads. PyTorch's default: yes.
            average_attn_weights: bool = true,
            /// A promise that `attn_mask`, which has to be there, is the causal one. PyTorch's
            /// default: no.
            is_causal: bool = false,
        }
    }

    /// `torch.nn.MultiheadAttention`, which tch lacks. Made by [`multihead_attention`].
    #[derive(Debug)]
    pub struct MultiheadAttention {
        /// The projections of query, key and value in one, `[3 * embed_dim, embed_dim]`, where keys
        /// and values have `embed_dim` features.
        pub in_proj_weight: Option<Tensor>,
        /// Otherwise, the projection of the query, `[embed_dim, embed_dim]`.
        pub q_proj_weight: Option<Tensor>,
        /// Otherwise, the projection of the keys, `[embed_dim, kdim]`.
        pub k_proj_weight: Option<Tensor>,
        /// Otherwise, the projection of the values, `[embed_dim, vdim]`.
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
    /// Xavier, `in_proj_bias` zeros, `bias_k` and `bias_v` normal by Xavier, `out_proj.weight`
    /// uniform over `+-1/sqrt(embed_dim)`, `out_proj.bias` zeros.
    ///
    /// Draws in PyTorch's order: `out_proj` as a linear layer, with a bias that is then set to
    /// zero, the projections, `bias_k`, `bias_v`.
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
    ///     tch_init::nn::multihead_attention(vs.root() / "attn", 8, 2, Default::default())?;
    /// let x = Tensor::ones([5, 3, 8], (Kind::Float, Device::Cpu));
    /// let (output, weights) = attention.forward(&x, &x, &x, Default::default(), false)?;
    /// assert_eq!(output.size(), [5, 3, 8]);
    /// assert_eq!(weights.map(|weights| weights.size()), Some(vec![3, 5, 5]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn multihead_attention<'a, T: Borrow<Path<'a>>>(
        vs: T,
        embed_dim: i64,
        num_heads: i64,
        config: MultiheadAttentionConfig,
    ) -> Result<MultiheadAttention, InitError> {
        let spec = config.arguments(embed_dim, num_heads).spec()?;
        let tensors = build(vs.borrow(), &spec, &[])?;
        layer(&tensors, embed_dim, num_heads, config)
    }

    impl MultiheadAttentionConfig {
        fn arguments(&self, embed_dim: i64, num_heads: i64) -> Attention {
            Attention {
                embed_dim,
                num_heads,
                kdim: self.kdim.unwrap_or(embed_dim),
                vdim: self.vdim.unwrap_or(embed_dim),
                bias: self.bias,
                add_bias_kv: self.add_bias_kv,
            }
        }
    }

    /// The layer with these tensors.
    pub(in crate::nn) fn layer(
        tensors: &NamedTensors,
        embed_dim: i64,
        num_heads: i64,
        config: MultiheadAttentionConfig,
    ) -> Result<MultiheadAttention, InitError> {
        Ok(MultiheadAttention {
            in_proj_weight: tensors.get("in_proj_weight"),
            q_proj_weight: tensors.get("q_proj_weight"),
            k_proj_weight: tensors.get("k_proj_weight"),
            v_proj_weight: tensors.get("v_proj_weight"),
            in_proj_bias: tensors.get("in_proj_bias"),
            bias_k: tensors.get("bias_k"),
            bias_v: tensors.get("bias_v"),
            out_proj: linear::layer(&tensors.child("out_proj"))?,
            embed_dim,
            num_heads,
            config,
        })
    }
}
