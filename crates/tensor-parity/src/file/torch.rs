//! Reads PyTorch's archives: those of `torch.save`, of TorchScript, and the `.ot` files of `tch`.
//!
//! The member `data.pkl` describes the tensors. The members `data/KEY` are their storages; they are
//! not compressed, so tensors borrow from the file. A TorchScript archive has the constants of its
//! code in `constants.pkl` and `constants/KEY`.

use super::archive::{Archive, Content};
use super::error::Problem;
use super::mapped_tensors::Members;
use super::members::{self, Origin};
use super::pickle::{self, Storage};
use std::collections::HashMap;
use std::ops::Range;

/// A zip archive that PyTorch wrote.
pub(super) struct TorchArchive<'a> {
    bytes: &'a [u8],
    members: HashMap<&'a str, &'a Result<Content, Problem>>,
    /// Whether it is a TorchScript module, as `.ot` files are.
    pub(super) is_script: bool,
}

/// The directory of all members, if it has the pickle that identifies an archive of PyTorch.
fn root<'a>(archive: &'a Archive<'_>) -> Option<&'a str> {
    let (root, _) = archive.members.first()?.name.split_once('/')?;
    let is_pickle = |name: &str| {
        name.strip_prefix(root)
            .is_some_and(|rest| rest == "/data.pkl")
    };
    archive
        .members
        .iter()
        .any(|member| is_pickle(&member.name))
        .then_some(root)
}

impl<'a> TorchArchive<'a> {
    /// `None` if PyTorch did not write the archive.
    pub(super) fn of(bytes: &'a [u8], archive: &'a Archive<'_>) -> Option<TorchArchive<'a>> {
        let root = root(archive)?;
        let members: HashMap<&str, _> = archive
            .members
            .iter()
            .filter_map(|member| {
                let name = member.name.strip_prefix(root)?.strip_prefix('/')?;
                Some((name, &member.content))
            })
            .collect();
        Some(TorchArchive {
            bytes,
            is_script: members.contains_key("constants.pkl"),
            members,
        })
    }

    /// The range of a member; `None` if there is none of this name.
    fn range(&self, name: &str) -> Option<Result<Range<usize>, Problem>> {
        let compressed = || {
            Problem::unsupported(
                "compressed, which PyTorch's archives never are",
                "save it again with torch.save",
            )
        };
        Some(match self.members.get(name)? {
            Ok(Content::Stored { range, .. }) => Ok(range.clone()),
            Ok(Content::Deflated { .. }) => Err(compressed()),
            Err(problem) => Err(problem.copied()),
        })
    }

    fn member(&self, name: &str) -> Result<Option<&'a [u8]>, Problem> {
        match self.range(name) {
            None => Ok(None),
            Some(Ok(range)) => Ok(Some(&self.bytes[range])),
            Some(Err(problem)) => Err(problem.within(name)),
        }
    }

    /// Reads the tensors in the order of the pickle. `alone` names a tensor that is the entire
    /// content.
    pub(super) fn read(&self, alone: &str) -> Result<Members, Problem> {
        if self
            .member("byteorder")?
            .is_some_and(|order| order != b"little")
        {
            return Err(Problem::unsupported(
                "big-endian",
                "save it on a little-endian machine",
            ));
        }
        let mut members = self.pickle("data.pkl", "data", "", alone)?;
        // tch writes an empty file, and modules without constants an empty tuple.
        if self.is_script
            && self
                .member("constants.pkl")?
                .is_some_and(|pickle| !pickle.is_empty())
        {
            // The name that the code of the module uses.
            let mut constants = self.pickle("constants.pkl", "constants", "CONSTANTS", alone)?;
            for entry in &mut constants.entries {
                entry.name = entry.name.replacen("CONSTANTS.", "CONSTANTS.c", 1);
            }
            members.extend(constants);
        }
        Ok(members.with_unique_names())
    }

    fn pickle(
        &self,
        name: &str,
        folder: &str,
        prefix: &str,
        alone: &str,
    ) -> Result<Members, Problem> {
        let pickle = pickle::read(self.pickle_bytes(name)?, name)?;
        members::read(
            &pickle,
            &Origin {
                alone,
                prefix,
                is_script: self.is_script,
                storage: &|storage| self.storage(folder, storage),
                reference: &|_| None,
            },
        )
    }

    /// The pickle of the saved object.
    pub(super) fn object(&self) -> Result<&'a [u8], Problem> {
        self.pickle_bytes("data.pkl")
    }

    fn pickle_bytes(&self, name: &str) -> Result<&'a [u8], Problem> {
        let bytes = self.member(name)?.unwrap_or_default();
        if bytes.len() > pickle::MAX_LENGTH {
            return Err(Problem::damaged(format!(
                "a pickle of {} bytes; the limit is {}",
                bytes.len(),
                pickle::MAX_LENGTH
            )));
        }
        Ok(bytes)
    }

    fn storage(&self, folder: &str, storage: &Storage<'_>) -> Result<Range<usize>, Problem> {
        let key = &storage.key;
        let range = self.range(&format!("{folder}/{key}")).unwrap_or_else(|| {
            Err(Problem::damaged(format!(
                "its storage {folder}/{key} is not in the archive"
            )))
        })?;
        storage.check_length(range.len(), &format!("{folder}/{key}"))?;
        Ok(range)
    }
}
