//! Transposed convolutions.

use super::conv::ConvRepr;
use super::variable::{Variables, check_channels, placeholder};
use super::{LayerKind, reset};
use crate::error::InitError;
use std::borrow::Borrow;
use tch::Tensor;
use tch::nn::{self, ConvTranspose1D, ConvTranspose2D, ConvTranspose3D, Init, PaddingMode, Path};

/// Options of a transposed convolution, the same in all dimensions; the defaults are PyTorch's.
///
/// tch's layer has no way to be given different ones by dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvTransposeConfig {
    /// Steps of the kernel. PyTorch's default: 1.
    pub stride: i64,
    /// Elements taken from each side of the output. PyTorch's default: 0.
    pub padding: i64,
    /// Elements added to one side of the output. PyTorch's default: 0.
    pub output_padding: i64,
    /// Groups of channels that see only each other. PyTorch's default: 1.
    pub groups: i64,
    /// Whether there is a bias. PyTorch's default: yes.
    pub bias: bool,
    /// Distance between the kernel's elements. PyTorch's default: 1.
    pub dilation: i64,
}

impl Default for ConvTransposeConfig {
    fn default() -> ConvTransposeConfig {
        ConvTransposeConfig {
            stride: 1,
            padding: 0,
            output_padding: 0,
            groups: 1,
            bias: true,
            dilation: 1,
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

/// The parameters of a transposed convolution with a kernel of `N` dimensions.
fn parameters<const N: usize>(
    path: &Path<'_>,
    kind: LayerKind,
    [in_dim, out_dim, ksize]: [i64; 3],
    config: ConvTransposeConfig,
) -> Result<(Tensor, Option<Tensor>), InitError> {
    check_channels(kind, in_dim, out_dim, config.groups)?;
    let mut variables = Variables::new(path, kind.name());
    let mut shape = vec![in_dim, out_dim / config.groups];
    shape.extend([ksize; N]);
    let mut ws = variables.parameter("weight", &shape)?;
    let mut bs = variables.optional_parameter(config.bias, "bias", &[out_dim])?;
    reset::conv_(&mut ws, bs.as_mut())?;
    let repr = ConvRepr {
        channels: [in_dim, out_dim],
        kernel_size: [ksize; N],
        stride: [config.stride; N],
        padding: [config.padding; N],
        dilation: [config.dilation; N],
        output_padding: [config.output_padding; N],
        groups: config.groups,
        bias: config.bias,
        padding_mode: PaddingMode::Zeros,
    };
    variables.done(kind, repr.text())?;
    Ok((ws, bs))
}

macro_rules! conv_transpose {
    ($($name:ident, $tch:ident, $layer:ty, $dims:literal, $kind:ident;)*) => {$(
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
        #[doc = concat!("let up = tch_init::nn::", stringify!($name), "(vs.root() / \"up\", 16, 8, 2, Default::default())?;")]
        /// assert_eq!(up.ws.size()[..3], [16, 8, 2]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn $name<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            out_dim: i64,
            ksize: i64,
            config: ConvTransposeConfig,
        ) -> Result<$layer, InitError> {
            let sizes = [in_dim, out_dim, ksize];
            let (ws, bs) = parameters::<$dims>(vs.borrow(), LayerKind::$kind, sizes, config)?;
            let mut layer =
                placeholder(|scratch| nn::$tch(scratch, 1, 1, 1, config.placeholder()));
            layer.ws = ws;
            layer.bs = bs;
            Ok(layer)
        }
    )*};
}

conv_transpose! {
    f_conv_transpose1d, conv_transpose1d, ConvTranspose1D, 1, ConvTranspose1d;
    f_conv_transpose2d, conv_transpose2d, ConvTranspose2D, 2, ConvTranspose2d;
    f_conv_transpose3d, conv_transpose3d, ConvTranspose3D, 3, ConvTranspose3d;
}
