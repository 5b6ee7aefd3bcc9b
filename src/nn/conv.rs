//! Convolutions.

use super::build::{make, python_tuple};
use super::init::PYTORCH_DEFAULT;
use super::start::Start;
use super::{LayerKind, or_panic, placeholder};
use crate::error::InitError;
use std::borrow::Borrow;
use tch::nn::{self, Conv1D, Conv2D, Conv3D, Init, PaddingMode, Path};

/// Options of a convolution, one number a dimension: tch's fields, PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct ConvConfigND<ND> {
    /// Steps of the kernel. PyTorch's default: 1.
    pub stride: ND,
    /// Elements added on each side of the input. PyTorch's default: 0.
    pub padding: ND,
    /// Distance between the kernel's elements. PyTorch's default: 1.
    pub dilation: ND,
    /// Groups of channels that see only each other. PyTorch's default: 1.
    pub groups: i64,
    /// Whether there is a bias. PyTorch's default: yes.
    pub bias: bool,
    /// How the weight starts. Default: as in PyTorch.
    pub ws_init: Init,
    /// How the bias starts. Default: as in PyTorch.
    pub bs_init: Init,
    /// What the added elements hold. PyTorch's default: zeros.
    pub padding_mode: PaddingMode,
}

/// Options of a convolution that are the same in all dimensions.
pub type ConvConfig = ConvConfigND<i64>;

impl Default for ConvConfig {
    fn default() -> ConvConfig {
        ConvConfig {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            ws_init: PYTORCH_DEFAULT,
            bs_init: PYTORCH_DEFAULT,
            padding_mode: PaddingMode::Zeros,
        }
    }
}

impl<const N: usize> Default for ConvConfigND<[i64; N]> {
    fn default() -> Self {
        ConvConfig::default().in_dimensions()
    }
}

impl ConvConfig {
    pub(super) fn in_dimensions<const N: usize>(self) -> ConvConfigND<[i64; N]> {
        ConvConfigND {
            stride: [self.stride; N],
            padding: [self.padding; N],
            dilation: [self.dilation; N],
            groups: self.groups,
            bias: self.bias,
            ws_init: self.ws_init,
            bs_init: self.bs_init,
            padding_mode: self.padding_mode,
        }
    }
}

/// The default options without a bias.
pub fn no_bias() -> ConvConfig {
    ConvConfig {
        bias: false,
        ..ConvConfig::default()
    }
}

/// `torch.nn.Conv1d`, `Conv2d` or `Conv3d`, by the length of `ksizes`: `weight` of shape
/// `[out_dim, in_dim / groups, *ksizes]`, then `bias` of shape `[out_dim]`, both uniform over
/// `+-1/sqrt(fan_in)`.
///
/// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_).
///
/// The forward pass is tch's: with a padding mode other than zeros it exchanges paddings that
/// differ between dimensions, which is warned of in the log.
///
/// # Errors
///
/// [`InitError::Channels`] if `groups` is not positive or does not divide both channels,
/// [`InitError::Dimensions`] for kernels of other than 1 to 3 dimensions, [`InitError::Libtorch`]
/// for negative sizes or a `VarStore` whose kind cannot be trained.
///
/// ```
/// use tch::nn::VarStore;
/// use tch_init::nn::{ConvConfigND, f_conv};
///
/// # fn main() -> Result<(), tch_init::InitError> {
/// let vs = VarStore::new(tch::Device::Cpu);
/// let config = ConvConfigND { padding: [0, 1], ..Default::default() };
/// let conv = f_conv(vs.root() / "conv", 3, 16, [1, 3], config)?;
/// assert_eq!(conv.ws.size(), [16, 3, 1, 3]);
/// assert!(conv.ws.abs().max().double_value(&[]) <= 1.0 / 9f64.sqrt());
/// # Ok(())
/// # }
/// ```
pub fn f_conv<'a, const N: usize, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    out_dim: i64,
    ksizes: [i64; N],
    config: ConvConfigND<[i64; N]>,
) -> Result<nn::Conv<[i64; N]>, InitError> {
    let kind = kind(ksizes)?;
    check_channels(kind, in_dim, out_dim, config.groups)?;
    if !matches!(config.padding_mode, PaddingMode::Zeros)
        && config.padding != [config.padding[0]; N]
    {
        log::warn!(
            "{kind}: tch 0.26 exchanges paddings that differ between dimensions, {:?}, unless the \
             padding mode is zeros: pad the input yourself",
            config.padding
        );
    }
    let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
    make(vs.borrow(), &overrides, |build| {
        build.layer(kind, Start::Conv, |build| {
            let mut conv = placeholder(|scratch| {
                let config = nn::ConvConfigND {
                    stride: config.stride,
                    padding: config.padding,
                    dilation: config.dilation,
                    groups: config.groups,
                    bias: false,
                    ws_init: Init::Const(0.0),
                    bs_init: Init::Const(0.0),
                    padding_mode: config.padding_mode,
                };
                nn::conv(scratch, 1, 1, [1; N], config)
            });
            let mut shape = vec![out_dim, in_dim / config.groups];
            shape.extend(ksizes);
            conv.ws = build.parameter("weight", &shape)?;
            conv.bs = build.optional_parameter(config.bias, "bias", &[out_dim])?;
            let repr = ConvRepr {
                channels: [in_dim, out_dim],
                kernel_size: ksizes,
                stride: config.stride,
                padding: config.padding,
                dilation: config.dilation,
                output_padding: [0; N],
                groups: config.groups,
                bias: config.bias,
                padding_mode: config.padding_mode,
            };
            Ok((conv, repr.text(kind)))
        })
    })
}

/// [`f_conv`] with tch's signature.
///
/// # Panics
///
/// As `tch::nn::conv`, where [`f_conv`] returns an error.
pub fn conv<'a, const N: usize, T: Borrow<Path<'a>>>(
    vs: T,
    in_dim: i64,
    out_dim: i64,
    ksizes: [i64; N],
    config: ConvConfigND<[i64; N]>,
) -> nn::Conv<[i64; N]> {
    or_panic(f_conv(vs, in_dim, out_dim, ksizes, config))
}

macro_rules! one_size {
    ($($name:ident, $fallible:ident, $layer:ty, $torch:literal;)*) => {$(
        #[doc = concat!("`torch.nn.", $torch, "` with the same kernel and options in all dimensions.")]
        ///
        /// # Errors
        ///
        /// As [`f_conv`], which it calls.
        ///
        /// ```
        /// # fn main() -> Result<(), tch_init::InitError> {
        /// let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        #[doc = concat!("let conv = tch_init::nn::", stringify!($fallible), "(vs.root() / \"conv\", 3, 16, 5, Default::default())?;")]
        /// assert_eq!(conv.ws.size()[..3], [16, 3, 5]);
        /// # Ok(())
        /// # }
        /// ```
        pub fn $fallible<'a, T: Borrow<Path<'a>>>(
            vs: T,
            in_dim: i64,
            out_dim: i64,
            ksize: i64,
            config: ConvConfig,
        ) -> Result<$layer, InitError> {
            let config = config.in_dimensions();
            f_conv(vs, in_dim, out_dim, [ksize; _], config)
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
            config: ConvConfig,
        ) -> $layer {
            or_panic($fallible(vs, in_dim, out_dim, ksize, config))
        }
    )*};
}

one_size! {
    conv1d, f_conv1d, Conv1D, "Conv1d";
    conv2d, f_conv2d, Conv2D, "Conv2d";
    conv3d, f_conv3d, Conv3D, "Conv3d";
}

/// What Python prints of a convolution: `_ConvNd.extra_repr`, PyTorch 2.13.
pub(super) struct ConvRepr<const N: usize> {
    pub(super) channels: [i64; 2],
    pub(super) kernel_size: [i64; N],
    pub(super) stride: [i64; N],
    pub(super) padding: [i64; N],
    pub(super) dilation: [i64; N],
    pub(super) output_padding: [i64; N],
    pub(super) groups: i64,
    pub(super) bias: bool,
    pub(super) padding_mode: PaddingMode,
}

impl<const N: usize> ConvRepr<N> {
    pub(super) fn text(&self, kind: LayerKind) -> String {
        format!("{kind}({})", self.arguments())
    }

    fn arguments(&self) -> String {
        let [in_channels, out_channels] = self.channels;
        let mut text = format!(
            "{in_channels}, {out_channels}, kernel_size={}, stride={}",
            python_tuple(&self.kernel_size),
            python_tuple(&self.stride)
        );
        let mut unless = |default: i64, name: &str, values: &[i64; N]| {
            if *values != [default; N] {
                text.push_str(&format!(", {name}={}", python_tuple(values)));
            }
        };
        unless(0, "padding", &self.padding);
        unless(1, "dilation", &self.dilation);
        unless(0, "output_padding", &self.output_padding);
        if self.groups != 1 {
            text.push_str(&format!(", groups={}", self.groups));
        }
        if !self.bias {
            text.push_str(", bias=False");
        }
        let mode = match self.padding_mode {
            PaddingMode::Zeros => return text,
            PaddingMode::Reflect => "reflect",
            PaddingMode::Replicate => "replicate",
            PaddingMode::Circular => "circular",
        };
        text + ", padding_mode=" + mode
    }
}

/// The kind of a convolution with this kernel.
pub(super) fn kind<const N: usize>(ksizes: [i64; N]) -> Result<LayerKind, InitError> {
    match N {
        1 => Ok(LayerKind::Conv1d),
        2 => Ok(LayerKind::Conv2d),
        3 => Ok(LayerKind::Conv3d),
        _ => Err(InitError::Dimensions {
            function: "conv",
            supported: "1 to 3 kernel",
            shape: ksizes.to_vec(),
        }),
    }
}

/// What `_ConvNd.__init__` demands of channels and groups.
pub(super) fn check_channels(
    kind: LayerKind,
    in_channels: i64,
    out_channels: i64,
    groups: i64,
) -> Result<(), InitError> {
    if groups > 0 && in_channels % groups == 0 && out_channels % groups == 0 {
        return Ok(());
    }
    Err(InitError::Channels {
        kind: kind.name(),
        in_channels,
        out_channels,
        groups,
    })
}
