//! From the variables of a `VarStore` to its layers.

use super::hint::Hint;
use super::infer::inferred;
use super::layer::{Layer, Parts};
use super::split::{Item, split};
use super::variable::{MadeFor, Variable, Variables};
use crate::nn::named_tensors::NamedTensors;
use crate::nn::registry::Record;
use crate::nn::{LayerSpec, VariableShapes};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The layers in order of creation, each before those below it.
pub(super) fn layers<'g>(variables: &Variables, hints: &[Hint]) -> Vec<Layer<'g>> {
    let mut groups: Vec<Group> = Vec::new();
    // The groups of each path, so that a variable is only held against those.
    let mut at_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut unrecorded = unrecorded(variables, hints);
    for (index, variable) in variables.sorted.iter().enumerate() {
        // A layer with children may have no variables of its own.
        for made_for in variable.made_for.iter().rev() {
            let known = at_path.entry(&made_for.path).or_default();
            if !known
                .iter()
                .any(|group| groups[*group].is_of(&made_for.record))
            {
                known.push(groups.len());
                groups.push(Group::of_record(variable, made_for));
            }
        }
        if variable.made_for.is_empty() {
            groups.extend(unrecorded.remove(&index));
            continue;
        }
        let known = at_path.entry(&variable.path).or_default();
        if let Some(owner) = known.iter().find(|group| groups[**group].made(variable)) {
            groups[*owner].variables.push(variable);
        }
    }
    let shared = |group: &Group<'_>| {
        let same = groups.iter().filter(|other| other.path == group.path);
        same.count() > 1
    };
    let shared: Vec<bool> = groups.iter().map(shared).collect();
    groups
        .into_iter()
        .zip(shared)
        .map(|(group, shares_path)| group.layer(&variables.sorted, shares_path))
        .collect()
}

/// The groups of variables that this crate did not make, by the index of their first variable.
fn unrecorded<'a>(variables: &'a Variables, hints: &[Hint]) -> BTreeMap<usize, Group<'a>> {
    let mut at_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, variable) in variables.sorted.iter().enumerate() {
        if variable.made_for.is_empty() {
            at_path.entry(&variable.path).or_default().push(index);
        }
    }
    let mut groups = BTreeMap::new();
    for (path, members) in at_path {
        let members: Vec<(usize, &Variable)> = members
            .into_iter()
            .map(|index| (index, &variables.sorted[index]))
            .collect();
        let shapes: Vec<Vec<i64>> = members.iter().map(|(_, v)| v.tensor.size()).collect();
        let items: Vec<Item<'_>> = members
            .iter()
            .zip(&shapes)
            .map(|((_, variable), shape)| Item {
                name: &variable.name,
                shape,
                created: variable.created,
                number: variable.number,
                can_precede_buffer: variable
                    .created
                    .is_none_or(|created| variables.can_precede_buffer(created)),
            })
            .collect();
        let fits = |part: &[usize]| {
            let of = |trainable: bool| {
                let of = part.iter().map(|index| items[*index]);
                let of = of.filter(|item| item.created.is_some() == trainable);
                of.map(|item| (item.name, item.shape.to_vec()))
                    .collect::<Vec<_>>()
            };
            let (parameters, buffers) = (of(true), of(false));
            let shapes = VariableShapes {
                parameters: &parameters,
                buffers: &buffers,
            };
            let names = || part.iter().map(|index| members[*index].1.full.as_str());
            let can_be = |hint: &Hint| LayerSpec::infer(hint.kind, &shapes).is_some();
            if let Some(hint) = hints
                .iter()
                .find(|hint| names().any(|name| hint.address == name))
            {
                return can_be(hint);
            }
            let number = part.first().and_then(|index| items[*index].number);
            let at = [path.to_owned(), numbered(path, number)];
            !inferred(&shapes).is_empty()
                || hints
                    .iter()
                    .any(|hint| at.contains(&hint.address) && can_be(hint))
        };
        let split = split(&items, &fits);
        for layer in split.layers {
            let of_layer: Vec<&Variable> = layer.iter().map(|index| members[*index].1).collect();
            let first = layer.iter().map(|index| members[*index].0).min();
            let number = of_layer.first().and_then(|variable| variable.number);
            let group = Group::of_layer(path, number, of_layer);
            groups.extend(first.map(|first| (first, group)));
        }
        let unclaimed: Vec<&Variable> = split.unclaimed.iter().map(|i| members[*i].1).collect();
        if let Some(first) = split.unclaimed.iter().map(|index| members[*index].0).min() {
            groups.insert(first, Group::unclaimed(path, unclaimed));
        }
    }
    groups
}

/// The path of a layer whose first variable had a name that was taken.
fn numbered(path: &str, number: Option<usize>) -> String {
    match number {
        Some(number) => format!("{path}__{number}"),
        None => path.to_owned(),
    }
}

/// The variables of one layer, or those at one path that are of no layer.
struct Group<'a> {
    path: String,
    /// The path without the number that tells it from others.
    module: String,
    /// The layer, and the outermost one around it.
    records: Option<[Arc<Record>; 2]>,
    is_unclaimed: bool,
    variables: Vec<&'a Variable>,
}

impl<'a> Group<'a> {
    fn of_record(first: &Variable, made_for: &MadeFor) -> Group<'a> {
        let outermost = first.made_for.last().unwrap_or(made_for);
        let records = [made_for, outermost].map(|made_for| Arc::clone(&made_for.record));
        Group {
            records: Some(records),
            ..Group::of_layer(&made_for.path, first.number, Vec::new())
        }
    }

    fn of_layer(path: &str, number: Option<usize>, variables: Vec<&'a Variable>) -> Group<'a> {
        Group {
            path: numbered(path, number),
            module: path.to_owned(),
            records: None,
            is_unclaimed: false,
            variables,
        }
    }

    fn unclaimed(path: &str, variables: Vec<&'a Variable>) -> Group<'a> {
        Group {
            is_unclaimed: true,
            ..Group::of_layer(path, None, variables)
        }
    }

    fn is_of(&self, record: &Arc<Record>) -> bool {
        self.records
            .as_ref()
            .is_some_and(|[own, _]| Arc::ptr_eq(own, record))
    }

    /// Whether a variable was made with this layer.
    fn made(&self, variable: &Variable) -> bool {
        let innermost = variable.made_for.first();
        innermost.is_some_and(|made_for| self.is_of(&made_for.record))
    }

    fn layer<'g>(self, all: &[Variable], shares_path: bool) -> Layer<'g> {
        // Two variables of one name can be of no layer: their numbers tell them apart.
        let name = |variable: &Variable| match self.is_unclaimed {
            true => variable
                .full
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned(),
            false => variable.name.clone(),
        };
        let own = |trainable: bool| {
            let mut own: Vec<(String, Tensor)> = self
                .variables
                .iter()
                .filter(|variable| variable.created.is_some() == trainable)
                .map(|variable| (name(variable), variable.tensor.shallow_clone()))
                .collect();
            own.sort_by_key(|(name, _)| pytorchs_place(name));
            own
        };
        let (parameters, buffers) = (own(true), own(false));
        let tensors = match &self.records {
            Some([record, _]) => all
                .iter()
                .filter(|variable| {
                    let mut made_for = variable.made_for.iter();
                    made_for.any(|known| Arc::ptr_eq(&known.record, record))
                })
                .map(|variable| {
                    let name = below(&self.module, variable);
                    (name, variable.tensor.shallow_clone())
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
        Layer::new(Parts {
            full_names: self.variables.iter().map(|v| v.full.clone()).collect(),
            path: self.path,
            module: self.module,
            shares_path,
            records: self.records,
            parameters,
            buffers,
            all: NamedTensors::new(tensors, options),
        })
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

/// Puts every layer after those below its path, and otherwise keeps the order.
///
/// Several layers at one path are parts of the module there, which the program gave no names: they
/// keep their order among those below the path.
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
    let is_here = |layer: &Layer<'_>| layer.module() == parent.unwrap_or_default();
    let known = layers
        .iter()
        .filter(|layer| is_here(layer) && !layer.is_unknown());
    let are_parts = known.count() > 1;
    let (here, below): (Vec<_>, Vec<_>) = layers
        .into_iter()
        .partition(|layer| is_here(layer) && (layer.is_unknown() || !are_parts));
    let mut children: Vec<(Option<String>, Vec<Layer<'g>>)> = Vec::new();
    for layer in below {
        if is_here(&layer) {
            children.push((None, vec![layer]));
            continue;
        }
        let name = layer.module()[depth..]
            .split('.')
            .next()
            .unwrap_or_default();
        let child = Some(format!("{}{name}", &layer.module()[..depth]));
        match children.iter_mut().find(|(known, _)| *known == child) {
            Some((_, layers)) => layers.push(layer),
            None => children.push((child, vec![layer])),
        }
    }
    for (child, layers) in children {
        match child {
            Some(child) => descend(Some(&child), layers, ordered),
            None => ordered.extend(layers),
        }
    }
    ordered.extend(here);
}
