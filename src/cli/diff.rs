//! `tch-init diff`: compares two sets of tensors.

mod json;
pub(super) mod table;

use super::report::Report;
use super::selection::{Names, Selection};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};
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
    #[arg(long, value_name = "N", group = "criterion")]
    ulp: Option<u64>,
    /// Allow a relative difference; without a number, PyTorch's default for the dtype. Then --atol also has PyTorch's
    /// default; with a number it is 0 unless given
    #[arg(long, value_name = "X", num_args = 0..=1, allow_negative_numbers = true, conflicts_with = "criterion")]
    rtol: Option<Option<f64>>,
    /// Allow an absolute difference; without a number, PyTorch's default for the dtype
    #[arg(long, value_name = "Y", num_args = 0..=1, allow_negative_numbers = true, conflicts_with = "criterion")]
    atol: Option<Option<f64>>,
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
                let unnamed = |other| match other {
                    Some(None) => None,
                    _ => Some(0.0),
                };
                Ok(Criterion::Close(
                    AssertClose::default()
                        .rtol(rtol.unwrap_or(unnamed(atol)))
                        .atol(atol.unwrap_or(unnamed(rtol)))
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
    if comparison.pairs.is_empty() && comparison.not_compared.is_empty() {
        anyhow::bail!(
            "{} and {} have no tensor of the same name{}",
            arguments.a.display(),
            arguments.b.display(),
            match names.is_empty() {
                true => "; --rename can give them one",
                false => " after --rename, --only and --ignore",
            }
        );
    }
    Ok(Report {
        found: !comparison.is_same(),
        text: match arguments.json {
            true => json::text(&comparison)?,
            false => table::text(&comparison, arguments.all),
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
