//! The generator of a run, which is either drawn from or moved past what is not drawn.

use crate::distribution::Engine;
use crate::error::InitError;
use crate::generator::Generator;
use crate::init::batch::Batch;
use crate::plan::step::{Op, Step};
use crate::plan::view::View;
use crate::rng::{Mt19937, State};
use std::ops::Range;
use tch::{Device, Tensor};
use torch_rng::Normal;

pub(in crate::plan) struct Stream<'a> {
    generator: &'a mut Generator,
    /// Where the stream stands, if the generator has not been told yet.
    ahead: Option<Mt19937>,
    /// Words behind that, which are passed when somebody draws: many dead draws are one jump.
    pending: u64,
    /// Draws from some of these words, to be made then.
    batch: Batch,
}

impl<'a> Stream<'a> {
    pub(in crate::plan) fn new(generator: &'a mut Generator) -> Result<Stream<'a>, InitError> {
        match generator.device() {
            Device::Cpu => Ok(Stream {
                generator,
                ahead: None,
                pending: 0,
                batch: Batch::default(),
            }),
            other => Err(InitError::libtorch(
                "materialize",
                &format!("a plan draws from a stream of the CPU, not of {other:?}"),
            )),
        }
    }

    /// To draw by libtorch.
    pub(in crate::plan) fn generator(&mut self) -> Result<&mut Generator, InitError> {
        if self.pending > 0 {
            self.words()?;
        }
        if let Some(ahead) = self.ahead.take() {
            self.generator.set_state(&ahead.to_state().to_bytes())?;
        }
        Ok(self.generator)
    }

    /// To draw or to move on without libtorch.
    pub(in crate::plan) fn words(&mut self) -> Result<&mut Mt19937, InitError> {
        let pending = std::mem::take(&mut self.pending);
        let batch = std::mem::take(&mut self.batch);
        let words = self.told()?;
        batch.run(words, pending);
        Ok(words)
    }

    /// Lets a step that is wanted wait for others, to be drawn with them when somebody else draws or
    /// the memory is [looked at](Self::settle). `false` if it has to be drawn at once.
    pub(super) fn draw_later(
        &mut self,
        step: &Step,
        views: &[View],
        tensor: &Tensor,
    ) -> Result<bool, InitError> {
        let (Op::Draw(draw), Some(target)) = (&step.op, step.target(views).target()) else {
            return Ok(false);
        };
        if Normal::is_serial(target) {
            return Ok(false);
        }
        // Blocks neither take nor leave a normal.
        let Some(words) = draw.consumed(target, None).words else {
            return Ok(false);
        };
        self.told()?;
        let Some(pending) = self.pending.checked_add(words) else {
            return Ok(false);
        };
        let waits = self.batch.add(self.pending, *draw, tensor);
        if waits {
            self.pending = pending;
        }
        Ok(waits)
    }

    /// Makes the draws that wait, if one of them is into memory at these addresses.
    pub(super) fn settle(&mut self, addresses: &Range<u64>) -> Result<(), InitError> {
        if self.batch.touches(addresses) {
            self.words()?;
        }
        Ok(())
    }

    /// But for what is pending.
    fn told(&mut self) -> Result<&mut Mt19937, InitError> {
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => Mt19937::from_state(&State::from_bytes(&self.generator.get_state()?)?)?,
        };
        Ok(self.ahead.insert(ahead))
    }

    /// Skips a draw that nobody reads; `false` if only drawing tells where it ends.
    pub(in crate::plan) fn pass(&mut self, step: &Step, views: &[View]) -> Result<bool, InitError> {
        let (Op::Draw(draw), Some(target)) = (&step.op, step.target(views).target()) else {
            return Ok(true);
        };
        let cached = self.told()?.next_double_normal().is_some();
        let consumed = draw.consumed(target, Some(cached));
        let pending = consumed
            .words
            .and_then(|words| self.pending.checked_add(words));
        match (pending, cached, consumed.cached) {
            (Some(pending), false, Some(false)) => {
                self.pending = pending;
                Ok(true)
            }
            _ => Ok(draw.skip(&Engine::default(), self.words()?, target)),
        }
    }
}
