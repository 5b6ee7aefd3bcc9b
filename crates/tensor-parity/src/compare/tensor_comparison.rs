//! Comparison of two tensors.

use super::criterion::{Criterion, Rule};
use super::element::Element;
use super::non_finite::NonFinite;
use super::parallel;
use super::promote::promote_types;
use super::tally::{Matched, Peak, Tally};
use crate::{Dtype, TensorView, python_repr};
use std::fmt;

/// One of the two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first side: the tensor, or the source, under test.
    Actual,
    /// The second side: the reference.
    Expected,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Side::Actual => "actual",
            Side::Expected => "expected",
        })
    }
}

/// A property of both tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides<T> {
    /// That of the first tensor, which is under test.
    pub actual: T,
    /// That of the second tensor, the reference.
    pub expected: T,
}

/// The position of an element, and its values in both tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// The index along each dimension.
    pub index: Vec<usize>,
    /// The values before any promotion.
    pub values: Sides<Element>,
}

/// A greatest difference and the first element that has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Extreme<D> {
    /// The difference.
    pub difference: D,
    /// The element.
    pub site: Site,
}

/// An absolute difference.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// The exact difference of integers or `bool`s.
    Integer(u64),
    /// The difference of floats, as computed in their dtype.
    Float(f64),
}

impl Difference {
    /// The difference as a float; an integer above 2^53 is rounded.
    pub fn to_f64(self) -> f64 {
        match self {
            Difference::Integer(integer) => integer as f64,
            Difference::Float(float) => float,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Integer(integer) => f.pad(&integer.to_string()),
            Difference::Float(float) => f.pad(&python_repr::float(*float)),
        }
    }
}

/// Why two tensors are not the same. If there are several reasons, the first in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The shapes differ; no elements were compared.
    Shape,
    /// The dtypes differ. The elements were still compared if there is a common dtype.
    Dtype,
    /// The dtypes differ, which the criterion allows, but PyTorch has no common dtype; no elements
    /// were compared.
    Promotion,
    /// A tolerance was given for a `float8` dtype. PyTorch fails even if all elements are equal;
    /// they were compared exactly.
    Tolerance,
    /// Elements do not match.
    Values,
}

/// The result of comparing two tensors: the figures of [`torch.testing.assert_close`], and those of
/// the bits.
///
/// The first tensor is `actual`, the second `expected`, as in `assert_close`: relative differences
/// are relative to the second.
///
/// The greatest differences are those of the elements that do not match. If all match, they are
/// those of the elements whose bits differ, or `None` if no bits differ. A NaN is greater than any
/// number; among equal differences, the first is reported. Differences are computed and rounded in
/// the dtype of the tensors, as in PyTorch, with these exceptions: differences of `float8` and
/// relative differences of integers are computed in `float32`; those of tensors without dimensions
/// as Python numbers; and absolute differences of integers are exact, while PyTorch's wrap around
/// at 2^63. The difference of complex elements is the modulus; bits and ULPs are those of the
/// parts.
///
/// The result does not depend on the number of threads.
///
/// It is displayed in the words of `assert_close`, plus the ULPs.
///
/// [`torch.testing.assert_close`]: https://docs.pytorch.org/docs/stable/testing.html
///
/// ```
/// use tensor_parity::compare::{Criterion, Difference, TensorComparison};
/// use tensor_parity::{Dtype, TensorView};
///
/// let bytes = |x: [f32; 4]| x.map(f32::to_le_bytes).concat();
/// let (a, b) = (bytes([1.0, 2.0, 3.0, -0.0]), bytes([1.0, 2.5, 3.0, 0.0]));
/// let view = |bytes| TensorView::contiguous(Dtype::Float32, &[2, 2], bytes);
/// let comparison = TensorComparison::new(&view(&a)?, &view(&b)?, Criterion::close());
///
/// assert!(!comparison.is_same());
/// assert_eq!((comparison.mismatched, comparison.differing), (1, 2));
/// assert_eq!(comparison.signed_zeros, 1);
/// let worst = comparison.absolute.as_ref().unwrap();
/// assert_eq!(worst.difference, Difference::Float(0.5));
/// assert_eq!(worst.site.index, [0, 1]);
/// assert_eq!(
///     comparison.to_string(),
///     "Tensor-likes are not close!\n\
///      \n\
///      Mismatched elements: 1 / 4 (25.0%)\n\
///      Greatest absolute difference: 0.5 at index (0, 1) (up to 1e-05 allowed)\n\
///      Greatest relative difference: 0.20000000298023224 at index (0, 1) (up to 1.3e-06 allowed)\n\
///      Greatest ULP distance: 2097152 at index (0, 1): 2.0 (0x40000000) against 2.5 (0x40200000)"
/// );
/// # Ok::<(), tensor_parity::ViewError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TensorComparison {
    /// The criterion that they were compared by.
    pub criterion: Criterion,
    /// Both dtypes.
    pub dtypes: Sides<Dtype>,
    /// Both shapes.
    pub shapes: Sides<Vec<usize>>,
    /// The common dtype in which the elements were compared; `None` if they were not compared.
    pub compared_in: Option<Dtype>,
    /// The `(rtol, atol)` that [`Criterion::Close`] used; `None` under other criteria.
    pub tolerances: Option<(f64, f64)>,
    /// Why they are not the same; `None` if they are.
    pub failure: Option<Failure>,
    /// The number of compared elements.
    pub elements: usize,
    /// The number of elements whose bits differ, after promotion.
    pub differing: usize,
    /// The number of elements that do not match under the criterion. Under [`Criterion::Close`],
    /// two NaN with equal bits may not match.
    pub mismatched: usize,
    /// The first element that does not match.
    pub first_mismatch: Option<Site>,
    /// The greatest absolute difference.
    pub absolute: Option<Extreme<Difference>>,
    /// The greatest relative difference: the absolute one divided by `|expected|`.
    pub relative: Option<Extreme<f64>>,
    /// The greatest distance of floating point elements in units in the last place. The difference
    /// is `None` if exactly one of both elements is NaN.
    pub ulps: Option<Extreme<Option<u64>>>,
    /// The numbers of NaN and infinities in both tensors.
    pub non_finite: Sides<NonFinite>,
    /// The number of elements that are zero in both tensors with different signs, in some part if
    /// complex.
    pub signed_zeros: usize,
    /// The number of elements that are NaN in both tensors with different bits, in some part if
    /// complex.
    pub nan_payloads: usize,
}

impl TensorComparison {
    /// Compares two tensors; large ones on the threads of rayon's current pool.
    pub fn new(
        actual: &TensorView<'_>,
        expected: &TensorView<'_>,
        criterion: Criterion,
    ) -> TensorComparison {
        let (mut comparison, matched) = TensorComparison::begin(actual, expected, criterion);
        if let Some(matched) = matched {
            for tally in parallel::tallies(
                std::slice::from_ref(&matched),
                parallel::PIECE_BYTES,
                &|_| (),
            ) {
                comparison.finish(&matched, &tally);
            }
        }
        comparison
    }

    /// Whether the tensors are the same under the criterion.
    pub fn is_same(&self) -> bool {
        self.failure.is_none()
    }

    /// Compares dtypes and shapes, and returns the tensors if their elements must be compared too.
    pub(super) fn begin<'a>(
        actual: &'a TensorView<'a>,
        expected: &'a TensorView<'a>,
        criterion: Criterion,
    ) -> (TensorComparison, Option<Matched<'a>>) {
        let dtypes = Sides {
            actual: actual.dtype(),
            expected: expected.dtype(),
        };
        let (rule, tolerances) = Rule::new(criterion, dtypes.actual, dtypes.expected);
        let promoted = promote_types(dtypes.actual, dtypes.expected);
        let failure = if actual.shape() != expected.shape() {
            Some(Failure::Shape)
        } else if dtypes.actual != dtypes.expected && criterion.checks_dtype() {
            Some(Failure::Dtype)
        } else {
            match promoted {
                None => Some(Failure::Promotion),
                Some(common) if common.is_float8() => tolerances
                    .is_some_and(|(rtol, atol)| rtol != 0.0 || atol != 0.0)
                    .then_some(Failure::Tolerance),
                Some(_) => None,
            }
        };
        let compared_in = promoted.filter(|_| failure != Some(Failure::Shape));
        let comparison = TensorComparison {
            criterion,
            dtypes,
            shapes: Sides {
                actual: actual.shape().to_vec(),
                expected: expected.shape().to_vec(),
            },
            compared_in,
            tolerances,
            failure,
            elements: compared_in.map_or(0, |_| actual.numel()),
            differing: 0,
            mismatched: 0,
            first_mismatch: None,
            absolute: None,
            relative: None,
            ulps: None,
            non_finite: Sides::default(),
            signed_zeros: 0,
            nan_payloads: 0,
        };
        let matched = compared_in.map(|dtype| Matched {
            views: [actual, expected],
            dtype,
            rule,
        });
        (comparison, matched)
    }

    /// Adds the result of comparing the elements.
    pub(super) fn finish(&mut self, matched: &Matched<'_>, tally: &Tally) {
        let [actual, expected] = matched.views;
        let site = |element| {
            Some(Site {
                index: actual.index(element),
                values: Sides {
                    actual: Element::of(actual, element)?,
                    expected: Element::of(expected, element)?,
                },
            })
        };
        let Tally {
            differing,
            failing,
            signed_zeros,
            payloads,
            non_finite: [of_actual, of_expected],
            first,
            ..
        } = *tally;
        let extremes = tally.extremes();
        let keys = KeyType::of(matched.dtype);
        self.differing = differing;
        self.mismatched = failing;
        self.first_mismatch = first.and_then(site);
        self.signed_zeros = signed_zeros;
        self.nan_payloads = payloads;
        self.non_finite = Sides {
            actual: of_actual,
            expected: of_expected,
        };
        if failing > 0 && self.failure.is_none() {
            self.failure = Some(Failure::Values);
        }
        self.absolute = extreme(extremes.absolute, |key| keys.absolute(key), site);
        self.relative = extreme(extremes.relative, |key| keys.relative(key), site);
        if keys != KeyType::Integer {
            self.ulps = extreme(extremes.ulps, |key| keys.ulps(key), site);
        }
        if self.shapes.actual.is_empty() {
            self.as_numbers();
        }
    }

    /// Recomputes the differences as those of Python numbers, as PyTorch does for tensors without
    /// dimensions.
    ///
    /// Follows `make_scalar_mismatch_msg` of `torch/testing/_comparison.py`, PyTorch 2.13.
    fn as_numbers(&mut self) {
        let Some(absolute) = &mut self.absolute else {
            return;
        };
        let Sides { actual, expected } = absolute.site.values;
        let [x, y] = [actual, expected].map(number);
        let magnitude = y[0].hypot(y[1]);
        if let Difference::Float(difference) = &mut absolute.difference {
            *difference = (x[0] - y[0]).hypot(x[1] - y[1]);
        }
        let absolute = absolute.difference.to_f64();
        if let Some(relative) = &mut self.relative {
            relative.difference = match (absolute, magnitude) {
                (0.0, _) => 0.0,
                (_, 0.0) => f64::INFINITY,
                _ => absolute / magnitude,
            };
        }
    }
}

/// The real and the imaginary part.
fn number(element: Element) -> [f64; 2] {
    match element.parts() {
        Some(parts) => parts.map(|part| part.to_f64().unwrap_or(0.0)),
        None => {
            let integer = || element.to_integer().map(|integer| integer as f64);
            [element.to_f64().or_else(integer).unwrap_or(0.0), 0.0]
        }
    }
}

fn extreme<D>(
    peak: Option<Peak>,
    difference: impl Fn(u64) -> D,
    site: impl Fn(usize) -> Option<Site>,
) -> Option<Extreme<D>> {
    let peak = peak?;
    Some(Extreme {
        difference: difference(peak.key),
        site: site(peak.element)?,
    })
}

/// What the keys of differences stand for.
#[derive(Clone, Copy, PartialEq)]
enum KeyType {
    Integer,
    /// Bits of an `f32`.
    Single,
    /// Bits of an `f64`.
    Double,
}

impl KeyType {
    fn of(dtype: Dtype) -> KeyType {
        match dtype.part().unwrap_or(dtype) {
            Dtype::Float64 => KeyType::Double,
            part if part.is_floating_point() => KeyType::Single,
            _ => KeyType::Integer,
        }
    }

    fn float(self, key: u64) -> f64 {
        match self {
            KeyType::Double => f64::from_bits(key),
            // These keys have 32 bits.
            KeyType::Single | KeyType::Integer => f64::from(f32::from_bits(key as u32)),
        }
    }

    fn absolute(self, key: u64) -> Difference {
        match self {
            KeyType::Integer => Difference::Integer(key),
            _ => Difference::Float(self.float(key)),
        }
    }

    fn relative(self, key: u64) -> f64 {
        self.float(key)
    }

    /// The greatest key stands for exactly one NaN.
    fn ulps(self, key: u64) -> Option<u64> {
        let one_nan = match self {
            KeyType::Double => u64::MAX,
            _ => u64::from(u32::MAX),
        };
        (key != one_nan).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::criterion::AssertClose;

    fn compare<const N: usize>(a: [f32; N], b: [f32; N], criterion: Criterion) -> TensorComparison {
        let [a, b] = [a, b].map(|x| x.map(f32::to_le_bytes).concat());
        let view = |bytes| TensorView::contiguous(Dtype::Float32, &[N], bytes).unwrap();
        TensorComparison::new(&view(&a), &view(&b), criterion)
    }

    const NAN: f32 = f32::from_bits(0x7fc0_0000);
    const OTHER_NAN: f32 = f32::from_bits(0xffc0_1234);

    #[test]
    fn signs_of_zero_and_bits_of_nan_differ_under_bits_only() {
        let (a, b) = ([0.0, NAN, 1.0, NAN], [-0.0, OTHER_NAN, 1.0, NAN]);
        let bits = compare(a, b, Criterion::Bits);
        assert_eq!((bits.differing, bits.mismatched), (2, 2));
        assert_eq!((bits.signed_zeros, bits.nan_payloads), (1, 1));
        assert_eq!(bits.non_finite.actual, NonFinite { nan: 2, inf: 0 });
        assert_eq!(bits.ulps.unwrap().difference, Some(0));
        assert!(compare(a, b, Criterion::Ulp(0)).is_same());
        // Under assert_close, two NaN with equal bits do not match either.
        let close = compare(a, b, Criterion::close());
        assert_eq!((close.differing, close.mismatched), (2, 2));
        assert_eq!(close.first_mismatch.unwrap().index, [1]);
        assert_eq!(compare([NAN], [NAN], Criterion::close()).mismatched, 1);
        assert!(compare([NAN], [NAN], Criterion::Bits).is_same());
        let equal_nan = Criterion::Close(AssertClose::default().equal_nan(true));
        assert!(compare(a, b, equal_nan).is_same());
    }

    #[test]
    fn a_single_nan_exceeds_every_ulp_limit() {
        let comparison = compare([1.0, NAN], [1.0, 2.0], Criterion::Ulp(u64::MAX));
        assert_eq!(comparison.failure, Some(Failure::Values));
        assert_eq!(comparison.ulps.unwrap().difference, None);
        let ends = compare(
            [f32::INFINITY],
            [f32::NEG_INFINITY],
            Criterion::Ulp(u64::MAX),
        );
        // Infinities are equal only to themselves.
        assert_eq!(ends.failure, Some(Failure::Values));
        assert_eq!(ends.ulps.unwrap().difference, Some(0xff00_0000));
    }

    /// A greater difference that is within tolerance does not hide one that is not.
    #[test]
    fn greatest_differences_are_those_of_mismatched_elements() {
        let (a, b) = ([1e6, 0.0, 0.0], [1e6 + 0.5, 1e-3, 2e-3]);
        let comparison = compare(a, b, Criterion::close());
        assert_eq!((comparison.differing, comparison.mismatched), (3, 2));
        assert_eq!(comparison.absolute.unwrap().site.index, [2]);
        assert_eq!(comparison.relative.unwrap().site.index, [1]);
        let all_match = compare([1e6], [1e6 + 0.5], Criterion::close());
        assert!(all_match.is_same());
        assert_eq!(
            all_match.absolute.unwrap().difference,
            Difference::Float(0.5)
        );
    }

    #[test]
    fn differences_of_integers_are_exact() {
        let [a, b] = [i64::MIN, i64::MAX].map(i64::to_le_bytes);
        let view = |bytes| TensorView::contiguous(Dtype::Int64, &[1], bytes).unwrap();
        let comparison = TensorComparison::new(&view(&a), &view(&b), Criterion::Ulp(u64::MAX));
        assert_eq!(comparison.failure, Some(Failure::Values));
        assert_eq!(
            comparison.absolute.unwrap().difference,
            Difference::Integer(u64::MAX)
        );
        assert_eq!(comparison.ulps, None);
        // Equal as floats.
        let [a, b] = [(1i64 << 53) + 1, 1 << 53].map(i64::to_le_bytes);
        let comparison = TensorComparison::new(&view(&a), &view(&b), Criterion::close());
        assert_eq!(
            comparison.absolute.unwrap().difference,
            Difference::Integer(1)
        );
        assert_eq!(comparison.differing, 1);
    }

    #[test]
    fn failures_name_shapes_dtypes_promotion_and_tolerances() {
        let bytes = [0; 8];
        let view = |dtype, shape: &[usize]| TensorView::contiguous(dtype, shape, &bytes).unwrap();
        let new = TensorComparison::new;
        let single = view(Dtype::Float32, &[2]);
        let shape = new(&single, &view(Dtype::Float64, &[1]), Criterion::Bits);
        assert_eq!((shape.failure, shape.elements), (Some(Failure::Shape), 0));
        let halves = view(Dtype::Float16, &[4]);
        let bfloats = view(Dtype::Bfloat16, &[4]);
        let dtype = new(&halves, &bfloats, Criterion::Bits);
        assert_eq!(dtype.failure, Some(Failure::Dtype));
        assert_eq!(
            (dtype.compared_in, dtype.differing),
            (Some(Dtype::Float32), 0)
        );
        let lax = Criterion::Close(AssertClose::default().check_dtype(false));
        assert!(new(&halves, &bfloats, lax).is_same());
        let bytes = view(Dtype::Uint8, &[8]);
        let float8 = view(Dtype::Float8E5m2, &[8]);
        assert_eq!(new(&bytes, &float8, lax).failure, Some(Failure::Promotion));
        let tolerant = Criterion::Close(AssertClose::default().rtol(0.1).atol(0.0));
        assert_eq!(
            new(&float8, &float8, tolerant).failure,
            Some(Failure::Tolerance)
        );
        assert!(new(&float8, &float8, Criterion::close()).is_same());
    }

    /// For complex dtypes, the distance is that of a part.
    #[test]
    fn ulp_distances_of_every_floating_point_dtype() {
        for dtype in Dtype::ALL {
            let part = dtype.part().unwrap_or(dtype);
            if !part.is_floating_point() {
                continue;
            }
            let mut next = vec![0; dtype.size()];
            let imaginary = dtype.size() - part.size();
            next[imaginary] = 3;
            let zero = Element::new(dtype, &vec![0; dtype.size()]).unwrap();
            let element = Element::new(dtype, &next).unwrap();
            assert_eq!(element.ulp_distance(&zero), Some(3), "{dtype}");
            assert_eq!(element.ulp_distance(&element), Some(0), "{dtype}");
            let nan = Element::new(dtype, &vec![0xff; dtype.size()]).unwrap();
            let has_nan = !matches!(dtype, Dtype::Float8E4m3fnuz | Dtype::Float8E5m2fnuz);
            if has_nan {
                assert_eq!(nan.ulp_distance(&zero), None, "{dtype}");
            }
        }
    }
}
