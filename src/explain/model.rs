//! A model as a reference: its tensors as PyTorch draws them, each with its draw.

use super::reference::{Drawn, Expected, NamedView};
use super::replay::bytes;
use crate::generator::Generator;
use crate::nn::{LayerSpec, PrintError, Printed};
use crate::plan::{InitPlan, PlanBuilder, PlanError};
use crate::rng::Seed;
use crate::tensor::{Dtype, TensorView, ViewError};
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
    pub fn of_plan(plan: &InitPlan, seed: impl Into<Seed>) -> Result<Model, PlanError> {
        let seed = seed.into();
        let mut generator = Generator::new(Device::Cpu)?;
        generator.manual_seed(seed)?;
        let draws = plan.draw_positions(&mut generator.clone_state()?)?;
        let tensors = plan.materialize(&mut generator)?;
        let mut stored = Vec::new();
        for (((_, entry), (name, tensor)), draw) in plan.names().zip(tensors).zip(draws) {
            if !entry.persistent {
                continue;
            }
            let drawn = draw.map(|position| Drawn {
                draw: position.draw,
                seed: seed.value(),
                word: position.word,
                semantics: plan.semantics(),
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
