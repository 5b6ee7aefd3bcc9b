//! How far a search is.

/// How far [`explain_with_progress`](super::explain_with_progress) or [`locate_with_progress`](super::locate_with_progress) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// The tensors with which this is done.
    pub done: usize,
    /// All tensors of the stage. Not all of them may be found in a random stream.
    pub of: usize,
}

/// A stage of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Tensors are compared with the reference.
    Compare,
    /// Tensors are looked for in random streams.
    Search,
}
