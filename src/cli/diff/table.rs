//! Prints a comparison as a table.

use super::RenameHint;
use super::scaled_pair::ScaledPair;
use crate::cli::report::one_line;
use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::collections::BTreeSet;
use std::fmt::Write;
use tch_init::parity::{
    Comparison, Criterion, Difference, Extreme, Failure, NamedComparison, NotCompared, Presence,
    Sides, Site, TensorComparison,
};
use tch_init::tensor::{LeftOut, ScaleMatch};

/// The width of a table without a terminal.
const WIDTH: u16 = 100;

/// Prints a row for each tensor that differs, details of the worst one, the tensors of one side only, and how to pair them.
pub fn text(
    comparison: &Comparison,
    scaled: &[ScaledPair],
    hint: Option<&RenameHint>,
    all: bool,
) -> String {
    let mut text = String::new();
    let shown: Vec<&NamedComparison> = comparison
        .pairs
        .iter()
        .filter(|pair| all || !pair.comparison.is_same())
        .collect();
    if !shown.is_empty() {
        // The padding of the last column is not printed.
        for row in table(&shown).lines() {
            line(&mut text, row.trim_end());
        }
    }
    for pair in &shown {
        notes(&mut text, pair);
        for scaled in scaled.iter().filter(|scaled| scaled.name == pair.name) {
            let note = format!("{}: {}", one_line(&pair.name), scale_note(scaled));
            line(&mut text, &note);
        }
    }
    if let Some(worst) = worst(&shown) {
        section(
            &mut text,
            &format!("\nworst: {}", one_line(&worst.name)),
            &worst.comparison,
        );
    }
    for (side, names) in [
        ("only in A", &comparison.only_actual),
        ("only in B", &comparison.only_expected),
    ] {
        for name in names {
            line(&mut text, &format!("{side}: {}", one_line(name)));
        }
    }
    for member in &comparison.not_compared {
        line(
            &mut text,
            &format!("not compared: {}", not_compared(member)),
        );
    }
    let Sides {
        actual, expected, ..
    } = &comparison.left_out;
    let listed = if all { usize::MAX } else { LISTED };
    for member in left_out([actual, expected], listed, "--all") {
        line(&mut text, &member);
    }
    if let Some(hint) = hint {
        line(&mut text, &hint.sentence());
    }
    let colour = match comparison.is_same() {
        true => AnsiColor::Green,
        false => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    line(
        &mut text,
        &format!("{style}{}{style:#}", summary(comparison)),
    );
    text
}

/// The name of a member, what it is on each side, and what to do.
pub fn not_compared(member: &NotCompared) -> String {
    let Sides {
        actual, expected, ..
    } = &member.sides;
    let (what, advice) = match (actual, expected) {
        (Presence::LeftOut(a), Presence::LeftOut(b)) => match a.description() == b.description() {
            true => (a.to_string(), None),
            false => (
                format!("{a_name} in A, {} in B", b.description(), a_name = bare(a)),
                b.advice.or(a.advice),
            ),
        },
        (Presence::LeftOut(a), Presence::Tensor) => {
            (format!("{} in A, a tensor in B", bare(a)), a.advice)
        }
        (Presence::Tensor, Presence::LeftOut(b)) => {
            (format!("{} in B, a tensor in A", bare(b)), b.advice)
        }
        (Presence::LeftOut(a), _) => (format!("{}, only in A", bare(a)), a.advice),
        (_, Presence::LeftOut(b)) => (format!("{}, only in B", bare(b)), b.advice),
        _ => (one_line(&member.name), None),
    };
    match advice {
        Some(advice) => format!("{what}; {advice}"),
        None => what,
    }
}

/// The name of a member and what it is, without advice.
fn bare(member: &LeftOut) -> String {
    let mut member = member.clone();
    member.advice = None;
    member.to_string()
}

/// The number of members that are listed unless all are wanted.
pub const LISTED: usize = 40;

/// Lists the values of A and B that are not tensors, those of both sides once: at most `listed` lines,
/// the last of which names the option that lists more.
pub fn left_out([actual, expected]: [&[LeftOut]; 2], listed: usize, option: &str) -> Vec<String> {
    let names = |members: &[LeftOut]| -> BTreeSet<String> {
        members.iter().map(LeftOut::to_string).collect()
    };
    let (in_a, in_b) = (names(actual), names(expected));
    let mut lines: Vec<String> = Vec::new();
    for member in actual.iter().map(LeftOut::to_string) {
        let place = if in_b.contains(&member) { "" } else { " of A" };
        lines.push(format!("left out{place}: {member}"));
    }
    for member in expected.iter().map(LeftOut::to_string) {
        if !in_a.contains(&member) {
            lines.push(format!("left out of B: {member}"));
        }
    }
    if lines.len() > listed {
        let more = lines.len() - (listed - 1);
        lines.truncate(listed - 1);
        lines.push(format!("left out: {more} more values; {option} lists them"));
    }
    lines
}

fn table(pairs: &[&NamedComparison]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0))
        .set_header([
            "tensor", "dtype", "shape", "differ", "max abs", "max rel", "max ULP",
        ]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for pair in pairs {
        table.add_row(row(pair));
    }
    table
}

fn row(pair: &NamedComparison) -> Vec<Cell> {
    let comparison = &pair.comparison;
    let both = |actual: String, expected: String| match actual == expected {
        true => actual,
        false => format!("{actual} / {expected}"),
    };
    let dtypes = both(
        comparison.dtypes.actual.to_string(),
        comparison.dtypes.expected.to_string(),
    );
    let shapes = both(
        format!("{:?}", comparison.shapes.actual),
        format!("{:?}", comparison.shapes.expected),
    );
    let differ = match comparison.compared_in {
        None => "-".to_owned(),
        Some(_) if comparison.mismatched == 0 => "0".to_owned(),
        Some(_) => format!("{} of {}", comparison.mismatched, comparison.elements),
    };
    vec![
        Cell::new(one_line(&pair.name)),
        Cell::new(dtypes),
        Cell::new(shapes),
        Cell::new(differ),
        Cell::new(figure(&comparison.absolute, |d| short(d.to_f64()))),
        Cell::new(figure(&comparison.relative, |d| short(*d))),
        Cell::new(figure(&comparison.ulps, |d| {
            d.map_or("NaN".to_owned(), |d| d.to_string())
        })),
    ]
}

fn figure<D>(extreme: &Option<Extreme<D>>, say: impl Fn(&D) -> String) -> String {
    extreme
        .as_ref()
        .map_or("-".to_owned(), |extreme| say(&extreme.difference))
}

fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value.fract() == 0.0 && value.abs() < 1e6 => value.to_string(),
        value => format!("{value:.2e}"),
    }
}

/// Prints what has no column in the row.
fn notes(text: &mut String, pair: &NamedComparison) {
    let comparison = &pair.comparison;
    let mut notes = Vec::new();
    match comparison.failure {
        Some(Failure::Shape) => notes.push("shapes differ".to_owned()),
        Some(Failure::Dtype) => notes.push("dtypes differ".to_owned()),
        Some(Failure::Promotion) => notes.push("no dtype holds both".to_owned()),
        Some(Failure::Tolerance) => {
            notes.push("PyTorch has no tolerance for floats of one byte".to_owned());
        }
        _ => {}
    }
    let non_finite = &comparison.non_finite;
    for (what, actual, expected) in [
        ("NaN", non_finite.actual.nan, non_finite.expected.nan),
        ("inf", non_finite.actual.inf, non_finite.expected.inf),
    ] {
        if actual + expected > 0 {
            notes.push(format!("{what}: {actual} in A, {expected} in B"));
        }
    }
    for (one, many, count) in [
        (
            "zero of other sign",
            "zeros of other sign",
            comparison.signed_zeros,
        ),
        (
            "NaN of other bits",
            "NaN of other bits",
            comparison.nan_payloads,
        ),
    ] {
        if count > 0 {
            notes.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    }
    if comparison.mismatched < comparison.differing {
        let allowed = comparison.differing - comparison.mismatched;
        notes.push(format!("{allowed} more differ in bits, as allowed"));
    }
    if !notes.is_empty() {
        line(
            text,
            &format!("{}: {}", one_line(&pair.name), notes.join("; ")),
        );
    }
}

/// How a scaled tensor relates to that of the other side.
fn scale_note(scaled: &ScaledPair) -> String {
    let ScaledPair {
        sides: [own, other],
        layout,
        matches,
        ..
    } = scaled;
    let scale = one_line(&scaled.scale);
    match matches {
        ScaleMatch::Quantized { greatest } => format!(
            "{own} is scaled: {other} divided by {scale} ({layout}) rounds to {own}; {own} times {scale} differs from \
             {other} by at most {}",
            short(*greatest)
        ),
        _ => format!(
            "{own} is scaled: {own} times {scale} ({layout}), rounded to the dtype of {other}, is {other}, bit for bit"
        ),
    }
}

/// The pair with the greatest distance in ULPs, or else the greatest absolute difference.
fn worst<'a>(pairs: &[&'a NamedComparison]) -> Option<&'a NamedComparison> {
    let key = |pair: &&NamedComparison| {
        let comparison = &pair.comparison;
        let ulps = comparison
            .ulps
            .as_ref()
            .map(|e| e.difference.unwrap_or(u64::MAX));
        let absolute = comparison
            .absolute
            .as_ref()
            .map_or(0.0, |e| e.difference.to_f64());
        (ulps.unwrap_or(0), absolute)
    };
    let mut worst: Option<&NamedComparison> = None;
    for pair in pairs
        .iter()
        .copied()
        .filter(|pair| !pair.comparison.is_same() && pair.comparison.absolute.is_some())
    {
        // Of equal pairs the first; a NaN is worse than any number.
        let worse = worst.is_none_or(|known| {
            let (a, b) = (key(&pair), key(&known));
            a.0 > b.0 || (a.0 == b.0 && a.1.total_cmp(&b.1).is_gt())
        });
        if worse {
            worst = Some(pair);
        }
    }
    worst
}

fn section(text: &mut String, title: &str, comparison: &TensorComparison) {
    line(text, title);
    for text_line in comparison
        .to_string()
        .lines()
        .filter(|line| !line.is_empty())
        .skip(1)
    {
        line(text, &format!("  {text_line}"));
    }
    if let Some(Extreme {
        site: Site { values, .. },
        difference,
        ..
    }) = &comparison.absolute
        && matches!(difference, Difference::Integer(_))
    {
        line(
            text,
            &format!("  {} against {}", values.actual, values.expected),
        );
    }
}

fn summary(comparison: &Comparison) -> String {
    let mut text = verdict(
        comparison.criterion,
        comparison.pairs.len(),
        comparison.differing(),
    );
    for (side, names) in [
        ("A", &comparison.only_actual),
        ("B", &comparison.only_expected),
    ] {
        // Writing to a string does not fail.
        if !names.is_empty() && write!(text, "; {} only in {side}", names.len()).is_err() {
            break;
        }
    }
    if !comparison.not_compared.is_empty() {
        text += &format!("; {} not compared", comparison.not_compared.len());
    }
    text
}

/// Says how many of `all` tensors differ, and in which sense the others are equal.
fn verdict(criterion: Criterion, all: usize, differing: usize) -> String {
    let equal = match criterion {
        Criterion::Bits => "bit for bit".to_owned(),
        Criterion::Ulp(ulps) => format!("within {ulps} ULP"),
        _ => "within tolerance".to_owned(),
    };
    let beyond = match criterion {
        Criterion::Bits => String::new(),
        Criterion::Ulp(ulps) => format!(" by more than {ulps} ULP"),
        _ => " by more than the tolerance".to_owned(),
    };
    let tensors = if all == 1 { "tensor" } else { "tensors" };
    let are = if all == 1 { "is" } else { "are" };
    let differ = if differing == 1 { "differs" } else { "differ" };
    match differing {
        0 => format!("{all} {tensors} {are} equal, {equal}"),
        _ if differing == all => format!("{differing} of {all} {tensors} {differ}{beyond}"),
        _ => format!(
            "{differing} of {all} {tensors} {differ}{beyond}, the others are equal, {equal}"
        ),
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{Criterion, verdict};

    #[test]
    fn every_count_has_its_sentence() {
        let (bits, ulp, close) = (Criterion::Bits, Criterion::Ulp(2), Criterion::close());
        for (criterion, all, differing, expected) in [
            (bits, 0, 0, "0 tensors are equal, bit for bit"),
            (bits, 1, 0, "1 tensor is equal, bit for bit"),
            (bits, 3, 0, "3 tensors are equal, bit for bit"),
            (bits, 1, 1, "1 of 1 tensor differs"),
            (bits, 3, 3, "3 of 3 tensors differ"),
            (
                bits,
                2,
                1,
                "1 of 2 tensors differs, the others are equal, bit for bit",
            ),
            (
                bits,
                4,
                2,
                "2 of 4 tensors differ, the others are equal, bit for bit",
            ),
            (ulp, 0, 0, "0 tensors are equal, within 2 ULP"),
            (ulp, 1, 0, "1 tensor is equal, within 2 ULP"),
            (ulp, 3, 0, "3 tensors are equal, within 2 ULP"),
            (ulp, 1, 1, "1 of 1 tensor differs by more than 2 ULP"),
            (ulp, 3, 3, "3 of 3 tensors differ by more than 2 ULP"),
            (
                ulp,
                2,
                1,
                "1 of 2 tensors differs by more than 2 ULP, the others are equal, within 2 ULP",
            ),
            (close, 0, 0, "0 tensors are equal, within tolerance"),
            (close, 1, 0, "1 tensor is equal, within tolerance"),
            (close, 3, 0, "3 tensors are equal, within tolerance"),
            (
                close,
                1,
                1,
                "1 of 1 tensor differs by more than the tolerance",
            ),
            (
                close,
                3,
                3,
                "3 of 3 tensors differ by more than the tolerance",
            ),
            (
                close,
                4,
                2,
                "2 of 4 tensors differ by more than the tolerance, the others are equal, within tolerance",
            ),
        ] {
            assert_eq!(verdict(criterion, all, differing), expected);
        }
    }
}
