//! Any elements of a parameter or buffer, in bounded memory.
//!
//! What is wanted are bytes of a storage after some step. The steps before it are gone through backwards: each
//! that wrote some of these bytes makes them, from its position in the stream or from what it reads, until none
//! is missing. A step whose elements depend on all others (`orthogonal_`, sums, draws one at a time) is made as a
//! whole.

use crate::cpu::compute_without_libtorch;
use crate::elements::{Plain, for_each_offset, for_float, for_size, typed_mut};
use crate::error::{NeedsLibtorch, PlanError};
use crate::materialize::unallocated;
use crate::places::{Made, Places};
use crate::plan::Name;
use crate::step::{Op, Step, Unary};
use crate::storage::Storage;
use crate::stream::{Storages, Stream};
use crate::view::View;
use std::ops::Range;
use tensor_parity::Dtype;
use torch_rng::{Draw, DrawError, Element, Engine, Mt19937, Target};

/// Steps that read each other before one of them is made as a whole.
const MAX_DEPTH: u32 = 32;
/// Reads of one range before steps are made as a whole.
const MAX_READS: u32 = 4096;
/// Bytes of an operand that is read whole, and of a view that is gathered from.
const GATHERED: u64 = 16 << 20;

/// Elements of which copies in both dtypes are held to cast them: enough for several threads to draw.
const CAST: u64 = 1 << 20;

/// How far the reads of one range have gone.
#[derive(Default)]
struct Reads {
    depth: u32,
    count: u32,
}

impl Reads {
    fn may_go_on(&self) -> bool {
        self.depth < MAX_DEPTH && self.count < MAX_READS
    }
}

impl<S: Stream> Places<'_, S> {
    /// Writes the elements `range`, in row-major order, of a parameter or buffer to `bytes`, as `dtype`: that of the
    /// tensor, or another one that floating-point and complex tensors are cast to, as `Tensor.to(dtype)` casts them.
    ///
    /// Memory of about the size of `bytes` is used besides, once for each tensor that is read to make another one; a
    /// cast uses less.
    /// The elements of `uniform_`, `normal_` and `trunc_normal_` of contiguous tensors (of at least 16 elements unless
    /// they are uniform), constants, data, copies, casts, `cat`, `stack`, sums, products and quotients are made alone;
    /// what else writes a tensor is made as a whole and retained until another such tensor is needed.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoSuchName`]; [`PlanError::Range`] if the tensor lacks these elements, or `bytes` is of another
    /// size; and as [`InitPlan::materialize`](crate::InitPlan::materialize).
    pub fn fill(
        &mut self,
        name: &str,
        range: Range<u64>,
        dtype: Dtype,
        bytes: &mut [u8],
    ) -> Result<(), PlanError> {
        let known = self.plan.find(name);
        let known = known.ok_or_else(|| PlanError::NoSuchName(name.to_owned()))?;
        let view = &self.plan.views[known.view];
        let numel = view.numel();
        let is_inside = range.start <= range.end && range.end <= numel;
        let elements = range.end.saturating_sub(range.start);
        if !is_inside || elements.checked_mul(dtype.size() as u64) != Some(bytes.len() as u64) {
            return Err(PlanError::Range {
                name: name.to_owned(),
                has: numel,
                start: range.start,
                end: range.end,
                bytes: bytes.len(),
            });
        }
        self.fill_cast(known, range, dtype, bytes)
    }

    fn fill_cast(
        &mut self,
        known: &Name,
        range: Range<u64>,
        dtype: Dtype,
        bytes: &mut [u8],
    ) -> Result<(), PlanError> {
        if self.plan.views[known.view].dtype == dtype || bytes.is_empty() {
            let end = self.plan.steps.len();
            let mut reads = Reads::default();
            return self.read(known.view, range, end, bytes, &mut reads);
        }
        for (start, bytes) in (range.start..range.end)
            .step_by(CAST as usize)
            .zip(bytes.chunks_mut(CAST as usize * dtype.size()))
        {
            let part = start..range.end.min(start + CAST);
            self.fill_cast_part(known.view, part, dtype, bytes)?;
        }
        Ok(())
    }

    /// Casts a range of which a copy in each dtype is held.
    fn fill_cast_part(
        &mut self,
        view: usize,
        range: Range<u64>,
        dtype: Dtype,
        bytes: &mut [u8],
    ) -> Result<(), PlanError> {
        let end = self.plan.steps.len();
        let from = self.plan.views[view].dtype;
        let numel = range.end - range.start;
        let mut reads = Reads::default();
        let length = (numel * from.size() as u64) as usize;
        let mut source = self.buffer(length as u64)?;
        self.read(
            view,
            range,
            end,
            &mut source.bytes_mut()[..length],
            &mut reads,
        )?;
        let views = [View::flat(0, from, numel), View::flat(1, dtype, numel)];
        let target = self.buffer(bytes.len() as u64)?;
        let sizes = [source.bytes().len() as u64, target.bytes().len() as u64];
        let mut both = Storages::new(&views, &sizes, vec![false; 2]);
        both.storages = vec![Some(source), Some(target)];
        let cast = self.stream.compute(&Op::Copy(0), 1, &mut both);
        cast.map_err(PlanError::Generator)?;
        let target = both.get(1).ok_or_else(unallocated);
        let target = target.map_err(PlanError::Generator)?;
        bytes.copy_from_slice(&target.bytes()[..bytes.len()]);
        self.spare.extend(both.storages.into_iter().flatten());
        Ok(())
    }

    /// Memory of at least this size, whose content is to be overwritten.
    fn buffer(&mut self, bytes: u64) -> Result<Storage<S::Memory>, PlanError> {
        let fits = |spare: &Storage<S::Memory>| spare.bytes().len() as u64 >= bytes;
        if let Some(i) = self.spare.iter().position(fits) {
            return Ok(self.spare.swap_remove(i));
        }
        // Smaller ones would never be used again.
        self.spare.clear();
        // SAFETY: every byte that is read is written before.
        let storage = unsafe { self.stream.allocate(bytes, false) };
        let storage = storage.map_err(PlanError::Generator)?;
        let checked = storage.check_size(bytes);
        checked.map_err(|error| PlanError::Generator(error.into()))?;
        Ok(storage)
    }

    /// The elements `range` of a view, in row-major order, after the steps before `end`.
    fn read(
        &mut self,
        number: usize,
        range: Range<u64>,
        end: usize,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<(), PlanError> {
        reads.count += 1;
        let view = &self.plan.views[number];
        let size = view.dtype.size() as u64;
        if range.is_empty() {
            return Ok(());
        }
        if view.is_contiguous() {
            let start = view.bytes().start;
            let wanted = start + range.start * size..start + range.end * size;
            return self.read_storage(view.storage, wanted, end, bytes, reads);
        }
        // Whole rows around the range, if they lie close together.
        let rows = view.shape.first().copied().unwrap_or(1);
        let row = view.numel() / rows;
        let part = view.part(0, range.start / row..range.end.div_ceil(row));
        let span = part.bytes();
        let skipped = range.start / row * row;
        let elements = range.start - skipped..range.end - skipped;
        if span.end - span.start <= GATHERED.max(2 * bytes.len() as u64) {
            let mut buffer = self.buffer(span.end - span.start)?;
            let length = (span.end - span.start) as usize;
            let target = &mut buffer.bytes_mut()[..length];
            self.read_storage(view.storage, span.clone(), end, target, reads)?;
            for_size!(
                view.dtype,
                gather_range(
                    &buffer.bytes()[..length],
                    span.start,
                    &part,
                    elements,
                    bytes
                )
            );
            self.spare.push(buffer);
            return Ok(());
        }
        let made = self.make(number, end)?;
        for_size!(
            view.dtype,
            gather_range(made.storage.bytes(), made.start, &part, elements, bytes)
        );
        Ok(())
    }

    /// Bytes of a storage after the steps before `end`.
    fn read_storage(
        &mut self,
        storage: usize,
        range: Range<u64>,
        end: usize,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<(), PlanError> {
        let plan = self.plan;
        let mut missing = vec![range.clone()];
        // Writes between other elements, over what is written before them.
        let mut strided = Vec::new();
        let before = self.writers[storage].partition_point(|step| *step < end);
        for i in (0..before).rev() {
            let number = self.writers[storage][i];
            let outs = plan.steps[number].outs.iter().rev();
            for out in outs.filter(|out| plan.views[**out].storage == storage) {
                let view = &plan.views[*out];
                let touched = common(&missing, &view.bytes());
                if touched.is_empty() {
                    continue;
                }
                if !view.is_contiguous() {
                    strided.push((number, *out, touched));
                    continue;
                }
                for part in touched {
                    let from = (part.start - range.start) as usize;
                    let to = (part.end - range.start) as usize;
                    self.write_bytes(number, *out, part, &mut bytes[from..to], reads)?;
                }
                missing = without(&missing, &view.bytes());
            }
            if missing.is_empty() {
                break;
            }
        }
        // Nothing has written them.
        for part in missing {
            bytes[(part.start - range.start) as usize..(part.end - range.start) as usize].fill(0);
        }
        for (step, out, parts) in strided.into_iter().rev() {
            self.write_strided(step, out, &parts, range.start, bytes)?;
        }
        Ok(())
    }

    /// Elements of an output that is not contiguous, as far as they lie in some parts of the storage. `bytes` begin at
    /// `start`.
    fn write_strided(
        &mut self,
        step: usize,
        out: usize,
        parts: &[Range<u64>],
        start: u64,
        bytes: &mut [u8],
    ) -> Result<(), PlanError> {
        let view = &self.plan.views[out];
        let size = view.dtype.size();
        let single = match &self.plan.steps[step].op {
            op @ Op::Fill(_) => Some(self.single(step, op, view.dtype)?),
            _ => {
                self.make(out, step + 1)?;
                None
            }
        };
        let made = self.made.as_ref().filter(|_| single.is_none());
        for_each_offset(&view.shape, &view.stride, view.offset, &mut |offset| {
            let at = (offset * size) as u64;
            for part in parts {
                let from = at.max(part.start);
                let to = (at + size as u64).min(part.end);
                if from >= to {
                    continue;
                }
                let target = &mut bytes[(from - start) as usize..(to - start) as usize];
                match (&single, made) {
                    (Some(value), _) => {
                        target.copy_from_slice(&value[(from - at) as usize..(to - at) as usize]);
                    }
                    (None, Some(made)) => {
                        let source = (from - made.start) as usize..(to - made.start) as usize;
                        target.copy_from_slice(&made.storage.bytes()[source]);
                    }
                    (None, None) => {}
                }
            }
        });
        Ok(())
    }

    /// The bytes of the only value of a step.
    fn single(&self, step: usize, op: &Op, dtype: Dtype) -> Result<Vec<u8>, PlanError> {
        let views = [View::flat(0, dtype, 1)];
        let sizes = [dtype.size() as u64];
        let mut storages = Storages::new(&views, &sizes, vec![false]);
        let filled = self.stream.compute(op, 0, &mut storages);
        filled.map_err(|source| self.plan.failed_step(step, source))?;
        let storage = storages.get(0).ok_or_else(unallocated);
        let storage = storage.map_err(PlanError::Generator)?;
        Ok(storage.bytes()[..dtype.size()].to_vec())
    }

    /// Bytes of a contiguous output of a step. They may begin or end within an element, if others are read as
    /// another dtype, and at any address.
    fn write_bytes(
        &mut self,
        step: usize,
        out: usize,
        part: Range<u64>,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<(), PlanError> {
        let view = &self.plan.views[out];
        let size = view.dtype.size() as u64;
        let (start, end) = (
            part.start - view.bytes().start,
            part.end - view.bytes().start,
        );
        let range = start / size..end.div_ceil(size);
        let is_aligned = bytes
            .as_ptr()
            .addr()
            .is_multiple_of(view.dtype.size().min(8));
        if is_aligned && range.start * size == start && range.end * size == end {
            return self.write(step, out, range, bytes, reads);
        }
        let length = ((range.end - range.start) * size) as usize;
        let mut buffer = self.buffer(length as u64)?;
        let skipped = (start - range.start * size) as usize;
        self.write(step, out, range, &mut buffer.bytes_mut()[..length], reads)?;
        bytes.copy_from_slice(&buffer.bytes()[skipped..skipped + bytes.len()]);
        self.spare.push(buffer);
        Ok(())
    }

    /// The elements `range` of a contiguous output of a step.
    fn write(
        &mut self,
        step: usize,
        out: usize,
        range: Range<u64>,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<(), PlanError> {
        reads.depth += 1;
        let is_written = self.write_alone(step, out, range.clone(), bytes, reads);
        reads.depth -= 1;
        if is_written? {
            return Ok(());
        }
        let view = &self.plan.views[out];
        let made = self.make(out, step + 1)?;
        let start = view.bytes().start - made.start + range.start * view.dtype.size() as u64;
        let source = &made.storage.bytes()[start as usize..][..bytes.len()];
        bytes.copy_from_slice(source);
        Ok(())
    }

    /// As [`write`](Self::write); `false` if the output has to be made as a whole.
    fn write_alone(
        &mut self,
        number: usize,
        out: usize,
        range: Range<u64>,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<bool, PlanError> {
        let plan = self.plan;
        let view = &plan.views[out];
        let size = view.dtype.size() as u64;
        let Step { op, outs } = &plan.steps[number];
        if outs.len() != 1 || !reads.may_go_on() {
            return Ok(false);
        }
        match op {
            Op::Draw(draw) => {
                let target = view.target(plan.semantics);
                let Some(target) = target.filter(|target| draw.has_ranges(*target)) else {
                    return Ok(false);
                };
                let Some(engine) = self.stream.engine(draw, target) else {
                    return Ok(false);
                };
                let start = self.position(number)?;
                let drawn = for_float!(
                    view.dtype,
                    draw_range(draw, &engine, &start, target, range, bytes)
                );
                match drawn {
                    Some(Some(drawn)) => drawn
                        .map(|()| true)
                        .map_err(|error| plan.failed_step(number, error.into())),
                    _ => Ok(false),
                }
            }
            Op::Fill(_) => {
                let value = self.single(number, op, view.dtype)?;
                for element in bytes.chunks_exact_mut(value.len()) {
                    element.copy_from_slice(&value);
                }
                Ok(true)
            }
            Op::Const(content) => {
                let start = (range.start * size) as usize;
                bytes.copy_from_slice(&content[start..start + bytes.len()]);
                Ok(true)
            }
            Op::Data(name) => {
                plan.with_data(|data| data.read_range(name, view, range, bytes))?;
                Ok(true)
            }
            Op::Copy(from) if plan.views[*from].dtype == view.dtype => {
                self.read(*from, range, number, bytes, reads)?;
                Ok(true)
            }
            Op::Cat(tensors, dim) => {
                let shape = |view: &View| view.shape.clone();
                self.join(
                    number,
                    view,
                    *dim as usize,
                    tensors,
                    shape,
                    range,
                    bytes,
                    reads,
                )
            }
            Op::Stack(tensors, dim) => {
                let dim = *dim as usize;
                let shape = |view: &View| {
                    let mut shape = view.shape.clone();
                    shape.insert(dim, 1);
                    shape
                };
                self.join(number, view, dim, tensors, shape, range, bytes, reads)
            }
            Op::Copy(_)
            | Op::Add { .. }
            | Op::Mul(..)
            | Op::Div(_, _, None)
            | Op::Unary(Unary::Neg | Unary::Abs, _) => {
                self.compute(number, op, view, range, bytes, reads)
            }
            _ => Ok(false),
        }
    }

    /// Elements of tensors that lie one after the other in a dimension.
    #[expect(clippy::too_many_arguments, reason = "a step, taken apart")]
    fn join(
        &mut self,
        step: usize,
        out: &View,
        dim: usize,
        tensors: &[usize],
        shape: impl Fn(&View) -> Vec<u64>,
        range: Range<u64>,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<bool, PlanError> {
        let plan = self.plan;
        if tensors
            .iter()
            .any(|tensor| plan.views[*tensor].dtype != out.dtype)
        {
            return Ok(false);
        }
        let size = out.dtype.size() as u64;
        // Elements of a row of the result, and of each tensor's piece of it.
        let row: u64 = out.shape[dim..].iter().product();
        let mut offset = 0;
        for tensor in tensors {
            let piece: u64 = shape(&plan.views[*tensor])[dim..].iter().product();
            // The elements of the tensor before an element of the result.
            let before = |element: u64| {
                element / row * piece + (element % row).saturating_sub(offset).min(piece)
            };
            let wanted = before(range.start)..before(range.end);
            let length = ((wanted.end - wanted.start) * size) as usize;
            let place = |element: u64| {
                let at = element / piece * row + offset + element % piece;
                ((at - range.start) * size) as usize
            };
            if wanted.is_empty() {
            } else if (wanted.end - 1) / piece == wanted.start / piece {
                let start = place(wanted.start);
                self.read(
                    *tensor,
                    wanted,
                    step,
                    &mut bytes[start..start + length],
                    reads,
                )?;
            } else {
                let mut buffer = self.buffer(length as u64)?;
                let source = &mut buffer.bytes_mut()[..length];
                self.read(*tensor, wanted.clone(), step, source, reads)?;
                let mut element = wanted.start;
                while element < wanted.end {
                    let next = wanted.end.min((element / piece + 1) * piece);
                    let from = ((element - wanted.start) * size) as usize;
                    let length = ((next - element) * size) as usize;
                    let to = place(element);
                    bytes[to..to + length].copy_from_slice(&source[from..from + length]);
                    element = next;
                }
                self.spare.push(buffer);
            }
            offset += piece;
        }
        Ok(true)
    }

    /// What is computed for each element alone, if plain arithmetic does it with libtorch's bits.
    fn compute(
        &mut self,
        step: usize,
        op: &Op,
        out: &View,
        range: Range<u64>,
        bytes: &mut [u8],
        reads: &mut Reads,
    ) -> Result<bool, PlanError> {
        let plan = self.plan;
        let numel = range.end - range.start;
        let operands = op.reads();
        let (mut views, mut storages) = (Vec::new(), Vec::new());
        for (i, operand) in operands.iter().enumerate() {
            let view = &plan.views[*operand];
            let flat = View::flat(i, view.dtype, numel);
            let mut buffer = self.buffer(flat.bytes().end)?;
            let target = &mut buffer.bytes_mut()[..flat.bytes().end as usize];
            if view.shape == out.shape {
                self.read(*operand, range.clone(), step, target, reads)?;
            } else if view.numel() * view.dtype.size() as u64 <= GATHERED {
                let whole = view.alone(0, view.dtype);
                let mut all = self.buffer(whole.bytes().end)?;
                let length = whole.bytes().end as usize;
                self.read(
                    *operand,
                    0..view.numel(),
                    step,
                    &mut all.bytes_mut()[..length],
                    reads,
                )?;
                let elements = range.clone();
                let repeated = whole.broadcast(&out.shape);
                let source = &all.bytes()[..length];
                for_size!(
                    view.dtype,
                    gather_range(source, 0, &repeated, elements, target)
                );
                self.spare.push(all);
            } else {
                return Ok(false);
            }
            views.push(flat);
            storages.push(Some(buffer));
        }
        let target = View::flat(operands.len(), out.dtype, numel);
        storages.push(Some(self.buffer(target.bytes().end)?));
        views.push(target);
        let sizes: Vec<u64> = storages
            .iter()
            .map(|storage| {
                storage
                    .as_ref()
                    .map_or(0, |storage| storage.bytes().len() as u64)
            })
            .collect();
        let mut of_range = Storages::new(&views, &sizes, vec![false; sizes.len()]);
        of_range.storages = storages;
        let mut next = 0..;
        let op = op.map_views(|_| next.next().unwrap_or(0));
        let computed = compute_without_libtorch(&self.stream, &op, operands.len(), &mut of_range);
        let is_computed = match computed {
            Ok(()) => true,
            Err(error) if error.is::<NeedsLibtorch>() => false,
            Err(error) => return Err(plan.failed_step(step, error)),
        };
        if let Some(result) = of_range.get(operands.len())
            && is_computed
        {
            bytes.copy_from_slice(&result.bytes()[..bytes.len()]);
        }
        self.spare.extend(of_range.storages.into_iter().flatten());
        Ok(is_computed)
    }

    /// Makes a view as a whole after the steps before `end`, unless it was the last one made.
    fn make(&mut self, number: usize, end: usize) -> Result<&Made<S::Memory>, PlanError> {
        let last = self.made.take();
        let is_it = |made: &Made<S::Memory>| (made.view, made.step) == (number, end);
        let made = match last.filter(is_it) {
            Some(made) => made,
            None => self.made_anew(number, end)?,
        };
        Ok(self.made.insert(made))
    }

    fn made_anew(&mut self, number: usize, end: usize) -> Result<Made<S::Memory>, PlanError> {
        let plan = self.plan;
        let view = &plan.views[number];
        let made = |storage, start| Made {
            view: number,
            step: end,
            storage,
            start,
        };
        if let Some(Step {
            op: Op::Draw(draw),
            outs,
        }) = plan.steps[..end].last()
            && **outs == [number]
        {
            return Ok(made(self.draw(end - 1, draw, view)?, view.bytes().start));
        }
        let mut storages = self.run(&[number], end, None)?;
        let storage = storages.storages[view.storage]
            .take()
            .ok_or_else(unallocated);
        Ok(made(storage.map_err(PlanError::Generator)?, 0))
    }

    /// A draw as a whole, into memory that begins with it.
    fn draw(
        &mut self,
        step: usize,
        draw: &Draw,
        view: &View,
    ) -> Result<Storage<S::Memory>, PlanError> {
        let alone = view.at_start();
        crate::storage_lifetimes::check_memory(alone.bytes().end)?;
        let position = self.position(step)?;
        let failed = |source| self.plan.failed_step(step, source);
        self.stream.set_position(&position).map_err(failed)?;
        // SAFETY: only the elements are read, which are drawn first.
        let storage = unsafe { self.stream.allocate(alone.bytes().end, true) };
        let mut storage = storage.map_err(failed)?;
        let semantics = self.plan.semantics;
        self.stream
            .draw(draw, semantics, &mut storage, &alone)
            .map_err(failed)?;
        Ok(storage)
    }
}

fn draw_range<T: Element + Plain>(
    draw: &Draw,
    engine: &Engine,
    start: &Mt19937,
    target: Target<'_>,
    range: Range<u64>,
    bytes: &mut [u8],
) -> Option<Result<(), DrawError>> {
    typed_mut::<T>(bytes).map(|values| draw.fill_range(engine, start, target, range, values))
}

/// Elements of a view, in row-major order, whose storage's bytes from `start` on these are.
fn gather_range<T: Plain>(
    source: &[u8],
    start: u64,
    view: &View,
    elements: Range<u64>,
    bytes: &mut [u8],
) {
    let size = size_of::<T>();
    let mut index = vec![0; view.shape.len()];
    let (mut rest, mut offset) = (elements.start, view.offset);
    for (dim, length) in view.shape.iter().enumerate().rev() {
        index[dim] = rest % length;
        rest /= length;
        offset += index[dim] * view.stride[dim];
    }
    for target in bytes.chunks_exact_mut(size) {
        let from = (offset * size as u64 - start) as usize;
        target.copy_from_slice(&source[from..from + size]);
        for dim in (0..index.len()).rev() {
            index[dim] += 1;
            offset += view.stride[dim];
            if index[dim] < view.shape[dim] {
                break;
            }
            offset -= view.stride[dim] * index[dim];
            index[dim] = 0;
        }
    }
}

/// The parts of some ranges within another one.
fn common(ranges: &[Range<u64>], other: &Range<u64>) -> Vec<Range<u64>> {
    let parts = ranges.iter();
    let parts = parts.map(|range| range.start.max(other.start)..range.end.min(other.end));
    parts.filter(|part| part.start < part.end).collect()
}

/// The parts of some ranges outside another one.
fn without(ranges: &[Range<u64>], other: &Range<u64>) -> Vec<Range<u64>> {
    let parts = ranges.iter().flat_map(|range| {
        let before = range.start..range.end.min(other.start);
        let after = range.start.max(other.end)..range.end;
        [before, after]
    });
    parts.filter(|part| part.start < part.end).collect()
}
