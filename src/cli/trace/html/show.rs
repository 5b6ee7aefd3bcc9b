//! One trace as a page: what its layers compute in the first step, and its operations.

use super::chart::{Scale, Series, chart, table};
use super::page::{escape, page, sentences};
use super::tree::Tree;
use crate::cli::trace::layers::{Measured, Signal, Summary};
use anyhow::Result;
use op_trace::{Trace, Verdict};

/// The page. `name` is that of the file.
pub fn show(name: &str, trace: &Trace) -> Result<String> {
    let mut summary = Summary::default();
    let mut tree = Tree::new("the program", false);
    for operation in trace.operations() {
        let operation = operation?;
        let layer = summary.add(&operation, &trace.language);
        let path = summary.signals.layers.names[layer as usize].path();
        tree.add(layer, &path, &operation, Verdict::Nothing);
    }
    let mut body = sentences(&summary.lines(trace));
    body += &signals(&summary);
    body += "<h2>Operations</h2>\n";
    body += &tree.html(&[]);
    body += &environment(trace);
    Ok(page(&format!("Trace {name}"), &body))
}

fn environment(trace: &Trace) -> String {
    let rows: String = trace
        .environment
        .entries()
        .map(|(name, value)| {
            format!(
                "<tr><td class=\"name\">{}<td class=\"name\">{}\n",
                escape(name),
                escape(value)
            )
        })
        .collect();
    format!("<h2>Environment</h2>\n<div class=\"scroll\"><table>\n{rows}</table></div>\n")
}

/// The charts that people draw to see whether an initialization carries signal.
fn signals(summary: &Summary) -> String {
    let shown = summary.signals.shown();
    let mut html = "<h2>Signal</h2>\n".to_owned();
    if shown.is_empty() {
        return html
            + "<p>The trace has no statistics of what the layers compute. Record it with <code>--stats</code>, or with \
               <code>record(..., stats=True)</code>: then the mean, the standard deviation and the zeros of activations and gradients are \
               shown here by layer.</p>\n";
    }
    let step = summary.signals.step.unwrap_or(1);
    html += &format!(
        "<p>In step {step}, by layer in the order of computation: the result of the layer's last operation; the gradient of that result; the \
         gradients of its parameters. A signal that grows or fades by a factor from layer to layer is a line that rises or falls here.</p>\n"
    );
    let active: Vec<(&str, &Signal, Measured)> = shown
        .iter()
        .filter_map(|(name, signal)| Some((*name, *signal, signal.activation.as_ref()?.2)))
        .collect();
    let places: Vec<String> = active.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let of = |value: &dyn Fn(&Measured) -> f64| {
        active
            .iter()
            .map(|(_, _, m)| Some(value(m)))
            .collect::<Vec<_>>()
    };
    let gradients = |value: &dyn Fn(&Measured) -> f64| {
        active
            .iter()
            .map(|(_, signal, _)| signal.gradient.as_ref().map(value))
            .collect::<Vec<_>>()
    };
    let line = |name, values| Series { name, values };
    let std = |m: &Measured| m.stats.std;
    let mean = |m: &Measured| m.stats.mean;
    html += &chart(
        "Standard deviation",
        &places,
        &[
            line("activations", of(&std)),
            line("gradients of activations", gradients(&std)),
        ],
        Scale::Magnitude,
    );
    html += &chart(
        "Mean of activations",
        &places,
        &[line("activations", of(&mean))],
        Scale::Linear,
    );
    html += &chart(
        "Mean of gradients",
        &places,
        &[
            line("activations", vec![None; places.len()]),
            line("gradients of activations", gradients(&mean)),
        ],
        Scale::Linear,
    );
    html += &chart(
        "Zeros",
        &places,
        &[
            line("activations", of(&Measured::zeros)),
            line("gradients of activations", gradients(&Measured::zeros)),
        ],
        Scale::Share,
    );
    html += &table(
        "layer",
        &places,
        &[
            ("mean", of(&mean)),
            ("std", of(&std)),
            ("zeros", of(&Measured::zeros)),
            ("largest", of(&|m| m.stats.absmax)),
            ("gradient: mean", gradients(&mean)),
            ("std", gradients(&std)),
            ("zeros", gradients(&Measured::zeros)),
            ("largest", gradients(&|m| m.stats.absmax)),
        ],
    );
    let parameters = || shown.iter().flat_map(|(_, signal)| &signal.parameters);
    let names: Vec<String> = parameters().map(|(name, _)| name.clone()).collect();
    let of = |value: &dyn Fn(&Measured) -> f64| {
        parameters()
            .map(|(_, m)| Some(value(m)))
            .collect::<Vec<_>>()
    };
    html += &chart(
        "Standard deviation of the gradients of parameters",
        &names,
        &[line("gradient", of(&std))],
        Scale::Magnitude,
    );
    if !names.is_empty() {
        let columns = [
            ("mean", of(&mean)),
            ("std", of(&std)),
            ("zeros", of(&Measured::zeros)),
            ("largest", of(&|m| m.stats.absmax)),
        ];
        html += &table("parameter", &names, &columns);
    }
    html
}
