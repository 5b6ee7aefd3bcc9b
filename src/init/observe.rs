//! Who wants to know what is drawn, and in which order.

use std::cell::RefCell;
use tch::Tensor;

/// A fill of a tensor, as it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fill {
    /// Where the first element lies.
    pub data: usize,
    /// How many elements were filled.
    pub numel: usize,
    /// What with.
    pub with: Source,
}

/// What a tensor was filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    Uniform { from: f64, to: f64 },
    Normal { mean: f64, std: f64 },
    TruncNormal { mean: f64, std: f64, a: f64, b: f64 },
    Constant,
}

thread_local! {
    static OBSERVED: RefCell<Option<Vec<Fill>>> = const { RefCell::new(None) };
}

/// Runs `work` and returns the fills that it made on this thread, in order.
pub(crate) fn observed<T>(work: impl FnOnce() -> T) -> (T, Vec<Fill>) {
    let outer = OBSERVED.replace(Some(Vec::new()));
    let result = work();
    let fills = OBSERVED.replace(outer).unwrap_or_default();
    (result, fills)
}

/// Notes a fill, if somebody observes.
pub(super) fn note(tensor: &Tensor, with: Source) {
    OBSERVED.with_borrow_mut(|observed| {
        if let Some(fills) = observed {
            fills.push(Fill {
                data: tensor.data_ptr() as usize,
                numel: tensor.numel(),
                with,
            });
        }
    });
}
