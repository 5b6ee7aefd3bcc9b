//! The visit of a layer whose kind is ambiguous.
//!
//! PyTorch's visitors are `isinstance` tests that several classes may pass. So a visitor sees the
//! layer as each of its candidates, from the same values and generator states, and is accepted if
//! the results are the same to the bit.

use super::error::VisitError;
use super::layer::Layer;
use crate::error::{Context, InitError};
use crate::generator::Generator;
use crate::init::recording::{self, Event, Fill};
use tch::{Device, Kind, Tensor};

/// Calls the visitor with the layer: once, unless the kind is ambiguous and the visitor asks for it.
pub(super) fn visit(
    layer: &mut Layer<'_>,
    visitor: &mut dyn FnMut(&mut Layer<'_>) -> Result<(), InitError>,
) -> Result<(), VisitError> {
    let visited = if layer.specs().len() < 2 {
        visitor(layer).map(|()| true)
    } else {
        visit_as_each(layer, visitor)
    };
    match visited {
        Ok(true) => Ok(()),
        Ok(false) => Err(layer.ambiguous()),
        Err(source) => Err(VisitError::Layer {
            path: layer.path().to_owned(),
            source,
        }),
    }
}

/// Whether the visitor treats the layer the same as any of its candidates. If not, the layer and the
/// generators are as they were.
fn visit_as_each(
    layer: &mut Layer<'_>,
    visitor: &mut dyn FnMut(&mut Layer<'_>) -> Result<(), InitError>,
) -> Result<bool, InitError> {
    let candidates = layer.specs().to_vec();
    let mark = recording::mark();
    let before = State::of(layer)?;
    let mut first: Option<Outcome> = None;
    let mut is_same = true;
    for candidate in &candidates {
        if first.is_some() {
            before.restore(layer)?;
        }
        layer.set_specs(vec![candidate.clone()]);
        layer.take_asked();
        let result = visitor(layer);
        if first.is_none() && !layer.take_asked() {
            layer.set_specs(candidates);
            return result.map(|()| true);
        }
        let outcome = Outcome {
            result,
            state: State::of(layer)?,
            events: recording::take_since(mark),
        };
        match &first {
            None => first = Some(outcome),
            Some(known) => is_same &= known.equals(&outcome)?,
        }
        if !is_same {
            break;
        }
    }
    layer.set_specs(candidates);
    let Some(first) = first else { return Ok(true) };
    if !is_same {
        before.restore(layer)?;
        recording::append(first.events.into_iter().filter(is_given));
        return Ok(false);
    }
    recording::append(first.events);
    first.result.map(|()| true)
}

/// What a visit did.
struct Outcome {
    result: Result<(), InitError>,
    state: State,
    events: Vec<Event>,
}

impl Outcome {
    fn equals(&self, other: &Outcome) -> Result<bool, InitError> {
        // Given values are noted once, by the first visit that overwrites them.
        let made = |events: &[Event]| -> Vec<Event> {
            events
                .iter()
                .filter(|event| !is_given(event))
                .cloned()
                .collect()
        };
        Ok(self.result == other.result
            && made(&self.events) == made(&other.events)
            && self.state.equals(&other.state)?)
    }
}

/// Whether an event only notes the values that a tensor had.
fn is_given(event: &Event) -> bool {
    matches!(event.fill, Fill::Values(_))
}

/// The values of a layer and the states of the generators that it can draw from.
struct State {
    /// None while this thread records: then tensors have no values, and only events count.
    tensors: Vec<Tensor>,
    /// The default generator of the CPU, that of the layer's device, and that of the walk.
    generators: Vec<Vec<u8>>,
}

impl State {
    fn of(layer: &mut Layer<'_>) -> Result<State, InitError> {
        let mut generators = Vec::new();
        for default in defaults(layer)? {
            generators.push(default.get_state()?);
        }
        if let Some(generator) = &layer.generator {
            generators.push(generator.get_state()?);
        }
        let mut tensors = Vec::new();
        if recording::mark().is_none() {
            for (_, tensor) in layer.parameters().chain(layer.buffers()) {
                let copy = tch::no_grad(|| tensor.f_detach_copy().and_then(|t| t.f_contiguous()));
                tensors.push(copy.context("apply", tensor)?);
            }
        }
        Ok(State {
            tensors,
            generators,
        })
    }

    fn restore(&self, layer: &mut Layer<'_>) -> Result<(), InitError> {
        let mut states = self.generators.iter();
        for (mut default, state) in defaults(layer)?.into_iter().zip(&mut states) {
            default.set_state(state)?;
        }
        if let (Some(generator), Some(state)) = (&mut layer.generator, states.next()) {
            generator.set_state(state)?;
        }
        let _no_grad = tch::no_grad_guard();
        let tensors = self.tensors.iter();
        for ((_, tensor), values) in layer.variables_mut().zip(tensors) {
            let copied = match is_alike(tensor, values) {
                true => tensor.f_copy_(values),
                false => tensor.f_set_data(values),
            };
            copied.context("apply", values)?;
        }
        Ok(())
    }

    fn equals(&self, other: &State) -> Result<bool, InitError> {
        if self.generators != other.generators || self.tensors.len() != other.tensors.len() {
            return Ok(false);
        }
        for (a, b) in self.tensors.iter().zip(&other.tensors) {
            if !is_alike(a, b) || !has_same_bits(a, b).context("apply", a)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn defaults(layer: &Layer<'_>) -> Result<Vec<Generator>, InitError> {
    let tensors = layer.parameters().chain(layer.buffers());
    let mut devices = vec![Device::Cpu];
    for (_, tensor) in tensors {
        let device = tensor.device();
        if matches!(device, Device::Cuda(_)) && !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
        .into_iter()
        .map(Generator::default_generator)
        .collect()
}

fn is_alike(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.kind() == b.kind()
}

/// Compares the bytes of contiguous tensors.
fn has_same_bits(a: &Tensor, b: &Tensor) -> Result<bool, tch::TchError> {
    let bytes = |tensor: &Tensor| tensor.f_reshape([-1])?.f_view_dtype(Kind::Uint8);
    bytes(a)?.f_equal(&bytes(b)?)
}
