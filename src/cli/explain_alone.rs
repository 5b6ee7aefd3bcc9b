//! `tch-init explain` of one file: where its tensors were drawn.

use super::report::{Report, TensorBar, one_line};
use anyhow::{Result, bail};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use tch_init::explain::{Located, NamedView, Options, Place, locate_with_progress};

/// Reports where the tensors of a file were drawn.
pub fn run(
    path: &Path,
    tensors: &[NamedView<'_>],
    options: &Options,
    json: bool,
) -> Result<Report> {
    if tensors.is_empty() {
        bail!("{}: no tensor is selected", path.display());
    }
    let bar = TensorBar::new();
    let located = locate_with_progress(tensors, options, |progress| bar.show(progress));
    bar.finish();
    Ok(Report {
        found: false,
        text: match json {
            true => {
                #[derive(Serialize)]
                struct Output<'a> {
                    located: &'a [Located],
                }
                serde_json::to_string_pretty(&Output { located: &located })? + "\n"
            }
            false => text(&located),
        },
    })
}

/// A tensor that was drawn.
struct Drawn<'a> {
    tensor: &'a Located,
    word: u64,
    words: Option<u64>,
    distribution: &'a str,
    order: Option<&'a [usize]>,
    changed: usize,
}

fn text(located: &[Located]) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let mut streams: BTreeMap<u64, Vec<Drawn<'_>>> = BTreeMap::new();
    for tensor in located {
        if let Place::Drawn {
            seed,
            word,
            words,
            distribution,
            order,
            changed,
        } = &tensor.place
        {
            streams.entry(*seed).or_default().push(Drawn {
                tensor,
                word: *word,
                words: *words,
                distribution,
                order: order.as_deref(),
                changed: *changed,
            });
        }
    }
    for (seed, drawn) in &mut streams {
        line(format!("seed {seed}, bit for bit:"));
        drawn.sort_by_key(|drawn| drawn.word);
        stream(drawn, &mut line);
    }
    for (what, names) in others(located) {
        line(format!("{what}: {}", names.join(", ")));
    }
    let count: usize = streams.values().map(Vec::len).sum();
    let plural = if located.len() == 1 { "" } else { "s" };
    let seeds: Vec<String> = streams.keys().map(u64::to_string).collect();
    let drawn = match seeds.len() {
        0 => "none with a seed that the values show".to_owned(),
        1 => format!("{count} drawn with seed {}", seeds[0]),
        _ => format!("{count} drawn, with the seeds {}", seeds.join(", ")),
    };
    line(format!("{} tensor{plural}: {drawn}", located.len()));
    text
}

/// The draws of one stream in the order of their words, and what is between them.
fn stream(drawn: &[Drawn<'_>], line: &mut impl FnMut(String)) {
    // Where the next draw begins if nothing else drew.
    let mut next = Some(0);
    let mut before: Option<&Drawn<'_>> = None;
    for this in drawn {
        match (next, before) {
            (Some(next), _) if this.word > next => {
                line(format!(
                    "  {} words for something that is not in the file",
                    this.word - next
                ));
            }
            (_, Some(before)) if this.word == before.word && this.words == before.words => {
                line(format!(
                    "  the same words as {}:",
                    one_line(&before.tensor.tensor)
                ));
            }
            (Some(next), Some(_)) if this.word < next => {
                line("  words that were drawn before: the seed was set again".to_owned());
            }
            _ => {}
        }
        line(draw(this));
        next = this.words.and_then(|words| this.word.checked_add(words));
        before = Some(this);
    }
}

fn draw(drawn: &Drawn<'_>) -> String {
    let Located {
        tensor,
        shape,
        dtype,
        ..
    } = drawn.tensor;
    let mut text = format!(
        "  word {}  {}  {dtype} {shape:?}  {}",
        drawn.word,
        one_line(tensor),
        drawn.distribution
    );
    if let Some(order) = drawn.order {
        let drawn = match order {
            [1, 0] => "; transposed after".to_owned(),
            order => format!("; dimensions permuted by {order:?} after"),
        };
        text.push_str(&drawn);
    }
    if drawn.changed > 0 {
        let numel: usize = shape.iter().product();
        text += &format!("; {} of {numel} elements were changed after", drawn.changed);
    }
    text
}

/// What is said of the tensors that were not drawn with a known seed, with their names.
fn others(located: &[Located]) -> Vec<(&'static str, Vec<String>)> {
    let mut others: Vec<(&str, Vec<String>)> = Vec::new();
    for tensor in located {
        let name = one_line(&tensor.tensor);
        let (what, text) = match &tensor.place {
            Place::Constant { value } => ("constant", format!("{name} ({value})")),
            Place::OtherGenerator { distribution } => (
                "not a stream of torch's CPU generator, though on the grid of a draw",
                format!("{name} ({distribution})"),
            ),
            Place::NoSeed { distribution } => (
                "drawn by an MT19937 generator, bit for bit, but no seed begins its stream within the words that were searched",
                format!("{name} ({distribution})"),
            ),
            Place::TooLittle => (
                "too few values, or too few digits, to tell without a seed (--seed)",
                name,
            ),
            Place::NoDraw => ("no draw: trained, or another library", name),
            Place::NotDrawn => ("not of a dtype that is drawn", name),
            _ => continue,
        };
        match others.iter_mut().find(|(known, _)| *known == what) {
            Some((_, names)) => names.push(text),
            None => others.push((what, vec![text])),
        }
    }
    others
}
