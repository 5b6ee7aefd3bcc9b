//! Draws in parts, on several threads: each goes to its place in the stream and draws on from there,
//! so that the bits do not depend on their number.

use crate::Engine;
use crate::prefault::Memory;
use crate::worker_pool::do_all;
use crate::{Mt19937, Passing};

/// What a share costs before a thread goes to its place, in nanoseconds: letting the thread know.
const THREAD: f64 = 40_000.0;
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
pub struct Cost {
    /// Words of a value.
    pub words: u64,
    /// What a value takes, in nanoseconds; only the times matter, not the bits, if it is wrong.
    pub nanoseconds: f64,
}

impl Cost {
    /// With the first touch of the memory, if that is new.
    fn with_touch<T>(self, memory: &Memory) -> Cost {
        Cost {
            nanoseconds: self.nanoseconds + memory.touch_cost() * size_of::<T>() as f64,
            ..self
        }
    }
}

/// So many words of the stream, and what is drawn from them.
pub struct Part<'a> {
    words: u64,
    nanoseconds: f64,
    draw: Option<Draw<'a>>,
}

/// Moves the generator by the words of its part.
type Draw<'a> = Box<dyn FnOnce(&mut Mt19937) + Send + 'a>;

impl<'a> Part<'a> {
    /// A draw that takes so many words and about so many nanoseconds.
    pub(crate) fn new(
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
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Words that are passed.
    pub fn passed(words: u64) -> Part<'a> {
        Part {
            words,
            nanoseconds: 0.0,
            draw: None,
        }
    }
}

/// The parts of a draw in which each value has its own words. `fill` fills values from a generator
/// that stands where they begin; all slices but for the last are multiples of [`ALIGN`] long.
pub(crate) fn of<'a, T: Send>(
    cost: Cost,
    values: &'a mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Copy + Send + 'a,
) -> impl Iterator<Item = Part<'a>> {
    let memory = Memory::of(values);
    let cost = cost.with_touch::<T>(&memory);
    let pieces = values.chunks_mut(PIECE / size_of::<T>());
    pieces.map(move |piece| {
        let words = cost.words * piece.len() as u64;
        let nanoseconds = cost.nanoseconds * piece.len() as f64;
        let memory = memory.clone();
        Part::new(words, nanoseconds, move |generator| {
            memory.touch(piece);
            fill(generator, piece);
        })
    })
}

/// Draws `values`, in parts if that gains; `fill` is as for [`of`].
pub(crate) fn fill<T: Send>(
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
    let shares = shares(threads, Passing::with(simd), parts);
    let ends = do_all(threads, shares, draw);
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

fn shares(threads: usize, passing: Passing, parts: Vec<Part<'_>>) -> Vec<Share<'_>> {
    let start = start(passing, parts.iter().map(|part| part.words).sum());
    let nanoseconds = parts.iter().map(|part| part.nanoseconds).sum();
    let division = Division::new(threads, SHARES_A_THREAD, start, nanoseconds);
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

/// What a share of a draw of so many words costs before it is drawn, in nanoseconds.
fn start(passing: Passing, words: u64) -> f64 {
    // On average, half of the words are in front of a later share.
    THREAD + (passing.word * words as f64 / 2.0).min(passing.jump)
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
    /// Of a draw that takes so long; `start` is what each share but the first costs before it.
    fn new(threads: usize, shares_a_thread: usize, start: f64, nanoseconds: f64) -> Division {
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
pub(crate) fn each<T: Send, R: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &Mt19937,
    values: &mut [T],
    draw: impl Fn(Mt19937, &mut [T], bool) -> R + Sync,
) -> Vec<R> {
    let threads = engine.threads();
    let memory = Memory::of(values);
    let passing = Passing::with(engine.backend.simd());
    let lengths = lengths(
        threads,
        passing,
        cost.with_touch::<T>(&memory),
        values.len(),
    );
    let last = lengths.len() - 1;
    let (mut rest, mut before) = (values, 0);
    let shares = lengths.into_iter().enumerate().map(|(i, length)| {
        let (share, behind) = std::mem::take(&mut rest).split_at_mut(length);
        rest = behind;
        before += length;
        (before - length, share, i == last)
    });
    do_all(threads, shares.collect(), |(before, share, is_last)| {
        memory.touch(share);
        let mut generator = generator.clone();
        generator.skip_with(engine.backend.simd(), cost.words * before as u64);
        draw(generator, share, is_last)
    })
}

/// How many values each share has.
fn lengths(threads: usize, passing: Passing, cost: Cost, numel: usize) -> Vec<usize> {
    let nanoseconds = numel as f64 * cost.nanoseconds;
    let start = start(passing, cost.words * numel as u64);
    let Division { count, later, .. } = Division::new(threads, 1, start, nanoseconds);
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
mod tests;
