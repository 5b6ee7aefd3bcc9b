//! How draws are computed.

use crate::backend::Backend;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::simd::Simd;
use std::num::NonZero;

/// A backend and a number of threads to compute draws with. Neither affects the bits.
///
/// ```
/// use torch_rng::{Backend, Engine, Mt19937, uniform_};
///
/// let (mut fast, mut plain) = ([0f32; 100], [0f32; 100]);
/// uniform_(&mut Mt19937::new(1), &mut fast, -1.0, 1.0)?;
/// let engine = Engine::new(Backend::Scalar)?;
/// engine.uniform_(&mut Mt19937::new(1), &mut plain, -1.0, 1.0)?;
/// assert_eq!(fast, plain);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    backend: Backend,
    simd: Option<Simd>,
    threads: Option<NonZero<usize>>,
}

impl Default for Engine {
    /// An engine with the [selected](Backend::selected) backend and one thread per CPU.
    fn default() -> Engine {
        let backend = Backend::selected();
        Engine {
            backend,
            simd: backend.simd(),
            threads: None,
        }
    }
}

impl Engine {
    /// An engine with this backend and one thread per CPU.
    ///
    /// # Errors
    ///
    /// [`DrawError::Backend`] if this CPU lacks its instructions.
    pub fn new(backend: Backend) -> Result<Engine, DrawError> {
        if !backend.is_available() {
            return Err(DrawError::Backend(backend));
        }
        Ok(Engine {
            backend,
            simd: backend.simd(),
            threads: None,
        })
    }

    /// Limits the number of threads. Small draws use one in any case.
    pub fn with_threads(self, threads: NonZero<usize>) -> Engine {
        Engine {
            threads: Some(threads),
            ..self
        }
    }

    /// The backend.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Skips words of the stream with this backend, as [`Mt19937::skip`] does with the selected one.
    pub fn skip(&self, generator: &mut Mt19937, words: u64) {
        generator.skip_with(self.simd, words);
    }

    pub(crate) fn simd(&self) -> Option<Simd> {
        self.simd
    }

    /// The number of threads, at least 1.
    pub(crate) fn threads(&self) -> usize {
        let threads = self.threads;
        let threads = threads.or_else(|| std::thread::available_parallelism().ok());
        threads.map_or(1, NonZero::get)
    }
}
