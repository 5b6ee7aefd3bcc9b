//! `torch.Tensor.normal_`.
//!
//! Follows `normal_kernel` and `normal_fill` (`ATen/native/cpu/DistributionTemplates.h`) and
//! `normal_distribution` (`ATen/core/DistributionsHelper.h`), PyTorch 2.13. Blocks of older semantics are in
//! `old_blocks.rs`.

use super::old_blocks::{OldBlock, has_old_blocks};
use super::rule::{Consumed, Rule, Target};
use super::uniform::{UniformTransform, words_per_value};
use crate::arch::Isa;
use crate::box_muller_simd::{self, BoxMuller, BoxMullerIsa};
use crate::dtype::Dtype;
use crate::element::{Element, InSingle};
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::opmath::Opmath;
use crate::parallel::{self, Chunk, Cost};
use crate::semantics::Semantics;
use crate::simd::{FullIsa, Simd};
use crate::stream::{Fill, SLACK, Step, Transform};
use std::f64::consts::PI;
use std::marker::PhantomData;
use std::ops::Range;

/// Normal values, as `torch.Tensor.normal_` draws them: a contiguous tensor of at least 16 elements by
/// [`normal_block_`], any other by [`normal_serial_`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

/// Fills with normal values, as `torch.Tensor.normal_` does on a contiguous tensor: by
/// [`normal_block_`] from 16 elements on, by [`normal_serial_`] below.
///
/// # Errors
///
/// [`DrawError::Std`], with nothing drawn, if `std` is negative or NaN.
///
/// ```
/// use torch_rng::{Mt19937, normal_};
///
/// let mut values = [0f32; 3];
/// normal_(&mut Mt19937::new(1), &mut values, 0.0, 1.0)?;
/// // python: torch.manual_seed(1); torch.randn(3).tolist()
/// assert_eq!(values, [0.6613521575927734, 0.266924113035202, 0.06167725846171379]);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
pub fn normal_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    Engine::default().normal_(generator, values, mean, std)
}

/// Fills with normal values by the Box-Muller transform of blocks of 16 uniform values, where elements
/// `j` and `j + 8` are a pair. libtorch does this from 16 elements on.
///
/// If the number of elements is not a multiple of 16, the last 16 are drawn again from new words. Before
/// that, f32 and f64 consume the words of all elements, bf16 and f16 only those of whole blocks. f32,
/// bf16 and f16 compute logarithm, sine and cosine by polynomials in f32; f64 uses the C library. A
/// cached normal stays cached.
///
/// # Errors
///
/// [`DrawError::Std`] if `std` is negative or NaN; [`DrawError::Block`] for fewer than 16 elements.
/// Nothing is drawn then.
pub fn normal_block_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    Engine::default().normal_block_(generator, values, mean, std)
}

/// Fills with normal values one at a time, in f64 and then rounded. libtorch does this below 16 elements,
/// and for tensors that are not contiguous, in memory order.
///
/// Each pair consumes four words and yields the cosine first; its sine is cached in the generator for
/// the next such draw of any dtype.
///
/// # Errors
///
/// [`DrawError::Std`], with nothing drawn, if `std` is negative or NaN.
pub fn normal_serial_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    check_std(std)?;
    draw_serial(generator, values, mean, std);
    Ok(())
}

/// [`normal_serial_`] with a checked standard deviation.
pub(super) fn draw_serial<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) {
    values.fill_with(|| T::from_f64(standard_normal(generator).mul_add(std, mean)));
}

impl Engine {
    /// [`normal_`](crate::normal_) with this engine.
    ///
    /// # Errors
    ///
    /// As [`normal_`](crate::normal_).
    pub fn normal_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
    ) -> Result<(), DrawError> {
        let shape = [values.len() as u64];
        let target = Target::new(T::DTYPE, &shape);
        Normal { mean, std }.fill(self, generator, target, values)
    }

    /// [`normal_block_`](crate::normal_block_) with this engine.
    ///
    /// # Errors
    ///
    /// As [`normal_block_`](crate::normal_block_).
    pub fn normal_block_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
    ) -> Result<(), DrawError> {
        let normal = Normal { mean, std };
        normal.fill_blocks(self, Semantics::NEWEST, generator, values)
    }
}

/// The elements of a block; the fewest for which libtorch draws blocks.
pub(super) const BLOCK: usize = Normal::BLOCK;

impl Normal {
    /// The values that libtorch draws at a time, of a contiguous tensor of at least as many elements.
    pub const BLOCK: usize = 16;

    /// Whether libtorch draws the values of `target` one at a time.
    pub fn is_serial(target: Target<'_>) -> bool {
        target.numel() < BLOCK as u64 || !target.contiguous
    }

    fn fill_blocks<T: Element>(
        &self,
        engine: &Engine,
        semantics: Semantics,
        generator: &mut Mt19937,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let blocks = Blocks::new(engine.simd(), semantics, values.len(), *self)?;
        let whole = values.len() / BLOCK * BLOCK;
        let fill = |generator: &mut Mt19937, chunk: &mut [T]| blocks.fill(generator, chunk);
        let cost = blocks.cost();
        parallel::fill(engine, cost, generator, &mut values[..whole], fill);
        blocks.redraw_remainder(generator, values);
        Ok(())
    }
}

/// Fills the `wanted` elements, which are a part of those that are `drawn`: in place if they are all of them.
pub(super) fn fill_within<T: Element>(
    drawn: Range<u64>,
    wanted: Range<u64>,
    values: &mut [T],
    mut fill: impl FnMut(&mut [T]) -> Result<(), DrawError>,
) -> Result<(), DrawError> {
    if drawn == wanted {
        return fill(values);
    }
    let mut temporary = vec![T::from_f64(0.0); (drawn.end - drawn.start) as usize];
    fill(&mut temporary)?;
    let from = (wanted.start - drawn.start) as usize..(wanted.end - drawn.start) as usize;
    values.copy_from_slice(&temporary[from]);
    Ok(())
}

/// [`Rule::newest_equivalent`] of what draws normal values, `serial` or in blocks.
pub(super) fn newest_equivalent(target: Target<'_>, serial: bool) -> Semantics {
    match !serial && has_old_blocks(target.semantics, target.dtype) {
        true if target.dtype != Dtype::Float16 => target.semantics.max(Semantics::PyTorch2_11),
        true => target.semantics,
        false => Semantics::NEWEST,
    }
}

/// What normal values consume, drawn one at a time or in blocks.
pub(super) fn consumed(target: Target<'_>, serial: bool, cached: Option<bool>) -> Consumed {
    let numel = target.numel();
    if !serial {
        return Consumed {
            words: block_words(target.semantics, target.dtype, numel),
            cached,
        };
    }
    let even = numel.is_multiple_of(2);
    let pairs = match cached {
        Some(cached) => Some(numel.saturating_sub(u64::from(cached)).div_ceil(2)),
        // The same number of pairs in both cases.
        None if even => Some(numel / 2),
        None => None,
    };
    Consumed {
        words: pairs.and_then(|pairs| pairs.checked_mul(4)),
        cached: cached.map(|cached| cached == even),
    }
}

/// The words of `numel` values in blocks, with those of the last block if it is redrawn.
fn block_words(semantics: Semantics, dtype: Dtype, numel: u64) -> Option<u64> {
    let redrawn = match numel % BLOCK as u64 {
        0 => 0,
        _ => BLOCK as u64,
    };
    let values = values_before_redraw(semantics, dtype, numel).checked_add(redrawn)?;
    values.checked_mul(words_per_value(dtype)?)
}

/// The values whose words are consumed before the last block is redrawn. They include the remainder where
/// libtorch stores the uniform values in the tensor itself: for f32 and f64, and up to PyTorch 2.11.
fn values_before_redraw(semantics: Semantics, dtype: Dtype, numel: u64) -> u64 {
    match dtype.is_half() && semantics >= Semantics::PyTorch2_12 {
        true => numel - numel % BLOCK as u64,
        false => numel,
    }
}

/// Skips normals that are drawn one at a time, and returns the number of words. The last pair is drawn,
/// since the generator may cache its second value.
pub(super) fn skip_serial(engine: &Engine, generator: &mut Mt19937, mut numel: u64) -> u64 {
    if numel > 0 && generator.next_double_normal().is_some() {
        standard_normal(generator);
        numel -= 1;
    }
    if numel == 0 {
        return 0;
    }
    let pairs = numel.div_ceil(2);
    engine.skip(generator, 4 * (pairs - 1));
    for _ in 2 * (pairs - 1)..numel {
        standard_normal(generator);
    }
    4 * pairs
}

impl Rule for Normal {
    const NAME: &'static str = "normal_";
    const ARITY: usize = 2;

    fn args(&self) -> Vec<f64> {
        vec![self.mean, self.std]
    }

    fn from_args(args: &[f64]) -> Option<Normal> {
        match *args {
            [mean, std] => Some(Normal { mean, std }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        match self.mean.is_nan() {
            true => Err("expected a number as mean, found NaN".to_owned()),
            false => check_std_argument(self.std),
        }
    }

    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        consumed(target, Normal::is_serial(target), cached)
    }

    fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
        newest_equivalent(target, Normal::is_serial(target))
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        match Normal::is_serial(target) {
            true => target.numel(),
            false => 0,
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        match Normal::is_serial(target) {
            true => normal_serial_(generator, values, self.mean, self.std),
            false => self.fill_blocks(engine, target.semantics, generator, values),
        }
    }

    fn has_ranges(&self, target: Target<'_>) -> bool {
        !Normal::is_serial(target)
    }

    fn fill_range<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        const BLOCK: u64 = self::BLOCK as u64;
        let numel = target.numel();
        // A last block that is redrawn overlaps the one before.
        let redrawn = match numel % BLOCK {
            0 => numel,
            _ => numel - BLOCK,
        };
        let in_blocks = range.start.min(redrawn)..range.end.min(redrawn);
        let blocks = in_blocks.start / BLOCK * BLOCK..in_blocks.end.next_multiple_of(BLOCK);
        let in_redrawn = range.start.max(redrawn)..range.end.max(redrawn);
        let before_redraw = values_before_redraw(target.semantics, T::DTYPE, numel);
        for (drawn, words_at, wanted) in [
            (blocks.clone(), blocks.start, in_blocks),
            (redrawn..numel, before_redraw, in_redrawn),
        ] {
            if wanted.is_empty() {
                continue;
            }
            let mut generator = start.clone();
            engine.skip(&mut generator, T::Opmath::WORDS * words_at);
            let to = (wanted.start - range.start) as usize..(wanted.end - range.start) as usize;
            fill_within(drawn, wanted, &mut values[to], |values| {
                self.fill_blocks(engine, target.semantics, &mut generator, values)
            })?;
        }
        Ok(())
    }

    fn chunks<'a, T: Element>(
        &self,
        engine: &Engine,
        target: Target<'_>,
        values: &'a mut [T],
    ) -> Result<Vec<Chunk<'a>>, DrawError> {
        let blocks = Blocks::<T>::new(engine.simd(), target.semantics, values.len(), *self)?;
        let cost = blocks.cost();
        let all_words = block_words(target.semantics, T::DTYPE, values.len() as u64).unwrap_or(0);
        // What is redrawn is in one chunk with the block that it overlaps.
        let (whole, last) = match values.len() % BLOCK {
            0 => (values, None),
            rest => {
                let (whole, last) = values.split_at_mut(values.len() - rest - BLOCK);
                (whole, Some(last))
            }
        };
        let last_words = all_words - cost.words * whole.len() as u64;
        let last = last.map(|last| {
            let nanoseconds = cost.nanoseconds * last.len() as f64;
            Chunk::new(last_words, nanoseconds, move |generator| {
                blocks.fill(generator, &mut last[..BLOCK]);
                blocks.redraw_remainder(generator, last);
            })
        });
        let fill = move |generator: &mut Mt19937, chunk: &mut [T]| blocks.fill(generator, chunk);
        Ok(parallel::chunks(cost, whole, fill).chain(last).collect())
    }
}

/// How blocks are filled.
#[derive(Debug, Clone, Copy)]
struct Blocks<T: Element> {
    simd: Option<Simd>,
    semantics: Semantics,
    mean: T::Opmath,
    std: T::Opmath,
}

impl<T: Element> Blocks<T> {
    fn new(
        simd: Option<Simd>,
        semantics: Semantics,
        numel: usize,
        Normal { mean, std }: Normal,
    ) -> Result<Self, DrawError> {
        check_std(std)?;
        if numel < BLOCK {
            return Err(DrawError::Block(numel));
        }
        let is_old = has_old_blocks(semantics, T::DTYPE);
        Ok(Blocks {
            simd: simd.filter(|_| !is_old),
            semantics,
            mean: T::Opmath::from_f64(mean),
            std: T::Opmath::from_f64(std),
        })
    }

    fn cost(&self) -> Cost {
        Cost {
            words: T::Opmath::WORDS,
            nanoseconds: match self.simd {
                Some(_) if T::Opmath::WORDS == 1 => 0.9,
                _ => 20.0,
            },
        }
    }

    fn fill(&self, generator: &mut Mt19937, values: &mut [T]) {
        let Blocks {
            simd,
            semantics,
            mean,
            std,
        } = *self;
        fill_blocks(simd, semantics, generator, values, mean, std);
    }

    /// Redraws the last 16 values unless they are a block of those drawn before.
    fn redraw_remainder(&self, generator: &mut Mt19937, values: &mut [T]) {
        if values.len().is_multiple_of(BLOCK) {
            return;
        }
        let words = remainder_words::<T>(self.semantics, values.len());
        generator.skip_with(self.simd, words);
        let last = values.len() - BLOCK;
        self.fill(generator, &mut values[last..]);
    }
}

/// The words of the elements after the last whole block that are consumed before the redraw.
pub(super) fn remainder_words<T: Element>(semantics: Semantics, numel: usize) -> u64 {
    let numel = numel as u64;
    let before_redraw = values_before_redraw(semantics, T::DTYPE, numel);
    let remainder = before_redraw - numel / BLOCK as u64 * BLOCK as u64;
    T::Opmath::WORDS * remainder
}

/// Fills whole blocks, with SIMD where it draws the same bits; there is none for old blocks.
pub(super) fn fill_blocks<T: Element>(
    simd: Option<Simd>,
    semantics: Semantics,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: T::Opmath,
    std: T::Opmath,
) {
    let Some(simd) = simd else {
        return fill_scalar(semantics, generator, values, mean, std);
    };
    let in_single = T::in_single(SingleBlocks {
        simd,
        generator,
        values,
        mean,
        std,
    });
    match in_single {
        Some(true) => {}
        Some(false) => fill_scalar(semantics, generator, values, mean, std),
        None => fill_double(simd, generator, values, mean, std),
    }
}

fn fill_scalar<T: Element>(
    semantics: Semantics,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: T::Opmath,
    std: T::Opmath,
) {
    for block in values.as_chunks_mut().0 {
        draw_block(semantics, generator, block, u16::MAX, mean, std);
    }
}

/// Draws the uniform values with SIMD; the transform uses the C library.
fn fill_double<T: Element>(
    simd: Simd,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: T::Opmath,
    std: T::Opmath,
) {
    /// The values that stay in a level-1 cache between the draw and the transform.
    const AT_A_TIME: usize = 1024;
    for values in values.chunks_mut(AT_A_TIME) {
        simd.run(Fill {
            generator: &mut *generator,
            transform: UniformTransform::unit(),
            out: values,
        });
        for block in values.as_chunks_mut::<BLOCK>().0 {
            for j in 0..BLOCK / 2 {
                let (u1, u2) = (block[j].to_opmath(), block[j + BLOCK / 2].to_opmath());
                let (cos, sin) = T::Opmath::box_muller(u1, u2, mean, std);
                block[j] = T::from_opmath(cos);
                block[j + BLOCK / 2] = T::from_opmath(sin);
            }
        }
    }
}

/// Fills blocks in f32; `false`, with nothing done, for arguments that SIMD could round differently.
struct SingleBlocks<'a, T: Element> {
    simd: Simd,
    generator: &'a mut Mt19937,
    values: &'a mut [T],
    mean: T::Opmath,
    std: T::Opmath,
}

impl<T: Element> InSingle<T> for SingleBlocks<'_, T> {
    type Output = bool;

    fn run(self) -> bool
    where
        T: Element<Opmath = f32>,
    {
        let Some(transform) = NormalTransform::new(self.mean, self.std) else {
            return false;
        };
        self.simd.run(Fill {
            generator: self.generator,
            transform,
            out: self.values,
        });
        true
    }
}

/// Draws a block and writes the elements whose bit in `wanted` is set, the lowest for the first element.
pub(super) fn draw_block<T: Element>(
    semantics: Semantics,
    generator: &mut Mt19937,
    values: &mut [T; BLOCK],
    wanted: u16,
    mean: T::Opmath,
    std: T::Opmath,
) {
    const HALF: usize = BLOCK / 2;
    if has_old_blocks(semantics, T::DTYPE) {
        // Of 16 bits, so computed in f32.
        T::in_single(OldBlock {
            semantics,
            generator,
            values,
            wanted,
            mean,
            std,
        });
        return;
    }
    let (zero, one) = (T::Opmath::from_f64(0.0), T::Opmath::from_f64(1.0));
    let units = [(); BLOCK].map(|()| T::Opmath::uniform(generator, zero, one));
    for j in 0..HALF {
        let (first, second) = (wanted >> j & 1 != 0, wanted >> (j + HALF) & 1 != 0);
        if first || second {
            let (cos, sin) = T::Opmath::box_muller(units[j], units[j + HALF], mean, std);
            if first {
                values[j] = T::from_opmath(cos);
            }
            if second {
                values[j + HALF] = T::from_opmath(sin);
            }
        }
    }
}

pub(super) fn check_std(std: f64) -> Result<(), DrawError> {
    if std >= 0.0 {
        Ok(())
    } else {
        Err(DrawError::Std(std))
    }
}

/// [`check_std`] for [`Rule::check`].
pub(super) fn check_std_argument(std: f64) -> Result<(), String> {
    match check_std(std) {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("expected std of 0 or more, found {std}")),
    }
}

fn standard_normal(generator: &mut Mt19937) -> f64 {
    if let Some(cached) = std::mem::take(&mut generator.state.next_double_normal).get() {
        return cached;
    }
    let u1 = f64::uniform(generator, 0.0, 1.0);
    let u2 = f64::uniform(generator, 0.0, 1.0);
    let radius = (-2.0 * (-u2).ln_1p()).sqrt();
    let (sin, cos) = (2.0 * PI * u1).sin_cos();
    generator.state.next_double_normal = Some(radius * sin).into();
    radius * cos
}

/// Normal values in vectors, in blocks of 16.
#[derive(Clone, Copy)]
pub(super) struct NormalTransform<T> {
    mean: f32,
    std: f32,
    _item: PhantomData<T>,
}

impl<T> NormalTransform<T> {
    /// `None` for arguments that vectors could round differently: a radius of -0 shows with a mean of -0,
    /// and NaN with arguments that are not finite.
    pub(super) fn new(mean: f32, std: f32) -> Option<NormalTransform<T>> {
        let is_exact = mean.is_finite() && std.is_finite() && mean.to_bits() != (-0f32).to_bits();
        is_exact.then_some(NormalTransform {
            mean,
            std,
            _item: PhantomData,
        })
    }

    #[inline(always)]
    pub(super) fn box_muller<I: BoxMullerIsa>(&self, isa: I) -> BoxMuller<I> {
        BoxMuller::new(isa, self.mean, self.std)
    }
}

pub(super) struct NormalStep<T, I: BoxMullerIsa>(BoxMuller<I::Wide>, PhantomData<T>);

impl<T, I: BoxMullerIsa> Clone for NormalStep<T, I> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, I: BoxMullerIsa> Copy for NormalStep<T, I> {}

impl<T: Element<Opmath = f32>> Transform for NormalTransform<T> {
    type Item = T;
    type Step<I: FullIsa> = NormalStep<T, I>;

    #[inline(always)]
    fn prepare<I: FullIsa>(&self, isa: I) -> NormalStep<T, I> {
        NormalStep(self.box_muller(isa.wide()), PhantomData)
    }
}

impl<T: Element<Opmath = f32>, I: FullIsa> Step<I> for NormalStep<T, I> {
    type Item = T;
    const WORDS: usize = 2 * I::Wide::LANES;
    const ITEMS: usize = 2 * I::Wide::LANES;
    const NON_TEMPORAL: bool = false;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut T) {
        let isa = isa.wide();
        // SAFETY: the caller promises the words and items of two vectors.
        unsafe {
            let (first, second) = self.0.values(isa, raw);
            T::store::<I::Wide, false>(isa, out, first, second);
        }
    }

    #[inline(always)]
    unsafe fn steps(self, isa: I, raw: *const u32, out: *mut T, count: usize) {
        if !I::USES_STAGES {
            for i in 0..count {
                // SAFETY: the caller's promise.
                unsafe { self.step(isa, raw.add(i * Self::WORDS), out.add(i * Self::ITEMS)) }
            }
            return;
        }
        const { assert!(3 * Self::WORDS <= SLACK) };
        let isa = isa.wide();
        // SAFETY: the caller promises the words and items of `count` steps, and `SLACK` words after them:
        // the stages run three steps ahead, and the results of what they read there are not used.
        unsafe {
            let second = raw.add(Self::WORDS);
            let third = raw.add(2 * Self::WORDS);
            let mut polar = box_muller_simd::load(isa, raw).halfway(isa).polar(isa);
            let mut halfway = box_muller_simd::load(isa, second).halfway(isa);
            let mut loaded = box_muller_simd::load(isa, third);
            for i in 0..count {
                let (first, second) = self.0.finish(isa, polar);
                T::store::<I::Wide, false>(isa, out.add(i * Self::ITEMS), first, second);
                polar = halfway.polar(isa);
                halfway = loaded.halfway(isa);
                loaded = box_muller_simd::load(isa, raw.add((i + 3) * Self::WORDS));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::test_support::check_all_widths;
    use half::bf16;

    #[test]
    fn all_vector_widths_equal_the_scalar_code() {
        fn check<T: Element<Opmath = f32>>() {
            let scalar = Engine::new(crate::Backend::Scalar).unwrap();
            let transform = NormalTransform::<T>::new(1.0, 2.0).unwrap();
            check_all_widths(transform, T::from_f64(0.0), |generator, out| {
                if !out.is_empty() {
                    scalar.normal_block_(generator, out, 1.0, 2.0).unwrap();
                }
            });
        }
        check::<f32>();
        check::<bf16>();
    }
}
