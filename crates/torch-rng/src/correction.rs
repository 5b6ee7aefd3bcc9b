//! Wrong bits among known ones, found by sums that are 0 in every stream of MT19937.
//!
//! From word to word, each bit is a linear recurrence whose characteristic polynomial has only 135 terms: for every word, the sum of
//! 135 bits from it on is 0. A wrong bit makes the sums odd that have it. So where few bits are wrong, the wrong ones are those of which most
//! sums are odd; changing the most suspicious ones, and counting again, ends where no sum is odd. This is the bit-flipping decoding of
//! Gallager (1962), "Low-density parity-check codes". A wrong word has wrong bits in about half of all places, so that the bits of a word
//! are judged together. Only the worst words are changed at a time, since many sums that have a wrong bit also have the bit 1,816 words
//! from it, or one of some other distances.

use crate::known_bits::KnownBits;
use crate::polynomial::{DEGREE, lower_exponents};

/// The sums from which on they tell something.
const LEAST_SUMS: usize = 4096;

/// A certain bit is in this many more even sums than odd ones, at least. Bits at the ends of the words are in few, and some wrong
/// ones together make none of these odd.
const LEAST_EXCESS: u8 = 16;

/// Twice the bits of a state: sums of bits depend on each other, and not all words may be used.
const ENOUGH_BITS: usize = 2 * DEGREE;

/// How often the worst words are changed.
const ROUNDS: usize = 200;

/// How bad a word is that is changed, as a share of the worst, at first and at last.
const LEAST_BAD: f64 = 0.5;
const MOST_BAD: f64 = 0.98;

/// Corrects known bits of which few are wrong, such as those that drawn values of `bfloat16` show, some of which were changed
/// later. [`agreement`](crate::recovery::agreement) finds wrong words where most bits are known.
///
/// 24,033 words from the first to the last are the minimum, and 90,000 to 130,000 are a good number. With these, of `uniform_` and `normal_`
/// in `bfloat16` and `float16`, all of 8 cases were corrected where one value in 100 was halved or replaced by another, and 4 where it was one in
/// 70 that was replaced. Takes up to a second.
///
/// Only bits that nearly all words show are returned, the most certain ones, twice as many as a state has. A few may still be wrong at the ends,
/// which [`recover`](crate::recovery::recover) reports as a contradiction. `None` if the words are too few, if too many bits are wrong, or if
/// the bits are not those of MT19937.
///
/// ```
/// use torch_rng::recovery::{KnownBits, corrected};
/// use torch_rng::Mt19937;
///
/// let mut generator = Mt19937::new(3);
/// let right: Vec<KnownBits> = (0..60_000)
///     .map(|word| KnownBits { word, mask: 3 << 22, bits: generator.next_u32() & 3 << 22 })
///     .collect();
/// let mut known = right.clone();
/// for wrong in known.iter_mut().step_by(300) {
///     wrong.bits ^= 1 << 23;
/// }
/// let corrected = corrected(&known).expect("few bits are wrong");
/// assert!(corrected.len() > 20_000);
/// assert!(corrected.iter().all(|bits| right[bits.word as usize].bits & bits.mask == bits.bits));
/// ```
#[must_use]
pub fn corrected(known: &[KnownBits]) -> Option<Vec<KnownBits>> {
    let first = known.iter().map(|known| known.word).min()?;
    let last = known.iter().map(|known| known.word).max()?;
    let words = usize::try_from(last - first).ok()?.checked_add(1)?;
    if words < DEGREE + LEAST_SUMS || words > 8 * known.len() {
        return None;
    }
    let mut distances = lower_exponents();
    distances.push(DEGREE);
    let mut planes: Vec<Plane> = (0..32)
        .rev()
        .filter_map(|bit| Plane::of(known, bit, first, words, &distances))
        .collect();
    planes.retain_mut(|plane| {
        plane.count(&distances);
        plane.is_stream()
    });
    correct(&mut planes, words, &distances);
    let result = certain_bits(&planes, first, words);
    (!result.is_empty()).then_some(result)
}

/// The bits that are certain: those that most sums confirm, as many as are enough.
fn certain_bits(planes: &[Plane], first: u64, words: usize) -> Vec<KnownBits> {
    let planes: Vec<&Plane> = planes.iter().filter(|plane| plane.holds()).collect();
    let places = || (0..words).filter(|place| planes.iter().any(|plane| has(&plane.known, *place)));
    // How many bits are so certain.
    let mut counts = vec![0_usize; usize::from(u8::MAX) + 1];
    for place in places() {
        for share in planes.iter().filter_map(|plane| plane.certainty(place)) {
            counts[usize::from(share)] += 1;
        }
    }
    let mut found = 0;
    let enough = counts.iter().rposition(|count| {
        found += count;
        found >= ENOUGH_BITS
    });
    let least = enough.unwrap_or(0);
    let bits = places().map(|place| {
        let mut known = KnownBits {
            word: first + place as u64,
            mask: 0,
            bits: 0,
        };
        for plane in &planes {
            if plane
                .certainty(place)
                .is_some_and(|share| usize::from(share) >= least)
            {
                known.mask |= 1 << plane.bit;
                known.bits |= u32::from(has(&plane.bits, place)) << plane.bit;
            }
        }
        known
    });
    bits.filter(|known| known.mask != 0).collect()
}

/// Changes wrong bits until fewer changes do not make fewer sums odd.
fn correct(planes: &mut [Plane], words: usize, distances: &[usize]) {
    // How bad words are changed, as a share of the worst.
    let mut share = LEAST_BAD;
    let odd = |planes: &[Plane]| planes.iter().map(|plane| count(&plane.odd)).sum::<usize>();
    for _ in 0..ROUNDS {
        let before = odd(planes);
        let bits: Vec<Vec<u64>> = planes.iter().map(|plane| plane.bits.clone()).collect();
        if !change_worst(planes, words, share) {
            return;
        }
        for plane in &mut *planes {
            plane.count(distances);
        }
        if odd(planes) < before {
            share = LEAST_BAD;
            continue;
        }
        for (plane, bits) in planes.iter_mut().zip(bits) {
            plane.bits = bits;
            plane.count(distances);
        }
        share = (1.0 + share) / 2.0;
        if share > MOST_BAD {
            return;
        }
    }
}

/// Changes bits of the words that are wrong most probably. Returns whether there are any.
fn change_worst(planes: &mut [Plane], words: usize, share: f64) -> bool {
    let wrong: f64 = planes.iter().map(Plane::wrong_bits).sum();
    let wrong = wrong / planes.len().max(1) as f64;
    // A wrong word has half of its bits by chance.
    let prior = (1.0 / (2.0 * wrong).clamp(1.0 / words as f64, 0.5) - 1.0).ln();
    // The logarithm of the odds that a word is right: that its bits are, or that half of them are by chance.
    let mut odds = vec![prior; words];
    for plane in &*planes {
        let of_sum = plane.odds_of_sum();
        // What each excess of even sums says.
        let most = i32::from(plane.most);
        let said: Vec<f64> = (-most..=most)
            .map(|excess| {
                let said = of_sum * f64::from(excess);
                said - softplus(said) + std::f64::consts::LN_2
            })
            .collect();
        for (place, odds) in odds.iter_mut().enumerate() {
            if has(&plane.known, place) {
                *odds += said[(plane.excess(place) + most) as usize];
            }
        }
    }
    let worst = odds.iter().copied().fold(0.0, f64::min);
    let mut is_changed = false;
    let is_bad = |(_, odds): &(usize, &f64)| **odds < 0.0 && **odds <= share * worst;
    for (place, _) in odds.iter().enumerate().filter(is_bad) {
        for plane in &mut *planes {
            if plane.excess(place) < 0 {
                plane.bits[place / 64] ^= 1 << (place % 64);
                is_changed = true;
            }
        }
    }
    is_changed
}

/// The logarithm of `1 + exp(x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// One bit of all words.
struct Plane {
    bit: u32,
    bits: Vec<u64>,
    known: Vec<u64>,
    /// The sums of which all bits are known, and how many of these each bit is in.
    usable: Vec<u64>,
    in_sums: Vec<u8>,
    /// The most sums that a bit is in.
    most: u8,
    /// The same of odd ones.
    odd: Vec<u64>,
    in_odd: Vec<u8>,
}

impl Plane {
    /// `None` if too few bits are known.
    fn of(
        known: &[KnownBits],
        bit: u32,
        first: u64,
        words: usize,
        distances: &[usize],
    ) -> Option<Plane> {
        // One limb more, so that a limb from any bit on is within.
        let limbs = words.div_ceil(64) + 1;
        let (mut bits, mut is_known) = (vec![0; limbs], vec![0; limbs]);
        for known in known.iter().filter(|known| known.mask >> bit & 1 == 1) {
            let place = (known.word - first) as usize;
            is_known[place / 64] |= 1 << (place % 64);
            bits[place / 64] |= u64::from(known.bits >> bit & 1) << (place % 64);
        }
        let sums = words - DEGREE;
        let mut usable = vec![u64::MAX; sums.div_ceil(64)];
        if let Some(last) = usable.last_mut() {
            *last >>= (64 - sums % 64) % 64;
        }
        for distance in distances {
            for (place, usable) in usable.iter_mut().enumerate() {
                *usable &= limb_from(&is_known, 64 * place + distance);
            }
        }
        if count(&usable) < LEAST_SUMS {
            return None;
        }
        let in_sums = votes(&usable, words, distances);
        Some(Plane {
            bit,
            most: in_sums.iter().copied().max()?,
            in_sums,
            in_odd: Vec::new(),
            odd: Vec::new(),
            bits,
            known: is_known,
            usable,
        })
    }

    /// Counts the odd sums.
    fn count(&mut self, distances: &[usize]) {
        self.odd.clear();
        self.odd.resize(self.usable.len(), 0);
        for distance in distances {
            for (place, odd) in self.odd.iter_mut().enumerate() {
                *odd ^= limb_from(&self.bits, 64 * place + distance);
            }
        }
        for (odd, usable) in self.odd.iter_mut().zip(&self.usable) {
            *odd &= usable;
        }
        self.in_odd = votes(&self.odd, self.in_sums.len(), distances);
    }

    /// How many more of the sums that have a bit are even than odd.
    fn excess(&self, place: usize) -> i32 {
        i32::from(self.in_sums[place]) - 2 * i32::from(self.in_odd[place])
    }

    /// How much more often sums are even than odd, of all.
    fn evenness(&self) -> f64 {
        1.0 - 2.0 * count(&self.odd) as f64 / count(&self.usable) as f64
    }

    /// Whether sums are even more often than by chance, as in a stream.
    fn is_stream(&self) -> bool {
        self.evenness() > 3.0 / (count(&self.usable) as f64).sqrt()
    }

    /// The share of bits that are wrong.
    fn wrong_bits(&self) -> f64 {
        (1.0 - self.evenness().max(0.0).powf(1.0 / TERMS)) / 2.0
    }

    /// What an even sum says of the odds that one of its bits is right, as a logarithm.
    fn odds_of_sum(&self) -> f64 {
        let others = self.evenness().clamp(0.0, 0.98).powf((TERMS - 1.0) / TERMS);
        ((1.0 + others) / (1.0 - others)).ln()
    }

    /// Whether nearly all sums are even. Those that are odd still have a wrong bit of the ends.
    fn holds(&self) -> bool {
        10 * count(&self.odd) <= count(&self.usable)
    }

    /// How many more even sums than odd ones a known bit is in, if few of them are odd, as a share of the most: in percent.
    fn certainty(&self, place: usize) -> Option<u8> {
        let (all, odd) = (self.in_sums[place], self.in_odd[place]);
        let is_right = has(&self.known, place) && 16 * u32::from(odd) <= u32::from(all);
        let excess = is_right.then(|| all - 2 * odd)?;
        let share = 100 * u32::from(excess) / u32::from(self.most.max(1));
        (excess >= LEAST_EXCESS).then_some(share as u8)
    }
}

/// The terms of the polynomial.
const TERMS: f64 = 135.0;

fn has(bits: &[u64], place: usize) -> bool {
    bits[place / 64] >> (place % 64) & 1 == 1
}

fn count(bits: &[u64]) -> usize {
    bits.iter().map(|limb| limb.count_ones() as usize).sum()
}

/// In how many of these sums each bit is.
fn votes(sums: &[u64], words: usize, distances: &[usize]) -> Vec<u8> {
    let each: Vec<u8> = (0..words - DEGREE)
        .map(|place| u8::from(has(sums, place)))
        .collect();
    let mut votes = vec![0; words];
    for distance in distances {
        for (votes, one) in votes[*distance..].iter_mut().zip(&each) {
            *votes += one;
        }
    }
    votes
}

/// 64 bits from a place on. What is beyond the end is 0.
fn limb_from(limbs: &[u64], place: usize) -> u64 {
    let at = |limb: usize| limbs.get(limb).copied().unwrap_or(0);
    match place % 64 {
        0 => at(place / 64),
        shift => at(place / 64) >> shift | at(place / 64 + 1) << (64 - shift),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mt19937::Mt19937;
    use crate::recovery::recover;

    /// The words of a stream, of which some bits are known and one in `wrong` is another word.
    fn words(count: u64, mask: u32, wrong: u64) -> (Mt19937, Vec<KnownBits>) {
        let mut generator = Mt19937::new(77);
        generator.skip(12_345);
        let mut stream = generator.clone();
        // Of a generator of another kind: every second word of MT19937 would be a stream with the same polynomial.
        let mut other = 1_u64;
        let known = (0..count).map(|word| {
            other = other
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let right = stream.next_u32();
            let bits = match (other >> 40) % wrong {
                0 => (other >> 16) as u32,
                _ => right,
            };
            KnownBits {
                word,
                mask,
                bits: bits & mask,
            }
        });
        let known = known.collect();
        (generator, known)
    }

    #[test]
    fn wrong_words_are_corrected() {
        for (count, mask, wrong) in [
            (40_000, 0x00e0_0000, 200),
            (60_000, 0x0080_0000, 120),
            (100_000, 0x00ff_0000, 100),
        ] {
            let (mut generator, known) = words(count, mask, wrong);
            let corrected = corrected(&known).unwrap();
            let mut right = generator.clone();
            let right: Vec<u32> = (0..count).map(|_| right.next_u32()).collect();
            let is_right =
                |known: &KnownBits| right[known.word as usize] & known.mask == known.bits;
            // At the ends, a few may be wrong.
            let wrong = corrected.iter().filter(|bits| !is_right(bits)).count();
            assert!(wrong <= 3, "{count}: {wrong}");
            let middle = count / 4..count - count / 4;
            let corrected: Vec<KnownBits> = corrected
                .into_iter()
                .filter(|bits| middle.contains(&bits.word))
                .collect();
            assert!(corrected.iter().all(is_right), "{count}");
            // Of more bits of each word, the state follows sooner.
            if mask.count_ones() > 2 {
                generator.skip(corrected[0].word);
                let mut recovered = recover(&corrected).unwrap();
                assert_eq!(recovered.next_u32(), generator.next_u32(), "{count}");
            }
        }
    }

    #[test]
    fn gaps_are_no_errors() {
        let (_, mut known) = words(80_000, 0x00c0_0000, 1 << 30);
        let right = known.clone();
        let mut random = Mt19937::new(9);
        known.retain(|_| !random.next_u32().is_multiple_of(200));
        for known in &mut known {
            if random.next_u32().is_multiple_of(250) {
                known.bits ^= known.mask;
            }
        }
        let corrected = corrected(&known).unwrap();
        assert!(corrected.len() > 10_000, "{}", corrected.len());
        for bits in corrected {
            assert_eq!(bits.bits, right[bits.word as usize].bits & bits.mask);
        }
    }

    #[test]
    fn what_is_no_stream_is_not_corrected() {
        // Too few words, words of another kind, too many wrong ones.
        let (_, few) = words(24_000, 0x00ff_0000, 100);
        assert_eq!(corrected(&few), None);
        let (_, random) = words(50_000, 0x00ff_0000, 1);
        assert_eq!(corrected(&random), None);
        let (_, wrong) = words(50_000, 0x00ff_0000, 8);
        assert_eq!(corrected(&wrong), None);
        assert_eq!(corrected(&[]), None);
        let far = [0, u64::MAX].map(|word| KnownBits {
            word,
            mask: 1,
            bits: 1,
        });
        assert_eq!(corrected(&far), None);
    }
}
