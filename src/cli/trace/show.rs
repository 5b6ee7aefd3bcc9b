//! `tch-init trace show`: counts the operations of a trace.

use super::html;
use super::layers::{Layer, Layers, Measured, Signals, Summary, phase_number};
use crate::cli::report::{Report, one_line, spinner};
use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use op_trace::{Operation, SharedStr, Trace};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

/// The width of a table without a terminal.
const WIDTH: u16 = 100;

#[derive(Args)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,
    /// Write a page with charts of what the layers compute, and the operations as a tree of modules
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A row: a module, an operation, and how often each phase has it.
struct Row {
    module: String,
    operation: String,
    counts: [usize; 3],
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    if let Some(path) = &arguments.html {
        let file = html::create(path)?;
        let spinner = spinner("reading");
        let trace = Trace::read(&arguments.trace)?;
        let page = html::show(&html::file_name(&arguments.trace), &trace)?;
        spinner.finish_and_clear();
        html::write(path, file, &page)?;
        return Ok(Report {
            text: format!("{}\n", path.display()),
            found: false,
        });
    }
    let spinner = spinner("reading");
    let trace = Trace::read(&arguments.trace)?;
    let mut summary = Summary::default();
    let mut counts = Counts::default();
    for operation in trace.operations() {
        let operation = operation?;
        let layer = summary.add(&operation, &trace.language);
        counts.add(layer, &operation);
    }
    spinner.finish_and_clear();
    let mut text = String::new();
    for line in summary.lines(&trace) {
        text += &one_line(&line);
        text.push('\n');
    }
    let mut tables = vec![table(&counts.rows(&summary.signals.layers))];
    tables.extend(signal_table(&summary.signals));
    for table in tables {
        text.push('\n');
        for row in table.lines() {
            text += row.trim_end();
            text.push('\n');
        }
    }
    Ok(Report { text, found: false })
}

/// Operations by layer, kind and phase.
#[derive(Default)]
struct Counts {
    /// In the order in which they are met: layer, operation and counts.
    rows: Vec<(u32, SharedStr, [usize; 3])>,
    row_of: HashMap<(u32, SharedStr), usize>,
}

impl Counts {
    fn add(&mut self, layer: u32, operation: &Operation) {
        let name = operation.name.as_str();
        let name = SharedStr::from(name.rsplit("::").next().unwrap_or(name));
        let next = self.rows.len();
        let row = *self.row_of.entry((layer, name.clone())).or_insert(next);
        if row == next {
            self.rows.push((layer, name, [0; 3]));
        }
        self.rows[row].2[phase_number(operation.phase)] += 1;
    }

    /// Layers together, in the order of their first operation.
    fn rows(&self, layers: &Layers) -> Vec<Row> {
        let mut rows: Vec<&(u32, SharedStr, [usize; 3])> = self.rows.iter().collect();
        rows.sort_by_key(|(layer, ..)| *layer);
        rows.into_iter()
            .map(|(layer, operation, counts)| Row {
                module: match &layers.names[*layer as usize] {
                    Layer::Outside => String::new(),
                    layer => layer.text().to_owned(),
                },
                operation: operation.to_string(),
                counts: *counts,
            })
            .collect()
    }
}

/// What the layers compute in the first step, if the trace has statistics.
fn signal_table(signals: &Signals) -> Option<Table> {
    let shown = signals.shown();
    if shown.is_empty() {
        return None;
    }
    let mut table = plain_table(&[
        "layer",
        "result",
        "mean",
        "std",
        "zeros",
        "gradient: mean",
        "std",
        "zeros",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (layer, signal) in shown {
        let Some((_, operation, activation)) = &signal.activation else {
            continue;
        };
        let numbers = |measured: Option<&Measured>| {
            measured.map_or_else(<[String; 3]>::default, |measured| {
                let share = format!("{:.1}%", 100.0 * measured.zeros());
                [
                    html::number_text(measured.stats.mean),
                    html::number_text(measured.stats.std),
                    share,
                ]
            })
        };
        let mut cells = vec![one_line(layer), one_line(operation)];
        cells.extend(numbers(Some(activation)));
        cells.extend(numbers(signal.gradient.as_ref()));
        table.add_row(cells);
    }
    Some(table)
}

fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0))
        .set_header(header.to_vec());
    table
}

fn table(rows: &[Row]) -> Table {
    let mut table = plain_table(&["module", "operation", "forward", "backward", "optimizer"]);
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
