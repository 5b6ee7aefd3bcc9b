//! Transposed convolutions.

use super::conv::{ConvNd, kernel_dims};
use super::printed::{PrintError, Printed};
use super::spec::{LayerRule, LayerSpec, VariableShapes};
use crate::nn::kind::LayerKind;

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(ConvNd::from_printed(kind, printed)?.spec()?)
    }

    /// The weight is `[in, out / groups, ..]` with groups that divide `in`, the bias is `[out]`.
    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [in_channels, per_group, ref kernel @ ..] = *variables.parameter("weight")? else {
            return None;
        };
        if kernel.len() != kernel_dims(kind) {
            return None;
        }
        let bias = variables.parameter("bias");
        let groups = match bias {
            None => 1,
            Some(&[out_channels]) if per_group > 0 && out_channels % per_group == 0 => {
                out_channels / per_group
            }
            Some(_) => return None,
        };
        let channels = [in_channels, per_group.checked_mul(groups)?];
        let conv = ConvNd {
            groups,
            bias: bias.is_some(),
            ..ConvNd::new(kind, channels, kernel)
        };
        variables.matching(conv.spec().ok()?)
    }
}

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::conv::{ConvNd, dims_kind};
    use crate::nn::init::PYTORCH_DEFAULT;
    use crate::nn::kind::LayerKind;
    use crate::nn::named_tensors::NamedTensors;
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{self, ConvTranspose1D, ConvTranspose2D, ConvTranspose3D, Init, Module, Path};

    /// Options of a transposed convolution, one number a dimension: tch's fields, PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct ConvTransposeConfigND<ND> {
        /// Steps of the kernel. PyTorch's default: 1.
        pub stride: ND,
        /// Elements taken from each side of the output. PyTorch's default: 0.
        pub padding: ND,
        /// Elements added to one side of the output. PyTorch's default: 0.
        pub output_padding: ND,
        /// Number of groups of channels that are connected only within the group. PyTorch's
        /// default: 1.
        pub groups: i64,
        /// Whether the layer has a bias. PyTorch's default: yes.
        pub bias: bool,
        /// Distance between the kernel's elements. PyTorch's default: 1.
        pub dilation: ND,
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias. Default: PyTorch's.
        pub bs_init: Init,
    }

    /// Options of a transposed convolution that are the same in all dimensions.
    pub type ConvTransposeConfig = ConvTransposeConfigND<i64>;

    impl Default for ConvTransposeConfig {
        fn default() -> ConvTransposeConfig {
            ConvTransposeConfig {
                stride: 1,
                padding: 0,
                output_padding: 0,
                groups: 1,
                bias: true,
                dilation: 1,
                ws_init: PYTORCH_DEFAULT,
                bs_init: PYTORCH_DEFAULT,
            }
        }
    }

    impl<const N: usize> Default for ConvTransposeConfigND<[i64; N]> {
        fn default() -> Self {
            ConvTransposeConfig::default().in_dimensions()
        }
    }

    impl ConvTransposeConfig {
        pub(in crate::nn) fn in_dimensions<const N: usize>(
            self,
        ) -> ConvTransposeConfigND<[i64; N]> {
            ConvTransposeConfigND {
                stride: [self.stride; N],
                padding: [self.padding; N],
                output_padding: [self.output_padding; N],
                groups: self.groups,
                bias: self.bias,
                dilation: [self.dilation; N],
                ws_init: self.ws_init,
                bs_init: self.bs_init,
            }
        }
    }

    /// `torch.nn.ConvTranspose1d`, `ConvTranspose2d` or `ConvTranspose3d` with options of its own in
    /// every dimension, which tch 0.26 cannot make. Made by [`conv_transpose`].
    #[derive(Debug)]
    pub struct ConvTranspose<const N: usize> {
        /// The weight, of shape `[in_dim, out_dim / groups, *ksizes]`.
        pub ws: Tensor,
        /// The bias, one per channel of the output.
        pub bs: Option<Tensor>,
        config: ConvTransposeConfigND<[i64; N]>,
        kind: LayerKind,
    }

    impl<const N: usize> ConvTranspose<N> {
        /// The forward pass of `[batch, channels, ..]`, or of `[channels, ..]` for a single sample.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for another number of dimensions or of channels, and for an
        /// output padding that is neither below the stride nor below the dilation.
        pub fn f_forward(&self, xs: &Tensor) -> Result<Tensor, InitError> {
            let ConvTransposeConfigND {
                stride,
                padding,
                output_padding,
                groups,
                dilation,
                ..
            } = self.config;
            let bs = self.bs.as_ref();
            let (stride, padding) = (&stride[..], &padding[..]);
            let (more, dilation) = (&output_padding[..], &dilation[..]);
            match N {
                1 => xs.f_conv_transpose1d(&self.ws, bs, stride, padding, more, groups, dilation),
                2 => xs.f_conv_transpose2d(&self.ws, bs, stride, padding, more, groups, dilation),
                _ => xs.f_conv_transpose3d(&self.ws, bs, stride, padding, more, groups, dilation),
            }
            .context(self.kind.name(), xs)
        }
    }

    impl<const N: usize> Module for ConvTranspose<N> {
        /// [`ConvTranspose::f_forward`], which panics where that returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs))
        }
    }

    /// `torch.nn.ConvTranspose1d`, `ConvTranspose2d` or `ConvTranspose3d`, by the length of `ksizes`:
    /// `weight` of shape `[in_dim, out_dim / groups, *ksizes]`, then `bias` of shape `[out_dim]`, both
    /// uniform over `+-1/sqrt(fan)` with the fan of the weight's second dimension.
    ///
    /// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_).
    ///
    /// # Errors
    ///
    /// [`InitError::Channels`] if `groups` is not positive or does not divide both channels,
    /// [`InitError::Dimensions`] for kernels of other than 1 to 3 dimensions,
    /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
    ///
    /// ```
    /// use tch::{Tensor, kind::FLOAT_CPU};
    /// use tch_init::nn::{ConvTransposeConfigND, Module, VarStore, conv_transpose};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let config = ConvTransposeConfigND { stride: [1, 2], padding: [0, 1], ..Default::default() };
    /// let up = conv_transpose(vs.root() / "up", 16, 8, [3, 4], config)?;
    /// assert_eq!(up.ws.size(), [16, 8, 3, 4]);
    /// assert_eq!(up.forward(&Tensor::zeros([1, 16, 5, 5], FLOAT_CPU)).size(), [1, 8, 7, 10]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn conv_transpose<'a, const N: usize, T: Borrow<Path<'a>>>(
        vs: T,
        in_dim: i64,
        out_dim: i64,
        ksizes: [i64; N],
        config: ConvTransposeConfigND<[i64; N]>,
    ) -> Result<ConvTranspose<N>, InitError> {
        let kind = kind(ksizes)?;
        let tensors = variables(vs.borrow(), kind, [in_dim, out_dim], ksizes, config)?;
        Ok(ConvTranspose {
            ws: tensors.required(kind, "weight")?,
            bs: tensors.get("bias"),
            config,
            kind,
        })
    }

    /// The kind of a transposed convolution with this kernel.
    pub(in crate::nn) fn kind<const N: usize>(ksizes: [i64; N]) -> Result<LayerKind, InitError> {
        let kinds = [
            LayerKind::ConvTranspose1d,
            LayerKind::ConvTranspose2d,
            LayerKind::ConvTranspose3d,
        ];
        dims_kind("conv_transpose", kinds, ksizes)
    }

    /// The variables of a transposed convolution.
    fn variables<const N: usize>(
        path: &Path<'_>,
        kind: LayerKind,
        channels: [i64; 2],
        ksizes: [i64; N],
        config: ConvTransposeConfigND<[i64; N]>,
    ) -> Result<NamedTensors, InitError> {
        let conv = ConvNd {
            stride: config.stride.to_vec(),
            padding: config.padding.to_vec(),
            dilation: config.dilation.to_vec(),
            output_padding: config.output_padding.to_vec(),
            groups: config.groups,
            bias: config.bias,
            ..ConvNd::new(kind, channels, &ksizes)
        };
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        build(path, &conv.spec()?, &overrides)
    }

    impl ConvTransposeConfig {
        /// tch's options of a layer that draws nothing when it is made.
        fn placeholder(self) -> nn::ConvTransposeConfig {
            nn::ConvTransposeConfig {
                stride: self.stride,
                padding: self.padding,
                output_padding: self.output_padding,
                groups: self.groups,
                bias: false,
                dilation: self.dilation,
                ws_init: Init::Const(0.0),
                bs_init: Init::Const(0.0),
            }
        }
    }

    macro_rules! conv_transpose {
    ($($name:ident, $fallible:ident, $layer:ty, $dims:literal, $kind:ident;)*) => {$(
        #[doc = concat!("`torch.nn.", stringify!($kind), "`: `weight` of shape")]
        /// `[in_dim, out_dim / groups, ksize, ..]`, then `bias` of shape `[out_dim]`, both uniform
        /// over `+-1/sqrt(fan)` with the fan of the weight's second dimension.
        ///
        /// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_).
        ///
        /// # Errors
        ///
        /// [`InitError::Channels`] if `groups` is not positive or does not divide both channels,
        /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be
        /// trained.
        ///
        /// ```
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        #[doc = concat!("let up = tch_init::nn::", stringify!($fallible), "(vs.root() / \"up\", 16, 8, 2, Default::default())?;")]
        /// assert_eq!(up.ws.size()[..3], [16, 8, 2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn $fallible<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            out_dim: i64,
            ksize: i64,
            config: ConvTransposeConfig,
        ) -> Result<$layer, InitError> {
            let kernel = [ksize; $dims];
            let tensors = variables(
                vs.borrow(),
                LayerKind::$kind,
                [in_dim, out_dim],
                kernel,
                config.in_dimensions(),
            )?;
            let mut layer =
                placeholder(|scratch| nn::$name(scratch, 1, 1, 1, config.placeholder()));
            layer.ws = tensors.required(LayerKind::$kind, "weight")?;
            layer.bs = tensors.get("bias");
            Ok(layer)
        }

        #[doc = concat!("[`", stringify!($fallible), "`] with tch's signature.")]
        ///
        /// # Panics
        ///
        /// As tch's, where the fallible one returns an error.
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            out_dim: i64,
            ksize: i64,
            config: ConvTransposeConfig,
        ) -> $layer {
            or_panic($fallible(vs, in_dim, out_dim, ksize, config))
        }
    )*};
}

    conv_transpose! {
        conv_transpose1d, f_conv_transpose1d, ConvTranspose1D, 1, ConvTranspose1d;
        conv_transpose2d, f_conv_transpose2d, ConvTranspose2D, 2, ConvTranspose2d;
        conv_transpose3d, f_conv_transpose3d, ConvTranspose3D, 3, ConvTranspose3d;
    }
}
