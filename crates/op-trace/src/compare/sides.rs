//! Values of both sides.

/// A number or a value for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides<T> {
    /// Of A.
    pub a: T,
    /// Of B.
    pub b: T,
}
