//! Files that take the place of others.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that gets its name once it is whole: whatever happens before, a file that was there stays
/// as it was, and what was written so far goes.
///
/// ```
/// use std::io::Write as _;
/// use tensor_parity::file::NewFile;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state.bin");
/// std::fs::write(&path, "old")?;
/// let mut file = NewFile::beside(&path)?;
/// file.write_all(b"newer")?;
/// assert_eq!(std::fs::read(&path)?, b"old");
/// assert_eq!(file.finish()?, 5);
/// assert_eq!(std::fs::read(&path)?, b"newer");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file that will be `path`, with the permissions of any new file. It lies in the same
    /// folder, so that it can be renamed.
    ///
    /// # Errors
    ///
    /// If the folder is missing or nothing can be written there, or if `path` is a folder, a device or
    /// anything else but a file.
    pub fn beside(path: impl AsRef<Path>) -> io::Result<NewFile> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("it names no file"))?;
        // A rename would put a file in the place of a device.
        if path.exists() && !path.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // The user's mask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(NewFile {
            file: builder.tempfile_in(folder.unwrap_or(Path::new(".")))?,
            path: path.to_owned(),
        })
    }

    /// Gives the file its name, and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// If what was written cannot reach the disk, or the file cannot be renamed.
    pub fn finish(self) -> io::Result<u64> {
        self.file.as_file().sync_all()?;
        let bytes = self.file.as_file().metadata()?.len();
        self.file.persist(&self.path).map_err(|error| error.error)?;
        Ok(bytes)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
