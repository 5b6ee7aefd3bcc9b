//! One draw on several threads: each goes to its place in the stream and draws on from there, so
//! that the bits do not depend on their number.

use super::Engine;
use crate::rng::Mt19937;
use std::num::NonZero;

/// What a thread costs before it draws: going to its place, in nanoseconds.
const START: f64 = 200_000.0;
/// What a thread must have to draw, in starts, to be worth one.
const WORTHWHILE: f64 = 2.0;
/// Parts begin at multiples of this many values: whole blocks, and whole cache lines.
const ALIGN: usize = 64;

/// How a draw divides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Words of a value.
    pub(crate) words: u64,
    /// What a value takes, in nanoseconds; only the times matter, not the bits, if it is wrong.
    pub(crate) nanoseconds: f64,
}

/// Draws `values` on as many threads as the engine may use and as gain by it. `fill` fills a part
/// from a generator that stands where the part begins; the parts but for the last are multiples of
/// [`ALIGN`] long.
pub(super) fn fill<T: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &mut Mt19937,
    values: &mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Sync,
) {
    let ends = each(engine, cost, generator, values, |mut generator, part, _| {
        fill(&mut generator, part);
        generator
    });
    // The part that ends the draw leaves the generator where it ends.
    if let Some(end) = ends.into_iter().next_back() {
        *generator = end;
    }
}

/// The same for draws that do not end where their last part ends: `draw` takes a generator of its
/// own and is told whether the part is the last; what it returns comes in the order of the parts.
pub(super) fn each<T: Send, R: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &Mt19937,
    values: &mut [T],
    draw: impl Fn(Mt19937, &mut [T], bool) -> R + Sync,
) -> Vec<R> {
    let lengths = lengths(engine.threads, cost.nanoseconds, values.len());
    let [earlier @ .., _] = &lengths[..] else {
        return Vec::new();
    };
    let simd = engine.backend.simd();
    let begin = |passed: usize| {
        let mut generator = generator.clone();
        generator.skip_with(simd, cost.words * passed as u64);
        generator
    };
    let (begin, draw) = (&begin, &draw);
    // Threads of our own: one of a pool would take up other work while it waits, and that may wait
    // for the generator that is in use here.
    std::thread::scope(|scope| {
        let mut rest = values;
        let mut passed = 0;
        let mut threads = Vec::with_capacity(earlier.len());
        for length in earlier {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(*length);
            rest = behind;
            let before = passed;
            passed += length;
            threads.push(scope.spawn(move || draw(begin(before), part, false)));
        }
        let last = draw(begin(passed), rest, true);
        let mut results: Vec<R> = Vec::with_capacity(lengths.len());
        for thread in threads {
            match thread.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results.push(last);
        results
    })
}

/// How many values each thread draws: the first has no way to go, and so more to draw.
fn lengths(threads: Option<NonZero<usize>>, nanoseconds: f64, numel: usize) -> Vec<usize> {
    let total = numel as f64 * nanoseconds;
    let useful = (total / (WORTHWHILE * START)) as usize;
    if useful < 2 {
        return vec![numel];
    }
    let threads = threads.or_else(|| std::thread::available_parallelism().ok());
    let threads = threads.map_or(1, NonZero::get);
    let threads = threads.min(useful);
    let later = ((total - START) / threads as f64 / nanoseconds) as usize / ALIGN * ALIGN;
    let mut lengths = vec![later; threads];
    lengths[0] = numel - later * (threads - 1);
    // All but the last begin and end at multiples.
    let odd = lengths[0] % ALIGN;
    lengths[0] -= odd;
    lengths[threads - 1] += odd;
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        for numel in [0, 1, 63, 64, 65, 1000, 16_777_216, 16_777_217] {
            for threads in [1, 2, 3, 7, 64] {
                for nanoseconds in [0.3, 20.0, 1e6, 1e9] {
                    let lengths = lengths(NonZero::new(threads), nanoseconds, numel);
                    assert_eq!(lengths.iter().sum::<usize>(), numel);
                    assert!(lengths.len() <= threads);
                    for length in &lengths[..lengths.len() - 1] {
                        assert_eq!(length % ALIGN, 0);
                    }
                }
            }
        }
        assert_eq!(lengths(NonZero::new(64), 0.3, 100_000), [100_000]);
    }

    /// Draws so small that none would be divided, were they not said to take long.
    #[test]
    fn up_to_64_parts_are_one_draw() {
        let cost = Cost {
            words: 1,
            nanoseconds: 1e6,
        };
        let draw = |threads: usize, numel: usize| {
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut generator = Mt19937::new(numel as u64);
            generator.skip(100);
            let mut values = vec![0; numel];
            fill(
                &engine,
                cost,
                &mut generator,
                &mut values,
                |generator, part| {
                    generator.fill_words(part);
                },
            );
            (values, generator)
        };
        for numel in [1, 64, 640, 5000, 12_345] {
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
    fn the_first_has_more_to_draw() {
        let lengths = lengths(NonZero::new(2), 1.0, 2_000_000);
        assert_eq!(lengths, [1_100_032, 899_968]);
    }
}
