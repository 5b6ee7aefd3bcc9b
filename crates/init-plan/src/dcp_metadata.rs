//! `.metadata` of torch.distributed.checkpoint: which file has which part of each tensor, as PyTorch 2.13 writes it
//! (`checkpoint/metadata.py`, `filesystem.py`). It names classes of PyTorch only.

use crate::pickle::Pickle;
use std::io::{self, Write};
use tensor_parity::Dtype;

/// The name of the file.
pub(crate) const METADATA: &str = ".metadata";

/// A name of the `state_dict`, its tensor, and where that is.
pub(crate) struct Described<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: &'a [u64],
    pub(crate) chunks: &'a [Chunk],
}

/// A rectangle of a tensor, and the bytes of a file that it is.
pub(crate) struct Chunk {
    pub(crate) offsets: Vec<u64>,
    pub(crate) shape: Vec<u64>,
    pub(crate) file: u64,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// The name of a file of tensors, as that which process number `file` writes.
pub(crate) fn file_name(file: u64) -> String {
    format!("__{file}_0.distcp")
}

const MODULE: &str = "torch.distributed.checkpoint.metadata";
const STORAGE_MODULE: &str = "torch.distributed.checkpoint.filesystem";

pub(crate) fn write(tensors: &[Described<'_>], out: impl Write) -> io::Result<()> {
    let mut pickle = Pickle::new(io::BufWriter::new(out))?;
    fields(&mut pickle, MODULE, "Metadata", |pickle| {
        pickle.string("state_dict_metadata")?;
        pickle.dict(|pickle| {
            tensors.iter().try_for_each(|tensor| {
                pickle.string(tensor.name)?;
                describe(pickle, tensor)
            })
        })?;
        // The path of each name in a nested state_dict.
        pickle.string("planner_data")?;
        pickle.dict(|pickle| {
            tensors.iter().try_for_each(|tensor| {
                pickle.string(tensor.name)?;
                pickle.tuple(|pickle| pickle.string(tensor.name))
            })
        })?;
        pickle.string("storage_data")?;
        pickle.dict(|pickle| {
            tensors.iter().try_for_each(|tensor| {
                let mut chunks = tensor.chunks.iter().enumerate();
                chunks.try_for_each(|(number, chunk)| place(pickle, tensor, number as u64, chunk))
            })
        })?;
        pickle.string("storage_meta")?;
        pickle.none()?;
        pickle.string("version")?;
        pickle.string("1.0.0")
    })?;
    pickle.finish()
}

fn describe<W: Write>(pickle: &mut Pickle<W>, tensor: &Described<'_>) -> io::Result<()> {
    fields(pickle, MODULE, "TensorStorageMetadata", |pickle| {
        pickle.string("properties")?;
        pickle.object(MODULE, "TensorProperties", |pickle| {
            pickle.tuple(|pickle| {
                pickle.global("torch", tensor.dtype.name())?;
                pickle.global("torch.serialization", "_get_layout")?;
                pickle.tuple(|pickle| pickle.string("torch.strided"))?;
                pickle.reduce()?;
                // requires_grad
                pickle.bool(false)?;
                // torch.contiguous_format
                pickle.global(MODULE, "_MEM_FORMAT_ENCODING")?;
                pickle.ints(&[0])?;
                pickle.reduce()?;
                // pin_memory
                pickle.bool(false)
            })
        })?;
        pickle.string("size")?;
        size(pickle, tensor.shape)?;
        pickle.string("chunks")?;
        pickle.list(|pickle| {
            tensor.chunks.iter().try_for_each(|chunk| {
                fields(pickle, MODULE, "ChunkStorageMetadata", |pickle| {
                    pickle.string("offsets")?;
                    size(pickle, &chunk.offsets)?;
                    pickle.string("sizes")?;
                    size(pickle, &chunk.shape)
                })
            })
        })
    })
}

fn place<W: Write>(
    pickle: &mut Pickle<W>,
    tensor: &Described<'_>,
    number: u64,
    chunk: &Chunk,
) -> io::Result<()> {
    fields(pickle, MODULE, "MetadataIndex", |pickle| {
        pickle.string("fqn")?;
        pickle.string(tensor.name)?;
        pickle.string("index")?;
        pickle.int(number)?;
        pickle.string("offset")?;
        size(pickle, &chunk.offsets)
    })?;
    fields(pickle, STORAGE_MODULE, "_StorageInfo", |pickle| {
        pickle.string("relative_path")?;
        pickle.string(&file_name(chunk.file))?;
        pickle.string("offset")?;
        pickle.int(chunk.start)?;
        pickle.string("length")?;
        pickle.int(chunk.bytes)
    })
}

/// An object that has these fields.
fn fields<W: Write>(
    pickle: &mut Pickle<W>,
    module: &str,
    class: &str,
    fields: impl FnOnce(&mut Pickle<W>) -> io::Result<()>,
) -> io::Result<()> {
    pickle.object(module, class, |pickle| pickle.dict(fields))
}

fn size<W: Write>(pickle: &mut Pickle<W>, size: &[u64]) -> io::Result<()> {
    pickle.global("torch", "Size")?;
    pickle.tuple(|pickle| pickle.ints(size))?;
    pickle.reduce()
}
