//! Which layer of a model each operation belongs to, and what the layers compute.

use op_trace::{
    GeneratorState, Operation, Phase, SharedStr, Stats, TensorValue, Trace, Value, ValueHash,
};
use std::collections::HashMap;

/// The layers in the order of their first operation.
#[derive(Default)]
pub struct Layers {
    pub names: Vec<Layer>,
    numbers: HashMap<Layer, u32>,
    of_operation: Vec<u32>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Layer {
    /// A module, or the prefix of the names of its parameters: `encoder.0`.
    Module(String),
    /// A line of the program, if nothing has a name: `src/model.rs:12`.
    Line(String),
    /// Neither.
    Outside,
}

impl Layer {
    pub fn text(&self) -> &str {
        match self {
            Layer::Module(name) | Layer::Line(name) => name,
            Layer::Outside => "outside of modules",
        }
    }

    /// The names of the modules that it is in, outermost first.
    pub fn path(&self) -> Vec<&str> {
        match self {
            Layer::Module(name) => name.split('.').collect(),
            other => vec![other.text()],
        }
    }
}

impl Layers {
    /// The layer of the next operation: its module; in a backward pass that of its forward operation; of an update that of the
    /// parameter. In programs without modules, that of the parameters that it takes, or its line.
    pub fn add(&mut self, operation: &Operation, language: &str) -> u32 {
        let forward = operation
            .forward
            .and_then(|forward| self.of_operation.get(forward));
        let number = match (&operation.module, forward) {
            (Some(module), _) => self.number(Layer::Module(module.to_string())),
            (None, Some(forward)) => *forward,
            _ => self.number(owner(operation, language)),
        };
        self.of_operation.push(number);
        number
    }

    fn number(&mut self, layer: Layer) -> u32 {
        let next = self.names.len() as u32;
        if let Some(known) = self.numbers.get(&layer) {
            return *known;
        }
        self.names.push(layer.clone());
        self.numbers.insert(layer, next);
        next
    }
}

fn owner(operation: &Operation, language: &str) -> Layer {
    let named = operation.parameter.clone().or_else(|| {
        let tensors = operation.arguments().flat_map(|(_, value)| value.tensors());
        tensors.filter_map(|(_, tensor)| tensor.name.clone()).next()
    });
    let is_parameter = operation.phase == Phase::Optimizer || operation.parameter.is_some();
    match (named, &operation.at) {
        (Some(name), _) if is_parameter || language != "python" => {
            let name = name.as_str();
            let name = name.strip_suffix(".grad").unwrap_or(name);
            match name.rsplit_once('.') {
                Some((module, _)) => Layer::Module(module.to_owned()),
                None => Layer::Outside,
            }
        }
        (_, Some(at)) if language != "python" => Layer::Line(at.to_string()),
        _ => Layer::Outside,
    }
}

/// Forward, backward, optimizer.
pub fn phase_number(phase: Phase) -> usize {
    match phase {
        Phase::Forward => 0,
        Phase::Backward => 1,
        _ => 2,
    }
}

/// The statistics of a tensor, with the number of its elements.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub stats: Stats,
    pub elements: i64,
}

impl Measured {
    fn of(tensor: &TensorValue) -> Option<Measured> {
        let is_float = tensor.dtype.as_str().contains("float");
        let stats = tensor.stats.filter(|_| is_float && tensor.elements() > 0)?;
        Some(Measured {
            stats,
            elements: tensor.elements(),
        })
    }

    /// The share of zeros.
    pub fn zeros(&self) -> f64 {
        self.stats.zeros as f64 / self.elements as f64
    }
}

/// What a layer computed in one step.
#[derive(Debug, Clone, Default)]
pub struct Signal {
    /// The result of its last operation, and that operation.
    pub activation: Option<(usize, String, Measured)>,
    /// The gradient of that result.
    pub gradient: Option<Measured>,
    /// The gradients of its parameters, by name.
    pub parameters: Vec<(String, Measured)>,
}

/// What the layers computed in the first step.
#[derive(Default)]
pub struct Signals {
    pub layers: Layers,
    /// By layer.
    pub signals: Vec<Signal>,
    /// The step.
    pub step: Option<u32>,
    /// What backward passes made in the step.
    made: HashMap<(SharedStr, ValueHash), Measured>,
    shapes: HashMap<usize, Vec<i64>>,
}

impl Signals {
    pub fn add(&mut self, operation: &Operation, language: &str) -> u32 {
        let layer = self.layers.add(operation, language);
        self.signals
            .resize_with(self.layers.names.len(), Signal::default);
        if *self.step.get_or_insert(operation.step) == operation.step {
            self.measure(operation, layer);
        }
        layer
    }

    fn measure(&mut self, operation: &Operation, layer: u32) {
        let results = || {
            operation
                .results
                .iter()
                .flat_map(Value::tensors)
                .map(|(_, t)| t)
        };
        match operation.phase {
            Phase::Forward if self.layers.names[layer as usize] != Layer::Outside => {
                if let Some((tensor, measured)) =
                    results().find_map(|tensor| Some((tensor, Measured::of(tensor)?)))
                {
                    let signal = &mut self.signals[layer as usize];
                    if let Some((last, ..)) = &signal.activation {
                        self.shapes.remove(last);
                    }
                    self.shapes.insert(operation.index, tensor.shape.clone());
                    signal.activation = Some((operation.index, operation.schema(), measured));
                }
            }
            Phase::Backward => {
                if let Some(shape) = operation
                    .forward
                    .and_then(|forward| self.shapes.get(&forward))
                {
                    let taken = operation.arguments().flat_map(|(_, value)| value.tensors());
                    let mut gradients = taken.filter_map(|(_, tensor)| {
                        let known = self.made.get(&(tensor.dtype.clone(), tensor.hash?))?;
                        (tensor.shape == *shape).then_some(*known)
                    });
                    let signal = &mut self.signals[layer as usize];
                    if signal.gradient.is_none() {
                        signal.gradient = gradients.next();
                    }
                }
                for tensor in results() {
                    if let (Some(hash), Some(measured)) = (tensor.hash, Measured::of(tensor)) {
                        self.made.insert((tensor.dtype.clone(), hash), measured);
                    }
                }
            }
            Phase::Optimizer => {
                for (_, value) in operation.arguments() {
                    for (_, tensor) in value.tensors() {
                        self.parameter(tensor);
                    }
                }
            }
            _ => {}
        }
    }

    /// Adds the gradient of a parameter, if that is what an optimizer takes.
    fn parameter(&mut self, tensor: &TensorValue) {
        let name = tensor.name.as_ref().map(SharedStr::as_str);
        let Some(name) = name.and_then(|name| name.strip_suffix(".grad")) else {
            return;
        };
        let known = tensor
            .hash
            .and_then(|hash| self.made.get(&(tensor.dtype.clone(), hash)));
        let Some(measured) = known.copied() else {
            return;
        };
        let layer = match name.rsplit_once('.') {
            Some((module, _)) => Layer::Module(module.to_owned()),
            None => Layer::Outside,
        };
        let layer = self.layers.number(layer) as usize;
        if self.signals.len() <= layer {
            self.signals.resize_with(layer + 1, Signal::default);
        }
        let parameters = &mut self.signals[layer].parameters;
        if !parameters.iter().any(|(known, _)| known == name) {
            parameters.push((name.to_owned(), measured));
        }
    }

    /// The layers that have something to show, with their names.
    pub fn shown(&self) -> Vec<(&str, &Signal)> {
        let both = self.layers.names.iter().zip(&self.signals);
        both.filter(|(_, signal)| signal.activation.is_some() || !signal.parameters.is_empty())
            .map(|(layer, signal)| (layer.text(), signal))
            .collect()
    }
}

/// What is counted of a trace, in one pass.
#[derive(Default)]
pub struct Summary {
    pub signals: Signals,
    pub steps: u32,
    pub draws: usize,
    pub failed: Vec<String>,
}

/// Failed operations that are listed.
const MAX_FAILED: usize = 100;

impl Summary {
    /// Adds an operation and returns its layer.
    pub fn add(&mut self, operation: &Operation, language: &str) -> u32 {
        self.steps = self.steps.max(operation.step);
        let states: Option<&[GeneratorState]> = operation.generator.as_deref();
        self.draws += usize::from(states.is_some());
        if let Some(error) = &operation.error
            && self.failed.len() < MAX_FAILED
        {
            let at = operation.at.as_ref();
            let at = at.map_or("an unknown line", SharedStr::as_str);
            let text = format!("failed: {} at {at}: {error}", operation.schema());
            self.failed.push(text);
        }
        self.signals.add(operation, language)
    }

    /// What there is to say of a trace, a line each.
    pub fn lines(&self, trace: &Trace) -> Vec<String> {
        let mut lines = Vec::new();
        let environment = ["torch", "cpu", "capability", "threads"].map(|name| {
            let value = trace.environment.get(name).unwrap_or("unknown");
            if name == "torch" {
                format!("PyTorch {value}")
            } else {
                format!("{name} {value}")
            }
        });
        lines.push(environment.join(", "));
        for model in &trace.models {
            let parameters = model
                .names
                .iter()
                .filter(|named| named.requires_grad.is_some());
            let elements = parameters.clone().fold(0i64, |sum, named| {
                sum.saturating_add(named.tensor.elements())
            });
            lines.push(format!(
                "{}: {} parameters with {elements} elements",
                model.class,
                parameters.count()
            ));
        }
        let end = match &trace.end {
            None => "the program was killed".to_owned(),
            Some(end) => match end.reason.as_str() {
                "finished" => "the program finished".to_owned(),
                "steps" => "the recording ended after these steps".to_owned(),
                other => other.to_owned(),
            },
        };
        let (steps, draws) = (self.steps, self.draws);
        lines.push(format!(
            "{} operations in {steps} step{}, {draws} draws; {end}",
            trace.len(),
            if steps == 1 { "" } else { "s" }
        ));
        lines.extend(self.failed.iter().cloned());
        lines
    }
}
