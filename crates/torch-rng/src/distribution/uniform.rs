//! Uniform values.
//!
//! Follows `uniform_impl_` (`ATen/native/DistributionTemplates.h`), `uniform_kernel`
//! (`ATen/native/cpu/DistributionTemplates.h`) and `uniform_real`
//! (`ATen/core/TransformationHelper.h`), PyTorch 2.13.

use super::DrawError;
use crate::Engine;
use crate::element::{Element, sealed};
use crate::opmath::Opmath;
use crate::parallel::Part;
use crate::parallel::{self, Cost};
use crate::{Mt19937, Simd};

/// Fills with values in `[from, to)`, as `torch.Tensor.uniform_` does.
///
/// f32, bf16 and f16 take the low 24 bits of a word each, f64 the low 53 bits of two words with
/// the first in the high half. The value is `fma(unit, to - from, from)`, in f32 for the types of
/// 16 bits and then rounded to nearest even; one that rounds to `to` becomes `from`.
///
/// # Errors
///
/// [`DrawError::Bounds`], with nothing drawn, if the bounds are not finite in the dtype, not in
/// order, or further apart than its largest value.
///
/// ```
/// use torch_rng::distribution::uniform_;
/// use torch_rng::Mt19937;
///
/// let mut values = [0f32; 3];
/// uniform_(&mut Mt19937::new(1), &mut values, 0.0, 1.0)?;
/// // python: torch.manual_seed(1); torch.rand(3).tolist()
/// assert_eq!(values, [0.7576315999031067, 0.2793108820915222, 0.40306925773620605]);
/// # Ok::<(), torch_rng::distribution::DrawError>(())
/// ```
pub fn uniform_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    from: f64,
    to: f64,
) -> Result<(), DrawError> {
    Engine::default().uniform_(generator, values, from, to)
}

pub(crate) fn fill<T: Element>(
    engine: &Engine,
    generator: &mut Mt19937,
    values: &mut [T],
    interval: Interval<T>,
) {
    let simd = engine.backend.simd();
    let interval = interval.of(values);
    let by = |generator: &mut Mt19937, part: &mut [T]| interval.fill(simd, generator, part);
    parallel::fill(engine, interval.cost(simd), generator, values, by);
}

/// The same, in parts.
pub(crate) fn parts<'a, T: Element>(
    engine: &Engine,
    values: &'a mut [T],
    interval: Interval<T>,
) -> impl Iterator<Item = Part<'a>> {
    let simd = engine.backend.simd();
    let interval = interval.of(values);
    let by = move |generator: &mut Mt19937, part: &mut [T]| interval.fill(simd, generator, part);
    parallel::of(interval.cost(simd), values, by)
}

/// Bounds that libtorch accepts, as it uses them.
#[derive(Debug, Clone, Copy)]
pub struct Interval<T: sealed::Element> {
    pub(crate) from: T::Opmath,
    pub(crate) range: T::Opmath,
    pub(crate) from_stored: T,
    pub(crate) to_stored: T,
    /// Whether to store past the caches, where that can be chosen.
    pub(crate) past_caches: bool,
}

/// The bytes from which on a tensor is taken to be larger than what the caches keep of it.
const PAST_CACHES: usize = 4 << 20;

impl<T: Element> Interval<T> {
    pub(crate) fn new(from: f64, to: f64) -> Result<Self, DrawError> {
        type Op<T> = <T as sealed::Element>::Opmath;
        let held = |bound: f64| bound.abs() <= T::MAX;
        // The difference once as given and once rounded, where it may come to infinity.
        let range = Op::<T>::from_f64(to).minus(Op::<T>::from_f64(from));
        if !(held(from) && held(to) && from <= to && to - from <= T::MAX && range.is_finite()) {
            return Err(DrawError::Bounds {
                dtype: T::DTYPE,
                from,
                to,
            });
        }
        Ok(Interval {
            from: Op::<T>::from_f64(from),
            range,
            from_stored: T::from_f64(from),
            to_stored: T::from_f64(to),
            past_caches: false,
        })
    }

    /// For a draw into all these values. What would not stay in the caches need not be read into
    /// them: a sixth of the time of uniform values, and nothing of that of normal ones.
    fn of(self, values: &[T]) -> Self {
        Interval {
            past_caches: size_of_val(values) >= PAST_CACHES,
            ..self
        }
    }

    fn cost(&self, simd: Option<Simd>) -> Cost {
        let word = if simd.is_some() { 0.4 } else { 3.0 };
        Cost {
            words: T::Opmath::WORDS,
            nanoseconds: word * T::Opmath::WORDS as f64,
        }
    }

    /// Fills by SIMD where that can, otherwise value by value.
    fn fill(&self, simd: Option<Simd>, generator: &mut Mt19937, values: &mut [T]) {
        if simd.is_some_and(|simd| T::uniform(simd, generator, values, self)) {
            return;
        }
        for value in values {
            *value = self.draw(generator);
        }
    }

    fn draw(&self, generator: &mut Mt19937) -> T {
        let value = T::from_opmath(T::Opmath::uniform(generator, self.from, self.range));
        if value == self.to_stored {
            self.from_stored
        } else {
            value
        }
    }
}
