//! What a program runs in: versions, threads, CPU, flags.

use crate::value::Ordered;
use serde::Deserialize;
use serde_json::Value as Json;

/// What a program ran in, by name. Nested names have a dot: `flags.mkldnn`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Environment {
    entries: Vec<(String, String)>,
}

/// An entry of which two environments have different values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvironmentDifference {
    /// The entry: `threads`.
    pub name: String,
    /// The value in A, if it has one.
    pub a: Option<String>,
    /// The value in B, if it has one.
    pub b: Option<String>,
}

impl Environment {
    /// The entries in the order of the trace.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of an entry.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The entries that differ. The version of Python changes no bit and is left out, as is the part of PyTorch's version after `+` where
    /// only one environment has it: a program in Rust does not.
    #[must_use]
    pub fn differences(&self, other: &Environment) -> Vec<EnvironmentDifference> {
        let mut names: Vec<&str> = self.entries().map(|(name, _)| name).collect();
        names.extend(
            other
                .entries()
                .map(|(name, _)| name)
                .filter(|name| self.get(name).is_none()),
        );
        names
            .into_iter()
            .filter(|name| *name != "python" && self.get(name) != other.get(name))
            .filter(|name| *name != "torch" || !self.has_same_release(other))
            .map(|name| EnvironmentDifference {
                name: name.to_owned(),
                a: self.get(name).map(str::to_owned),
                b: other.get(name).map(str::to_owned),
            })
            .collect()
    }
}

impl Environment {
    fn has_same_release(&self, other: &Environment) -> bool {
        let (Some(a), Some(b)) = (self.get("torch"), other.get("torch")) else {
            return false;
        };
        let release = |version: &str| version.split('+').next().map(str::to_owned);
        release(a) == release(b) && a.contains('+') != b.contains('+')
    }
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Environment, D::Error> {
        let mut entries = Vec::new();
        for (name, value) in Ordered::<Json>::deserialize(deserializer)?.0 {
            match value {
                Json::Object(map) => entries.extend(
                    map.iter()
                        .map(|(key, value)| (format!("{name}.{key}"), text(value))),
                ),
                value => entries.push((name.to_string(), text(&value))),
            }
        }
        Ok(Environment { entries })
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
