//! Draws with the bits of other versions of PyTorch into tensors that the
//! [fast path](super::cpu_fast_path) does not take: libtorch has its own bits only.

use super::cpu_engine::engine;
use super::rejection::kind_of;
use crate::distribution::Element;
use crate::error::{Context, InitError};
use crate::ffi::LockedState;
use crate::generator::Generator;
use crate::libtorch_info::linked_semantics;
use crate::rng::{Draw, Mt19937, Semantics, Target};
use half::{bf16, f16};
use tch::{Device, Kind, Tensor};

/// Fills a tensor with uniform or normal values, element by element in memory order unless it is contiguous.
/// `false`, with nothing done, if the linked libtorch has the same bits or the draw is rejected, so that
/// libtorch draws or reports.
pub(super) fn draw(
    function: &'static str,
    tensor: &mut Tensor,
    draw: Draw,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<bool, InitError> {
    if semantics == linked_semantics() {
        return Ok(false);
    }
    let unknown = |what| InitError::Semantics {
        function,
        semantics,
        what,
        shape: tensor.size(),
    };
    if tensor.device() != Device::Cpu {
        return Err(unknown("a tensor that is not on the CPU"));
    }
    let kind = tensor.f_kind().context(function, tensor)?;
    match kind {
        Kind::Float => fill::<f32>(function, tensor, draw, generator, semantics),
        Kind::Double => fill::<f64>(function, tensor, draw, generator, semantics),
        Kind::BFloat16 => fill::<bf16>(function, tensor, draw, generator, semantics),
        Kind::Half => fill::<f16>(function, tensor, draw, generator, semantics),
        Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble => match draw {
            // libtorch draws the real numbers that they consist of.
            Draw::Uniform(_) => {
                let mut parts = tensor.f_view_as_real().context(function, tensor)?;
                self::draw(function, &mut parts, draw, generator, semantics)
            }
            _ if kind == Kind::ComplexHalf => Err(unknown("a tensor of complex32")),
            _ => Ok(false),
        },
        // libtorch rejects them.
        _ => Ok(false),
    }
}

fn fill<T: Element + Default>(
    function: &'static str,
    tensor: &mut Tensor,
    draw: Draw,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<bool, InitError> {
    let sizes = tensor.size();
    let strides = tensor.stride();
    let mut dims: Vec<usize> = (0..sizes.len()).collect();
    // The order of `reorder_dimensions` in `ATen/TensorIterator.cpp`, PyTorch 2.13.
    dims.sort_by_key(|dim| {
        std::cmp::Reverse(if sizes[*dim] == 1 {
            i64::MAX
        } else {
            strides[*dim]
        })
    });
    let shape: Vec<u64> = dims.iter().map(|dim| sizes[*dim].unsigned_abs()).collect();
    let target = Target {
        contiguous: tensor.is_contiguous(),
        semantics,
        ..Target::new(T::DTYPE, &shape)
    };
    let linked = target.with_semantics(linked_semantics());
    let is_same = draw.newest_equivalent(target) == draw.newest_equivalent(linked);
    let overlaps = |dim: &usize| sizes[*dim] > 1 && strides[*dim] == 0;
    if is_same || target.numel() == 0 || dims.iter().any(overlaps) {
        return Ok(false);
    }
    let mut values = vec![T::default(); target.numel() as usize];
    let engine = engine().unwrap_or_default();
    let drawn = LockedState::with(generator.map(Generator::as_raw), |state| {
        let generator = Mt19937::from_state_mut(state).map_err(|why| Err(why.to_string()))?;
        let drawn = draw.fill(&engine, generator, target, &mut values);
        drawn.map(Ok).map_err(|why| Err(why.to_string()))
    });
    let drawn = match drawn {
        Ok(Some(drawn)) => drawn,
        // A generator of another device, which libtorch rejects.
        Ok(None) => return Ok(false),
        Err(why) => Err(why),
    };
    drawn.map_err(|why| InitError::libtorch(function, &why).with_shape(&sizes))?;
    let copy = || {
        let shape: Vec<i64> = dims.iter().map(|dim| sizes[*dim]).collect();
        let order: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        // SAFETY: the elements have no padding, and the slice is borrowed as long.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(&values[..]))
        };
        let values = Tensor::f_from_data_size(bytes, &shape, kind_of::<T>()?)?;
        tensor.f_permute(order)?.f_copy_(&values)
    };
    copy().context(function, tensor)?;
    Ok(true)
}
