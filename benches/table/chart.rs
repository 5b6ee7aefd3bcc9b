//! The table as a picture.

use super::Row;
use std::fmt::Write;

/// How many times faster, a bar for every line of the table that has PyTorch beside it.
pub fn svg(rows: &[Row]) -> String {
    const BAR: usize = 18;
    const LEFT: usize = 330;
    const WIDTH: usize = 360;
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.torch_ns > 0.0)
        .filter(|row| {
            !["libtorch", "one thread"]
                .iter()
                .any(|other| row.name.ends_with(other))
        })
        .collect();
    let most = rows.iter().map(|row| row.ratio).fold(1.0, f64::max);
    let height = BAR * (rows.len() + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"15\">times faster than PyTorch 2.13</text>\n",
        LEFT + WIDTH + 60,
    );
    for (i, row) in rows.iter().enumerate() {
        let (y, width) = (BAR * (i + 1) + 4, row.ratio / most * WIDTH as f64);
        let threads = if row.threads == 1 {
            "thread"
        } else {
            "threads"
        };
        writeln!(
            svg,
            "<text x=\"8\" y=\"{}\">{}, {} {threads}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"#ee4c2c\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.1}</text>",
            y + 12,
            row.name,
            row.threads,
            BAR - 4,
            LEFT as f64 + width + 4.0,
            y + 12,
            row.ratio,
        )
        .expect("a string takes what is written");
    }
    svg + "</svg>\n"
}
