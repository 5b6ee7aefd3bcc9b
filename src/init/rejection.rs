//! Truncated normal values by rejection, where few normal values would lie between the bounds: the
//! second method of `_no_grad_trunc_normal_` (`torch/nn/init.py`), PyTorch 2.13.
//!
//! Each round is two draws of the whole tensor: uniform candidates, and uniform values that accept or
//! reject them. A round computes only the elements that are still pending and skips the words of the
//! others. libtorch computes the densities, since the last bits of its logarithms affect the result.

use super::python_square;
use crate::distribution::{Cost, DrawError, Element, Engine};
use crate::error::InitError;
use crate::rng::{Draw, Dtype, Mt19937, Semantics, Target, TruncNormal, Uniform};
use std::num::NonZero;
use tch::{Device, Kind, TchError, Tensor};

/// A truncated normal distribution with the maximum of its density.
#[derive(Debug, Clone, Copy)]
pub(super) struct Density {
    draw: TruncNormal,
    /// The logarithm of the highest density between the bounds, relative to that of the mean.
    log_peak: f64,
}

/// The reason why a draw is left to libtorch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Draw(#[from] DrawError),
    #[error(transparent)]
    Libtorch(#[from] TchError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error("{0}")]
    Ffi(String),
}

/// Fills `values`, the elements of `target` in memory order, with a draw and moves the generator:
/// [`Draw::fill`], and rejection where that needs libtorch.
pub(super) fn fill<T: Element + Default>(
    draw: Draw,
    engine: &Engine,
    generator: &mut Mt19937,
    target: Target<'_>,
    values: &mut [T],
) -> Result<(), Refusal> {
    match draw {
        Draw::TruncNormal(truncated)
            if !truncated.uses_redraws() && target.semantics > Semantics::PyTorch2_11 =>
        {
            let density = Density::new(draw.name(), truncated, &[])?;
            density.fill(engine, generator, values)
        }
        _ => Ok(draw.fill(engine, generator, target, values)?),
    }
}

impl Density {
    /// The values that candidates are accepted by.
    pub(super) const UNIT: Uniform = Uniform { from: 0.0, to: 1.0 };

    /// The density of a draw into a tensor of this shape.
    ///
    /// # Errors
    ///
    /// [`InitError::Argument`] if it overflows, where Python raises `OverflowError`.
    pub(super) fn new(
        function: &'static str,
        draw: TruncNormal,
        shape: &[i64],
    ) -> Result<Density, InitError> {
        let TruncNormal { mean, std, a, b } = draw;
        let mode = python_max(a, python_min(mean, b));
        let deviations = (mode - mean) / std;
        let square = python_square(deviations).ok_or_else(|| InitError::Argument {
            function,
            argument: "(mode - mean) / std",
            value: deviations,
            reason: "its square overflows",
            shape: Some(shape.to_vec()),
        })?;
        Ok(Density {
            draw,
            log_peak: -0.5 * square,
        })
    }

    /// The draw of candidates.
    pub(super) fn candidate(&self) -> Uniform {
        Uniform {
            from: self.draw.a,
            to: self.draw.b,
        }
    }

    /// A mask of the candidates that are rejected: log u > log density, relative to the peak's.
    /// Operation by operation as PyTorch computes it; both tensors are overwritten.
    pub(super) fn rejects(
        &self,
        candidates: &mut Tensor,
        accept: &mut Tensor,
    ) -> Result<Tensor, TchError> {
        let log_density = candidates
            .f_sub_scalar_(self.draw.mean)?
            .f_div_scalar_(self.draw.std)?
            .f_pow_(2)?
            .f_mul_scalar_(-0.5)?
            .f_sub_scalar_(self.log_peak)?;
        accept.f_log_()?.f_gt_tensor(&log_density)
    }

    /// Fills `values` and moves the generator.
    pub(super) fn fill<T: Element + Default>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        values: &mut [T],
    ) -> Result<(), Refusal> {
        let Uniform { from, to } = self.candidate();
        // Fails for bounds that `uniform_` rejects.
        engine.uniform_::<T>(generator, &mut [], from, to)?;
        let words_per_draw = words(values);
        let cost = Cost {
            words: words(&[T::default()]),
            nanoseconds: 20.0,
        };
        let one_thread = engine.with_threads(NonZero::<usize>::MIN);
        let draws = engine.map_parts(cost, generator, values, |generator, values, _| {
            let other_words = words_per_draw - words(values);
            let mut chunk = PendingChunk::new(self, one_thread, generator, values)?;
            let mut draws = 0u64;
            loop {
                chunk.draw_candidates()?;
                chunk.stream.skip(other_words);
                chunk.accept()?;
                draws += 2;
                if chunk.pending.iter().all(|bits| *bits == 0) {
                    return Ok(draws);
                }
                chunk.stream.skip(other_words);
            }
        });
        let draws: Result<Vec<u64>, Refusal> = draws.into_iter().collect();
        // The stream ends where the chunk with the most draws ends.
        let draws = draws?.into_iter().max().unwrap_or(0);
        engine.skip(generator, draws * words_per_draw);
        Ok(())
    }
}

// Python's `min` and `max` return their first argument unless the second is strictly beyond it, which
// matters for NaN.
fn python_min(x: f64, y: f64) -> f64 {
    if y < x { y } else { x }
}

fn python_max(x: f64, y: f64) -> f64 {
    if y > x { y } else { x }
}

/// Elements that are drawn together if one of them is pending.
const BLOCK: usize = 4096;
/// Elements whose densities are computed together: few enough for libtorch to use one thread.
const BATCH: usize = 4 * BLOCK;

/// The elements that one thread fills.
struct PendingChunk<'a, T> {
    density: &'a Density,
    stream: LazySkip,
    values: &'a mut [T],
    /// A bit for each element that has no accepted candidate, lowest first.
    pending: Vec<u64>,
    drawn: Vec<T>,
    /// The batch that is decided next: the elements, their candidates and the values that accept them.
    elements: Vec<usize>,
    candidates: TensorBuffer<T>,
    accept: TensorBuffer<T>,
}

/// A generator that skips words when the next ones are drawn, so that adjacent skips are one jump.
struct LazySkip {
    engine: Engine,
    generator: Mt19937,
    skipped: u64,
}

impl LazySkip {
    fn skip(&mut self, words: u64) {
        self.skipped += words;
    }

    fn uniform_<T: Element>(
        &mut self,
        values: &mut [T],
        from: f64,
        to: f64,
    ) -> Result<(), DrawError> {
        let skipped = std::mem::take(&mut self.skipped);
        self.engine.skip(&mut self.generator, skipped);
        self.engine.uniform_(&mut self.generator, values, from, to)
    }
}

impl<'a, T: Element + Default> PendingChunk<'a, T> {
    fn new(
        density: &'a Density,
        engine: Engine,
        generator: Mt19937,
        values: &'a mut [T],
    ) -> Result<PendingChunk<'a, T>, Refusal> {
        let mut pending = vec![u64::MAX; values.len().div_ceil(64)];
        if let Some(last) = pending.last_mut()
            && !values.len().is_multiple_of(64)
        {
            *last >>= 64 - values.len() % 64;
        }
        Ok(PendingChunk {
            density,
            stream: LazySkip {
                engine,
                generator,
                skipped: 0,
            },
            values,
            pending,
            drawn: vec![T::default(); BLOCK],
            elements: Vec::with_capacity(BATCH),
            candidates: TensorBuffer::new()?,
            accept: TensorBuffer::new()?,
        })
    }

    fn draw_candidates(&mut self) -> Result<(), Refusal> {
        let Uniform { from: a, to: b } = self.density.candidate();
        let chunks = self.values.chunks_mut(BLOCK);
        for (values, pending) in chunks.zip(self.pending.chunks(BLOCK / 64)) {
            let counts = pending.iter().map(|bits| bits.count_ones() as usize);
            match counts.sum::<usize>() {
                0 => self.stream.skip(words(values)),
                all if all == values.len() => self.stream.uniform_(values, a, b)?,
                _ => {
                    let drawn = &mut self.drawn[..values.len()];
                    self.stream.uniform_(drawn, a, b)?;
                    for_each_bit(pending, |i| values[i] = drawn[i]);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Refusal> {
        for first in (0..self.values.len()).step_by(BLOCK) {
            let values = &self.values[first..self.values.len().min(first + BLOCK)];
            let bits = first / 64..(first + values.len()).div_ceil(64);
            let pending = &self.pending[bits];
            if pending.iter().all(|bits| *bits == 0) {
                self.stream.skip(words(values));
                continue;
            }
            let drawn = &mut self.drawn[..values.len()];
            self.stream.uniform_(drawn, 0.0, 1.0)?;
            let (candidates, accept) = (self.candidates.elements(), self.accept.elements());
            for_each_bit(pending, |i| {
                candidates[self.elements.len()] = values[i];
                accept[self.elements.len()] = drawn[i];
                self.elements.push(first + i);
            });
            if self.elements.len() > BATCH - BLOCK {
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
        let first = |memory: &TensorBuffer<T>| memory.tensor.f_narrow(0, 0, count as i64);
        let (mut candidates, mut accept) = (first(&self.candidates)?, first(&self.accept)?);
        let rejected = self.density.rejects(&mut candidates, &mut accept)?;
        let mut is_rejected = vec![false; count];
        rejected.f_copy_data(&mut is_rejected, count)?;
        for (element, is_rejected) in self.elements.drain(..).zip(is_rejected) {
            self.pending[element / 64] &= !(u64::from(!is_rejected) << (element % 64));
        }
        Ok(())
    }
}

/// The words that uniform values of all elements consume.
fn words<T: Element>(values: &[T]) -> u64 {
    let shape = [values.len() as u64];
    let consumed = Draw::from(Density::UNIT).consumed(Target::new(T::DTYPE, &shape), None);
    // Every element has uniform values, and no slice has as many that the count overflows.
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

/// A tensor whose elements are also a slice.
struct TensorBuffer<T> {
    tensor: Tensor,
    _elements: std::marker::PhantomData<T>,
}

impl<T: Element> TensorBuffer<T> {
    fn new() -> Result<TensorBuffer<T>, TchError> {
        Ok(TensorBuffer {
            tensor: Tensor::f_zeros([BATCH as i64], (kind_of::<T>()?, Device::Cpu))?,
            _elements: std::marker::PhantomData,
        })
    }

    fn elements(&mut self) -> &mut [T] {
        // SAFETY: the tensor has `BATCH` initialized elements of this type in contiguous memory of the
        // CPU, and no other handle while the slice is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), BATCH) }
    }
}

/// The dtype of an element as tch names it.
pub(super) fn kind_of<T: Element>() -> Result<Kind, TchError> {
    match T::DTYPE {
        Dtype::Float32 => Ok(Kind::Float),
        Dtype::Float64 => Ok(Kind::Double),
        Dtype::Bfloat16 => Ok(Kind::BFloat16),
        Dtype::Float16 => Ok(Kind::Half),
        other => Err(TchError::Kind(format!("no tensor of {other} is drawn"))),
    }
}
