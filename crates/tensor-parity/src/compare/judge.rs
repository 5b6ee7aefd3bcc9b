//! Judges a pair of elements, for every dtype: do they match, and how far apart are they?

use super::criterion::{Mode, Rule};
use super::float::{Bf16, Compute, F16, F32, F64, Format, Key, ordinal8};
use crate::Dtype;
use std::sync::LazyLock;

/// [`Mode`] as a constant, so that it costs no branch within a loop.
pub(super) const BITS: u8 = 0;
pub(super) const ULP: u8 = 1;
pub(super) const CLOSE: u8 = 2;

/// The numbers of a [`Rule`], computed once for a loop over elements.
pub(super) struct Limits<C: Compute> {
    ulps: u64,
    rtol: C,
    /// `rtol` rounded to the dtype, for complex elements: PyTorch's kernel that multiplies real
    /// halves uses the scalar as it is, while those for complex halves and for sums round it first.
    rtol_rounded: C,
    /// `atol` rounded to the dtype.
    atol: C,
    tolerant: bool,
    equal_nan: bool,
}

impl<C: Compute> Limits<C> {
    pub(super) fn new(rule: &Rule, round: fn(C) -> C) -> Limits<C> {
        let (rtol, atol) = rule
            .tolerances
            .map_or((0.0, 0.0), |tolerances| (tolerances.rtol, tolerances.atol));
        Limits {
            ulps: match rule.mode {
                Mode::Ulp(ulps) => ulps,
                _ => 0,
            },
            rtol: C::from_f64(rtol),
            rtol_rounded: round(C::from_f64(rtol)),
            atol: round(C::from_f64(atol)),
            tolerant: rule.tolerances.is_some(),
            equal_nan: rule.equal_nan,
        }
    }
}

/// The judgment of a pair of elements. Differences are unsigned integers; see [`Compute::key`].
pub(super) struct Judgment<K> {
    /// Whether the bits differ.
    pub(super) differs: bool,
    /// Whether the elements do not match under the criterion.
    pub(super) fails: bool,
    /// Whether both are zero and the signs differ.
    pub(super) signed_zero: bool,
    /// Whether both are NaN and the bits differ.
    pub(super) payload: bool,
    pub(super) absolute: K,
    pub(super) relative: K,
    /// [`Key::MAX`] if exactly one is NaN.
    pub(super) ulps: K,
}

/// An element of a dtype that can be judged.
pub(super) trait Lane: Copy {
    type Key: Key;
    /// The type in which differences are computed. It is `f32` for integers, as in PyTorch, which
    /// applies tolerances to them in its default dtype.
    type Compute: Compute;
    const SIZE: usize;
    fn load(bytes: &[u8]) -> Self;
    /// Rounds to the dtype, if differences are computed in a wider one.
    fn round(x: Self::Compute) -> Self::Compute {
        x
    }
    fn judge<const MODE: u8>(
        a: Self,
        b: Self,
        limits: &Limits<Self::Compute>,
    ) -> Judgment<Self::Key>;
}

/// Whether a distance exceeds the limit. If exactly one element is NaN, it always does.
#[inline(always)]
fn too_far<K: Key>(ulps: K, limit: u64) -> bool {
    ulps == K::MAX || ulps.into() > limit
}

/// Whether exactly one is infinite, or both with different signs: no distance is small enough, as in
/// `torch.isclose`.
#[inline(always)]
fn parts_at_infinity<C: Compute>(x: C, y: C) -> bool {
    let is_infinite = |z: C| !z.is_finite() & !z.is_nan();
    (is_infinite(x) | is_infinite(y)) & (x != y)
}

/// The relative difference: PyTorch's quotient, except that it is 0 rather than NaN for two zeros.
#[inline(always)]
fn relative<C: Compute>(absolute: C, expected: C) -> C {
    if absolute == C::ZERO {
        C::ZERO
    } else {
        absolute / expected.abs()
    }
}

/// A real element of a floating point dtype.
#[derive(Clone, Copy)]
pub(super) struct Real<F>(F);

/// The part of a judgment that concerns bits, for two real numbers or one part of two complex ones.
struct BitJudgment<K> {
    differs: bool,
    signed_zero: bool,
    payload: bool,
    ulps: K,
}

#[inline(always)]
fn judge_bits<F: Format>(a: F, b: F) -> BitJudgment<<F::Compute as Compute>::Key> {
    let (x, y) = (a.value(), b.value());
    let differs = !a.same_bits(b);
    let (x_nan, y_nan) = (x.is_nan(), y.is_nan());
    let zeros = (x == F::Compute::ZERO) & (y == F::Compute::ZERO);
    let ulps = if x_nan | y_nan {
        if x_nan & y_nan {
            Key::from_bool(false)
        } else {
            Key::MAX
        }
    } else {
        a.steps(b)
    };
    BitJudgment {
        differs,
        signed_zero: differs & zeros & (a.is_negative() != b.is_negative()),
        payload: differs & x_nan & y_nan,
        ulps,
    }
}

/// The inequality of `torch.isclose`, given the error and `rtol * expected`.
///
/// Follows `isclose` in `ATen/native/TensorCompare.cpp`, PyTorch 2.13.
#[inline(always)]
fn within<F: Format>(error: F::Compute, scaled: F::Compute, limits: &Limits<F::Compute>) -> bool {
    let allowed = F::round(limits.atol + scaled.abs());
    limits.tolerant & error.is_finite() & (error <= allowed)
}

impl<F: Format> Lane for Real<F> {
    type Key = <F::Compute as Compute>::Key;
    type Compute = F::Compute;
    const SIZE: usize = F::SIZE;

    #[inline(always)]
    fn load(bytes: &[u8]) -> Real<F> {
        Real(F::load(bytes))
    }

    fn round(x: F::Compute) -> F::Compute {
        F::round(x)
    }

    #[inline(always)]
    fn judge<const MODE: u8>(
        Real(a): Real<F>,
        Real(b): Real<F>,
        limits: &Limits<F::Compute>,
    ) -> Judgment<Self::Key> {
        let bits = judge_bits(a, b);
        let (x, y) = (a.value(), b.value());
        let error = F::round(x - y).abs();
        let fails = match MODE {
            BITS => bits.differs,
            ULP => too_far(bits.ulps, limits.ulps) | parts_at_infinity(x, y),
            _ => {
                let nan = limits.equal_nan & x.is_nan() & y.is_nan();
                let close = within::<F>(error, F::round(limits.rtol * y), limits);
                !((x == y) | nan | close)
            }
        };
        Judgment {
            differs: bits.differs,
            fails,
            signed_zero: bits.signed_zero,
            payload: bits.payload,
            absolute: error.key(),
            relative: F::round(relative(error, y)).key(),
            ulps: bits.ulps,
        }
    }
}

/// A complex element: real and imaginary part.
#[derive(Clone, Copy)]
pub(super) struct Complex<F>(F, F);

impl<F: Format> Lane for Complex<F> {
    type Key = <F::Compute as Compute>::Key;
    type Compute = F::Compute;
    const SIZE: usize = 2 * F::SIZE;

    #[inline(always)]
    fn load(bytes: &[u8]) -> Complex<F> {
        let (re, im) = bytes.split_at(F::SIZE);
        Complex(F::load(re), F::load(im))
    }

    fn round(x: F::Compute) -> F::Compute {
        F::round(x)
    }

    #[inline(always)]
    fn judge<const MODE: u8>(
        a: Complex<F>,
        b: Complex<F>,
        limits: &Limits<F::Compute>,
    ) -> Judgment<Self::Key> {
        let (re, im) = (judge_bits(a.0, b.0), judge_bits(a.1, b.1));
        let [x, y] = [a, b].map(|z| [z.0.value(), z.1.value()]);
        let modulus = |re, im| F::round(Compute::modulus(re, im));
        // PyTorch adds `expected * (-1 + 0j)`, in which an infinite part makes the other one NaN.
        let zero = F::Compute::ZERO;
        let minus = [zero - y[0] - y[1] * zero, zero - y[1] + y[0] * zero];
        let error = modulus(F::round(x[0] + minus[0]), F::round(x[1] + minus[1]));
        let ulps = re.ulps.max(im.ulps);
        let differs = re.differs | im.differs;
        let fails = match MODE {
            BITS => differs,
            ULP => {
                let apart = parts_at_infinity(x[0], y[0]) | parts_at_infinity(x[1], y[1]);
                too_far(ulps, limits.ulps) | apart
            }
            _ => {
                let is_nan = |z: [F::Compute; 2]| z[0].is_nan() | z[1].is_nan();
                let nan = limits.equal_nan & is_nan(x) & is_nan(y);
                let scale = |part| F::round(limits.rtol_rounded * part);
                let close = within::<F>(error, modulus(scale(y[0]), scale(y[1])), limits);
                !(((x[0] == y[0]) & (x[1] == y[1])) | nan | close)
            }
        };
        Judgment {
            differs,
            fails,
            signed_zero: re.signed_zero | im.signed_zero,
            payload: re.payload | im.payload,
            absolute: error.key(),
            relative: F::round(relative(error, modulus(y[0], y[1]))).key(),
            ulps,
        }
    }
}

const FIRST_FLOAT8: usize = 9;

/// The values of every `float8` dtype.
static FLOAT8: LazyLock<[[f32; 256]; 5]> = LazyLock::new(|| {
    std::array::from_fn(|format| {
        std::array::from_fn(|byte| {
            let value = Dtype::ALL[FIRST_FLOAT8 + format].to_f64(&[byte as u8]);
            // Every byte has a value, which is exact in f32.
            value.unwrap_or(f64::NAN) as f32
        })
    })
});

/// A `float8`; `D` is the index of its dtype in [`Dtype::ALL`].
#[derive(Clone, Copy)]
pub(super) struct F8<const D: usize>(u8);

impl<const D: usize> Lane for F8<D> {
    type Key = u32;
    type Compute = f32;
    const SIZE: usize = 1;

    #[inline(always)]
    fn load(bytes: &[u8]) -> F8<D> {
        F8(bytes[0])
    }

    fn judge<const MODE: u8>(F8(a): F8<D>, F8(b): F8<D>, limits: &Limits<f32>) -> Judgment<u32> {
        let dtype = Dtype::ALL[D];
        let values = &FLOAT8[D - FIRST_FLOAT8];
        let (x, y) = (values[usize::from(a)], values[usize::from(b)]);
        let differs = a != b;
        let ulps = match (x.is_nan(), y.is_nan()) {
            (false, false) => ordinal8(dtype, a).abs_diff(ordinal8(dtype, b)),
            (true, true) => 0,
            _ => u32::MAX,
        };
        let error = (x - y).abs();
        Judgment {
            differs,
            fails: match MODE {
                BITS => differs,
                ULP => too_far(ulps, limits.ulps) | parts_at_infinity(x, y),
                _ => !((x == y) | (limits.equal_nan & x.is_nan() & y.is_nan())),
            },
            signed_zero: differs && x == 0.0 && y == 0.0,
            payload: differs && x.is_nan() && y.is_nan(),
            absolute: error.key(),
            relative: relative(error, y).key(),
            ulps,
        }
    }
}

/// An integer element.
#[derive(Clone, Copy)]
pub(super) struct Integer<T>(T);

macro_rules! integer {
    ($type:ty, $magnitude:expr) => {
        impl Lane for Integer<$type> {
            type Key = u64;
            type Compute = f32;
            const SIZE: usize = size_of::<$type>();

            #[inline(always)]
            fn load(bytes: &[u8]) -> Self {
                let mut word = [0; size_of::<$type>()];
                word.copy_from_slice(bytes);
                Integer(<$type>::from_le_bytes(word))
            }

            #[inline(always)]
            fn judge<const MODE: u8>(
                Integer(a): Self,
                Integer(b): Self,
                limits: &Limits<f32>,
            ) -> Judgment<u64> {
                // PyTorch applies tolerances to integers, and divides them, in its default dtype.
                let absolute = u64::from(a.abs_diff(b));
                let y = $magnitude(b) as f32;
                let close = || {
                    let error = (a as f32 - b as f32).abs();
                    within::<F32>(error, limits.rtol * y, limits)
                };
                Judgment {
                    differs: a != b,
                    fails: (a != b) & !(MODE == CLOSE && close()),
                    signed_zero: false,
                    payload: false,
                    absolute,
                    relative: relative(absolute as f32, y).key().into(),
                    ulps: 0,
                }
            }
        }
    };
}
integer!(u8, std::convert::identity);
integer!(u16, std::convert::identity);
integer!(u32, std::convert::identity);
integer!(u64, std::convert::identity);
integer!(i8, i8::unsigned_abs);
integer!(i16, i16::unsigned_abs);
integer!(i32, i32::unsigned_abs);
integer!(i64, i64::unsigned_abs);

/// A loop over elements that is compiled for every dtype and criterion.
pub(super) trait ElementLoop {
    type Output;
    fn run<L: Lane, const MODE: u8>(self, limits: &Limits<L::Compute>) -> Self::Output;
}

/// Runs a loop for the dtype and the rule.
pub(super) fn dispatch<R: ElementLoop>(elements: R, dtype: Dtype, rule: &Rule) -> R::Output {
    fn modes<L: Lane, R: ElementLoop>(elements: R, rule: &Rule) -> R::Output {
        let limits = Limits::new(rule, L::round);
        match rule.mode {
            Mode::Bits => elements.run::<L, BITS>(&limits),
            Mode::Ulp(_) => elements.run::<L, ULP>(&limits),
            Mode::Close => elements.run::<L, CLOSE>(&limits),
        }
    }
    match dtype {
        Dtype::Bool | Dtype::Uint8 => modes::<Integer<u8>, R>(elements, rule),
        Dtype::Int8 => modes::<Integer<i8>, R>(elements, rule),
        Dtype::Uint16 => modes::<Integer<u16>, R>(elements, rule),
        Dtype::Int16 => modes::<Integer<i16>, R>(elements, rule),
        Dtype::Uint32 => modes::<Integer<u32>, R>(elements, rule),
        Dtype::Int32 => modes::<Integer<i32>, R>(elements, rule),
        Dtype::Uint64 => modes::<Integer<u64>, R>(elements, rule),
        Dtype::Int64 => modes::<Integer<i64>, R>(elements, rule),
        Dtype::Float8E4m3fn => modes::<F8<9>, R>(elements, rule),
        Dtype::Float8E4m3fnuz => modes::<F8<10>, R>(elements, rule),
        Dtype::Float8E5m2 => modes::<F8<11>, R>(elements, rule),
        Dtype::Float8E5m2fnuz => modes::<F8<12>, R>(elements, rule),
        Dtype::Float8E8m0fnu => modes::<F8<13>, R>(elements, rule),
        Dtype::Float16 => modes::<Real<F16>, R>(elements, rule),
        Dtype::Bfloat16 => modes::<Real<Bf16>, R>(elements, rule),
        Dtype::Float32 => modes::<Real<F32>, R>(elements, rule),
        Dtype::Float64 => modes::<Real<F64>, R>(elements, rule),
        Dtype::Complex32 => modes::<Complex<F16>, R>(elements, rule),
        Dtype::Complex64 => modes::<Complex<F32>, R>(elements, rule),
        Dtype::Complex128 => modes::<Complex<F64>, R>(elements, rule),
    }
}

#[cfg(test)]
mod tests {
    use crate::compare::{AssertClose, Criterion, TensorComparison};
    use crate::{Dtype, TensorView};

    /// Every pair of the numbers around infinity, in every dtype that has one: as `assert_close` with
    /// `equal_nan`, whatever the limit.
    #[test]
    fn infinities_are_within_no_distance_but_of_themselves() {
        for (dtype, max, inf, nan) in [
            (Dtype::Float8E5m2, 0x7b, 0x7c, 0x7e),
            (Dtype::Float16, 0x7bff, 0x7c00, 0x7e00),
            (Dtype::Bfloat16, 0x7f7f, 0x7f80, 0x7fc0),
            (Dtype::Float32, 0x7f7f_ffff, 0x7f80_0000, 0x7fc0_0000),
            (
                Dtype::Float64,
                0x7fef_ffff_ffff_ffff,
                0x7ff0_0000_0000_0000,
                0x7ff8_0000_0000_0000,
            ),
        ] {
            let sign = 1u64 << (8 * dtype.size() - 1);
            let numbers: [u64; 6] = [max, inf, nan, max | sign, inf | sign, nan | sign];
            let bytes = |bits: u64| bits.to_le_bytes()[..dtype.size()].to_vec();
            let is_same = |dtype: Dtype, a: &[u8], b: &[u8], criterion| {
                let view = |bytes| TensorView::contiguous(dtype, &[1], bytes).unwrap();
                TensorComparison::new(&view(a), &view(b), criterion).is_same()
            };
            for a in numbers {
                for b in numbers {
                    let is_inf = |x: u64| x & !sign == inf;
                    let is_nan = |x: u64| x & !sign == nan;
                    let exact = a == b || is_nan(a) && is_nan(b);
                    let label = format!("{dtype}: {a:x}, {b:x}");
                    let (x, y) = (bytes(a), bytes(b));
                    for limit in [1, 1 << 40, u64::MAX] {
                        let same = is_same(dtype, &x, &y, Criterion::Ulp(limit));
                        if is_inf(a) || is_inf(b) || is_nan(a) != is_nan(b) || exact {
                            assert_eq!(same, exact, "{label}, {limit} ULP");
                        }
                    }
                    let close = AssertClose::default().equal_nan(true);
                    assert_eq!(
                        is_same(dtype, &x, &y, Criterion::Close(close)),
                        exact,
                        "{label}"
                    );
                    // As a part of a complex number, beside an equal part.
                    let complex = Dtype::ALL.into_iter().find(|c| c.part() == Some(dtype));
                    if let Some(complex) = complex.filter(|_| is_inf(a) || is_inf(b)) {
                        let zero = bytes(0);
                        for (x, y) in [
                            ([&x[..], &zero].concat(), [&y[..], &zero].concat()),
                            ([&zero[..], &x].concat(), [&zero[..], &y].concat()),
                        ] {
                            let same = is_same(complex, &x, &y, Criterion::Ulp(u64::MAX));
                            assert_eq!(same, exact, "{label}, {complex}");
                        }
                    }
                }
            }
        }
    }

    /// The constants that `dispatch` uses.
    #[test]
    fn float8_indices_equal_the_positions_in_all() {
        for (position, dtype) in [
            (9, Dtype::Float8E4m3fn),
            (10, Dtype::Float8E4m3fnuz),
            (11, Dtype::Float8E5m2),
            (12, Dtype::Float8E5m2fnuz),
            (13, Dtype::Float8E8m0fnu),
        ] {
            assert_eq!(Dtype::ALL[position], dtype);
        }
    }
}
