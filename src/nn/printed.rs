//! Modules as Python prints them: `Module.__repr__`, `torch/nn/modules/module.py`, PyTorch 2.13.

use crate::error::InitError;
use std::fmt;
use std::str::FromStr;

/// A module as `print(model)` shows it in Python.
///
/// ```
/// use tch_init::nn::Printed;
///
/// let text = "Net(\n  (fc): Linear(in_features=4, out_features=2, bias=True)\n)";
/// let net = Printed::parse(text)?;
/// let (name, linear) = &net.children[0];
/// assert_eq!((name.as_str(), linear.class.as_str()), ("fc", "Linear"));
/// assert_eq!(linear.argument("out_features", None), Some("2"));
/// assert_eq!(net.to_string(), text);
/// # Ok::<(), tch_init::nn::PrintError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Printed {
    /// The name of its class.
    pub class: String,
    /// The arguments, each `name=value` or a value without a name.
    pub arguments: Vec<(Option<String>, String)>,
    /// The children with their names.
    pub children: Vec<(String, Printed)>,
    /// The line that it was printed on, from 1.
    pub line: usize,
}

/// Why a printed module cannot be read, or a layer not be made from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// The text is not a print of a module.
    #[error("line {line}: {reason}; the file must hold what Python's print(model) prints")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The print does not show what the layer needs.
    #[error("line {line}: {class}: {reason}; take a file of PyTorch's tensors as the reference")]
    Layer {
        /// The line, from 1.
        line: usize,
        /// The layer's class.
        class: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// PyTorch rejects the arguments.
    #[error(transparent)]
    Init(#[from] InitError),
}

/// The deepest nesting of modules; Python's own limit of recursion is 1000.
const MAX_DEPTH: usize = 200;

/// The most modules of a model. One line may describe many: `(0-11): 12 x Block(`.
const MAX_MODULES: usize = 100_000;

impl Printed {
    /// Reads what Python prints of a module. Blank lines and indentation are ignored.
    ///
    /// # Errors
    ///
    /// [`PrintError::Syntax`] if the text is not a print, or has more than 100,000 modules or 200
    /// levels of them.
    pub fn parse(printed: &str) -> Result<Printed, PrintError> {
        let mut lines = printed
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty())
            .peekable();
        let (number, first) = lines
            .next()
            .ok_or_else(|| syntax(1, "nothing is printed"))?;
        let module = body(number, first, &mut lines, 0)?;
        match lines.next() {
            None => Ok(module),
            Some((line, _)) => Err(syntax(line, "something follows the model")),
        }
    }

    /// The number of modules in it, itself included.
    fn size(&self) -> usize {
        1 + self
            .children
            .iter()
            .map(|(_, child)| child.size())
            .sum::<usize>()
    }

    /// The argument of a name, or the one at a position among those without a name.
    pub fn argument(&self, name: &str, place: Option<usize>) -> Option<&str> {
        let named = self
            .arguments
            .iter()
            .find(|(n, _)| n.as_deref() == Some(name));
        let placed = || {
            let mut bare = self.arguments.iter().filter(|(n, _)| n.is_none());
            bare.nth(place?)
        };
        named.or_else(placed).map(|(_, value)| value.as_str())
    }

    /// The child of this name.
    pub(super) fn child(&self, name: &str) -> Result<&Printed, PrintError> {
        let mut children = self.children.iter();
        children
            .find_map(|(known, child)| (known == name).then_some(child))
            .ok_or_else(|| self.refused(format!("{name} is not printed")))
    }

    /// An error about this module.
    pub(super) fn refused(&self, reason: impl Into<String>) -> PrintError {
        PrintError::Layer {
            line: self.line,
            class: self.class.clone(),
            reason: reason.into(),
        }
    }

    fn read<T: FromStr>(&self, name: &str, value: &str) -> Result<T, PrintError> {
        let malformed = |_| self.refused(format!("{name} = `{value}` is malformed"));
        value.parse().map_err(malformed)
    }

    /// An integer that has to be printed.
    pub(super) fn int(&self, name: &str, position: Option<usize>) -> Result<i64, PrintError> {
        match self.argument(name, position) {
            Some(value) => self.read(name, value),
            None => Err(self.refused(format!("{name} is not printed"))),
        }
    }

    /// An integer that may be missing or `None`.
    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i64>, PrintError> {
        match self.argument(name, None) {
            None | Some("None") => Ok(None),
            Some(value) => self.read(name, value).map(Some),
        }
    }

    /// A boolean that is printed if it is not the default.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, PrintError> {
        match self.argument(name, None) {
            None => Ok(default),
            Some("True") => Ok(true),
            Some("False") => Ok(false),
            Some(value) => {
                Err(self.refused(format!("{name} = `{value}` is neither True nor False")))
            }
        }
    }

    /// A tuple of integers, such as `(3, 3)`, or a single one, that has to be printed.
    pub(super) fn ints(&self, name: &str, position: Option<usize>) -> Result<Vec<i64>, PrintError> {
        let Some(value) = self.argument(name, position) else {
            return Err(self.refused(format!("{name} is not printed")));
        };
        value
            .trim_matches(['(', ')', '[', ']'])
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| self.read(name, part))
            .collect()
    }
}

/// As Python prints it, equal neighbors of a list once.
impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|(name, value)| match name {
                Some(name) => format!("{name}={value}"),
                None => value.clone(),
            })
            .collect();
        let arguments = arguments.join(", ");
        if self.children.is_empty() {
            return write!(f, "{}({arguments})", self.class);
        }
        let names = self.children.iter().map(|(name, _)| name.as_str());
        let texts: Vec<String> = self.children.iter().map(|c| c.1.to_string()).collect();
        let numbered = (0..)
            .zip(names.clone())
            .all(|(i, name)| name == i.to_string());
        let text = match numbered && self.class == "ModuleList" {
            true => python_module_list(&texts),
            false => {
                let texts = texts.iter().map(String::as_str);
                python_module(&self.class, &names.zip(texts).collect::<Vec<_>>())
            }
        };
        match arguments.as_str() {
            "" => f.write_str(&text),
            _ => f.write_str(&python_options(&text, &arguments)),
        }
    }
}

/// `True` or `False`.
pub(crate) fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `(3, 3)`.
pub(crate) fn python_tuple(values: &[i64]) -> String {
    match values {
        [one] => format!("({one},)"),
        many => {
            let many: Vec<String> = many.iter().map(i64::to_string).collect();
            format!("({})", many.join(", "))
        }
    }
}

/// The print of a module with children, given their names and prints.
pub(crate) fn python_module(class: &str, children: &[(&str, &str)]) -> String {
    let mut text = format!("{class}(\n");
    for (name, child) in children {
        text.push_str(&format!("  ({name}): {}\n", child.replace('\n', "\n  ")));
    }
    text.push(')');
    text
}

/// Puts the options of a module above its children.
pub(super) fn python_options(module: &str, options: &str) -> String {
    module.replacen('\n', &format!("\n  {options}\n"), 1)
}

/// The print of a `ModuleList`: equal neighbors once, with their number.
pub(super) fn python_module_list(children: &[String]) -> String {
    if children.is_empty() {
        return "ModuleList()".to_owned();
    }
    let mut first = 0;
    let mut lines = Vec::new();
    for run in children.chunk_by(|a, b| a == b) {
        let last = first + run.len() - 1;
        lines.push(match run.len() {
            1 => (first.to_string(), run[0].clone()),
            n => (format!("{first}-{last}"), format!("{n} x {}", run[0])),
        });
        first = last + 1;
    }
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(name, child)| (name.as_str(), child.as_str()))
        .collect();
    python_module("ModuleList", &lines)
}

type Lines<'a, I> = std::iter::Peekable<I>;

/// A module whose line, without its name, is `text`.
fn body<'a, I: Iterator<Item = (usize, &'a str)>>(
    line: usize,
    text: &str,
    lines: &mut Lines<'a, I>,
    depth: usize,
) -> Result<Printed, PrintError> {
    if depth > MAX_DEPTH {
        return Err(syntax(line, "modules too deep inside each other"));
    }
    let (class, rest) = text
        .split_once('(')
        .ok_or_else(|| syntax(line, &format!("`{text}` is not a module")))?;
    if class.is_empty()
        || !class
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
    {
        return Err(syntax(line, &format!("`{class}` is not a class")));
    }
    let mut module = Printed {
        class: class.to_owned(),
        arguments: Vec::new(),
        children: Vec::new(),
        line,
    };
    if let Some(arguments) = rest.strip_suffix(')') {
        module.arguments = split(arguments);
        return Ok(module);
    }
    if !rest.is_empty() {
        return Err(syntax(line, "a parenthesis stays open"));
    }
    loop {
        let (line, text) = lines
            .next()
            .ok_or_else(|| syntax(line, &format!("{class} is not closed")))?;
        if text == ")" {
            return Ok(module);
        }
        let Some((name, text)) = text.strip_prefix('(').and_then(|t| t.split_once("): ")) else {
            // Printed by the `extra_repr` of a module that also has children.
            module.arguments.extend(split(text));
            continue;
        };
        let (copies, text) = match text.split_once(" x ") {
            Some((count, rest)) if count.bytes().all(|b| b.is_ascii_digit()) => {
                (range(line, name, count)?, rest)
            }
            _ => (vec![name.to_owned()], text),
        };
        let child = body(line, text, lines, depth + 1)?;
        if child.size().saturating_mul(copies.len()) > MAX_MODULES {
            return Err(syntax(line, "more modules than any model has"));
        }
        for name in copies {
            module.children.push((name, child.clone()));
        }
    }
}

/// The names in `(0-3): 4 x ...`.
fn range(line: usize, names: &str, count: &str) -> Result<Vec<String>, PrintError> {
    let wrong = || syntax(line, &format!("`({names})` are not {count} names"));
    let (first, last) = names.split_once('-').ok_or_else(wrong)?;
    let (first, last): (usize, usize) = match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => (first, last),
        _ => return Err(wrong()),
    };
    let copies = last.checked_sub(first).map(|span| span + 1);
    if copies.is_none_or(|copies| copies > MAX_MODULES || Ok(copies) != count.parse()) {
        return Err(wrong());
    }
    Ok((first..=last).map(|i| i.to_string()).collect())
}

/// Splits arguments at the commas outside of parentheses.
fn split(text: &str) -> Vec<(Option<String>, String)> {
    let mut parts = vec![String::new()];
    let mut depth = 0i32;
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        match (c, depth, parts.last_mut()) {
            (',', 0, _) => parts.push(String::new()),
            (_, _, Some(part)) => part.push(c),
            _ => {}
        }
    }
    parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('=') {
            Some((name, value)) => (Some(name.trim().to_owned()), value.trim().to_owned()),
            None => (None, part.to_owned()),
        })
        .collect()
}

fn syntax(line: usize, reason: &str) -> PrintError {
    PrintError::Syntax {
        line,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Printed;

    #[test]
    fn a_printed_model() {
        // python: print(nn.Sequential(nn.ModuleList([nn.Linear(2, 2) for _ in range(3)]),
        //                             nn.Conv2d(3, 8, 3, bias=False)))
        let printed = "Sequential(
  (0): ModuleList(
    (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
  )
  (1): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), bias=False)
)";
        let module = Printed::parse(printed).unwrap();
        assert_eq!(module.class, "Sequential");
        let (name, list) = &module.children[0];
        assert_eq!((name.as_str(), list.children.len()), ("0", 3));
        assert_eq!(list.children[2].0, "2");
        assert_eq!(list.children[2].1.argument("in_features", None), Some("2"));
        let conv = &module.children[1].1;
        assert_eq!(conv.argument("kernel_size", None), Some("(3, 3)"));
        assert_eq!(conv.argument("", Some(1)), Some("8"));
    }

    #[test]
    fn what_is_no_print() {
        for (text, reason) in [
            ("", "line 1: nothing is printed"),
            ("hello", "line 1: `hello` is not a module"),
            ("Net(", "line 1: Net is not closed"),
            ("Net(\n(a): B(\n)", "line 1: Net is not closed"),
            ("A()\nB()", "line 2: something follows"),
            ("A(\n(0-9): 3 x B()\n)", "line 2: `(0-9)` are not 3 names"),
            ("A(\n(5-2): 3 x B()\n)", "line 2: `(5-2)` are not 3 names"),
            (
                "A(\n(0-99999999999): 100000000000 x B()\n)",
                "line 2: `(0-99999999999)` are no",
            ),
            ("A(x", "line 1: a parenthesis stays open"),
            ("[1, 2](3)", "line 1: `[1, 2]` is not a class"),
        ] {
            let error = Printed::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
        let many =
            "A(\n".to_owned() + &"(0-999): 1000 x A(\n".repeat(3) + "(b): B()\n" + &")\n".repeat(4);
        assert!(
            Printed::parse(&many)
                .unwrap_err()
                .to_string()
                .contains("more modules")
        );
        let deep = "A(\n(a): ".repeat(100_000);
        assert!(Printed::parse(&deep).is_err());
    }
}
