//! Draws into several tensors from one stream, made together: threads take turns at whole tensors
//! and go to their places once for many of them.

use super::{cpu_fast_path, self_check};
use crate::distribution::{Chunk, DrawError, Element, Engine};
use crate::interval_set::IntervalSet;
use crate::rng::{Draw, Mt19937, Target};
use half::{bf16, f16};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Draws that wait to be made. Each is the engine's, has a place in the stream and memory of its own.
#[derive(Default)]
pub(crate) struct Batch {
    waiting: Vec<Waiting>,
    /// The addresses that they are drawn into.
    memory: IntervalSet,
}

struct Waiting {
    /// Words in front of the draw, from where the batch begins.
    before: u64,
    draw: Draw,
    /// Contiguous memory of the CPU, none of it another one's.
    tensor: Tensor,
    parts: PartsOf,
}

/// The parts of a draw into the elements of a tensor.
///
/// The tensor has elements of the type for which this was made, in contiguous memory of the CPU
/// that nobody else uses as long as there are parts.
type PartsOf = for<'a> unsafe fn(&Engine, Draw, &'a Tensor) -> Vec<Chunk<'a>>;

impl Batch {
    /// Adds a draw that begins `before` words after the start of the batch, or returns `false` if it
    /// has to be made otherwise or after the others.
    pub(crate) fn add(&mut self, before: u64, draw: Draw, tensor: &Tensor) -> bool {
        if tensor.device() != Device::Cpu || !tensor.is_contiguous() {
            return false;
        }
        let memory = addresses(tensor);
        if self.memory.touches(&memory) {
            return false;
        }
        let Some(parts) =
            cpu_fast_path::engine().and_then(|engine| parts_of(&engine, draw, tensor))
        else {
            return false;
        };
        self.memory.add(memory);
        self.waiting.push(Waiting {
            before,
            draw,
            tensor: tensor.shallow_clone(),
            parts,
        });
        true
    }

    /// Whether a draw into some of the memory at these addresses waits.
    pub(crate) fn touches(&self, addresses: &Range<u64>) -> bool {
        self.memory.touches(addresses)
    }

    /// Makes the draws from a generator that stands where the batch begins, and moves it by `words`.
    pub(crate) fn run(self, generator: &mut Mt19937, words: u64) {
        let engine = match cpu_fast_path::engine() {
            Some(engine) if !self.waiting.is_empty() => engine,
            _ => return generator.skip(words),
        };
        let mut parts = Vec::new();
        let mut passed = 0;
        for waiting in &self.waiting {
            parts.push(Chunk::skip(waiting.before - passed));
            passed = waiting.before;
            // SAFETY: `add` took the function for the tensor's dtype, and saw that its memory is
            // contiguous, of the CPU and no other's that waits. Whoever made the batch leaves the
            // tensors alone as long as they wait.
            let drawn = unsafe { (waiting.parts)(&engine, waiting.draw, &waiting.tensor) };
            passed += drawn.iter().map(Chunk::words).sum::<u64>();
            parts.extend(drawn);
        }
        parts.push(Chunk::skip(words - passed));
        engine.fill_chunks(generator, parts);
    }
}

/// Where the elements of a contiguous tensor lie.
fn addresses(tensor: &Tensor) -> Range<u64> {
    let start = tensor.data_ptr().addr() as u64;
    start..start + (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

/// What makes the parts, if the engine draws this, and the same as libtorch.
fn parts_of(engine: &Engine, draw: Draw, tensor: &Tensor) -> Option<PartsOf> {
    match tensor.kind() {
        Kind::Float => parts_of_type::<f32>(engine, draw, tensor),
        Kind::Double => parts_of_type::<f64>(engine, draw, tensor),
        Kind::BFloat16 => parts_of_type::<bf16>(engine, draw, tensor),
        Kind::Half => parts_of_type::<f16>(engine, draw, tensor),
        _ => None,
    }
}

fn parts_of_type<T: Element + Default>(
    engine: &Engine,
    draw: Draw,
    tensor: &Tensor,
) -> Option<PartsOf> {
    /// # Safety
    ///
    /// As [`PartsOf`] says.
    unsafe fn make<'a, T: Element + Default>(
        engine: &Engine,
        draw: Draw,
        tensor: &'a Tensor,
    ) -> Vec<Chunk<'a>> {
        // SAFETY: the caller's promise. What was never written is a value of every one of the types.
        let values = unsafe {
            std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel())
        };
        // What is refused was not let wait.
        parts(engine, draw, values).unwrap_or_default()
    }

    // Whether a draw is refused depends on its arguments, and on whether it has a whole block.
    let few = &mut [T::default(); 16][..tensor.numel().min(16)];
    let is_drawn = parts(engine, draw, few).is_ok()
        && tensor.data_ptr().cast::<T>().is_aligned()
        && self_check::passes::<T>(draw, tensor.numel(), engine.backend());
    is_drawn.then_some(make::<T>)
}

fn parts<'a, T: Element>(
    engine: &Engine,
    draw: Draw,
    values: &'a mut [T],
) -> Result<Vec<Chunk<'a>>, DrawError> {
    let shape = [values.len() as u64];
    draw.chunks(engine, Target::new(T::DTYPE, &shape), values)
}
