//! Wrong bits among known ones, found by sums that are 0 in every stream of MT19937.
//!
//! From word to word, each bit is a linear recurrence whose characteristic polynomial has only 135 terms: for every word, the sum of
//! 135 bits from it on is 0. A wrong bit makes the sums odd that have it. So where few bits are wrong, the wrong ones are those of which most
//! sums are odd; changing the most suspicious ones, and counting again, ends where no sum is odd. This is the bit-flipping decoding of
//! Gallager (1962), "Low-density parity-check codes".

use crate::known_bits::KnownBits;
use crate::polynomial::{DEGREE, lower_exponents};

/// The sums from which on they tell something.
const LEAST_SUMS: usize = 4096;

/// The sums that a certain bit is in, as a share of the most that a bit is in. Bits at the ends of the words are in few, and some wrong
/// ones together make none of these odd.
const LEAST_SHARE: (u16, u16) = (3, 5);

/// A bit is changed only if it is in at least this many more odd sums than even ones.
const LEAST_MAJORITY: i32 = 8;

/// The bits of a state, and half as many: sums of bits depend on each other.
const ENOUGH_BITS: usize = DEGREE + DEGREE / 2;

/// How often the suspicious bits are changed.
const ROUNDS: usize = 60;

/// Corrects known bits of which few are wrong, such as those that drawn values of `bfloat16` show, some of which were changed
/// later. [`agreement`](crate::recovery::agreement) finds wrong words where most bits are known.
///
/// 24,033 words from the first to the last are the minimum, and 90,000 to 130,000 are a good number. With these, of `uniform_` and `normal_`
/// in `bfloat16` and `float16`, all of 8 cases were corrected where one value in 500 was replaced by another, 7 where it was one in 200, and 3
/// where it was one in 100, of which only one then gave a state. Takes 0.01 s where few bits are wrong, up to 1.4 s where it fails.
///
/// Only the highest bits that nearly all words show are returned, and only where sums tell their values. A few of them may still be wrong,
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
    let mut result: Vec<KnownBits> = (first..=last)
        .map(|word| KnownBits {
            word,
            mask: 0,
            bits: 0,
        })
        .collect();
    let mut found = 0;
    for bit in (0..32).rev() {
        let mut plane = Plane::of(known, bit, first, words);
        let Some(is_sure) = plane.correct(&distances) else {
            continue;
        };
        for (place, bits) in result.iter_mut().enumerate() {
            if plane.is_known(place) && is_sure[place] {
                bits.mask |= 1 << bit;
                bits.bits |= u32::from(plane.bit(place)) << bit;
                found += 1;
            }
        }
        if found >= ENOUGH_BITS {
            break;
        }
    }
    result.retain(|bits| bits.mask != 0);
    (!result.is_empty()).then_some(result)
}

/// One bit of all words.
struct Plane {
    bits: Vec<u64>,
    known: Vec<u64>,
    words: usize,
}

impl Plane {
    fn of(known: &[KnownBits], bit: u32, first: u64, words: usize) -> Plane {
        // One limb more, so that a limb from any bit on is within.
        let limbs = words.div_ceil(64) + 1;
        let mut plane = Plane {
            bits: vec![0; limbs],
            known: vec![0; limbs],
            words,
        };
        for known in known.iter().filter(|known| known.mask >> bit & 1 == 1) {
            let place = (known.word - first) as usize;
            plane.known[place / 64] |= 1 << (place % 64);
            plane.bits[place / 64] |= u64::from(known.bits >> bit & 1) << (place % 64);
        }
        plane
    }

    fn bit(&self, place: usize) -> bool {
        self.bits[place / 64] >> (place % 64) & 1 == 1
    }

    fn is_known(&self, place: usize) -> bool {
        self.known[place / 64] >> (place % 64) & 1 == 1
    }

    /// Changes wrong bits until none is in far more odd sums than even ones. Returns which bits are certain then, as nearly all of their sums
    /// are even; `None` if those of nearly all bits are not.
    fn correct(&mut self, distances: &[usize]) -> Option<Vec<bool>> {
        let count = |limbs: &[u64]| limbs.iter().map(|limb| limb.count_ones() as usize).sum();
        let usable = self.usable(distances);
        let all: usize = count(&usable);
        if all < LEAST_SUMS {
            return None;
        }
        let in_sums = self.votes(&usable, distances);
        for _ in 0..ROUNDS {
            let mut odd = self.parities(distances);
            for (odd, usable) in odd.iter_mut().zip(&usable) {
                *odd &= usable;
            }
            let wrong: usize = count(&odd);
            // If the bits are not those of a stream, about half of the sums are odd.
            if (wrong as f64) > all as f64 / 2.0 - 3.0 * (all as f64).sqrt() {
                return None;
            }
            let in_odd = self.votes(&odd, distances);
            let majority = |place: usize| 2 * i32::from(in_odd[place]) - i32::from(in_sums[place]);
            let most = (0..self.words).map(majority).max()?;
            if most < LEAST_MAJORITY {
                // Sums that are odd still have a wrong bit of the ends.
                let fully = in_sums.iter().max()?;
                let least = fully * LEAST_SHARE.0 / LEAST_SHARE.1;
                let is_sure = |(all, odd): (&u16, &u16)| *all >= least && 16 * odd <= *all;
                return (10 * wrong <= all)
                    .then(|| in_sums.iter().zip(&in_odd).map(is_sure).collect());
            }
            for place in (0..self.words).filter(|place| 2 * majority(*place) > most) {
                self.bits[place / 64] ^= 1 << (place % 64);
            }
        }
        None
    }

    /// The number of sums, one from each word on.
    fn sums(&self) -> usize {
        self.words - DEGREE
    }

    /// The sums of which all bits are known.
    fn usable(&self, distances: &[usize]) -> Vec<u64> {
        let limbs = self.sums().div_ceil(64);
        let mut usable = vec![u64::MAX; limbs];
        usable[limbs - 1] >>= 64 * limbs - self.sums();
        for distance in distances {
            for (place, usable) in usable.iter_mut().enumerate() {
                *usable &= limb_from(&self.known, 64 * place + distance);
            }
        }
        usable
    }

    /// The sums.
    fn parities(&self, distances: &[usize]) -> Vec<u64> {
        let mut sums = vec![0; self.sums().div_ceil(64)];
        for distance in distances {
            for (place, sum) in sums.iter_mut().enumerate() {
                *sum ^= limb_from(&self.bits, 64 * place + distance);
            }
        }
        sums
    }

    /// In how many of these sums each bit is.
    fn votes(&self, sums: &[u64], distances: &[usize]) -> Vec<u16> {
        let mut votes = vec![0_u16; self.words];
        for (place, limb) in sums.iter().enumerate() {
            let mut limb = *limb;
            while limb != 0 {
                let first = 64 * place + limb.trailing_zeros() as usize;
                for distance in distances {
                    votes[first + distance] += 1;
                }
                limb &= limb - 1;
            }
        }
        votes
    }
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
            let wrong: Vec<_> = corrected.iter().filter(|bits| !is_right(bits)).collect();
            assert!(wrong.is_empty(), "{count}: {wrong:?}");
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
