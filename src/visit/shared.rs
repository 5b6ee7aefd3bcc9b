//! Layers of plain tch that share a path.
//!
//! A program may make all its layers at one path; tch then appends `__N` to names that are taken,
//! with N the number of variables so far. Which variables are one layer is told by the order in
//! which `tch::nn` makes them: bias before weight in linear layers and convolutions, weight before
//! bias in norms, everything in one go.

use super::group::{Group, Variable};
use super::infer;

/// Which of the groups at its path a variable belongs to, if any.
pub(super) fn home(variable: &Variable, at_path: &[usize], groups: &[Group<'_>]) -> Option<usize> {
    let mut unknown = at_path
        .iter()
        .copied()
        .filter(|group| groups[*group].records.is_none());
    if variable.created.is_some() {
        return unknown
            .next_back()
            .filter(|last| continues(&groups[*last], variable));
    }
    // Buffers come right behind the parameters of their norm; the first of a name has no number.
    let before = |group: &usize, number: usize| {
        let numbers = groups[*group].variables.iter().map(|known| known.duplicate);
        numbers.flatten().all(|known| known < number)
    };
    let mut fitting = unknown.filter(|group| takes_buffer(&groups[*group], variable));
    match variable.duplicate {
        None => fitting.next(),
        Some(number) => fitting.rfind(|group| before(group, number)),
    }
}

/// Whether the next parameter at the path is of the layer that was begun.
fn continues(group: &Group<'_>, variable: &Variable) -> bool {
    let lacks = |name: &str| group.variables.iter().all(|known| known.name != name);
    let shape = variable.tensor.size();
    match (&group.variables[..], variable.name.as_str()) {
        ([bias], "weight") if bias.name == "bias" => {
            let parameters = [("bias", bias.tensor.size()), ("weight", shape)];
            !infer::candidates(&parameters, &[]).is_empty()
        }
        ([weight], "bias") if weight.name == "weight" => weight.tensor.size() == shape,
        (known, name) => {
            lacks(name)
                && infer::is_recurrent(name)
                && known.iter().all(|known| infer::is_recurrent(&known.name))
        }
    }
}

/// Whether a buffer can be of the norm that has these parameters.
fn takes_buffer(group: &Group<'_>, buffer: &Variable) -> bool {
    group
        .variables
        .iter()
        .all(|known| known.name != buffer.name && known.tensor.size() == buffer.tensor.size())
}
