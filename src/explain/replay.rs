//! Draws a tensor again, as libtorch does or as ports do instead.
//!
//! A hypothesis about the stream holds if a replay, by the functions of `init`, gives the bits of the
//! tensor.

use crate::error::InitError;
use crate::generator::Generator;
use crate::init::dispatch::draw_as;
use crate::init::inverse_normal;
use crate::init::orthogonal::orthogonal;
use crate::init::trunc_normal::trunc_normal;
use crate::rng::Mt19937;
use crate::tensor::Dtype;
use half::{bf16, f16};
use tch::{Device, Kind, Tensor};
use torch_rng::{Draw, Normal, Orthogonal, Semantics, Uniform};

/// A position in the stream of a seed, in 32-bit words after `manual_seed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub seed: u64,
    pub word: u64,
}

/// How values are computed from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// As libtorch does for a contiguous tensor.
    Libtorch,
    /// `normal_` one value at a time, as libtorch does below 16 elements and for tensors that are not
    /// contiguous.
    Serial,
    /// `normal_` as the first elements of a block of 16, where libtorch draws one value at a time.
    Block,
    /// As libtorch does with `ATEN_CPU_CAPABILITY=default`, without fused multiply-add.
    DefaultCapability,
    /// `randn * std + mean`.
    RandnTimesStd,
    /// Drawn in this dtype, then rounded.
    In(Dtype),
    /// `trunc_normal_` as it was before PyTorch 2.12: the inverse error function of uniforms, which are
    /// those of the linked libtorch.
    InverseErf,
    /// As PyTorch of these semantics does for a contiguous tensor.
    Version(Semantics),
}

impl Method {
    /// Whether `trunc_normal_` is the inverse error function of uniforms.
    pub(super) fn is_inverse_erf(self) -> bool {
        self == Method::InverseErf || self.is_up_to_2_11()
    }

    /// Whether halves have the words of PyTorch up to 2.11.
    pub(super) fn is_up_to_2_11(self) -> bool {
        matches!(self, Method::Version(semantics) if semantics <= Semantics::PyTorch2_11)
    }
}

/// Values that were drawn again.
pub(super) enum Replayed {
    /// A contiguous tensor of the CPU.
    Tensor(Tensor),
    Bytes(Vec<u8>),
}

impl Replayed {
    /// The elements, in order.
    pub(super) fn bytes(&self, dtype: Dtype) -> &[u8] {
        match self {
            Replayed::Bytes(bytes) => bytes,
            Replayed::Tensor(tensor) if tensor.numel() == 0 => &[],
            Replayed::Tensor(tensor) => {
                let length = tensor.numel() * dtype.size();
                // SAFETY: the tensor is contiguous, of this dtype and of the CPU, so that its elements are that many bytes from
                // `data_ptr` on; it lives as long as the reference, and nothing else has it.
                unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), length) }
            }
        }
    }
}

/// Draws `numel` values. `None` if the method does not apply to the draw or the dtype.
pub(super) fn replay(
    draw: Draw,
    method: Method,
    numel: usize,
    dtype: Dtype,
    position: Position,
) -> Result<Option<Replayed>, InitError> {
    let (Some(kind), Ok(length)) = (kind(dtype), i64::try_from(numel)) else {
        return Ok(None);
    };
    let _no_grad = tch::no_grad_guard();
    let mut generator = generator_at(position)?;
    let context = |error| InitError::tch("explain", error);
    let empty = |n: i64, kind| Tensor::f_empty([n], (kind, Device::Cpu)).map_err(context);
    let tensor = match (method, draw) {
        (Method::Libtorch, _) => {
            let mut tensor = empty(length, kind)?;
            fill_(draw, &mut tensor, &mut generator)?;
            tensor
        }
        (Method::Serial, Draw::Normal(_)) => {
            let wide = empty(2 * length, kind)?;
            let mut tensor = wide.f_slice(0, 0, 2 * length, 2).map_err(context)?;
            fill_(draw, &mut tensor, &mut generator)?;
            tensor
        }
        (Method::Block, Draw::Normal(_)) if numel < 16 => {
            let mut block = empty(16, kind)?;
            fill_(draw, &mut block, &mut generator)?;
            block.f_narrow(0, 0, length).map_err(context)?
        }
        (Method::RandnTimesStd, Draw::Normal(Normal { mean, std })) => {
            let mut tensor = empty(length, kind)?;
            let (zero, one) = (0.0, 1.0);
            let standard = Normal {
                mean: zero,
                std: one,
            };
            fill_(standard.into(), &mut tensor, &mut generator)?;
            let scaled = tensor.f_mul_scalar(std).map_err(context)?;
            match mean {
                0.0 => scaled,
                _ => scaled.f_add_scalar(mean).map_err(context)?,
            }
        }
        (Method::In(drawn), _) => {
            let Some(drawn) = self::kind(drawn) else {
                return Ok(None);
            };
            let mut tensor = empty(length, drawn)?;
            fill_(draw, &mut tensor, &mut generator)?;
            tensor.f_to_kind(kind).map_err(context)?
        }
        (Method::InverseErf, Draw::TruncNormal(draw)) => {
            let mut tensor = empty(length, kind)?;
            let uniform = inverse_normal::uniform(draw).into();
            fill_(uniform, &mut tensor, &mut generator)?;
            inverse_normal::transform(&mut tensor, draw, Semantics::PyTorch2_11)
                .map_err(context)?;
            tensor
        }
        (Method::Version(semantics), _) => {
            let mut tensor = empty(length, kind)?;
            fill_as(draw, &mut tensor, &mut generator, semantics)?;
            tensor
        }
        (Method::DefaultCapability, _) => {
            let drawn = default_capability(draw, numel, dtype, position);
            return Ok(drawn.map(Replayed::Bytes));
        }
        _ => return Ok(None),
    };
    let is_plain = tensor.kind() == kind && tensor.is_contiguous();
    Ok(Some(match is_plain && tensor.device() == Device::Cpu {
        true => Replayed::Tensor(tensor),
        false => Replayed::Bytes(bytes(&tensor, dtype)?),
    }))
}

/// Draws as the linked libtorch, whatever the semantics of the process.
fn fill_(draw: Draw, tensor: &mut Tensor, generator: &mut Generator) -> Result<(), InitError> {
    fill_as(draw, tensor, generator, Semantics::NEWEST)
}

fn fill_as(
    draw: Draw,
    tensor: &mut Tensor,
    generator: &mut Generator,
    semantics: Semantics,
) -> Result<(), InitError> {
    match draw {
        Draw::Uniform(_) | Draw::Normal(_) => {
            draw_as("explain", tensor, draw, Some(generator), semantics)
        }
        Draw::TruncNormal(draw) => trunc_normal(tensor, draw, Some(generator), semantics),
        Draw::Orthogonal(Orthogonal { gain }) => {
            orthogonal(tensor, gain, Some(generator), semantics)
        }
        // No candidate has another draw.
        _ => Err(InitError::libtorch(
            "explain",
            &format!("cannot replay {draw}"),
        )),
    }
}

/// A generator at a position.
pub(super) fn generator_at(position: Position) -> Result<Generator, InitError> {
    let mut stream = Mt19937::new(position.seed);
    stream.skip(position.word);
    let mut generator = Generator::new(Device::Cpu)?;
    generator.set_state(&stream.to_state().to_bytes())?;
    Ok(generator)
}

/// Draws as libtorch does where it may not use AVX2; `None` if the bits do not depend on that.
///
/// Ports `uniform_real_distribution` of `ATen/core/DistributionsHelper.h`, compiled without fused
/// multiply-add, and `NormalFill16` of `ATen/native/cpu/DistributionTemplates.h` with the functions
/// of the C library, PyTorch 2.13.
fn default_capability(
    draw: Draw,
    numel: usize,
    dtype: Dtype,
    position: Position,
) -> Option<Vec<u8>> {
    let mut stream = Mt19937::new(position.seed);
    stream.skip(position.word);
    let mut fraction = || (stream.next_u32() & 0x00ff_ffff) as f32 * 2f32.powi(-24);
    match (draw, dtype) {
        (Draw::Uniform(Uniform { from, to }), Dtype::Float32) => {
            let (from, to) = (from as f32, to as f32);
            let values = (0..numel)
                .map(|_| fraction() * (to - from) + from)
                .map(|value| if value == to { from } else { value });
            Some(values.flat_map(f32::to_le_bytes).collect())
        }
        (Draw::Uniform(Uniform { from, to }), Dtype::Float64) => {
            let mut fraction = || (stream.random64() & ((1 << 53) - 1)) as f64 * 2f64.powi(-53);
            let values = (0..numel)
                .map(|_| fraction() * (to - from) + from)
                .map(|value| if value == to { from } else { value });
            Some(values.flat_map(f64::to_le_bytes).collect())
        }
        (Draw::Normal(Normal { mean, std }), Dtype::Float32 | Dtype::Float16 | Dtype::Bfloat16)
            if numel >= 16 =>
        {
            let mut values = vec![0f32; numel];
            let rest = numel % 16;
            for block in values.chunks_exact_mut(16) {
                block.fill_with(&mut fraction);
                box_muller(block, mean as f32, std as f32);
            }
            if rest != 0 {
                let tail = &mut values[numel - 16..];
                // f32 also draws the remainder before it redraws the last 16.
                if dtype == Dtype::Float32 {
                    tail[..rest].fill_with(&mut fraction);
                }
                tail.fill_with(&mut fraction);
                box_muller(tail, mean as f32, std as f32);
            }
            Some(match dtype {
                Dtype::Float16 => values
                    .iter()
                    .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                    .collect(),
                Dtype::Bfloat16 => values
                    .iter()
                    .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                    .collect(),
                _ => values.into_iter().flat_map(f32::to_le_bytes).collect(),
            })
        }
        _ => None,
    }
}

/// Turns 16 uniforms into 16 normals.
fn box_muller(block: &mut [f32], mean: f32, std: f32) {
    for j in 0..8 {
        let (u1, u2) = (1.0 - block[j], block[j + 8]);
        let radius = (-2.0 * u1.ln()).sqrt();
        // PyTorch's constant is a double, so the product is rounded once.
        let theta = (2.0 * std::f64::consts::PI * f64::from(u2)) as f32;
        block[j] = (radius * theta.cos()).mul_add(std, mean);
        block[j + 8] = (radius * theta.sin()).mul_add(std, mean);
    }
}

/// tch's name of a floating-point dtype that libtorch draws.
pub(super) fn kind(dtype: Dtype) -> Option<Kind> {
    use Dtype::{Bfloat16, Float16, Float32, Float64};
    let is_drawn = matches!(dtype, Float16 | Bfloat16 | Float32 | Float64);
    dtype.kind().filter(|_| is_drawn)
}

/// The bytes of the elements in logical order.
pub(super) fn bytes(tensor: &Tensor, dtype: Dtype) -> Result<Vec<u8>, InitError> {
    let context = |error| InitError::tch("explain", error);
    let flat = tensor
        .f_detach()
        .and_then(|t| t.f_to_device(Device::Cpu))
        .and_then(|t| t.f_contiguous())
        .map_err(context)?;
    let numel = flat.numel();
    let mut bytes = vec![0; numel * dtype.size()];
    if numel > 0 {
        flat.f_copy_data_u8(&mut bytes, numel).map_err(context)?;
    }
    Ok(bytes)
}
