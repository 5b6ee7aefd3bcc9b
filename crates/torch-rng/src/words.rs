//! Words as they are drawn, many at a time.

use super::arch::Isa;
use super::stream::{Recipe, Step, temper};

/// Tempers, and nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Words;

impl Recipe for Words {
    type Item = u32;
    type Step<I: Isa> = Words;

    #[inline(always)]
    fn step<I: Isa>(&self, _isa: I) -> Words {
        Words
    }
}

impl<I: Isa> Step<I> for Words {
    type Item = u32;
    const WORDS: usize = I::LANES;
    const ITEMS: usize = I::LANES;
    const STREAMS: bool = false;

    #[inline(always)]
    unsafe fn step(self, isa: I, raw: *const u32, out: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { isa.store(out, temper(isa, isa.load(raw))) }
    }
}
