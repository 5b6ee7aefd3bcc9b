//! `tch-init trace show`: counts the operations of a trace.

use crate::cli::report::{Report, one_line};
use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use op_trace::{Operation, Phase, Trace};
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
    let mut text = String::new();
    for line in summary(&trace) {
        text += &one_line(&line);
        text.push('\n');
    }
    for row in table(&rows(&trace)).lines() {
        text += row.trim_end();
        text.push('\n');
    }
    Ok(Report { text, found: false })
}

fn summary(trace: &Trace) -> Vec<String> {
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
        let elements: i64 = parameters
            .clone()
            .map(|named| named.tensor.elements())
            .sum();
        lines.push(format!(
            "{}: {} parameters with {elements} elements",
            model.class,
            parameters.count()
        ));
    }
    let operations = &trace.operations;
    let draws = operations
        .iter()
        .filter(|operation| operation.generator.is_some())
        .count();
    let steps = operations
        .iter()
        .map(|operation| operation.step)
        .max()
        .unwrap_or(0);
    let end = match &trace.end {
        None => "the program was killed".to_owned(),
        Some(end) => match end.reason.as_str() {
            "finished" => "the program finished".to_owned(),
            "steps" => "the recording ended after these steps".to_owned(),
            other => other.to_owned(),
        },
    };
    lines.push(format!(
        "{} operations in {steps} step{}, {draws} draws; {end}",
        operations.len(),
        if steps == 1 { "" } else { "s" }
    ));
    for operation in operations
        .iter()
        .filter(|operation| operation.error.is_some())
    {
        lines.push(format!(
            "failed: {} at {}: {}",
            operation.schema(),
            operation.at.as_deref().unwrap_or("an unknown line"),
            operation.error.as_deref().unwrap_or_default()
        ));
    }
    lines.push(String::new());
    lines
}

/// The rows in the order in which they are met. Operations of a backward pass belong to the module of their forward pass.
fn rows(trace: &Trace) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for operation in &trace.operations {
        let module = module(operation, trace);
        let name = operation
            .name
            .rsplit("::")
            .next()
            .unwrap_or(&operation.name);
        let phase = match operation.phase {
            Phase::Forward => 0,
            Phase::Backward => 1,
            _ => 2,
        };
        let known = rows
            .iter_mut()
            .find(|row| row.module == module && row.operation == name);
        match known {
            Some(row) => row.counts[phase] += 1,
            None => {
                let mut counts = [0; 3];
                counts[phase] = 1;
                rows.push(Row {
                    module: module.to_owned(),
                    operation: name.to_owned(),
                    counts,
                });
            }
        }
    }
    // Modules together, in the order of their first operation.
    let mut order: Vec<String> = Vec::new();
    for row in &rows {
        if !order.contains(&row.module) {
            order.push(row.module.clone());
        }
    }
    rows.sort_by_key(|row| order.iter().position(|module| *module == row.module));
    rows
}

fn module<'a>(operation: &'a Operation, trace: &'a Trace) -> &'a str {
    let forward = operation
        .forward
        .and_then(|index| trace.operations.get(index));
    let own = operation.module.as_deref();
    own.or_else(|| forward.and_then(|forward| forward.module.as_deref()))
        .unwrap_or("")
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
