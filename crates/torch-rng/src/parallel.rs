//! Draws divided into chunks and computed on several threads. Each thread skips to its position in the
//! stream, so the bits do not depend on the number of threads.

use crate::engine::Engine;
use crate::jump::SkipCost;
use crate::mt19937::Mt19937;
use crate::prefault::Prefault;
use crate::worker_pool;

/// What another thread costs before it skips to its position, in nanoseconds: the wake-up.
const WAKE_COST: f64 = 40_000.0;
/// Minimum work per task, as a multiple of its start-up cost.
const MIN_TASK_WORK: f64 = 1.35;
/// Tasks per thread of a long draw: a thread that is held up by other work takes fewer of them.
const TASKS_PER_THREAD: usize = 4;
/// Minimum work per task, as a multiple of its start-up cost, where there are more tasks than threads.
const MIN_EXTRA_TASK_WORK: f64 = 17.0;
/// The size of a chunk: memory that is prefaulted and then filled while it is in the cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Tasks that are not made of chunks begin at multiples of this many values: whole blocks and whole cache
/// lines.
const ALIGN: usize = 64;

/// What one value of a draw costs.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)] // Only for tch-init's rejection sampling, which needs libtorch's logarithm.
pub struct Cost {
    /// The words that it consumes.
    pub words: u64,
    /// The time to compute it. An estimate that affects the division among threads, never the bits.
    pub nanoseconds: f64,
}

impl Cost {
    /// Adds the first touch of the memory, if that is fresh.
    fn with_faults<T>(self, memory: &Prefault) -> Cost {
        Cost {
            nanoseconds: self.nanoseconds + memory.cost_per_byte() * size_of::<T>() as f64,
            ..self
        }
    }
}

/// A piece of a draw: a number of consecutive words, and the elements that are filled from them.
///
/// [`Draw::chunks`](crate::Draw::chunks) divides a draw into chunks, and
/// [`Engine::fill_chunks`](crate::Engine::fill_chunks) fills those of any number of draws with all threads
/// at once.
pub struct Chunk<'a> {
    words: u64,
    nanoseconds: f64,
    fill: Option<ChunkFill<'a>>,
}

/// Advances the generator by the words of its chunk.
type ChunkFill<'a> = Box<dyn FnOnce(&mut Mt19937) + Send + 'a>;

impl<'a> Chunk<'a> {
    /// A chunk that consumes `words` words and takes about `nanoseconds` to fill.
    pub(crate) fn new(
        words: u64,
        nanoseconds: f64,
        fill: impl FnOnce(&mut Mt19937) + Send + 'a,
    ) -> Chunk<'a> {
        Chunk {
            words,
            nanoseconds,
            fill: Some(Box::new(fill)),
        }
    }

    /// A chunk that skips words and fills nothing.
    pub fn skip(words: u64) -> Chunk<'a> {
        Chunk {
            words,
            nanoseconds: 0.0,
            fill: None,
        }
    }

    /// The words that it consumes.
    pub fn words(&self) -> u64 {
        self.words
    }
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk")
            .field("words", &self.words)
            .field("fills", &self.fill.is_some())
            .finish()
    }
}

/// The chunks of a draw in which each value has separate words. `fill` fills values from a generator at
/// the position of their first word.
pub(crate) fn chunks<'a, T: Send>(
    cost: Cost,
    values: &'a mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Copy + Send + 'a,
) -> impl Iterator<Item = Chunk<'a>> {
    let memory = Prefault::new(values);
    let cost = cost.with_faults::<T>(&memory);
    let chunks = values.chunks_mut(CHUNK_BYTES / size_of::<T>());
    chunks.map(move |chunk| {
        let words = cost.words * chunk.len() as u64;
        let nanoseconds = cost.nanoseconds * chunk.len() as f64;
        let memory = memory.clone();
        Chunk::new(words, nanoseconds, move |generator| {
            memory.touch(chunk);
            fill(generator, chunk);
        })
    })
}

/// Fills `values`, on several threads if that is faster; `fill` is as for [`chunks`].
#[inline]
pub(crate) fn fill<T: Send>(
    engine: &Engine,
    cost: Cost,
    generator: &mut Mt19937,
    values: &mut [T],
    fill: impl Fn(&mut Mt19937, &mut [T]) + Copy + Send,
) {
    if size_of_val(values) <= CHUNK_BYTES {
        fill(generator, values);
    } else {
        engine.fill_chunks(generator, chunks(cost, values, fill).collect());
    }
}

impl Engine {
    /// Fills chunks whose words follow each other in the stream, and advances the generator by the words
    /// of all.
    ///
    /// ```
    /// use torch_rng::{Draw, Dtype, Engine, Mt19937, Normal, Target, Uniform};
    ///
    /// let engine = Engine::default();
    /// let (weight, bias) = (Target::new(Dtype::Float32, &[20, 10]), Target::new(Dtype::Float32, &[20]));
    /// let normal = Draw::from(Normal { mean: 0.0, std: 0.02 });
    /// let uniform = Draw::from(Uniform { from: -0.1, to: 0.1 });
    ///
    /// let (mut w, mut b) = (vec![0f32; 200], vec![0f32; 20]);
    /// let mut chunks = normal.chunks(&engine, weight, &mut w)?;
    /// chunks.extend(uniform.chunks(&engine, bias, &mut b)?);
    /// let mut generator = Mt19937::new(1);
    /// engine.fill_chunks(&mut generator, chunks);
    ///
    /// let (mut expected_w, mut expected_b) = (vec![0f32; 200], vec![0f32; 20]);
    /// let mut expected = Mt19937::new(1);
    /// normal.fill(&engine, &mut expected, weight, &mut expected_w)?;
    /// uniform.fill(&engine, &mut expected, bias, &mut expected_b)?;
    /// assert_eq!((w, b, generator), (expected_w, expected_b, expected));
    /// # Ok::<(), torch_rng::DrawError>(())
    /// ```
    pub fn fill_chunks(&self, generator: &mut Mt19937, chunks: Vec<Chunk<'_>>) {
        let simd = self.simd();
        let threads = self.threads();
        let start: &Mt19937 = generator;
        let run = |task: Task<'_>| {
            let mut generator = start.clone();
            let mut skipped = task.offset;
            for chunk in task.chunks {
                match chunk.fill {
                    Some(fill) => {
                        generator.skip_with(simd, std::mem::take(&mut skipped));
                        fill(&mut generator);
                    }
                    None => skipped += chunk.words,
                }
            }
            generator.skip_with(simd, skipped);
            generator
        };
        let tasks = tasks(threads, SkipCost::new(simd), chunks);
        let ends = worker_pool::map(threads, tasks, run);
        // The last task ends where the draws do.
        if let Some(end) = ends.into_iter().next_back() {
            *generator = end;
        }
    }

    /// Maps consecutive parts of a draw whose end is not known in advance, on several threads if that is
    /// faster. `map` gets a generator at the first word of its part, the part, and whether it is the last
    /// one; all parts but the last are multiples of 64 long. The results come in the order of the parts.
    #[doc(hidden)] // Only for tch-init's rejection sampling, which needs libtorch's logarithm.
    pub fn map_parts<T: Send, R: Send>(
        &self,
        cost: Cost,
        generator: &Mt19937,
        values: &mut [T],
        map: impl Fn(Mt19937, &mut [T], bool) -> R + Sync,
    ) -> Vec<R> {
        let threads = self.threads();
        let memory = Prefault::new(values);
        let skip_cost = SkipCost::new(self.simd());
        let cost_with_faults = cost.with_faults::<T>(&memory);
        let lengths = part_lengths(threads, skip_cost, cost_with_faults, values.len());
        let last = lengths.len() - 1;
        let (mut rest, mut offset) = (values, 0);
        let parts = lengths.into_iter().enumerate().map(|(i, length)| {
            let (part, following) = std::mem::take(&mut rest).split_at_mut(length);
            rest = following;
            offset += length;
            (offset - length, part, i == last)
        });
        worker_pool::map(threads, parts.collect(), |(offset, part, is_last)| {
            memory.touch(part);
            let mut generator = generator.clone();
            generator.skip_with(self.simd(), cost.words * offset as u64);
            map(generator, part, is_last)
        })
    }
}

/// Chunks that one thread fills in order.
struct Task<'a> {
    /// The words before the first chunk.
    offset: u64,
    chunks: Vec<Chunk<'a>>,
}

fn tasks(threads: usize, skip_cost: SkipCost, chunks: Vec<Chunk<'_>>) -> Vec<Task<'_>> {
    let startup = startup_cost(skip_cost, chunks.iter().map(|chunk| chunk.words).sum());
    let nanoseconds = chunks.iter().map(|chunk| chunk.nanoseconds).sum();
    let division = Division::new(threads, TASKS_PER_THREAD, startup, nanoseconds);
    let (mut tasks, mut current) = (Vec::with_capacity(division.count), Vec::new());
    let (mut offset, mut words, mut elapsed) = (0, 0, 0.0);
    let mut task = 0;
    for chunk in chunks {
        let middle = elapsed + chunk.nanoseconds / 2.0;
        if middle > division.end(task) {
            if !current.is_empty() {
                let chunks = std::mem::take(&mut current);
                tasks.push(Task { offset, chunks });
                offset = words;
            }
            // A long chunk replaces several tasks.
            while middle > division.end(task) {
                task += 1;
            }
        }
        words += chunk.words;
        elapsed += chunk.nanoseconds;
        current.push(chunk);
    }
    tasks.push(Task {
        offset,
        chunks: current,
    });
    tasks
}

/// What a task of a draw of `words` words costs before it starts to fill, in nanoseconds.
fn startup_cost(skip_cost: SkipCost, words: u64) -> f64 {
    // On average, half of the words precede a task.
    WAKE_COST + (skip_cost.word * words as f64 / 2.0).min(skip_cost.jump)
}

/// How a draw is divided into tasks.
struct Division {
    /// The number of tasks.
    count: usize,
    /// The start-up cost of each task but the first, in nanoseconds.
    startup: f64,
    /// The work of each task but the first, in nanoseconds. The first has the start-up cost in addition, so
    /// that all end at the same time.
    work: f64,
}

impl Division {
    fn new(threads: usize, tasks_per_thread: usize, startup: f64, nanoseconds: f64) -> Division {
        let worthwhile = (nanoseconds / (MIN_TASK_WORK * startup)) as usize;
        let long = (nanoseconds / (MIN_EXTRA_TASK_WORK * startup)) as usize;
        let most = threads * (long / threads).clamp(1, tasks_per_thread);
        let count = if threads == 1 {
            1
        } else {
            worthwhile.clamp(1, most)
        };
        let work = (nanoseconds - startup) / count as f64;
        Division {
            count,
            startup,
            work,
        }
    }

    /// Where a task ends, in nanoseconds of the draw; infinity for the last one.
    fn end(&self, task: usize) -> f64 {
        if task + 1 < self.count {
            self.work * (task + 1) as f64 + self.startup
        } else {
            f64::INFINITY
        }
    }
}

/// The number of values of each part.
fn part_lengths(threads: usize, skip_cost: SkipCost, cost: Cost, numel: usize) -> Vec<usize> {
    let nanoseconds = numel as f64 * cost.nanoseconds;
    let startup = startup_cost(skip_cost, cost.words * numel as u64);
    let Division { count, work, .. } = Division::new(threads, 1, startup, nanoseconds);
    if count < 2 {
        return vec![numel];
    }
    let later = (work / cost.nanoseconds) as usize / ALIGN * ALIGN;
    let mut lengths = vec![later; count];
    lengths[0] = numel - later * (count - 1);
    // Every boundary is a multiple.
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
    fn part_lengths_add_up() {
        for numel in [0, 1, 63, 64, 65, 1000, 16_777_216, 16_777_217] {
            for threads in [1, 2, 3, 7, 64] {
                for nanoseconds in [0.3, 20.0, 1e6, 1e9] {
                    let words = 1;
                    let lengths = part_lengths(
                        threads,
                        SkipCost::new(None),
                        Cost { words, nanoseconds },
                        numel,
                    );
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
            part_lengths(
                threads,
                SkipCost::new(None),
                Cost { words, nanoseconds },
                numel,
            )
        };
        assert_eq!(lengths(64, 0.3, 100_000), [100_000]);
        // The first part has more to draw.
        assert_eq!(lengths(2, 1.0, 2_000_000), [1_077_504, 922_496]);
    }

    fn chunk(words: u64, nanoseconds: f64) -> Chunk<'static> {
        Chunk {
            words,
            nanoseconds,
            fill: None,
        }
    }

    #[test]
    fn tasks_take_equally_long() {
        let times_of = |threads, words, chunks: &[f64]| -> Vec<f64> {
            let chunks = chunks.iter().map(|time| chunk(words, *time)).collect();
            let tasks = tasks(threads, SkipCost::new(None), chunks);
            let offsets = tasks.iter().map(|task| task.offset);
            let chunks = tasks.iter().map(|task| task.chunks.len() as u64);
            let expected = chunks.scan(0, |offset, chunks| {
                *offset += chunks * words;
                Some(*offset - chunks * words)
            });
            assert!(offsets.eq(expected));
            let time = |task: &Task| task.chunks.iter().map(|chunk| chunk.nanoseconds).sum();
            tasks.iter().map(time).collect()
        };
        let times = |threads, chunks: &[f64]| times_of(threads, 1, chunks);
        assert_eq!(times(1, &[1e6; 100]), [1e8]);
        assert_eq!(times(2, &[]), [0.0]);
        assert_eq!(times(2, &[1e4; 7]), [7e4]);
        assert_eq!(times(2, &[1e5; 7]), [4e5, 3e5]);
        // The first task has more to draw, and more yet if the others skip many words.
        assert_eq!(times(2, &[1e4; 100]), [5.2e5, 4.8e5]);
        assert_eq!(times_of(2, 1 << 40, &[1e4; 100]), [5.8e5, 4.2e5]);
        let many = times(2, &[1e5; 1000]);
        assert_eq!(many.len(), 8);
        // Up to the time of a chunk.
        assert!(many[1..].iter().all(|time| (time - 1.25e7).abs() < 2e5));
        // A chunk that is longer than a task.
        assert_eq!(times(3, &[1e5, 9e6, 1e5, 1e5]), [1e5, 9e6, 2e5]);
    }

    /// The draws are small, but are said to take long enough to be divided.
    #[test]
    fn up_to_64_threads_draw_the_same() {
        let cost = Cost {
            words: 1,
            nanoseconds: 1e4,
        };
        let draw = |threads: usize, numel: usize| {
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut generator = Mt19937::new(numel as u64);
            generator.skip(100);
            let mut values = vec![0; numel];
            let draw = |generator: &mut Mt19937, chunk: &mut [u32]| generator.fill_words(chunk);
            fill(&engine, cost, &mut generator, &mut values, draw);
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
    fn up_to_64_threads_map_each_part_once() {
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
                let draw = |mut generator: Mt19937, part: &mut [u32], is_last: bool| {
                    generator.fill_words(part);
                    (part.len(), is_last)
                };
                let parts = engine.map_parts(cost, &generator, &mut values, draw);
                assert_eq!(values, expected);
                assert_eq!(parts.iter().map(|(length, _)| length).sum::<usize>(), numel);
                let last = parts.iter().position(|(_, is_last)| *is_last);
                assert_eq!(last, Some(parts.len() - 1));
            }
        }
    }

    #[test]
    fn chunks_consume_consecutive_words() {
        let mut expected = [0u32; 1000];
        Mt19937::new(6).fill_words(&mut expected);
        for threads in 1..=64 {
            let (mut first, mut last) = ([0u32; 300], [0u32; 200]);
            let cost = Cost {
                words: 1,
                nanoseconds: 1e6,
            };
            let draw = |generator: &mut Mt19937, chunk: &mut [u32]| generator.fill_words(chunk);
            let mut all: Vec<Chunk<'_>> = chunks(cost, &mut first, draw).collect();
            all.extend([Chunk::skip(150), Chunk::skip(250)]);
            all.extend(chunks(cost, &mut last, draw));
            all.push(Chunk::skip(100));
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut generator = Mt19937::new(6);
            engine.fill_chunks(&mut generator, all);
            assert_eq!(
                (&first[..], &last[..]),
                (&expected[..300], &expected[700..900])
            );
            let mut end = Mt19937::new(6);
            end.skip(1000);
            assert_eq!(generator, end);
        }
    }
}
