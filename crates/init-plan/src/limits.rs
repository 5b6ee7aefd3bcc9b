//! The limits of the format.

/// Bytes of a file.
pub(crate) const FILE: u64 = 64 << 20;
/// Storages, views, steps, names.
pub(crate) const ROWS: usize = 1_000_000;
/// Dimensions of a view.
pub(crate) const DIMS: usize = 16;
/// Arguments of a step.
pub(crate) const ARGS: usize = 16;
/// Outputs of a step.
pub(crate) const OUTS: usize = 8;
/// Streams.
pub(crate) const STREAMS: u64 = 65_536;
/// Tensors in `cat` and `stack`, and entries of any other list.
pub(crate) const LIST: usize = 65_536;
/// Bytes of a `const`, and its length in base64.
pub(crate) const CONST: usize = 65_536;
pub(crate) const TEXT: usize = CONST.div_ceil(3) * 4;
/// Bytes of storages, sizes, strides, offsets.
pub(crate) const SIZE: u64 = (1 << 53) - 1;
/// Bytes of a name.
pub(crate) const NAME: usize = 1024;
/// Bytes of `model`.
pub(crate) const MODEL: usize = 65_536;
/// Bytes that a view may repeat by strides of 0 when the storages together have less.
pub(crate) const REPEATED: u64 = 1 << 30;
