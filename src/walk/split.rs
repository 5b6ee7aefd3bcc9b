//! Splits the variables that plain tch made at one path into layers.
//!
//! A program may make several layers at one path, even all of them at the root; tch then appends
//! `__N` to names that are taken. Three things tell the layers apart: families of names, since a
//! recurrent layer's names differ from all others'; what each kind of layer needs; and the order of
//! creation, since tch makes the variables of a layer one after the other, the bias before the
//! weight in linear layers and convolutions and after it in norms. Layers of one's own that are
//! made in another order are recognized if no other reading leaves fewer variables over.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A variable as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [i64],
    /// Its index among trainable variables, if it is one.
    pub(super) created: Option<usize>,
    /// The number of variables that were made before it, if its name shows it.
    pub(super) number: Option<usize>,
    /// Whether a variable that is not trainable can follow it.
    pub(super) can_precede_buffer: bool,
}

/// The layers, and what is left over, as indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) layers: Vec<Vec<usize>>,
    pub(super) unclaimed: Vec<usize>,
}

/// Splits the variables at a path, trainable ones in order of creation. `fits` says whether some
/// variables can be all of a layer.
pub(super) fn split(items: &[Item<'_>], fits: &dyn Fn(&[usize]) -> bool) -> Split {
    let mut families: BTreeMap<Family, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        families
            .entry(Family::of(item.name))
            .or_default()
            .push(index);
    }
    let mut split = Split::default();
    for (family, members) in families {
        let of_family = match family {
            Family::Other => Split {
                unclaimed: members,
                ..Split::default()
            },
            _ if !repeats(items, &members) => distinct(items, members, fits),
            _ => repeated(items, &members, fits),
        };
        split.layers.extend(of_family.layers);
        split.unclaimed.extend(of_family.unclaimed);
    }
    split.unclaimed.sort_unstable();
    split
}

/// Names that only layers of one sort have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Recurrent,
    Cell,
    Plain,
    Other,
}

const STATISTICS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

impl Family {
    fn of(name: &str) -> Family {
        match name {
            "weight" | "bias" => Family::Plain,
            _ if STATISTICS.contains(&name) => Family::Plain,
            "weight_ih" | "weight_hh" | "bias_ih" | "bias_hh" => Family::Cell,
            _ if crate::nn::is_recurrent(name) => Family::Recurrent,
            _ => Family::Other,
        }
    }
}

fn is_statistic(item: &Item<'_>) -> bool {
    item.created.is_none() && STATISTICS.contains(&item.name)
}

fn repeats(items: &[Item<'_>], members: &[usize]) -> bool {
    let mut names: Vec<&str> = members.iter().map(|index| items[*index].name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// A family in which each name occurs once: one layer, whatever lies between its variables, or a
/// layer and the statistics of a norm without parameters.
fn distinct(items: &[Item<'_>], members: Vec<usize>, fits: &dyn Fn(&[usize]) -> bool) -> Split {
    if fits(&members) {
        return Split {
            layers: vec![members],
            ..Split::default()
        };
    }
    let (statistics, others): (Vec<usize>, Vec<usize>) = members
        .iter()
        .partition(|index| is_statistic(&items[**index]));
    match fits(&statistics) && fits(&others) {
        true => Split {
            layers: vec![others, statistics],
            ..Split::default()
        },
        false => Split {
            unclaimed: members,
            ..Split::default()
        },
    }
}

/// A family with several variables of a name.
fn repeated(items: &[Item<'_>], members: &[usize], fits: &dyn Fn(&[usize]) -> bool) -> Split {
    let trainable = members.iter().filter(|i| items[**i].created.is_some());
    let trainable: Vec<usize> = trainable.copied().collect();
    let mut split = consecutive(items, &trainable, fits);
    let (statistics, others): (Vec<usize>, Vec<usize>) = members
        .iter()
        .filter(|index| items[**index].created.is_none())
        .partition(|index| is_statistic(&items[**index]));
    split.unclaimed.extend(others);
    assign_statistics(items, &statistics, fits, &mut split);
    split
}

/// The cost of a reading: variables left over, layers made in another order than tch's, layers.
type Cost = (usize, usize, usize);

/// The reading of trainable variables, in order of creation, as layers whose variables were made one
/// after the other.
fn consecutive(items: &[Item<'_>], members: &[usize], fits: &dyn Fn(&[usize]) -> bool) -> Split {
    // For each number of variables the best reading of the first ones, and the size of the last
    // layer in it; 0 is a variable left over.
    let mut best: Vec<(Cost, usize)> = vec![((0, 0, 0), 0)];
    for end in 1..=members.len() {
        let (unclaimed, reversed, layers) = best[end - 1].0;
        let mut choice = ((unclaimed + 1, reversed, layers), 0);
        for start in (0..end).rev() {
            let part = &members[start..end];
            if start + 1 < end && !follows(items, members[start], members[start + 1])
                || repeats(items, part)
            {
                break;
            }
            if fits(part) {
                let (unclaimed, reversed, layers) = best[start].0;
                let reversed = reversed + usize::from(!is_tchs_order(items, part));
                choice = choice.min(((unclaimed, reversed, layers + 1), end - start));
            }
        }
        best.push(choice);
    }
    let mut split = Split::default();
    let mut end = members.len();
    while end > 0 {
        match best[end].1 {
            0 => {
                end -= 1;
                split.unclaimed.push(members[end]);
            }
            size => {
                split.layers.push(members[end - size..end].to_vec());
                end -= size;
            }
        }
    }
    split.layers.reverse();
    split.unclaimed.reverse();
    split
}

/// Whether a variable was made right after another, but for what is not trainable.
fn follows(items: &[Item<'_>], first: usize, second: usize) -> bool {
    let created = |index: usize| items[index].created;
    created(first)
        .zip(created(second))
        .is_some_and(|(a, b)| a + 1 == b)
}

/// Whether tch makes a layer's variables in this order.
fn is_tchs_order(items: &[Item<'_>], part: &[usize]) -> bool {
    match part {
        [first, second] if items[*first].name == "weight" && items[*second].name == "bias" => {
            items[*first].shape == items[*second].shape
        }
        [first, second] if items[*first].name == "bias" && items[*second].name == "weight" => {
            items[*first].shape != items[*second].shape
        }
        _ => true,
    }
}

/// Gives each set of statistics to the norm that it was made with: tch makes it right after the
/// norm's parameters. Sets of norms without parameters are layers of their own.
fn assign_statistics(
    items: &[Item<'_>],
    statistics: &[usize],
    fits: &dyn Fn(&[usize]) -> bool,
    split: &mut Split,
) {
    let sets = statistic_sets(items, statistics);
    let mut norms: Vec<usize> = (0..split.layers.len()).collect();
    let mut owners = vec![None; sets.len()];
    // What numbers prove goes first, then the sets in order of creation.
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by_key(|set| Reverse(exact_norm(items, &sets[*set], &split.layers).is_some()));
    for set in order {
        let number = items[sets[set][0]].number;
        let with = |norm: usize| [&split.layers[norm][..], &sets[set]].concat();
        let possible = |norm: usize| {
            let last = split.layers[norm].last().map(|last| items[*last]);
            let earlier = split.layers[norm]
                .iter()
                .filter_map(|index| items[*index].number);
            last.is_some_and(|last| last.can_precede_buffer)
                && number.is_none_or(|number| earlier.into_iter().all(|known| known < number))
                && fits(&with(norm))
        };
        let exact = exact_norm(items, &sets[set], &split.layers);
        let mut candidates = norms.iter().copied().filter(|norm| possible(*norm));
        let owner = match (exact, number) {
            (Some(norm), _) if norms.contains(&norm) && fits(&with(norm)) => Some(norm),
            (_, None) => candidates.next(),
            // The norm before it, if that does not say by its number that it is elsewhere.
            (_, Some(_)) => candidates.rfind(|norm| {
                let last = split.layers[*norm].last();
                last.is_some_and(|last| items[*last].number.is_none())
            }),
        };
        norms.retain(|norm| Some(*norm) != owner);
        owners[set] = owner;
    }
    for (set, owner) in sets.into_iter().zip(owners) {
        match owner {
            Some(norm) => split.layers[norm].extend(set),
            None if fits(&set) => split.layers.push(set),
            None => split.unclaimed.extend(set),
        }
    }
}

/// The statistics of each norm, in order of creation: the i-th of each name.
fn statistic_sets(items: &[Item<'_>], statistics: &[usize]) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for name in STATISTICS {
        let mut named: Vec<usize> = statistics.to_vec();
        named.retain(|index| items[*index].name == name);
        named.sort_by_key(|index| items[*index].number);
        for (i, index) in named.into_iter().enumerate() {
            match sets.get_mut(i) {
                Some(set) => set.push(index),
                None => sets.push(vec![index]),
            }
        }
    }
    sets
}

/// The layer whose last parameter was made right before a set of statistics, by their numbers.
fn exact_norm(items: &[Item<'_>], set: &[usize], layers: &[Vec<usize>]) -> Option<usize> {
    let before = items[set[0]].number?.checked_sub(1)?;
    layers.iter().position(|layer| {
        let last = layer.last().and_then(|last| items[*last].number);
        last == Some(before)
    })
}

#[cfg(test)]
mod tests {
    use super::{Item, Split, split};
    use crate::nn::VariableShapes;
    use crate::walk::infer::inferred;

    /// Variables as text, `name [shape] number`, in order of creation; `~` stands before those that
    /// are not trained.
    fn read(text: &str) -> Vec<(bool, String, Vec<i64>, Option<usize>)> {
        let variable = |line: &str| {
            let (trained, line) = match line.strip_prefix('~') {
                Some(rest) => (false, rest),
                None => (true, line),
            };
            let (name, rest) = line.split_once('[').unwrap();
            let (shape, number) = rest.split_once(']').unwrap();
            let shape = shape.split(',').map(|size| size.trim().parse().unwrap());
            let number = number.trim().parse().ok();
            (trained, name.trim().to_owned(), shape.collect(), number)
        };
        text.split(';').map(str::trim).map(variable).collect()
    }

    fn split_of(text: &str) -> Split {
        let variables = read(text);
        let mut created = 0;
        let items: Vec<Item<'_>> = variables
            .iter()
            .map(|(trained, name, shape, number)| Item {
                name,
                shape,
                created: trained.then(|| {
                    created += 1;
                    created - 1
                }),
                number: *number,
                can_precede_buffer: true,
            })
            .collect();
        let fits = |part: &[usize]| {
            let of = |trained: bool| {
                let part = part.iter().map(|index| &items[*index]);
                let part = part.filter(|item| item.created.is_some() == trained);
                part.map(|item| (item.name, item.shape.to_vec()))
                    .collect::<Vec<_>>()
            };
            let (parameters, buffers) = (of(true), of(false));
            !inferred(&VariableShapes {
                parameters: &parameters,
                buffers: &buffers,
            })
            .is_empty()
        };
        split(&items, &fits)
    }

    #[test]
    fn order_tells_layers_of_one_family() {
        for (text, layers) in [
            (
                "weight [4,2]; bias [4]; weight [4,2] 2",
                vec![vec![0], vec![1, 2]],
            ),
            (
                "weight [4,2]; bias [4]; weight [4,4] 2; bias [4] 3",
                vec![vec![0, 1], vec![2, 3]],
            ),
            (
                "bias [4]; weight [4,2]; weight [4] 2; bias [4] 3",
                vec![vec![0, 1], vec![2, 3]],
            ),
            (
                "weight [4,2,3]; weight [4] 1; bias [4]; weight [4,4,3] 3",
                vec![vec![0], vec![1, 2], vec![3]],
            ),
        ] {
            let expected = Split {
                layers,
                unclaimed: vec![],
            };
            assert_eq!(split_of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_fits_nothing_is_left_over() {
        for (text, layers, unclaimed) in [
            ("weight [4,2]; bias [2]", vec![], vec![0, 1]),
            (
                "bias [3]; bias [4] 1; weight [4,2]",
                vec![vec![1, 2]],
                vec![0],
            ),
            ("weight [4,2]; gamma [4]", vec![vec![0]], vec![1]),
            ("weight [4,2]; ~bias [4]", vec![], vec![0, 1]),
            ("weight [4]; weight [4] 1", vec![], vec![0, 1]),
        ] {
            assert_eq!(split_of(text), Split { layers, unclaimed }, "{text}");
        }
    }

    #[test]
    fn numbers_tell_whose_statistics_they_are() {
        // Statistics 4 and 5 were made before the last norm, whose own are 8 and 9.
        let norms = "weight [4]; bias [4]; weight [4] 2; bias [4] 3; weight [4] 6; bias [4] 7; \
                     ~running_mean [4] 8; ~running_var [4] 9; ~running_mean [4]; ~running_var [4]";
        let expected = Split {
            layers: vec![vec![0, 1, 8, 9], vec![2, 3], vec![4, 5, 6, 7]],
            unclaimed: vec![],
        };
        assert_eq!(split_of(norms), expected);
        let alone = "bias [4]; weight [4,4]; bias [4] 2; weight [4,4] 3; ~running_mean [4]; ~running_var [4]";
        let expected = Split {
            layers: vec![vec![0, 1], vec![2, 3], vec![4, 5]],
            unclaimed: vec![],
        };
        assert_eq!(split_of(alone), expected);
    }
}
