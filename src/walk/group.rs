//! From the variables of a `VarStore` to its layers.

use super::infer::inferred;
use super::layer::Layer;
use crate::nn::named_tensors::NamedTensors;
use crate::nn::registry::{self, Record};
use crate::nn::{VariableShapes, is_recurrent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// A variable, with what determines its order.
struct Variable {
    /// Its index among the trainable variables, which keep their order of creation.
    created: Option<usize>,
    /// The number that tch appends to a name that was taken, itself a count of variables.
    duplicate: Option<usize>,
    /// The name in the `VarStore`.
    full: String,
    path: String,
    name: String,
    tensor: Tensor,
    /// The layers that it was made for, from the innermost out.
    records: Vec<Arc<Record>>,
}

/// All variables by their full names: trainable ones in order of creation, then the others by
/// name.
pub(crate) fn variables_in_order(vs: &VarStore) -> Vec<(String, Tensor)> {
    let named = |variable: Variable| (variable.full, variable.tensor);
    sorted(vs).into_iter().map(named).collect()
}

fn sorted(vs: &VarStore) -> Vec<Variable> {
    let mut variables = variables(vs);
    variables.sort_by(|a, b| {
        let key = |v: &Variable| (v.created.unwrap_or(usize::MAX), v.duplicate.unwrap_or(0));
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.path, &a.name).cmp(&(&b.path, &b.name)))
    });
    variables
}

/// The layers in order of creation, each before those below it.
pub(super) fn layers<'g>(vs: &VarStore) -> Vec<Layer<'g>> {
    let variables = sorted(vs);
    let shared: BTreeSet<String> = variables
        .iter()
        .filter(|variable| variable.duplicate.is_some() && variable.records.is_empty())
        .map(|variable| variable.path.clone())
        .collect();
    let mut groups: Vec<Group> = Vec::new();
    // The groups of each path, so that a variable is only held against those.
    let mut at_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for variable in &variables {
        // A layer with children may have no variables of its own.
        for record in variable.records.iter().rev() {
            let known = at_path.entry(record.path.clone()).or_default();
            if !known.iter().any(|group| groups[*group].is_of(record)) {
                known.push(groups.len());
                groups.push(Group::of(variable, Some(record)));
            }
        }
        let known = at_path.entry(variable.path.clone()).or_default();
        let owner = if !variable.records.is_empty() {
            known
                .iter()
                .copied()
                .find(|group| groups[*group].made(variable))
        } else if shared.contains(&variable.path) {
            shared_owner(variable, known, &groups)
        } else {
            known
                .iter()
                .copied()
                .find(|group| groups[*group].records.is_none())
        };
        let owner = match owner {
            Some(group) => group,
            None => {
                known.push(groups.len());
                groups.push(Group::of(variable, None));
                groups.len() - 1
            }
        };
        groups[owner].variables.push(variable);
    }
    groups
        .into_iter()
        .map(|group| group.layer(&variables))
        .collect()
}

/// The variables of one layer.
struct Group<'a> {
    path: String,
    /// The layer, and the outermost one around it.
    records: Option<[Arc<Record>; 2]>,
    variables: Vec<&'a Variable>,
}

impl<'a> Group<'a> {
    fn of(first: &Variable, record: Option<&Arc<Record>>) -> Group<'a> {
        let outermost = first.records.last();
        let path = record.map_or(&first.path, |record| &record.path);
        Group {
            path: match first.duplicate {
                Some(number) => format!("{path}__{number}"),
                None => path.clone(),
            },
            records: record
                .zip(outermost)
                .map(|(own, outermost)| [Arc::clone(own), Arc::clone(outermost)]),
            variables: Vec::new(),
        }
    }

    fn is_of(&self, record: &Arc<Record>) -> bool {
        self.records
            .as_ref()
            .is_some_and(|[own, _]| Arc::ptr_eq(own, record))
    }

    /// Whether a variable was made with this layer.
    fn made(&self, variable: &Variable) -> bool {
        let innermost = variable.records.first();
        innermost.is_some_and(|record| self.is_of(record))
    }

    fn layer<'g>(self, all: &[Variable]) -> Layer<'g> {
        let own = |trainable: bool| {
            let mut own: Vec<(String, Tensor)> = self
                .variables
                .iter()
                .filter(|variable| variable.created.is_some() == trainable)
                .map(|variable| (variable.name.clone(), variable.tensor.shallow_clone()))
                .collect();
            own.sort_by_key(|(name, _)| pytorchs_place(name));
            own
        };
        let (parameters, buffers) = (own(true), own(false));
        let tensors = match &self.records {
            Some([record, _]) => all
                .iter()
                .filter(|variable| {
                    variable
                        .records
                        .iter()
                        .any(|known| Arc::ptr_eq(known, record))
                })
                .map(|variable| {
                    (
                        below(&record.path, variable),
                        variable.tensor.shallow_clone(),
                    )
                })
                .collect::<Vec<_>>(),
            None => parameters
                .iter()
                .chain(&buffers)
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
        };
        let options = match tensors.first() {
            Some((_, tensor)) => (tensor.kind(), tensor.device()),
            None => (Kind::Float, Device::Cpu),
        };
        Layer::new(
            self.path,
            self.records,
            parameters,
            buffers,
            NamedTensors::new(tensors, options),
        )
    }
}

/// The name of a variable as seen from a layer at `path`.
fn below(path: &str, variable: &Variable) -> String {
    let rest = variable.path.strip_prefix(path).unwrap_or_default();
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    if rest.is_empty() {
        variable.name.clone()
    } else {
        format!("{rest}.{}", variable.name)
    }
}

/// The rank of a variable's name in PyTorch's order of registration; others keep their order, at
/// the end.
fn pytorchs_place(name: &str) -> usize {
    let order = [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ];
    order
        .iter()
        .position(|known| *known == name)
        .unwrap_or(order.len())
}

fn variables(vs: &VarStore) -> Vec<Variable> {
    // Tied variables are one tensor under several names, and are created where it first was.
    let mut created = BTreeMap::new();
    for (place, tensor) in vs.trainable_variables().iter().enumerate() {
        created.entry(registry::identity(tensor)).or_insert(place);
    }
    // Sorted, since the map that tch returns has no order.
    let named: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    named
        .iter()
        .map(|(full, tensor)| {
            let (path, name) = full.rsplit_once('.').unwrap_or(("", full));
            let (name, duplicate) = without_duplicate(path, name, &named);
            Variable {
                created: created.get(&registry::identity(tensor)).copied(),
                duplicate,
                full: full.clone(),
                path: path.to_owned(),
                name: name.to_owned(),
                tensor: tensor.shallow_clone(),
                records: records(tensor, path),
            }
        })
        .collect()
}

/// The layers that a tensor was made for, unless it is tied to a place outside of them.
fn records(tensor: &Tensor, path: &str) -> Vec<Arc<Record>> {
    let records = registry::lookup(tensor);
    match records.first() {
        Some(innermost) if innermost.path == path => records,
        _ => Vec::new(),
    }
}

/// Takes off the `__N` that tch appends to a name that was taken.
fn without_duplicate<'a>(
    path: &str,
    name: &'a str,
    named: &BTreeMap<String, Tensor>,
) -> (&'a str, Option<usize>) {
    let split = name
        .rsplit_once("__")
        .and_then(|(base, number)| Some((base, number.parse().ok()?)));
    match split {
        Some((base, number)) => {
            let taken = if path.is_empty() {
                base.to_owned()
            } else {
                format!("{path}.{base}")
            };
            match named.contains_key(&taken) {
                true => (base, Some(number)),
                false => (name, None),
            }
        }
        None => (name, None),
    }
}

/// Puts every layer after those below its path, and otherwise keeps the order.
pub(super) fn children_first<'g>(layers: Vec<Layer<'g>>) -> Vec<Layer<'g>> {
    let mut ordered: Vec<Layer<'g>> = Vec::with_capacity(layers.len());
    descend(None, layers, &mut ordered);
    ordered
}

/// Appends the layers below `parent`, then the one at it; without a parent, those of the whole
/// `VarStore`.
fn descend<'g>(parent: Option<&str>, layers: Vec<Layer<'g>>, ordered: &mut Vec<Layer<'g>>) {
    // A component may be empty: `root / "" / "fc"` is at ".fc", which is below "" and not "".
    let depth = parent.map_or(0, |parent| parent.len() + 1);
    let (here, below): (Vec<_>, Vec<_>) = layers
        .into_iter()
        .partition(|layer| layer.path() == parent.unwrap_or_default());
    let mut children: Vec<(String, Vec<Layer<'g>>)> = Vec::new();
    for layer in below {
        let name = layer.path()[depth..].split('.').next().unwrap_or_default();
        let child = format!("{}{name}", &layer.path()[..depth]);
        match children.iter_mut().find(|(known, _)| *known == child) {
            Some((_, layers)) => layers.push(layer),
            None => children.push((child, vec![layer])),
        }
    }
    for (child, layers) in children {
        descend(Some(&child), layers, ordered);
    }
    ordered.extend(here);
}

// Layers of plain tch that share a path: a program may make all its layers at one path; tch then
// appends `__N` to names that are taken, with N the number of variables so far. The order in which
// `tch::nn` makes variables shows which of them are one layer: bias before weight in linear layers
// and convolutions, weight before bias in norms, all variables of a layer together.

/// Finds the group at its path that a variable belongs to, if any.
fn shared_owner(variable: &Variable, at_path: &[usize], groups: &[Group<'_>]) -> Option<usize> {
    let mut unknown = at_path
        .iter()
        .copied()
        .filter(|group| groups[*group].records.is_none());
    if variable.created.is_some() {
        return unknown
            .next_back()
            .filter(|last| continues(&groups[*last], variable));
    }
    // Buffers come right after the parameters of their norm; the first of a name has no number.
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

/// Whether the next parameter at the path belongs to the group.
fn continues(group: &Group<'_>, variable: &Variable) -> bool {
    let lacks = |name: &str| group.variables.iter().all(|known| known.name != name);
    let shape = variable.tensor.size();
    match (&group.variables[..], variable.name.as_str()) {
        ([bias], "weight") if bias.name == "bias" => {
            let variables = VariableShapes {
                parameters: &[("bias", bias.tensor.size()), ("weight", shape)],
                buffers: &[],
            };
            !inferred(&variables).is_empty()
        }
        ([weight], "bias") if weight.name == "weight" => weight.tensor.size() == shape,
        (known, name) => {
            lacks(name) && is_recurrent(name) && known.iter().all(|known| is_recurrent(&known.name))
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
