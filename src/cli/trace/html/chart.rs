//! Lines over layers or steps, as SVG.

use super::page::escape;
use std::fmt::Write;

/// How values become heights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From the smallest to the largest value.
    Linear,
    /// From 0 to 1.
    Share,
    /// Powers of ten. Zero lies at the bottom.
    Magnitude,
    /// 0, 1, 10, 100, ...
    Count,
}

/// A line: its name, and a value for each place.
pub struct Series {
    pub name: &'static str,
    pub values: Vec<Option<f64>>,
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const PLOT: f64 = 170.0;
/// The most places that are named.
const LABELS: usize = 40;
/// The most characters of a name.
const LABEL: usize = 20;
/// More points are joined: the largest of each group is drawn.
const POINTS: usize = 1200;

/// The chart, or nothing if no value is known.
pub fn chart(title: &str, places: &[String], series: &[Series], scale: Scale) -> String {
    let finite = || {
        let values = series.iter().flat_map(|series| &series.values);
        values.flatten().copied().filter(|value| value.is_finite())
    };
    if series
        .iter()
        .all(|series| series.values.iter().all(Option::is_none))
    {
        return String::new();
    }
    let axis = Axis::new(scale, finite());
    let longest = places
        .iter()
        .map(|place| place.chars().count())
        .max()
        .unwrap_or(0)
        .min(LABEL);
    let bottom = 14.0 + 4.2 * longest as f64;
    let height = TOP + PLOT + bottom;
    let mut svg = format!(
        "<figure>\n<figcaption>{}</figcaption>\n<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{0}\">\n",
        escape(title)
    );
    for (value, label) in axis.ticks() {
        let y = TOP + PLOT * (1.0 - axis.height(value));
        svg += &format!(
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.0}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let x = |index: usize| match places.len() {
        0 | 1 => f64::midpoint(LEFT, WIDTH - RIGHT),
        count => LEFT + 6.0 + (WIDTH - RIGHT - LEFT - 12.0) * index as f64 / (count - 1) as f64,
    };
    svg += &format!(
        "<path class=\"axis\" d=\"M{LEFT} {:.0}H{:.0}\"/>\n",
        TOP + PLOT,
        WIDTH - RIGHT
    );
    let every = places.len().div_ceil(LABELS).max(1);
    for (index, place) in places.iter().enumerate().step_by(every) {
        let (x, y) = (x(index), TOP + PLOT + 12.0);
        svg += &format!(
            "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"end\" transform=\"rotate(-48 {x:.1} {y:.0})\">{}</text>\n",
            escape(&end_of(place))
        );
    }
    for (number, line) in series.iter().enumerate() {
        svg += &draw(line, number, places, &axis, x);
    }
    svg += "</svg></div>\n";
    if series.len() > 1 {
        let keys = series
            .iter()
            .enumerate()
            .filter(|(_, line)| line.values.iter().any(Option::is_some));
        let keys: String = keys
            .map(|(number, line)| {
                format!(
                    "<span><i class=\"c{number}\"></i>{}</span>",
                    escape(line.name)
                )
            })
            .collect();
        svg += &format!("<div class=\"key\">{keys}</div>\n");
    }
    svg + "</figure>\n"
}

/// The line and the points of a series.
fn draw(
    line: &Series,
    number: usize,
    places: &[String],
    axis: &Axis,
    x: impl Fn(usize) -> f64,
) -> String {
    let (mut path, mut points, mut is_down) = (String::new(), String::new(), false);
    let group = line.values.len().div_ceil(POINTS).max(1);
    for (chunk, values) in line.values.chunks(group).enumerate() {
        let largest = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
        let known = values
            .iter()
            .enumerate()
            .filter_map(|(index, value)| Some((index, (*value)?)));
        let Some((index, value)) = known.max_by(largest) else {
            // Where a layer has no value, the line goes on to the next that has.
            continue;
        };
        let index = chunk * group + index;
        let x = x(index);
        let title = format!(
            "{}: {} {}",
            escape(&places[index]),
            escape(line.name),
            number_text(value)
        );
        if !value.is_finite() {
            points += &format!(
                "<path class=\"odd\" d=\"M{:.1} {TOP}l7 7m0 -7l-7 7\"><title>{title}</title></path>\n",
                x - 3.5
            );
            is_down = false;
            continue;
        }
        let y = TOP + PLOT * (1.0 - axis.height(value));
        path += &format!("{}{x:.1} {y:.1}", if is_down { "L" } else { "M" });
        is_down = true;
        points += &format!(
            "<circle class=\"point c{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"><title>{title}</title></circle>\n"
        );
    }
    format!("<path class=\"path c{number}\" d=\"{path}\"/>\n{points}")
}

/// The end of a name, which tells layers apart.
fn end_of(name: &str) -> String {
    let count = name.chars().count();
    if count <= LABEL {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count - LABEL + 1).collect();
    format!("…{end}")
}

/// A number with four digits.
pub fn number_text(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs();
    if (0.001..1e5).contains(&magnitude) {
        let digits = (3.0 - magnitude.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        format!("{value:.2e}")
    }
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let bounds = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (low, high) = match scale {
            Scale::Share => (0.0, 1.0),
            Scale::Linear => {
                let (low, high) = bounds(&mut values.clone().chain([0.0]));
                if low == high {
                    (low - 1.0, high + 1.0)
                } else {
                    (low, high)
                }
            }
            Scale::Magnitude => {
                let (low, high) = bounds(
                    &mut values
                        .clone()
                        .map(f64::abs)
                        .filter(|value| *value > 0.0)
                        .map(f64::log10),
                );
                match low.is_finite() {
                    true => (low.floor(), high.ceil().max(low.floor() + 1.0)),
                    false => (-1.0, 0.0),
                }
            }
            Scale::Count => (
                0.0,
                bounds(&mut values.clone().map(|value| (1.0 + value).log10()))
                    .1
                    .ceil()
                    .max(1.0),
            ),
        };
        Axis { scale, low, high }
    }

    /// Between 0 and 1.
    fn height(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear | Scale::Share => value,
            Scale::Magnitude if value == 0.0 => self.low,
            Scale::Magnitude => value.abs().log10(),
            Scale::Count => (1.0 + value).log10(),
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Values with their names.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Share => [0.0, 0.25, 0.5, 0.75, 1.0]
                .map(|share| (share, format!("{:.0} %", share * 100.0)))
                .into(),
            Scale::Linear => {
                let rough = (self.high - self.low) / 4.0;
                let power = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 2.5, 5.0, 10.0]
                    .map(|factor| factor * power)
                    .into_iter()
                    .find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                let first = (self.low / step).ceil() as i64;
                (first..first + 8)
                    .map(|index| index as f64 * step)
                    .filter(|value| *value <= self.high)
                    .map(|value| (value, number_text(value)))
                    .collect()
            }
            Scale::Magnitude | Scale::Count => {
                let powers = self.low as i64..=self.high as i64;
                let every = ((self.high - self.low) as usize / 6 + 1).max(1);
                powers
                    .step_by(every)
                    .map(|power| {
                        let text = match power {
                            0 if self.scale == Scale::Count => "0".to_owned(),
                            0..=3 => format!("{}", 10i64.pow(power as u32)),
                            -3..=-1 => number_text(10f64.powi(power as i32)),
                            power => format!("1e{power}"),
                        };
                        let value = 10f64.powi(power as i32);
                        (
                            if self.scale == Scale::Count {
                                value - 1.0
                            } else {
                                value
                            },
                            text,
                        )
                    })
                    .collect()
            }
        }
    }
}

/// A table of the values of a chart, for those who cannot see it.
pub fn table(first: &str, places: &[String], columns: &[(&str, Vec<Option<f64>>)]) -> String {
    let mut html = format!(
        "<details><summary>the numbers</summary>\n<div class=\"scroll\"><table>\n<tr><th>{}",
        escape(first)
    );
    for (name, _) in columns {
        html += &format!("<th class=\"n\">{}", escape(name));
    }
    html.push('\n');
    for (index, place) in places.iter().enumerate() {
        html += &format!("<tr><td class=\"name\">{}", super::page::breakable(place));
        for (_, values) in columns {
            let text = values[index].map_or_else(String::new, number_text);
            // A string takes any text.
            if write!(html, "<td class=\"n\">{text}").is_err() {
                break;
            }
        }
        html.push('\n');
    }
    html + "</table></div></details>\n"
}
