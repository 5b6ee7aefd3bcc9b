//! Reads what Python prints of a module: `Module.__repr__`, `torch/nn/modules/module.py`, PyTorch
//! 2.13.

use crate::error::InitError;

/// A printed module.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::explain) struct Module {
    pub class: String,
    /// `name=value` or a value alone.
    pub arguments: Vec<(Option<String>, String)>,
    pub children: Vec<(String, Module)>,
    /// The line it was printed on, from 1.
    pub line: usize,
}

/// Why a printed model cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The text is no print of a module.
    #[error("line {line}: {reason}; the file must hold what Python's print(model) prints")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A layer that cannot be drawn from its print.
    #[error("line {line}: {class}: {reason}; take a file of PyTorch's tensors as the reference")]
    Layer {
        /// The line, from 1.
        line: usize,
        /// The layer's class.
        class: String,
        /// What is missing.
        reason: String,
    },
    /// Sizes that PyTorch refuses, or libtorch fails.
    #[error(transparent)]
    Libtorch(InitError),
}

/// Modules inside modules; Python's own limit of recursion is 1000.
const DEPTH: usize = 200;

/// Modules of a model. One line may stand for many: `(0-11): 12 x Block(`.
const MODULES: usize = 100_000;

impl Module {
    pub(in crate::explain) fn parse(printed: &str) -> Result<Module, ModelError> {
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

    /// The modules in it, itself included.
    fn size(&self) -> usize {
        1 + self
            .children
            .iter()
            .map(|(_, child)| child.size())
            .sum::<usize>()
    }

    /// An error about the line of the module.
    pub(in crate::explain) fn syntax_error(&self, reason: &str) -> ModelError {
        syntax(self.line, reason)
    }

    /// The argument of a name, or at a place among those without.
    pub(super) fn argument(&self, name: &str, place: Option<usize>) -> Option<&str> {
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
}

type Lines<'a, I> = std::iter::Peekable<I>;

/// A module whose line, without its name, is `text`.
fn body<'a, I: Iterator<Item = (usize, &'a str)>>(
    line: usize,
    text: &str,
    lines: &mut Lines<'a, I>,
    depth: usize,
) -> Result<Module, ModelError> {
    if depth > DEPTH {
        return Err(syntax(line, "modules too deep inside each other"));
    }
    let (class, rest) = text
        .split_once('(')
        .ok_or_else(|| syntax(line, &format!("`{text}` is no module")))?;
    if class.is_empty()
        || !class
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
    {
        return Err(syntax(line, &format!("`{class}` is no class")));
    }
    let mut module = Module {
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
            // What `extra_repr` prints of a module that has children too.
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
        if child.size().saturating_mul(copies.len()) > MODULES {
            return Err(syntax(line, "more modules than any model has"));
        }
        for name in copies {
            module.children.push((name, child.clone()));
        }
    }
}

/// The names of `(0-3): 4 x ...`.
fn range(line: usize, names: &str, count: &str) -> Result<Vec<String>, ModelError> {
    let wrong = || syntax(line, &format!("`({names})` are no {count} names"));
    let (first, last) = names.split_once('-').ok_or_else(wrong)?;
    let (first, last): (usize, usize) = match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => (first, last),
        _ => return Err(wrong()),
    };
    let copies = last.checked_sub(first).map(|span| span + 1);
    if copies.is_none_or(|copies| copies > MODULES || Ok(copies) != count.parse()) {
        return Err(wrong());
    }
    Ok((first..=last).map(|i| i.to_string()).collect())
}

/// Arguments by commas that are in no parentheses.
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

fn syntax(line: usize, reason: &str) -> ModelError {
    ModelError::Syntax {
        line,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Module;

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
        let module = Module::parse(printed).unwrap();
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
            ("hello", "line 1: `hello` is no module"),
            ("Net(", "line 1: Net is not closed"),
            ("Net(\n(a): B(\n)", "line 1: Net is not closed"),
            ("A()\nB()", "line 2: something follows"),
            ("A(\n(0-9): 3 x B()\n)", "line 2: `(0-9)` are no 3 names"),
            ("A(\n(5-2): 3 x B()\n)", "line 2: `(5-2)` are no 3 names"),
            (
                "A(\n(0-99999999999): 100000000000 x B()\n)",
                "line 2: `(0-99999999999)` are no",
            ),
            ("A(x", "line 1: a parenthesis stays open"),
            ("[1, 2](3)", "line 1: `[1, 2]` is no class"),
        ] {
            let error = Module::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
        let many =
            "A(\n".to_owned() + &"(0-999): 1000 x A(\n".repeat(3) + "(b): B()\n" + &")\n".repeat(4);
        assert!(
            Module::parse(&many)
                .unwrap_err()
                .to_string()
                .contains("more modules")
        );
        let deep = "A(\n(a): ".repeat(100_000);
        assert!(Module::parse(&deep).is_err());
    }
}
