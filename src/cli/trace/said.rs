//! What is said of departures whose operations are run again.

use op_trace::{Departure, Trace};
use serde_json::{Value as Json, json};
use std::path::Path;

/// What is said of a departure.
#[derive(Clone)]
pub struct Said {
    /// Whether it is proved to be the cause.
    pub proved: bool,
    /// Whether data from outside has the same rows in another order.
    pub reordered: bool,
    /// Whether the environment is the cause.
    pub environment: bool,
    /// Whether the inputs are equal, and how far the results are from one another.
    pub distance: Option<String>,
    /// What is proved, or what is not known.
    pub sentence: String,
    pub json: Json,
}

/// Later causes, that show after healing.
pub struct Healed {
    /// The departures that are first, by number.
    pub first: Vec<usize>,
    pub rounds: Vec<Vec<(Departure, Said)>>,
    pub stopped: Option<String>,
    pub ends_equal: bool,
    pub runs: usize,
}

/// A trace and its path.
pub type Named<'t> = (&'t Path, &'t Trace);

impl Said {
    /// The operation was not run again.
    pub fn not_run(reason: &str) -> Said {
        Said {
            proved: false,
            reordered: false,
            environment: false,
            distance: None,
            sentence: format!("not run again, so the cause is not proved: {reason}"),
            json: json!({ "verdict": "not-run", "reason": reason }),
        }
    }
}
