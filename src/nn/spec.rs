//! A layer as data.
//!
//! A [`LayerSpec`] holds the facts of one layer: its variables, what each is initialized with, in
//! which order, and what Python prints. Constructors, `reset_parameters`, the inference of layers
//! from variables, plans and printed models derive from it. Each layer's specs are made in one file
//! of [`nn`](super), next to its constructor and its forward pass. Nothing here needs libtorch.
//!
//! Adding a layer takes one file with its `Rule` and one line in the list of [`kind`](super::kind).

use super::kind::LayerKind;
use super::printed::{PrintError, Printed};
use crate::error::InitError;
use crate::init::{FanMode, Nonlinearity, calculate_fan_in_and_fan_out, kaiming_std, xavier_std};
use tensor_parity::Dtype;
use torch_rng::{Draw, Normal, Uniform};

/// The rules of the kinds of layers in one file.
pub(super) trait LayerRule {
    /// Whether variables that fit are taken for this kind without a hint from the caller: tch makes
    /// it, or the names of its variables leave no doubt.
    #[cfg_attr(not(feature = "tch"), allow(dead_code))]
    const INFERRED: bool = false;

    /// The layer that Python printed.
    fn from_printed(kind: LayerKind, printed: &Printed) -> Result<LayerSpec, PrintError>;

    /// The layer that has these variables, if there is one.
    fn infer(_kind: LayerKind, _variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        None
    }
}

/// A layer as data: its variables, how they are initialized, and what Python prints.
///
/// ```
/// use tch_init::nn::{InitFill, LayerSpec, Printed};
///
/// let printed = Printed::parse("Linear(in_features=4, out_features=2, bias=True)")?;
/// let linear = LayerSpec::from_printed(&printed)?.unwrap();
/// let names: Vec<String> = linear.variables().map(|(name, _)| name).collect();
/// assert_eq!(names, ["weight", "bias"]);
/// let InitFill::Draw(draw) = linear.init()[1].fill() else { panic!() };
/// assert_eq!(draw.to_string(), "uniform_(-0.5, 0.5)");
/// # Ok::<(), tch_init::nn::PrintError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    kind: LayerKind,
    repr: String,
    own: Vec<VariableSpec>,
    children: Vec<(String, LayerSpec)>,
    init: Vec<InitStep>,
}

/// A parameter or a buffer of a [`LayerSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableSpec {
    name: String,
    shape: Vec<i64>,
    is_parameter: bool,
    dtype: Option<Dtype>,
}

impl VariableSpec {
    /// The name in the layer that it belongs to, such as `weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of each dimension. A negative size, which libtorch rejects, is possible.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Whether it is a parameter, which is trained; otherwise it is a buffer.
    pub fn is_parameter(&self) -> bool {
        self.is_parameter
    }

    /// The dtype, if the layer fixes it; otherwise it is that of the model.
    pub fn dtype(&self) -> Option<Dtype> {
        self.dtype
    }
}

/// One step of an initialization: what is written, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct InitStep {
    target: InitTarget,
    fill: InitFill,
    row_major: bool,
}

impl InitStep {
    /// The target of the step.
    pub fn target(&self) -> &InitTarget {
        &self.target
    }

    /// The values that the step writes.
    pub fn fill(&self) -> &InitFill {
        &self.fill
    }

    /// Whether values are drawn in row-major order even if the tensor has another memory format, as
    /// convolutions do. Other draws into such a tensor are in memory order.
    pub fn is_row_major(&self) -> bool {
        self.row_major
    }
}

/// The target of a step of an initialization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitTarget {
    /// A variable, by its name below the layer.
    Variable(String),
    /// One row, by its index in the first dimension, of a variable.
    Row(String, i64),
    /// A tensor of this shape, which nothing reads. Its draws advance the generator.
    Discarded(Vec<i64>),
}

/// The values that a step of an initialization writes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum InitFill {
    /// Random values.
    Draw(Draw),
    /// One value in all elements.
    Constant(f64),
    /// The values of another variable, by its name below the layer.
    Copy(String),
    /// Nothing: PyTorch warns that the tensor has no elements and leaves it alone.
    Skip,
}

impl LayerSpec {
    /// The kind of the layer.
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// The layer as Python prints it, including its children.
    pub fn repr(&self) -> &str {
        &self.repr
    }

    /// The layer's variables and those of its children, with their names below the layer, in the
    /// order of PyTorch's `state_dict`.
    pub fn variables(&self) -> impl Iterator<Item = (String, &VariableSpec)> {
        let mut variables = Vec::new();
        self.collect("", &mut variables);
        variables.into_iter()
    }

    /// The children with their names, in PyTorch's order. A name has a dot where PyTorch has a
    /// container: `layers.0`.
    pub fn children(&self) -> impl Iterator<Item = (&str, &LayerSpec)> {
        self.children
            .iter()
            .map(|(name, spec)| (name.as_str(), spec))
    }

    /// The steps of the initialization, children included, in PyTorch's order.
    pub fn init(&self) -> &[InitStep] {
        &self.init
    }

    /// The row that an embedding keeps zero, if it has one.
    #[cfg(feature = "tch")]
    pub(crate) fn padding_idx(&self) -> Option<i64> {
        self.init.iter().find_map(|step| match step.target {
            InitTarget::Row(_, row) => Some(row),
            _ => None,
        })
    }

    fn collect<'a>(&'a self, path: &str, variables: &mut Vec<(String, &'a VariableSpec)>) {
        for is_parameter in [true, false] {
            let own = self.own.iter();
            let own = own.filter(|variable| variable.is_parameter == is_parameter);
            variables.extend(own.map(|variable| (join(path, &variable.name), variable)));
        }
        for (name, child) in &self.children {
            child.collect(&join(path, name), variables);
        }
    }

    /// A layer without variables.
    pub(super) fn new(kind: LayerKind, repr: String) -> LayerSpec {
        LayerSpec {
            kind,
            repr,
            own: Vec::new(),
            children: Vec::new(),
            init: Vec::new(),
        }
    }

    /// Adds a parameter, initialized after those before it.
    pub(super) fn parameter(self, name: &str, shape: &[i64], fill: InitFill) -> LayerSpec {
        self.parameter_only(name, shape).step(name, fill)
    }

    /// Adds a parameter if the layer has it.
    pub(super) fn parameter_if(
        self,
        present: bool,
        name: &str,
        shape: &[i64],
        fill: InitFill,
    ) -> LayerSpec {
        match present {
            true => self.parameter(name, shape, fill),
            false => self,
        }
    }

    /// Adds a parameter without a step of the initialization.
    pub(super) fn parameter_only(mut self, name: &str, shape: &[i64]) -> LayerSpec {
        self.own.push(VariableSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            is_parameter: true,
            dtype: None,
        });
        self
    }

    /// Adds a buffer without a step of the initialization.
    pub(super) fn buffer(mut self, name: &str, shape: &[i64], dtype: Option<Dtype>) -> LayerSpec {
        self.own.push(VariableSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            is_parameter: false,
            dtype,
        });
        self
    }

    /// Adds a step of the initialization.
    pub(super) fn step(mut self, name: &str, fill: InitFill) -> LayerSpec {
        self.init
            .push(InitStep::new(InitTarget::Variable(name.to_owned()), fill));
        self
    }

    /// Adds a step that fills one row.
    pub(super) fn row_step(mut self, name: &str, row: i64, fill: InitFill) -> LayerSpec {
        self.init
            .push(InitStep::new(InitTarget::Row(name.to_owned(), row), fill));
        self
    }

    /// Lets the last step draw in row-major order whatever the memory format of the tensor.
    pub(super) fn in_row_major_order(mut self) -> LayerSpec {
        if let Some(step) = self.init.last_mut() {
            step.row_major = true;
        }
        self
    }

    /// Adds a child and its initialization.
    pub(super) fn child(mut self, name: &str, child: LayerSpec) -> LayerSpec {
        let of_child = |variable: &String| join(name, variable);
        self.init.extend(child.init.iter().map(|step| InitStep {
            target: match &step.target {
                InitTarget::Variable(variable) => InitTarget::Variable(of_child(variable)),
                InitTarget::Row(variable, row) => InitTarget::Row(of_child(variable), *row),
                InitTarget::Discarded(shape) => InitTarget::Discarded(shape.clone()),
            },
            fill: match &step.fill {
                InitFill::Copy(variable) => InitFill::Copy(of_child(variable)),
                other => other.clone(),
            },
            row_major: step.row_major,
        }));
        self.children.push((name.to_owned(), child));
        self
    }

    /// Adds a child whose variables are copies of those of another child, of the same spec.
    pub(super) fn copied_child(mut self, name: &str, child: LayerSpec, of: &str) -> LayerSpec {
        for (variable, _) in child.variables() {
            let fill = InitFill::Copy(join(of, &variable));
            self = self.step(&join(name, &variable), fill);
        }
        self.children.push((name.to_owned(), child));
        self
    }

    /// Adds the initialization of a layer that is then thrown away.
    pub(super) fn discarded_child(mut self, child: &LayerSpec) -> LayerSpec {
        for step in &child.init {
            let shape = match &step.target {
                InitTarget::Variable(name) => {
                    let mut variables = child.variables();
                    variables.find_map(|(known, v)| (known == *name).then(|| v.shape.clone()))
                }
                InitTarget::Row(..) => None,
                InitTarget::Discarded(shape) => Some(shape.clone()),
            };
            let (Some(shape), InitFill::Draw(_) | InitFill::Constant(_)) = (shape, &step.fill)
            else {
                continue;
            };
            self.init.push(InitStep {
                target: InitTarget::Discarded(shape),
                ..step.clone()
            });
        }
        self
    }

    /// Orders the steps as the parameters were created: `reset_parameters` of recurrent layers goes
    /// through its parameters in order of registration.
    pub(super) fn drawn_in_order_of(mut self, variables: &VariableShapes<'_>) -> LayerSpec {
        self.init.sort_by_key(|step| {
            let created = |name: &String| {
                let mut names = variables.parameters.iter();
                names.position(|(known, _)| known == name)
            };
            match &step.target {
                InitTarget::Variable(name) => created(name).unwrap_or(usize::MAX),
                _ => usize::MAX,
            }
        });
        self
    }

    /// Replaces what is printed.
    pub(super) fn printing(self, repr: String) -> LayerSpec {
        LayerSpec { repr, ..self }
    }
}

impl InitStep {
    fn new(target: InitTarget, fill: InitFill) -> InitStep {
        InitStep {
            target,
            fill,
            row_major: false,
        }
    }
}

/// Names and shapes of the variables at one path, from which [`LayerSpec::infer`] infers a layer.
#[derive(Debug, Clone, Copy)]
pub struct VariableShapes<'a> {
    /// The parameters, in order of creation.
    pub parameters: &'a [(&'a str, Vec<i64>)],
    /// The buffers, in any order.
    pub buffers: &'a [(&'a str, Vec<i64>)],
}

impl<'a> VariableShapes<'a> {
    /// The shape of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a [i64]> {
        find(self.parameters, name)
    }

    /// The shape of a buffer.
    pub(super) fn buffer(&self, name: &str) -> Option<&'a [i64]> {
        find(self.buffers, name)
    }

    /// The spec if it has just these variables, printed with `...` for what they do not show. Plain
    /// tch has no `num_batches_tracked`.
    pub(super) fn matching(&self, spec: LayerSpec) -> Option<LayerSpec> {
        let complete = spec.own.iter().all(|variable| {
            let given = match variable.is_parameter {
                true => self.parameter(&variable.name),
                false => self.buffer(&variable.name),
            };
            given.is_some() || variable.name == NUM_BATCHES_TRACKED
        });
        self.part_of(spec).filter(|_| complete)
    }

    /// The spec if it has at least these variables.
    pub(super) fn part_of(&self, spec: LayerSpec) -> Option<LayerSpec> {
        let known = |(name, shape): &(&str, Vec<i64>), is_parameter| {
            spec.own.iter().any(|variable| {
                variable.name == *name
                    && variable.shape == *shape
                    && variable.is_parameter == is_parameter
            })
        };
        let fits = self.parameters.iter().all(|given| known(given, true))
            && self.buffers.iter().all(|given| known(given, false));
        let repr = format!("{}(...)", spec.kind);
        fits.then(|| spec.printing(repr))
    }
}

/// The buffer of PyTorch's normalizations that tch's lack.
pub(super) const NUM_BATCHES_TRACKED: &str = "num_batches_tracked";

fn find<'a>(variables: &'a [(&'a str, Vec<i64>)], name: &str) -> Option<&'a [i64]> {
    variables
        .iter()
        .find_map(|(known, shape)| (*known == name).then_some(shape.as_slice()))
}

/// The name of a variable below a path.
pub(super) fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// An error about an argument or an input of a layer, with a message that names its value.
pub(super) fn refused(
    kind: LayerKind,
    argument: &'static str,
    message: impl Into<String>,
) -> InitError {
    InitError::Layer {
        kind: kind.name(),
        argument,
        message: message.into(),
    }
}

// Sizes that libtorch rejects may have no fans; then the bounds are NaN, and making the tensor is
// what fails.

/// `kaiming_uniform_(weight, a=sqrt(5))`, the default of linear layers and convolutions.
pub(super) fn kaiming_default(shape: &[i64]) -> InitFill {
    if shape.contains(&0) {
        return InitFill::Skip;
    }
    let slope = Nonlinearity::LeakyRelu {
        negative_slope: 5f64.sqrt(),
    };
    let std = kaiming_std("kaiming_uniform_", shape, FanMode::FanIn, slope);
    symmetric(3f64.sqrt() * std.unwrap_or(f64::NAN))
}

/// The bias of linear layers and convolutions: uniform over `+-1/sqrt(fan_in)` of the weight.
/// Without a fan the range is empty, and the draw still advances the generator.
pub(super) fn default_bias(weight: &[i64]) -> InitFill {
    match calculate_fan_in_and_fan_out(weight) {
        // Python's bound is the integer 0: not -0.0, which the draw would return.
        Ok((..=0, _)) => uniform(0.0, 0.0),
        fans => symmetric(1.0 / fans.map_or(f64::NAN, |(fan_in, _)| fan_in as f64).sqrt()),
    }
}

/// `xavier_uniform_` of gain 1.
pub(super) fn xavier_uniform(shape: &[i64]) -> InitFill {
    let std = xavier_std("xavier_uniform_", shape, 1.0);
    symmetric(3f64.sqrt() * std.unwrap_or(f64::NAN))
}

/// `xavier_normal_` of gain 1.
pub(super) fn xavier_normal(shape: &[i64]) -> InitFill {
    let std = xavier_std("xavier_normal_", shape, 1.0).unwrap_or(f64::NAN);
    normal(0.0, std)
}

/// Uniform over `+-bound`.
pub(super) fn symmetric(bound: f64) -> InitFill {
    uniform(-bound, bound)
}

/// Uniform over `[from, to)`.
pub(super) fn uniform(from: f64, to: f64) -> InitFill {
    InitFill::Draw(Uniform { from, to }.into())
}

/// Normal.
pub(super) fn normal(mean: f64, std: f64) -> InitFill {
    InitFill::Draw(Normal { mean, std }.into())
}

/// The draw of every parameter of recurrent layers and cells: `RNNBase.reset_parameters` and
/// `RNNCellBase.reset_parameters`, `torch/nn/modules/rnn.py`, PyTorch 2.13.
pub(super) fn recurrent_uniform(hidden_size: i64) -> InitFill {
    match hidden_size {
        1.. => symmetric(1.0 / (hidden_size as f64).sqrt()),
        // Python negates an integer 0 if there is no hidden state.
        _ => uniform(0.0, 0.0),
    }
}
