//! The bracketed elements of a strided tensor: `_tensor_str`, `_tensor_str_with_formatter` and
//! `_vector_str` of `torch/_tensor_str.py`, PyTorch 2.13.

use tch::{Device, Tensor};

use super::error::ReprError;
use super::formatter::{Cells, Weighing};
use super::options::PrintOptions;
use super::values::{Axis, Dtype, Values};

/// The elements of `tensor` in brackets, with later lines indented by `indent + 1` columns.
pub(super) fn contents(
    tensor: &Tensor,
    indent: usize,
    options: &PrintOptions,
) -> Result<String, ReprError> {
    let shape = tensor.size();
    let count = shape.iter().fold(1_usize, |count, &size| {
        count.saturating_mul(usize::try_from(size).unwrap_or(0))
    });
    if count == 0 {
        return Ok("[]".to_owned());
    }
    let summarize = count > options.threshold;
    if summarize && options.edgeitems == 0 && !shape.is_empty() {
        return Ok("[...]".to_owned());
    }
    let axes: Vec<Axis> = shape
        .iter()
        .map(|&size| {
            let size = usize::try_from(size).unwrap_or(0);
            let both_ends = options.edgeitems.saturating_mul(2);
            let elided = summarize && size > both_ends;
            Axis {
                shown: if elided { both_ends } else { size },
                elided,
            }
        })
        .collect();
    let weighing = match tensor.device() {
        Device::Mps => Weighing::Single,
        _ => Weighing::Double,
    };
    let values = Values::read(tensor, Dtype::of(tensor)?, &axes)?;
    let mut writer = Writer {
        cells: Cells::new(values, options, weighing),
        linewidth: options.linewidth,
        next: 0,
        out: String::new(),
    };
    writer.push_tensor(&axes, indent);
    Ok(writer.out)
}

struct Writer {
    cells: Cells,
    linewidth: usize,
    /// The element to write next.
    next: usize,
    out: String,
}

impl Writer {
    fn push_tensor(&mut self, axes: &[Axis], indent: usize) {
        let Some((axis, inner)) = axes.split_first() else {
            self.push_element();
            return;
        };
        if inner.is_empty() {
            self.push_vector(*axis, indent);
            return;
        }
        self.out.push('[');
        for position in 0..axis.shown {
            if position > 0 {
                self.push_break(inner.len(), indent);
            }
            if axis.elided && position == axis.shown / 2 {
                self.out.push_str("...");
                self.push_break(inner.len(), indent);
            }
            self.push_tensor(inner, indent + 1);
        }
        self.out.push(']');
    }

    fn push_vector(&mut self, axis: Axis, indent: usize) {
        let per_line = (self.linewidth.saturating_sub(indent) / self.cells.columns()).max(1);
        self.out.push('[');
        // The dots take the place of one element.
        let dots = axis.elided.then_some(axis.shown / 2);
        for place in 0..axis.shown + usize::from(axis.elided) {
            if place > 0 && place % per_line == 0 {
                self.push_break(1, indent);
            } else if place > 0 {
                self.out.push_str(", ");
            }
            if dots == Some(place) {
                self.out.push_str(" ...");
            } else {
                self.push_element();
            }
        }
        self.out.push(']');
    }

    fn push_element(&mut self) {
        self.cells.push(&mut self.out, self.next);
        self.next += 1;
    }

    fn push_break(&mut self, lines: usize, indent: usize) {
        self.out.push(',');
        self.out.extend(std::iter::repeat_n('\n', lines));
        self.out.extend(std::iter::repeat_n(' ', indent + 1));
    }
}
