//! The variables of a `VarStore` in order of creation.

use crate::nn::registry::{self, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tch::Tensor;
use tch::nn::VarStore;

/// A variable, with what determines its order.
pub(super) struct Variable {
    /// Its index among the trainable variables, which keep their order of creation.
    pub(super) created: Option<usize>,
    /// The number that tch appends to a name that was taken: that of the variables before it.
    pub(super) number: Option<usize>,
    /// The name in the `VarStore`.
    pub(super) full: String,
    pub(super) path: String,
    /// The name at its path, without a number.
    pub(super) name: String,
    pub(super) tensor: Tensor,
    /// The layers that it was made for, from the innermost out.
    pub(super) made_for: Vec<MadeFor>,
}

/// A layer that this crate made.
pub(super) struct MadeFor {
    pub(super) record: Arc<Record>,
    /// Its path in this `VarStore`, which `VarStore::merge` can have prefixed.
    pub(super) path: String,
}

/// All variables of a `VarStore`.
pub(super) struct Variables {
    /// Trainable ones in order of creation, then the others by name.
    pub(super) sorted: Vec<Variable>,
    /// Trainable tensors that the `VarStore` holds without a name, in words.
    pub(super) unnamed: Vec<String>,
    /// How many of those that are not trainable were made before each trainable one, and in all.
    buffers_before: Vec<RangeInclusive<usize>>,
}

/// All variables by their full names: trainable ones in order of creation, then the others by
/// name.
pub(crate) fn variables_in_order(vs: &VarStore) -> Vec<(String, Tensor)> {
    let named = |variable: Variable| (variable.full, variable.tensor);
    let variables = Variables::of(vs).sorted;
    variables.into_iter().map(named).collect()
}

impl Variables {
    pub(super) fn of(vs: &VarStore) -> Variables {
        // Sorted, since the map that tch returns has no order.
        Variables::new(
            &vs.trainable_variables(),
            vs.variables().into_iter().collect(),
        )
    }

    /// Of the trainable variables in order of creation, and all by their names.
    pub(super) fn new(trainable: &[Tensor], named: BTreeMap<String, Tensor>) -> Variables {
        // Tied variables are one tensor under several names.
        let mut created: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, tensor) in trainable.iter().enumerate() {
            let positions = created.entry(registry::identity(tensor)).or_default();
            positions.push(index);
        }
        let mut sorted: Vec<Variable> = named
            .iter()
            .map(|(full, tensor)| {
                let (path, name) = full.rsplit_once('.').unwrap_or(("", full));
                let (name, number) = without_number(path, name, &named);
                let positions = created.get(&registry::identity(tensor));
                Variable {
                    created: positions.and_then(|positions| positions.first().copied()),
                    number,
                    full: full.clone(),
                    path: path.to_owned(),
                    name: name.to_owned(),
                    tensor: tensor.shallow_clone(),
                    made_for: made_for(tensor, path),
                }
            })
            .collect();
        place_tied(&mut sorted, &created);
        forget_tied(&mut sorted);
        sorted.sort_by(|a, b| {
            let key = |v: &Variable| (v.created.unwrap_or(usize::MAX), v.number.unwrap_or(0));
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.path, &a.name).cmp(&(&b.path, &b.name)))
        });
        let known: BTreeSet<usize> = named.values().map(registry::identity).collect();
        let unnamed = trainable.iter().enumerate();
        let unnamed = unnamed.filter(|(_, tensor)| !known.contains(&registry::identity(tensor)));
        Variables {
            unnamed: unnamed
                .map(|(index, t)| {
                    format!("trainable variable {index} {:?}, without a name", t.size())
                })
                .collect(),
            buffers_before: buffers_before(&sorted, trainable.len()),
            sorted,
        }
    }

    /// Whether the trainable variable with this index can be followed by one that is not
    /// trainable, as far as the numbers in names show.
    pub(super) fn can_precede_buffer(&self, created: usize) -> bool {
        match self.buffers_before.get(created..created + 2) {
            Some([before, after]) => after.end() > before.start(),
            _ => true,
        }
    }
}

/// Gives the names of a tied tensor its different positions: each the one closest to what else was
/// made at its path.
fn place_tied(variables: &mut [Variable], created: &BTreeMap<usize, Vec<usize>>) {
    for (identity, positions) in created.iter().filter(|(_, positions)| positions.len() > 1) {
        let mut free = positions.clone();
        let is_tied = |v: &Variable| registry::identity(&v.tensor) == *identity;
        let tied: Vec<usize> = (0..variables.len())
            .filter(|i| is_tied(&variables[*i]))
            .collect();
        let mut alone = Vec::new();
        for index in tied {
            let path = &variables[index].path;
            let siblings = variables.iter().filter(|v| v.path == *path && !is_tied(v));
            let siblings: Vec<usize> = siblings.filter_map(|v| v.created).collect();
            let distance = |at: usize| siblings.iter().map(move |s| s.abs_diff(at)).min();
            match (0..free.len()).min_by_key(|at| distance(free[*at])) {
                Some(at) if !siblings.is_empty() => {
                    variables[index].created = Some(free.remove(at));
                }
                _ => alone.push(index),
            }
        }
        for (index, position) in alone.into_iter().zip(free) {
            variables[index].created = Some(position);
        }
    }
}

/// Bounds for the number of variables that are not trainable before each of `trainable` ones, and
/// in all. Without numbers, and after a `VarStore::merge` that makes them contradict each other,
/// nothing is known.
fn buffers_before(variables: &[Variable], trainable: usize) -> Vec<RangeInclusive<usize>> {
    let total = variables.len().saturating_sub(trainable);
    let mut bounds = vec![0..=total; trainable + 1];
    bounds[trainable] = total..=total;
    let numbered = variables.iter().filter_map(|v| v.created.zip(v.number));
    let exact: Option<Vec<(usize, usize)>> = numbered
        .map(|(created, number)| Some((created, number.checked_sub(created)?)))
        .collect();
    let exact = exact.filter(|exact| {
        exact.windows(2).all(|pair| pair[0].1 <= pair[1].1) && exact.iter().all(|e| e.1 <= total)
    });
    for (created, count) in exact.unwrap_or_default() {
        for (index, bound) in bounds.iter_mut().enumerate() {
            if index <= created {
                *bound = *bound.start()..=count.min(*bound.end());
            }
            if index >= created {
                *bound = count.max(*bound.start())..=*bound.end();
            }
        }
    }
    bounds
}

/// The layers that a tensor was made for, unless it is tied to a place outside of them.
fn made_for(tensor: &Tensor, path: &str) -> Vec<MadeFor> {
    let records = registry::lookup(tensor);
    let Some(innermost) = records.first() else {
        return Vec::new();
    };
    // The end of the path that a merge keeps, with its dot.
    let (whole, end) = (format!(".{path}"), format!(".{}", innermost.path));
    let prefix = match innermost.path.as_str() {
        "" => Some(whole.as_str()),
        _ => whole.strip_suffix(end.as_str()),
    };
    let Some(prefix) = prefix else {
        return Vec::new();
    };
    let moved = |record: Arc<Record>| {
        let parts = [prefix.trim_start_matches('.'), record.path.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let path = parts.join(".");
        MadeFor { record, path }
    };
    records.into_iter().map(moved).collect()
}

/// Leaves a tensor with several names to the layer at the shortest path: at the others it is tied.
fn forget_tied(variables: &mut [Variable]) {
    let mut owners: BTreeMap<usize, String> = BTreeMap::new();
    for variable in variables
        .iter()
        .filter(|variable| !variable.made_for.is_empty())
    {
        let owner = owners
            .entry(registry::identity(&variable.tensor))
            .or_insert_with(|| variable.path.clone());
        if variable.path.len() < owner.len() {
            owner.clone_from(&variable.path);
        }
    }
    for variable in variables {
        let owner = owners.get(&registry::identity(&variable.tensor));
        if owner.is_some_and(|owner| *owner != variable.path) {
            variable.made_for.clear();
        }
    }
}

/// Takes off the `__N` that tch appends to a name that was taken.
fn without_number<'a>(
    path: &str,
    name: &'a str,
    named: &BTreeMap<String, Tensor>,
) -> (&'a str, Option<usize>) {
    let split = name.rsplit_once("__").and_then(|(base, digits)| {
        let number: usize = digits.parse().ok()?;
        (number.to_string() == digits).then_some((base, number))
    });
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
