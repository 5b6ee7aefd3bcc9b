//! The comparison of two traces as a page.

use super::chart::{Scale, Series, chart, table};
use super::page::{breakable, escape, page, sentences};
use super::source::excerpt;
use super::tree::Tree;
use crate::cli::trace::differences::{Difference, Differences};
use anyhow::Result;
use op_trace::{Comparison, Departure, Place, Sides, Trace};

/// Two traces, the names of their files, and what was found.
pub struct Compared<'a> {
    pub names: [&'a str; 2],
    pub traces: [&'a Trace; 2],
    pub comparison: &'a Comparison,
    /// What is said before the departures: the environment, a program that was killed.
    pub notes: &'a [String],
    pub verdict: &'a str,
}

/// The most departures that are shown.
const MAX_DEPARTURES: usize = 200;

/// The page, and what was measured for it.
pub fn diff(compared: &Compared<'_>) -> Result<(String, Differences)> {
    let Compared {
        names: [name_a, name_b],
        traces: [a, b],
        comparison,
        ..
    } = compared;
    let mut trees = [Tree::new(name_a, true), Tree::new(name_b, true)];
    let differences =
        Differences::measure((a, b), comparison, |is_a, layers, layer, operation| {
            let (tree, verdicts) = match is_a {
                true => (&mut trees[0], &comparison.verdicts.a),
                false => (&mut trees[1], &comparison.verdicts.b),
            };
            let path = layers.names[layer as usize].path();
            tree.add(layer, &path, operation, verdicts.of(operation.index));
        })?;
    let labels = comparison.labels;
    let class = if comparison.is_same() { "good" } else { "bad" };
    let mut body = format!(
        "<p class=\"verdict {class}\">{}</p>\n",
        escape(compared.verdict)
    );
    body += &sentences(compared.notes);
    body += &departures(comparison);
    body += &charts(&differences, labels.a);
    body += "<h2>Operations</h2>\n<p class=\"soft\">Green: the other program has the results, too. Red: it lacks one.</p>\n<div class=\"sides\">\n";
    let first = comparison.departures.first();
    let places = [
        first.and_then(|first| first.a.as_ref()),
        first.and_then(|first| first.b.as_ref()),
    ];
    for ((tree, place), label) in trees.iter_mut().zip(places).zip([labels.a, labels.b]) {
        let module = place.and_then(|place| place.module.as_deref());
        let open: Vec<&str> = module.map_or_else(Vec::new, |module| module.split('.').collect());
        body += &format!(
            "<div><span class=\"side-label\">{label}</span>\n{}</div>\n",
            tree.html(&open)
        );
    }
    body += "</div>\n";
    let title = format!("{}: {name_a}, {}: {name_b}", labels.a, labels.b);
    Ok((page(&title, &body), differences))
}

fn departures(comparison: &Comparison) -> String {
    let all = &comparison.departures;
    if all.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<h2>Where they depart</h2>\n<p>{}</p>\n",
        match all.len() {
            1 => "One independent difference.".to_owned(),
            count => format!("{count} independent differences, in the order of computation."),
        }
    );
    for departure in all.iter().take(MAX_DEPARTURES) {
        html += &card(departure, comparison.labels);
    }
    if all.len() > MAX_DEPARTURES {
        html += &format!(
            "<p>{} more are not shown.</p>\n",
            all.len() - MAX_DEPARTURES
        );
    }
    html
}

fn card(departure: &Departure, labels: Sides<&'static str>) -> String {
    let mut html = format!(
        "<section class=\"card\">\n<h3>{}</h3>\n",
        escape(&departure.class.text(labels))
    );
    html += "<div class=\"sides\">\n";
    for (label, place) in [(labels.a, &departure.a), (labels.b, &departure.b)] {
        if let Some(place) = place {
            html += &side(label, place);
        }
    }
    html += "</div>\n";
    let mut lines = departure.details.clone();
    if departure.similar > 0 {
        lines.push(format!(
            "{} more of this kind at these lines",
            departure.similar
        ));
    }
    if departure.consequences > 0 {
        lines.push(format!(
            "after it {} operations differ",
            departure.consequences
        ));
    }
    html += &sentences(&lines);
    html + "</section>\n"
}

fn side(label: &str, place: &Place) -> String {
    let mut facts = Vec::new();
    facts.extend(
        place
            .layer
            .as_ref()
            .map(|module| format!("in <span class=\"name\">{}</span>", breakable(module))),
    );
    facts.extend(
        place
            .parameter
            .as_ref()
            .map(|name| format!("of <span class=\"name\">{}</span>", breakable(name))),
    );
    facts.push(format!("step {}, {}", place.step, place.phase));
    facts.extend(
        place
            .backward_of
            .as_ref()
            .map(|forward| format!("backward of {}", breakable(forward))),
    );
    let mut html = format!(
        "<div><span class=\"side-label\">{label}</span><span class=\"name\">{}</span><br>\n<span class=\"soft\">{}</span>\n",
        breakable(&place.call),
        facts.join(", ")
    );
    if let Some(at) = &place.at {
        html += &format!(
            "<br><span class=\"name\">{}</span>\n{}",
            breakable(at),
            excerpt(at).unwrap_or_default()
        );
    }
    html + "</div>\n"
}

fn charts(differences: &Differences, label: &str) -> String {
    if differences.compared == 0 {
        return String::new();
    }
    let mut html = format!(
        "<h2>How far apart</h2>\n<p>Units in the last place between sampled elements of the n-th operation of a kind, shape and phase in each \
         step. 0 is the same bits; numbers of other signs are far apart in ULPs, however small. {} results are compared{}.</p>\n",
        differences.compared,
        match differences.left_out {
            0 => String::new(),
            count => format!("; {count} have no counterpart, or no known elements"),
        }
    );
    let series = |values: &dyn Fn(usize) -> Vec<Option<f64>>| {
        ["forward", "backward", "optimizer"]
            .into_iter()
            .enumerate()
            .map(|(phase, name)| Series {
                name,
                values: values(phase),
            })
            .collect::<Vec<_>>()
    };
    let known = || {
        differences
            .layers
            .names
            .iter()
            .zip(&differences.by_layer)
            .filter(|(_, values)| values.iter().any(Option::is_some))
    };
    let layers: Vec<String> = known().map(|(layer, _)| layer.text().to_owned()).collect();
    let by_layer = |of: fn(&Difference) -> f64, phase: usize| {
        let values = known().map(|(_, values)| values[phase].as_ref().map(of));
        values.collect::<Vec<_>>()
    };
    let ulps: fn(&Difference) -> f64 = |difference| difference.ulps;
    let part: fn(&Difference) -> f64 = |difference| difference.part;
    let [title_ulps, title_part] = ["in ULPs", "as a part of the largest element"]
        .map(|unit| format!("Largest difference by layer of {label}, {unit}"));
    html += &chart(
        &title_ulps,
        &layers,
        &series(&|phase| by_layer(ulps, phase)),
        Scale::Count,
    );
    html += &chart(
        &title_part,
        &layers,
        &series(&|phase| by_layer(part, phase)),
        Scale::Magnitude,
    );
    let columns = [
        ("forward: ULPs", by_layer(ulps, 0)),
        ("part", by_layer(part, 0)),
        ("backward: ULPs", by_layer(ulps, 1)),
        ("part", by_layer(part, 1)),
        ("optimizer: ULPs", by_layer(ulps, 2)),
        ("part", by_layer(part, 2)),
    ];
    html += &table("layer", &layers, &columns);
    if differences.by_step.len() > 1 {
        let steps = differences.by_step.iter();
        let steps: Vec<String> = steps.map(|(step, _)| step.to_string()).collect();
        let by_step = |phase: usize| {
            let values = differences.by_step.iter();
            values
                .map(|(_, values)| values[phase].as_ref().map(part))
                .collect::<Vec<_>>()
        };
        let title = "Largest difference by step, as a part of the largest element";
        html += &chart(title, &steps, &series(&by_step), Scale::Magnitude);
    }
    html
}
