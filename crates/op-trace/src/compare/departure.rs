//! What is reported of a difference.

use super::class::Class;
use super::expression::{Expander, shown_scalars};
use super::names;
use super::side::Side;
use super::sides::Sides;
use crate::{Phase, SharedStr};

/// An operation that gives other results on the two sides, though its inputs are the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Departure {
    /// The kind of difference, as far as the arguments tell it.
    pub class: Class,
    /// The place in A.
    pub a: Option<Place>,
    /// The place in B.
    pub b: Option<Place>,
    /// The parameters and buffers that have other values at the start.
    pub weights: Vec<Sides<String>>,
    /// What differs, one sentence each.
    pub details: Vec<String>,
    /// The number of operations that differ after it, of the side that has more.
    pub consequences: usize,
    /// The number of departures of the same kind at the same lines: an optimizer's for each parameter.
    pub similar: usize,
    /// The operations of A and of B whose results depart, by number: those of this departure, then of similar ones.
    pub pairs: Vec<Sides<Option<usize>>>,
}

/// An operation in a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The number of the operation.
    pub index: usize,
    /// The operation with those arguments that are not tensors: `native_layer_norm(eps=1e-05)`.
    pub call: String,
    /// The module.
    pub module: Option<String>,
    /// The module; of a program without modules, that of the parameters that the operation takes, or the module of the other program.
    pub layer: Option<String>,
    /// The user's line.
    pub at: Option<String>,
    /// The training step. What updates parameters or buffers by hand, or an average of them, belongs to the step that it follows.
    pub step: u32,
    /// `forward`, `backward` or `optimizer`, which an update by hand is, too.
    pub phase: &'static str,
    /// The parameter that is updated.
    pub parameter: Option<String>,
    /// In a backward pass: the operation whose gradient is computed.
    pub backward_of: Option<String>,
}

/// A name for steps, outermost first: that of the innermost, which comes first in the program.
pub fn step_name(side: &Side<'_>, steps: &[usize]) -> String {
    steps
        .last()
        .map_or_else(String::new, |step| side.node(*step).canon.to_owned())
}

pub fn call_text(expander: &Expander<'_, '_>, index: usize) -> String {
    let node = &expander.side.node(index);
    let mut parts: Vec<String> = node
        .inputs
        .iter()
        .take(6)
        .map(|input| {
            expander
                .expand(input.key, input.tensor, index)
                .text(expander.side, 2)
        })
        .collect();
    if node.inputs.len() > 6 {
        parts.push("...".to_owned());
    }
    parts.extend(shown_scalars(expander.side, index));
    format!("{}({})", node.canon, parts.join(", "))
}

pub fn place_of(side: &Side<'_>, index: usize) -> Place {
    let node = &side.node(index);
    let operation = node.operation;
    let forward = operation
        .forward
        .map(|forward| side.trace.calls.call(forward));
    let backward_of = forward.map(|forward| {
        let mut text = forward.site.schema();
        if let Some(module) = &forward.site.module {
            text += &format!(" in {module}");
        }
        if let Some(at) = &forward.site.at {
            text += &format!(" at {at}");
        }
        text
    });
    let scalars = shown_scalars(side, index);
    let site = operation.site;
    let text = |text: Option<&SharedStr>| text.map(SharedStr::to_string);
    let module = text(
        site.module
            .as_ref()
            .or(forward.and_then(|forward| forward.site.module.as_ref())),
    );
    let named = || {
        let mut names = node.inputs.iter().filter_map(|input| {
            let name = input.tensor.name.as_ref()?.as_str();
            names::module(name).map(str::to_owned)
        });
        names.next()
    };
    let layer = match side.has_modules {
        true => module.clone(),
        false => named(),
    };
    let by_hand = side.update_by_hand(index);
    Place {
        index: operation.index,
        call: format!("{}({})", node.canon, scalars.join(", ")),
        module,
        layer,
        at: text(site.at.as_ref()),
        step: by_hand.unwrap_or(operation.step),
        phase: match operation.phase {
            Phase::Optimizer => "optimizer",
            _ if by_hand.is_some() => "optimizer",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
        },
        parameter: text(site.parameter.as_ref().or(site.updated.as_ref())),
        backward_of,
    }
}

/// The largest difference of the elements that both traces sample.
pub fn sample_difference(a: &[f64], b: &[f64]) -> Option<String> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let difference = a
        .iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max);
    let largest = a.iter().chain(b).map(|x| x.abs()).fold(0.0, f64::max);
    (difference > 0.0 && difference.is_finite()).then(|| {
        format!(
            "of {} sampled elements, the largest difference is {difference:.3e} (the largest value {largest:.3e})",
            a.len()
        )
    })
}

pub fn departure(
    class: Class,
    a: Option<Place>,
    b: Option<Place>,
    details: Vec<String>,
) -> Departure {
    Departure {
        class,
        a,
        b,
        weights: Vec::new(),
        details,
        consequences: 0,
        similar: 0,
        pairs: Vec::new(),
    }
}
