//! The bits of words that drawn values show: the inverse of `uniform_` and of `normal_` in blocks.
//!
//! A value is computed from its words with rounding, so several words may give it. A bit is known where all of them agree.

use crate::box_muller;
use crate::draw::{Draw, Normal, Uniform};
use crate::dtype::Dtype;
use crate::known_bits::KnownBits;
use half::{bf16, f16};
use std::f64::consts::TAU;

/// What values of a draw show of its words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShownWords {
    /// The known bits, by position after the first word of the draw.
    pub known: Vec<KnownBits>,
    /// The number of values that were read.
    pub values: u64,
    /// How many of them the draw cannot give, whatever its words are: changed later, or not of this draw. Their words are not
    /// among the known ones. Only values of f32 and f64 show it.
    pub impossible: u64,
}

/// Reads the bits of words off values that a draw gave.
///
/// `values` are the elements from number `first` on, of a contiguous tensor of `numel` elements, as PyTorch 2.13 draws it.
/// A `uniform_` value shows most of its 24 bits in f32, and about 7 in bf16. A pair of `normal_` values, eight apart in a
/// block of 16, shows most bits of two words. Of `trunc_normal_`, pairs of which a value was drawn again are [impossible](
/// ShownWords::impossible).
///
/// `None` for draws whose values do not show their words: other distributions, `normal_` of fewer than 16 elements, and arguments
/// that PyTorch rejects.
///
/// ```
/// use torch_rng::recovery::shown_words;
/// use torch_rng::{Draw, Dtype, Mt19937, Uniform, uniform_};
///
/// let mut values = [0f32; 3];
/// uniform_(&mut Mt19937::new(1), &mut values, -0.1, 0.1)?;
/// let values = values.map(f64::from);
/// let draw = Draw::from(Uniform { from: -0.1, to: 0.1 });
/// let shown = shown_words(draw, Dtype::Float32, 3, 0, &values).expect("values of uniform_ show their words");
/// let word = Mt19937::new(1).next_u32();
/// assert_eq!(shown.known[0].mask, 0x00ff_ffff);
/// assert_eq!(shown.known[0].bits, word & 0x00ff_ffff);
/// assert_eq!(shown.impossible, 0);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
#[must_use]
pub fn shown_words(
    draw: Draw,
    dtype: Dtype,
    numel: u64,
    first: u64,
    values: &[f64],
) -> Option<ShownWords> {
    match draw {
        Draw::Uniform(Uniform { from, to }) => {
            let inverse = InverseUniform::new(from, to, dtype)?;
            Some(inverse.read(first, values))
        }
        Draw::Normal(normal) => InverseNormal::new(normal, dtype)?.read(numel, first, values),
        Draw::TruncNormal(draw) if draw.uses_redraws() => {
            let (mean, std) = (draw.mean, draw.std);
            InverseNormal::new(Normal { mean, std }, dtype)?.read(numel, first, values)
        }
        _ => None,
    }
}

/// The arithmetic of a dtype's draws.
#[derive(Clone, Copy)]
struct Arithmetic {
    dtype: Dtype,
    /// The bits of the words that make a uniform value.
    unit_bits: u32,
    /// The largest relative error of an operation.
    rounding: f64,
    /// The largest relative error of a value when it is stored.
    stored: f64,
}

impl Arithmetic {
    fn of(dtype: Dtype) -> Option<Arithmetic> {
        let (unit_bits, stored_bits) = match dtype {
            Dtype::Float32 => (24, 24),
            Dtype::Bfloat16 => (24, 8),
            Dtype::Float16 => (24, 11),
            Dtype::Float64 => (53, 53),
            Dtype::Int64 => return None,
        };
        Some(Arithmetic {
            dtype,
            unit_bits,
            rounding: 0.5f64.powi(unit_bits as i32),
            stored: 0.5f64.powi(stored_bits),
        })
    }

    fn units(self) -> f64 {
        2f64.powi(self.unit_bits as i32)
    }

    fn round(self, value: f32) -> f64 {
        match self.dtype {
            Dtype::Bfloat16 => bf16::from_f32(value).to_f64(),
            Dtype::Float16 => f16::from_f32(value).to_f64(),
            _ => f64::from(value),
        }
    }

    /// The words of value number `index`, of whose unit these bits are known.
    fn words(self, index: u64, unit: UnitBits) -> impl Iterator<Item = KnownBits> {
        let UnitBits { bits, mask } = unit;
        let word = |word: u64, shift: u32| KnownBits {
            word,
            mask: (mask >> shift) as u32,
            bits: (bits >> shift) as u32,
        };
        let words = match self.unit_bits {
            53 => [Some(word(2 * index, 32)), Some(word(2 * index + 1, 0))],
            _ => [Some(word(index, 0)), None],
        };
        words.into_iter().flatten().filter(|word| word.mask != 0)
    }
}

/// What is known of the integer that a uniform value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UnitBits {
    mask: u64,
    bits: u64,
}

impl UnitBits {
    const NONE: UnitBits = UnitBits { mask: 0, bits: 0 };

    /// Those that all integers of a range have in common.
    fn of_range(low: u64, high: u64, unit_bits: u32) -> UnitBits {
        let all = (1 << unit_bits) - 1;
        let differing = (low ^ high).checked_ilog2();
        let open = differing.map_or(0, |bit| (2 << bit) - 1);
        UnitBits {
            mask: all & !open,
            bits: low & all & !open,
        }
    }

    /// Those that this has in common with one more integer.
    fn with(self, unit: u64) -> UnitBits {
        let mask = self.mask & !(self.bits ^ unit);
        UnitBits {
            mask,
            bits: self.bits & mask,
        }
    }
}

/// The inverse of `uniform_`.
struct InverseUniform {
    arithmetic: Arithmetic,
    from: f64,
    range: f64,
    /// The value that also stands for others, if one rounds to the upper bound, and the bound.
    ambiguous: Option<[f64; 2]>,
}

impl InverseUniform {
    fn new(from: f64, to: f64, dtype: Dtype) -> Option<InverseUniform> {
        let arithmetic = Arithmetic::of(dtype)?;
        let (start, range, bounds) = match dtype {
            Dtype::Float64 => (from, to - from, [from, to]),
            _ => {
                let (from, to) = (from as f32, to as f32);
                let bounds = [from, to].map(|bound| arithmetic.round(bound));
                (f64::from(from), f64::from(to - from), bounds)
            }
        };
        if !(range > 0.0 && range.is_finite()) {
            return None;
        }
        let mut inverse = InverseUniform {
            arithmetic,
            from: start,
            range,
            ambiguous: None,
        };
        let largest = inverse.value((1 << arithmetic.unit_bits) - 1);
        inverse.ambiguous = (largest >= bounds[1]).then_some(bounds);
        Some(inverse)
    }

    fn read(&self, first: u64, values: &[f64]) -> ShownWords {
        let mut shown = ShownWords {
            values: values.len() as u64,
            ..ShownWords::default()
        };
        for (index, value) in (first..).zip(values) {
            match self.unit(*value) {
                Some(unit) => shown.known.extend(self.arithmetic.words(index, unit)),
                None => shown.impossible += 1,
            }
        }
        shown
    }

    /// The value of an integer, before one that is the upper bound is replaced.
    fn value(&self, unit: u64) -> f64 {
        match self.arithmetic.dtype {
            Dtype::Float64 => {
                (unit as f64 * self.arithmetic.rounding).mul_add(self.range, self.from)
            }
            _ => {
                let fraction = unit as f32 * self.arithmetic.rounding as f32;
                let value = fraction.mul_add(self.range as f32, self.from as f32);
                self.arithmetic.round(value)
            }
        }
    }

    /// What is known of the integer of a value; `None` if no integer has it.
    fn unit(&self, value: f64) -> Option<UnitBits> {
        if self.ambiguous.is_some_and(|bounds| bounds.contains(&value)) {
            return Some(UnitBits::NONE);
        }
        let last = (1_u64 << self.arithmetic.unit_bits) - 1;
        // Values do not decrease. The integers that give the value are near this one, but for rounding.
        let near = (value - self.from) / self.range * self.arithmetic.units();
        let width =
            4.0 + 2.0 * self.arithmetic.stored * value.abs() / self.range * self.arithmetic.units();
        let mut low = (near - width).max(0.0) as u64;
        let mut high = ((near + width).max(0.0) as u64).min(last);
        if low > 0 && (low > last || self.value(low) >= value) {
            low = 0;
        }
        if high < last && self.value(high) <= value {
            high = last;
        }
        let first = partition_point(low, high + 1, |unit| self.value(unit) < value);
        let end = partition_point(first, high + 1, |unit| self.value(unit) <= value);
        (first < end).then(|| UnitBits::of_range(first, end - 1, self.arithmetic.unit_bits))
    }
}

/// The first of `low..high` for which `is_before` does not hold, or `high`.
fn partition_point(mut low: u64, mut high: u64, is_before: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        match is_before(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// The elements of a block.
const BLOCK: u64 = 16;

/// The inverse of `normal_` in blocks.
struct InverseNormal {
    arithmetic: Arithmetic,
    mean: f64,
    std: f64,
}

impl InverseNormal {
    fn new(Normal { mean, std }: Normal, dtype: Dtype) -> Option<InverseNormal> {
        let arithmetic = Arithmetic::of(dtype)?;
        let (mean, std) = match dtype {
            Dtype::Float64 => (mean, std),
            _ => (f64::from(mean as f32), f64::from(std as f32)),
        };
        (mean.is_finite() && std > 0.0 && std.is_finite()).then_some(InverseNormal {
            arithmetic,
            mean,
            std,
        })
    }

    fn read(&self, numel: u64, first: u64, values: &[f64]) -> Option<ShownWords> {
        // If there is a remainder, the last 16 elements are drawn again.
        let whole = match numel % BLOCK {
            _ if numel < BLOCK => return None,
            0 => numel,
            _ => (numel - BLOCK) / BLOCK * BLOCK,
        };
        let mut shown = ShownWords::default();
        let skipped = first.next_multiple_of(BLOCK) - first;
        let blocks = values.get(skipped as usize..).unwrap_or_default();
        let starts = (first + skipped..whole).step_by(BLOCK as usize);
        for (start, block) in starts.zip(blocks.chunks_exact(BLOCK as usize)) {
            shown.values += BLOCK;
            for (j, cos) in (0..BLOCK / 2).zip(block) {
                let sin = block[(j + BLOCK / 2) as usize];
                match self.units(*cos, sin) {
                    Some([u1, u2]) => {
                        let index = start + j;
                        shown.known.extend(self.arithmetic.words(index, u1));
                        let index = index + BLOCK / 2;
                        shown.known.extend(self.arithmetic.words(index, u2));
                    }
                    None => shown.impossible += 2,
                }
            }
        }
        shown.known.sort_unstable_by_key(|known| known.word);
        Some(shown)
    }

    /// What is known of the integers of a pair of values; `None` if none have them.
    fn units(&self, cos: f64, sin: f64) -> Option<[UnitBits; 2]> {
        let Arithmetic {
            rounding,
            stored,
            unit_bits,
            ..
        } = self.arithmetic;
        let [a, b] = [cos, sin].map(|value| (value - self.mean) / self.std);
        let square = a * a + b * b;
        let radius = square.sqrt();
        if !square.is_finite() {
            return None;
        }
        // The greatest errors of the two, in standard deviations: of storing, of the multiplication and addition, of the
        // functions' polynomials. The smallest numbers of f16 are 2^-24 apart.
        let error = |value: f64, normal: f64| {
            let stored = stored * value.abs()
                + 0.5f64.powi(25) * f64::from(u8::from(stored == 0.5f64.powi(11)));
            (stored + 2.0 * rounding * (value.abs() + self.mean.abs())) / self.std
                + rounding * (16.0 * normal.abs() + 4.0 * radius)
        };
        let (da, db) = (error(cos, a), error(sin, b));
        if da + db >= radius / 4.0 {
            return Some([UnitBits::NONE; 2]);
        }
        let units = self.arithmetic.units();
        let last = units as i64 - 1;
        let spread = 2.0 * (a.abs() * da + b.abs() * db) + da * da + db * db;
        // 1 - exp(-square / 2)
        let unit = |square: f64| -(-square / 2.0).exp_m1() * units;
        let low = (unit(square - spread).max(0.0) as i64 - 4).max(0);
        let high = (unit(square + spread) as i64 + 4).min(last);
        let turn = (b.atan2(a) / TAU).rem_euclid(1.0) * units;
        let angle = 1.1 * (a.abs() * db + b.abs() * da) / square + 16.0 * rounding;
        let width = angle / TAU * units + 2.0;
        let (left, right) = ((turn - width) as i64, (turn + width) as i64);
        if self.arithmetic.dtype == Dtype::Float32 {
            return self.exact_units([cos as f32, sin as f32], low..=high, left - 1..=right);
        }
        let wraps = turn - width < 0.0 || right > last;
        let second = match wraps {
            true => UnitBits::NONE,
            false => UnitBits::of_range(left as u64, right as u64, unit_bits),
        };
        Some([
            UnitBits::of_range(low as u64, high as u64, unit_bits),
            second,
        ])
    }

    /// What all pairs of integers in these ranges that give the values have in common; `None` if there are none.
    fn exact_units(
        &self,
        values: [f32; 2],
        first: std::ops::RangeInclusive<i64>,
        second: std::ops::RangeInclusive<i64>,
    ) -> Option<[UnitBits; 2]> {
        let (mean, std) = (self.mean as f32, self.std as f32);
        let fraction = |unit: u64| unit as f32 * self.arithmetic.rounding as f32;
        let count = 1_i64 << self.arithmetic.unit_bits;
        let radii = first.map(|unit| (unit as u64, box_muller::radius(fraction(unit as u64))));
        let radii: Vec<(u64, f32)> = radii.collect();
        let mut known: Option<[UnitBits; 2]> = None;
        for second in second.map(|unit| unit.rem_euclid(count) as u64) {
            let (sin, cos) = box_muller::direction(fraction(second));
            for (first, radius) in &radii {
                let drawn = [cos, sin].map(|part| (radius * part).mul_add(std, mean));
                if drawn != values {
                    continue;
                }
                let [a, b] = known.unwrap_or_else(|| {
                    [*first, second]
                        .map(|unit| UnitBits::of_range(unit, unit, self.arithmetic.unit_bits))
                });
                known = Some([a.with(*first), b.with(second)]);
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::{Origin, find_seed, recover};
    use crate::{Element, Engine, Mt19937, Target, TruncNormal};

    fn drawn<T: Element + Into<f64>>(draw: Draw, numel: u64, generator: &mut Mt19937) -> Vec<f64> {
        let mut values = vec![crate::element::sealed::Storage::from_f64(0.0); numel as usize];
        let shape = [numel];
        let target = Target::new(T::DTYPE, &shape);
        draw.fill::<T>(&Engine::default(), generator, target, &mut values)
            .unwrap();
        values.into_iter().map(Into::into).collect()
    }

    /// Known bits are those of the words, and there are so many per word at least.
    fn holds<T: Element + Into<f64>>(draw: Draw, numel: u64, bits_per_word: f64, impossible: f64) {
        let mut generator = Mt19937::new(numel);
        generator.skip(77);
        let values = drawn::<T>(draw, numel, &mut generator.clone());
        let shown = shown_words(draw, T::DTYPE, numel, 0, &values).unwrap();
        let (mut count, mut words) = (0, 0_u64);
        for known in &shown.known {
            while words < known.word {
                generator.next_u32();
                words += 1;
            }
            let word = generator.next_u32();
            words += 1;
            assert_eq!(
                (word ^ known.bits) & known.mask,
                0,
                "{draw} word {}",
                known.word
            );
            count += known.mask.count_ones();
        }
        let per_word = f64::from(count) / shown.values.max(1) as f64;
        assert!(
            per_word >= bits_per_word,
            "{draw} {}: {per_word} bits",
            T::DTYPE
        );
        let share = shown.impossible as f64 / shown.values.max(1) as f64;
        assert!(
            share <= impossible,
            "{draw} {}: {share} impossible",
            T::DTYPE
        );
    }

    #[test]
    fn uniform_values_show_their_words() {
        for (from, to) in [
            (0.0, 1.0),
            (-1.0, 1.0),
            (-0.0357, 0.0357),
            (-1e-3, 1e-3),
            (2.0, 3.0),
            (0.0, 0.3),
            (-7.0, 11.0),
        ] {
            let draw = Draw::from(Uniform { from, to });
            let offset = if from == 2.0 { 5.0 } else { 0.0 };
            holds::<f32>(draw, 20_000, 23.7 - offset, 0.0);
            holds::<f64>(draw, 20_000, 52.7 - offset, 0.0);
            holds::<f16>(draw, 20_000, 9.0 - offset, 0.0);
            holds::<bf16>(draw, 20_000, 6.0 - offset, 0.0);
        }
    }

    #[test]
    fn pairs_of_normal_values_show_their_words() {
        for (mean, std) in [
            (0.0, 1.0),
            (0.0, 0.02),
            (0.0, 1.7),
            (1.0, 0.02),
            (-3.0, 5.0),
        ] {
            let draw = Draw::from(Normal { mean, std });
            for numel in [16, 160, 20_000] {
                let least = if numel < 20_000 || mean == 1.0 {
                    10.0
                } else {
                    20.0
                };
                holds::<f32>(draw, numel, least, 0.0);
                holds::<f64>(draw, numel, 2.0 * least, 0.0);
            }
            holds::<f16>(draw, 20_000, 1.0, 0.0);
            holds::<bf16>(draw, 20_000, 0.5, 0.0);
        }
    }

    #[test]
    fn a_remainder_is_not_read() {
        let draw = Draw::from(Normal {
            mean: 0.0,
            std: 1.0,
        });
        for (numel, values) in [(17, 0), (31, 0), (33, 16), (47, 16), (48, 48), (1000, 976)] {
            holds::<f32>(draw, numel, if values == 0 { 0.0 } else { 5.0 }, 0.0);
            let drawn = drawn::<f32>(draw, numel, &mut Mt19937::new(1));
            let shown = shown_words(draw, Dtype::Float32, numel, 0, &drawn).unwrap();
            assert_eq!(shown.values, values);
            // From the middle on.
            let middle = shown_words(draw, Dtype::Float32, numel, 5, &drawn[5..]).unwrap();
            let after: Vec<KnownBits> = shown
                .known
                .into_iter()
                .filter(|known| known.word >= 16)
                .collect();
            assert_eq!(middle.known, after);
        }
    }

    #[test]
    fn truncated_normals_show_the_words_of_what_was_not_drawn_again() {
        let wide = TruncNormal {
            mean: 0.0,
            std: 0.02,
            a: -2.0,
            b: 2.0,
        };
        holds::<f32>(wide.into(), 20_000, 20.0, 0.0);
    }

    #[test]
    fn values_of_other_draws_are_impossible() {
        let uniform = |bound: f64| {
            Draw::from(Uniform {
                from: -bound,
                to: bound,
            })
        };
        let values = drawn::<f32>(uniform(0.1), 10_000, &mut Mt19937::new(3));
        for bound in [0.100_000_02, 0.099_999_99, 0.2, 0.11] {
            let shown = shown_words(uniform(bound), Dtype::Float32, 10_000, 0, &values).unwrap();
            let share = shown.impossible as f64 / 10_000.0;
            assert!(share > 0.2, "{bound}: {share}");
        }
        let normal = |std: f64| Draw::from(Normal { mean: 0.0, std });
        let values = drawn::<f32>(normal(0.02), 10_000, &mut Mt19937::new(3));
        for std in [0.020_000_002, 0.019, 0.03] {
            let shown = shown_words(normal(std), Dtype::Float32, 10_000, 0, &values).unwrap();
            let share = shown.impossible as f64 / 10_000.0;
            assert!(share > 0.5, "{std}: {share}");
        }
        let odd = [f64::NAN, f64::INFINITY, -1.0, 2.0];
        let shown = shown_words(uniform(0.5), Dtype::Float32, 4, 0, &odd).unwrap();
        assert_eq!((shown.impossible, shown.known.len()), (4, 0));
        assert_eq!(shown_words(uniform(0.0), Dtype::Float32, 4, 0, &odd), None);
        assert_eq!(shown_words(normal(1.0), Dtype::Float32, 4, 0, &odd), None);
    }

    #[test]
    fn seeds_are_found_from_values() {
        let uniform = Draw::from(Uniform {
            from: -0.03,
            to: 0.03,
        });
        let normal = Draw::from(Normal {
            mean: 0.0,
            std: 0.02,
        });
        for (draw, numel) in [(uniform, 1300), (normal, 1408)] {
            let mut generator = Mt19937::new(11);
            generator.skip(5000);
            let values = drawn::<f32>(draw, numel, &mut generator);
            let shown = shown_words(draw, Dtype::Float32, numel, 0, &values).unwrap();
            let recovered = recover(&shown.known).unwrap();
            let first = shown.known[0].word;
            let origin = Origin {
                seed: 11,
                words: 5000 + first,
            };
            assert_eq!(find_seed(&recovered, 10_000), Some(origin), "{draw}");
        }
    }
}
