//! `torch.Tensor.uniform_`.
//!
//! Follows `uniform_impl_` (`ATen/native/DistributionTemplates.h`), `uniform_kernel`
//! (`ATen/native/cpu/DistributionTemplates.h`) and `uniform_real`
//! (`ATen/core/TransformationHelper.h`), PyTorch 2.13, and those of 2.11 where semantics are older.

use super::rule::{Consumed, Rule, Target};
use crate::dtype::Dtype;
use crate::element::{Element, Vector};
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::opmath::Opmath;
use crate::parallel::{self, Chunk, Cost};
use crate::semantics::Semantics;
use crate::simd::{FullIsa, Simd};
use crate::stream::{Fill, Step, Transform};
use std::ops::Range;

/// Uniform values in `[from, to)`, as `torch.Tensor.uniform_` draws them.
///
/// f32, bf16 and f16 use the low 24 bits of a word each, f64 the low 53 bits of two words with the first
/// in the high half. The value is `fma(unit, to - from, from)`, in f32 for the 16-bit types and then
/// rounded to nearest even; a value that rounds to `to` becomes `from`.
///
/// Up to PyTorch 2.11, bf16 uses the low 8 bits of a word and f16 the low 11, both round the bounds and
/// their difference first, and a value that rounds to `to` stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    /// The lower bound.
    pub from: f64,
    /// The upper bound.
    pub to: f64,
}

/// Fills with uniform values in `[from, to)`, as `torch.Tensor.uniform_` does: see [`Uniform`].
///
/// # Errors
///
/// [`DrawError::Bounds`], with nothing drawn, if the bounds are not finite in the dtype, not in
/// order, or further apart than its largest value.
///
/// ```
/// use torch_rng::{Mt19937, uniform_};
///
/// let mut values = [0f32; 3];
/// uniform_(&mut Mt19937::new(1), &mut values, 0.0, 1.0)?;
/// // python: torch.manual_seed(1); torch.rand(3).tolist()
/// assert_eq!(values, [0.7576315999031067, 0.2793108820915222, 0.40306925773620605]);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
pub fn uniform_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    from: f64,
    to: f64,
) -> Result<(), DrawError> {
    Engine::default().uniform_(generator, values, from, to)
}

impl Engine {
    /// [`uniform_`](crate::uniform_) with this engine.
    ///
    /// # Errors
    ///
    /// As [`uniform_`](crate::uniform_).
    pub fn uniform_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        from: f64,
        to: f64,
    ) -> Result<(), DrawError> {
        let shape = [values.len() as u64];
        let target = Target::new(T::DTYPE, &shape);
        Uniform { from, to }.fill(self, generator, target, values)
    }
}

/// The words of one uniform value; `None` for a dtype without uniform values.
pub(super) fn words_per_value(dtype: Dtype) -> Option<u64> {
    match dtype {
        Dtype::Float32 | Dtype::Bfloat16 | Dtype::Float16 => Some(1),
        Dtype::Float64 => Some(2),
        Dtype::Int64 => None,
    }
}

impl Rule for Uniform {
    const NAME: &'static str = "uniform_";
    const ARITY: usize = 2;

    fn args(&self) -> Vec<f64> {
        vec![self.from, self.to]
    }

    fn from_args(args: &[f64]) -> Option<Uniform> {
        match *args {
            [from, to] => Some(Uniform { from, to }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        let Uniform { from, to } = *self;
        match from <= to && (to - from).is_finite() {
            true => Ok(()),
            false => Err(format!(
                "expected from <= to with a finite difference, found from = {from}, to = {to}"
            )),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        Consumed {
            words: words_per_value(target.dtype)
                .and_then(|words| words.checked_mul(target.numel())),
            cached,
        }
    }

    fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
        if target.semantics >= Semantics::PyTorch2_12 {
            return Semantics::NEWEST;
        }
        let reaches_to = match target.dtype {
            Dtype::Float16 | Dtype::Bfloat16 => true,
            Dtype::Float32 => self.reaches_to::<f32>(),
            Dtype::Float64 => self.reaches_to::<f64>(),
            Dtype::Int64 => false,
        };
        match reaches_to {
            true => Semantics::PyTorch2_11,
            false => Semantics::NEWEST,
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let simd = engine.simd();
        let interval = Interval::new(target.semantics, self.from, self.to, values)?;
        let fill = |generator: &mut Mt19937, chunk: &mut [T]| interval.fill(simd, generator, chunk);
        parallel::fill(engine, interval.cost(simd), generator, values, fill);
        Ok(())
    }

    fn has_ranges(&self, _target: Target<'_>) -> bool {
        true
    }

    fn fill_range<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let mut generator = start.clone();
        engine.skip(&mut generator, T::Opmath::WORDS * range.start);
        self.fill(engine, &mut generator, target, values)
    }

    fn chunks<'a, T: Element>(
        &self,
        engine: &Engine,
        target: Target<'_>,
        values: &'a mut [T],
    ) -> Result<Vec<Chunk<'a>>, DrawError> {
        let simd = engine.simd();
        let interval = Interval::new(target.semantics, self.from, self.to, values)?;
        let fill = move |generator: &mut Mt19937, chunk: &mut [T]| {
            interval.fill(simd, generator, chunk);
        };
        Ok(parallel::chunks(interval.cost(simd), values, fill).collect())
    }
}

impl Uniform {
    /// Whether a value rounds to `to`; `false` for bounds that are rejected.
    fn reaches_to<T: Element>(&self) -> bool {
        let interval = Interval::<T>::new(Semantics::NEWEST, self.from, self.to, &[]);
        interval.is_ok_and(|interval| interval.reaches_to())
    }
}

/// The size in bytes of a tensor that is assumed to exceed the caches.
const NON_TEMPORAL_THRESHOLD: usize = 4 << 20;

/// Bounds that libtorch accepts, as it uses them.
#[derive(Debug, Clone, Copy)]
struct Interval<T: Element> {
    from: T::Opmath,
    range: T::Opmath,
    /// The bounds, rounded to elements.
    from_stored: T,
    to_stored: T,
    /// Whether to bypass the caches, where elements have such stores.
    is_non_temporal: bool,
    /// Whether a value that rounds to `to` becomes `from`.
    replaces_to: bool,
    /// The low bits of a word that make a value.
    bits: u32,
}

impl<T: Element> Interval<T> {
    /// The interval of a draw into `values`. Without caching what would not stay in the caches, uniform
    /// values take a sixth less time. (Normal values take as long either way.)
    fn new(semantics: Semantics, from: f64, to: f64, values: &[T]) -> Result<Self, DrawError> {
        let is_representable = |bound: f64| bound.abs() <= T::MAX;
        let is_old = semantics <= Semantics::PyTorch2_11;
        let has_few_bits = is_old && T::DTYPE.is_half();
        // The difference is checked as given, and once rounded, where it may be infinite.
        let (start, range) = match has_few_bits {
            false => {
                let start = T::Opmath::from_f64(from);
                (start, T::Opmath::from_f64(to) - start)
            }
            true => {
                let start = T::from_f64(from).to_opmath();
                let range = T::from_f64(to).to_opmath() - start;
                (start, T::from_opmath(range).to_opmath())
            }
        };
        if !(is_representable(from)
            && is_representable(to)
            && from <= to
            && to - from <= T::MAX
            && range.is_finite())
        {
            return Err(DrawError::Bounds {
                dtype: T::DTYPE,
                from,
                to,
            });
        }
        Ok(Interval {
            from: start,
            range,
            from_stored: T::from_f64(from),
            to_stored: T::from_f64(to),
            is_non_temporal: T::HAS_NON_TEMPORAL && size_of_val(values) >= NON_TEMPORAL_THRESHOLD,
            replaces_to: !is_old,
            bits: match has_few_bits {
                false => T::Opmath::UNIT_BITS,
                true => T::DIGITS,
            },
        })
    }

    fn cost(&self, simd: Option<Simd>) -> Cost {
        let is_vectorized = simd.is_some() && self.bits == T::Opmath::UNIT_BITS;
        let nanoseconds_per_word = if is_vectorized { 0.4 } else { 3.0 };
        Cost {
            words: T::Opmath::WORDS,
            nanoseconds: nanoseconds_per_word * T::Opmath::WORDS as f64,
        }
    }

    /// Fills with SIMD if that rounds as libtorch does, otherwise value by value.
    fn fill(&self, simd: Option<Simd>, generator: &mut Mt19937, values: &mut [T]) {
        // `fma(k, range / 2^bits, from)` equals `fma(k / 2^bits, range, from)` unless the quotient
        // underflows.
        let scale = self.range.unit();
        let is_exact = scale.is_normal() || self.range == T::Opmath::from_f64(0.0);
        let has_few_bits = self.bits < T::Opmath::UNIT_BITS;
        let Some(simd) = simd.filter(|_| is_exact && !has_few_bits) else {
            return match has_few_bits {
                false => values.fill_with(|| self.draw(generator)),
                true => values.fill_with(|| self.draw_few_bits(generator)),
            };
        };
        let clamps = self.replaces_to && self.reaches_to();
        // Aligned to a cache line.
        let is_non_temporal = self.is_non_temporal && values.as_ptr().addr().is_multiple_of(64);
        match (clamps, is_non_temporal) {
            (false, false) => simd.run(self.kernel::<false, false>(scale, generator, values)),
            (false, true) => simd.run(self.kernel::<false, true>(scale, generator, values)),
            (true, false) => simd.run(self.kernel::<true, false>(scale, generator, values)),
            (true, true) => simd.run(self.kernel::<true, true>(scale, generator, values)),
        }
    }

    /// Whether a value rounds to `to`. Values grow with the unit: if the largest stays below `to`, none needs
    /// to be compared.
    fn reaches_to(&self) -> bool {
        let largest_unit = T::Opmath::from_f64(((1u64 << T::Opmath::UNIT_BITS) - 1) as f64);
        let largest = largest_unit.unit().mul_add(self.range, self.from);
        T::from_opmath(largest) >= self.to_stored
    }

    #[inline]
    fn kernel<'a, const CLAMP: bool, const NON_TEMPORAL: bool>(
        &self,
        scale: T::Opmath,
        generator: &'a mut Mt19937,
        out: &'a mut [T],
    ) -> Fill<'a, UniformTransform<T, CLAMP, NON_TEMPORAL>> {
        Fill {
            generator,
            transform: UniformTransform {
                from: self.from,
                scale,
                to_stored: self.to_stored,
                from_stored: self.from_stored,
            },
            out,
        }
    }

    fn draw(&self, generator: &mut Mt19937) -> T {
        let value = T::from_opmath(T::Opmath::uniform(generator, self.from, self.range));
        if value == self.to_stored && self.replaces_to {
            self.from_stored
        } else {
            value
        }
    }

    /// As [`draw`](Self::draw), from fewer bits of the word than the arithmetic has.
    fn draw_few_bits(&self, generator: &mut Mt19937) -> T {
        let unit = few_bits_unit::<T>(generator);
        T::from_opmath(unit.mul_add(self.range, self.from))
    }
}

/// A uniform value in `[0, 1)` from as many bits of a word as the dtype has digits.
pub(super) fn few_bits_unit<T: Element>(generator: &mut Mt19937) -> T::Opmath {
    let count = generator.next_u32() & ((1 << T::DIGITS) - 1);
    // Exact.
    T::Opmath::from_f64(f64::from(count) / f64::from(1u32 << T::DIGITS))
}

/// Uniform values in vectors. With `CLAMP`, a value that rounds to `to` becomes `from`.
#[derive(Clone, Copy)]
pub(super) struct UniformTransform<T: Element, const CLAMP: bool, const NON_TEMPORAL: bool> {
    from: T::Opmath,
    /// `(to - from) / 2^bits`, which is exact.
    scale: T::Opmath,
    /// The bounds, rounded to elements.
    to_stored: T,
    from_stored: T,
}

impl<T: Element> UniformTransform<T, false, false> {
    /// Values in `[0, 1)`.
    pub(super) fn unit() -> Self {
        let one = T::Opmath::from_f64(1.0);
        UniformTransform {
            from: T::Opmath::from_f64(0.0),
            scale: one.unit(),
            to_stored: T::from_f64(1.0),
            from_stored: T::from_f64(0.0),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct UniformStep<T: Element, I: FullIsa, const CLAMP: bool, const NON_TEMPORAL: bool> {
    from: Vector<T, I>,
    scale: Vector<T, I>,
    to_stored: Vector<T, I>,
    from_stored: Vector<T, I>,
}

impl<T: Element, const CLAMP: bool, const NON_TEMPORAL: bool> Transform
    for UniformTransform<T, CLAMP, NON_TEMPORAL>
{
    type Item = T;
    type Step<I: FullIsa> = UniformStep<T, I, CLAMP, NON_TEMPORAL>;

    #[inline(always)]
    fn prepare<I: FullIsa>(&self, isa: I) -> Self::Step<I> {
        UniformStep {
            from: T::Opmath::splat(isa, self.from),
            scale: T::Opmath::splat(isa, self.scale),
            to_stored: T::Opmath::splat(isa, self.to_stored.to_opmath()),
            from_stored: T::Opmath::splat(isa, self.from_stored.to_opmath()),
        }
    }
}

impl<T: Element, I: FullIsa, const CLAMP: bool, const NON_TEMPORAL: bool> Step<I>
    for UniformStep<T, I, CLAMP, NON_TEMPORAL>
{
    type Item = T;
    const WORDS: usize = 2 * I::LANES;
    const ITEMS: usize = 2 * I::LANES / T::Opmath::WORDS as usize;
    const NON_TEMPORAL: bool = NON_TEMPORAL && T::HAS_NON_TEMPORAL;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut T) {
        // SAFETY: the caller promises the words and items of two vectors.
        unsafe {
            let first = self.values(isa, isa.load(raw));
            let second = self.values(isa, isa.load(raw.add(I::LANES)));
            T::store::<I, NON_TEMPORAL>(isa, out, first, second);
        }
    }
}

impl<T: Element, I: FullIsa, const CLAMP: bool, const NON_TEMPORAL: bool>
    UniformStep<T, I, CLAMP, NON_TEMPORAL>
{
    #[inline(always)]
    fn values(self, isa: I, raw: I::U) -> Vector<T, I> {
        let units = T::Opmath::units(isa, raw);
        let values = T::Opmath::fmadd(isa, units, self.scale, self.from);
        if CLAMP {
            let rounded = T::round(isa, values);
            T::Opmath::replace(isa, rounded, self.to_stored, self.from_stored)
        } else {
            values
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::test_support::check_all_widths;
    use half::f16;

    #[test]
    fn all_vector_widths_equal_the_scalar_code() {
        let scalar = Engine::new(crate::Backend::Scalar).unwrap();
        let transform = UniformTransform::<f16, true, false> {
            from: -1.0,
            scale: 2.0f32.unit(),
            to_stored: f16::from_f64(1.0),
            from_stored: f16::from_f64(-1.0),
        };
        check_all_widths(transform, f16::ZERO, |generator, out| {
            scalar.uniform_(generator, out, -1.0, 1.0).unwrap();
        });
        let transform = UniformTransform::<f64, true, false> {
            from: -1.0,
            scale: 2f64.unit(),
            to_stored: 1.0,
            from_stored: -1.0,
        };
        check_all_widths(transform, 0.0, |generator, out| {
            scalar.uniform_(generator, out, -1.0, 1.0).unwrap();
        });
    }
}
