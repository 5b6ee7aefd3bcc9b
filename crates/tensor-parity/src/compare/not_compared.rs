//! Members that cannot be compared.

use super::tensor_comparison::Sides;
use crate::{LeftOut, LeftOutKind};

/// A member that cannot be compared, since at least one side cannot read it as a tensor.
///
/// ```
/// use tensor_parity::compare::{Comparison, Criterion, Presence};
/// use tensor_parity::file::TensorFile;
///
/// # let header = br#"{"q":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
/// # let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0, 7]].concat();
/// let file = TensorFile::from_bytes("model.safetensors", bytes)?;
/// let comparison = Comparison::new(&file, &file, Criterion::Bits)?;
/// assert!(comparison.is_same());
/// let q = &comparison.not_compared[0];
/// assert_eq!((q.name.as_str(), q.differs()), ("q", false));
/// assert!(matches!(&q.sides.actual, Presence::LeftOut(member) if member.reason == "4-bit floats"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotCompared {
    /// The name in the second source, and in the first after renaming.
    pub name: String,
    /// What each side has under the name.
    pub sides: Sides<Presence>,
}

/// What a source has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// Nothing.
    Absent,
    /// A tensor that could be compared.
    Tensor,
    /// A tensor that cannot be compared.
    LeftOut(LeftOut),
}

impl NotCompared {
    /// Whether the sides differ: only one has the member, only one can be read, or one is damaged.
    ///
    /// Two members that are both of a kind that is not supported count as equal, although their
    /// elements are not compared.
    pub fn differs(&self) -> bool {
        let is_unsupported = |side: &Presence| matches!(side, Presence::LeftOut(member) if member.kind == LeftOutKind::Unsupported);
        !(is_unsupported(&self.sides.actual) && is_unsupported(&self.sides.expected))
    }
}
