//! `tch-init trace show`: counts the operations of a trace.

use crate::cli::report::{Report, one_line};
use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use op_trace::{Operation, Phase, SharedStr, Trace};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

/// The width of a table without a terminal.
const WIDTH: u16 = 100;

#[derive(Args)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,
}

/// A row: a module, an operation, and how often each phase has it.
struct Row {
    module: String,
    operation: String,
    counts: [usize; 3],
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let trace = Trace::read(&arguments.trace)?;
    let mut counts = Counts::default();
    for operation in trace.operations() {
        counts.add(&operation?);
    }
    let mut text = String::new();
    for line in summary(&trace, &counts) {
        text += &one_line(&line);
        text.push('\n');
    }
    for row in table(&counts.rows()).lines() {
        text += row.trim_end();
        text.push('\n');
    }
    Ok(Report { text, found: false })
}

fn summary(trace: &Trace, counts: &Counts) -> Vec<String> {
    let mut lines = Vec::new();
    let environment = ["torch", "cpu", "capability", "threads"].map(|name| {
        let value = trace.environment.get(name).unwrap_or("unknown");
        if name == "torch" {
            format!("PyTorch {value}")
        } else {
            format!("{name} {value}")
        }
    });
    lines.push(environment.join(", "));
    for model in &trace.models {
        let parameters = model
            .names
            .iter()
            .filter(|named| named.requires_grad.is_some());
        let elements = parameters.clone().fold(0i64, |sum, named| {
            sum.saturating_add(named.tensor.elements())
        });
        lines.push(format!(
            "{}: {} parameters with {elements} elements",
            model.class,
            parameters.count()
        ));
    }
    let end = match &trace.end {
        None => "the program was killed".to_owned(),
        Some(end) => match end.reason.as_str() {
            "finished" => "the program finished".to_owned(),
            "steps" => "the recording ended after these steps".to_owned(),
            other => other.to_owned(),
        },
    };
    let (steps, draws) = (counts.steps, counts.draws);
    lines.push(format!(
        "{} operations in {steps} step{}, {draws} draws; {end}",
        trace.len(),
        if steps == 1 { "" } else { "s" }
    ));
    lines.extend(counts.failed.iter().cloned());
    lines.push(String::new());
    lines
}

/// Failed operations that are listed.
const MAX_FAILED: usize = 100;

/// What is counted, in one pass.
#[derive(Default)]
struct Counts {
    /// Modules in the order of their first operation.
    modules: Vec<String>,
    module_of: HashMap<SharedStr, usize>,
    /// Rows in the order in which they are met: their module, operation and counts.
    rows: Vec<(usize, SharedStr, [usize; 3])>,
    row_of: HashMap<(usize, SharedStr), usize>,
    /// The module of each forward operation.
    of_operation: Vec<u32>,
    steps: u32,
    draws: usize,
    failed: Vec<String>,
}

impl Counts {
    fn add(&mut self, operation: &Operation) {
        self.steps = self.steps.max(operation.step);
        self.draws += usize::from(operation.generator.is_some());
        if let Some(error) = operation
            .error
            .as_ref()
            .filter(|_| self.failed.len() < MAX_FAILED)
        {
            let at = operation
                .at
                .as_ref()
                .map_or("an unknown line", SharedStr::as_str);
            self.failed
                .push(format!("failed: {} at {at}: {error}", operation.schema()));
        }
        // Operations of a backward pass belong to the module of their forward pass.
        let forward = operation
            .forward
            .and_then(|forward| self.of_operation.get(forward));
        let module = match (&operation.module, forward) {
            (None, Some(module)) => *module as usize,
            (own, _) => {
                let name = own.clone().unwrap_or_else(|| "".into());
                let next = self.modules.len();
                let module = *self.module_of.entry(name.clone()).or_insert(next);
                if module == next {
                    self.modules.push(name.to_string());
                }
                module
            }
        };
        self.of_operation.push(module as u32);
        let name = operation.name.as_str();
        let name = SharedStr::from(name.rsplit("::").next().unwrap_or(name));
        let next = self.rows.len();
        let row = *self.row_of.entry((module, name.clone())).or_insert(next);
        if row == next {
            self.rows.push((module, name, [0; 3]));
        }
        self.rows[row].2[match operation.phase {
            Phase::Forward => 0,
            Phase::Backward => 1,
            _ => 2,
        }] += 1;
    }

    /// Modules together, in the order of their first operation.
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<&(usize, SharedStr, [usize; 3])> = self.rows.iter().collect();
        rows.sort_by_key(|(module, ..)| *module);
        rows.into_iter()
            .map(|(module, operation, counts)| Row {
                module: self.modules[*module].clone(),
                operation: operation.to_string(),
                counts: *counts,
            })
            .collect()
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0))
        .set_header(["module", "operation", "forward", "backward", "optimizer"]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut last = None;
    for row in rows {
        let module = if last == Some(&row.module) {
            ""
        } else {
            row.module.as_str()
        };
        last = Some(&row.module);
        let mut cells = vec![
            Cell::new(one_line(module)),
            Cell::new(one_line(&row.operation)),
        ];
        for count in row.counts {
            let mut text = String::new();
            if count > 0 && write!(text, "{count}").is_err() {
                text.clear();
            }
            cells.push(Cell::new(text));
        }
        table.add_row(cells);
    }
    table
}
