//! Draws by libtorch's own calls, operation by operation as `torch/nn/init.py` of PyTorch 2.13: the
//! reference for the [fast path](super::cpu_fast_path), and the path for all tensors that it does not
//! take.

use super::emulation;
use super::rejection::Density;
use crate::error::{Context, InitError};
use crate::ffi;
use crate::generator::Generator;
use crate::rng::{Draw, Normal, Semantics, Sparse, TruncNormal, Uniform};
use tch::{Device, TchError, Tensor};

/// Fills a tensor with a draw that PyTorch makes in place.
pub(super) fn draw(
    function: &'static str,
    tensor: &mut Tensor,
    draw: Draw,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let _no_grad = tch::no_grad_guard();
    let raw = generator.map(Generator::as_raw);
    if matches!(draw, Draw::Uniform(_) | Draw::Normal(_))
        && emulation::draw(function, tensor, draw, generator, semantics)?
    {
        return Ok(());
    }
    let drawn = match draw {
        Draw::Uniform(Uniform { from, to }) => ffi::uniform_(tensor, from, to, raw),
        Draw::Normal(Normal { mean, std }) => ffi::normal_(tensor, mean, std, raw),
        Draw::TruncNormal(draw) if draw.uses_redraws() => {
            return redraw(function, tensor, draw, generator, semantics);
        }
        Draw::TruncNormal(draw) => return reject(function, tensor, draw, generator, semantics),
        Draw::Sparse(sparse) => {
            let normal = Normal {
                mean: 0.0,
                std: sparse.std,
            };
            self::draw(function, tensor, normal.into(), generator, semantics)?;
            return sparse_zeros(function, tensor, sparse, generator);
        }
        _ => Err(format!("{draw} is not a draw into an existing tensor")),
    };
    drawn.map_err(|why| InitError::libtorch(function, &why).with_shape(&tensor.size()))
}

/// Normal values of the whole tensor, drawn again until each element has had one between the bounds.
fn redraw(
    function: &'static str,
    tensor: &mut Tensor,
    TruncNormal { mean, std, a, b }: TruncNormal,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let normal = Draw::from(Normal { mean, std });
    let low = rounded(tensor, a).context(function, tensor)?;
    let high = rounded(tensor, b).context(function, tensor)?;
    draw(function, tensor, normal, generator, semantics)?;
    let mut result = tensor.shallow_clone();
    let mut redrawn = false;
    loop {
        let rejected = ffi::outside(&result, low, high).map_err(TchError::Torch);
        let rejected = rejected.context(function, tensor)?;
        if !any(&rejected).context(function, tensor)? {
            break;
        }
        let mut fresh = result.f_empty_like().context(function, tensor)?;
        draw(function, &mut fresh, normal, generator, semantics)?;
        result = fresh
            .f_where_self(&rejected, &result)
            .context(function, tensor)?;
        redrawn = true;
    }
    if redrawn {
        tensor.f_copy_(&result).context(function, tensor)?;
    }
    Ok(())
}

/// Candidates for the whole tensor and uniform values that accept them, drawn again until each element
/// has had a candidate that was accepted.
fn reject(
    function: &'static str,
    tensor: &mut Tensor,
    truncated: TruncNormal,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let density = Density::new(function, truncated, &tensor.size())?;
    let candidate = Draw::from(density.candidate());
    let unit = Draw::from(Density::UNIT);
    let mut candidates = tensor.f_empty_like().context(function, tensor)?;
    let mut accepting = tensor.f_empty_like().context(function, tensor)?;
    let mut rejected = |candidates: &mut Tensor| {
        draw(function, &mut accepting, unit, generator, semantics)?;
        let rejected = density.rejects(candidates, &mut accepting);
        rejected.context(function, candidates)
    };

    draw(function, tensor, candidate, generator, semantics)?;
    candidates.f_copy_(tensor).context(function, tensor)?;
    let mut pending = rejected(&mut candidates)?;
    if !any(&pending).context(function, tensor)? {
        return Ok(());
    }
    let mut result = tensor.shallow_clone();
    loop {
        draw(function, &mut candidates, candidate, generator, semantics)?;
        result = candidates
            .f_where_self(&pending, &result)
            .context(function, tensor)?;
        pending = rejected(&mut candidates)?
            .f_where_self(&pending, &pending)
            .context(function, tensor)?;
        if !any(&pending).context(function, tensor)? {
            break;
        }
    }
    tensor.f_copy_(&result).context(function, tensor).map(drop)
}

/// Sets the zeros of a sparse matrix, whose rows are the first of a permutation for each column.
pub(super) fn sparse_zeros(
    function: &'static str,
    tensor: &mut Tensor,
    sparse: Sparse,
    generator: Option<&Generator>,
) -> Result<(), InitError> {
    let _no_grad = tch::no_grad_guard();
    let zeros = zeros_per_column(function, sparse, &tensor.size())?;
    let set = || {
        let (rows, columns) = tensor.size2()?;
        let zero = Tensor::f_zeros([], (tensor.f_kind()?, tensor.device()))?;
        for column in 0..columns {
            let permutation = ffi::randperm(rows, generator.map(Generator::as_raw));
            let indices = permutation
                .map_err(TchError::Torch)?
                .f_narrow(0, 0, zeros)?
                .f_to_device(tensor.device())?;
            let mut column = tensor.f_select(1, column)?;
            column
                .f_index_fill_int_tensor_(0, &indices, &zero)
                .map(drop)?;
        }
        Ok(())
    };
    set().context(function, tensor)
}

/// The number of zeros in each column of a matrix of this shape.
pub(super) fn zeros_per_column(
    function: &'static str,
    sparse: Sparse,
    shape: &[i64],
) -> Result<i64, InitError> {
    let rows = shape.first().map_or(0, |rows| rows.unsigned_abs());
    let zeros = sparse.zeros_per_column(rows);
    zeros
        .and_then(|zeros| i64::try_from(zeros).ok())
        .ok_or_else(|| InitError::Argument {
            function,
            argument: "sparsity",
            value: sparse.sparsity,
            reason: "the number of zeros in a column is not finite",
            shape: Some(shape.to_vec()),
        })
}

/// `value` rounded to the dtype of the tensor.
fn rounded(tensor: &Tensor, value: f64) -> Result<f64, TchError> {
    Tensor::f_from_slice(&[value])?
        .f_to_kind(tensor.f_kind()?)?
        .f_to_device(Device::Cpu)?
        .f_double_value(&[0])
}

fn any(mask: &Tensor) -> Result<bool, TchError> {
    Ok(mask.f_any()?.f_int64_value(&[])? != 0)
}
