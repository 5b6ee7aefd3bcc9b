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
    use crate::error::InitError;
    use crate::nn::builder::build;
    use crate::nn::conv::ConvNd;
    use crate::nn::init::PYTORCH_DEFAULT;
    use crate::nn::kind::LayerKind;
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::nn::{self, ConvTranspose1D, ConvTranspose2D, ConvTranspose3D, Init, Path};

    /// Options of a transposed convolution, the same in all dimensions: tch's fields, PyTorch's
    /// defaults.
    ///
    /// tch's constructors take one number for all dimensions, [`ConvTransposeConfig`].
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

    /// Options of a transposed convolution as the constructors take them.
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
            let spec = ConvNd {
                stride: vec![config.stride; $dims],
                padding: vec![config.padding; $dims],
                dilation: vec![config.dilation; $dims],
                output_padding: vec![config.output_padding; $dims],
                groups: config.groups,
                bias: config.bias,
                ..ConvNd::new(LayerKind::$kind, [in_dim, out_dim], &kernel)
            };
            let spec = spec.spec()?;
            let mut layer =
                placeholder(|scratch| nn::$name(scratch, 1, 1, 1, config.placeholder()));
            let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
            let tensors = build(vs.borrow(), &spec, &overrides)?;
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
