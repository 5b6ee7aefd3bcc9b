//! Which parameters and buffers of two programs are the same, whatever they are called.

use super::sides::Sides;
use crate::{SharedStr, Trace, ValueHash};
use std::collections::{HashMap, HashSet};

/// A pair of names for each parameter and buffer that both programs have.
#[derive(Default)]
pub struct Names {
    pairs: Vec<(SharedStr, SharedStr)>,
    of_a: HashMap<SharedStr, SharedStr>,
    of_b: HashSet<SharedStr>,
    /// The module of B for each one of A, and those of B that have one.
    modules: HashMap<String, Option<String>>,
    modules_of_b: HashSet<String>,
}

/// A parameter or buffer: its name and what it has at the start and at the end.
struct Entry {
    name: SharedStr,
    form: (SharedStr, Vec<i64>),
    start: Option<ValueHash>,
    end: Option<ValueHash>,
}

fn entries(trace: &Trace) -> Vec<Entry> {
    let end = trace.end.iter().flat_map(|end| end.outcome());
    let end: HashMap<&str, Option<ValueHash>> =
        end.map(|(name, tensor)| (name, tensor.hash)).collect();
    let mut known = HashSet::new();
    let names = trace.models.iter().flat_map(|model| &model.names);
    names
        .filter(|named| known.insert(named.name.clone()))
        .map(|named| Entry {
            name: named.name.clone(),
            form: (named.tensor.dtype.clone(), named.tensor.shape.clone()),
            start: named.tensor.hash,
            end: end.get(named.name.as_str()).copied().flatten(),
        })
        .collect()
}

/// The name of the parameter, of whose gradient this may be the name.
fn base(name: &str) -> SharedStr {
    SharedStr::from(name.strip_suffix(".grad").unwrap_or(name))
}

/// The module that a parameter is in.
pub fn module(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(module, _)| module)
}

impl Names {
    /// Pairs by content: of equal values those that also end in equal values, have the same name, or are in the modules of others
    /// that are paired.
    pub fn new(a: &Trace, b: &Trace) -> Names {
        let (mut in_a, mut in_b) = (entries(a), entries(b));
        let mut names = Names::default();
        names.pair(&mut in_a, &mut in_b, |entry| {
            Some((entry.form.clone(), entry.start?))
        });
        names.pair(&mut in_a, &mut in_b, |entry| {
            Some((entry.form.clone(), entry.start?, entry.end?))
        });
        names.pair(&mut in_a, &mut in_b, |entry| {
            Some((entry.form.clone(), entry.name.clone()))
        });
        let modules = names.modules();
        let of_module = |entry: &Entry| module(entry.name.as_str()).map(str::to_owned);
        let last = |entry: &Entry| entry.name.as_str().rsplit('.').next().map(str::to_owned);
        let translated = |entry: &Entry| modules.get(&of_module(entry)?).cloned().flatten();
        names.pair_by(
            &mut in_a,
            &mut in_b,
            |entry| Some((entry.form.clone(), translated(entry)?, last(entry))),
            |entry| Some((entry.form.clone(), of_module(entry)?, last(entry))),
        );
        names.pair_by(
            &mut in_a,
            &mut in_b,
            |entry| Some((entry.form.clone(), translated(entry)?)),
            |entry| Some((entry.form.clone(), of_module(entry)?)),
        );
        names.modules = names.modules();
        names.modules_of_b = names.modules.values().flatten().cloned().collect();
        names
    }

    /// Whether the parameters of a module of A are those of another module than this one of B, which has those of another.
    pub fn are_others(&self, a: &str, b: &str) -> bool {
        match self.modules.get(a) {
            Some(Some(twin)) => twin != b && self.modules_of_b.contains(b),
            _ => false,
        }
    }

    fn pair<K: std::hash::Hash + Eq>(
        &mut self,
        in_a: &mut Vec<Entry>,
        in_b: &mut Vec<Entry>,
        key: impl Fn(&Entry) -> Option<K>,
    ) {
        self.pair_by(in_a, in_b, &key, &key);
    }

    /// Pairs what only one entry of each side has.
    fn pair_by<K: std::hash::Hash + Eq>(
        &mut self,
        in_a: &mut Vec<Entry>,
        in_b: &mut Vec<Entry>,
        key_a: impl Fn(&Entry) -> Option<K>,
        key_b: impl Fn(&Entry) -> Option<K>,
    ) {
        let mut groups: HashMap<K, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for (index, entry) in in_a.iter().enumerate() {
            if let Some(key) = key_a(entry) {
                groups.entry(key).or_default().0.push(index);
            }
        }
        for (index, entry) in in_b.iter().enumerate() {
            if let Some(key) = key_b(entry) {
                groups.entry(key).or_default().1.push(index);
            }
        }
        let mut found: Vec<(usize, usize)> = groups
            .into_values()
            .filter_map(|(a, b)| match (&a[..], &b[..]) {
                ([a], [b]) => Some((*a, *b)),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        for (a, b) in &found {
            let (a, b) = (in_a[*a].name.clone(), in_b[*b].name.clone());
            self.of_a.insert(a.clone(), b.clone());
            self.of_b.insert(b.clone());
            self.pairs.push((a, b));
        }
        in_a.retain(|entry| !self.of_a.contains_key(&entry.name));
        in_b.retain(|entry| !self.of_b.contains(&entry.name));
    }

    /// The module of B for each one of A, where all that is paired agrees.
    fn modules(&self) -> HashMap<String, Option<String>> {
        let mut modules: HashMap<String, Option<String>> = HashMap::new();
        for (a, b) in &self.pairs {
            let (mut a, mut b) = (a.as_str(), b.as_str());
            // And what these are in.
            while let (Some(of_a), Some(of_b)) = (module(a), module(b)) {
                (a, b) = (of_a, of_b);
                let known = modules
                    .entry(a.to_owned())
                    .or_insert_with(|| Some(b.to_owned()));
                if known.as_deref() != Some(b) {
                    *known = None;
                }
            }
        }
        modules
    }

    /// Whether a name of A is that of the same parameter, buffer or gradient in B.
    pub fn is_same(&self, a: &str, b: &str) -> bool {
        if a.ends_with(".grad") != b.ends_with(".grad") {
            return false;
        }
        match self.of_a.get(&base(a)) {
            Some(name) => *name == base(b),
            None => a == b && !self.of_b.contains(&base(b)),
        }
    }

    /// Whether a name of A and one of B are those of two parameters or buffers, at least one of which the other program has elsewhere.
    pub fn are_different(&self, a: &str, b: &str) -> bool {
        let (a, b) = (base(a), base(b));
        match self.of_a.get(&a) {
            Some(twin) => *twin != b,
            None => self.of_b.contains(&b),
        }
    }

    /// All pairs.
    pub fn all(&self) -> impl Iterator<Item = (&SharedStr, &SharedStr)> {
        self.pairs.iter().map(|(a, b)| (a, b))
    }

    /// The pairs in the order of A.
    pub fn pairs(&self, a: &Trace) -> Vec<Sides<String>> {
        let names = a.models.iter().flat_map(|model| &model.names);
        let mut known = HashSet::new();
        names
            .filter(|named| known.insert(&named.name))
            .filter_map(|named| {
                Some(Sides {
                    a: named.name.to_string(),
                    b: self.of_a.get(&named.name)?.to_string(),
                })
            })
            .collect()
    }
}
