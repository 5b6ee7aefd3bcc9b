//! The chart of the README.

use super::Row;
use std::fmt::Write;

/// The rows in the chart, with two threads: three draws and three models.
const SHOWN: [&str; 6] = [
    "uniform_ float32, an element",
    "normal_ float32, an element",
    "trunc_normal_ float32, an element",
    "GPT-2 124M (transformers)",
    "T5-small (transformers)",
    "resnet50 (torchvision)",
];

/// How many times faster than PyTorch, as one bar per row of [`SHOWN`].
pub fn svg(rows: &[Row]) -> String {
    const BAR: usize = 26;
    const LEFT: usize = 200;
    const WIDTH: usize = 440;
    let rows: Vec<&Row> = SHOWN
        .iter()
        .filter_map(|name| {
            rows.iter()
                .find(|row| row.name == *name && row.threads == 2)
        })
        .collect();
    let most = rows.iter().map(|row| row.ratio).fold(1.0, f64::max);
    let height = BAR * (rows.len() + 1) + 12;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\">times faster than PyTorch 2.13, two threads</text>\n",
        LEFT + WIDTH + 60,
    );
    for (i, row) in rows.iter().enumerate() {
        let (y, width) = (BAR * (i + 1) + 4, row.ratio / most * WIDTH as f64);
        writeln!(
            svg,
            "<text x=\"8\" y=\"{}\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"#ee4c2c\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.1}</text>",
            y + 14,
            row.name.trim_end_matches(", an element"),
            BAR - 6,
            LEFT as f64 + width + 6.0,
            y + 14,
            row.ratio,
        )
        .expect("a string takes what is written");
    }
    svg + "</svg>\n"
}
