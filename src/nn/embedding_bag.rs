//! Sums, means and maxima over rows of a table.

use super::build::make;
use super::embedding::{EmbeddingOptions, padding_row};
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use super::{LayerKind, or_panic};
use crate::error::{Context, InitError};
use std::borrow::Borrow;
use std::fmt;
use tch::nn::{Module, Path};
use tch::{TchError, Tensor};

/// What becomes of the rows of a bag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmbeddingBagMode {
    /// Their sum: `"sum"`.
    Sum,
    /// Their mean, PyTorch's default: `"mean"`.
    #[default]
    Mean,
    /// Their greatest elements: `"max"`.
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

/// Options of bags of embeddings, with PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingBagConfig {
    /// Rows that are looked up are first shortened to this norm, in place. PyTorch's default: they
    /// are not.
    pub max_norm: Option<f64>,
    /// The p of the p-norm that `max_norm` bounds. PyTorch's default: 2.
    pub norm_type: f64,
    /// Whether the gradient is divided by how often a row is looked up; not for maxima. PyTorch's
    /// default: no.
    pub scale_grad_by_freq: bool,
    /// What becomes of the rows of a bag. PyTorch's default: their mean.
    pub mode: EmbeddingBagMode,
    /// Whether the weight's gradient is a sparse tensor; not for maxima. PyTorch's default: no.
    pub sparse: bool,
    /// Whether the offsets end with the end of the last bag. PyTorch's default: no.
    pub include_last_offset: bool,
    /// The row that starts as zeros, has no gradient and is left out of bags; a negative one counts
    /// from the end. PyTorch's default: none.
    pub padding_idx: Option<i64>,
    /// How the weight starts, the padding row included. Default: as in PyTorch.
    pub ws_init: Init,
}

impl Default for EmbeddingBagConfig {
    fn default() -> EmbeddingBagConfig {
        EmbeddingBagConfig {
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            mode: EmbeddingBagMode::Mean,
            sparse: false,
            include_last_offset: false,
            padding_idx: None,
            ws_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.EmbeddingBag`, which tch 0.26 has not. Made by [`embedding_bag`].
#[derive(Debug)]
pub struct EmbeddingBag {
    /// The weight, of shape `[num_embeddings, embedding_dim]`.
    pub ws: Tensor,
    config: EmbeddingBagConfig,
}

impl EmbeddingBag {
    /// The forward pass, to `[bags, embedding_dim]`.
    ///
    /// Row numbers of two dimensions are one bag a row and take no offsets; those of one dimension
    /// are all bags one after the other, with the offset of each. `per_sample_weights` is a factor
    /// for each row number, for sums only. With `max_norm` the rows that are looked up are
    /// shortened in [`ws`](EmbeddingBag::ws).
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for another number of dimensions, for offsets where there should be
    /// none or none where there should be some, for factors of another shape than the row numbers
    /// or without a sum, and for maxima with an option that is not for them;
    /// [`InitError::Libtorch`] for what libtorch refuses, such as rows that are not in the table.
    pub fn f_forward(
        &self,
        input: &Tensor,
        offsets: Option<&Tensor>,
        per_sample_weights: Option<&Tensor>,
    ) -> Result<Tensor, InitError> {
        // `embedding_bag`, torch/nn/functional.py, PyTorch 2.13.
        let shape = input.size();
        let refuse = |message: String| Err(InitError::layer(LayerKind::EmbeddingBag, message));
        if let Some(factors) = per_sample_weights
            && factors.size() != shape
        {
            return refuse(format!(
                "per_sample_weights of shape {:?} must have the shape of the input, {shape:?}",
                factors.size()
            ));
        }
        let (rows, starts, include_last_offset) = match (&shape[..], offsets) {
            ([_, 0], None) => return refuse(format!("bags without rows, of shape {shape:?}")),
            ([_, width], None) => {
                let rows = input.f_reshape([-1]).context(NAME, input)?;
                let starts = even_offsets(&rows, *width).context(NAME, input)?;
                (rows, starts, false)
            }
            ([_, _], Some(_)) => {
                return refuse(format!("offsets are not for an input of shape {shape:?}"));
            }
            ([_], Some(offsets)) if offsets.dim() == 1 => (
                input.shallow_clone(),
                offsets.shallow_clone(),
                self.config.include_last_offset,
            ),
            ([_], _) => {
                return refuse(format!(
                    "offsets of one dimension are needed for an input of shape {shape:?}"
                ));
            }
            _ => {
                return refuse(format!(
                    "1 or 2 dimensions are expected, got shape {shape:?}"
                ));
            }
        };
        self.check_mode(per_sample_weights.is_some())?;
        let factors = per_sample_weights
            .map(|factors| factors.f_reshape([-1]).context(NAME, factors))
            .transpose()?;
        self.config.options().shorten(&self.ws, &rows)?;
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

    /// What some modes do not go with.
    fn check_mode(&self, weighted: bool) -> Result<(), InitError> {
        let mode = self.config.mode;
        let unsupported = match mode {
            EmbeddingBagMode::Max if self.config.scale_grad_by_freq => "scale_grad_by_freq",
            EmbeddingBagMode::Max if self.config.sparse => "sparse",
            EmbeddingBagMode::Mean | EmbeddingBagMode::Max if weighted => "per_sample_weights",
            _ => return Ok(()),
        };
        Err(InitError::layer(
            LayerKind::EmbeddingBag,
            format!("mode = {mode} does not support {unsupported}"),
        ))
    }
}

const NAME: &str = "EmbeddingBag";

/// Where bags of `width` rows each start, in the kind and on the device of the row numbers.
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
/// use tch_init::nn::{EmbeddingBagConfig, EmbeddingBagMode, f_embedding_bag};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let config = EmbeddingBagConfig { mode: EmbeddingBagMode::Sum, ..Default::default() };
/// let bag = f_embedding_bag(vs.root() / "bag", 10, 3, config)?;
/// let rows = Tensor::from_slice(&[1i64, 2, 4, 5, 4]);
/// let bags = bag.f_forward(&rows, Some(&Tensor::from_slice(&[0i64, 3])), None)?;
/// assert_eq!(bags.size(), [2, 3]);
/// assert_eq!(bags.get(1), bag.ws.get(5) + bag.ws.get(4));
/// # Ok(())
/// # }
/// ```
pub fn f_embedding_bag<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    mut config: EmbeddingBagConfig,
) -> Result<EmbeddingBag, InitError> {
    let kind = LayerKind::EmbeddingBag;
    config.padding_idx = padding_row(kind, config.padding_idx, num_embeddings)?;
    let start = Start::Embedding {
        padding_idx: config.padding_idx,
    };
    make(vs.borrow(), &[("weight", config.ws_init)], |build| {
        build.layer(kind, start, |build| {
            let ws = build.parameter("weight", &[num_embeddings, embedding_dim])?;
            // `EmbeddingBag.extra_repr`, torch/nn/modules/sparse.py, PyTorch 2.13.
            let mut repr = format!(
                "EmbeddingBag({num_embeddings}, {embedding_dim}{}, mode='{}'",
                config.options().norm_arguments(),
                config.mode
            );
            if let Some(row) = config.padding_idx {
                repr += &format!(", padding_idx={row}");
            }
            repr.push(')');
            Ok((EmbeddingBag { ws, config }, repr))
        })
    })
}

/// [`f_embedding_bag`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_embedding_bag`] returns an error.
pub fn embedding_bag<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    config: EmbeddingBagConfig,
) -> EmbeddingBag {
    or_panic(f_embedding_bag(vs, num_embeddings, embedding_dim, config))
}

impl EmbeddingBagConfig {
    /// The options that a table of single rows has too.
    fn options(&self) -> EmbeddingOptions {
        EmbeddingOptions {
            padding_idx: self.padding_idx,
            max_norm: self.max_norm,
            norm_type: self.norm_type,
            scale_grad_by_freq: self.scale_grad_by_freq,
            sparse: self.sparse,
            ws_init: self.ws_init,
        }
    }
}
