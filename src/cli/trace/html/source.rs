//! The lines of a program around an operation.

use super::page::escape;
use std::path::{Component, Path};

/// Lines shown before and after.
const AROUND: usize = 2;
/// Larger files are none that people write.
const MAX_SIZE: u64 = 4 << 20;

/// The lines around `at` (`train.py:12`), if the file lies below the working directory. A trace from elsewhere names no other file.
pub fn excerpt(at: &str) -> Option<String> {
    let (file, line) = at.rsplit_once(':')?;
    let line: usize = line.parse().ok()?;
    let path = Path::new(file);
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let folder = std::env::current_dir().ok()?.canonicalize().ok()?;
    let whole = folder.join(path).canonicalize().ok()?;
    let metadata = whole.metadata().ok()?;
    if !is_inside || !whole.starts_with(&folder) || !metadata.is_file() || metadata.len() > MAX_SIZE
    {
        return None;
    }
    // Not UTF-8: no text.
    lines(&std::fs::read_to_string(whole).ok()?, line)
}

fn lines(text: &str, line: usize) -> Option<String> {
    let first = line.checked_sub(AROUND).unwrap_or(1).max(1);
    let all = text
        .lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text));
    let shown: Vec<(usize, &str)> = all
        .skip(first - 1)
        .take(line + AROUND + 1 - first)
        .collect();
    // The file has become shorter.
    shown.iter().find(|(number, _)| *number == line)?;
    let indent = |text: &str| text.len() - text.trim_start().len();
    let filled = shown.iter().filter(|(_, text)| !text.trim().is_empty());
    let common = filled.map(|(_, text)| indent(text)).min().unwrap_or(0);
    let rows: String = shown
        .iter()
        .map(|(number, text)| {
            let here = if *number == line {
                " class=\"here\""
            } else {
                ""
            };
            let text = text.get(common..).unwrap_or_default().replace('\t', "    ");
            format!("<span{here}><i>{number}</i>{}</span>", escape(&text))
        })
        .collect();
    Some(format!("<pre>{rows}</pre>\n"))
}

#[cfg(test)]
mod tests {
    use super::{excerpt, lines};

    #[test]
    fn lines_around_are_shown() {
        let text = "a\n  b\n    c < d\n\n  e\nf\n";
        assert_eq!(
            lines(text, 3).as_deref(),
            Some(
                "<pre><span><i>1</i>a</span><span><i>2</i>  b</span><span class=\"here\"><i>3</i>    c &lt; d</span>\
                 <span><i>4</i></span><span><i>5</i>  e</span></pre>\n"
            )
        );
        assert!(
            lines(text, 1)
                .unwrap()
                .starts_with("<pre><span class=\"here\"><i>1</i>a</span>")
        );
        assert_eq!(
            (lines(text, 9), lines(text, 0), lines("", 1)),
            (None, None, None)
        );
        assert!(lines(text, 6).is_some());
    }

    #[test]
    fn files_elsewhere_are_not_shown() {
        for at in [
            "/etc/passwd:1",
            "../x.py:1",
            "no such file.py:1",
            "src:1",
            "Cargo.toml",
            "Cargo.toml:x",
            ":1",
            "",
        ] {
            assert_eq!(excerpt(at), None, "{at}");
        }
        assert!(excerpt("Cargo.toml:1").is_some());
    }
}
