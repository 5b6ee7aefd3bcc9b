//! Draws into several tensors from one stream, made together: threads take turns at whole tensors and
//! jump to their position in the stream once for many of them.

use crate::elements::{Plain, for_float, typed_mut};
use crate::interval_set::IntervalSet;
use crate::storage::Storage;
use crate::view::View;
use std::collections::BTreeMap;
use torch_rng::{Chunk, Draw, Element, Engine, Mt19937, Target};

/// Pending draws, each at its position in the stream and into its own memory.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    pending: Vec<Pending<'a>>,
    engine: Engine,
    /// The bytes of each storage that they are drawn into.
    memory: BTreeMap<usize, IntervalSet>,
}

struct Pending<'a> {
    /// Words of the stream from the start of the batch to the draw.
    before: u64,
    draw: Draw,
    target: Target<'a>,
    view: &'a View,
}

impl<'a> Batch<'a> {
    /// Adds a draw that begins this many words after the start of the batch; `false` if it cannot be
    /// made together with others.
    pub(crate) fn add(
        &mut self,
        before: u64,
        draw: Draw,
        target: Target<'a>,
        view: &'a View,
        engine: Engine,
    ) -> bool {
        let has_chunks =
            || for_float!(view.dtype(), has_chunks(&engine, draw, target)) == Some(true);
        if !target.contiguous || self.overlaps(view) || !has_chunks() {
            return false;
        }
        self.engine = engine;
        let memory = self.memory.entry(view.storage()).or_default();
        memory.add(view.bytes());
        self.pending.push(Pending {
            before,
            draw,
            target,
            view,
        });
        true
    }

    /// Whether a pending draw writes any byte of a view.
    pub(crate) fn overlaps(&self, view: &View) -> bool {
        let memory = self.memory.get(&view.storage());
        memory.is_some_and(|memory| memory.touches(&view.bytes()))
    }

    /// Makes the draws from a generator at the start of the batch, and moves it by `words`.
    pub(crate) fn run<M>(
        self,
        generator: &mut Mt19937,
        words: u64,
        storages: &mut [Option<Storage<M>>],
    ) {
        let Batch {
            pending, engine, ..
        } = self;
        if pending.is_empty() {
            return engine.skip(generator, words);
        }
        let mut by_memory: Vec<usize> = (0..pending.len()).collect();
        by_memory.sort_by_key(|i| (pending[*i].view.storage(), pending[*i].view.bytes().start));
        let groups = by_memory.chunk_by(|a, b| {
            let storage = |i: usize| pending[i].view.storage();
            storage(*a) == storage(*b)
        });
        let mut taken: Vec<_> = groups
            .map(|group| {
                let storage = pending[group[0]].view.storage();
                (storage, group, storages[storage].take())
            })
            .collect();
        let mut slices: Vec<Option<&mut [u8]>> = pending.iter().map(|_| None).collect();
        for (_, group, storage) in &mut taken {
            let Some(storage) = storage else { continue };
            let (mut rest, mut offset) = (storage.bytes_mut(), 0);
            for i in *group {
                let range = pending[*i].view.bytes();
                let (_, begun) = rest.split_at_mut(range.start as usize - offset);
                let (slice, after) = begun.split_at_mut((range.end - range.start) as usize);
                slices[*i] = Some(slice);
                (rest, offset) = (after, range.end as usize);
            }
        }
        let (mut chunks, mut position) = (Vec::new(), 0);
        for (draw, slice) in pending.iter().zip(slices) {
            chunks.push(Chunk::skip(draw.before - position));
            position = draw.before;
            let Some(slice) = slice else {
                continue;
            };
            let dtype = draw.view.dtype();
            let drawn = for_float!(dtype, draw_chunks(&engine, draw.draw, draw.target, slice));
            let drawn = drawn.unwrap_or_default();
            position += drawn.iter().map(Chunk::words).sum::<u64>();
            chunks.extend(drawn);
        }
        chunks.push(Chunk::skip(words - position));
        engine.fill_chunks(generator, chunks);
        for (number, _, storage) in taken {
            storages[number] = storage;
        }
    }
}

/// Whether the draw has chunks, which depends on its arguments and on whether it has a whole block.
fn has_chunks<T: Element + Default>(engine: &Engine, draw: Draw, target: Target<'_>) -> bool {
    let few = &mut [T::default(); 16][..target.numel().min(16) as usize];
    let shape = [few.len() as u64];
    let target = Target {
        shape: &shape,
        ..target
    };
    draw.chunks(engine, target, few).is_ok()
}

fn draw_chunks<'a, T: Element + Plain>(
    engine: &Engine,
    draw: Draw,
    target: Target<'_>,
    bytes: &'a mut [u8],
) -> Vec<Chunk<'a>> {
    // A draw that is rejected, or memory that is not aligned, was not added.
    let chunks = typed_mut::<T>(bytes).map(|values| draw.chunks(engine, target, values));
    chunks.and_then(Result::ok).unwrap_or_default()
}
