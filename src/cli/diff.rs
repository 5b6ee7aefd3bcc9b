//! `tch-init diff`: compares two sets of tensors.

pub(super) mod json;
mod scaled_pair;
pub(super) mod table;

use super::rename_hint::{Named, RenameHint};
use super::report::Report;
use super::selection::{Names, Selection};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tch_init::file::TensorFile;
use tch_init::parity::{AssertClose, Compare, Comparison, Criterion};

#[derive(Args)]
pub struct Arguments {
    /// The tensors under test (assert_close's `actual`): safetensors, an index of shards, npz, npy,
    /// pt, ot, or a folder of them
    a: PathBuf,
    /// The reference (assert_close's `expected`)
    b: PathBuf,
    #[command(flatten)]
    names: Selection,
    /// Require all bits to be equal (the default)
    #[arg(long, group = "criterion")]
    bits: bool,
    /// Allow a distance of N units in the last place
    #[arg(
        long,
        value_name = "N",
        group = "criterion",
        allow_negative_numbers = true
    )]
    ulp: Option<u64>,
    /// Allow a relative difference: a number, or PyTorch's default for the dtype. Then --atol also has PyTorch's default;
    /// with a number it is 0 unless given
    #[arg(long, value_name = "X", num_args = 0..=1, default_missing_value = DEFAULT, allow_negative_numbers = true,
          conflicts_with = "criterion")]
    rtol: Option<Tolerance>,
    /// Allow an absolute difference: a number, or PyTorch's default for the dtype
    #[arg(long, value_name = "Y", num_args = 0..=1, default_missing_value = DEFAULT, allow_negative_numbers = true,
          conflicts_with = "criterion")]
    atol: Option<Tolerance>,
    /// With --rtol or --atol: NaN equals NaN
    #[arg(long)]
    equal_nan: bool,
    /// With --rtol or --atol: dtypes may differ
    #[arg(long)]
    no_check_dtype: bool,
    /// Also list equal tensors
    #[arg(long, short)]
    all: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// The word for PyTorch's default tolerance.
const DEFAULT: &str = "default";

/// A tolerance; `None` is PyTorch's default.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tolerance(Option<f64>);

impl FromStr for Tolerance {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Tolerance, &'static str> {
        match text {
            DEFAULT => Ok(Tolerance(None)),
            number => match number.parse() {
                Ok(number) => Ok(Tolerance(Some(number))),
                Err(_) => Err("expected a number, or nothing for PyTorch's default"),
            },
        }
    }
}

/// The arguments of the program, in which a `--rtol` or `--atol` of `diff` that stands before a file has no value: without
/// this it would take the file for one.
pub fn with_default_tolerances(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).map(OsString::as_os_str) != Some(OsStr::new("diff")) {
        return arguments;
    }
    let mut is_option = true;
    for index in 2..arguments.len() {
        is_option &= arguments[index] != "--";
        let is_tolerance = arguments[index] == "--rtol" || arguments[index] == "--atol";
        let is_before_file = arguments
            .get(index + 1)
            .is_some_and(|next| !may_be_number(next));
        if is_option && is_tolerance && is_before_file {
            arguments[index].push("=");
            arguments[index].push(DEFAULT);
        }
    }
    arguments
}

/// Whether an argument is a number, or a mistyped one rather than a file.
fn may_be_number(argument: &OsStr) -> bool {
    let Some(text) = argument.to_str() else {
        return false;
    };
    let starts_like_one = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let is_path = text.contains(['/', '\\']) || Path::new(argument).exists();
    text.parse::<Tolerance>().is_ok() || (starts_like_one && !is_path)
}

impl Arguments {
    fn criterion(&self) -> Result<Criterion> {
        match (self.ulp, self.rtol, self.atol) {
            (None, None, None) if self.equal_nan || self.no_check_dtype => {
                anyhow::bail!("--equal-nan and --no-check-dtype need --rtol or --atol")
            }
            (None, None, None) => Ok(Criterion::Bits),
            (Some(_), _, _) if self.equal_nan || self.no_check_dtype => {
                anyhow::bail!("--equal-nan and --no-check-dtype need --rtol or --atol, not --ulp")
            }
            (Some(ulps), _, _) => Ok(Criterion::Ulp(ulps)),
            // PyTorch requires both or neither. Here a number sets the other tolerance to zero.
            (None, rtol, atol) => {
                let of = |own: Option<Tolerance>, other| match (own, other) {
                    (Some(Tolerance(own)), _) => own,
                    (None, Some(Tolerance(None))) => None,
                    (None, _) => Some(0.0),
                };
                Ok(Criterion::Close(
                    AssertClose::default()
                        .rtol(of(rtol, atol))
                        .atol(of(atol, rtol))
                        .equal_nan(self.equal_nan)
                        .check_dtype(!self.no_check_dtype),
                ))
            }
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let criterion = arguments.criterion()?;
    let names = Names::new(&arguments.names)?;
    let a = TensorFile::open(&arguments.a)?;
    let b = TensorFile::open(&arguments.b)?;
    let comparison =
        compare(&a, &b, criterion, &names).with_context(|| sides(&arguments.a, &arguments.b))?;
    names.warn_of_unused();
    if comparison.pairs.is_empty() && comparison.is_same() && !comparison.not_compared.is_empty() {
        let members = comparison.not_compared.iter().map(table::not_compared);
        anyhow::bail!(
            "{} and {} have no tensor that can be compared: {}",
            arguments.a.display(),
            arguments.b.display(),
            members.take(8).collect::<Vec<_>>().join(" | ")
        );
    }
    let unpaired = !comparison.only_actual.is_empty() && !comparison.only_expected.is_empty();
    let hint = (unpaired || comparison.pairs.is_empty())
        .then(|| RenameHint::find(&named(&a), &named(&b), &names))
        .flatten();
    if comparison.pairs.is_empty() && comparison.not_compared.is_empty() {
        require_tensors(&arguments.a, &a)?;
        require_tensors(&arguments.b, &b)?;
        anyhow::bail!(
            "{} and {} have no tensor of the same name{}",
            arguments.a.display(),
            arguments.b.display(),
            match (hint, names.is_empty()) {
                (Some(hint), _) => format!(": {}", hint.sentence()),
                (None, true) => "; --rename can give them one".to_owned(),
                (None, false) => " after --rename, --only and --ignore".to_owned(),
            }
        );
    }
    let scaled = scaled_pair::scaled_pairs(&comparison, &a, &b);
    Ok(Report {
        found: !comparison.is_same(),
        text: match arguments.json {
            true => json::text(&comparison, &scaled, hint.as_ref())?,
            false => table::text(&comparison, &scaled, hint.as_ref(), arguments.all),
        },
    })
}

fn compare(
    a: &TensorFile,
    b: &TensorFile,
    criterion: Criterion,
    names: &Names,
) -> Result<Comparison> {
    let bar = bar();
    let comparison = Compare::new(criterion)
        .rename(|name| names.rename(name))
        .filter(|name| names.keep(name))
        .progress(|progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            // No bar for short work.
            if bar.is_hidden() && bar.elapsed() > Duration::from_secs(1) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
        })
        .run(a, b);
    bar.finish_and_clear();
    Ok(comparison?)
}

/// Fails if a file has no tensor, and says what it has.
pub fn require_tensors(path: &Path, file: &TensorFile) -> Result<()> {
    const LISTED: usize = 8;
    if file.names().next().is_some() {
        return Ok(());
    }
    let members = file.left_out().iter().map(ToString::to_string);
    let listed: Vec<String> = members.take(LISTED).collect();
    let more = file.left_out().len() - listed.len();
    let mut text = match listed.is_empty() {
        true => String::new(),
        false => format!(", only {}", listed.join(" | ")),
    };
    if more > 0 {
        text += &format!(" and {more} more");
    }
    anyhow::bail!("{}: has no tensors{text}", path.display())
}

fn named(file: &TensorFile) -> Vec<Named> {
    file.iter()
        .map(|(name, view)| Named {
            name: name.to_owned(),
            shape: view.shape().to_vec(),
        })
        .collect()
}

/// Names the files of the two sides, for errors that call them actual and expected.
fn sides(actual: &Path, expected: &Path) -> String {
    format!(
        "actual {}, expected {}",
        actual.display(),
        expected.display()
    )
}

/// A progress bar that is hidden for the first second, and always in a pipe.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    match ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::with_default_tolerances;

    #[test]
    fn a_tolerance_does_not_take_a_file() {
        for (given, expected) in [
            (
                "x diff --rtol --atol A B",
                "x diff --rtol --atol=default A B",
            ),
            ("x diff A B --rtol --atol", "x diff A B --rtol --atol"),
            (
                "x diff --rtol 1e-5 A --atol B",
                "x diff --rtol 1e-5 A --atol=default B",
            ),
            ("x diff --atol -1 A B", "x diff --atol -1 A B"),
            ("x diff --atol inf A B", "x diff --atol inf A B"),
            ("x diff --atol default A B", "x diff --atol default A B"),
            ("x diff --atol 1e-5x A B", "x diff --atol 1e-5x A B"),
            ("x diff --atol ./1 B", "x diff --atol=default ./1 B"),
            (
                "x diff --atol=1 --rtol=2 A B",
                "x diff --atol=1 --rtol=2 A B",
            ),
            ("x diff -- --rtol B", "x diff -- --rtol B"),
            ("x explain --rtol A", "x explain --rtol A"),
            ("x", "x"),
        ] {
            let given = given.split(' ').map(std::ffi::OsString::from);
            let arguments = with_default_tolerances(given);
            let text: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
            assert_eq!(text.join(" "), expected);
        }
    }
}
