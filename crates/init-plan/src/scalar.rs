//! Python's numbers.

/// A Python number; its type affects what is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `bool`.
    Bool(bool),
}
