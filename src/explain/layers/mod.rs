//! A model by what Python prints of it, as a reference.

mod build;
mod plan;
mod text;

pub use text::ModelError;

use super::candidate::rng_dtype;
use super::replay::bytes;
use super::{Drawn, Expected, NamedView};
use crate::error::InitError;
use crate::generator::{get_rng_state, manual_seed, set_rng_state};
use crate::init::observe::{Observed, observed};
use crate::init::recording::Fill;
use crate::tensor::{Dtype, TensorView};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use text::Module;
use torch_rng::{Draw, Normal, Target, Uniform};

/// A model as `print(model)` shows it in Python, drawn as PyTorch draws it.
///
/// Layers are constructed in the order in which they are printed, which is the order in which a
/// constructor assigns them. What a constructor does afterwards (`model.apply(init_weights)`) is
/// not in the print: then a file of PyTorch's tensors is the reference to take.
///
/// ```
/// use tch_init::explain::Model;
/// use tch::Kind;
///
/// let printed = "Net(\n  (fc1): Linear(in_features=4, out_features=3, bias=True)\n)";
/// let model = Model::draw(printed, 1, Kind::Float)?;
/// let names: Vec<&str> = model.names().collect();
/// assert_eq!(names, ["fc1.weight", "fc1.bias"]);
/// assert_eq!(model.expected()?[1].drawn.map(|drawn| drawn.word), Some(12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    tensors: Vec<Stored>,
    opaque: Vec<(String, String)>,
}

#[derive(Debug)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    drawn: Option<Drawn>,
}

impl Model {
    /// Draws the model of a print with a seed, in the dtype that `torch.set_default_dtype` had:
    /// f32 or f64, or f16 or bf16. The default stream is put back where it was.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the text is no print of a model, names a layer whose parameters the
    /// print does not show, or sizes that PyTorch refuses.
    pub fn draw(printed: &str, seed: i64, kind: Kind) -> Result<Model, ModelError> {
        let root = Module::parse(printed)?;
        let before = get_rng_state()?;
        let model = Model::construct(&root, seed, kind);
        set_rng_state(&before)?;
        model
    }

    fn construct(root: &Module, seed: i64, kind: Kind) -> Result<Model, ModelError> {
        manual_seed(seed)?;
        let mut model = Model {
            tensors: Vec::new(),
            opaque: Vec::new(),
        };
        let mut position = Position {
            seed: seed as u64,
            word: 0,
            kept: false,
        };
        model.add(root, "", kind, &mut position)?;
        Ok(model)
    }

    fn add(
        &mut self,
        module: &Module,
        path: &str,
        kind: Kind,
        position: &mut Position,
    ) -> Result<(), ModelError> {
        let mut vs = VarStore::new(Device::Cpu);
        vs.set_kind(kind);
        let (built, fills) = observed(|| build::layer(&vs, module, path));
        match built? {
            build::Built::Layer => self.keep(&vs, path, &fills, position),
            build::Built::Container => module
                .children
                .iter()
                .try_for_each(|(name, child)| self.add(child, &join(path, name), kind, position)),
            build::Built::Opaque => {
                self.opaque.push((path.to_owned(), module.class.clone()));
                Ok(())
            }
        }
    }

    /// Takes a layer's tensors, with the place at which each was drawn last.
    fn keep(
        &mut self,
        vs: &VarStore,
        path: &str,
        fills: &[Observed],
        position: &mut Position,
    ) -> Result<(), ModelError> {
        let tensors = build::tensors(vs)?;
        let mut places: Vec<Option<Drawn>> = vec![None; tensors.len()];
        for fill in fills {
            let of = tensors
                .iter()
                .position(|(_, t)| t.data_ptr() as usize == fill.data && t.numel() == fill.numel);
            let dtype = of.map_or(Dtype::Float32, |of| dtype(&tensors[of].1));
            let place = position.pass(fill, dtype);
            if let Some(of) = of {
                places[of] = place;
            }
        }
        for ((name, tensor), drawn) in tensors.iter().zip(places) {
            let dtype = dtype(tensor);
            self.tensors.push(Stored {
                name: join(path, name),
                dtype,
                shape: tensor.size().iter().map(|size| *size as usize).collect(),
                bytes: bytes(tensor, dtype)?,
                drawn,
            });
        }
        Ok(())
    }

    /// The names of the tensors, in the order of the layers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Path and class of the modules whose print does not say whether they have parameters of
    /// their own. A tensor below such a path makes the reference doubtful from there on.
    pub fn opaque(&self) -> impl Iterator<Item = (&str, &str)> {
        self.opaque
            .iter()
            .map(|(path, class)| (path.as_str(), class.as_str()))
    }

    /// The tensors as [`explain`](super::explain) takes them.
    ///
    /// # Errors
    ///
    /// None that a model of [`draw`](Model::draw) has.
    pub fn expected(&self) -> Result<Vec<Expected<'_>>, crate::tensor::ViewError> {
        self.tensors
            .iter()
            .map(|tensor| {
                Ok(Expected {
                    tensor: NamedView {
                        name: tensor.name.clone(),
                        view: TensorView::contiguous(tensor.dtype, &tensor.shape, &tensor.bytes)?,
                    },
                    drawn: tensor.drawn,
                })
            })
            .collect()
    }
}

/// How far the stream has come.
struct Position {
    seed: u64,
    word: u64,
    /// Whether the generator keeps the second of a pair of normals.
    kept: bool,
}

impl Position {
    /// Passes a fill; returns where it was drawn.
    fn pass(&mut self, fill: &Observed, dtype: Dtype) -> Option<Drawn> {
        let draw = match fill.fill {
            Fill::Uniform { from, to } => Draw::Uniform(Uniform { from, to }),
            Fill::Normal { mean, std } => Draw::Normal(Normal { mean, std }),
            // No layer is truncated by default: how many words that takes depends on the values.
            _ => return None,
        };
        let shape = [fill.numel as u64];
        let target = Target::new(rng_dtype(dtype), &shape);
        let consumed = draw.consumed(target, Some(self.kept));
        self.kept = consumed.cached.unwrap_or(self.kept);
        let word = self.word;
        self.word += consumed.words.unwrap_or(0);
        let seed = self.seed;
        Some(Drawn { draw, seed, word })
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// No layer has a quantized parameter.
fn dtype(tensor: &Tensor) -> Dtype {
    Dtype::from_kind(tensor.kind()).unwrap_or(Dtype::Float32)
}

impl From<InitError> for ModelError {
    fn from(error: InitError) -> ModelError {
        ModelError::Libtorch(error)
    }
}

/// A tensor's handle, by its name below the layer.
type Named = (String, Tensor);
