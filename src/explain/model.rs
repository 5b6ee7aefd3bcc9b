//! A model as a reference: its tensors as PyTorch draws them, each with its draw.

use super::reference::{Drawn, Expected, ExplainError, Info, NamedView};
use crate::generator::Generator;
use crate::nn::{LayerSpec, PrintError, Printed};
use crate::plan::{InitPlan, Places, PlanBuilder, PlanError};
use crate::rng::Seed;
use crate::tensor::{Dtype, TensorView, ViewError};
use std::sync::OnceLock;
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
    plan: InitPlan,
    seed: Seed,
    tensors: Vec<PlannedTensor>,
    /// Path and class.
    opaque: Vec<(String, String)>,
}

#[derive(Debug)]
struct PlannedTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    drawn: Option<Drawn>,
    /// The elements, if they stay in memory.
    bytes: OnceLock<Vec<u8>>,
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
    /// the print does not show, or if PyTorch rejects a layer's arguments.
    pub fn draw(printed: &str, seed: impl Into<Seed>, kind: Kind) -> Result<Model, ModelError> {
        let root = Printed::parse(printed)?;
        let dtype = Dtype::from_kind(kind).ok_or(ModelError::Kind(kind))?;
        let mut layers = Vec::new();
        let mut opaque = Vec::new();
        collect(&root, String::new(), &mut layers, &mut opaque)?;
        let mut plan = PlanBuilder::new();
        for (path, spec) in &layers {
            spec.add_to_plan(&mut plan, path, dtype)?;
        }
        let plan = plan.finish("a printed model")?;
        Ok(Model {
            opaque,
            ..Model::new(plan, seed.into())?
        })
    }

    /// The model of a plan. It has the tensors of the `state_dict`, which are drawn when they are needed.
    ///
    /// The default generator is neither read nor moved.
    ///
    /// # Errors
    ///
    /// As [`InitPlan::draw_positions`].
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
    pub fn of_plan(plan: &InitPlan, seed: impl Into<Seed>) -> Result<Model, PlanError> {
        Model::new(plan.clone(), seed.into())
    }

    fn new(plan: InitPlan, seed: Seed) -> Result<Model, PlanError> {
        let draws = plan.draw_positions(&mut seeded(seed)?)?;
        let mut tensors = Vec::new();
        for ((name, entry), draw) in plan.names().zip(draws) {
            let Some(view) = plan.view(name).filter(|_| entry.persistent) else {
                continue;
            };
            tensors.push(PlannedTensor {
                name: name.to_owned(),
                dtype: entry.dtype,
                shape: view.shape().iter().map(|size| *size as usize).collect(),
                drawn: draw.map(|position| Drawn {
                    draw: position.draw,
                    seed: seed.value(),
                    word: position.word,
                    semantics: plan.semantics(),
                }),
                bytes: OnceLock::new(),
            });
        }
        Ok(Model {
            plan,
            seed,
            tensors,
            opaque: Vec::new(),
        })
    }

    /// Keeps only the tensors for whose name `wanted` returns `true`. The others are still drawn, as far as these depend on them.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.tensors.retain(|tensor| wanted(&tensor.name));
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

    /// All tensors, drawn, in memory. [`explain`](super::explain()) of the model itself needs less memory.
    ///
    /// # Errors
    ///
    /// As [`InitPlan::materialize`].
    pub fn expected(&self) -> Result<Vec<Expected<'_>>, ExplainError> {
        let mut drawing = Drawing::new(self)?;
        let expected = self.tensors.iter().enumerate().map(|(index, tensor)| {
            Ok(Expected {
                tensor: NamedView {
                    name: tensor.name.clone(),
                    view: drawing.keep(index)?,
                },
                drawn: tensor.drawn,
            })
        });
        expected.collect()
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = Info<'_>> {
        self.tensors.iter().map(|tensor| Info {
            name: &tensor.name,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            drawn: tensor.drawn,
        })
    }

    /// A tensor, if it is in memory.
    pub(super) fn drawn_view(&self, index: usize) -> Result<Option<TensorView<'_>>, ViewError> {
        let PlannedTensor {
            dtype,
            shape,
            bytes,
            ..
        } = &self.tensors[index];
        let view = |bytes| TensorView::contiguous(*dtype, shape, bytes);
        bytes.get().map(|bytes| view(bytes)).transpose()
    }
}

fn seeded(seed: Seed) -> Result<Generator, PlanError> {
    let mut generator = Generator::new(Device::Cpu)?;
    generator.manual_seed(seed)?;
    Ok(generator)
}

/// Draws the tensors of a model, one at a time.
pub(super) struct Drawing<'a> {
    model: &'a Model,
    places: Places<'a, Generator>,
    bytes: Vec<u8>,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(model: &'a Model) -> Result<Drawing<'a>, PlanError> {
        Ok(Drawing {
            model,
            places: model.plan.places(&seeded(model.seed)?)?,
            bytes: Vec::new(),
        })
    }

    /// Draws a tensor over the one before it.
    pub(super) fn read(&mut self, index: usize) -> Result<TensorView<'_>, ExplainError> {
        let PlannedTensor { dtype, shape, .. } = &self.model.tensors[index];
        self.fill(index, usize::MAX)?;
        Ok(TensorView::contiguous(*dtype, shape, &self.bytes)?)
    }

    /// Draws the first elements of a tensor.
    pub(super) fn head(&mut self, index: usize, elements: usize) -> Result<Vec<u8>, ExplainError> {
        self.fill(index, elements)?;
        Ok(self.bytes.clone())
    }

    /// Draws a tensor that stays in memory.
    pub(super) fn keep(&mut self, index: usize) -> Result<TensorView<'a>, ExplainError> {
        let model = self.model;
        let PlannedTensor {
            dtype,
            shape,
            bytes,
            ..
        } = &model.tensors[index];
        if bytes.get().is_none() {
            self.bytes = Vec::new();
            self.fill(index, usize::MAX)?;
        }
        let bytes = bytes.get_or_init(|| std::mem::take(&mut self.bytes));
        Ok(TensorView::contiguous(*dtype, shape, bytes)?)
    }

    fn fill(&mut self, index: usize, elements: usize) -> Result<(), PlanError> {
        let PlannedTensor {
            name, dtype, shape, ..
        } = &self.model.tensors[index];
        let numel = shape.iter().product::<usize>().min(elements);
        self.bytes.resize(numel * dtype.size(), 0);
        let range = 0..numel as u64;
        self.places.fill(name, range, *dtype, &mut self.bytes)
    }
}

/// Collects the layers of a printed module in order, and the modules whose print shows too little,
/// each with its path.
fn collect(
    module: &Printed,
    path: String,
    layers: &mut Vec<(String, LayerSpec)>,
    opaque: &mut Vec<(String, String)>,
) -> Result<(), PrintError> {
    let refused = |reason: &str| {
        Err(PrintError::Layer {
            line: module.line,
            class: module.class.clone(),
            reason: reason.to_owned(),
        })
    };
    match (LayerSpec::from_printed(module)?, module.class.as_str()) {
        (Some(spec), _) => layers.push((path, spec)),
        (None, class) if class.starts_with("Lazy") => {
            return refused("it has no parameters until its first input");
        }
        (None, "ParameterList" | "ParameterDict") => {
            return refused("its print does not show how its parameters are drawn");
        }
        _ if !module.children.is_empty() => {
            for (name, child) in &module.children {
                // `add_module` rejects such names too.
                if name.is_empty() || name.contains('.') {
                    return Err(PrintError::Syntax {
                        line: child.line,
                        reason: format!("`{name}` is not a name of a module"),
                    });
                }
                let path = match path.as_str() {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                collect(child, path, layers, opaque)?;
            }
        }
        _ if path.is_empty() => return refused("it has no layers"),
        (None, class) => opaque.push((path, class.to_owned())),
    }
    Ok(())
}

/// Why a printed model cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The text is not a print of a model, or a print does not show what a layer needs.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// The model cannot be drawn with these arguments.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kind is not a dtype of tensor files.
    #[error("{0:?} is not a dtype that weights are drawn in")]
    Kind(Kind),
}

#[cfg(test)]
mod tests {
    use super::Model;
    use tch::Kind;

    #[test]
    fn errors_name_what_the_print_does_not_show() {
        for (printed, message) in [
            (
                "Net(\n  (a): Linear(out_features=3, bias=True)\n)",
                "line 2: Linear: in_features is not printed",
            ),
            (
                "LazyLinear(in_features=0, out_features=3)",
                "line 1: LazyLinear: it has no parameters",
            ),
            (
                "TransformerEncoder(\n  (layers): ModuleList()\n)",
                "line 1: TransformerEncoder: the layer that it was made from is not printed",
            ),
            ("Mine()", "line 1: Mine: it has no layers"),
            (
                "Net(\n  (a.b): ReLU()\n)",
                "line 2: `a.b` is not a name of a module",
            ),
            (
                "Linear(in_features=-2, out_features=3)",
                "Linear: weight has a negative size",
            ),
        ] {
            let error = Model::draw(printed, 1, Kind::Float)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert!(Model::draw("Linear(in_features=2, out_features=3)", 1, Kind::Int64).is_err());
    }

    #[test]
    fn modules_of_unknown_classes_are_opaque() {
        let printed = "Net(\n  (a): Mine()\n  (b): Linear(in_features=1, out_features=1)\n)";
        let model = Model::draw(printed, 1, Kind::Double).unwrap();
        assert_eq!(model.opaque().collect::<Vec<_>>(), [("a", "Mine")]);
        assert_eq!(model.names().collect::<Vec<_>>(), ["b.weight", "b.bias"]);
    }
}
