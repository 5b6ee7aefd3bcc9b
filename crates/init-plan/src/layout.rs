//! The layouts that the files of a folder may have.

use std::num::NonZero;

/// What the files of a folder are, and who reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// Safetensors files of whole tensors and their index, as transformers and huggingface_hub have them.
    Hf,
    /// Safetensors files of rows, as `HuggingFaceStorageWriter` of torch.distributed.checkpoint writes them from as many
    /// processes of FSDP2: each tensor is cut along dimension 0, as `torch.chunk` cuts it, and where that has fewer rows
    /// than there are files, along dimension 1 too. Tied weights are there under all of their names.
    Rows {
        /// The number of files.
        shards: NonZero<u32>,
    },
    /// The files of torch.distributed.checkpoint (`.metadata` and `*.distcp`), with tied weights under all of their
    /// names, and their bytes once.
    Dcp {
        /// The number of files, each of which has rows as in [`Rows`](Self::Rows); `None` for whole tensors, by
        /// [`Save::max_shard_size`](crate::Save::max_shard_size).
        shards: Option<NonZero<u32>>,
    },
}

impl Layout {
    /// The name of the layout.
    ///
    /// ```
    /// assert_eq!(init_plan::Layout::Hf.name(), "hf");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Layout::Hf => "hf",
            Layout::Rows { .. } => "rows",
            Layout::Dcp { .. } => "dcp",
        }
    }

    /// The number of files, unless it follows from their size.
    ///
    /// ```
    /// # use init_plan::Layout;
    /// assert_eq!(Layout::Dcp { shards: None }.shards(), None);
    /// ```
    pub fn shards(self) -> Option<NonZero<u32>> {
        match self {
            Layout::Hf => None,
            Layout::Rows { shards } => Some(shards),
            Layout::Dcp { shards } => shards,
        }
    }
}
