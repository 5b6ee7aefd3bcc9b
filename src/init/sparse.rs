//! Initialization with sparse matrices.

use super::dispatch::{draw, draw_now, sparse_zeros};
use super::libtorch::zeros_per_column;
use super::recording::{Fill, intercept};
use super::semantics;
use crate::error::InitError;
use crate::generator::Generator;
use crate::rng::{Normal, Sparse};
use tch::Tensor;

/// Fills a matrix with normal values of mean 0, then sets a fraction of each column to zero. PyTorch's
/// default std is 0.01.
///
/// `sparsity` is the fraction of zeros; their number is rounded up, and a negative one counts from the
/// end, like the end of a Python slice.
///
/// Martens (2010), "Deep learning via Hessian-free optimization". Draws as [`normal_`](super::normal_)
/// from the generator, then one permutation of the rows per column, `rows - 1` words each, from the
/// **default** generator even if another one is given. Follows `sparse_` (`torch/nn/init.py`),
/// PyTorch 2.13.
///
/// # Errors
///
/// [`InitError::Dimensions`] unless the tensor has two dimensions, [`InitError::Argument`] for a
/// sparsity that is not finite, and those of [`normal_`](super::normal_).
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
    let sparse = Sparse { sparsity, std };
    zeros_per_column(function, sparse, &shape)?;
    let Some(generator) = generator else {
        return draw(function, tensor, sparse, None);
    };
    if intercept(function, tensor, Some(generator), || {
        Fill::Draw(sparse.into())
    })? {
        return Ok(());
    }
    let normal = Normal { mean: 0.0, std };
    draw_now(function, tensor, normal, Some(generator), semantics())?;
    sparse_zeros(function, tensor, sparse)
}
