//! Draws in parts, on several threads: each goes to its place in the stream and draws on from there,
//! so that the bits do not depend on their number.

use super::threads::do_all;
use super::{Engine, memory};
use crate::rng::Mt19937;

/// What a share costs before it is drawn, in nanoseconds: letting a thread know, and going to its
/// place, a word at a time or at once.
const THREAD: f64 = 40_000.0;
const WORD: f64 = 0.15;
const JUMP: f64 = 115_000.0;
/// What a share must have to draw, in starts, to be worth one.
const WORTHWHILE: f64 = 1.35;
/// Shares for each thread, if the draw is long enough: a thread that other work held up takes fewer.
const SHARES_A_THREAD: usize = 4;
/// What a share must have to draw, in starts, if there are more of them than threads.
const LONG: f64 = 17.0;
/// Bytes that are drawn together, and touched together if they are new.
const PIECE: usize = 256 << 10;
/// Shares begin at multiples of this many values where those are not drawn in pieces: whole blocks,
/// and whole cache lines.
const ALIGN: usize = 64;

/// How a draw divides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Words of a value.
    pub(crate) words: u64,
    /// What a value takes, in nanoseconds; only the times matter, not the bits, if it is wrong.
    pub(crate) nanoseconds: f64,
}

impl Cost {
    /// With the first touch of the memory, if that is new.
    fn with_touch<T>(self, is_new: bool) -> Cost {
        let touch = if is_new { memory::TOUCH } else { 0.0 };
        Cost {
            nanoseconds: self.nanoseconds + touch * size_of::<T>() as f64,
            ..self
        }
    }
}

/// So many words of the stream, and what is drawn from them.
pub(crate) struct Part<'a> {
    words: u64,
    nanoseconds: f64,
    draw: Option<Draw<'a>>,
}

/// Moves the generator by the words of its part.
type Draw<'a> = Box<dyn FnOnce(&mut Mt19937) + Send + 'a>;

impl<'a> Part<'a> {
    /// A draw that takes so many words and about so many nanoseconds.
    pub(super) fn new(
        words: u64,
        nanoseconds: f64,
        draw: impl FnOnce(&mut Mt19937) + Send + 'a,
    ) -> Part<'a> {
        Part {
            words,
            nanoseconds,
            draw: Some(Box::new(draw)),
        }
    }

    /// The words that it takes.
    #[cfg(all(feature = "tch", feature = "files"))]
    pub(crate) fn words(&self) -> u64 {
        self.words
    }

    /// Words that are passed.
    #[cfg(all(feature = "tch", feature = "files"))]
    pub(crate) fn passed(words: u64) -> Part<'a> {
        Part {
            words,
            nanoseconds: 0.0,
            draw: None,
        }
    }
}

/// The parts of a draw in which each value has its own words. `fill` fills values from a generator
/// that stands where they begin; all slices but for the last are multiples of [`ALIGN`] long.
pub(super) fn of<'a, T: Send>(
    cost: Cost,
    values: &'a mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Copy + Send + 'a,
) -> impl Iterator<Item = Part<'a>> {
    let is_new = memory::is_new(values);
    let cost = cost.with_touch::<T>(is_new);
    let pieces = values.chunks_mut(PIECE / size_of::<T>());
    pieces.map(move |piece| {
        let words = cost.words * piece.len() as u64;
        let nanoseconds = cost.nanoseconds * piece.len() as f64;
        Part::new(words, nanoseconds, move |generator| {
            if is_new {
                memory::touch(piece);
            }
            fill(generator, piece);
        })
    })
}

/// Draws `values`, in parts if that gains; `fill` is as for [`of`].
pub(super) fn fill<T: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &mut Mt19937,
    values: &mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Copy + Send,
) {
    if size_of_val(values) <= PIECE {
        fill(generator, values);
    } else {
        run(engine, generator, of(cost, values, fill).collect());
    }
}

/// Draws the parts, which lie one behind the other in the stream, on as many threads as the engine
/// may use and as gain by it.
pub(crate) fn run(engine: &Engine, generator: &mut Mt19937, parts: Vec<Part<'_>>) {
    let simd = engine.backend.simd();
    let threads = engine.threads();
    let begin: &Mt19937 = generator;
    let draw = |share: Share<'_>| {
        let mut generator = begin.clone();
        let mut passed = share.before;
        for part in share.parts {
            match part.draw {
                Some(draw) => {
                    generator.skip_with(simd, std::mem::take(&mut passed));
                    draw(&mut generator);
                }
                None => passed += part.words,
            }
        }
        generator.skip_with(simd, passed);
        generator
    };
    let ends = do_all(threads, shares(threads, parts), draw);
    // The share that ends the draw leaves the generator where it ends.
    if let Some(end) = ends.into_iter().next_back() {
        *generator = end;
    }
}

/// Parts that are drawn one after the other.
struct Share<'a> {
    /// The words in front of them.
    before: u64,
    parts: Vec<Part<'a>>,
}

fn shares(threads: usize, parts: Vec<Part<'_>>) -> Vec<Share<'_>> {
    let words = parts.iter().map(|part| part.words).sum();
    let nanoseconds = parts.iter().map(|part| part.nanoseconds).sum();
    let division = Division::new(threads, SHARES_A_THREAD, words, nanoseconds);
    let (mut shares, mut now) = (Vec::with_capacity(division.count), Vec::new());
    let (mut before, mut words, mut drawn) = (0, 0, 0.0);
    let mut share = 0;
    for part in parts {
        let middle = drawn + part.nanoseconds / 2.0;
        if middle > division.end(share) {
            if !now.is_empty() {
                let parts = std::mem::take(&mut now);
                shares.push(Share { before, parts });
                before = words;
            }
            // A long part takes the place of several shares.
            while middle > division.end(share) {
                share += 1;
            }
        }
        words += part.words;
        drawn += part.nanoseconds;
        now.push(part);
    }
    shares.push(Share { before, parts: now });
    shares
}

/// How a draw divides into shares.
struct Division {
    /// How many there are.
    count: usize,
    /// What each but the first costs before it is drawn, in nanoseconds.
    start: f64,
    /// What each but the first draws, in nanoseconds, so that all take as long.
    later: f64,
}

impl Division {
    fn new(threads: usize, shares_a_thread: usize, words: u64, nanoseconds: f64) -> Division {
        // On average, half of the words are in front of a later share.
        let start = THREAD + (WORD * words as f64 / 2.0).min(JUMP);
        let worthwhile = (nanoseconds / (WORTHWHILE * start)) as usize;
        let long = (nanoseconds / (LONG * start)) as usize;
        let most = threads * (long / threads).clamp(1, shares_a_thread);
        let count = if threads == 1 {
            1
        } else {
            worthwhile.clamp(1, most)
        };
        let later = (nanoseconds - start) / count as f64;
        Division {
            count,
            start,
            later,
        }
    }

    /// Where a share ends, in nanoseconds of the draw; the last one's end has no limit.
    fn end(&self, share: usize) -> f64 {
        if share + 1 < self.count {
            self.later * (share + 1) as f64 + self.start
        } else {
            f64::INFINITY
        }
    }
}

/// The same for draws that do not end where their last share ends: `draw` takes a generator of its
/// own and is told whether the share is the last; what it returns comes in the order of the shares.
pub(super) fn each<T: Send, R: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &Mt19937,
    values: &mut [T],
    draw: impl Fn(Mt19937, &mut [T], bool) -> R + Sync,
) -> Vec<R> {
    let threads = engine.threads();
    let is_new = memory::is_new(values);
    let lengths = lengths(threads, cost.with_touch::<T>(is_new), values.len());
    let last = lengths.len() - 1;
    let (mut rest, mut before) = (values, 0);
    let shares = lengths.into_iter().enumerate().map(|(i, length)| {
        let (share, behind) = std::mem::take(&mut rest).split_at_mut(length);
        rest = behind;
        before += length;
        (before - length, share, i == last)
    });
    do_all(threads, shares.collect(), |(before, share, is_last)| {
        if is_new {
            memory::touch(share);
        }
        let mut generator = generator.clone();
        generator.skip_with(engine.backend.simd(), cost.words * before as u64);
        draw(generator, share, is_last)
    })
}

/// How many values each share has.
fn lengths(threads: usize, cost: Cost, numel: usize) -> Vec<usize> {
    let nanoseconds = numel as f64 * cost.nanoseconds;
    let words = cost.words * numel as u64;
    let Division { count, later, .. } = Division::new(threads, 1, words, nanoseconds);
    if count < 2 {
        return vec![numel];
    }
    let later = (later / cost.nanoseconds) as usize / ALIGN * ALIGN;
    let mut lengths = vec![later; count];
    lengths[0] = numel - later * (count - 1);
    // All but the last begin and end at multiples.
    let odd = lengths[0] % ALIGN;
    lengths[0] -= odd;
    lengths[count - 1] += odd;
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZero;

    #[test]
    fn lengths_add_up() {
        for numel in [0, 1, 63, 64, 65, 1000, 16_777_216, 16_777_217] {
            for threads in [1, 2, 3, 7, 64] {
                for nanoseconds in [0.3, 20.0, 1e6, 1e9] {
                    let words = 1;
                    let lengths = lengths(threads, Cost { words, nanoseconds }, numel);
                    assert_eq!(lengths.iter().sum::<usize>(), numel);
                    assert!(lengths.len() <= threads);
                    for length in &lengths[..lengths.len() - 1] {
                        assert_eq!(length % ALIGN, 0);
                    }
                }
            }
        }
        let lengths = |threads, nanoseconds, numel| {
            let words = 1;
            lengths(threads, Cost { words, nanoseconds }, numel)
        };
        assert_eq!(lengths(64, 0.3, 100_000), [100_000]);
        // The first has more to draw.
        assert_eq!(lengths(2, 1.0, 2_000_000), [1_077_504, 922_496]);
    }

    fn part(words: u64, nanoseconds: f64) -> Part<'static> {
        Part {
            words,
            nanoseconds,
            draw: None,
        }
    }

    #[test]
    fn shares_take_as_long() {
        let times_of = |threads, words, parts: &[f64]| -> Vec<f64> {
            let parts = parts.iter().map(|time| part(words, *time)).collect();
            let shares = shares(threads, parts);
            let before = shares.iter().map(|share| share.before);
            let parts = shares.iter().map(|share| share.parts.len() as u64);
            let expected = parts.scan(0, |before, parts| {
                *before += parts * words;
                Some(*before - parts * words)
            });
            assert!(before.eq(expected));
            let time = |share: &Share| share.parts.iter().map(|part| part.nanoseconds).sum();
            shares.iter().map(time).collect()
        };
        let times = |threads, parts: &[f64]| times_of(threads, 1, parts);
        assert_eq!(times(1, &[1e6; 100]), [1e8]);
        assert_eq!(times(2, &[]), [0.0]);
        assert_eq!(times(2, &[1e4; 7]), [7e4]);
        assert_eq!(times(2, &[1e5; 7]), [4e5, 3e5]);
        // The first has more to draw, the more so if the way to the others' places is long.
        assert_eq!(times(2, &[1e4; 100]), [5.2e5, 4.8e5]);
        assert_eq!(times_of(2, 1 << 40, &[1e4; 100]), [5.8e5, 4.2e5]);
        let many = times(2, &[1e5; 1000]);
        assert_eq!(many.len(), 8);
        // To within a part.
        assert!(many[1..].iter().all(|time| (time - 1.25e7).abs() < 2e5));
        // A part that is longer than a share.
        assert_eq!(times(3, &[1e5, 9e6, 1e5, 1e5]), [1e5, 9e6, 2e5]);
    }

    /// Draws so small that none would be divided, were they not said to take long.
    #[test]
    fn up_to_64_threads_make_one_draw() {
        let cost = Cost {
            words: 1,
            nanoseconds: 1e4,
        };
        let draw = |threads: usize, numel: usize| {
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut generator = Mt19937::new(numel as u64);
            generator.skip(100);
            let mut values = vec![0; numel];
            let by = |generator: &mut Mt19937, part: &mut [u32]| generator.fill_words(part);
            fill(&engine, cost, &mut generator, &mut values, by);
            (values, generator)
        };
        for numel in [1, 64, 65_536, 65_537, 300_000, 400_001] {
            let one = draw(1, numel);
            for threads in 2..=64 {
                assert_eq!(
                    draw(threads, numel),
                    one,
                    "{threads} threads, {numel} values"
                );
            }
        }
    }

    #[test]
    fn up_to_64_threads_draw_each_share_once() {
        let cost = Cost {
            words: 1,
            nanoseconds: 1e6,
        };
        for numel in [1, 64, 640, 12_345] {
            let mut expected = vec![0u32; numel];
            Mt19937::new(5).fill_words(&mut expected);
            for threads in 1..=64 {
                let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
                let mut values = vec![0; numel];
                let generator = Mt19937::new(5);
                let by = |mut generator: Mt19937, share: &mut [u32], is_last: bool| {
                    generator.fill_words(share);
                    (share.len(), is_last)
                };
                let shares = each(&engine, cost, &generator, &mut values, by);
                assert_eq!(values, expected);
                assert_eq!(
                    shares.iter().map(|(length, _)| length).sum::<usize>(),
                    numel
                );
                let last = shares.iter().position(|(_, is_last)| *is_last);
                assert_eq!(last, Some(shares.len() - 1));
            }
        }
    }

    #[test]
    fn parts_lie_one_behind_the_other() {
        let mut expected = [0u32; 1000];
        Mt19937::new(6).fill_words(&mut expected);
        for threads in 1..=64 {
            let (mut first, mut last) = ([0u32; 300], [0u32; 200]);
            let cost = Cost {
                words: 1,
                nanoseconds: 1e6,
            };
            let by = |generator: &mut Mt19937, part: &mut [u32]| generator.fill_words(part);
            let mut parts: Vec<Part<'_>> = of(cost, &mut first, by).collect();
            parts.extend([part(150, 0.0), part(250, 0.0)]);
            parts.extend(of(cost, &mut last, by));
            parts.push(part(100, 0.0));
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut generator = Mt19937::new(6);
            run(&engine, &mut generator, parts);
            assert_eq!(
                (&first[..], &last[..]),
                (&expected[..300], &expected[700..900])
            );
            let mut behind = Mt19937::new(6);
            behind.skip(1000);
            assert_eq!(generator, behind);
        }
    }
}
