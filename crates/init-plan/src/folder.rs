//! A folder of files that processes make together without talking to each other.
//!
//! All write under `FOLDER.partial`: a manifest, which the first creates and the others compare with theirs; each file
//! under a temporary name, then renamed, then its SHA-256 beside it, which says that the file is whole. A process that
//! sees all files whole writes the sums, and renames the folder.

use crate::error::PlanError;
use crate::files::Shard;
use crate::hexadecimal::hexadecimal;
use crate::manifest::{MANIFEST, Manifest};
use crate::part::Part;
use crate::plan::InitPlan;
use crate::save::Save;
use crate::scout::{SCOUT, Scout};
use crate::stream::Stream;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tensor_parity::file::NewFile;

/// Why the files of a folder cannot be made or assembled. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The plan cannot be materialized, or a file not be written.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The operating system refused.
    #[error("{}: cannot be {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another run makes other files of this name.
    #[error(
        "{}: {key} of the files there is {there}, and here it is {here}; choose another folder, or delete that one", path.display()
    )]
    OtherRun {
        /// The manifest of the other run.
        path: PathBuf,
        /// What differs.
        key: String,
        /// Its value there.
        there: String,
        /// Its value here.
        here: String,
    },
    /// A file is not a manifest.
    #[error("{}: not a manifest of tch-init: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Files are missing, or were not written to their end.
    #[error(
        "{}: {missing} of {count} files are missing or not whole, the first is {first}; run the command that makes them again", path.display()
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The number of files that are missing.
        missing: usize,
        /// The number of files.
        count: usize,
        /// The first that is missing.
        first: String,
    },
    /// The folder does not have its final name yet.
    #[error("{}: not complete; `tch-init assemble` completes it, or says what is missing", path.display())]
    NotComplete {
        /// The folder while it is made.
        path: PathBuf,
    },
    /// The folder has content that is not of this run.
    #[error("{}: exists, and is not empty; choose another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

/// What became of a file or of the folder, for a report of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FolderEvent<'a> {
    /// The file is about to be made.
    Start(&'a Shard),
    /// The file has been made.
    Made(&'a Shard),
    /// The file had been made before.
    Present(&'a Shard),
}

/// Whether a folder is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assembled {
    /// The number of files of tensors, and their index.
    pub files: usize,
    /// How many of them are not there yet; 0 if the folder has its name.
    pub missing: usize,
    /// The bytes of all tensors.
    pub bytes: u64,
}

/// The name of the file of sums.
pub(crate) const SUMS: &str = "SHA256SUMS";

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io {
        path,
        action,
        source,
    }
}

/// The folder while it is made.
pub(crate) fn partial(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// The file that says that another one is whole, and has its SHA-256.
fn sum_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// A file whose content is hashed on its way.
struct Hashed {
    file: NewFile,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl InitPlan {
    /// Makes the files of a folder that are this part's, in the [layout](Save::layout), and completes the folder if all
    /// others are there: `SHA256SUMS`, and its name, until which it is `FOLDER.partial`.
    ///
    /// The bytes of the files do not depend on the parts. Files that are there and whole are not made again, so that
    /// the same call resumes a run that was stopped, with any number of parts. Each file is the work of one part: more
    /// parts than [`shards`](Self::shards) do not help. The generator is not moved.
    ///
    /// # Errors
    ///
    /// [`FolderError::OtherRun`] if the folder is that of another plan, seed or [`Save`];
    /// [`FolderError::Exists`] if it has other content; and as [`save`](Self::save).
    ///
    /// ```
    /// use init_plan::{Part, PlanBuilder, Save};
    /// use tensor_parity::Dtype;
    /// use torch_rng::{Mt19937, Uniform};
    ///
    /// let mut plan = PlanBuilder::new();
    /// for name in ["a", "b"] {
    ///     let tensor = plan.parameter(name, Dtype::Float32, &[300])?;
    ///     plan.draw(tensor, Uniform { from: 0.0, to: 1.0 })?;
    /// }
    /// let plan = plan.finish("two vectors")?;
    /// # let directory = tempfile::tempdir()?;
    /// # let folder = directory.path().join("start");
    /// let save = Save::default().max_shard_size(1500);
    /// // In two processes.
    /// for rank in 0..2 {
    ///     let part = Part::new(rank, 2)?;
    ///     plan.save_part(&folder, &Mt19937::new(1), save, part, |_| true, |_| ())?;
    /// }
    /// assert!(folder.join("model-00002-of-00002.safetensors").is_file());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_part<S: Stream>(
        &self,
        folder: impl AsRef<Path>,
        generator: &S,
        save: Save,
        part: Part,
        wanted: impl FnMut(&str) -> bool,
        mut progress: impl FnMut(FolderEvent<'_>),
    ) -> Result<Assembled, FolderError> {
        let folder = folder.as_ref();
        let metadata = self.metadata(generator)?;
        let files = self.files(save, wanted)?;
        let manifest = Manifest::new(&files, &metadata, generator.kernels(), save);
        if let Some(assembled) = finished(folder, Some(&manifest))? {
            (0..files.count()).for_each(|file| progress(FolderEvent::Present(&files.shard(file))));
            return Ok(assembled);
        }
        let partial = partial(folder);
        match fs::create_dir(&partial) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io("created", &partial)(error));
            }
            _ => {}
        }
        let created = create(&manifest, &partial.join(MANIFEST));
        if let Some(assembled) = finished(folder, Some(&manifest))? {
            // The others have completed it since, and this one made it once more.
            if created.is_ok() {
                discard(&partial)?;
            }
            return Ok(assembled);
        }
        created?;
        let sizes: Vec<u64> = manifest.files.iter().map(|(_, bytes)| *bytes).collect();
        let mut places = self.places(generator)?;
        let share = part.share(&sizes);
        let is_missing = |i: &usize| !is_whole(&partial.join(files.file_name(*i)));
        if share.iter().any(is_missing) {
            let scout = Scout::open(&partial, part, &metadata);
            places.scout(scout, &files.roots())?;
        }
        for i in share {
            let shard = files.shard(i);
            let path = partial.join(&shard.file);
            if is_whole(&path) {
                progress(FolderEvent::Present(&shard));
                continue;
            }
            remove_temporaries(&partial, &format!(".{}.", shard.file))?;
            progress(FolderEvent::Start(&shard));
            let failed = |source| PlanError::Write {
                path: path.clone(),
                source,
            };
            let mut file = Hashed {
                file: NewFile::create(&path).map_err(failed)?,
                hash: Sha256::new(),
                bytes: 0,
            };
            let written = files.write(i, &mut places, &metadata, &mut file);
            written.map_err(|error| error.at(&path))?;
            let sum = hexadecimal(&file.hash.finalize());
            file.file.finish().map_err(failed)?;
            write_file(
                &sum_path(&path),
                format!("{sum} {}\n", file.bytes).as_bytes(),
            )?;
            progress(FolderEvent::Made(&shard));
        }
        complete(folder, &manifest)
    }
}

/// Completes a folder whose files are all there and whole: writes the sums, and gives it its name. Does nothing if it
/// has it.
///
/// # Errors
///
/// [`FolderError::Incomplete`] names a file that is missing; [`FolderError::Manifest`] and [`FolderError::Io`] if the
/// folder is not one that [`InitPlan::save_part`] makes.
pub fn assemble(folder: impl AsRef<Path>) -> Result<Assembled, FolderError> {
    let folder = folder.as_ref();
    if folder.join(MANIFEST).is_file()
        && let Some(assembled) = finished(folder, None)?
    {
        return Ok(assembled);
    }
    let partial = partial(folder);
    let manifest = Manifest::read(&partial.join(MANIFEST))?;
    let missing = missing(&partial, &manifest);
    match missing.first() {
        None => complete(folder, &manifest),
        Some(first) => Err(FolderError::Incomplete {
            path: partial,
            missing: missing.len(),
            count: manifest.files.len(),
            first: (*first).to_owned(),
        }),
    }
}

/// The result for a folder that has its name; `None` if there is none, or it is empty.
fn finished(folder: &Path, expected: Option<&Manifest>) -> Result<Option<Assembled>, FolderError> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        let mut entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", folder)(error)),
        };
        return match entries.next() {
            None => Ok(None),
            Some(_) => Err(FolderError::Exists {
                path: folder.to_owned(),
            }),
        };
    }
    let manifest = Manifest::read(&path)?;
    if let Some(expected) = expected {
        expected.check(&manifest, &path)?;
    }
    let files = manifest.files.iter().enumerate();
    let absent = files.filter(|(i, (file, _))| {
        let expected = manifest.sizes.as_ref().map(|sizes| sizes[*i]);
        let is_there = fs::metadata(folder.join(file))
            .is_ok_and(|found| found.is_file() && expected.is_none_or(|size| size == found.len()));
        !is_there
    });
    let absent: Vec<&str> = absent.map(|(_, (file, _))| file.as_str()).collect();
    match absent.first() {
        None => {
            tidy(folder, &manifest)?;
            Ok(Some(assembled(&manifest, 0)))
        }
        Some(first) => Err(FolderError::Incomplete {
            path: folder.to_owned(),
            missing: absent.len(),
            count: manifest.files.len(),
            first: (*first).to_owned(),
        }),
    }
}

fn assembled(manifest: &Manifest, missing: usize) -> Assembled {
    Assembled {
        files: manifest.files.len(),
        missing,
        bytes: manifest.files.iter().map(|(_, bytes)| bytes).sum(),
    }
}

/// Removes a folder that has nothing but a manifest.
fn discard(partial: &Path) -> Result<(), FolderError> {
    remove(&partial.join(MANIFEST))?;
    match fs::remove_dir(partial) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io("removed", partial)(error))
        }
        // Another process is doing the same.
        _ => Ok(()),
    }
}

/// Creates the manifest, or compares it with that of whoever was first.
fn create(manifest: &Manifest, path: &Path) -> Result<(), FolderError> {
    let mut file = NewFile::create(path).map_err(io("created", path))?;
    let text = manifest.text().map_err(io("written", path))?;
    file.write_all(&text).map_err(io("written", path))?;
    match file.finish_new() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            manifest.check(&Manifest::read(path)?, path)
        }
        Err(error) => Err(io("created", path)(error)),
    }
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let mut file = NewFile::create(path).map_err(io("created", path))?;
    file.write_all(content).map_err(io("written", path))?;
    file.finish().map(drop).map_err(io("written", path))
}

/// The sum and size of a whole file, as they were written when it was.
fn sum(path: &Path) -> Option<(String, u64)> {
    let text = fs::read_to_string(sum_path(path)).ok()?;
    let (sum, bytes) = text.strip_suffix('\n')?.split_once(' ')?;
    let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((sum.to_owned(), bytes.parse().ok()?)).filter(|_| is_sum)
}

fn is_whole(path: &Path) -> bool {
    let size = fs::metadata(path).map(|metadata| metadata.len()).ok();
    sum(path).is_some_and(|(_, bytes)| size == Some(bytes))
}

fn missing<'a>(partial: &Path, manifest: &'a Manifest) -> Vec<&'a str> {
    let files = manifest.files.iter().map(|(file, _)| file.as_str());
    files
        .filter(|file| !is_whole(&partial.join(file)))
        .collect()
}

/// Removes what a process that was killed has left.
fn remove_temporaries(folder: &Path, prefix: &str) -> Result<(), FolderError> {
    for entry in fs::read_dir(folder).map_err(io("read", folder))? {
        let path = entry.map_err(io("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(".tmp") {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, which another process may have removed.
fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("removed", path)(error)),
        _ => Ok(()),
    }
}

/// Completes the folder if all files are whole.
fn complete(folder: &Path, manifest: &Manifest) -> Result<Assembled, FolderError> {
    let partial = partial(folder);
    let missing = missing(&partial, manifest).len();
    if missing > 0 {
        // Another process may have completed it since.
        let done = folder.join(MANIFEST).is_file();
        return Ok(assembled(manifest, if done { 0 } else { missing }));
    }
    match rename(folder, &partial, manifest) {
        Ok(()) => {}
        // Another process has, at the same time.
        Err(_) if folder.join(MANIFEST).is_file() => return Ok(assembled(manifest, 0)),
        Err(error) => return Err(error),
    }
    tidy(folder, manifest)?;
    Ok(assembled(manifest, 0))
}

/// Removes from a complete folder what was needed to make it, and what processes that were killed have left.
fn tidy(folder: &Path, manifest: &Manifest) -> Result<(), FolderError> {
    remove_temporaries(folder, ".")?;
    let scout = folder.join(SCOUT);
    // Nothing is removed from a folder of another user.
    if scout.exists() {
        remove(&scout)?;
    }
    for (file, _) in &manifest.files {
        let sum = sum_path(&folder.join(file));
        if sum.exists() {
            remove(&sum)?;
        }
    }
    Ok(())
}

fn rename(folder: &Path, partial: &Path, manifest: &Manifest) -> Result<(), FolderError> {
    let (mut sums, mut sizes) = (BTreeMap::new(), Vec::new());
    for (file, _) in &manifest.files {
        let path = partial.join(file);
        let gone = || io("read", &sum_path(&path))(io::ErrorKind::NotFound.into());
        let (sum, bytes) = sum(&path).ok_or_else(gone)?;
        sums.insert(file.as_str(), sum);
        sizes.push(bytes);
    }
    let complete = Manifest {
        sizes: Some(sizes),
        ..manifest.clone()
    };
    let path = partial.join(MANIFEST);
    let text = complete.text().map_err(io("written", &path))?;
    write_file(&path, &text)?;
    let lines = sums.iter().map(|(file, sum)| format!("{sum}  {file}\n"));
    write_file(&partial.join(SUMS), lines.collect::<String>().as_bytes())?;
    remove(&partial.join(SCOUT))?;
    sync(partial)?;
    fs::rename(partial, folder).map_err(io("renamed", partial))?;
    sync(
        folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )
}

/// Writes the entries of a folder to the disk.
fn sync(folder: &Path) -> Result<(), FolderError> {
    let opened = File::open(folder).and_then(|folder| folder.sync_all());
    opened.map_err(io("written", folder))
}
