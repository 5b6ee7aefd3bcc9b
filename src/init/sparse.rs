//! Sparse matrices.

use super::dispatch;
use super::recording::{Fill, deferred};
use crate::error::InitError;
use crate::generator::Generator;
use tch::{TchError, Tensor};

/// Fills a matrix with normal values of mean 0, then sets a share of each column to zero.
/// PyTorch's default std: 0.01.
///
/// Martens (2010), "Deep learning via Hessian-free optimization". `sparsity` is the share of
/// zeros, rounded up to whole elements; a negative one counts from the end, as a Python slice
/// does. Draws as [`normal_`](super::normal_) from the generator and then, from the **default**
/// stream even if a generator is given, one permutation of the rows a column.
///
/// # Errors
///
/// [`InitError::Dimensions`] if the tensor has not two dimensions, [`InitError::Argument`] for a
/// sparsity that is not finite, and as [`normal_`](super::normal_).
///
/// ```
/// use tch::{Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([10, 4], FLOAT_CPU);
/// tch_init::init::sparse_(&mut w, 0.3, 0.01, None)?;
/// let zeros = w.eq(0.0).sum(tch::Kind::Int64);
/// assert_eq!(zeros.int64_value(&[]), 3 * 4);
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn sparse_(
    tensor: &mut Tensor,
    sparsity: f64,
    std: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let function = "sparse_";
    let shape = tensor.size();
    let [_, _] = shape[..] else {
        return Err(InitError::Dimensions {
            function,
            supported: "2",
            shape,
        });
    };
    let zeros = zeros_a_column(sparsity, &shape)?;
    let noted = || Fill::Sparse { sparsity, std };
    if deferred(function, tensor, generator.as_deref(), noted)? {
        return Ok(());
    }
    dispatch::normal(function, tensor, 0.0, std, generator)?;
    dispatch::sparse_zeros(function, tensor, zeros, None)
}

/// [`sparse_`] with permutations from the generator too, as if that were the default stream.
pub(crate) fn sparse_from_(
    tensor: &mut Tensor,
    sparsity: f64,
    std: f64,
    generator: &mut Generator,
) -> Result<(), InitError> {
    let zeros = zeros_a_column(sparsity, &tensor.size())?;
    dispatch::normal("sparse_", tensor, 0.0, std, Some(generator))?;
    dispatch::sparse_zeros("sparse_", tensor, zeros, Some(generator))
}

/// How many elements of each column of a matrix of this shape are zeros.
fn zeros_a_column(sparsity: f64, shape: &[i64]) -> Result<i64, InitError> {
    let zeros = (sparsity * shape[0] as f64).ceil();
    match zeros.is_finite() {
        true => Ok(slice_end(zeros, shape[0])),
        false => Err(InitError::Argument {
            function: "sparse_",
            argument: "sparsity",
            value: sparsity,
            reason: "the number of zeros in a column is not finite",
            shape: Some(shape.to_vec()),
        }),
    }
}

/// Sets so many elements of each column of a matrix to zero.
pub(super) fn zero_rows(
    tensor: &Tensor,
    zeros: i64,
    mut permutation: impl FnMut(i64) -> Result<Tensor, TchError>,
) -> Result<(), TchError> {
    let (rows, columns) = tensor.size2()?;
    let zero = Tensor::f_zeros([], (tensor.f_kind()?, tensor.device()))?;
    for column in 0..columns {
        let indices = permutation(rows)?
            .f_narrow(0, 0, zeros)?
            .f_to_device(tensor.device())?;
        let mut column = tensor.f_select(1, column)?;
        column
            .f_index_fill_int_tensor_(0, &indices, &zero)
            .map(drop)?;
    }
    Ok(())
}

/// Where Python's `[:end]` of `length` elements ends.
fn slice_end(end: f64, length: i64) -> i64 {
    let end = end as i64;
    if end < 0 {
        end.saturating_add(length).max(0)
    } else {
        end.min(length)
    }
}

#[cfg(test)]
mod tests {
    use super::slice_end;

    #[test]
    fn slices_end_where_python_ends_them() {
        // python: [len(range(10)[:e]) for e in (0, 3, 10, 12, -2, -10, -11)]
        let ends = [0.0, 3.0, 10.0, 12.0, -2.0, -10.0, -11.0, 1e300, -1e300];
        assert_eq!(
            ends.map(|end| slice_end(end, 10)),
            [0, 3, 10, 10, 8, 0, 0, 10, 0]
        );
    }
}
