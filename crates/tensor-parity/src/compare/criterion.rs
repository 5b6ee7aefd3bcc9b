//! The criteria by which two tensors count as the same.

use super::promote::promote_types;
use crate::{Dtype, python_repr};
use std::fmt;

/// When two tensors count as the same. The default is [`Bits`](Criterion::Bits).
///
/// Shapes must be equal under every criterion. Dtypes must be equal too, except under
/// [`Close`](Criterion::Close) with `check_dtype` set to `false`.
///
/// ```
/// use tensor_parity::compare::{AssertClose, Criterion, TensorComparison};
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
/// assert!(!same(Criterion::Close(AssertClose::default().rtol(1e-8).atol(0.0))));
/// # Ok::<(), tensor_parity::ViewError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Criterion {
    /// Every element has the same bits: `0.0` differs from `-0.0`, and a NaN equals only a NaN with
    /// the same bits.
    #[default]
    Bits,
    /// Floating point elements are at most this many units in the last place apart; both parts of a
    /// complex element are. A NaN equals every NaN, and an infinity only itself, although the largest
    /// finite number is one unit from it. Integers and `bool` must be equal.
    Ulp(u64),
    /// `torch.testing.assert_close(actual, expected, ...)` of PyTorch 2.13: elements are equal, or
    /// `|actual - expected| <= atol + rtol * |expected|`, computed in the dtype of the tensors as
    /// `torch.isclose` computes it.
    Close(AssertClose),
}

/// The parameters of `torch.testing.assert_close`. The default has those of PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AssertClose {
    /// The relative tolerance; `None` is PyTorch's default for the dtype.
    pub rtol: Option<f64>,
    /// The absolute tolerance; `None` is PyTorch's default for the dtype.
    pub atol: Option<f64>,
    /// Whether two NaN are equal; by default they are not.
    pub equal_nan: bool,
    /// Whether the dtypes must be equal, as by default. Otherwise both tensors are promoted to a
    /// common dtype.
    pub check_dtype: bool,
}

impl Default for AssertClose {
    fn default() -> AssertClose {
        AssertClose {
            rtol: None,
            atol: None,
            equal_nan: false,
            check_dtype: true,
        }
    }
}

impl AssertClose {
    /// Sets the relative tolerance: a number, or `None` for PyTorch's default.
    #[must_use]
    pub fn rtol(mut self, rtol: impl Into<Option<f64>>) -> AssertClose {
        self.rtol = rtol.into();
        self
    }

    /// Sets the absolute tolerance: a number, or `None` for PyTorch's default.
    #[must_use]
    pub fn atol(mut self, atol: impl Into<Option<f64>>) -> AssertClose {
        self.atol = atol.into();
        self
    }

    /// Sets whether two NaN are equal.
    #[must_use]
    pub fn equal_nan(mut self, equal_nan: bool) -> AssertClose {
        self.equal_nan = equal_nan;
        self
    }

    /// Sets whether the dtypes must be equal.
    #[must_use]
    pub fn check_dtype(mut self, check_dtype: bool) -> AssertClose {
        self.check_dtype = check_dtype;
        self
    }
}

impl Criterion {
    /// `assert_close` with its default parameters.
    pub fn close() -> Criterion {
        Criterion::Close(AssertClose::default())
    }

    /// Whether different dtypes are a difference.
    pub(super) fn checks_dtype(self) -> bool {
        !matches!(self, Criterion::Close(parameters) if !parameters.check_dtype)
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Criterion::Bits => f.write_str("equal bits"),
            Criterion::Ulp(n) => write!(f, "at most {n} ULP"),
            Criterion::Close(AssertClose {
                rtol,
                atol,
                equal_nan,
                check_dtype,
            }) => {
                let number = |number: Option<f64>| {
                    number.map_or("PyTorch's default".to_owned(), python_repr::float)
                };
                write!(f, "rtol={}, atol={}", number(*rtol), number(*atol))?;
                if *equal_nan {
                    f.write_str(", equal_nan")?;
                }
                if !check_dtype {
                    f.write_str(", no check_dtype")?;
                }
                Ok(())
            }
        }
    }
}

/// The default `(rtol, atol)` of `assert_close` for two dtypes.
///
/// Each is the larger of those of the dtypes; it is zero for integers, `bool` and `float8`.
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

/// A criterion for two given dtypes, with default tolerances filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) mode: Mode,
    pub(super) equal_nan: bool,
    /// `None` if only equality counts, as in `torch.isclose` with zero tolerances.
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
    /// The rule, and the `(rtol, atol)` of [`Criterion::Close`] for messages.
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
            Criterion::Close(AssertClose {
                rtol,
                atol,
                equal_nan,
                ..
            }) => {
                let default = default_tolerances(actual, expected);
                let (rtol, atol) = (rtol.unwrap_or(default.0), atol.unwrap_or(default.1));
                // PyTorch compares float8 exactly, whatever the tolerances.
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

    /// Whether an element can fail although its bits are equal.
    pub(super) fn nan_fails(&self) -> bool {
        matches!(self.mode, Mode::Close) && !self.equal_nan
    }
}
