//! What became of operations.

use super::bits::Bits;

/// What became of the operations of one trace.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    pub(super) computes: Bits,
    pub(super) departed: Bits,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It computes nothing that is compared.
    Nothing,
    /// The other side has its results, too.
    Shared,
    /// The other side lacks a result.
    Departed,
}

impl Verdicts {
    /// What became of an operation, by its number.
    #[must_use]
    pub fn of(&self, operation: usize) -> Verdict {
        match (self.computes.has(operation), self.departed.has(operation)) {
            (false, _) => Verdict::Nothing,
            (true, false) => Verdict::Shared,
            (true, true) => Verdict::Departed,
        }
    }
}
