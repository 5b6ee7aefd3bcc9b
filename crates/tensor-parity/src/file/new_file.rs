//! Atomic replacement of files.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that appears under its path only once it is complete.
///
/// It is written under a temporary name in the same directory and renamed at the end. If it is
/// dropped before [`finish`](Self::finish), what was written is deleted, and a file that existed at
/// the path stays as it was.
///
/// ```
/// use std::io::Write as _;
/// use tensor_parity::file::NewFile;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state.bin");
/// std::fs::write(&path, "old")?;
/// let mut file = NewFile::create(&path)?;
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
    /// Creates a temporary file in the directory of `path`, with the permissions of any new file.
    ///
    /// # Errors
    ///
    /// If the directory does not exist or is not writable, or if `path` exists and is not a regular
    /// file.
    pub fn create(path: impl AsRef<Path>) -> io::Result<NewFile> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("not the path of a file"))?;
        // Renaming would replace a device by a regular file.
        if path.exists() && !path.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // A missing directory is reported without the name of the temporary file.
        std::fs::metadata(folder)?;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // The umask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(NewFile {
            file: builder.tempfile_in(folder)?,
            path: path.to_owned(),
        })
    }

    /// Renames the file to its path, replacing an existing file, and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// If the data cannot be written to the disk, or the file cannot be renamed.
    pub fn finish(self) -> io::Result<u64> {
        let bytes = self.sync()?;
        self.file.persist(&self.path).map_err(|error| error.error)?;
        Ok(bytes)
    }

    /// As [`finish`](Self::finish), but does not wait for the disk, as copying a file does not: if the power fails within
    /// the next seconds, the file can be lost. Errors that a file system reports late (NFS, when a file is closed) are
    /// still found before the file is renamed.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    ///
    /// ```
    /// use std::io::Write as _;
    /// use tensor_parity::file::NewFile;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("state.bin");
    /// let mut file = NewFile::create(&path)?;
    /// file.write_all(b"1234")?;
    /// assert_eq!(file.finish_unsynced()?, 4);
    /// assert_eq!(std::fs::read(&path)?, b"1234");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish_unsynced(self) -> io::Result<u64> {
        let bytes = self.file.as_file().metadata()?.len();
        let (file, temporary) = self.file.into_parts();
        close(file)?;
        temporary.persist(&self.path).map_err(|error| error.error)?;
        Ok(bytes)
    }

    /// As [`finish`](Self::finish), but never replaces an existing file.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is a file at the path, also one that another process
    /// has put there since; otherwise as [`finish`](Self::finish).
    ///
    /// ```
    /// use tensor_parity::file::NewFile;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("manifest.json");
    /// let (first, second) = (NewFile::create(&path)?, NewFile::create(&path)?);
    /// assert!(first.finish_new().is_ok());
    /// assert!(second.finish_new().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn finish_new(self) -> io::Result<u64> {
        let bytes = self.sync()?;
        let persisted = self.file.persist_noclobber(&self.path);
        persisted.map_err(|error| error.error)?;
        Ok(bytes)
    }

    /// Writes the data to the disk and returns its size.
    fn sync(&self) -> io::Result<u64> {
        self.file.as_file().sync_all()?;
        Ok(self.file.as_file().metadata()?.len())
    }
}

/// Closes a file and returns the error that dropping it ignores.
#[cfg(unix)]
fn close(file: File) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the file gave up its descriptor, which nothing uses after.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where closing a file tells nothing, the data are written to the disk first.
#[cfg(not(unix))]
fn close(file: File) -> io::Result<()> {
    file.sync_all()
}

impl Write for NewFile {
    // The error does not name the temporary file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}
