//! Embeddings.

use super::printed::{PrintError, Printed};
use super::spec::{InitFill, LayerRule, LayerSpec, VariableShapes, normal, refused};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tensor_parity::python_repr;

/// The spec of an `Embedding` or `EmbeddingBag`: `__init__` and `reset_parameters`,
/// `torch/nn/modules/sparse.py`, PyTorch 2.13. `padding_idx` counts from the first row.
pub(super) fn table(
    kind: LayerKind,
    [num_embeddings, embedding_dim]: [i64; 2],
    padding_idx: Option<i64>,
    repr: String,
) -> LayerSpec {
    let weight = [num_embeddings, embedding_dim];
    let spec = LayerSpec::new(kind, repr).parameter("weight", &weight, normal(0.0, 1.0));
    match padding_idx {
        Some(row) => spec.row_step("weight", row, InitFill::Constant(0.0)),
        None => spec,
    }
}

/// The options that an embedding and a bag of embeddings share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norming {
    pub(super) max_norm: Option<f64>,
    pub(super) norm_type: f64,
    pub(super) scale_grad_by_freq: bool,
}

impl Norming {
    /// PyTorch's defaults.
    pub(super) const DEFAULT: Norming = Norming {
        max_norm: None,
        norm_type: 2.0,
        scale_grad_by_freq: false,
    };

    pub(super) fn repr(&self) -> String {
        let mut text = String::new();
        if let Some(max_norm) = self.max_norm {
            text += &format!(", max_norm={}", python_repr::float(max_norm));
        }
        if self.norm_type != 2.0 {
            text += &format!(", norm_type={}", python_repr::float(self.norm_type));
        }
        if self.scale_grad_by_freq {
            text += ", scale_grad_by_freq=True";
        }
        text
    }
}

/// `Embedding.extra_repr`, `torch/nn/modules/sparse.py`, PyTorch 2.13.
fn spec(
    sizes @ [num_embeddings, embedding_dim]: [i64; 2],
    padding_idx: Option<i64>,
    norming: Norming,
    sparse: bool,
) -> Result<LayerSpec, InitError> {
    let padding_idx = padding_row(LayerKind::Embedding, padding_idx, num_embeddings)?;
    let mut repr = format!("Embedding({num_embeddings}, {embedding_dim}");
    if let Some(row) = padding_idx {
        repr += &format!(", padding_idx={row}");
    }
    repr += &norming.repr();
    if sparse {
        repr += ", sparse=True";
    }
    repr += ")";
    Ok(table(LayerKind::Embedding, sizes, padding_idx, repr))
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(_: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        let sizes = [
            printed.int("num_embeddings", Some(0))?,
            printed.int("embedding_dim", Some(1))?,
        ];
        let padding_idx = printed.optional_int("padding_idx")?;
        Ok(spec(sizes, padding_idx, Norming::DEFAULT, false)?)
    }

    /// The padding row, which the shapes do not show, is taken to be missing.
    fn infer(_: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let sizes = variables.parameter("weight")?.try_into().ok()?;
        variables.matching(spec(sizes, None, Norming::DEFAULT, false).ok()?)
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
    // Row 0 of an empty table is rejected where it is filled, as in PyTorch.
    if row == 0 || (0..num_embeddings).contains(&row) {
        return Ok(Some(row));
    }
    Err(refused(
        kind,
        "padding_idx",
        format!(
            "padding_idx = {} must be within num_embeddings = {num_embeddings}",
            padding_idx.unwrap_or(row)
        ),
    ))
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::{Norming, spec};
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::config::config;
    use crate::nn::init::{Init, PYTORCH_DEFAULT};
    use crate::nn::kind::LayerKind;
    use crate::nn::spec::{LayerSpec, refused};
    use crate::nn::tch_layers::{or_panic, placeholder};
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
        /// Initializer of the weight, including the padding row. Default: PyTorch's.
        pub ws_init: Init,
        /// The row that is initialized to zeros and has no gradient, counted from the first, or
        /// [`NO_PADDING`](EmbeddingConfig::NO_PADDING), the default. tch's word for none, -1, keeps
        /// its meaning, with a warning in the log: PyTorch's `padding_idx=-1`, the last row, is
        /// `num_embeddings - 1` here and `Some(-1)` in [`EmbeddingOptions`].
        pub padding_idx: i64,
    }

    impl Default for EmbeddingConfig {
        fn default() -> EmbeddingConfig {
            EmbeddingConfig {
                sparse: false,
                scale_grad_by_freq: false,
                ws_init: PYTORCH_DEFAULT,
                padding_idx: EmbeddingConfig::NO_PADDING,
            }
        }
    }

    impl EmbeddingConfig {
        /// No padding row: PyTorch's `padding_idx=None`.
        pub const NO_PADDING: i64 = i64::MIN;
    }

    /// tch's and libtorch's word for no padding row.
    const NO_ROW: i64 = -1;

    /// tch's options as PyTorch's, which have one meaning for each padding row: the only place that
    /// knows tch's.
    impl TryFrom<EmbeddingConfig> for EmbeddingOptions {
        type Error = InitError;

        /// # Errors
        ///
        /// [`InitError::Layer`] for a padding row below -1.
        fn try_from(config: EmbeddingConfig) -> Result<EmbeddingOptions, InitError> {
            let padding_idx = match config.padding_idx {
                EmbeddingConfig::NO_PADDING => None,
                NO_ROW => {
                    log::warn!(
                        "Embedding: padding_idx = -1 means none, as in tch; PyTorch's last row is \
                         num_embeddings - 1, and none is EmbeddingConfig::NO_PADDING"
                    );
                    None
                }
                from_the_end if from_the_end < 0 => {
                    return Err(refused(
                        LayerKind::Embedding,
                        "padding_idx",
                        format!(
                            "padding_idx = {from_the_end}: -1 means no row, and other rows count from \
                             the first: did you mean num_embeddings - {}?",
                            from_the_end.unsigned_abs()
                        ),
                    ));
                }
                row => Some(row),
            };
            Ok(EmbeddingOptions::default()
                .padding_idx(padding_idx)
                .scale_grad_by_freq(config.scale_grad_by_freq)
                .sparse(config.sparse)
                .ws_init(config.ws_init))
        }
    }

    /// `torch.nn.Embedding(num_embeddings, embedding_dim)`: `weight` of shape
    /// `[num_embeddings, embedding_dim]`, standard normal except for zeros in the padding row.
    ///
    /// Draws the weight, the padding row included, as [`normal_`](crate::init::normal_).
    ///
    /// tch's layer has no `max_norm`: [`embedding_with`] has all of PyTorch's options.
    ///
    /// # Errors
    ///
    /// [`InitError::Layer`] for a padding row that is not in the table, and for one below -1, which
    /// would count from the end in PyTorch where -1 here does not, since it is tch's; [`InitError::Libtorch`] for
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
        let options = EmbeddingOptions::try_from(config)?;
        let spec = options.spec([num_embeddings, embedding_dim])?;
        let mut layer = placeholder(|scratch| {
            let config = nn::EmbeddingConfig {
                sparse: config.sparse,
                scale_grad_by_freq: config.scale_grad_by_freq,
                ws_init: Init::Const(0.0),
                padding_idx: spec.padding_idx().unwrap_or(NO_ROW),
            };
            nn::embedding(scratch, 1, 1, config)
        });
        let tensors = build(vs.borrow(), &spec, &[("weight", options.ws_init)])?;
        layer.ws = tensors.required(LayerKind::Embedding, "weight")?;
        Ok(layer)
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

    config! {
        /// All options of PyTorch's embedding, with its defaults.
        #[derive(Debug, Clone, Copy)]
        pub struct EmbeddingOptions {
            /// The row that is initialized to zeros and has no gradient; a negative index counts
            /// from the end. PyTorch's default: none.
            padding_idx: Option<i64> = None,
            /// The norm to which rows are scaled down in place before they are looked up. PyTorch's
            /// default: none.
            max_norm: Option<f64> = None,
            /// The p of the p-norm that `max_norm` bounds. PyTorch's default: 2.
            norm_type: f64 = 2.0,
            /// Whether the gradient is divided by how often a row is looked up. PyTorch's default:
            /// no.
            scale_grad_by_freq: bool = false,
            /// Whether the weight's gradient is a sparse tensor. PyTorch's default: no.
            sparse: bool = false,
            /// Initializer of the weight, including the padding row. Default: PyTorch's.
            ws_init: Init = PYTORCH_DEFAULT,
        }
    }

    /// `torch.nn.Embedding` with all of its options, some of which tch's layer lacks. Made by
    /// [`embedding_with`].
    #[derive(Debug)]
    pub struct EmbeddingWithOptions {
        /// The weight, of shape `[num_embeddings, embedding_dim]`.
        pub ws: Tensor,
        options: EmbeddingOptions,
    }

    impl EmbeddingWithOptions {
        /// The forward pass: row numbers of any shape to `[.., embedding_dim]`. With `max_norm` it
        /// scales down the rows of [`ws`](EmbeddingWithOptions::ws) that it looks up.
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
            self.options.norming().shorten(&self.ws, xs)?;
            let row = padding_idx.unwrap_or(NO_ROW);
            Tensor::f_embedding(&self.ws, xs, row, scale_grad_by_freq, sparse)
                .context("Embedding", xs)
        }
    }

    impl Module for EmbeddingWithOptions {
        /// [`EmbeddingWithOptions::f_forward`], which panics where that returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs))
        }
    }

    /// [`f_embedding`] with all of PyTorch's options, and padding rows counted as PyTorch counts
    /// them.
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
    /// use tch_init::nn::{EmbeddingOptions, embedding_with};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let options = EmbeddingOptions::default().padding_idx(Some(-1)).max_norm(Some(0.1));
    /// let table = embedding_with(vs.root() / "table", 10, 3, options)?;
    /// assert_eq!(table.ws.get(9).abs().max().double_value(&[]), 0.0);
    /// let rows = table.f_forward(&Tensor::from_slice(&[4i64, 2]))?;
    /// assert!(rows.norm_scalaropt_dim(2, 1, false).max().double_value(&[]) < 0.1001);
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedding_with<'a, T: Borrow<Path<'a>>>(
        vs: T,
        num_embeddings: i64,
        embedding_dim: i64,
        mut options: EmbeddingOptions,
    ) -> Result<EmbeddingWithOptions, InitError> {
        let spec = options.spec([num_embeddings, embedding_dim])?;
        options.padding_idx = spec.padding_idx();
        let tensors = build(vs.borrow(), &spec, &[("weight", options.ws_init)])?;
        Ok(EmbeddingWithOptions {
            ws: tensors.required(LayerKind::Embedding, "weight")?,
            options,
        })
    }

    impl EmbeddingOptions {
        fn spec(&self, sizes: [i64; 2]) -> Result<LayerSpec, InitError> {
            spec(sizes, self.padding_idx, self.norming(), self.sparse)
        }

        fn norming(&self) -> Norming {
            Norming {
                max_norm: self.max_norm,
                norm_type: self.norm_type,
                scale_grad_by_freq: self.scale_grad_by_freq,
            }
        }
    }

    impl Norming {
        /// Scales down the rows of `ws` that `xs` looks up, if `max_norm` is set:
        /// `_no_grad_embedding_renorm_`, torch/nn/functional.py, PyTorch 2.13.
        pub(in crate::nn) fn shorten(&self, ws: &Tensor, xs: &Tensor) -> Result<(), InitError> {
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
}
