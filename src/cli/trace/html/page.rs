//! A page of HTML in one file: no other resource, the same bytes for the same traces.

use crate::cli::report::one_line;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use tch_init::file::NewFile;

const STYLE: &str = include_str!("style.css");

/// Text as HTML. Control characters are escaped as on a terminal.
pub fn escape(text: &str) -> String {
    let text = one_line(text);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

/// The page.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</html>\n"
    )
}

/// Opens the file, before any work is done that would be lost.
pub fn create(path: &Path) -> Result<NewFile> {
    NewFile::create(path).with_context(|| format!("{}: cannot be written", path.display()))
}

/// Writes the page to a temporary file and renames that.
pub fn write(path: &Path, mut file: NewFile, page: &str) -> Result<()> {
    file.write_all(page.as_bytes())
        .and_then(|()| file.finish())
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(())
}

/// The name of a trace's file, without its folders.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A list of sentences.
pub fn sentences(lines: &[String]) -> String {
    let items: String = lines
        .iter()
        .map(|line| format!("<li>{}\n", escape(line)))
        .collect();
    format!("<ul class=\"facts\">\n{items}</ul>\n")
}

/// Text that may be broken after dots, slashes, underscores and commas.
pub fn breakable(text: &str) -> String {
    let mut html = String::new();
    for piece in text.split_inclusive(['.', '/', '_', ',', ':']) {
        html += &escape(piece);
        html += "<wbr>";
    }
    html
}

#[cfg(test)]
mod tests {
    use super::{breakable, escape, page};

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<b a=\"1\" c='2'>&\n\u{202e}"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\\n\\u{202e}"
        );
        assert_eq!(breakable("a.<b>"), "a.<wbr>&lt;b&gt;<wbr>");
        assert!(
            page("</title><script>", "").contains("<title>&lt;/title&gt;&lt;script&gt;</title>")
        );
    }
}
