//! `torch.nn.init.trunc_normal_`.
//!
//! Follows the first method of `_no_grad_trunc_normal_` (`torch/nn/init.py`), PyTorch 2.13: it redraws the
//! whole tensor as long as an element is outside the bounds, and copies those elements. Here a pass
//! computes only the elements that are still pending and skips the words of the others. Any range of the
//! elements is drawn alone: each pass is at a known position, and only their number depends on all values.

use super::normal::{
    self, BLOCK, Normal, NormalTransform, check_std, draw_block, fill_within, remainder_words,
};
use super::old_blocks::has_old_blocks;
use super::rule::{Consumed, Rule, Target};
use super::uniform::words_per_value;
use crate::arch::Isa;
use crate::box_muller::LARGEST_F64;
use crate::box_muller_simd::BoxMullerIsa;
use crate::dtype::Dtype;
use crate::element::{Element, ElementIsa, InSingle};
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::opmath::Opmath;
use crate::parallel::{Chunk, Cost};
use crate::semantics::Semantics;
use crate::simd::{FullIsa, Simd};
use crate::stream::{Consume, MAX_CONSUMED, WordConsumer};
use crate::twist::temper_low_24;
use half::{bf16, f16};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Normal values between bounds, as `torch.nn.init.trunc_normal_` draws them since PyTorch 2.12.
///
/// Up to PyTorch 2.11 it made one uniform value an element, to which it applied the inverse of the
/// distribution function: that is computed by libtorch only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruncNormal {
    /// The mean before truncation.
    pub mean: f64,
    /// The standard deviation before truncation.
    pub std: f64,
    /// The lower bound.
    pub a: f64,
    /// The upper bound.
    pub b: f64,
}

impl TruncNormal {
    /// Whether PyTorch redraws the elements outside the bounds, which it does if more than 0.3 of the
    /// distribution lies between them. Otherwise it uses rejection sampling, with the logarithm of
    /// libtorch's mathematical library.
    ///
    /// ```
    /// use torch_rng::TruncNormal;
    ///
    /// assert!(TruncNormal { mean: 0.0, std: 1.0, a: -2.0, b: 2.0 }.uses_redraws());
    /// assert!(!TruncNormal { mean: 0.0, std: 1.0, a: 3.0, b: 4.0 }.uses_redraws());
    /// ```
    pub fn uses_redraws(&self) -> bool {
        let TruncNormal { mean, std, a, b } = *self;
        normal_interval_probability(mean, std, a, b) > 0.3
    }

    /// Whether the first draw of normal values is the only one: no value that can be drawn for `target` lies
    /// outside the bounds, rounded to its dtype.
    ///
    /// That is so for bounds beyond 5.77 standard deviations of contiguous f32, f16 and bf16 tensors of at
    /// least 16 elements, and beyond 8.58 of all others. `false` means that it depends on the values.
    ///
    /// ```
    /// use torch_rng::{Dtype, Target, TruncNormal};
    ///
    /// let matrix = Target::new(Dtype::Float32, &[64, 64]);
    /// let draw = TruncNormal { mean: 0.0, std: 0.02, a: -2.0, b: 2.0 };
    /// assert!(draw.is_one_pass(matrix));
    /// assert!(!TruncNormal { a: -0.06, b: 0.06, ..draw }.is_one_pass(matrix));
    /// ```
    pub fn is_one_pass(&self, target: Target<'_>) -> bool {
        let is_redrawn = target.semantics > Semantics::PyTorch2_11 && self.uses_redraws();
        let has_known_blocks =
            Normal::is_serial(target) || !has_old_blocks(target.semantics, target.dtype);
        is_redrawn
            && has_known_blocks
            && match target.dtype {
                Dtype::Float16 => self.bounds_hold_all::<f16>(target),
                Dtype::Bfloat16 => self.bounds_hold_all::<bf16>(target),
                Dtype::Float32 => self.bounds_hold_all::<f32>(target),
                Dtype::Float64 => self.bounds_hold_all::<f64>(target),
                Dtype::Int64 => false,
            }
    }

    /// A value is `fma(r * t, std, mean)`, rounded to the dtype, with `r = sqrt(-2 ln u)` and `t` a sine or a
    /// cosine. The smallest `u` is one unit of the uniform values, and neither polynomials nor the C library
    /// give a `t` beyond 1. Rounded operations are monotonic, so that the extremes of `r * t` give the extreme
    /// values.
    fn bounds_hold_all<T: Element>(&self, target: Target<'_>) -> bool {
        let TruncNormal { mean, std, a, b } = *self;
        let (low, high) = (T::from_f64(a), T::from_f64(b));
        let inside = |lowest: T, highest: T| lowest >= low && highest <= high;
        if Normal::is_serial(target) {
            let value = |x: f64| T::from_f64(x.mul_add(std, mean));
            return inside(value(-LARGEST_F64), value(LARGEST_F64));
        }
        let largest = T::Opmath::largest_normal();
        let smallest = T::Opmath::from_f64(0.0) - largest;
        let (mean, std) = (T::Opmath::from_f64(mean), T::Opmath::from_f64(std));
        let value = |x: T::Opmath| T::from_opmath(x.mul_add(std, mean));
        inside(value(smallest), value(largest))
    }

    fn normal(&self) -> Normal {
        Normal {
            mean: self.mean,
            std: self.std,
        }
    }

    /// Whether the elements of a pass have separate words.
    fn has_blocks(&self, target: Target<'_>) -> bool {
        let is_redrawn = target.semantics > Semantics::PyTorch2_11 && self.uses_redraws();
        is_redrawn && !Normal::is_serial(target)
    }

    /// The words of each draw of normal values, if their number is all that [`Draw::skip`](crate::Draw::skip) has to
    /// compute: a tensor of at least 16 elements, some of which may be [outside](Self::is_one_pass) the bounds. The whole
    /// draw consumes them as often as the element needs that is redrawn most, see [`passes`](Self::passes).
    ///
    /// ```
    /// use torch_rng::{Dtype, Target, TruncNormal};
    ///
    /// let draw = TruncNormal { mean: 0.0, std: 0.02, a: -0.06, b: 0.06 };
    /// assert_eq!(draw.pass_words(Target::new(Dtype::Float32, &[64, 64])), Some(4096));
    /// assert_eq!(draw.pass_words(Target::new(Dtype::Float32, &[15])), None);
    /// ```
    pub fn pass_words(&self, target: Target<'_>) -> Option<u64> {
        let has_passes =
            self.can_skip_values(target) && self.has_blocks(target) && !self.is_one_pass(target);
        let words = || match target.dtype {
            Dtype::Float16 => Some(Passes::new::<f16>(target.semantics, target.numel()).words),
            Dtype::Bfloat16 => Some(Passes::new::<bf16>(target.semantics, target.numel()).words),
            Dtype::Float32 => Some(Passes::new::<f32>(target.semantics, target.numel()).words),
            Dtype::Float64 => Some(Passes::new::<f64>(target.semantics, target.numel()).words),
            Dtype::Int64 => None,
        };
        has_passes.then(words).flatten()
    }

    /// How often the elements `range` of a draw with [`pass_words`](Self::pass_words) are drawn, until none of them is
    /// outside the bounds; 0 without it. `start` is the generator before the whole draw. No memory is needed for the
    /// elements.
    ///
    /// ```
    /// use torch_rng::{Draw, Dtype, Engine, Mt19937, Target, TruncNormal};
    ///
    /// let draw = TruncNormal { mean: 0.0, std: 0.02, a: -0.06, b: 0.06 };
    /// let target = Target::new(Dtype::Float32, &[300, 300]);
    /// let (engine, start) = (Engine::default(), Mt19937::new(1));
    /// // By two processes.
    /// let first = draw.passes(&engine, &start, target, 0..50_000);
    /// let second = draw.passes(&engine, &start, target, 50_000..90_000);
    /// let words = first.max(second) * draw.pass_words(target).unwrap();
    ///
    /// let (mut skipped, mut drawn) = (start.clone(), start);
    /// skipped.skip(words);
    /// Draw::from(draw).fill(&engine, &mut drawn, target, &mut vec![0f32; 90_000])?;
    /// assert_eq!(skipped, drawn);
    /// # Ok::<(), torch_rng::DrawError>(())
    /// ```
    pub fn passes(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
    ) -> u64 {
        if self.pass_words(target).is_none() || range.end > target.numel() {
            return 0;
        }
        match target.dtype {
            Dtype::Float16 => self.count::<f16>(engine, start, target, range),
            Dtype::Bfloat16 => self.count::<bf16>(engine, start, target, range),
            Dtype::Float32 => self.count::<f32>(engine, start, target, range),
            Dtype::Float64 => self.count::<f64>(engine, start, target, range),
            Dtype::Int64 => 0,
        }
    }

    /// The passes of some elements, a part at a time.
    fn count<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
    ) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let truncation = Truncation::<T>::new(target.semantics, *self);
        let passes = Passes::new::<T>(target.semantics, target.numel());
        let range = passes.whole_blocks(range);
        let numel = range.end - range.start;
        let mut values = vec![T::from_f64(0.0); numel.min(2 * COUNTED) as usize];
        let (mut first, mut most) = (range.start, 0);
        while first < range.end {
            // The last part is at least as long as the others, so that it has the last whole block.
            let end = match range.end - first {
                rest if rest < 2 * COUNTED => range.end,
                _ => first + COUNTED,
            };
            let part = &mut values[..(end - first) as usize];
            let (count, _) = truncation.fill_part(engine, start, &passes, first, part, true);
            most = most.max(count);
            first = end;
        }
        most
    }

    /// Moves the generator past all passes, whatever memory the tensor would take.
    fn count_passes<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
    ) {
        if Normal::is_serial(target) {
            let truncation = Truncation::<T>::new(target.semantics, *self);
            let mut values = [T::from_f64(0.0); BLOCK];
            let values = &mut values[..target.numel() as usize];
            truncation.fill_serial(generator, values, self.mean, self.std);
            return;
        }
        let count = self.count::<T>(engine, generator, target, 0..target.numel());
        let passes = Passes::new::<T>(target.semantics, target.numel());
        engine.skip(generator, count * passes.words);
    }
}

/// Elements of which passes are counted at a time; whole blocks.
const COUNTED: u64 = 1 << 21;

/// Fills with normal values between `a` and `b`, as `torch.nn.init.trunc_normal_` does if more than 0.3 of
/// the distribution lies between them.
///
/// A whole [`normal_`](crate::normal_) draw is made; as long as an element is below `a` or above `b`, both
/// rounded to the dtype, another draw follows, from which such elements are copied. The words are
/// therefore a multiple of those of one draw, and which multiple depends on the values.
///
/// # Errors
///
/// [`DrawError::Std`] if `std` is negative or NaN, [`DrawError::Truncation`] if at most 0.3 of the
/// distribution lies between the bounds. Nothing is drawn then.
///
/// ```
/// use torch_rng::{Mt19937, trunc_normal_};
///
/// let mut values = [0f32; 3];
/// trunc_normal_(&mut Mt19937::new(1), &mut values, 0.0, 1.0, -0.5, 0.5)?;
/// // python: torch.manual_seed(1); torch.nn.init.trunc_normal_(torch.empty(3), a=-0.5, b=0.5).tolist()
/// assert_eq!(values, [-0.19550958275794983, 0.266924113035202, 0.06167725846171379]);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
pub fn trunc_normal_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
    a: f64,
    b: f64,
) -> Result<(), DrawError> {
    Engine::default().trunc_normal_(generator, values, mean, std, a, b)
}

/// The probability that a normal value lies between `a` and `b`, as PyTorch's `trunc_normal_` computes it.
///
/// ```
/// assert_eq!(torch_rng::normal_interval_probability(0.0, 1.0, -2.0, 2.0), 0.9544997361036416);
/// ```
pub fn normal_interval_probability(mean: f64, std: f64, a: f64, b: f64) -> f64 {
    let cdf = |x: f64| (1.0 + erf(x / 2f64.sqrt())) / 2.0;
    cdf((b - mean) / std) - cdf((a - mean) / std)
}

/// Python's `math.erf`: that of the C library.
#[doc(hidden)] // For tch-init's statistics; Rust's standard library has none.
pub fn erf(x: f64) -> f64 {
    unsafe extern "C" {
        safe fn erf(x: f64) -> f64;
    }
    erf(x)
}

impl Rule for TruncNormal {
    const NAME: &'static str = "trunc_normal_";
    const ARITY: usize = 4;

    fn args(&self) -> Vec<f64> {
        vec![self.mean, self.std, self.a, self.b]
    }

    fn from_args(args: &[f64]) -> Option<TruncNormal> {
        match *args {
            [mean, std, a, b] => Some(TruncNormal { mean, std, a, b }),
            _ => None,
        }
    }

    fn check(&self, _target: Target<'_>) -> Result<(), String> {
        let TruncNormal { mean, std, a, b } = *self;
        if [mean, std, a, b].iter().any(|x| x.is_nan()) {
            Err(format!(
                "expected numbers, found mean = {mean}, std = {std}, a = {a}, b = {b}"
            ))
        } else if !(std > 0.0 && std.is_finite() && mean.is_finite()) {
            Err(format!(
                "expected a finite mean and a positive finite std, found mean = {mean}, std = {std}"
            ))
        } else if a > b {
            Err(format!("expected a <= b, found a = {a}, b = {b}"))
        } else {
            Ok(())
        }
    }

    /// The number of draws depends on the values, unless no bound is reached; up to PyTorch 2.11, there is one
    /// of uniform values.
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
        let numel = target.numel();
        if target.semantics <= Semantics::PyTorch2_11 {
            let words = words_per_value(target.dtype);
            return Consumed {
                words: words.and_then(|words| words.checked_mul(numel)),
                cached,
            };
        }
        if self.is_one_pass(target) {
            return self.normal().consumed(target, cached);
        }
        Consumed {
            words: (numel == 0).then_some(0),
            // An even number of serial values leaves the cache as it was.
            cached: cached.filter(|_| !Normal::is_serial(target) || numel.is_multiple_of(2)),
        }
    }

    fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
        if target.semantics <= Semantics::PyTorch2_11 {
            return match target.dtype.is_half() {
                true => target.semantics,
                false => Semantics::PyTorch2_11,
            };
        }
        // A tensor that is not contiguous may be redrawn into one that is.
        let has_blocks = self.uses_redraws() && target.numel() >= BLOCK as u64;
        normal::newest_equivalent(target, !has_blocks)
    }

    fn serial_normals(&self, target: Target<'_>) -> u64 {
        match self.is_one_pass(target) {
            true => self.normal().serial_normals(target),
            false => 0,
        }
    }

    fn can_skip_values(&self, target: Target<'_>) -> bool {
        let is_redrawn = target.semantics > Semantics::PyTorch2_11 && self.uses_redraws();
        is_redrawn
            && target.contiguous
            && target.dtype != Dtype::Int64
            && usize::try_from(target.numel()).is_ok()
    }

    fn skip_values(&self, engine: &Engine, generator: &mut Mt19937, target: Target<'_>) {
        match target.dtype {
            Dtype::Float16 => self.count_passes::<f16>(engine, generator, target),
            Dtype::Bfloat16 => self.count_passes::<bf16>(engine, generator, target),
            Dtype::Float32 => self.count_passes::<f32>(engine, generator, target),
            Dtype::Float64 => self.count_passes::<f64>(engine, generator, target),
            Dtype::Int64 => {}
        }
    }

    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        // A state may hold a normal value that no generator has drawn.
        let cached = generator.next_double_normal();
        if self.is_one_pass(target) && cached.is_none_or(|x| x.abs() <= LARGEST_F64) {
            return self.normal().fill(engine, generator, target, values);
        }
        let is_inverse = target.semantics <= Semantics::PyTorch2_11;
        if !self.uses_redraws() || (!target.contiguous || is_inverse) && target.numel() > 0 {
            return Err(DrawError::NeedsLibtorch(Self::NAME));
        }
        self.redraw(engine, target.semantics, generator, values)
    }

    fn has_ranges(&self, target: Target<'_>) -> bool {
        self.has_blocks(target)
    }

    fn fill_range<T: Element>(
        &self,
        engine: &Engine,
        start: &Mt19937,
        target: Target<'_>,
        range: Range<u64>,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        if self.is_one_pass(target) {
            return self
                .normal()
                .fill_range(engine, start, target, range, values);
        }
        if range.is_empty() {
            return Ok(());
        }
        let truncation = Truncation::<T>::new(target.semantics, *self);
        let passes = Passes::new::<T>(target.semantics, target.numel());
        let drawn = passes.whole_blocks(range.clone());
        let first = drawn.start;
        fill_within(drawn, range, values, |values| {
            truncation.fill_part(engine, start, &passes, first, values, false);
            Ok(())
        })
    }

    fn chunks<'a, T: Element>(
        &self,
        engine: &Engine,
        target: Target<'_>,
        values: &'a mut [T],
    ) -> Result<Vec<Chunk<'a>>, DrawError> {
        match self.is_one_pass(target) {
            true => self.normal().chunks(engine, target, values),
            false => Err(DrawError::Range(Self::NAME)),
        }
    }
}

/// Where the words of the passes over a tensor of at least 16 elements are.
#[derive(Debug, Clone, Copy)]
struct Passes {
    numel: u64,
    /// The elements after the last whole block.
    rest: usize,
    /// The words of those elements.
    remainder_words: u64,
    /// The words after those of the whole blocks.
    end_words: u64,
    /// The words of a pass.
    words: u64,
}

impl Passes {
    fn new<T: Element>(semantics: Semantics, numel: u64) -> Passes {
        let rest = (numel % BLOCK as u64) as usize;
        let remainder_words = remainder_words::<T>(semantics, numel as usize);
        let block_words = T::Opmath::WORDS * BLOCK as u64;
        let end_words = if rest > 0 {
            remainder_words + block_words
        } else {
            0
        };
        Passes {
            numel,
            rest,
            remainder_words,
            end_words,
            words: numel / BLOCK as u64 * block_words + end_words,
        }
    }

    /// The elements that are drawn together with some: whole blocks, and all from the last whole block on if the
    /// last 16 elements are redrawn and one of those is wanted.
    fn whole_blocks(&self, range: Range<u64>) -> Range<u64> {
        const BLOCK: u64 = self::BLOCK as u64;
        let (start, end) = (
            range.start / BLOCK * BLOCK,
            range.end.next_multiple_of(BLOCK),
        );
        let redrawn = self.numel - self.rest as u64 - BLOCK;
        match self.rest > 0 && end > redrawn {
            true => start.min(redrawn)..self.numel,
            false => start..end,
        }
    }
}

impl TruncNormal {
    fn redraw<T: Element>(
        &self,
        engine: &Engine,
        semantics: Semantics,
        generator: &mut Mt19937,
        values: &mut [T],
    ) -> Result<(), DrawError> {
        let TruncNormal { mean, std, a, b } = *self;
        check_std(std)?;
        if !self.uses_redraws() {
            return Err(DrawError::Truncation { mean, std, a, b });
        }
        let truncation = Truncation::new(semantics, *self);
        match values.len() {
            0 => Ok(()),
            1..BLOCK => {
                truncation.fill_serial(generator, values, mean, std);
                Ok(())
            }
            _ => {
                truncation.fill(engine, generator, values);
                Ok(())
            }
        }
    }
}

impl Engine {
    /// [`trunc_normal_`](crate::trunc_normal_) with this engine.
    ///
    /// # Errors
    ///
    /// As [`trunc_normal_`](crate::trunc_normal_).
    pub fn trunc_normal_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
        a: f64,
        b: f64,
    ) -> Result<(), DrawError> {
        let draw = TruncNormal { mean, std, a, b };
        draw.redraw(self, Semantics::NEWEST, generator, values)
    }
}

/// The arguments in the types of the elements.
#[derive(Debug, Clone, Copy)]
struct Truncation<T: Element> {
    semantics: Semantics,
    mean: T::Opmath,
    std: T::Opmath,
    low: T,
    high: T,
}

/// One draw of whole blocks. The pending elements are written; those inside the bounds are then no longer
/// pending.
struct Pass<'a, T> {
    values: &'a mut [T],
    /// A bit for each element of a block, the lowest for the first.
    pending: &'a mut [u16],
    /// Whether all elements are pending.
    is_first: bool,
    /// Whether no values are wanted.
    is_count: bool,
}

impl<T: Element> Truncation<T> {
    fn new(semantics: Semantics, TruncNormal { mean, std, a, b }: TruncNormal) -> Self {
        Truncation {
            semantics,
            mean: T::Opmath::from_f64(mean),
            std: T::Opmath::from_f64(std),
            low: T::from_f64(a),
            high: T::from_f64(b),
        }
    }

    /// Fills fewer values than a block, one at a time.
    fn fill_serial(&self, generator: &mut Mt19937, values: &mut [T], mean: f64, std: f64) {
        let mut drawn = [T::from_f64(0.0); BLOCK];
        let mut pending = u16::MAX >> (BLOCK - values.len());
        while pending != 0 {
            normal::draw_serial(generator, &mut drawn[..values.len()], mean, std);
            for (j, value) in values.iter_mut().enumerate() {
                if pending >> j & 1 != 0 {
                    *value = drawn[j];
                }
            }
            pending = self.still_pending(pending, &drawn);
        }
    }

    /// Fills at least 16 values in blocks.
    fn fill(&self, engine: &Engine, generator: &mut Mt19937, values: &mut [T]) {
        let passes = Passes::new::<T>(self.semantics, values.len() as u64);
        let (count, end) = self.fill_part(engine, generator, &passes, 0, values, false);
        match end {
            Some(end) => *generator = end,
            None => engine.skip(generator, count * passes.words),
        }
    }

    /// Fills the elements from `first` on, as [`Passes::whole_blocks`] has them, with a generator before the whole
    /// draw. Returns the number of passes, and the generator after the last one if one thread has drawn all
    /// elements. If passes are only counted, the values may be anything after.
    fn fill_part(
        &self,
        engine: &Engine,
        start: &Mt19937,
        passes: &Passes,
        first: u64,
        values: &mut [T],
        is_count: bool,
    ) -> (u64, Option<Mt19937>) {
        let is_old = has_old_blocks(self.semantics, T::DTYPE);
        let simd = engine.simd().filter(|_| !is_old);
        let (has_first, has_last) = (first == 0, first + values.len() as u64 == passes.numel);
        let cost = Cost {
            words: T::Opmath::WORDS,
            nanoseconds: match simd {
                Some(_) if T::Opmath::WORDS == 1 => 2.5,
                _ => 60.0,
            },
        };
        let fill_part = |mut generator: Mt19937, part: &mut [T], is_last: bool| {
            let rest = if is_last && has_last { passes.rest } else { 0 };
            let whole = part.len() - rest;
            let mut pending = vec![u16::MAX; whole / BLOCK];
            let mut last_pending = if rest > 0 { u16::MAX } else { 0 };
            let mut count = 0u64;
            loop {
                let pass = Pass {
                    values: &mut part[..whole],
                    pending: &mut pending,
                    is_first: count == 0,
                    is_count,
                };
                self.draw(simd, &mut generator, pass);
                // The last 16 elements are redrawn if those are not a block: in the last whole block
                // only the elements before them count.
                if let Some(last) = pending.last_mut()
                    && rest > 0
                {
                    *last &= u16::MAX >> (BLOCK - rest);
                }
                if rest > 0 {
                    generator.skip_with(simd, passes.remainder_words);
                    let start = part.len() - BLOCK;
                    if let Some(last) = part[start..].first_chunk_mut() {
                        last_pending = self.draw_block(&mut generator, last, last_pending);
                    }
                }
                count += 1;
                if last_pending == 0 && pending.iter().all(|bits| *bits == 0) {
                    return (count, generator);
                }
                let part_words = T::Opmath::WORDS * whole as u64;
                let drawn = part_words + if rest > 0 { passes.end_words } else { 0 };
                generator.skip_with(simd, passes.words - drawn);
            }
        };
        let mut generator = start.clone();
        generator.skip_with(engine.simd(), T::Opmath::WORDS * first);
        let parts = engine.map_parts(cost, &generator, values, fill_part);
        match <[_; 1]>::try_from(parts) {
            Ok([(count, end)]) => (count, (has_first && has_last).then_some(end)),
            Err(parts) => {
                let count = parts.iter().map(|(count, _)| *count).max().unwrap_or(0);
                (count, None)
            }
        }
    }

    /// Draws one pass, and skips groups of blocks without pending elements.
    fn draw(&self, simd: Option<Simd>, generator: &mut Mt19937, pass: Pass<'_, T>) {
        /// The blocks of a group.
        const GROUP: usize = 1024;
        let block_words = T::Opmath::WORDS * BLOCK as u64;
        let mut skipped = 0;
        let groups = pass.values.chunks_mut(GROUP * BLOCK);
        for (values, pending) in groups.zip(pass.pending.chunks_mut(GROUP)) {
            if pending.iter().all(|bits| *bits == 0) {
                skipped += block_words * pending.len() as u64;
                continue;
            }
            generator.skip_with(simd, std::mem::take(&mut skipped));
            let group = Pass {
                values,
                pending,
                is_first: pass.is_first,
                is_count: pass.is_count,
            };
            self.draw_group(simd, generator, group);
        }
        generator.skip_with(simd, skipped);
    }

    fn draw_group(&self, simd: Option<Simd>, generator: &mut Mt19937, pass: Pass<'_, T>) {
        let Pass {
            values,
            pending,
            is_first,
            is_count,
        } = pass;
        if let Some(simd) = simd {
            let in_single = T::in_single(SinglePass {
                simd,
                truncation: self,
                generator,
                pass: Pass {
                    values: &mut *values,
                    pending: &mut *pending,
                    is_first,
                    is_count,
                },
            });
            if in_single == Some(true) {
                return;
            }
        }
        let block_words = T::Opmath::WORDS * BLOCK as u64;
        if is_first {
            normal::fill_blocks(simd, self.semantics, generator, values, self.mean, self.std);
            for (block, bits) in values.as_chunks().0.iter().zip(pending) {
                *bits = self.still_pending(*bits, block);
            }
            return;
        }
        let mut skipped = 0;
        for (block, bits) in values.as_chunks_mut().0.iter_mut().zip(pending) {
            if *bits == 0 {
                skipped += block_words;
            } else {
                generator.skip_with(simd, std::mem::take(&mut skipped));
                *bits = self.draw_block(generator, block, *bits);
            }
        }
        generator.skip_with(simd, skipped);
    }

    /// Draws the pending elements of a block and returns those that are outside the bounds.
    fn draw_block(&self, generator: &mut Mt19937, values: &mut [T; BLOCK], pending: u16) -> u16 {
        draw_block(
            self.semantics,
            generator,
            values,
            pending,
            self.mean,
            self.std,
        );
        self.still_pending(pending, values)
    }

    /// The pending elements of a block that are outside the bounds.
    fn still_pending(&self, pending: u16, values: &[T; BLOCK]) -> u16 {
        let is_outside = |value: &T| *value < self.low || *value > self.high;
        let bits = values.iter().enumerate();
        pending
            & bits.fold(0, |bits, (j, value)| {
                bits | u16::from(is_outside(value)) << j
            })
    }
}

/// Draws a pass in f32; `false`, with nothing done, for arguments that SIMD could round differently.
struct SinglePass<'a, T: Element> {
    simd: Simd,
    truncation: &'a Truncation<T>,
    generator: &'a mut Mt19937,
    pass: Pass<'a, T>,
}

impl<T: Element> InSingle<T> for SinglePass<'_, T> {
    type Output = bool;

    fn run(self) -> bool
    where
        T: Element<Opmath = f32>,
    {
        let SinglePass {
            simd,
            truncation,
            generator,
            pass,
        } = self;
        let Some(normal) = NormalTransform::new(truncation.mean, truncation.std) else {
            return false;
        };
        let blocks = pass.pending.len();
        assert!(pass.values.len() == blocks * BLOCK);
        let bounds = (truncation.low.to_opmath(), truncation.high.to_opmath());
        let cursor = Cursor {
            values: pass.values.as_mut_ptr(),
            pending: pass.pending.as_mut_ptr(),
            _pass: PhantomData,
        };
        let radius = largest_radius(truncation.mean, truncation.std, bounds);
        let radius = radius.filter(|_| pass.is_count);
        match (pass.is_first, radius) {
            (true, None) => simd.run(Consume {
                generator,
                consumer: FirstPass {
                    normal,
                    bounds,
                    cursor,
                },
                blocks,
            }),
            (true, Some(radius)) => simd.run(Consume {
                generator,
                consumer: FirstCount {
                    radius,
                    redraw: RedrawPass::new(normal, bounds, cursor),
                },
                blocks,
            }),
            (false, None) => simd.run(Consume {
                generator,
                consumer: RedrawPass::<_, true>::new(normal, bounds, cursor),
                blocks,
            }),
            (false, Some(_)) => simd.run(Consume {
                generator,
                consumer: RedrawPass::<_, false>::new(normal, bounds, cursor),
                blocks,
            }),
        }
        true
    }
}

/// The largest word of a radius, of 24 bits, with which surely no value is outside the bounds; `None` if it is faster to compute
/// all values, since many words are larger.
fn largest_radius(mean: f32, std: f32, (low, high): (f32, f32)) -> Option<f32> {
    let [mean, std, low, high] = [mean, std, low, high].map(f64::from);
    // Rounding to the dtype, as the bounds are, brings no value outside. The radius, its product and the sum are
    // rounded by much less than these margins.
    let sigmas = (high - mean).min(mean - low) / std;
    let rounding = (mean.abs() / std + 8.0) / f64::from(1 << 20);
    let radius = sigmas * (1.0 - 1e-4) - rounding;
    let larger = (-radius * radius / 2.0).exp();
    let units = f64::from(1 << 24);
    (radius > 0.0 && larger < 0.25).then(|| (units * (1.0 - larger)).floor() as f32 - 2.0)
}

/// The next block of a pass.
struct Cursor<'a, T> {
    values: *mut T,
    pending: *mut u16,
    _pass: PhantomData<&'a mut T>,
}

/// The most lanes of a vector, and of a wide one.
const MAX_LANES: usize = 16;
const MAX_WIDE_LANES: usize = 32;

/// Computes every element and marks those outside the bounds as pending.
struct FirstPass<'a, T> {
    normal: NormalTransform<T>,
    bounds: (f32, f32),
    cursor: Cursor<'a, T>,
}

impl<T: Element<Opmath = f32>> WordConsumer for FirstPass<'_, T> {
    const BLOCK: usize = BLOCK;

    #[inline(always)]
    unsafe fn consume<I: FullIsa>(&mut self, isa: I, raw: *const u32, blocks: usize) {
        const {
            assert!(I::Wide::LANES <= MAX_WIDE_LANES && (2 * I::Wide::LANES).is_multiple_of(BLOCK));
        }
        let isa = isa.wide();
        let lanes = I::Wide::LANES;
        let box_muller = self.normal.box_muller(isa);
        let (low, high) = (isa.splat_f32(self.bounds.0), isa.splat_f32(self.bounds.1));
        let blocks_per_step = 2 * lanes / BLOCK;
        let mut block = 0;
        while block < blocks {
            // SAFETY: after the words of the blocks, at least those of a step can be read. Only blocks of
            // the pass are written: in the last step only as many as remain.
            unsafe {
                let (first, second) = box_muller.values(isa, raw.add(block * BLOCK));
                let outside = isa.outside(T::round(isa, first), low, high)
                    | isa.outside(T::round(isa, second), low, high) << lanes;
                let now = blocks_per_step.min(blocks - block);
                if now == blocks_per_step {
                    T::store::<I::Wide, false>(isa, self.cursor.values, first, second);
                } else {
                    let mut items = MaybeUninit::<[T; 2 * MAX_WIDE_LANES]>::uninit();
                    let items: *mut T = items.as_mut_ptr().cast();
                    T::store::<I::Wide, false>(isa, items, first, second);
                    self.cursor
                        .values
                        .copy_from_nonoverlapping(items, now * BLOCK);
                }
                for i in 0..now {
                    self.cursor
                        .pending
                        .add(i)
                        .write((outside >> (i * BLOCK)) as u16);
                }
                self.cursor.values = self.cursor.values.add(now * BLOCK);
                self.cursor.pending = self.cursor.pending.add(now);
                block += now;
            }
        }
    }
}

/// Marks the elements outside the bounds as pending. Only those are computed whose radius is large enough.
struct FirstCount<'a, T> {
    radius: f32,
    redraw: RedrawPass<'a, T, false>,
}

impl<T: Element<Opmath = f32>> WordConsumer for FirstCount<'_, T> {
    const BLOCK: usize = BLOCK;

    #[inline(always)]
    unsafe fn consume<I: FullIsa>(&mut self, isa: I, raw: *const u32, blocks: usize) {
        const HALF: usize = BLOCK / 2;
        const { assert!(I::Wide::LANES <= MAX_WIDE_LANES && I::Wide::LANES.is_multiple_of(HALF)) };
        // SAFETY: the cursor is at `blocks` blocks of the pass, which has bits for each.
        let pending = unsafe { std::slice::from_raw_parts_mut(self.redraw.cursor.pending, blocks) };
        let wide = isa.wide();
        let (low, high) = (wide.splat_f32(0.0), wide.splat_f32(self.radius));
        for (step, pending) in pending.chunks_mut(I::Wide::LANES / HALF).enumerate() {
            // SAFETY: after the words of the blocks, at least those of a step can be read.
            let (first, _) = unsafe { wide.load_blocks(raw.add(step * 2 * I::Wide::LANES)) };
            let radii = wide.to_f32(temper_low_24(wide, first));
            let outside = wide.outside(radii, low, high);
            for (i, pending) in pending.iter_mut().enumerate() {
                // Both elements of a pair have its radius.
                *pending = u16::from((outside >> (i * HALF)) as u8) * 0x0101;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.redraw.consume(isa, raw, blocks) };
    }
}

/// The most elements that are consumed at a time, and a vector more.
const LIST: usize = MAX_CONSUMED + MAX_LANES;

/// Computes the pending elements only, and stores them if they are wanted.
struct RedrawPass<'a, T, const STORES: bool> {
    normal: NormalTransform<T>,
    bounds: (f32, f32),
    cursor: Cursor<'a, T>,
    /// The indices of the pending elements.
    list: [u16; LIST],
}

impl<'a, T, const STORES: bool> RedrawPass<'a, T, STORES> {
    fn new(normal: NormalTransform<T>, bounds: (f32, f32), cursor: Cursor<'a, T>) -> Self {
        RedrawPass {
            normal,
            bounds,
            cursor,
            list: [0; LIST],
        }
    }
}

impl<T: Element<Opmath = f32>, const STORES: bool> WordConsumer for RedrawPass<'_, T, STORES> {
    const BLOCK: usize = BLOCK;

    #[inline(always)]
    unsafe fn consume<I: FullIsa>(&mut self, isa: I, raw: *const u32, blocks: usize) {
        const { assert!(MAX_CONSUMED <= u16::MAX as usize && I::LANES <= MAX_LANES) };
        // SAFETY: the cursor is at `blocks` blocks of the pass, which has bits for each.
        let pending = unsafe { std::slice::from_raw_parts_mut(self.cursor.pending, blocks) };
        let mut count = 0;
        let mut add = |block: usize, mut bits: u64| {
            while bits != 0 {
                self.list[count] = (block * BLOCK) as u16 + bits.trailing_zeros() as u16;
                count += 1;
                bits &= bits - 1;
            }
        };
        let (fours, rest) = pending.as_chunks::<4>();
        for (i, [a, b, c, d]) in fours.iter().enumerate() {
            let [a, b, c, d] = [a, b, c, d].map(|bits| u64::from(*bits));
            add(4 * i, a | b << 16 | c << 32 | d << 48);
        }
        for (i, bits) in rest.iter().enumerate() {
            add(4 * fours.len() + i, u64::from(*bits));
        }
        // The last vector is filled up with an element that exists.
        self.list[count..count + MAX_LANES].fill(0);
        let box_muller = self.normal.box_muller(isa);
        let (low, high) = (isa.splat_f32(self.bounds.0), isa.splat_f32(self.bounds.1));
        for start in (0..count).step_by(I::LANES) {
            let list = &self.list[start..start + I::LANES];
            let mut first = [0u32; MAX_LANES];
            let mut second = [0u32; MAX_LANES];
            let mut which = [0u32; MAX_LANES];
            for (lane, element) in list.iter().enumerate() {
                // Elements 8 apart in a block share the words 8 apart.
                let word = usize::from(*element) & !8;
                // SAFETY: both words belong to the block of the element, which is one of `blocks`. There
                // is at least one block, so element 0 exists.
                unsafe {
                    first[lane] = *raw.add(word);
                    second[lane] = *raw.add(word + 8);
                }
                which[lane] = u32::from(*element & 8) << 28;
            }
            let mut items = MaybeUninit::<[T; 2 * MAX_LANES]>::uninit();
            let items: *mut T = items.as_mut_ptr().cast();
            // SAFETY: the arrays and the items are at least as long as the vectors.
            let outside = unsafe {
                let words = (isa.load(first.as_ptr()), isa.load(second.as_ptr()));
                let values = box_muller.either(isa, words, isa.load(which.as_ptr()));
                T::store::<I, false>(isa, items, values, values);
                isa.outside(T::round(isa, values), low, high)
            };
            for (lane, element) in list[..I::LANES.min(count - start)].iter().enumerate() {
                let element = usize::from(*element);
                let is_inside = !outside >> lane & 1;
                pending[element / BLOCK] &= !((is_inside as u16) << (element % BLOCK));
                if STORES {
                    // SAFETY: `items` was stored to; the element is one of the pass.
                    unsafe { *self.cursor.values.add(element) = *items.add(lane) };
                }
            }
        }
        // SAFETY: the next blocks, or the end of the pass.
        unsafe {
            self.cursor.values = self.cursor.values.add(blocks * BLOCK);
            self.cursor.pending = self.cursor.pending.add(blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, normal_serial_};
    use crate::mt19937::untemper;
    use crate::state::State;
    use std::fmt::Debug;

    /// A generator whose next words these are.
    fn before(words: &[u32]) -> Mt19937 {
        let mut state = Mt19937::new(1).to_state();
        for (slot, word) in state.words[1..].iter_mut().zip(words) {
            *slot = untemper(*word);
        }
        let state = State {
            left: 624,
            next: 1,
            ..state
        };
        Mt19937::from_state(&state).unwrap()
    }

    /// The words of the largest radius and an angle of this fraction of a turn, for each half of a block.
    fn extreme_block<T: Element>(turn: f64) -> Vec<u32> {
        let bits = T::Opmath::UNIT_BITS;
        let words = |unit: u64| match T::Opmath::WORDS {
            1 => vec![unit as u32],
            _ => vec![(unit >> 32) as u32, unit as u32],
        };
        let half = |unit: u64| words(unit).repeat(BLOCK / 2);
        let angle = (turn * 2f64.powi(bits as i32)) as u64;
        [half((1 << bits) - 1), half(angle)].concat()
    }

    fn in_one_pass<T: Element + Debug>(std: f64, a: f64, b: f64, turn: f64) -> (bool, bool, f64) {
        let draw = TruncNormal {
            mean: 0.0,
            std,
            a,
            b,
        };
        let target = Target::new(T::DTYPE, &[16]);
        let start = before(&extreme_block::<T>(turn));
        let mut normal = [T::from_f64(0.0); BLOCK];
        let mut one = start.clone();
        draw.normal()
            .fill(&Engine::default(), &mut one, target, &mut normal)
            .unwrap();
        let mut values = [T::from_f64(0.0); BLOCK];
        let mut end = start.clone();
        draw.redraw(&Engine::default(), target.semantics, &mut end, &mut values)
            .unwrap();
        let value = format!("{:?}", normal[0]).parse().unwrap();
        (draw.is_one_pass(target), end == one, value)
    }

    /// The extreme values are drawn, and one step of the dtype inside them PyTorch draws again.
    #[test]
    fn bounds_that_no_value_reaches_are_one_pass() {
        fn check<T: Element + Debug>(next_inside: impl Fn(f64) -> f64) {
            let std = 0.02;
            for (turn, sign) in [(0.0, 1.0), (0.5, -1.0)] {
                let (_, _, extreme) = in_one_pass::<T>(std, -1.0, 1.0, turn);
                assert!((0.115..0.1157).contains(&(sign * extreme)), "{extreme}");
                let bounds = |bound: f64| {
                    if sign > 0.0 {
                        (-1.0, bound)
                    } else {
                        (-bound, 1.0)
                    }
                };
                let (a, b) = bounds(extreme.abs());
                assert_eq!(in_one_pass::<T>(std, a, b, turn), (true, true, extreme));
                let (a, b) = bounds(next_inside(extreme.abs()));
                assert_eq!(in_one_pass::<T>(std, a, b, turn), (false, false, extreme));
            }
        }
        check::<f32>(|x| f64::from((x as f32).next_down()));
        check::<bf16>(|x| bf16::from_bits(bf16::from_f64(x).to_bits() - 1).to_f64());
        check::<f16>(|x| f16::from_bits(f16::from_f64(x).to_bits() - 1).to_f64());
        // The C library's logarithm gives f64 a margin.
        for turn in [0.0, 0.5] {
            let (is_known, is_one, extreme) = in_one_pass::<f64>(1.0, -8.572, 8.572, turn);
            assert!(is_known && is_one && extreme.abs() > 8.571, "{extreme}");
            assert!(!in_one_pass::<f64>(1.0, -8.571, 8.571, turn).0);
            assert!(!in_one_pass::<f64>(1.0, -8.571, 8.571, turn).1);
        }
    }

    #[test]
    fn serial_values_reach_further_than_blocks() {
        let sigmas = |bound: f64, shape: &[u64], contiguous: bool| {
            let draw = TruncNormal {
                mean: 1.0,
                std: 0.5,
                a: 1.0 - 0.5 * bound,
                b: 1.0 + 0.5 * bound,
            };
            draw.is_one_pass(Target {
                contiguous,
                ..Target::new(Dtype::Float32, shape)
            })
        };
        assert!(sigmas(5.77, &[16], true) && !sigmas(5.76, &[16], true));
        assert!(sigmas(8.58, &[15], true) && !sigmas(8.57, &[15], true));
        assert!(sigmas(8.58, &[4, 4], false) && !sigmas(8.57, &[4, 4], false));
        let one_side = TruncNormal {
            mean: 0.0,
            std: 1.0,
            a: -6.0,
            b: 5.0,
        };
        assert!(!one_side.is_one_pass(Target::new(Dtype::Float32, &[99])));
        let unbounded = TruncNormal {
            mean: 0.0,
            std: 1.0,
            a: f64::NEG_INFINITY,
            b: f64::INFINITY,
        };
        assert!(unbounded.is_one_pass(Target::new(Dtype::Float32, &[99])));
        let half = Target::new(Dtype::Bfloat16, &[99]);
        assert!(!unbounded.is_one_pass(half.with_semantics(Semantics::PyTorch2_12)));
        assert!(!unbounded.is_one_pass(half.with_semantics(Semantics::PyTorch2_11)));
    }

    /// No value of a smaller radius is outside the bounds, and of a slightly larger one some are.
    #[test]
    fn passes_are_counted_from_radii() {
        for (mean, std, sigmas) in [
            (0.0, 0.02, 3.0),
            (0.0, 1.0, 2.0),
            (1.0, 0.5, 4.5),
            (-3.0, 1e-3, 2.5),
            (100.0, 1e-3, 3.0),
        ] {
            let (low, high) = ((mean - sigmas * std) as f32, (mean + sigmas * std) as f32);
            let radius = largest_radius(mean as f32, std as f32, (low, high)).unwrap();
            let value = |unit: u32, quarter: u32| {
                let words = [[unit; BLOCK / 2], [quarter << 22; BLOCK / 2]].concat();
                let mut values = [0f32; BLOCK];
                let normal = Normal { mean, std };
                let target = Target::new(Dtype::Float32, &[16]);
                let drawn =
                    normal.fill(&Engine::default(), &mut before(&words), target, &mut values);
                drawn.unwrap();
                values
            };
            let is_inside = |unit: u32| {
                let all = (0..4).flat_map(|quarter| value(unit, quarter));
                all.into_iter().all(|value| low <= value && value <= high)
            };
            for below in [0, 1, 2, 3, 5, 1000, 1_000_000] {
                assert!(is_inside(radius as u32 - below), "{mean} {std} {sigmas}");
            }
            let larger = (-(1.001 * sigmas).powi(2) / 2.0).exp() * f64::from(1 << 24);
            let unit = (1 << 24) - larger as u32;
            assert!(!is_inside(unit), "{mean} {std} {sigmas}");
        }
        // Computing all is faster, or necessary.
        assert_eq!(largest_radius(0.0, 1.0, (-1.0, 9.0)), None);
        assert_eq!(largest_radius(5.0, 1.0, (-1.0, 1.0)), None);
        assert_eq!(largest_radius(1e6, 1e-3, (999_999.5, 1_000_000.5)), None);
    }

    /// Every draw ends where its fill ends, whether its words are known or counted.
    #[test]
    fn skips_end_where_fills_end() {
        fn check<T: Element>(bounds: [f64; 2], shape: &[u64], threads: usize) {
            let [a, b] = bounds;
            let draw = TruncNormal {
                mean: 0.25,
                std: 1.5,
                a,
                b,
            };
            check_draw::<T>(draw, shape, threads);
        }
        fn check_draw<T: Element>(draw: TruncNormal, shape: &[u64], threads: usize) {
            let engine = Engine::default().with_threads(std::num::NonZero::new(threads).unwrap());
            let target = Target::new(T::DTYPE, shape);
            let mut start = Mt19937::new(7);
            normal_serial_(&mut start, &mut [0f32], 0.0, 1.0).unwrap();
            let mut values = vec![T::from_f64(0.0); target.numel() as usize];
            let mut filled = start.clone();
            draw.redraw(&engine, target.semantics, &mut filled, &mut values)
                .unwrap();
            let mut same = start.clone();
            draw.fill(&engine, &mut same, target, &mut values).unwrap();
            assert_eq!(same.state(), filled.state(), "{draw:?} {target:?}");
            let mut skipped = start.clone();
            assert!(Draw::from(draw).skip(&engine, &mut skipped, target));
            assert_eq!(skipped.state(), filled.state(), "{draw:?} {target:?}");
            let consumed = draw.consumed(target, Some(true));
            if let Some(words) = consumed.words {
                let mut words_later = start.clone();
                words_later.skip(words);
                assert_eq!(words_later.next_u32(), filled.clone().next_u32());
                let cached = filled.next_double_normal().is_some();
                assert_eq!(consumed.cached, Some(cached), "{draw:?} {target:?}");
            }
        }
        for bounds in [[-100.0, 100.0], [-3.0, 3.0], [-0.75, 1.25]] {
            for shape in [&[0u64][..], &[5], &[6], &[16], &[4, 8], &[99], &[300, 7]] {
                check::<f32>(bounds, shape, 1);
                check::<f64>(bounds, shape, 1);
                check::<bf16>(bounds, shape, 2);
                check::<f16>(bounds, shape, 1);
            }
        }
        for (mean, std, sigmas) in [(0.0, 0.02, 3.0), (-7.0, 1e-3, 2.0), (0.5, 0.25, 5.0)] {
            let draw = TruncNormal {
                mean,
                std,
                a: mean - sigmas * std,
                b: mean + 1.1 * sigmas * std,
            };
            check_draw::<f32>(draw, &[301, 1024], 1);
            check_draw::<bf16>(draw, &[70_007], 1);
            check_draw::<f16>(draw, &[70_016], 2);
        }
        // More than two parts.
        let large = [2 * COUNTED + COUNTED / 2 + 5];
        check::<f32>([-3.0, 3.0], &large, 2);
        check::<bf16>([-6.0, 4.5], &large, 1);
    }
}
