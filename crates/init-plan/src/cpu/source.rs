//! What a step reads.

use crate::view::View;

/// A view that is read, and the bytes of its storage.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) view: &'a View,
}
