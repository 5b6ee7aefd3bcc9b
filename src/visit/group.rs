//! From the variables of a `VarStore` to its layers.

use super::Layer;
use crate::nn::registry::{self, Record};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::Tensor;
use tch::nn::VarStore;

/// A variable with all that orders it.
struct Variable {
    /// Its place among the trainable variables, which keep their order of creation.
    created: Option<usize>,
    /// The number that tch appends to a name that was taken, itself a count of variables.
    duplicate: Option<usize>,
    path: String,
    name: String,
    tensor: Tensor,
    record: Option<Arc<Record>>,
}

/// The layers in order of creation.
pub(super) fn layers(vs: &VarStore) -> Vec<Layer> {
    let mut variables = variables(vs);
    variables.sort_by(|a, b| {
        let key = |v: &Variable| (v.created.unwrap_or(usize::MAX), v.duplicate.unwrap_or(0));
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.path, &a.name).cmp(&(&b.path, &b.name)))
    });
    let mut groups: Vec<Vec<Variable>> = Vec::new();
    for variable in variables {
        let home = groups.iter_mut().find(|group| belongs(&variable, group));
        match home {
            Some(group) => group.push(variable),
            None => groups.push(vec![variable]),
        }
    }
    groups.into_iter().map(layer).collect()
}

/// Whether a variable is of the layer that has these: made with them, or at the same path and of
/// a name that they lack.
fn belongs(variable: &Variable, group: &[Variable]) -> bool {
    let [first, ..] = group else { return false };
    if first.path != variable.path || group.iter().any(|known| known.name == variable.name) {
        return false;
    }
    match (&first.record, &variable.record) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn layer(group: Vec<Variable>) -> Layer {
    let record = group.first().and_then(|first| first.record.clone());
    let path = match group.first() {
        Some(first) => match first.duplicate {
            Some(number) => format!("{}__{number}", first.path),
            None => first.path.clone(),
        },
        None => String::new(),
    };
    let mut parameters = Vec::new();
    let mut buffers = Vec::new();
    for variable in group {
        let place = if variable.created.is_some() {
            &mut parameters
        } else {
            &mut buffers
        };
        place.push((variable.name, variable.tensor));
    }
    parameters.sort_by_key(|(name, _)| pytorchs_place(name));
    buffers.sort_by_key(|(name, _)| pytorchs_place(name));
    Layer::new(path, record, parameters, buffers)
}

/// Where PyTorch registers a variable of this name; others keep their order, at the end.
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
                path: path.to_owned(),
                name: name.to_owned(),
                tensor: tensor.shallow_clone(),
                record: registry::lookup(tensor).filter(|record| record.path == path),
            }
        })
        .collect()
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

/// Puts every layer behind those below its path, and otherwise keeps the order.
pub(super) fn children_first(layers: Vec<Layer>) -> Vec<Layer> {
    let mut ordered: Vec<Layer> = Vec::with_capacity(layers.len());
    descend("", layers, &mut ordered);
    ordered
}

/// Appends the layers below `path`, then the one at it.
fn descend(path: &str, layers: Vec<Layer>, ordered: &mut Vec<Layer>) {
    let depth = if path.is_empty() { 0 } else { path.len() + 1 };
    let (here, below): (Vec<_>, Vec<_>) =
        layers.into_iter().partition(|layer| layer.path() == path);
    let mut children: Vec<(String, Vec<Layer>)> = Vec::new();
    for layer in below {
        let name = layer.path()[depth..].split('.').next().unwrap_or_default();
        let child = format!("{}{name}", &layer.path()[..depth]);
        match children.iter_mut().find(|(known, _)| *known == child) {
            Some((_, layers)) => layers.push(layer),
            None => children.push((child, vec![layer])),
        }
    }
    for (child, layers) in children {
        descend(&child, layers, ordered);
    }
    ordered.extend(here);
}
