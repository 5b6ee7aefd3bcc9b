//! Who wants to know what is drawn, and in which order.

use super::recording::Fill;
use std::cell::RefCell;
use tch::Tensor;

/// A fill of a tensor, as it happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    /// Where the first element lies.
    pub data: usize,
    /// How many elements were filled.
    pub numel: usize,
    /// What with.
    pub fill: Fill,
}

thread_local! {
    static OBSERVED: RefCell<Option<Vec<Observed>>> = const { RefCell::new(None) };
}

/// Runs `work` and returns the fills that it made on this thread, in order.
pub(crate) fn observed<T>(work: impl FnOnce() -> T) -> (T, Vec<Observed>) {
    let outer = OBSERVED.replace(Some(Vec::new()));
    let result = work();
    let fills = OBSERVED.replace(outer).unwrap_or_default();
    (result, fills)
}

/// Notes a fill, if somebody observes.
pub(super) fn note(tensor: &Tensor, fill: Fill) {
    OBSERVED.with_borrow_mut(|observed| {
        if let Some(fills) = observed {
            fills.push(Observed {
                data: tensor.data_ptr() as usize,
                numel: tensor.numel(),
                fill,
            });
        }
    });
}
