//! How draws are made.

use crate::distribution::{self, DrawError, normal, truncated, uniform};
use crate::element::Element;
use crate::parallel;
use crate::parallel::Part;
use crate::{Backend, Mt19937};
use std::num::NonZero;

/// Makes draws with a backend and a number of threads of one's choice. The choice changes no bit.
///
/// ```
/// use torch_rng::distribution::{Engine, uniform_};
/// use torch_rng::{Backend, Mt19937};
///
/// let (mut fast, mut plain) = ([0f32; 100], [0f32; 100]);
/// uniform_(&mut Mt19937::new(1), &mut fast, -1.0, 1.0)?;
/// let engine = Engine::new(Backend::Scalar)?;
/// engine.uniform_(&mut Mt19937::new(1), &mut plain, -1.0, 1.0)?;
/// assert_eq!(fast, plain);
/// # Ok::<(), torch_rng::distribution::DrawError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    pub(crate) backend: Backend,
    pub(crate) threads: Option<NonZero<usize>>,
}

impl Default for Engine {
    /// With the backend that is [selected](Backend::selected), and as many threads as the CPU runs at once.
    fn default() -> Engine {
        Engine {
            backend: Backend::selected(),
            threads: None,
        }
    }
}

impl Engine {
    /// An engine with this backend.
    ///
    /// # Errors
    ///
    /// [`DrawError::Backend`] if this CPU has not what it needs.
    pub fn new(backend: Backend) -> Result<Engine, DrawError> {
        if !backend.is_available() {
            return Err(DrawError::Backend(backend));
        }
        Ok(Engine {
            backend,
            threads: None,
        })
    }

    /// What draws are computed with.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The same engine with so many threads at most. Draws too small to gain by it stay on one.
    pub fn with_threads(self, threads: NonZero<usize>) -> Engine {
        Engine {
            threads: Some(threads),
            ..self
        }
    }

    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads;
        let threads = threads.or_else(|| std::thread::available_parallelism().ok());
        threads.map_or(1, NonZero::get)
    }

    /// [`uniform_`](crate::distribution::uniform_).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn uniform_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        from: f64,
        to: f64,
    ) -> Result<(), DrawError> {
        let interval = uniform::Interval::new(from, to)?;
        uniform::fill(self, generator, values, interval);
        Ok(())
    }

    /// [`normal_`](crate::distribution::normal_).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn normal_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
    ) -> Result<(), DrawError> {
        if values.len() < normal::BLOCK {
            distribution::normal_serial_(generator, values, mean, std)
        } else {
            self.normal_block_(generator, values, mean, std)
        }
    }

    /// [`normal_block_`](crate::distribution::normal_block_).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn normal_block_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
    ) -> Result<(), DrawError> {
        normal::check_block(values, std)?;
        normal::fill(self, generator, values, mean, std);
        Ok(())
    }

    /// [`trunc_normal_`](crate::distribution::trunc_normal_).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn trunc_normal_<T: Element>(
        &self,
        generator: &mut Mt19937,
        values: &mut [T],
        mean: f64,
        std: f64,
        a: f64,
        b: f64,
    ) -> Result<(), DrawError> {
        truncated::check(mean, std, a, b)?;
        let truncation = truncated::Truncation::new(mean, std, a, b);
        match values.len() {
            0 => Ok(()),
            1..normal::BLOCK => truncated::fill_serial(generator, values, (mean, std), &truncation),
            _ => {
                truncated::fill(self, generator, values, &truncation);
                Ok(())
            }
        }
    }
}

/// For draws that are made elsewhere.
impl Engine {
    /// Skips words of the stream, with this backend.
    pub fn skip(&self, generator: &mut Mt19937, words: u64) {
        generator.skip_with(self.backend.simd(), words);
    }

    /// [`parallel::each`].
    pub fn each_part<T: Send, R: Send>(
        &self,
        cost: parallel::Cost,
        generator: &Mt19937,
        values: &mut [T],
        draw: impl Fn(Mt19937, &mut [T], bool) -> R + Sync,
    ) -> Vec<R> {
        parallel::each(self, cost, generator, values, draw)
    }

    /// Draws a permutation of `n` and makes its first `count` elements; the memory of `permutation`
    /// is used again.
    pub fn begin_randperm(
        &self,
        generator: &mut Mt19937,
        n: usize,
        count: usize,
        permutation: &mut Vec<i64>,
    ) {
        distribution::begin_randperm(generator, self.backend.simd(), n, count, permutation);
    }
}

/// For draws that are made together.
impl Engine {
    /// The parts of [`uniform_`](Self::uniform_), to be drawn by [`draw`](Self::draw).
    pub fn uniform_parts<'a, T: Element>(
        &self,
        values: &'a mut [T],
        from: f64,
        to: f64,
    ) -> Result<impl Iterator<Item = Part<'a>>, DrawError> {
        let interval = uniform::Interval::new(from, to)?;
        Ok(uniform::parts(self, values, interval))
    }

    /// The parts of [`normal_block_`](Self::normal_block_).
    pub fn normal_parts<'a, T: Element>(
        &self,
        values: &'a mut [T],
        mean: f64,
        std: f64,
    ) -> Result<impl Iterator<Item = Part<'a>>, DrawError> {
        normal::check_block(values, std)?;
        Ok(normal::parts(self, values, mean, std))
    }

    /// Draws parts that lie one behind the other in the stream.
    pub fn draw(&self, generator: &mut Mt19937, parts: Vec<Part<'_>>) {
        parallel::run(self, generator, parts);
    }
}
