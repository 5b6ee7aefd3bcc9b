//! The formats that can be read.

use std::fmt;

/// The format of a tensor file, found from its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// An index of shards: `*.safetensors.index.json`.
    Index,
    /// A numpy array.
    Npy,
    /// A zip archive of numpy arrays.
    Npz,
    /// A zip archive that `torch.save` wrote.
    TorchSave,
    /// What `torch.save` wrote before PyTorch 1.6, without an archive.
    LegacyTorchSave,
    /// A TorchScript archive; the `.ot` files that tch writes are such archives.
    TorchScript,
    /// A directory of tensor files.
    Directory,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Safetensors => "safetensors",
            Format::Index => "index",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::TorchSave => "torch.save",
            Format::LegacyTorchSave => "legacy torch.save",
            Format::TorchScript => "TorchScript",
            Format::Directory => "directory",
        })
    }
}
