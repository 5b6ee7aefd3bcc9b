//! Selects and renames tensors: `--rename`, `--only`, `--ignore`.

use anyhow::{Result, anyhow, bail};
use clap::Args;
use globset::{Glob, GlobMatcher};
use regex::{Regex, RegexBuilder};
use std::cell::RefCell;

#[derive(Args)]
pub struct Selection {
    /// Rename tensors of the first side, as sed does: s/PATTERN/REPLACEMENT/, with \1 for groups and the flags g and i;
    /// may be repeated, and each is applied to the result of the previous one
    #[arg(long, value_name = "s/PATTERN/REPLACEMENT/")]
    rename: Vec<String>,
    /// Only tensors with matching names, where * matches anything; may be repeated
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
    /// Ignore tensors with matching names, where * matches anything; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
}

/// The compiled arguments, each with whether it matched anything.
pub struct Names {
    renames: Vec<Rename>,
    only: Vec<Pattern>,
    ignore: Vec<Pattern>,
}

struct Pattern {
    argument: String,
    glob: GlobMatcher,
    used: RefCell<bool>,
}

/// A `--rename`.
pub struct Rename {
    expression: String,
    argument: String,
    pattern: Regex,
    replacement: String,
    everywhere: bool,
    used: RefCell<bool>,
}

impl Names {
    pub fn new(arguments: &Selection) -> Result<Names> {
        let patterns = |option: &str, globs: &[String]| {
            globs
                .iter()
                .map(|glob| {
                    let compiled = Glob::new(glob).map_err(|error| {
                        anyhow!("{option} '{glob}' is not a pattern: {}", error.kind())
                    })?;
                    Ok(Pattern {
                        argument: format!("{option} '{glob}'"),
                        glob: compiled.compile_matcher(),
                        used: RefCell::new(false),
                    })
                })
                .collect::<Result<Vec<Pattern>>>()
        };
        Ok(Names {
            renames: arguments
                .rename
                .iter()
                .map(|r| Rename::parse(r))
                .collect::<Result<_>>()?,
            only: patterns("--only", &arguments.only)?,
            ignore: patterns("--ignore", &arguments.ignore)?,
        })
    }

    /// The new name of a tensor of the first side.
    pub fn rename(&self, name: &str) -> String {
        self.renames
            .iter()
            .fold(name.to_owned(), |name, rename| rename.apply(&name))
    }

    /// Whether a tensor of this name is selected.
    pub fn keep(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| {
            // All are tried, so that each matching one counts as used.
            patterns.iter().filter(|pattern| pattern.fits(name)).count() > 0
        };
        let wanted = any(&self.only) || self.only.is_empty();
        !any(&self.ignore) && wanted
    }

    /// Whether a tensor of this name is selected, without counting patterns as used.
    pub fn selects(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|p| p.glob.is_match(name));
        !any(&self.ignore) && (any(&self.only) || self.only.is_empty())
    }

    /// Whether names are selected.
    pub fn has_filter(&self) -> bool {
        !self.only.is_empty() || !self.ignore.is_empty()
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.renames.is_empty() && self.only.is_empty() && self.ignore.is_empty()
    }

    /// Warns of arguments that matched nothing.
    pub fn warn_of_unused(&self) {
        let renames = self.renames.iter().map(|r| (&r.argument, &r.used));
        let patterns = self
            .only
            .iter()
            .chain(&self.ignore)
            .map(|p| (&p.argument, &p.used));
        for (argument, used) in renames.chain(patterns) {
            if !*used.borrow() {
                log::warn!("{argument} matches no tensor");
            }
        }
    }
}

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        let fits = self.glob.is_match(name);
        *self.used.borrow_mut() |= fits;
        fits
    }
}

impl Rename {
    /// Parses `s`, a delimiter and three parts; a backslash escapes the delimiter.
    pub fn parse(argument: &str) -> Result<Rename> {
        let wrong = || anyhow!("--rename '{argument}' is not of the form s/PATTERN/REPLACEMENT/");
        let mut characters = argument.chars();
        let delimiter = match (characters.next(), characters.next()) {
            (Some('s'), Some(d)) if !d.is_alphanumeric() && d != '\\' && !d.is_whitespace() => d,
            _ => return Err(wrong()),
        };
        let mut parts = vec![String::new()];
        let mut escaped = false;
        for c in characters {
            let Some(part) = parts.last_mut() else {
                break;
            };
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (false, c) if c == delimiter => parts.push(String::new()),
                (false, c) => part.push(c),
                (true, c) => {
                    if c != delimiter {
                        part.push('\\');
                    }
                    part.push(c);
                    escaped = false;
                }
            }
        }
        let [pattern, replacement, flags] = parts.as_slice() else {
            return Err(wrong());
        };
        if let Some(flag) = flags.chars().find(|flag| !"gi".contains(*flag)) {
            bail!("--rename '{argument}': the flag {flag} is neither g nor i");
        }
        let compiled = RegexBuilder::new(pattern)
            .case_insensitive(flags.contains('i'))
            .build()
            .map_err(|error| {
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or_default();
                anyhow!(
                    "--rename '{argument}': the pattern is not a regular expression: {}",
                    last.trim_start_matches("error: ")
                )
            })?;
        Ok(Rename {
            expression: argument.to_owned(),
            argument: format!("--rename '{argument}'"),
            replacement: references(replacement),
            pattern: compiled,
            everywhere: flags.contains('g'),
            used: RefCell::new(false),
        })
    }

    /// The argument.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The new name.
    pub fn apply(&self, name: &str) -> String {
        let limit = if self.everywhere { 0 } else { 1 };
        *self.used.borrow_mut() |= self.pattern.is_match(name);
        self.pattern
            .replacen(name, limit, self.replacement.as_str())
            .into_owned()
    }
}

/// Translates sed's `\1` and `&` to the syntax of the regex crate, in which `$` is escaped.
fn references(replacement: &str) -> String {
    let mut text = String::new();
    let mut characters = replacement.chars();
    while let Some(c) = characters.next() {
        match c {
            '$' => text.push_str("$$"),
            '&' => text.push_str("${0}"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    text.push_str("${");
                    text.push(digit);
                    text.push('}');
                }
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Names, Rename, Selection};

    #[test]
    fn renames_are_seds() {
        for (argument, name, expected) in [
            ("s/ws/weight/", "fc.ws", "fc.weight"),
            (r"s/^layer(\d+)\./h.\1./", "layer12.w", "h.12.w"),
            ("s/a/b/", "aaa", "baa"),
            ("s/a/b/g", "aaa", "bbb"),
            ("s/A/b/gi", "aAa", "bbb"),
            ("s|a/b|c|", "x.a/b", "x.c"),
            (r"s/a\/b/c/", "a/b", "c"),
            ("s/b/[&]/", "abc", "a[b]c"),
            ("s/b/$1/", "abc", "a$1c"),
            (r"s/b/\&/", "abc", "a&c"),
            (r"s/\.//", "a.b.c", "ab.c"),
        ] {
            let rename = Rename::parse(argument).unwrap();
            assert_eq!(rename.apply(name), expected, "{argument}");
        }
        for (argument, part) in [
            ("", "not of the form"),
            ("a/b/", "not of the form"),
            ("s/a/b", "not of the form"),
            ("s/a/b/c/d", "not of the form"),
            ("sxaxbx", "not of the form"),
            ("s/a/b/x", "the flag x"),
            ("s/(/b/", "not a regular expression"),
        ] {
            let error = Rename::parse(argument).err().unwrap().to_string();
            assert!(error.contains(part), "{argument}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn globs_choose() {
        let names = Names::new(&Selection {
            rename: Vec::new(),
            only: vec!["fc*".to_owned(), "*.bias".to_owned()],
            ignore: vec!["fc1.*".to_owned()],
        })
        .unwrap();
        for (name, kept) in [
            ("fc2.weight", true),
            ("fc1.weight", false),
            ("conv.bias", true),
            ("conv.weight", false),
        ] {
            assert_eq!(names.keep(name), kept, "{name}");
        }
        let wrong = Selection {
            rename: Vec::new(),
            only: vec!["[".to_owned()],
            ignore: Vec::new(),
        };
        assert!(Names::new(&wrong).is_err());
    }
}
