//! What becomes of the results after programs depart.

use super::differences::Differences;
use super::losses::Loss;
use super::numbers::short;
use op_trace::{Comparison, Sides, Trace, TraceError};
use serde_json::{Value, json};

/// How far apart the programs get, as far as their traces have values.
#[derive(Default)]
pub struct Aftermath {
    /// The largest difference between sampled elements.
    ulps: Option<u64>,
    losses: Option<(Loss, Loss)>,
}

/// Longer traces are not read again.
const MAX_OPERATIONS: usize = 2_000_000;

impl Aftermath {
    /// Reads the samples of what departs, unless they are `measured`. Nothing is known of equal programs.
    pub fn of(
        traces: (&Trace, &Trace),
        comparison: &Comparison,
        measured: Option<Differences>,
    ) -> Result<Aftermath, TraceError> {
        if comparison.is_same() || traces.0.len() + traces.1.len() > MAX_OPERATIONS {
            return Ok(Aftermath::default());
        }
        let differences = match measured {
            Some(differences) => differences,
            None => Differences::measure(traces, comparison, |_, _, _, _| {})?,
        };
        Ok(Aftermath {
            ulps: differences.ulps().map(|ulps| ulps as u64),
            losses: differences.losses,
        })
    }

    /// `, by up to 9.1e4 ULPs; the loss of step 2 by 3.1e-6`.
    pub fn text(&self, labels: Sides<&str>) -> String {
        let mut text = String::new();
        if let Some(ulps) = self.ulps {
            text += &format!(", by up to {} ULPs", short(ulps));
        }
        if let Some(losses) = self.losses {
            text += &format!("; {}", loss_text(losses, labels));
        }
        text
    }

    /// The same as a line of its own, if anything is known.
    pub fn line(&self, labels: Sides<&str>) -> Option<String> {
        let loss = self.losses.map(|losses| loss_text(losses, labels));
        match (self.ulps, loss) {
            (Some(ulps), Some(loss)) => Some(format!(
                "results depart by up to {} ULPs; {loss}",
                short(ulps)
            )),
            (Some(ulps), None) => Some(format!("results depart by up to {} ULPs", short(ulps))),
            (None, loss) => loss,
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "ulps": self.ulps,
            "loss": self.losses.map(|(a, b)| json!({
                "step_a": a.step, "step_b": b.step, "a": a.value, "b": b.value, "difference": (a.value - b.value).abs(),
            })),
        })
    }
}

fn loss_text((a, b): (Loss, Loss), labels: Sides<&str>) -> String {
    let difference = (a.value - b.value).abs();
    if a.value == b.value || (a.value.is_nan() && b.value.is_nan()) {
        return format!("the loss of step {} is the same", a.step);
    }
    let by = match difference.is_finite() {
        true => format!(" by {difference:.1e}"),
        false => String::new(),
    };
    format!(
        "the loss of step {}{by} ({} in {}, {} in {})",
        a.step, a.value as f32, labels.a, b.value as f32, labels.b
    )
}
