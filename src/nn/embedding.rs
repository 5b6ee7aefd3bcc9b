//! Tables of vectors.

use super::build::{Build, make};
use super::init::{Init, PYTORCH_DEFAULT};
use super::start::Start;
use super::{LayerKind, or_panic, placeholder};
use crate::error::{Context, InitError};
use crate::repr::python_float;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{self, Embedding, Module, Path};

/// Options of an embedding: tch's fields, PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingConfig {
    /// Whether the weight's gradient is a sparse tensor. PyTorch's default: no.
    pub sparse: bool,
    /// Whether the gradient is divided by how often a row is looked up. PyTorch's default: no.
    pub scale_grad_by_freq: bool,
    /// How the weight starts, the padding row included. Default: as in PyTorch.
    pub ws_init: Init,
    /// The row that starts as zeros and has no gradient, counted from the first. -1 stands for
    /// none, as in tch, and is the default; PyTorch's `padding_idx=-1`, the last row, is
    /// `num_embeddings - 1` here.
    pub padding_idx: i64,
}

impl Default for EmbeddingConfig {
    fn default() -> EmbeddingConfig {
        EmbeddingConfig {
            sparse: false,
            scale_grad_by_freq: false,
            ws_init: PYTORCH_DEFAULT,
            padding_idx: NO_ROW,
        }
    }
}

/// What libtorch's `embedding` takes for no padding row.
const NO_ROW: i64 = -1;

/// `torch.nn.Embedding(num_embeddings, embedding_dim)`: `weight` of shape
/// `[num_embeddings, embedding_dim]`, standard normal but for the padding row, which is zeros.
///
/// Draws the weight, the padding row included, as [`normal_`](crate::init::normal_).
///
/// tch's layer has no `max_norm`: [`f_embedding_with`] has all of PyTorch's options.
///
/// # Errors
///
/// [`InitError::Layer`] for a padding row that is not in the table, and for one below -1, which
/// would count from the end in PyTorch where -1 here does not; [`InitError::Libtorch`] for
/// negative sizes or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch_init::nn::{EmbeddingConfig, f_embedding};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let config = EmbeddingConfig { padding_idx: 0, ..Default::default() };
/// let table = f_embedding(vs.root() / "table", 10, 3, config)?;
/// assert_eq!(table.ws.size(), [10, 3]);
/// assert_eq!(table.ws.get(0).abs().max().double_value(&[]), 0.0);
/// # Ok(())
/// # }
/// ```
pub fn f_embedding<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    config: EmbeddingConfig,
) -> Result<Embedding, InitError> {
    let padding_idx = match config.padding_idx {
        NO_ROW => None,
        from_the_end if from_the_end < 0 => {
            return Err(InitError::layer(
                LayerKind::Embedding,
                format!(
                    "padding_idx = {from_the_end}: -1 stands for none, and other rows count from \
                     the first: did you mean num_embeddings - {}?",
                    from_the_end.unsigned_abs()
                ),
            ));
        }
        row => padding_row(LayerKind::Embedding, Some(row), num_embeddings)?,
    };
    let options = EmbeddingOptions {
        padding_idx,
        scale_grad_by_freq: config.scale_grad_by_freq,
        sparse: config.sparse,
        ..EmbeddingOptions::default()
    };
    make(vs.borrow(), &[("weight", config.ws_init)], |build| {
        let mut layer = placeholder(|scratch| {
            let config = nn::EmbeddingConfig {
                sparse: config.sparse,
                scale_grad_by_freq: config.scale_grad_by_freq,
                ws_init: Init::Const(0.0),
                padding_idx: config.padding_idx,
            };
            nn::embedding(scratch, 1, 1, config)
        });
        layer.ws = declare(build, num_embeddings, embedding_dim, options)?;
        Ok(layer)
    })
}

/// [`f_embedding`] with tch's signature.
///
/// # Panics
///
/// As `tch::nn::embedding`, where [`f_embedding`] returns an error.
pub fn embedding<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    config: EmbeddingConfig,
) -> Embedding {
    or_panic(f_embedding(vs, num_embeddings, embedding_dim, config))
}

/// All options of PyTorch's embedding, with its defaults.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingOptions {
    /// The row that starts as zeros and has no gradient; a negative one counts from the end.
    /// PyTorch's default: none.
    pub padding_idx: Option<i64>,
    /// Rows that are looked up are first shortened to this norm, in place. PyTorch's default: they
    /// are not.
    pub max_norm: Option<f64>,
    /// The p of the p-norm that `max_norm` bounds. PyTorch's default: 2.
    pub norm_type: f64,
    /// Whether the gradient is divided by how often a row is looked up. PyTorch's default: no.
    pub scale_grad_by_freq: bool,
    /// Whether the weight's gradient is a sparse tensor. PyTorch's default: no.
    pub sparse: bool,
    /// How the weight starts, the padding row included. Default: as in PyTorch.
    pub ws_init: Init,
}

impl Default for EmbeddingOptions {
    fn default() -> EmbeddingOptions {
        EmbeddingOptions {
            padding_idx: None,
            max_norm: None,
            norm_type: 2.0,
            scale_grad_by_freq: false,
            sparse: false,
            ws_init: PYTORCH_DEFAULT,
        }
    }
}

/// `torch.nn.Embedding` with all of its options, of which tch's layer has not all. Made by
/// [`embedding_with`].
#[derive(Debug)]
pub struct EmbeddingWithOptions {
    /// The weight, of shape `[num_embeddings, embedding_dim]`.
    pub ws: Tensor,
    options: EmbeddingOptions,
}

impl EmbeddingWithOptions {
    /// The forward pass: row numbers of any shape to `[.., embedding_dim]`. With `max_norm` the
    /// rows that it looks up are shortened in [`ws`](EmbeddingWithOptions::ws).
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] for rows that are not in the table or not integers.
    pub fn f_forward(&self, xs: &Tensor) -> Result<Tensor, InitError> {
        let EmbeddingOptions {
            padding_idx,
            scale_grad_by_freq,
            sparse,
            ..
        } = self.options;
        self.options.shorten(&self.ws, xs)?;
        let row = padding_idx.unwrap_or(NO_ROW);
        Tensor::f_embedding(&self.ws, xs, row, scale_grad_by_freq, sparse).context("Embedding", xs)
    }
}

impl Module for EmbeddingWithOptions {
    /// [`EmbeddingWithOptions::f_forward`], which panics where that returns an error.
    fn forward(&self, xs: &Tensor) -> Tensor {
        or_panic(self.f_forward(xs))
    }
}

/// [`f_embedding`] with all of PyTorch's options, and padding rows counted as PyTorch counts them.
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
/// use tch_init::nn::{EmbeddingOptions, f_embedding_with};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// let options = EmbeddingOptions { padding_idx: Some(-1), max_norm: Some(0.1), ..Default::default() };
/// let table = f_embedding_with(vs.root() / "table", 10, 3, options)?;
/// assert_eq!(table.ws.get(9).abs().max().double_value(&[]), 0.0);
/// let rows = table.f_forward(&Tensor::from_slice(&[4i64, 2]))?;
/// assert!(rows.norm_scalaropt_dim(2, 1, false).max().double_value(&[]) < 0.1001);
/// # Ok(())
/// # }
/// ```
pub fn f_embedding_with<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    mut options: EmbeddingOptions,
) -> Result<EmbeddingWithOptions, InitError> {
    options.padding_idx = padding_row(LayerKind::Embedding, options.padding_idx, num_embeddings)?;
    make(vs.borrow(), &[("weight", options.ws_init)], |build| {
        let ws = declare(build, num_embeddings, embedding_dim, options)?;
        Ok(EmbeddingWithOptions { ws, options })
    })
}

/// [`f_embedding_with`] as tch's constructors are.
///
/// # Panics
///
/// Where [`f_embedding_with`] returns an error.
pub fn embedding_with<'a, T: Borrow<Path<'a>>>(
    vs: T,
    num_embeddings: i64,
    embedding_dim: i64,
    options: EmbeddingOptions,
) -> EmbeddingWithOptions {
    or_panic(f_embedding_with(vs, num_embeddings, embedding_dim, options))
}

fn declare(
    build: &mut Build<'_>,
    num_embeddings: i64,
    embedding_dim: i64,
    options: EmbeddingOptions,
) -> Result<Tensor, InitError> {
    let padding_idx = options.padding_idx;
    build.layer(
        LayerKind::Embedding,
        Start::Embedding { padding_idx },
        |build| {
            let ws = build.parameter("weight", &[num_embeddings, embedding_dim])?;
            let repr = format!(
                "Embedding({num_embeddings}, {embedding_dim}{})",
                options.arguments()
            );
            Ok((ws, repr))
        },
    )
}

impl EmbeddingOptions {
    /// `Embedding.extra_repr`, torch/nn/modules/sparse.py, PyTorch 2.13.
    fn arguments(&self) -> String {
        let mut text = String::new();
        if let Some(row) = self.padding_idx {
            text += &format!(", padding_idx={row}");
        }
        text += &self.norm_arguments();
        if self.sparse {
            text += ", sparse=True";
        }
        text
    }

    /// The options that tables and bags print alike.
    pub(super) fn norm_arguments(&self) -> String {
        let mut text = String::new();
        if let Some(max_norm) = self.max_norm {
            text += &format!(", max_norm={}", python_float(max_norm));
        }
        if self.norm_type != 2.0 {
            text += &format!(", norm_type={}", python_float(self.norm_type));
        }
        if self.scale_grad_by_freq {
            text += ", scale_grad_by_freq=True";
        }
        text
    }

    /// Shortens the rows of `ws` that `xs` looks up, if there is a `max_norm`:
    /// `_no_grad_embedding_renorm_`, torch/nn/functional.py, PyTorch 2.13.
    pub(super) fn shorten(&self, ws: &Tensor, xs: &Tensor) -> Result<(), InitError> {
        let Some(max_norm) = self.max_norm else {
            return Ok(());
        };
        let shorten = || {
            let rows = xs.f_contiguous()?;
            ws.f_detach()?
                .f_embedding_renorm_(&rows, max_norm, self.norm_type)
        };
        shorten().context("embedding_renorm_", xs).map(drop)
    }
}

/// The padding row counted from the first, as `Embedding.__init__` and `EmbeddingBag.__init__` of
/// PyTorch 2.13 count it.
pub(super) fn padding_row(
    kind: LayerKind,
    padding_idx: Option<i64>,
    num_embeddings: i64,
) -> Result<Option<i64>, InitError> {
    let row = match padding_idx {
        None => return Ok(None),
        Some(from_the_end @ ..0) => num_embeddings.saturating_add(from_the_end),
        Some(row) => row,
    };
    // Row 0 of a table of none is refused where it is filled, as in PyTorch.
    if row == 0 || (0..num_embeddings).contains(&row) {
        return Ok(Some(row));
    }
    Err(InitError::layer(
        kind,
        format!(
            "padding_idx = {} must be within num_embeddings = {num_embeddings}",
            padding_idx.unwrap_or(row)
        ),
    ))
}
