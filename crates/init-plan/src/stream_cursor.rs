//! The position of a stream during a run: draws wait until others join them or their memory is used.

use crate::batch::Batch;
use crate::step::StreamChange;
use crate::storage::Storage;
use crate::stream::{Stream, StreamError};
use crate::view::View;
use std::collections::BTreeMap;
use torch_rng::Engine;
use torch_rng::{Draw, Mt19937, Semantics};

pub(crate) struct Cursor<'s, 'p, S> {
    stream: &'s mut S,
    semantics: Semantics,
    /// The start of the batch, unless the stream itself is there.
    position: Option<Mt19937>,
    /// Words from there to the next draw, skipped when something is drawn: many dead draws are one
    /// jump.
    words: u64,
    batch: Batch<'p>,
    /// The number of the stream that is drawn from, and the positions of the others.
    current: u64,
    others: BTreeMap<u64, Mt19937>,
}

impl<'s, 'p, S: Stream> Cursor<'s, 'p, S> {
    pub(crate) fn new(stream: &'s mut S, semantics: Semantics) -> Cursor<'s, 'p, S> {
        Cursor {
            stream,
            semantics,
            position: None,
            words: 0,
            batch: Batch::default(),
            current: 0,
            others: BTreeMap::new(),
        }
    }

    /// Makes a change of streams. A stream without a position, which validation excludes, is an error.
    pub(crate) fn change(
        &mut self,
        change: StreamChange,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<(), StreamError> {
        match change {
            StreamChange::Seed { stream, seed } => self.put(stream, Mt19937::new(seed), storages),
            StreamChange::Copy { to, from } if from == self.current => {
                let position = self.flush(storages)?.clone();
                self.put(to, position, storages)
            }
            StreamChange::Copy { to, from } => {
                let position = self.others.get(&from).cloned();
                let position = position.ok_or("a stream lacks a position")?;
                self.put(to, position, storages)
            }
            StreamChange::Use(stream) if stream == self.current => Ok(()),
            StreamChange::Use(stream) => {
                let next = self.others.remove(&stream);
                let next = next.ok_or("a stream lacks a position")?;
                let before = self.flush(storages)?.clone();
                self.others.insert(self.current, before);
                self.current = stream;
                self.position = Some(next);
                Ok(())
            }
        }
    }

    /// Moves a stream to a position.
    pub(crate) fn put(
        &mut self,
        stream: u64,
        position: Mt19937,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<(), StreamError> {
        if stream == self.current {
            self.flush(storages)?;
            self.position = Some(position);
        } else {
            self.others.insert(stream, position);
        }
        Ok(())
    }

    /// Makes all pending draws, and returns the generator after them.
    pub(crate) fn flush(
        &mut self,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<&mut Mt19937, StreamError> {
        let words = std::mem::take(&mut self.words);
        let batch = std::mem::take(&mut self.batch);
        let position = self.state()?;
        batch.run(position, words, storages);
        Ok(position)
    }

    /// Makes the pending draws if one of them is into the memory of a view.
    pub(crate) fn flush_overlapping(
        &mut self,
        view: &View,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<(), StreamError> {
        match self.batch.overlaps(view) {
            true => self.flush(storages).map(drop),
            false => Ok(()),
        }
    }

    /// Makes all pending draws, and returns the stream, moved to where they end.
    pub(crate) fn stream(
        &mut self,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<&mut S, StreamError> {
        if self.words > 0 {
            self.flush(storages)?;
        }
        if let Some(position) = self.position.take() {
            self.stream.set_position(&position)?;
        }
        Ok(self.stream)
    }

    /// The stream, wherever it is: to allocate and to compute.
    pub(crate) fn as_stream(&self) -> &S {
        self.stream
    }

    /// The stream, wherever it is: to call what does not draw.
    pub(crate) fn as_stream_mut(&mut self) -> &mut S {
        self.stream
    }

    /// Adds a draw to the pending ones; `false` if it has to be made at once.
    pub(crate) fn draw_later(&mut self, draw: &Draw, view: &'p View) -> Result<bool, StreamError> {
        let Some(target) = view.target(self.semantics) else {
            return Ok(false);
        };
        // What has parts neither reads nor writes a cached normal.
        let words = draw.consumed(target, None).words;
        let Some(words) = words.and_then(|words| self.words.checked_add(words)) else {
            return Ok(false);
        };
        let Some(engine) = self.stream.engine(draw, target) else {
            return Ok(false);
        };
        self.state()?;
        let is_added = self.batch.add(self.words, *draw, target, view, engine);
        if is_added {
            self.words = words;
        }
        Ok(is_added)
    }

    /// Skips a draw; `false` if it has to be made, since only that shows how many words it takes.
    pub(crate) fn skip(
        &mut self,
        draw: &Draw,
        view: &View,
        storages: &mut [Option<Storage<S::Memory>>],
    ) -> Result<bool, StreamError> {
        let Some(target) = view.target(self.semantics) else {
            return Ok(true);
        };
        let cached = self.state()?.next_double_normal().is_some();
        let consumed = draw.consumed(target, Some(cached));
        let words = consumed
            .words
            .and_then(|words| self.words.checked_add(words));
        match (words, cached, consumed.cached) {
            (Some(words), false, Some(false)) => {
                self.words = words;
                Ok(true)
            }
            _ => {
                let engine = match consumed.words {
                    Some(_) => Some(Engine::default()),
                    // How many words depends on the values, which libtorch may have to compute.
                    None => self.stream.engine(draw, target),
                };
                let Some(engine) = engine else {
                    return Ok(false);
                };
                Ok(draw.skip(&engine, self.flush(storages)?, target))
            }
        }
    }

    /// The start of the batch.
    fn state(&mut self) -> Result<&mut Mt19937, StreamError> {
        let position = match self.position.take() {
            Some(position) => position,
            None => self.stream.position()?,
        };
        Ok(self.position.insert(position))
    }
}
