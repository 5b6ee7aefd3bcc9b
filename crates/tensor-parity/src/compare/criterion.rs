//! When two tensors count as the same.

use super::promote::promote_types;
use crate::Dtype;

/// What makes two tensors the same. [`Default`] is [`Bits`](Criterion::Bits).
///
/// Shapes must be equal under every criterion, dtypes too unless
/// [`Close`](Criterion::Close) has `check_dtype: false`.
///
/// ```
/// use tensor_parity::compare::{Criterion, TensorComparison};
/// use tensor_parity::{Dtype, TensorView};
///
/// let bytes = |x: f32| x.to_le_bytes();
/// let (a, b) = (bytes(1.0), bytes(1.0 + f32::EPSILON));
/// let view = |bytes| TensorView::contiguous(Dtype::Float32, &[1], bytes);
/// let (a, b) = (view(&a)?, view(&b)?);
/// let same = |criterion| TensorComparison::new(&a, &b, criterion).is_same();
/// assert!(!same(Criterion::Bits));
/// assert!(same(Criterion::Ulp(1)));
/// assert!(same(Criterion::close()));
/// # Ok::<(), tensor_parity::ViewError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Criterion {
    /// Every element has the same bits: `0.0` and `-0.0` differ, a NaN equals itself only.
    #[default]
    Bits,
    /// Floating point elements lie at most so many units in the last place apart, complex ones
    /// by parts; a NaN equals every NaN. Integers and `bool` must be equal.
    Ulp(u64),
    /// `torch.testing.assert_close(actual, expected, ..)` of PyTorch 2.13: equal, or
    /// `|actual - expected| <= atol + rtol * |expected|`, computed in the tensors' dtype as
    /// `torch.isclose` computes it.
    Close {
        /// The relative tolerance; `None` is PyTorch's default for the dtype.
        rtol: Option<f64>,
        /// The absolute tolerance; `None` is PyTorch's default for the dtype.
        atol: Option<f64>,
        /// Whether two NaN are equal.
        equal_nan: bool,
        /// Whether the dtypes must be equal. If not, both are promoted to one.
        check_dtype: bool,
    },
}

impl Criterion {
    /// `assert_close` with its defaults: tolerances by dtype, no NaN equals another, dtypes are
    /// checked.
    pub fn close() -> Criterion {
        Criterion::Close {
            rtol: None,
            atol: None,
            equal_nan: false,
            check_dtype: true,
        }
    }

    /// Whether different dtypes are a difference.
    pub(super) fn checks_dtype(self) -> bool {
        !matches!(
            self,
            Criterion::Close {
                check_dtype: false,
                ..
            }
        )
    }
}

/// `(rtol, atol)` that `assert_close` takes where none is given: the looser of both dtypes; zero
/// for integers, `bool` and floats of one byte.
///
/// Follows `default_tolerances` of `torch/testing/_comparison.py`, PyTorch 2.13.
///
/// ```
/// use tensor_parity::compare::default_tolerances;
/// use tensor_parity::Dtype;
///
/// assert_eq!(default_tolerances(Dtype::Float32, Dtype::Float32), (1.3e-6, 1e-5));
/// assert_eq!(default_tolerances(Dtype::Float32, Dtype::Bfloat16), (0.016, 1e-5));
/// assert_eq!(default_tolerances(Dtype::Int64, Dtype::Int64), (0.0, 0.0));
/// ```
pub fn default_tolerances(actual: Dtype, expected: Dtype) -> (f64, f64) {
    let of = |dtype| match dtype {
        Dtype::Float16 | Dtype::Complex32 => (0.001, 1e-5),
        Dtype::Bfloat16 => (0.016, 1e-5),
        Dtype::Float32 | Dtype::Complex64 => (1.3e-6, 1e-5),
        Dtype::Float64 | Dtype::Complex128 => (1e-7, 1e-7),
        _ => (0.0, 0.0),
    };
    let (a, b): ((f64, f64), (f64, f64)) = (of(actual), of(expected));
    (a.0.max(b.0), a.1.max(b.1))
}

/// A criterion for tensors of certain dtypes, with its numbers as the kernels need them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) mode: Mode,
    pub(super) equal_nan: bool,
    /// `None` where equality alone counts, as `torch.isclose` has it for zero tolerances.
    pub(super) tolerances: Option<Tolerances>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Bits,
    Ulp(u64),
    Close,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerances {
    pub(super) rtol: f64,
    pub(super) atol: f64,
}

impl Rule {
    /// The rule, and the tolerances that a message names: `None` unless the criterion has any.
    pub(super) fn new(
        criterion: Criterion,
        actual: Dtype,
        expected: Dtype,
    ) -> (Rule, Option<(f64, f64)>) {
        let exact = |mode| Rule {
            mode,
            equal_nan: true,
            tolerances: None,
        };
        match criterion {
            Criterion::Bits => (exact(Mode::Bits), None),
            Criterion::Ulp(n) => (exact(Mode::Ulp(n)), None),
            Criterion::Close {
                rtol,
                atol,
                equal_nan,
                ..
            } => {
                let default = default_tolerances(actual, expected);
                let (rtol, atol) = (rtol.unwrap_or(default.0), atol.unwrap_or(default.1));
                // Floats of one byte are compared exactly, whatever the tolerances.
                let inexact = (rtol != 0.0 || atol != 0.0)
                    && promote_types(actual, expected).is_some_and(|common| !common.is_float8());
                let rule = Rule {
                    mode: Mode::Close,
                    equal_nan,
                    tolerances: inexact.then_some(Tolerances { rtol, atol }),
                };
                (rule, Some((rtol, atol)))
            }
        }
    }

    /// Whether an element can fail though its bits are equal.
    pub(super) fn nan_fails(&self) -> bool {
        matches!(self.mode, Mode::Close) && !self.equal_nan
    }
}
