//! The reference of `explain`: tensors that are there, or those of a model, drawn one at a time.

use super::model::{Drawing, Model};
use crate::error::InitError;
use crate::plan::PlanError;
use crate::tensor::{Dtype, TensorView, ViewError};
use torch_rng::{Draw, Semantics};

/// A tensor with its name.
#[derive(Debug, Clone)]
pub struct NamedView<'a> {
    /// The name, as in `state_dict`.
    pub name: String,
    /// The tensor.
    pub view: TensorView<'a>,
}

/// A tensor of the reference.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The tensor as PyTorch has it.
    pub tensor: NamedView<'a>,
    /// How PyTorch drew it, if known. Otherwise [`explain`](super::explain()) searches for it.
    pub drawn: Option<Drawn>,
}

/// A draw and its position in a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// The draw.
    pub draw: Draw,
    /// The seed of the stream.
    pub seed: u64,
    /// The first word of the draw, in 32-bit words after `manual_seed`.
    pub word: u64,
    /// The versions of PyTorch whose bits it has.
    pub semantics: Semantics,
}

/// What [`explain`](super::explain()) compares with: tensors, or a [`Model`], whose tensors are drawn one at a time, so that no two of
/// them need be in memory.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a>(Source<'a>);

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Tensors(&'a [Expected<'a>]),
    Model(&'a Model),
}

impl<'a> Reference<'a> {
    /// Name and shape of each tensor.
    pub fn shapes(&self) -> impl Iterator<Item = (&'a str, &'a [usize])> + use<'a> {
        self.infos().into_iter().map(|info| (info.name, info.shape))
    }

    fn infos(&self) -> Vec<Info<'a>> {
        match self.0 {
            Source::Tensors(tensors) => tensors.iter().map(Info::of).collect(),
            Source::Model(model) => model.infos().collect(),
        }
    }
}

impl<'a> From<&'a [Expected<'a>]> for Reference<'a> {
    fn from(tensors: &'a [Expected<'a>]) -> Reference<'a> {
        Reference(Source::Tensors(tensors))
    }
}

impl<'a, const N: usize> From<&'a [Expected<'a>; N]> for Reference<'a> {
    fn from(tensors: &'a [Expected<'a>; N]) -> Reference<'a> {
        Reference(Source::Tensors(tensors))
    }
}

impl<'a> From<&'a Vec<Expected<'a>>> for Reference<'a> {
    fn from(tensors: &'a Vec<Expected<'a>>) -> Reference<'a> {
        Reference(Source::Tensors(tensors))
    }
}

impl<'a> From<&'a Model> for Reference<'a> {
    fn from(model: &'a Model) -> Reference<'a> {
        Reference(Source::Model(model))
    }
}

/// Why tensors cannot be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// libtorch fails, as when memory runs out.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A tensor of the reference cannot be drawn.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A tensor of the reference is larger than the address space.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// A tensor of the reference, without its elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub drawn: Option<Drawn>,
}

impl<'a> Info<'a> {
    fn of(expected: &'a Expected<'a>) -> Info<'a> {
        Info {
            name: &expected.tensor.name,
            dtype: expected.tensor.view.dtype(),
            shape: expected.tensor.view.shape(),
            drawn: expected.drawn,
        }
    }
}

/// The tensors of a reference, read one at a time.
pub(super) struct Tensors<'a> {
    pub infos: Vec<Info<'a>>,
    source: Source<'a>,
    /// What draws those of a model, once one is needed.
    drawing: Option<Drawing<'a>>,
    /// The first elements of each, as far as they were read.
    heads: Vec<Option<Vec<u8>>>,
}

impl<'a> Tensors<'a> {
    /// The first elements, which tell almost all tensors apart.
    pub(super) const HEAD: usize = 1024;

    pub(super) fn new(reference: Reference<'a>) -> Tensors<'a> {
        let infos = reference.infos();
        Tensors {
            heads: vec![None; infos.len()],
            infos,
            source: reference.0,
            drawing: None,
        }
    }

    /// The number of the tensor of a name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.infos.iter().position(|info| info.name == name)
    }

    /// Calls `f` with a tensor.
    pub(super) fn with<R>(
        &mut self,
        index: usize,
        f: impl FnOnce(&TensorView<'_>) -> R,
    ) -> Result<R, ExplainError> {
        let model = match self.source {
            Source::Tensors(tensors) => return Ok(f(&tensors[index].tensor.view)),
            Source::Model(model) => model,
        };
        if let Some(view) = model.drawn_view(index)? {
            return Ok(f(&view));
        }
        let view = drawing(&mut self.drawing, model)?.read(index)?;
        self.heads[index].get_or_insert_with(|| head(&view));
        Ok(f(&view))
    }

    /// The first [`HEAD`](Self::HEAD) elements of a tensor.
    pub(super) fn head(&mut self, index: usize) -> Result<&[u8], ExplainError> {
        if self.heads[index].is_none() {
            self.heads[index] = Some(match self.source {
                Source::Tensors(tensors) => head(&tensors[index].tensor.view),
                Source::Model(model) => {
                    drawing(&mut self.drawing, model)?.head(index, Self::HEAD)?
                }
            });
        }
        Ok(self.heads[index].as_deref().unwrap_or_default())
    }

    /// A tensor that stays in memory.
    pub(super) fn kept(&mut self, index: usize) -> Result<TensorView<'a>, ExplainError> {
        match self.source {
            Source::Tensors(tensors) => Ok(tensors[index].tensor.view.clone()),
            Source::Model(model) => drawing(&mut self.drawing, model)?.keep(index),
        }
    }

    /// Frees the memory of the last tensor.
    pub(super) fn release(&mut self) {
        self.drawing = None;
    }
}

fn drawing<'d, 'a>(
    drawing: &'d mut Option<Drawing<'a>>,
    model: &'a Model,
) -> Result<&'d mut Drawing<'a>, PlanError> {
    match drawing {
        Some(drawing) => Ok(drawing),
        none => Ok(none.insert(Drawing::new(model)?)),
    }
}

fn head(view: &TensorView<'_>) -> Vec<u8> {
    view.read(0..Tensors::HEAD, &mut Vec::new()).to_vec()
}
