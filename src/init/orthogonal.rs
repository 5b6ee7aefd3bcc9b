//! Initialization with orthogonal matrices.

use super::dispatch::draw_now;
use super::recording::{Fill, intercept};
use super::semantics;
use crate::error::{Context, InitError};
use crate::generator::Generator;
use crate::rng::{Normal, Orthogonal, Semantics};
use tch::Tensor;

/// Fills a tensor, with all dimensions but the first flattened, with a (semi-)orthogonal matrix times
/// `gain`. PyTorch's default gain is 1.
///
/// Saxe et al. (2013), "Exact solutions to the nonlinear dynamics of learning in deep linear neural
/// networks"; the signs are fixed as in Mezzadri (2006), "How to generate random matrices from the
/// classical compact groups". Draws as [`normal_`](super::normal_) on a contiguous matrix of the
/// flattened shape; an empty tensor draws nothing. Follows `orthogonal_` (`torch/nn/init.py`),
/// PyTorch 2.13.
///
/// LAPACK computes the QR factorization, whose bits depend on the CPU and the number of threads. They
/// are PyTorch's on the same machine with the same number of threads; elsewhere, f32 values agree to
/// about 1e-6.
///
/// # Errors
///
/// [`InitError::Dimensions`] for fewer than two dimensions; [`InitError::Libtorch`] for a dtype without
/// QR factorization (f16, bf16) and for strides that cannot be viewed as a matrix.
///
/// ```
/// use tch::{Kind, Tensor, kind::FLOAT_CPU};
///
/// let mut w = Tensor::zeros([3, 5], FLOAT_CPU);
/// tch_init::init::orthogonal_(&mut w, 1.0, None)?;
/// let product = w.matmul(&w.tr());
/// assert!(product.allclose(&Tensor::eye(3, FLOAT_CPU), 1e-5, 1e-6, false));
/// # Ok::<(), tch_init::InitError>(())
/// ```
pub fn orthogonal_(
    tensor: &mut Tensor,
    gain: f64,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    orthogonal(tensor, gain, generator.as_deref(), semantics())
}

/// [`orthogonal_`] from normal values of some semantics.
pub(crate) fn orthogonal(
    tensor: &mut Tensor,
    gain: f64,
    generator: Option<&Generator>,
    semantics: Semantics,
) -> Result<(), InitError> {
    let function = "orthogonal_";
    let shape = tensor.size();
    let [rows, _, ..] = shape[..] else {
        return Err(InitError::Dimensions {
            function,
            supported: "2 or more",
            shape,
        });
    };
    let numel: i64 = shape.iter().product();
    if numel == 0 {
        return Ok(());
    }
    let orthogonal = || Fill::Draw(Orthogonal { gain }.into());
    if intercept(function, tensor, generator, orthogonal)? {
        return Ok(());
    }
    let columns = numel / rows;
    let kind = tensor.f_kind().context(function, tensor)?;
    let mut flattened = tensor
        .f_new_empty([rows, columns], (kind, tensor.device()))
        .context(function, tensor)?;
    let normal = Normal {
        mean: 0.0,
        std: 1.0,
    };
    draw_now(function, &mut flattened, normal, generator, semantics)?;

    let _no_grad = tch::no_grad_guard();
    let q = semi_orthogonal(flattened, rows < columns).context(function, tensor)?;
    tensor
        .f_view_as(&q)
        .and_then(|mut view| view.f_copy_(&q))
        .context(function, tensor)?;
    let scaled = tensor.f_mul_scalar_(gain);
    scaled.context(function, tensor).map(drop)
}

/// The orthogonal factor, with signs that make its distribution uniform.
fn semi_orthogonal(mut flattened: Tensor, wide: bool) -> Result<Tensor, tch::TchError> {
    if wide {
        flattened = flattened.f_t_()?;
    }
    let (mut q, r) = Tensor::f_linalg_qr(&flattened, "reduced")?;
    let signs = r.f_diag(0)?.f_sign()?;
    q = q.f_mul_(&signs)?;
    if wide {
        q = q.f_t_()?;
    }
    Ok(q)
}
