//! Layers that are made when the shape of their input is first known.

use super::batch_norm::{BatchNormConfig, f_batch_norm1d, f_batch_norm2d, f_batch_norm3d};
use super::conv::{self, ConvConfig, ConvConfigND, check_channels, f_conv};
use super::conv_transpose::{
    self, ConvTranspose, ConvTransposeConfig, ConvTransposeConfigND, f_conv_transpose1d,
    f_conv_transpose2d, f_conv_transpose3d,
};
use super::init::{self, Init, PYTORCH_DEFAULT};
use super::instance_norm::{
    InstanceNorm, InstanceNormConfig, instance_norm1d, instance_norm2d, instance_norm3d,
};
use super::linear::{LinearConfig, f_linear};
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use crate::nn::tch_layers::or_panic;
use std::borrow::Borrow;
use std::cell::OnceCell;
use std::fmt;
use tch::Tensor;
use tch::nn::{
    self, BatchNorm, Conv1D, Conv2D, Conv3D, ConvTranspose1D, ConvTranspose2D, ConvTranspose3D,
    Linear, Module, ModuleT, Path,
};

/// A layer of PyTorch's `Lazy` classes: a path and options, which become a layer when the first
/// input shows its size.
///
/// Until then the `VarStore` does not have its variables and nothing is drawn; in PyTorch its
/// variables have names but no values. So layers draw in the order in which they are first used,
/// not in that of their construction. The layer is the one that the eager constructor makes, and
/// later inputs do not change it.
///
/// It borrows the `VarStore`, as a [`Path`] does, until [`into_layer`](Lazy::into_layer).
///
/// ```
/// use tch::{Device, Kind, Tensor, nn::VarStore};
/// use tch_init::nn::{Module, lazy_linear};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(Device::Cpu);
/// let fc = lazy_linear(vs.root() / "fc", 3, Default::default())?;
/// assert!(vs.is_empty() && fc.layer().is_none());
/// let output = fc.forward(&Tensor::zeros([5, 7], (Kind::Float, Device::Cpu)));
/// assert_eq!(output.size(), [5, 3]);
/// assert_eq!(fc.layer().map(|fc| fc.ws.size()), Some(vec![3, 7]));
/// # Ok(())
/// # }
/// ```
pub struct Lazy<'a, L> {
    path: Path<'a>,
    kind: LayerKind,
    make: Make<L>,
    layer: OnceCell<L>,
}

/// The eager constructor, given the path and the size that was missing.
type Make<L> = Box<dyn Fn(&Path<'_>, i64) -> Result<L, InitError> + Send>;

impl<'a, L> Lazy<'a, L> {
    fn new(
        path: &Path<'a>,
        kind: LayerKind,
        make: impl Fn(&Path<'_>, i64) -> Result<L, InitError> + Send + 'static,
    ) -> Lazy<'a, L> {
        Lazy {
            path: path.clone(),
            kind,
            make: Box::new(make),
            layer: OnceCell::new(),
        }
    }

    /// The kind of the layer.
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// The layer, if it has been made.
    pub fn layer(&self) -> Option<&L> {
        self.layer.get()
    }

    /// The layer, if it has been made; ends the borrow of the `VarStore`.
    pub fn into_layer(self) -> Option<L> {
        self.layer.into_inner()
    }

    /// The layer, which is made for inputs of this shape unless it was made before. Only the shape
    /// of the input is used.
    ///
    /// Draws what the eager constructor draws. An input without features or channels makes a layer
    /// that draws nothing, whose bias is zeros; PyTorch leaves that bias as its memory was.
    ///
    /// # Errors
    ///
    /// [`InitError::Dimensions`] if the layer does not take an input of that shape, and the errors
    /// of the eager constructor. Then the `VarStore` is as it was, and another input may be tried.
    pub fn materialize(&self, input: &Tensor) -> Result<&L, InitError> {
        match self.layer() {
            Some(layer) => Ok(layer),
            None => self.materialize_for(size_in(self.kind, &input.size())?),
        }
    }

    /// The layer, which is made for inputs of `in_dim` features or channels unless it was made
    /// before.
    ///
    /// # Errors
    ///
    /// The errors of the eager constructor.
    pub fn materialize_for(&self, in_dim: i64) -> Result<&L, InitError> {
        if let Some(layer) = self.layer() {
            return Ok(layer);
        }
        let layer = (self.make)(&self.path, in_dim)?;
        Ok(self.layer.get_or_init(|| layer))
    }
}

impl<L: fmt::Debug> fmt::Debug for Lazy<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy")
            .field(
                "path",
                &self.path.components().collect::<Vec<_>>().join("."),
            )
            .field("kind", &self.kind)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// The size that a lazy layer takes from its first input: `initialize_parameters` of `LazyLinear`,
/// `_LazyConvXdMixin` and `_LazyNormBase`, `torch/nn/modules/{linear,conv,batchnorm}.py`,
/// PyTorch 2.13.
///
/// PyTorch looks at the number of dimensions of a normalization's input only after it has made the
/// parameters, and raises then; here they are not made.
fn size_in(kind: LayerKind, shape: &[i64]) -> Result<i64, InitError> {
    use LayerKind::*;
    let (least, most, supported) = match kind {
        Linear => (1, usize::MAX, "1 or more"),
        Conv1d | ConvTranspose1d | BatchNorm1d | InstanceNorm1d => (2, 3, "2 or 3"),
        Conv2d | ConvTranspose2d | InstanceNorm2d => (3, 4, "3 or 4"),
        Conv3d | ConvTranspose3d | InstanceNorm3d => (4, 5, "4 or 5"),
        BatchNorm2d => (4, 4, "4"),
        _ => (5, 5, "5"),
    };
    let dimensions = shape.len();
    if !(least..=most).contains(&dimensions) {
        return Err(InitError::Dimensions {
            function: kind.name(),
            supported,
            shape: shape.to_vec(),
        });
    }
    // PyTorch looks for the batch before convolutions only.
    let is_conv = (Conv1d..=ConvTranspose3d).contains(&kind);
    Ok(match kind {
        Linear => shape[dimensions - 1],
        _ if is_conv && dimensions == least => shape[0],
        _ => shape[1],
    })
}

/// The initializer of a bias; without a draw in a layer for inputs without features or channels,
/// whose `reset_parameters` PyTorch skips.
fn bias_init(in_dim: i64, init: Init) -> Init {
    if in_dim == 0 && init::is_pytorch_default(init) {
        Init::Const(0.0)
    } else {
        init
    }
}

/// A lazy constructor.
macro_rules! lazy {
    ($(
        $name:ident $([$($generic:tt)*])?, $kind:literal,
        ($($arg:ident: $type:ty),*) -> $layer:ty, $example:literal, $infers:literal,
        |$path:ident| $make:expr;
    )*) => {$(
        #[doc = concat!("`torch.nn.", $kind, "`: the layer of [`", $infers, "`](super::", $infers, "), made when its input is known.")]
        ///
        /// Draws nothing now.
        ///
        /// # Errors
        ///
        /// [`InitError::Channels`] for a convolution whose `groups` are not positive or do not
        /// divide the channels of its output, [`InitError::Dimensions`] for one whose kernel has
        /// other than 1 to 3 dimensions. Anything else shows when the layer is made.
        ///
        /// ```
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// # use tch_init::nn::*;
        /// let vs = VarStore::new(tch::Device::Cpu);
        #[doc = concat!("let lazy = ", stringify!($name), "(vs.root(), ", $example, ")?;")]
        /// let layer = lazy.materialize_for(8)?;
        /// assert!(!vs.is_empty());
        /// # Ok(())
        /// # }
        /// ```
        pub fn $name<'a, $($($generic)*,)? T: Borrow<Path<'a>>>(
            vs: T,
            $($arg: $type),*
        ) -> Result<Lazy<'a, $layer>, InitError> {
            let $path = vs.borrow();
            $make
        }
    )*};
}

lazy! {
    lazy_linear, "LazyLinear",
    (out_dim: i64, config: LinearConfig) -> Linear, "16, Default::default()", "f_linear",
    |path| Ok(Lazy::new(path, LayerKind::Linear, move |path, in_dim| {
        let bs_init = bias_init(in_dim, config.bs_init.unwrap_or(PYTORCH_DEFAULT));
        let config = LinearConfig { bs_init: Some(bs_init), ..config };
        f_linear(path, in_dim, out_dim, config)
    }));

    lazy_conv [const N: usize], "LazyConv1d`, `LazyConv2d` or `LazyConv3d",
    (out_dim: i64, ksizes: [i64; N], config: ConvConfigND<[i64; N]>) -> nn::Conv<[i64; N]>,
    "16, [3, 5], Default::default()", "f_conv",
    |path| {
        let kind = conv::kind(ksizes)?;
        check_channels(kind, 0, out_dim, config.groups)?;
        Ok(Lazy::new(path, kind, move |path, in_dim| {
            let bs_init = bias_init(in_dim, config.bs_init);
            f_conv(path, in_dim, out_dim, ksizes, ConvConfigND { bs_init, ..config })
        }))
    };

    lazy_conv1d, "LazyConv1d",
    (out_dim: i64, ksize: i64, config: ConvConfig) -> Conv1D, "16, 3, Default::default()", "f_conv1d",
    |path| lazy_conv(path, out_dim, [ksize; _], config.in_dimensions());

    lazy_conv2d, "LazyConv2d",
    (out_dim: i64, ksize: i64, config: ConvConfig) -> Conv2D, "16, 3, Default::default()", "f_conv2d",
    |path| lazy_conv(path, out_dim, [ksize; _], config.in_dimensions());

    lazy_conv3d, "LazyConv3d",
    (out_dim: i64, ksize: i64, config: ConvConfig) -> Conv3D, "16, 3, Default::default()", "f_conv3d",
    |path| lazy_conv(path, out_dim, [ksize; _], config.in_dimensions());
}

lazy! {
    lazy_conv_transpose [const N: usize],
    "LazyConvTranspose1d`, `LazyConvTranspose2d` or `LazyConvTranspose3d",
    (out_dim: i64, ksizes: [i64; N], config: ConvTransposeConfigND<[i64; N]>) -> ConvTranspose<N>,
    "16, [3, 5], Default::default()", "conv_transpose",
    |path| {
        let kind = conv_transpose::kind(ksizes)?;
        check_channels(kind, 0, out_dim, config.groups)?;
        Ok(Lazy::new(path, kind, move |path, in_dim| {
            let bs_init = bias_init(in_dim, config.bs_init);
            let config = ConvTransposeConfigND { bs_init, ..config };
            conv_transpose::conv_transpose(path, in_dim, out_dim, ksizes, config)
        }))
    };
}

macro_rules! lazy_conv_transpose {
    ($($name:ident, $eager:ident, $layer:ident, $kind:ident, $torch:literal, $infers:literal;)*) => {
        lazy! {$(
            $name, $torch,
            (out_dim: i64, ksize: i64, config: ConvTransposeConfig) -> $layer, "16, 3, Default::default()", $infers,
            |path| {
                check_channels(LayerKind::$kind, 0, out_dim, config.groups)?;
                Ok(Lazy::new(path, LayerKind::$kind, move |path, in_dim| {
                    let bs_init = bias_init(in_dim, config.bs_init);
                    let config = ConvTransposeConfig { bs_init, ..config };
                    $eager(path, in_dim, out_dim, ksize, config)
                }))
            };
        )*}
    };
}

lazy_conv_transpose! {
    lazy_conv_transpose1d, f_conv_transpose1d, ConvTranspose1D,
    ConvTranspose1d, "LazyConvTranspose1d", "f_conv_transpose1d";
    lazy_conv_transpose2d, f_conv_transpose2d, ConvTranspose2D,
    ConvTranspose2d, "LazyConvTranspose2d", "f_conv_transpose2d";
    lazy_conv_transpose3d, f_conv_transpose3d, ConvTranspose3D,
    ConvTranspose3d, "LazyConvTranspose3d", "f_conv_transpose3d";
}

lazy! {
    lazy_batch_norm1d, "LazyBatchNorm1d",
    (config: BatchNormConfig) -> BatchNorm, "Default::default()", "f_batch_norm1d",
    |path| Ok(Lazy::new(path, LayerKind::BatchNorm1d, move |path, features| {
        f_batch_norm1d(path, features, config)
    }));

    lazy_batch_norm2d, "LazyBatchNorm2d",
    (config: BatchNormConfig) -> BatchNorm, "Default::default()", "f_batch_norm2d",
    |path| Ok(Lazy::new(path, LayerKind::BatchNorm2d, move |path, features| {
        f_batch_norm2d(path, features, config)
    }));

    lazy_batch_norm3d, "LazyBatchNorm3d",
    (config: BatchNormConfig) -> BatchNorm, "Default::default()", "f_batch_norm3d",
    |path| Ok(Lazy::new(path, LayerKind::BatchNorm3d, move |path, features| {
        f_batch_norm3d(path, features, config)
    }));
}

macro_rules! forward {
    ($($layer:ty),*) => {$(
        impl Module for Lazy<'_, $layer> {
            /// Makes the layer if this is its first input.
            fn forward(&self, input: &Tensor) -> Tensor {
                or_panic(self.materialize(input)).forward(input)
            }
        }
    )*};
}

forward!(
    Linear,
    Conv1D,
    Conv2D,
    Conv3D,
    ConvTranspose1D,
    ConvTranspose2D,
    ConvTranspose3D
);

impl<const N: usize> Module for Lazy<'_, ConvTranspose<N>> {
    /// Makes the layer if this is its first input.
    fn forward(&self, input: &Tensor) -> Tensor {
        or_panic(self.materialize(input)).forward(input)
    }
}

impl ModuleT for Lazy<'_, InstanceNorm> {
    /// Makes the layer if this is its first input.
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        or_panic(self.materialize(input)).forward_t(input, train)
    }
}

impl ModuleT for Lazy<'_, BatchNorm> {
    /// Makes the layer if this is its first input.
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        or_panic(self.materialize(input)).forward_t(input, train)
    }
}

macro_rules! lazy_instance_norm {
    ($($name:ident, $eager:ident, $kind:ident, $torch:literal, $infers:literal;)*) => {
        lazy! {$(
            $name, $torch, (config: InstanceNormConfig) -> InstanceNorm, "Default::default()",
            $infers,
            |path| Ok(Lazy::new(path, LayerKind::$kind, move |path, features| {
                // The defaults of the lazy classes, `torch/nn/modules/instancenorm.py`.
                let affine = config.affine.unwrap_or(true);
                let track_running_stats = config.track_running_stats.unwrap_or(true);
                // Without parameters and statistics PyTorch infers nothing and keeps 0.
                let features = if affine || track_running_stats { features } else { 0 };
                let config = config.affine(affine).track_running_stats(track_running_stats);
                $eager(path, features, config)
            }));
        )*}
    };
}

lazy_instance_norm! {
    lazy_instance_norm1d, instance_norm1d, InstanceNorm1d,
    "LazyInstanceNorm1d", "instance_norm1d";
    lazy_instance_norm2d, instance_norm2d, InstanceNorm2d,
    "LazyInstanceNorm2d", "instance_norm2d";
    lazy_instance_norm3d, instance_norm3d, InstanceNorm3d,
    "LazyInstanceNorm3d", "instance_norm3d";
}
