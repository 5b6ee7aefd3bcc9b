//! Finds the `--rename` arguments that pair most of the tensors that only one side has.
//!
//! Candidates come from pairs of names that are alike: what remains of both after their common beginning
//! and end. Those that many pairs give are tried on all names, by the code that `--rename` runs.

use super::name_habits::{self, escaped, literal};
use super::report::one_line;
use super::selection::{Names, Rename};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A name and the shape of its tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub shape: Vec<usize>,
}

/// The arguments, and what they achieve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameHint {
    /// The values of `--rename`, in order.
    pub expressions: Vec<String>,
    /// The number of additional pairs.
    pub pairs: usize,
    /// The most pairs that there could be.
    pub possible: usize,
}

/// The most expressions of one hint.
const EXPRESSIONS: usize = 6;
/// How many names the choices of usual habits may change together.
const CHANGED_NAMES: usize = 40_000;
/// The number of names that candidates are made from, of those that each is paired with, and of the
/// candidates that are tried.
const SAMPLE: usize = 96;
const PARTNERS: usize = 3;
const TRIED: usize = 64;

impl RenameHint {
    /// The hint for the names of the first side, as given, and those of the second.
    ///
    /// `names` are the present arguments: the hint's come after them.
    pub fn find(first: &[Named], second: &[Named], names: &Names) -> Option<RenameHint> {
        let renamed = first.iter().map(|tensor| Named {
            name: names.rename(&tensor.name),
            shape: tensor.shape.clone(),
        });
        let current: Vec<Named> = renamed.collect();
        let second: Vec<&Named> = second.iter().filter(|t| names.selects(&t.name)).collect();
        let shapes: BTreeMap<&str, &[usize]> = second
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
            .collect();
        let before = pairs(&current, &shapes, names)?;
        let open = |current: &[Named]| {
            let selected = current.iter().filter(|t| names.selects(&t.name));
            let only_first = selected
                .filter(|t| !shapes.contains_key(t.name.as_str()))
                .count();
            only_first.min(shapes.len().saturating_sub(paired_names(current, &shapes)))
        };
        let possible = open(&current).max(match names.has_filter() {
            // Names that are not selected may be after renaming.
            true => shapes
                .len()
                .saturating_sub(before)
                .min(current.len().saturating_sub(before)),
            false => 0,
        });
        let search = Search {
            second: &second,
            shapes: &shapes,
            names,
            goal: before + possible,
        };
        let (expressions, count) = search.run(&current, before);
        let gained = count - before;
        (gained * 2 > possible).then_some(RenameHint {
            expressions,
            pairs: gained,
            possible,
        })
    }

    /// The arguments as a shell takes them.
    pub fn arguments(&self) -> String {
        let quoted = self.expressions.iter().map(|expression| {
            let quoted = one_line(expression).replace('\'', r"'\''");
            format!("--rename '{quoted}'")
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// One line that says what to do.
    pub fn sentence(&self) -> String {
        let mut text = format!("{} ", self.arguments());
        let pairs = |count| if count == 1 { "pair" } else { "pairs" };
        // Writing to a string does not fail.
        let written = match self.expressions.len() {
            1 => write!(text, "gives {} more {}", self.pairs, pairs(self.pairs)),
            _ => write!(text, "give {} more {}", self.pairs, pairs(self.pairs)),
        };
        if written.is_ok() && self.pairs < self.possible {
            text += &format!(", of {} possible", self.possible);
        }
        text
    }
}

/// A search for expressions.
struct Search<'a> {
    second: &'a [&'a Named],
    shapes: &'a BTreeMap<&'a str, &'a [usize]>,
    names: &'a Names,
    /// The number of pairs with which it ends.
    goal: usize,
}

impl Search<'_> {
    /// The best expressions for these names, and the number of pairs with them.
    ///
    /// One expression after the other is chosen if it gives more pairs. Where several habits meet, none
    /// does so alone: the usual ones are tried together, as the beginning.
    fn run(&self, current: &[Named], before: usize) -> (Vec<String>, usize) {
        let plain = self.extended(current.to_vec(), Vec::new(), before);
        if plain.1 >= self.goal {
            return plain;
        }
        let own: BTreeSet<&str> = current.iter().map(|tensor| tensor.name.as_str()).collect();
        let first = own.iter().copied().filter(|n| !self.shapes.contains_key(n));
        let second = self.shapes.keys().copied().filter(|n| !own.contains(n));
        let habits =
            name_habits::expressions(&first.collect::<Vec<_>>(), &second.collect::<Vec<_>>());
        let mut best = plain;
        // All of them first, then all but some, as far as that takes no time.
        let choices = 1usize << habits.len();
        let tried = (CHANGED_NAMES / (current.len() + 1)).clamp(1, choices);
        for chosen in (1..choices).rev().take(tried) {
            let is_chosen = |i: &usize| chosen & (1 << i) != 0;
            let beginning = (0..habits.len()).filter(is_chosen).map(|i| &habits[i]);
            let Some((renamed, expressions)) = applied(current, beginning) else {
                continue;
            };
            let Some(count) = pairs(&renamed, self.shapes, self.names) else {
                continue;
            };
            let found = self.extended(renamed, expressions, count);
            if found.1 > best.1 {
                best = found;
            }
            if best.1 >= self.goal {
                break;
            }
        }
        self.without_needless(current, best)
    }

    /// Adds expressions, each of which gives more pairs.
    fn extended(
        &self,
        mut current: Vec<Named>,
        mut expressions: Vec<String>,
        mut count: usize,
    ) -> (Vec<String>, usize) {
        while expressions.len() < EXPRESSIONS && count < self.goal {
            let found = best(&current, self.second, self.shapes, self.names, count);
            let Some((rename, better)) = found else {
                break;
            };
            for tensor in &mut current {
                tensor.name = rename.apply(&tensor.name);
            }
            expressions.push(rename.expression().to_owned());
            count = better;
        }
        (expressions, count)
    }

    /// Removes the expressions without which there are as many pairs.
    fn without_needless(
        &self,
        current: &[Named],
        (mut expressions, count): (Vec<String>, usize),
    ) -> (Vec<String>, usize) {
        let mut index = 0;
        while index < expressions.len() {
            let others = (0..expressions.len()).filter(|i| *i != index);
            let renamed = applied(current, others.map(|i| &expressions[i]));
            let pairs = renamed.and_then(|(names, _)| pairs(&names, self.shapes, self.names));
            match pairs.is_some_and(|pairs| pairs >= count) {
                true => drop(expressions.remove(index)),
                false => index += 1,
            }
        }
        (expressions, count)
    }
}

/// The names after expressions, and the expressions.
fn applied<'e>(
    current: &[Named],
    expressions: impl Iterator<Item = &'e String>,
) -> Option<(Vec<Named>, Vec<String>)> {
    let (mut renamed, mut all) = (current.to_vec(), Vec::new());
    for expression in expressions {
        let rename = Rename::parse(expression).ok()?;
        for tensor in &mut renamed {
            tensor.name = rename.apply(&tensor.name);
        }
        all.push(expression.clone());
    }
    Some((renamed, all))
}

/// The number of pairs of the same shape; `None` if two tensors would have one name.
fn pairs(current: &[Named], shapes: &BTreeMap<&str, &[usize]>, names: &Names) -> Option<usize> {
    let mut known = BTreeSet::new();
    let mut count = 0;
    for tensor in current {
        if !known.insert(tensor.name.as_str()) {
            return None;
        }
        let same = shapes.get(tensor.name.as_str()) == Some(&tensor.shape.as_slice());
        count += usize::from(same && names.selects(&tensor.name));
    }
    Some(count)
}

fn paired_names(current: &[Named], shapes: &BTreeMap<&str, &[usize]>) -> usize {
    let paired = |tensor: &&Named| shapes.contains_key(tensor.name.as_str());
    current.iter().filter(paired).count()
}

/// The expression with the most pairs, if it has more than `count`, and their number.
fn best(
    current: &[Named],
    second: &[&Named],
    shapes: &BTreeMap<&str, &[usize]>,
    names: &Names,
    count: usize,
) -> Option<(Rename, usize)> {
    let own: BTreeSet<&str> = current.iter().map(|tensor| tensor.name.as_str()).collect();
    let open: Vec<&Named> = current
        .iter()
        .filter(|tensor| !shapes.contains_key(tensor.name.as_str()))
        .collect();
    let mut by_shape: BTreeMap<&[usize], Vec<&str>> = BTreeMap::new();
    for tensor in second.iter().filter(|t| !own.contains(t.name.as_str())) {
        by_shape
            .entry(&tensor.shape)
            .or_default()
            .push(&tensor.name);
    }
    // How many pairs of names give each expression, and its rank among those that do as well.
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let step = open.len().div_ceil(SAMPLE).max(1);
    for tensor in open.iter().step_by(step) {
        let Some(candidates) = by_shape.get(tensor.shape.as_slice()) else {
            continue;
        };
        let mut alike: Vec<(usize, &str)> = candidates
            .iter()
            .map(|other| (likeness(&tensor.name, other), *other))
            // Names without a common part do not suggest a rule.
            .filter(|(likeness, _)| *likeness > 0)
            .collect();
        alike.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let mut of_this = BTreeMap::new();
        for (_, other) in alike.into_iter().take(PARTNERS) {
            for (rank, expression) in expressions(&tensor.name, other).into_iter().enumerate() {
                of_this.entry(expression).or_insert(rank);
            }
        }
        for (expression, rank) in of_this {
            let entry = found.entry(expression).or_insert((0, rank));
            *entry = (entry.0 + 1, entry.1.min(rank));
        }
    }
    let mut found: Vec<(String, (usize, usize))> = found.into_iter().collect();
    found.sort_by(|(a, (often, rank)), (b, (other, other_rank))| {
        other.cmp(often).then(rank.cmp(other_rank)).then(a.cmp(b))
    });
    // Of expressions with as many pairs, that which changes the names least: `mean` is `running_mean`,
    // not `running_var`.
    let mut best: Option<(Rename, Score)> = None;
    for (expression, (_, rank)) in found.into_iter().take(TRIED) {
        let Ok(rename) = Rename::parse(&expression) else {
            continue;
        };
        let renamed: Vec<Named> = current
            .iter()
            .map(|tensor| Named {
                name: rename.apply(&tensor.name),
                shape: tensor.shape.clone(),
            })
            .collect();
        let Some(pairs) = pairs(&renamed, shapes, names).filter(|pairs| *pairs > count) else {
            continue;
        };
        let both = current.iter().zip(&renamed);
        let alike = both.map(|(old, new)| likeness(&old.name, &new.name)).sum();
        let score = (pairs, alike, Reverse(rank));
        if best.as_ref().is_none_or(|(_, known)| score > *known) {
            best = Some((rename, score));
        }
    }
    best.map(|(rename, (pairs, ..))| (rename, pairs))
}

/// Pairs, likeness of the names, and the expression's rank, of which less is better.
type Score = (usize, usize, Reverse<usize>);

/// How much two names have in common: the length of their beginning and of their end.
fn likeness(a: &str, b: &str) -> usize {
    let (start, end) = common(a, b);
    start + end
}

/// The lengths of the common beginning and of the common end, which do not overlap.
fn common(a: &str, b: &str) -> (usize, usize) {
    let both = a.char_indices().zip(b.chars());
    let start = both
        .take_while(|((_, x), y)| x == y)
        .last()
        .map_or(0, |((at, x), _)| at + x.len_utf8());
    let (a, b) = (&a[start..], &b[start..]);
    let both = a.chars().rev().zip(b.chars().rev());
    let end = both
        .take_while(|(x, y)| x == y)
        .map(|(x, _)| x.len_utf8())
        .sum();
    (start, end)
}

/// The expressions that turn one name into the other, the plainest first.
fn expressions(from: &str, to: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |pattern: String, replacement: String, flags: &str| {
        if !pattern.is_empty() {
            all.push(format!("s/{pattern}/{replacement}/{flags}"));
        }
    };
    let (start, end) = common(from, to);
    let (old, new) = (&from[start..from.len() - end], &to[start..to.len() - end]);
    // The beginning: all up to the common end, extended to whole components.
    let head = component_start(from, from.len() - end).max(start_of_tail(from, to));
    let new_head = to.len() - (from.len() - head);
    if to.is_char_boundary(new_head) && from[head..] == to[new_head..] {
        add(
            format!("^{}", escaped(&from[..head])),
            literal(&to[..new_head]),
            "",
        );
    }
    // Separators that differ everywhere.
    if let Some((separator, other)) = separators(from, to) {
        add(escaped(&separator), literal(&other), "g");
    }
    // What differs, with the characters around it up to the ends of the component.
    let left = component_start(from, start);
    let right = component_end(from, from.len() - end);
    let whole = (
        &from[left..right],
        format!(
            "{}{new}{}",
            &from[left..start],
            &from[from.len() - end..right]
        ),
    );
    add(
        with_ends(from, left, right, &escaped(whole.0)),
        literal(&whole.1),
        "",
    );
    if !old.is_empty() {
        add(escaped(old), literal(new), "");
        add(escaped(old), literal(new), "g");
    }
    // Numbers that are only there.
    if old.chars().any(|c| c.is_ascii_digit()) && !new.chars().any(|c| c.is_ascii_digit()) {
        add(
            with_ends(from, start, from.len() - end, &digits(&escaped(old))),
            literal(new),
            "",
        );
    }
    // Numbers that stay, in the component.
    if let Some((pattern, replacement)) = kept_numbers(whole.0, &whole.1) {
        add(with_ends(from, left, right, &pattern), replacement, "");
    }
    // A component that moves along, such as the separators within it.
    if let Some((pattern, replacement)) = kept_numbers(old, new) {
        add(pattern, replacement, "");
    }
    all
}

/// Where the longest common end of both starts in `from`, at the start of a component.
fn start_of_tail(from: &str, to: &str) -> usize {
    let both = from.char_indices().rev().zip(to.chars().rev());
    let same = both.take_while(|((_, x), y)| x == y).last();
    same.map_or(from.len(), |((at, _), _)| match at {
        0 => 0,
        at if from[..at].ends_with(is_separator) => at,
        at => component_end(from, at) + usize::from(component_end(from, at) < from.len()),
    })
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

/// The start of the component that `at` lies in.
fn component_start(name: &str, at: usize) -> usize {
    let before = &name[..at];
    before.rfind(is_separator).map_or(0, |separator| {
        separator + before[separator..].chars().next().map_or(1, char::len_utf8)
    })
}

/// The end of the component that `at` lies in.
fn component_end(name: &str, at: usize) -> usize {
    name[at..]
        .find(is_separator)
        .map_or(name.len(), |separator| at + separator)
}

/// A pattern for the part of a name, with the anchors or separators at its ends.
fn with_ends(name: &str, left: usize, right: usize, pattern: &str) -> String {
    let start = if left == 0 { "^" } else { "" };
    let end = if right == name.len() { "$" } else { "" };
    format!("{start}{pattern}{end}")
}

/// The separator of each, if the names are the same between them and it differs everywhere.
fn separators(from: &str, to: &str) -> Option<(String, String)> {
    let words = |name: &str| -> Vec<String> {
        let words = name.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    if words(from) != words(to) {
        return None;
    }
    let gaps = |name: &str| -> Vec<String> {
        let gaps = name.split(char::is_alphanumeric);
        gaps.filter(|gap| !gap.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (from, to) = (gaps(from), gaps(to));
    let mut differing = from.iter().zip(&to).filter(|(a, b)| a != b);
    let (a, b) = differing.next()?;
    (from.len() == to.len() && differing.all(|other| other == (a, b)))
        .then(|| (a.clone(), b.clone()))
}

/// The pattern in which any number stands for each number, and the replacement with the same numbers in
/// their places; `None` unless both have the same numbers.
fn kept_numbers(from: &str, to: &str) -> Option<(String, String)> {
    let numbers = |text: &str| -> Vec<String> {
        let numbers = text.split(|c: char| !c.is_ascii_digit());
        numbers
            .filter(|number| !number.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let found = numbers(from);
    if found.is_empty() || found.len() > 9 || found != numbers(to) {
        return None;
    }
    let mut replacement = String::new();
    let mut group = 0;
    let mut rest = to;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        group += 1;
        replacement += &literal(&rest[..at]);
        replacement += &format!("\\{group}");
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    replacement += &literal(rest);
    Some((
        digits(&escaped(from)).replace(r"\d+", r"(\d+)"),
        replacement,
    ))
}

/// A pattern in which every number is any number.
fn digits(pattern: &str) -> String {
    let mut text = String::new();
    let mut is_in_number = false;
    for c in pattern.chars() {
        if c.is_ascii_digit() {
            if !is_in_number {
                text.push_str(r"\d+");
            }
        } else {
            text.push(c);
        }
        is_in_number = c.is_ascii_digit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Named, RenameHint};
    use crate::cli::selection::{Names, Selection};
    use clap::Parser;

    /// A network's names, each with a shape of its kind.
    const NET: [&str; 12] = [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer1.0.bn1.weight",
        "layer1.0.bn1.bias",
        "layer1.1.conv1.weight",
        "layer2.10.conv1.weight",
        "fc.weight",
        "fc.bias",
    ];

    fn named(names: impl IntoIterator<Item = String>) -> Vec<Named> {
        names
            .into_iter()
            .enumerate()
            .map(|(index, name)| Named {
                // As in a network: few shapes, shared by many.
                shape: vec![[3, 8, 8, 8, 8, 64, 8, 8, 64, 64, 10, 10][index % 12]],
                name,
            })
            .collect()
    }

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        selection: Selection,
    }

    fn names(arguments: &[String]) -> Names {
        let program = ["x".to_owned()];
        let all = program.iter().chain(arguments);
        Names::new(&Arguments::parse_from(all).selection).unwrap()
    }

    fn given(expressions: &[String]) -> Vec<String> {
        let flags = expressions.iter();
        flags
            .flat_map(|e| ["--rename".to_owned(), e.clone()])
            .collect()
    }

    /// The hint pairs all names, and does so when it is given.
    fn assert_pairs(from: &dyn Fn(&str) -> String, to: &dyn Fn(&str) -> String, label: &str) {
        let ours = named(NET.iter().map(|name| from(name)));
        let theirs = named(NET.iter().map(|name| to(name)));
        let hint = RenameHint::find(&ours, &theirs, &names(&[]));
        let hint = hint.unwrap_or_else(|| panic!("{label}: no hint"));
        let after = names(&given(&hint.expressions));
        for (own, other) in ours.iter().zip(&theirs) {
            assert_eq!(after.rename(&own.name), other.name, "{label}: {hint:?}");
        }
        let sentence = hint.sentence();
        assert_eq!(sentence.lines().count(), 1);
        assert!(sentence.starts_with("--rename 's/"), "{sentence}");
        // With the hint there is nothing to pair.
        assert_eq!(RenameHint::find(&ours, &theirs, &after), None, "{label}");
    }

    #[test]
    fn names_of_other_habits_are_paired() {
        let same = |name: &str| name.to_owned();
        type Habit = (&'static str, fn(&str) -> String);
        let habits: [Habit; 22] = [
            ("module.", |name| format!("module.{name}")),
            ("_orig_mod.", |name| format!("_orig_mod.{name}")),
            ("module._orig_mod.", |name| {
                format!("module._orig_mod.{name}")
            }),
            ("model.", |name| format!("model.{name}")),
            ("a prefix with /", |name| format!("net/{name}")),
            ("a prefix with a quote and &", |name| {
                format!("a'&$b\\.{name}")
            }),
            ("|", |name| name.replace('.', "|")),
            ("/", |name| name.replace('.', "/")),
            ("::", |name| name.replace('.', "::")),
            ("->", |name| name.replace('.', "->")),
            ("a suffix", |name| format!("{name}_ema")),
            ("a suffix with a dot", |name| format!("{name}.value")),
            ("tch's duplicates", |name| format!("{name}__{}", name.len())),
            ("Flax's conv", |name| name.replace(".weight", ".kernel")),
            ("two last names", |name| {
                name.replace("weight", "ws").replace("bias", "bs")
            }),
            ("four last names", |name| {
                let name = name.replace("weight", "gamma").replace("bias", "beta");
                name.replace("running_mean", "mean")
                    .replace("running_var", "variance")
            }),
            ("a middle", |name| name.replace("layer", "stage")),
            ("numbers apart", |name| name.replace("layer", "layer.")),
            ("underscored numbers", |name| {
                name.replace("layer1.", "layer1_")
                    .replace("layer2.", "layer2_")
            }),
            ("brackets", |name| {
                name.replace("layer1.0.", "layer1[0].")
                    .replace("layer1.1.", "layer1[1].")
                    .replace("layer2.10.", "layer2[10].")
            }),
            ("wrapped layers", |name| {
                name.replace("conv1.", "conv1.inner.")
            }),
            ("a prefix and other ends", |name| {
                format!("model.{}", name.replace("weight", "w"))
            }),
        ];
        for (label, habit) in habits {
            assert_pairs(&habit, &same, label);
            // And back, but for what the names no longer show.
            if !["tch's duplicates"].contains(&label) {
                assert_pairs(&same, &habit, &format!("{label}, back"));
            }
        }
        let (wrapped, scoped) = (
            |n: &str| format!("module.{n}"),
            |n: &str| format!("model.{n}"),
        );
        assert_pairs(&wrapped, &scoped, "one prefix for another");
    }

    /// Wrappers around the model and within it, separators and numbers, all with all.
    #[test]
    fn names_of_several_habits_at_once_are_paired() {
        let same = |name: &str| name.to_owned();
        let inner: [(&str, &str); 6] = [
            ("", ""),
            ("layer", "_fsdp_wrapped_module."),
            ("layer", "_checkpoint_wrapped_module."),
            ("layer", "_fsdp_wrapped_module._checkpoint_wrapped_module."),
            ("layer1", "_orig_mod."),
            ("", "_fsdp_wrapped_module."),
        ];
        for outer in [
            "",
            "module.",
            "_orig_mod.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "_fsdp_wrapped_module.",
        ] {
            for (part, wrapper) in inner {
                for separator in [".", "|", "/"] {
                    for numbered in [false, true] {
                        let habit = move |name: &str| {
                            // After the block, such as `layer1.0.`.
                            let depth = if name.starts_with("layer") { 2 } else { 1 };
                            let mut parts: Vec<&str> = name.splitn(depth + 1, '.').collect();
                            let wrapped = wrapper.trim_end_matches('.');
                            if name.starts_with(part) && !wrapper.is_empty() {
                                parts.insert(parts.len() - 1, wrapped);
                            }
                            let mut name = format!("{outer}{}", parts.join("."));
                            name = name.replace('.', separator);
                            if numbered && name.len() % 3 > 0 {
                                name += &format!("__{}", name.len());
                            }
                            name
                        };
                        if NET.iter().all(|name| habit(name) == *name) {
                            continue;
                        }
                        let label = habit("layer1.0.conv1.weight");
                        assert_pairs(&habit, &same, &label);
                        if !numbered && wrapper.is_empty() {
                            assert_pairs(&same, &habit, &format!("{label}, back"));
                        }
                    }
                }
            }
        }
        let (compiled, parallel) = (
            |n: &str| format!("_orig_mod|{}__7", n.replace('.', "|")),
            |n: &str| format!("module/model/{}", n.replace('.', "/")),
        );
        assert_pairs(&compiled, &parallel, "other habits on each side");
    }

    #[test]
    fn paired_names_stay_so() {
        // Only a part has the prefix.
        let ours = [
            "lm_head.weight",
            "model.a.weight",
            "model.b.weight",
            "model.c.bias",
        ];
        let theirs = ["lm_head.weight", "a.weight", "b.weight", "c.bias"];
        let of = |names: [&str; 4]| named(names.map(str::to_owned));
        let hint = RenameHint::find(&of(ours), &of(theirs), &names(&[])).unwrap();
        assert_eq!(hint.expressions, [r"s/^model\.//"]);
        assert_eq!(
            hint.sentence(),
            r"--rename 's/^model\.//' gives 3 more pairs"
        );
        // The other way round, the head must not get it.
        let hint = RenameHint::find(&of(theirs), &of(ours), &names(&[])).unwrap();
        let after = names(&given(&hint.expressions));
        let renamed = theirs.map(|name| after.rename(name));
        let paired = renamed
            .iter()
            .filter(|name| ours.contains(&name.as_str()))
            .count();
        assert!(paired >= 3, "{hint:?}");
    }

    #[test]
    fn names_without_a_rule_get_no_hint() {
        let of = |all: &[&str]| named(all.iter().map(|name| (*name).to_owned()));
        let none = |ours: &[&str], theirs: &[&str]| {
            assert_eq!(
                RenameHint::find(&of(ours), &of(theirs), &names(&[])),
                None,
                "{ours:?}"
            );
        };
        none(
            &["a.weight", "b.weight", "c.weight"],
            &["a.weight", "b.weight", "c.weight"],
        );
        none(&["x"], &["y"]);
        none(&["a.weight"], &[]);
        none(&[], &["a.weight"]);
        // Each pair would need a rule of its own.
        none(
            &["x1", "y2", "z3", "u4", "v5", "w6", "p7", "q8", "r9", "s10"],
            &["k", "l", "m", "n", "o", "f", "g", "h", "i", "j"],
        );
        // Tensors of other shapes do not pair.
        let mut theirs = of(&["a.weight", "b.weight"]);
        theirs
            .iter_mut()
            .for_each(|tensor| tensor.shape = vec![7, 7]);
        let ours = of(&["model.a.weight", "model.b.weight"]);
        assert_eq!(RenameHint::find(&ours, &theirs, &names(&[])), None);
    }

    /// The hint comes after the arguments that there are, and regards what they select.
    #[test]
    fn present_arguments_come_first() {
        let ours = named(NET.iter().map(|name| format!("module.model.{name}")));
        let theirs = named(NET.iter().map(|name| (*name).to_owned()));
        let mut arguments = given(&[r"s/^module\.//".to_owned()]);
        let hint = RenameHint::find(&ours, &theirs, &names(&arguments)).unwrap();
        assert_eq!(hint.expressions, [r"s/^model\.//"]);
        arguments.extend(["--only".to_owned(), "bn1*".to_owned()]);
        let hint = RenameHint::find(&ours, &theirs, &names(&arguments)).unwrap();
        assert_eq!((hint.expressions.len(), hint.pairs), (1, 4), "{hint:?}");
    }

    #[test]
    fn ten_thousand_names_take_no_time() {
        let start = std::time::Instant::now();
        let all = (0..10_000).map(|i| format!("layers.{i}.weight"));
        let theirs = named(all.clone());
        let ours = named(all.map(|name| format!("module.{name}")));
        let hint = RenameHint::find(&ours, &theirs, &names(&[])).unwrap();
        assert_eq!(hint.expressions, [r"s/^module\.//"]);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
