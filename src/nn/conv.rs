//! Convolutions.

use super::printed::{PrintError, Printed, python_tuple};
use super::spec::{LayerRule, LayerSpec, VariableShapes, default_bias, kaiming_default};
use crate::error::InitError;
use crate::nn::kind::LayerKind;

/// The arguments of a convolution or a transposed one: `_ConvNd`, `torch/nn/modules/conv.py`,
/// PyTorch 2.13. The vectors have one element for each dimension of the kernel.
#[derive(Debug, Clone)]
pub(super) struct ConvNd {
    pub(super) kind: LayerKind,
    pub(super) in_channels: i64,
    pub(super) out_channels: i64,
    pub(super) kernel_size: Vec<i64>,
    pub(super) stride: Vec<i64>,
    pub(super) padding: Vec<i64>,
    pub(super) dilation: Vec<i64>,
    pub(super) output_padding: Vec<i64>,
    pub(super) groups: i64,
    pub(super) bias: bool,
    /// As PyTorch names it.
    pub(super) padding_mode: &'static str,
}

impl ConvNd {
    /// A convolution with PyTorch's defaults.
    pub(super) fn new(
        kind: LayerKind,
        [in_channels, out_channels]: [i64; 2],
        kernel_size: &[i64],
    ) -> ConvNd {
        let all = |value| vec![value; kernel_size.len()];
        ConvNd {
            kind,
            in_channels,
            out_channels,
            kernel_size: kernel_size.to_vec(),
            stride: all(1),
            padding: all(0),
            dilation: all(1),
            output_padding: all(0),
            groups: 1,
            bias: true,
            padding_mode: "zeros",
        }
    }

    /// `_ConvNd.__init__` and `reset_parameters`.
    pub(super) fn spec(&self) -> Result<LayerSpec, InitError> {
        check_channels(self.kind, self.in_channels, self.out_channels, self.groups)?;
        let mut weight = match is_transposed(self.kind) {
            false => vec![self.out_channels, self.in_channels / self.groups],
            true => vec![self.in_channels, self.out_channels / self.groups],
        };
        weight.extend(&self.kernel_size);
        Ok(LayerSpec::new(self.kind, self.repr())
            .parameter("weight", &weight, kaiming_default(&weight))
            .in_row_major_order()
            .parameter_if(
                self.bias,
                "bias",
                &[self.out_channels],
                default_bias(&weight),
            ))
    }

    /// `_ConvNd.extra_repr`.
    fn repr(&self) -> String {
        let mut text = format!(
            "{}({}, {}, kernel_size={}, stride={}",
            self.kind,
            self.in_channels,
            self.out_channels,
            python_tuple(&self.kernel_size),
            python_tuple(&self.stride)
        );
        let mut unless = |default: i64, name: &str, values: &[i64]| {
            if values.iter().any(|value| *value != default) {
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
        if self.padding_mode != "zeros" {
            text.push_str(&format!(", padding_mode={}", self.padding_mode));
        }
        text + ")"
    }

    /// The layer that was printed. Paddings and strides, which do not affect the variables, are not
    /// read.
    pub(super) fn from_printed(kind: LayerKind, printed: &Printed) -> Result<ConvNd, PrintError> {
        let dims = kernel_dims(kind);
        let kernel = printed.ints("kernel_size", None)?;
        let kernel = match kernel[..] {
            [one] => vec![one; dims],
            _ if kernel.len() == dims => kernel,
            _ => return Err(printed.refused("kernel_size has another number of dimensions")),
        };
        let channels = [
            printed.int("in_channels", Some(0))?,
            printed.int("out_channels", Some(1))?,
        ];
        Ok(ConvNd {
            groups: printed.optional_int("groups")?.unwrap_or(1),
            bias: printed.flag("bias", true)?,
            ..ConvNd::new(kind, channels, &kernel)
        })
    }
}

pub(super) struct Rule;

impl LayerRule for Rule {
    const INFERRED: bool = true;

    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError> {
        Ok(ConvNd::from_printed(kind, printed)?.spec()?)
    }

    /// Groups are not known, and neither they nor what depends on them is in the spec.
    fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let [out_channels, in_channels, ref kernel @ ..] = *variables.parameter("weight")? else {
            return None;
        };
        if kernel.len() != kernel_dims(kind) {
            return None;
        }
        let conv = ConvNd {
            bias: variables.parameter("bias").is_some(),
            ..ConvNd::new(kind, [in_channels, out_channels], kernel)
        };
        variables.matching(conv.spec().ok()?)
    }
}

/// The number of dimensions of the kernel.
pub(super) fn kernel_dims(kind: LayerKind) -> usize {
    match kind {
        LayerKind::Conv1d | LayerKind::ConvTranspose1d => 1,
        LayerKind::Conv2d | LayerKind::ConvTranspose2d => 2,
        _ => 3,
    }
}

fn is_transposed(kind: LayerKind) -> bool {
    matches!(
        kind,
        LayerKind::ConvTranspose1d | LayerKind::ConvTranspose2d | LayerKind::ConvTranspose3d
    )
}

/// Checks channels and groups as `_ConvNd.__init__` does.
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

#[cfg(feature = "tch")]
pub use with_tch::*;

#[cfg(feature = "tch")]
mod with_tch {
    use super::ConvNd;
    use crate::error::{Context, InitError};
    use crate::nn::builder::build;
    use crate::nn::init::PYTORCH_DEFAULT;
    use crate::nn::kind::LayerKind;
    use crate::nn::named_tensors::NamedTensors;
    use crate::nn::tch_layers::{or_panic, placeholder};
    use std::borrow::Borrow;
    use tch::Tensor;
    use tch::nn::{self, Conv1D, Conv2D, Conv3D, Init, Module, PaddingMode, Path};

    /// Options of a convolution, one number a dimension: tch's fields, PyTorch's defaults.
    #[derive(Debug, Clone, Copy)]
    pub struct ConvConfigND<ND> {
        /// Steps of the kernel. PyTorch's default: 1.
        pub stride: ND,
        /// Elements added to each side of the input. PyTorch's default: 0.
        pub padding: ND,
        /// Distance between the kernel's elements. PyTorch's default: 1.
        pub dilation: ND,
        /// Number of groups of channels that are connected only within the group. PyTorch's
        /// default: 1.
        pub groups: i64,
        /// Whether the layer has a bias. PyTorch's default: yes.
        pub bias: bool,
        /// Initializer of the weight. Default: PyTorch's.
        pub ws_init: Init,
        /// Initializer of the bias. Default: PyTorch's.
        pub bs_init: Init,
        /// Values of the added elements. PyTorch's default: zeros.
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
        pub(in crate::nn) fn in_dimensions<const N: usize>(self) -> ConvConfigND<[i64; N]> {
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
    /// The variables are PyTorch's for all options. The forward pass is tch's, which exchanges paddings
    /// that differ between dimensions if the padding mode is not zeros. The forward pass of such a layer
    /// therefore fails, and a warning in the log says so: [`padded_conv`] makes a layer that pads as
    /// PyTorch does.
    ///
    /// # Errors
    ///
    /// [`InitError::Channels`] if `groups` is not positive or does not divide both channels,
    /// [`InitError::Dimensions`] for kernels of other than 1 to 3 dimensions,
    /// [`InitError::Libtorch`] for negative sizes or a `VarStore` whose kind cannot be trained.
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
        let equal = config.padding.iter().all(|p| *p == config.padding[0]);
        let is_exchanged = !matches!(config.padding_mode, PaddingMode::Zeros) && !equal;
        if is_exchanged {
            log::warn!(
                "{kind}: the forward pass of tch 0.26 exchanges paddings that differ between dimensions, {:?}, unless \
                 padding_mode is zeros, so it fails for this layer; use padded_conv",
                config.padding
            );
        }
        let tensors = variables(vs.borrow(), kind, [in_dim, out_dim], ksizes, config)?;
        let mut conv = placeholder(|scratch| {
            let config = nn::ConvConfigND {
                stride: config.stride,
                padding: match is_exchanged {
                    // No input is that large: an error instead of wrong numbers.
                    true => [-UNUSABLE_PADDING; N],
                    false => config.padding,
                },
                dilation: config.dilation,
                groups: config.groups,
                bias: false,
                ws_init: Init::Const(0.0),
                bs_init: Init::Const(0.0),
                padding_mode: config.padding_mode,
            };
            nn::conv(scratch, 1, 1, [1; N], config)
        });
        conv.ws = tensors.required(kind, "weight")?;
        conv.bs = tensors.get("bias");
        Ok(conv)
    }

    /// A padding with which every forward pass of tch fails.
    const UNUSABLE_PADDING: i64 = 1 << 40;

    /// The variables of a convolution.
    fn variables<const N: usize>(
        path: &Path<'_>,
        kind: LayerKind,
        [in_channels, out_channels]: [i64; 2],
        ksizes: [i64; N],
        config: ConvConfigND<[i64; N]>,
    ) -> Result<NamedTensors, InitError> {
        let conv = ConvNd {
            kind,
            in_channels,
            out_channels,
            kernel_size: ksizes.to_vec(),
            stride: config.stride.to_vec(),
            padding: config.padding.to_vec(),
            dilation: config.dilation.to_vec(),
            output_padding: vec![0; N],
            groups: config.groups,
            bias: config.bias,
            padding_mode: match config.padding_mode {
                PaddingMode::Zeros => "zeros",
                PaddingMode::Reflect => "reflect",
                PaddingMode::Replicate => "replicate",
                PaddingMode::Circular => "circular",
            },
        };
        let overrides = [("weight", config.ws_init), ("bias", config.bs_init)];
        build(path, &conv.spec()?, &overrides)
    }

    /// `torch.nn.Conv1d`, `Conv2d` or `Conv3d` with any paddings in any padding mode, some of which
    /// tch 0.26 exchanges. Made by [`padded_conv`].
    #[derive(Debug)]
    pub struct PaddedConv<const N: usize> {
        /// The weight, of shape `[out_dim, in_dim / groups, *ksizes]`.
        pub ws: Tensor,
        /// The bias, one per channel of the output.
        pub bs: Option<Tensor>,
        config: ConvConfigND<[i64; N]>,
        kind: LayerKind,
    }

    impl<const N: usize> PaddedConv<N> {
        /// The forward pass of `[batch, channels, ..]`, or of `[channels, ..]` for a single sample.
        ///
        /// # Errors
        ///
        /// [`InitError::Libtorch`] for another number of dimensions or of channels, and for an input
        /// smaller than the kernel or the padding.
        pub fn f_forward(&self, xs: &Tensor) -> Result<Tensor, InitError> {
            let config = &self.config;
            // `_conv_forward`, torch/nn/modules/conv.py, PyTorch 2.13.
            let (padded, padding) = match config.padding_mode {
                PaddingMode::Zeros => (xs.shallow_clone(), config.padding),
                mode => {
                    // Both sides of the last dimension first.
                    let sides = config.padding.iter().rev().flat_map(|side| [*side; 2]);
                    let sides: Vec<i64> = sides.collect();
                    let padded = mode.f_pad(xs, &sides).context(self.kind.name(), xs)?;
                    (padded, [0; N])
                }
            };
            let (bs, groups) = (self.bs.as_ref(), config.groups);
            let (stride, padding) = (&config.stride[..], &padding[..]);
            let dilation = &config.dilation[..];
            match N {
                1 => padded.f_conv1d(&self.ws, bs, stride, padding, dilation, groups),
                2 => padded.f_conv2d(&self.ws, bs, stride, padding, dilation, groups),
                _ => padded.f_conv3d(&self.ws, bs, stride, padding, dilation, groups),
            }
            .context(self.kind.name(), xs)
        }
    }

    impl<const N: usize> Module for PaddedConv<N> {
        /// [`PaddedConv::f_forward`], which panics where that returns an error.
        fn forward(&self, xs: &Tensor) -> Tensor {
            or_panic(self.f_forward(xs))
        }
    }

    /// [`f_conv`] with a forward pass that is right for paddings that differ between dimensions, in
    /// every padding mode.
    ///
    /// Draws the weight, then the bias, as [`uniform_`](crate::init::uniform_).
    ///
    /// # Errors
    ///
    /// As [`f_conv`], but for paddings.
    ///
    /// ```
    /// use tch::{Tensor, kind::FLOAT_CPU};
    /// use tch_init::nn::{ConvConfigND, Module, PaddingMode, VarStore, padded_conv};
    ///
    /// # fn main() -> Result<(), tch_init::InitError> {
    /// let vs = VarStore::new(tch::Device::Cpu);
    /// let padding_mode = PaddingMode::Circular;
    /// let config = ConvConfigND { padding: [0, 2], padding_mode, ..Default::default() };
    /// let conv = padded_conv(vs.root() / "conv", 3, 16, [3, 3], config)?;
    /// assert_eq!(conv.forward(&Tensor::zeros([1, 3, 8, 8], FLOAT_CPU)).size(), [1, 16, 6, 10]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn padded_conv<'a, const N: usize, T: Borrow<Path<'a>>>(
        vs: T,
        in_dim: i64,
        out_dim: i64,
        ksizes: [i64; N],
        config: ConvConfigND<[i64; N]>,
    ) -> Result<PaddedConv<N>, InitError> {
        let kind = kind(ksizes)?;
        let tensors = variables(vs.borrow(), kind, [in_dim, out_dim], ksizes, config)?;
        Ok(PaddedConv {
            ws: tensors.required(kind, "weight")?,
            bs: tensors.get("bias"),
            config,
            kind,
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

    /// The kind of a convolution with this kernel.
    pub(in crate::nn) fn kind<const N: usize>(ksizes: [i64; N]) -> Result<LayerKind, InitError> {
        let kinds = [LayerKind::Conv1d, LayerKind::Conv2d, LayerKind::Conv3d];
        dims_kind("conv", kinds, ksizes)
    }

    /// The kind of those for 1 to 3 dimensions.
    pub(in crate::nn) fn dims_kind<const N: usize>(
        function: &'static str,
        kinds: [LayerKind; 3],
        ksizes: [i64; N],
    ) -> Result<LayerKind, InitError> {
        let kind = N.checked_sub(1).and_then(|index| kinds.get(index));
        kind.copied().ok_or_else(|| InitError::Dimensions {
            function,
            supported: "1 to 3 kernel",
            shape: ksizes.to_vec(),
        })
    }
}
