//! The dtypes that are drawn, and the dtypes they are computed in.

use crate::Dtype;
use crate::box_muller;
use crate::distribution::kernel::{Normal, Sink, Stored, Streamed, Uniform, UniformF64};
use crate::distribution::normal::BLOCK;
use crate::distribution::truncated::{self, Round, Truncation};
use crate::distribution::uniform::Interval;
use crate::opmath::Opmath;
use crate::stream::Fill;
use crate::{Mt19937, Simd};
use half::{bf16, f16};

/// A type that PyTorch draws on the CPU: `f32`, `f64`, [`bf16`], [`f16`].
pub trait Element: sealed::Element {
    /// Its dtype.
    const DTYPE: Dtype;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::Float32;
}
impl Element for f64 {
    const DTYPE: Dtype = Dtype::Float64;
}
impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bfloat16;
}
impl Element for f16 {
    const DTYPE: Dtype = Dtype::Float16;
}

pub(crate) mod sealed {
    use crate::distribution::truncated::{Round, Truncation};
    use crate::distribution::uniform::Interval;
    use crate::opmath::Opmath;
    use crate::{Mt19937, Simd};

    /// How an element is computed and stored.
    pub trait Element: Copy + PartialOrd + Send + Sync + 'static {
        /// `at::opmath_type`: what arithmetic is done in.
        type Opmath: Opmath;

        /// The largest value: `std::numeric_limits<scalar_t>::max()`.
        const MAX: f64;

        fn from_f64(value: f64) -> Self;
        fn from_opmath(value: Self::Opmath) -> Self;

        /// Fills with uniform values. `false`, with nothing done, where the arguments are such that
        /// SIMD would round differently.
        fn uniform(
            simd: Simd,
            generator: &mut Mt19937,
            values: &mut [Self],
            interval: &Interval<Self>,
        ) -> bool;

        /// Fills whole blocks with normal values, or returns `false` for the same reason.
        fn normal(
            simd: Simd,
            generator: &mut Mt19937,
            values: &mut [Self],
            mean: Self::Opmath,
            std: Self::Opmath,
        ) -> bool;

        /// Draws blocks of normal values once more where the round says, or returns `false` for the
        /// same reason.
        fn truncated(
            simd: Simd,
            generator: &mut Mt19937,
            round: Round<'_, Self>,
            truncation: &Truncation<Self>,
        ) -> bool;
    }
}

impl sealed::Element for f32 {
    type Opmath = f32;
    const MAX: f64 = f32::MAX as f64;

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn from_opmath(value: f32) -> f32 {
        value
    }

    fn uniform(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f32],
        interval: &Interval<f32>,
    ) -> bool {
        // Aligned to a cache line.
        if interval.past_caches && values.as_ptr().addr().is_multiple_of(64) {
            uniform_by_f32(simd, generator, values, interval, Streamed)
        } else {
            uniform_by_f32(simd, generator, values, interval, Stored)
        }
    }

    fn normal(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f32],
        mean: f32,
        std: f32,
    ) -> bool {
        normal_by_f32(simd, generator, values, mean, std, Stored)
    }

    fn truncated(
        simd: Simd,
        generator: &mut Mt19937,
        round: Round<'_, f32>,
        truncation: &Truncation<f32>,
    ) -> bool {
        takes_normal(truncation.mean, truncation.std)
            && truncated::kernel::run(simd, generator, round, truncation, Stored)
    }
}

impl sealed::Element for f64 {
    type Opmath = f64;
    const MAX: f64 = f64::MAX;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn from_opmath(value: f64) -> f64 {
        value
    }

    fn uniform(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f64],
        interval: &Interval<f64>,
    ) -> bool {
        let Some(scale) = exact_part(interval.range, f64::MANTISSA_DIGITS) else {
            return false;
        };
        simd.run(Fill {
            generator,
            recipe: UniformF64 {
                from: interval.from,
                scale,
                to: interval.to_stored,
            },
            out: values,
        });
        true
    }

    fn normal(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f64],
        mean: f64,
        std: f64,
    ) -> bool {
        let unit = UniformF64 {
            from: 0.0,
            scale: f64::EPSILON / 2.0,
            to: 1.0,
        };
        for values in values.chunks_mut(F64_AT_A_TIME) {
            simd.run(Fill {
                generator,
                recipe: unit,
                out: values,
            });
            for block in values.as_chunks_mut::<BLOCK>().0 {
                for j in 0..BLOCK / 2 {
                    let (u1, u2) = (block[j], block[j + BLOCK / 2]);
                    (block[j], block[j + BLOCK / 2]) = box_muller::f64(u1, u2, mean, std);
                }
            }
        }
        true
    }

    /// Pairs are transformed one by one in any case.
    fn truncated(
        _simd: Simd,
        _generator: &mut Mt19937,
        _round: Round<'_, f64>,
        _truncation: &Truncation<f64>,
    ) -> bool {
        false
    }
}

impl sealed::Element for bf16 {
    type Opmath = f32;
    // 0x7f7f
    const MAX: f64 = 3.389_531_389_251_535_5e38;

    fn from_f64(value: f64) -> bf16 {
        // By way of f32 and so rounded twice, as a C++ cast to c10::BFloat16 is.
        Self::from_opmath(value as f32)
    }

    fn from_opmath(value: f32) -> bf16 {
        if value.is_nan() {
            // c10 knows one NaN only, `half` keeps sign and payload.
            return bf16::from_bits(0x7fc0);
        }
        bf16::from_f32(value)
    }

    fn uniform(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [bf16],
        interval: &Interval<bf16>,
    ) -> bool {
        uniform_by_f32(simd, generator, values, interval, bf16::ZERO)
    }

    fn normal(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [bf16],
        mean: f32,
        std: f32,
    ) -> bool {
        normal_by_f32(simd, generator, values, mean, std, bf16::ZERO)
    }

    fn truncated(
        simd: Simd,
        generator: &mut Mt19937,
        round: Round<'_, bf16>,
        truncation: &Truncation<bf16>,
    ) -> bool {
        takes_normal(truncation.mean, truncation.std)
            && truncated::kernel::run(simd, generator, round, truncation, bf16::ZERO)
    }
}

impl sealed::Element for f16 {
    type Opmath = f32;
    const MAX: f64 = 65504.0;

    fn from_f64(value: f64) -> f16 {
        // Twice, as above.
        f16::from_f32(value as f32)
    }

    fn from_opmath(value: f32) -> f16 {
        f16::from_f32(value)
    }

    fn uniform(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f16],
        interval: &Interval<f16>,
    ) -> bool {
        uniform_by_f32(simd, generator, values, interval, f16::ZERO)
    }

    fn normal(
        simd: Simd,
        generator: &mut Mt19937,
        values: &mut [f16],
        mean: f32,
        std: f32,
    ) -> bool {
        normal_by_f32(simd, generator, values, mean, std, f16::ZERO)
    }

    fn truncated(
        simd: Simd,
        generator: &mut Mt19937,
        round: Round<'_, f16>,
        truncation: &Truncation<f16>,
    ) -> bool {
        takes_normal(truncation.mean, truncation.std)
            && truncated::kernel::run(simd, generator, round, truncation, f16::ZERO)
    }
}

/// Values of f64 that stay in a level-1 cache between their draw and their transform.
const F64_AT_A_TIME: usize = 1024;

/// `range / 2^bits`, unless that underflows.
fn exact_part<T: Opmath>(range: T, bits: u32) -> Option<T> {
    let scale = range.scaled(bits);
    (scale.is_normal() || range.is_zero()).then_some(scale)
}

fn uniform_by_f32<T, S>(
    simd: Simd,
    generator: &mut Mt19937,
    values: &mut [T],
    interval: &Interval<T>,
    sink: S,
) -> bool
where
    T: sealed::Element<Opmath = f32> + Into<f32>,
    S: Sink<Item = T>,
{
    let Some(scale) = exact_part(interval.range, f32::MANTISSA_DIGITS) else {
        return false;
    };
    let from = interval.from;
    let (to, from_stored) = (interval.to_stored.into(), interval.from_stored.into());
    // Values grow with the unit: if the largest stays below `to`, none has to be compared with it.
    let largest = T::from_opmath(16_777_215f32.mul_add(scale, from));
    if largest.into() < to {
        let recipe = Uniform::<S, false> {
            from,
            scale,
            to,
            from_stored,
            sink,
        };
        simd.run(Fill {
            generator,
            recipe,
            out: values,
        });
    } else {
        let recipe = Uniform::<S, true> {
            from,
            scale,
            to,
            from_stored,
            sink,
        };
        simd.run(Fill {
            generator,
            recipe,
            out: values,
        });
    }
    true
}

/// A radius of -0 shows behind a mean of -0, and NaN behind what is not finite.
fn takes_normal(mean: f32, std: f32) -> bool {
    mean.is_finite() && std.is_finite() && mean.to_bits() != (-0f32).to_bits()
}

fn normal_by_f32<T, S>(
    simd: Simd,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f32,
    std: f32,
    sink: S,
) -> bool
where
    S: Sink<Item = T>,
{
    if !takes_normal(mean, std) {
        return false;
    }
    simd.run(Fill {
        generator,
        recipe: Normal { mean, std, sink },
        out: values,
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::sealed::Element as _;

    #[test]
    fn the_largest_values() {
        assert_eq!(bf16::MAX.to_f64(), <bf16 as sealed::Element>::MAX);
        assert_eq!(f16::MAX.to_f64(), <f16 as sealed::Element>::MAX);
    }

    #[test]
    fn every_half_of_ties_goes_to_even() {
        assert_eq!(
            <bf16 as sealed::Element>::from_opmath(f32::from_bits(0x3f80_8000)).to_bits(),
            0x3f80
        );
        assert_eq!(
            <bf16 as sealed::Element>::from_opmath(f32::from_bits(0x3f81_8000)).to_bits(),
            0x3f82
        );
        assert_eq!(bf16::from_opmath(-f32::NAN).to_bits(), 0x7fc0);
    }
}
