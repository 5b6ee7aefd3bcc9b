//! A model as a reference: its tensors as PyTorch draws them, each with its draw.

use super::replay::bytes;
use super::{Drawn, Expected, ModelError, NamedView};
use crate::error::InitError;
use crate::generator::Generator;
use crate::nn::{LayerSpec, Printed};
use crate::plan::{InitPlan, PlanError};
use crate::tensor::{Dtype, TensorView, ViewError};
use tch::nn::{Path, VarStore};
use tch::{Device, Kind};

/// A model as PyTorch draws it, from what Python prints of it or from a plan.
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
    tensors: Vec<StoredTensor>,
    /// Path and class.
    opaque: Vec<(String, String)>,
}

#[derive(Debug)]
struct StoredTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    drawn: Option<Drawn>,
}

impl Model {
    /// Draws a model from what `print(model)` prints in Python.
    ///
    /// `kind` is the dtype that `torch.set_default_dtype` had: f32, f64, f16 or bf16. Layers are
    /// initialized in the order in which they are printed, which is the order in which a constructor
    /// assigns them. A print does not show what a constructor does afterwards, such as
    /// `model.apply(init_weights)`; then take a file of PyTorch's tensors as the reference.
    ///
    /// The default generator is neither read nor moved.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the text is not a print of a model, if it names a layer whose parameters
    /// the print does not show, or if PyTorch refuses a layer's arguments.
    pub fn draw(printed: &str, seed: i64, kind: Kind) -> Result<Model, ModelError> {
        let root = Printed::parse(printed)?;
        let mut vs = VarStore::new(Device::Cpu);
        vs.set_kind(kind);
        let mut opaque = Vec::new();
        let (added, plan) = InitPlan::record("a printed model", &vs, || {
            add(&vs.root(), &root, &mut opaque)
        })?;
        added?;
        Ok(Model {
            opaque,
            ..Model::of_plan(&plan, seed)?
        })
    }

    /// Draws the model of a plan. It has the tensors of the `state_dict`.
    ///
    /// The default generator is neither read nor moved.
    ///
    /// # Errors
    ///
    /// As [`InitPlan::materialize`].
    ///
    /// ```
    /// use tch_init::explain::Model;
    /// use tch_init::plan::InitPlan;
    ///
    /// // A weight that is drawn twice.
    /// let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    ///     "semantics": "2.13", "model": "by hand", "storages": [24],
    ///     "views": [[0, "float32", [3, 2]]],
    ///     "steps": [["uniform_", 0, 0.0, 1.0], ["normal_", 0, 0.0, 0.02]],
    ///     "parameters": [["weight", 0]], "buffers": []}"#;
    /// let model = Model::of_plan(&InitPlan::from_json(json)?, 1)?;
    /// assert_eq!(model.expected()?[0].drawn.map(|drawn| drawn.word), Some(6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_plan(plan: &InitPlan, seed: i64) -> Result<Model, PlanError> {
        let mut generator = Generator::new(Device::Cpu)?;
        generator.manual_seed(seed)?;
        let draws = plan.draws(&mut generator.clone_state()?)?;
        let tensors = plan.materialize(&mut generator)?;
        let mut stored = Vec::new();
        for (((_, entry), (name, tensor)), draw) in plan.names().zip(tensors).zip(draws) {
            if !entry.persistent {
                continue;
            }
            let drawn = draw.map(|(draw, word)| Drawn {
                draw,
                seed: seed as u64,
                word,
            });
            stored.push(StoredTensor {
                name,
                dtype: entry.dtype,
                shape: tensor.size().iter().map(|size| *size as usize).collect(),
                bytes: bytes(&tensor, entry.dtype)?,
                drawn,
            });
        }
        Ok(Model {
            tensors: stored,
            opaque: Vec::new(),
        })
    }

    /// The names of the tensors: the parameters in the order of the layers, then the buffers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Path and class of the modules whose print does not show whether they have parameters.
    ///
    /// If such a module draws, the positions of all later draws are wrong.
    pub fn opaque(&self) -> impl Iterator<Item = (&str, &str)> {
        self.opaque
            .iter()
            .map(|(path, class)| (path.as_str(), class.as_str()))
    }

    /// The tensors as [`explain`](super::explain) takes them.
    ///
    /// # Errors
    ///
    /// None, for tensors that were drawn here.
    pub fn expected(&self) -> Result<Vec<Expected<'_>>, ViewError> {
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

/// Adds the layers of a module below a path.
fn add(
    path: &Path<'_>,
    module: &Printed,
    opaque: &mut Vec<(String, String)>,
) -> Result<(), ModelError> {
    if let Some(layer) = LayerSpec::from_printed(module)? {
        return Ok(layer.make(path)?);
    }
    let refused = |reason: &str| ModelError::Layer {
        line: module.line,
        class: module.class.clone(),
        reason: reason.to_owned(),
    };
    let is_root = path.components().next().is_none();
    match module.class.as_str() {
        class if class.starts_with("Lazy") => {
            Err(refused("it has no parameters until its first input"))
        }
        "ParameterList" | "ParameterDict" => Err(refused(
            "its print does not show how its parameters are drawn",
        )),
        _ if !module.children.is_empty() => module.children.iter().try_for_each(|(name, child)| {
            // `add_module` refuses such names too.
            if name.is_empty() || name.contains('.') {
                return Err(ModelError::Syntax {
                    line: child.line,
                    reason: format!("`{name}` is not a name of a module"),
                });
            }
            add(&path.sub(name), child, opaque)
        }),
        _ if is_root => Err(refused("it has no layers")),
        class => {
            let components = path.components().collect::<Vec<_>>();
            opaque.push((components.join("."), class.to_owned()));
            Ok(())
        }
    }
}

impl From<PlanError> for ModelError {
    fn from(error: PlanError) -> ModelError {
        ModelError::Init(match error {
            PlanError::Init(error) => error,
            other => InitError::libtorch("explain", &other.to_string()),
        })
    }
}
