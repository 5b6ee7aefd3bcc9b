//! Truncated normal draws by accepting uniform values, where few normal ones would lie between
//! the bounds: the second method of `_no_grad_trunc_normal_` (`torch/nn/init.py`), PyTorch 2.13.
//!
//! Each round is two draws of the whole tensor: candidates, and values that accept them or not.
//! Here a round computes only what still waits, and passes the rest. The densities are libtorch's
//! computations, as their last bits decide.

use super::self_check::Checked;
use crate::distribution::{Cost, DrawError, Element, Engine};
use crate::rng::Mt19937;
use std::num::NonZero;
use tch::{Device, TchError, Tensor};
use torch_rng::{Draw, Target, Uniform};

/// A normal distribution between bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Density {
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) a: f64,
    pub(super) b: f64,
    /// The logarithm of the highest density between the bounds.
    pub(super) log_peak: f64,
}

/// Why a draw is left to libtorch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Draw(#[from] DrawError),
    #[error(transparent)]
    Libtorch(#[from] TchError),
}

impl Density {
    /// Which candidates stay out: log u > log density, relative to the peak's. Operation by
    /// operation as PyTorch does it; both tensors are overwritten.
    pub(super) fn rejects(
        &self,
        candidates: &mut Tensor,
        accept: &mut Tensor,
    ) -> Result<Tensor, TchError> {
        let log_density = candidates
            .f_sub_scalar_(self.mean)?
            .f_div_scalar_(self.std)?
            .f_pow_(2)?
            .f_mul_scalar_(-0.5)?
            .f_sub_scalar_(self.log_peak)?;
        accept.f_log_()?.f_gt_tensor(&log_density)
    }

    /// Fills from the generator, and moves that.
    pub(super) fn fill<T: Checked>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        values: &mut [T],
    ) -> Result<(), Refusal> {
        // Candidates are what `uniform_` draws, or refuses.
        engine.uniform_(generator, &mut [T::ZERO; 0], self.a, self.b)?;
        let words_a_draw = words(values);
        let cost = Cost {
            words: words(&[T::ZERO]),
            nanoseconds: 20.0,
        };
        let one_thread = engine.with_threads(NonZero::<usize>::MIN);
        let parts = engine.map_parts(cost, generator, values, |generator, values, _| {
            let elsewhere = words_a_draw - words(values);
            let mut part = Part::new(self, one_thread, generator, values)?;
            let mut draws = 0u64;
            loop {
                part.draw_candidates()?;
                part.stream.skip(elsewhere);
                part.accept()?;
                draws += 2;
                if part.waiting.iter().all(|bits| *bits == 0) {
                    return Ok(draws);
                }
                part.stream.skip(elsewhere);
            }
        });
        let parts: Result<Vec<u64>, Refusal> = parts.into_iter().collect();
        let draws = parts?.into_iter().max().unwrap_or(0);
        engine.skip(generator, draws * words_a_draw);
        Ok(())
    }
}

/// Elements that are drawn together if one of them waits.
const CHUNK: usize = 4096;
/// Elements whose densities are computed together: few enough for libtorch to stay on one thread.
const TOGETHER: usize = 4 * CHUNK;

struct Part<'a, T> {
    density: &'a Density,
    stream: Passing,
    values: &'a mut [T],
    /// A bit for every element, lowest first.
    waiting: Vec<u64>,
    drawn: Vec<T>,
    /// What is decided on next: the elements, their candidates and the values that accept them.
    elements: Vec<usize>,
    candidates: Memory<T>,
    accept: Memory<T>,
}

/// A generator that passes words when the next ones are drawn: far jumps cost as much as near ones.
struct Passing {
    engine: Engine,
    generator: Mt19937,
    passed: u64,
}

impl Passing {
    fn skip(&mut self, words: u64) {
        self.passed += words;
    }

    fn uniform_<T: Element>(
        &mut self,
        values: &mut [T],
        from: f64,
        to: f64,
    ) -> Result<(), DrawError> {
        let passed = std::mem::take(&mut self.passed);
        self.engine.skip(&mut self.generator, passed);
        self.engine.uniform_(&mut self.generator, values, from, to)
    }
}

impl<'a, T: Checked> Part<'a, T> {
    fn new(
        density: &'a Density,
        engine: Engine,
        generator: Mt19937,
        values: &'a mut [T],
    ) -> Result<Part<'a, T>, Refusal> {
        let mut waiting = vec![u64::MAX; values.len().div_ceil(64)];
        if let Some(last) = waiting.last_mut()
            && !values.len().is_multiple_of(64)
        {
            *last >>= 64 - values.len() % 64;
        }
        Ok(Part {
            density,
            stream: Passing {
                engine,
                generator,
                passed: 0,
            },
            values,
            waiting,
            drawn: vec![T::ZERO; CHUNK],
            elements: Vec::with_capacity(TOGETHER),
            candidates: Memory::new()?,
            accept: Memory::new()?,
        })
    }

    fn draw_candidates(&mut self) -> Result<(), Refusal> {
        let (a, b) = (self.density.a, self.density.b);
        let chunks = self.values.chunks_mut(CHUNK);
        for (values, waiting) in chunks.zip(self.waiting.chunks(CHUNK / 64)) {
            let waits = waiting.iter().map(|bits| bits.count_ones() as usize);
            match waits.sum::<usize>() {
                0 => self.stream.skip(words(values)),
                all if all == values.len() => self.stream.uniform_(values, a, b)?,
                _ => {
                    let drawn = &mut self.drawn[..values.len()];
                    self.stream.uniform_(drawn, a, b)?;
                    for_each_bit(waiting, |i| values[i] = drawn[i]);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Refusal> {
        for first in (0..self.values.len()).step_by(CHUNK) {
            let values = &self.values[first..self.values.len().min(first + CHUNK)];
            let bits = first / 64..(first + values.len()).div_ceil(64);
            let waiting = &self.waiting[bits];
            if waiting.iter().all(|bits| *bits == 0) {
                self.stream.skip(words(values));
                continue;
            }
            let drawn = &mut self.drawn[..values.len()];
            self.stream.uniform_(drawn, 0.0, 1.0)?;
            let (candidates, accept) = (self.candidates.elements(), self.accept.elements());
            for_each_bit(waiting, |i| {
                candidates[self.elements.len()] = values[i];
                accept[self.elements.len()] = drawn[i];
                self.elements.push(first + i);
            });
            if self.elements.len() > TOGETHER - CHUNK {
                self.decide()?;
            }
        }
        self.decide()
    }

    fn decide(&mut self) -> Result<(), Refusal> {
        let count = self.elements.len();
        if count == 0 {
            return Ok(());
        }
        let first = |memory: &Memory<T>| memory.tensor.f_narrow(0, 0, count as i64);
        let (mut candidates, mut accept) = (first(&self.candidates)?, first(&self.accept)?);
        let rejected = self.density.rejects(&mut candidates, &mut accept)?;
        let mut stays = vec![false; count];
        rejected.f_copy_data(&mut stays, count)?;
        for (element, stays) in self.elements.drain(..).zip(stays) {
            self.waiting[element / 64] &= !(u64::from(!stays) << (element % 64));
        }
        Ok(())
    }
}

/// What a draw of all of them takes.
fn words<T: Element>(values: &[T]) -> u64 {
    // Every such type is drawn.
    let shape = [values.len() as u64];
    let uniform = Draw::from(Uniform { from: 0.0, to: 1.0 });
    let consumed = uniform.consumed(Target::new(T::DTYPE, &shape), None);
    consumed.words.unwrap_or(0)
}

fn for_each_bit(words: &[u64], mut each: impl FnMut(usize)) {
    for (i, word) in words.iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            each(64 * i + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
}

/// A tensor, and its elements.
struct Memory<T> {
    tensor: Tensor,
    _elements: std::marker::PhantomData<T>,
}

impl<T: Checked> Memory<T> {
    fn new() -> Result<Memory<T>, TchError> {
        Ok(Memory {
            tensor: Tensor::f_zeros([TOGETHER as i64], (T::KIND, Device::Cpu))?,
            _elements: std::marker::PhantomData,
        })
    }

    fn elements(&mut self) -> &mut [T] {
        // SAFETY: the tensor has so many elements of this type in contiguous memory of the CPU,
        // all initialised, and no other handle while the slice is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), TOGETHER) }
    }
}
