//! Sums, means and maxima over rows of a table.

use super::embedding::{Norming, padding_row, table};
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use std::fmt;

/// How an [`EmbeddingBag`](super::EmbeddingBag) reduces the rows of a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EmbeddingBagMode {
    /// Their sum: `"sum"`.
    Sum,
    /// Their mean, PyTorch's default: `"mean"`.
    #[default]
    Mean,
    /// Their elementwise maximum: `"max"`.
    Max,
}

impl fmt::Display for EmbeddingBagMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EmbeddingBagMode::Sum => "sum",
            EmbeddingBagMode::Mean => "mean",
            EmbeddingBagMode::Max => "max",
        })
    }
}

/// `EmbeddingBag.extra_repr`, `torch/nn/modules/sparse.py`, PyTorch 2.13.
fn spec(
    sizes @ [num_embeddings, embedding_dim]: [i64; 2],
    padding_idx: Option<i64>,
    norming: Norming,
    mode: EmbeddingBagMode,
) -> Result<LayerSpec, InitError> {
    let padding_idx = padding_row(LayerKind::EmbeddingBag, padding_idx, num_embeddings)?;
    let mut repr = format!(
        "EmbeddingBag({num_embeddings}, {embedding_dim}{}, mode='{mode}'",
        norming.repr()
    );
    if let Some(row) = padding_idx {
        repr += &format!(", padding_idx={row}");
    }
    repr += ")";
    Ok(table(LayerKind::EmbeddingBag, sizes, padding_idx, repr))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let sizes = [
            printed.int("num_embeddings", Some(0))?,
            printed.int("embedding_dim", Some(1))?,
        ];
        let padding_idx = printed.optional_int("padding_idx")?;
        let mode = EmbeddingBagMode::Mean;
        Ok(spec(sizes, padding_idx, Norming::DEFAULT, mode)?)
    }

    /// The padding row, which the shapes do not show, is taken to be missing.
    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let sizes = variables.parameter("weight")?.try_into().ok()?;
        let mode = EmbeddingBagMode::Mean;
        variables.matching(spec(sizes, None, Norming::DEFAULT, mode).ok()?)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::{EmbeddingBagMode, Norming, spec};
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use crate::nn::spec::refused;
    use crate::nn::tch_layers::or_panic;
    use std::borrow::Borrow;
    use tch::nn::{Module, Path};
    use tch::{TchError, Tensor};

    config! {
        /// Options of bags of embeddings, with PyTorch's defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct EmbeddingBagConfig {
            /// The norm to which rows are scaled down in place before they are looked up. PyTorch's
            /// default: none.
            max_norm: Option<f64> = None,
            /// The p of the p-norm that `max_norm` bounds. PyTorch's default: 2.
            norm_type: f64 = 2.0,
            /// Whether the gradient is divided by how often a row is looked up; not for maxima.
            /// PyTorch's default: no.
            scale_grad_by_freq: bool = false,
            /// How the rows of a bag are reduced. PyTorch's default: their mean.
            mode: EmbeddingBagMode = EmbeddingBagMode::Mean,
            /// Whether the weight's gradient is a sparse tensor; not for maxima. PyTorch's default:
            /// no.
            sparse: bool = false,
            /// Whether the offsets end with the end of the last bag. PyTorch's default: no.
            include_last_offset: bool = false,
            /// The row that is initialized to zeros, has no gradient and is left out of bags; a
            /// negative index counts from the end. PyTorch's default: none.
            padding_idx: Option<i64> = None,
            /// Initializer of the weight, including the padding row. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.EmbeddingBag`, which tch 0.26 lacks. Made by [`embedding_bag`].
    #[derive(Debug)]
    pub struct EmbeddingBag {
        /// The weight, of shape `[num_embeddings, embedding_dim]`.
        pub ws: Tensor,
        config: EmbeddingBagConfig,
    }

    impl EmbeddingBag {
        /// The forward pass, to `[bags, embedding_dim]`.
        ///
        /// Row numbers of two dimensions are one bag a row and take no offsets; those of one
        /// dimension are all bags one after the other, with the offset of each.
        /// `per_sample_weights` is a factor for each row number, for sums only. With `max_norm` it
        /// scales down the rows of [`ws`](EmbeddingBag::ws) that it looks up.
        ///
        /// # Errors
        ///
        /// [`InitError::Layer`] for another number of dimensions, for offsets where there should be
        /// none or none where there should be some, for factors of another shape than the row
        /// numbers or without a sum, and for maxima with an option that is not for them;
        /// [`InitError::Libtorch`] for what libtorch rejects, such as rows that are not in the
        /// table.
        pub fn f_forward(
            &self,
            input: &Tensor,
            offsets: Option<&Tensor>,
            per_sample_weights: Option<&Tensor>,
        ) -> Result<Tensor, InitError> {
            // `embedding_bag`, torch/nn/functional.py, PyTorch 2.13.
            let shape = input.size();
            let refuse = |argument, message: String| {
                Err(refused(LayerKind::EmbeddingBag, argument, message))
            };
            if let Some(factors) = per_sample_weights
                && factors.size() != shape
            {
                return refuse(
                    "per_sample_weights",
                    format!(
                        "per_sample_weights of shape {:?} must have the shape of the input, {shape:?}",
                        factors.size()
                    ),
                );
            }
            let (rows, starts, include_last_offset) = match (&shape[..], offsets) {
                ([_, 0], None) => {
                    return refuse("input", format!("bags without rows, of shape {shape:?}"));
                }
                ([_, width], None) => {
                    let rows = input.f_reshape([-1]).context(NAME, input)?;
                    let starts = even_offsets(&rows, *width).context(NAME, input)?;
                    (rows, starts, false)
                }
                ([_, _], Some(_)) => {
                    return refuse(
                        "offsets",
                        format!("offsets are not for an input of shape {shape:?}"),
                    );
                }
                ([_], Some(offsets)) if offsets.dim() == 1 => (
                    input.shallow_clone(),
                    offsets.shallow_clone(),
                    self.config.include_last_offset,
                ),
                ([_], _) => {
                    return refuse(
                        "offsets",
                        format!(
                            "offsets of one dimension are needed for an input of shape {shape:?}"
                        ),
                    );
                }
                _ => {
                    return refuse(
                        "input",
                        format!("1 or 2 dimensions are expected, got shape {shape:?}"),
                    );
                }
            };
            self.check_mode(per_sample_weights.is_some())?;
            let factors = per_sample_weights
                .map(|factors| factors.f_reshape([-1]).context(NAME, factors))
                .transpose()?;
            self.config.norming().shorten(&self.ws, &rows)?;
            let (bags, ..) = Tensor::f_embedding_bag_padding_idx(
                &self.ws,
                &rows,
                &starts,
                self.config.scale_grad_by_freq,
                self.config.mode as i64,
                self.config.sparse,
                factors.as_ref(),
                include_last_offset,
                self.config.padding_idx,
            )
            .context(NAME, input)?;
            Ok(bags)
        }

        /// Rejects options that a mode does not support.
        fn check_mode(&self, weighted: bool) -> Result<(), InitError> {
            let mode = self.config.mode;
            let unsupported = match mode {
                EmbeddingBagMode::Max if self.config.scale_grad_by_freq => "scale_grad_by_freq",
                EmbeddingBagMode::Max if self.config.sparse => "sparse",
                EmbeddingBagMode::Mean | EmbeddingBagMode::Max if weighted => "per_sample_weights",
                _ => return Ok(()),
            };
            Err(refused(
                LayerKind::EmbeddingBag,
                "mode",
                format!("mode = {mode} does not support {unsupported}"),
            ))
        }
    }

    const NAME: &str = "EmbeddingBag";

    /// The offsets of bags of `width` rows each, in the kind and on the device of the row numbers.
    fn even_offsets(rows: &Tensor, width: i64) -> Result<Tensor, TchError> {
        let count = rows.size().iter().product::<i64>();
        let bags = count / width;
        let starts: Vec<i64> = (0..bags).map(|bag| bag * width).collect();
        Tensor::f_from_slice(&starts)?.f_to_device_(rows.device(), rows.f_kind()?, false, false)
    }

    impl Module for EmbeddingBag {
        /// [`EmbeddingBag::f_forward`] of bags of equal length, one a row, which panics where that
        /// returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs, None, None))
        }
    }

    /// `torch.nn.EmbeddingBag(num_embeddings, embedding_dim)`: `weight` of shape
    /// `[num_embeddings, embedding_dim]`, standard normal but for the padding row, which is zeros.
    ///
    /// Draws the weight, the padding row included, as [`normal_`](crate::init::normal_).
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for a padding row that is not in the table, [`InitError::Libtorch`] for
    /// negative sizes or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::Tensor;
    /// use tch_init::nn::{EmbeddingBagConfig, EmbeddingBagMode, embedding_bag};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let config = EmbeddingBagConfig::default().mode(EmbeddingBagMode::Sum);
    /// let bag = embedding_bag(vs.root() / "bag", 10, 3, config)?;
    /// let rows = Tensor::from_slice(&[1i64, 2, 4, 5, 4]);
    /// let bags = bag.f_forward(&rows, Some(&Tensor::from_slice(&[0i64, 3])), None)?;
    /// assert_eq!(bags.size(), [2, 3]);
    /// assert_eq!(bags.get(1), bag.ws.get(5) + bag.ws.get(4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedding_bag<'a, T: Borrow<Path<'a>>>(
        vs: T,
        num_embeddings: i64,
        embedding_dim: i64,
        mut config: EmbeddingBagConfig,
    ) -> Result<EmbeddingBag, InitError> {
        let sizes = [num_embeddings, embedding_dim];
        let spec = spec(sizes, config.padding_idx, config.norming(), config.mode)?;
        config.padding_idx = spec.padding_idx();
        let tensors = build(vs.borrow(), &spec, &[("weight", config.ws_init)])?;
        Ok(EmbeddingBag {
            ws: tensors.required(LayerKind::EmbeddingBag, "weight")?,
            config,
        })
    }

    impl EmbeddingBagConfig {
        fn norming(&self) -> Norming {
            Norming {
                max_norm: self.max_norm,
                norm_type: self.norm_type,
                scale_grad_by_freq: self.scale_grad_by_freq,
            }
        }
    }
}
