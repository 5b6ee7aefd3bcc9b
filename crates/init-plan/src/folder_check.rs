//! Compares the files of a folder with what the plan makes of them.

use crate::folder::{FolderError, SUMS, io, partial};
use crate::hexadecimal::hexadecimal;
use crate::layout::Layout;
use crate::manifest::{MANIFEST, Manifest, is_name};
use crate::piece::Piece;
use crate::places::Places;
use crate::plan::InitPlan;
use crate::section::Section;
use crate::stream::Stream;
use crate::write::bytes_mut;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// What is wrong with a file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FolderProblem {
    /// The plan and the manifest's options give other files.
    #[error("the manifest has {key} {there}, and here it is {here}")]
    OtherRun {
        /// What differs.
        key: String,
        /// Its value in the manifest.
        there: String,
        /// Its value here.
        here: String,
    },
    /// The file is not there.
    #[error("{file}: missing")]
    Missing {
        /// The name of the file.
        file: String,
    },
    /// The file is shorter or longer.
    #[error("{file}: expected {expected} bytes, found {found}")]
    Size {
        /// The name of the file.
        file: String,
        /// The size that it has if it is whole.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// What the file says of its tensors differs.
    #[error("{file}: byte {byte} of what describes its tensors differs")]
    Header {
        /// The name of the file.
        file: String,
        /// The first byte that differs.
        byte: u64,
    },
    /// An element differs.
    #[error("{file}: {name}: element {element} differs")]
    Element {
        /// The name of the file.
        file: String,
        /// The name of the tensor.
        name: String,
        /// The number of the element of the whole tensor, in row-major order.
        element: u64,
    },
    /// The SHA-256 differs.
    #[error("{file}: another SHA-256 than in SHA256SUMS")]
    Sum {
        /// The name of the file.
        file: String,
    },
    /// A file that is not of this run, which readers that take every file would read.
    #[error("{file}: not a file of this run, and readers may take it for one")]
    Unexpected {
        /// The name of the file.
        file: String,
    },
}

/// What [`InitPlan::check_folder`] compared, and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderCheck {
    /// What the files are.
    pub layout: Layout,
    /// The number of files.
    pub files: usize,
    /// The number of tensors.
    pub tensors: usize,
    /// The chunks of 1,024 elements.
    pub chunks: u64,
    /// How many of them were drawn again.
    pub samples: u64,
    /// What is wrong.
    pub problems: Vec<FolderProblem>,
}

/// The elements of a chunk.
const CHUNK: u64 = 1024;

impl InitPlan {
    /// Compares the files of a folder that [`save_part`](Self::save_part) has made with what this plan makes from this
    /// generator: all sizes, all bytes that describe tensors, and samples of the elements. What a file has of a tensor is cut
    /// into chunks of 1,024 elements; `samples` of them, or all, are drawn again, at equal distances through all files. Any
    /// layout; `None` for a folder without a manifest. The memory that it takes does not depend on the files' size.
    ///
    /// # Errors
    ///
    /// [`FolderError::NotComplete`] for a folder that is not assembled yet; [`FolderError::Io`] if a file cannot be
    /// read; and as [`materialize`](Self::materialize).
    ///
    /// ```
    /// use init_plan::{Layout, Part, PlanBuilder, Save};
    /// use tensor_parity::Dtype;
    /// use torch_rng::{Mt19937, Uniform};
    ///
    /// let mut plan = PlanBuilder::new();
    /// let weight = plan.parameter("weight", Dtype::Float32, &[300, 20])?;
    /// plan.draw(weight, Uniform { from: 0.0, to: 1.0 })?;
    /// let plan = plan.finish("a matrix")?;
    /// # let directory = tempfile::tempdir()?;
    /// # let folder = directory.path().join("start");
    /// let save = Save::default().layout(Layout::Dcp { shards: None });
    /// plan.save_part(&folder, &Mt19937::new(1), save, Part::WHOLE, |_| true, |_| ())?;
    /// let found = plan.check_folder(&folder, &Mt19937::new(1), 10)?;
    /// assert!(found.is_some_and(|found| found.problems.is_empty()));
    /// // Another seed than the manifest has, and six chunks.
    /// let found = plan.check_folder(&folder, &Mt19937::new(2), 10)?;
    /// assert!(found.is_some_and(|found| found.problems.len() == 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_folder<S: Stream>(
        &self,
        folder: impl AsRef<Path>,
        generator: &S,
        samples: u32,
    ) -> Result<Option<FolderCheck>, FolderError> {
        let folder = folder.as_ref();
        let path = folder.join(MANIFEST);
        if !path.is_file() {
            return match partial(folder).join(MANIFEST).is_file() {
                true => Err(FolderError::NotComplete {
                    path: partial(folder),
                }),
                false => Ok(None),
            };
        }
        let manifest = Manifest::read(&path)?;
        let save = manifest.save(&path)?;
        let chosen = manifest.names.as_ref();
        let chosen: Option<BTreeSet<&str>> =
            chosen.map(|names| names.iter().map(String::as_str).collect());
        let wanted = |name: &str| chosen.as_ref().is_none_or(|names| names.contains(name));
        let files = self.files(save, wanted)?;
        let metadata = self.metadata(generator)?;
        let here = Manifest::new(&files, &metadata, generator.kernels(), save);
        let mut check = FolderCheck {
            layout: save.layout,
            files: files.count(),
            tensors: files.tensors(),
            chunks: 0,
            samples: 0,
            problems: unexpected(folder, &manifest)?,
        };
        let is_same = here.files == manifest.files && here.names == manifest.names;
        if is_same {
            let all = (0..files.count()).flat_map(|file| files.pieces(file));
            check.chunks = all.map(|piece| chunks(&piece)).sum();
            let mut checking = Checking {
                places: self.places(generator)?,
                samples: Samples::new(check.chunks, samples),
                check: &mut check,
            };
            for (file, (name, _)) in manifest.files.iter().enumerate() {
                let sections = files.sections(file, &manifest.metadata);
                let sections = sections.map_err(io("described", &folder.join(name)))?;
                checking.file(folder, name, &sections)?;
            }
        }
        // Another plan or version may make the same bytes.
        if let Some((key, there, here)) = here.other(&manifest)
            && !(is_same && check.problems.is_empty())
        {
            let other = FolderProblem::OtherRun { key, there, here };
            check.problems.insert(0, other);
        }
        Ok(Some(check))
    }
}

/// Files of the formats of the layouts that are not in the manifest.
fn unexpected(folder: &Path, manifest: &Manifest) -> Result<Vec<FolderProblem>, FolderError> {
    let known = manifest.files.iter().map(|(file, _)| file.as_str());
    let known: BTreeSet<&str> = known.collect();
    let mut unexpected = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(io("read", folder))? {
        let file = entry.map_err(io("read", folder))?.file_name();
        let file = file.to_string_lossy();
        let is_read = [".safetensors", ".distcp"]
            .iter()
            .any(|end| file.ends_with(end));
        if is_read && !known.contains(&*file) {
            unexpected.insert(file.into_owned());
        }
    }
    let problem = |file| FolderProblem::Unexpected { file };
    Ok(unexpected.into_iter().map(problem).collect())
}

/// Which chunks of all pieces are drawn again: some at equal distances.
struct Samples {
    /// The number of all chunks, and of samples.
    total: u64,
    count: u64,
    /// The number of the next sample.
    next: u64,
    /// The chunks that have been passed.
    passed: u64,
}

impl Samples {
    fn new(total: u64, count: u32) -> Samples {
        Samples {
            total,
            count: total.min(count.into()),
            next: 0,
            passed: 0,
        }
    }

    /// Those of the next chunks.
    fn pass(&mut self, chunks: u64) -> Vec<u64> {
        let (begin, end) = (self.passed, self.passed + chunks);
        self.passed = end;
        let mut samples = Vec::new();
        while self.next < self.count {
            let middle = (2 * u128::from(self.next) + 1) * u128::from(self.total);
            let chunk = (middle / (2 * u128::from(self.count))) as u64;
            if chunk >= end {
                break;
            }
            samples.push(chunk - begin);
            self.next += 1;
        }
        samples
    }
}

/// The chunks of a piece.
fn chunks(piece: &Piece<'_>) -> u64 {
    piece.numel().div_ceil(CHUNK)
}

struct Checking<'c, 'p, S: Stream> {
    places: Places<'p, S>,
    samples: Samples,
    check: &'c mut FolderCheck,
}

impl<S: Stream> Checking<'_, '_, S> {
    /// Compares a file with its parts.
    fn file(
        &mut self,
        folder: &Path,
        name: &str,
        sections: &[Section<'_>],
    ) -> Result<(), FolderError> {
        let path = folder.join(name);
        let expected = sections.iter().map(Section::bytes).sum();
        let problem = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(FolderProblem::Missing {
                file: name.to_owned(),
            }),
            Err(error) => return Err(io("read", &path)(error)),
            Ok(found) if found.len() != expected => Some(FolderProblem::Size {
                file: name.to_owned(),
                expected,
                found: found.len(),
            }),
            Ok(_) => None,
        };
        if let Some(problem) = problem {
            self.check.problems.push(problem);
            let pieces = sections.iter().filter_map(Section::piece);
            // These samples cannot be compared.
            self.samples.pass(pieces.map(chunks).sum());
            return Ok(());
        }
        let mut reading = Reading {
            file: File::open(&path).map_err(io("read", &path))?,
            path: &path,
            name,
        };
        let mut at = 0;
        for section in sections {
            let (head, piece) = match section {
                Section::Header(bytes) => (&**bytes, None),
                Section::Elements(piece) => (&[][..], Some(piece)),
                Section::Archive(archive, piece) => (archive.head(), Some(piece)),
            };
            self.described(&mut reading, at, head)?;
            if let Some(piece) = piece {
                self.elements(&mut reading, at + head.len() as u64, piece)?;
            }
            let end = at + section.bytes();
            if let Section::Archive(archive, _) = section {
                let length = archive.tail(0).len() as u64;
                let mut crc = [0; 4];
                // Its first number is the checksum of all elements.
                reading.at(end - length + 4, &mut crc)?;
                let tail = archive.tail(u32::from_le_bytes(crc));
                self.described(&mut reading, end - length, &tail)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Compares what is not elements.
    fn described(
        &mut self,
        reading: &mut Reading<'_>,
        at: u64,
        expected: &[u8],
    ) -> Result<(), FolderError> {
        let mut found = vec![0; expected.len()];
        reading.at(at, &mut found)?;
        if let Some(byte) = difference(expected, &found) {
            self.check.problems.push(FolderProblem::Header {
                file: reading.name.to_owned(),
                byte: at + byte as u64,
            });
        }
        Ok(())
    }

    /// Compares the samples of a piece.
    fn elements(
        &mut self,
        reading: &mut Reading<'_>,
        at: u64,
        piece: &Piece<'_>,
    ) -> Result<(), FolderError> {
        let size = piece.dtype.size();
        for chunk in self.samples.pass(chunks(piece)) {
            let start = chunk * CHUNK;
            let numel = CHUNK.min(piece.numel() - start);
            // Aligned for elements of any dtype.
            let mut made = vec![[0u64; 2]; (numel as usize * size).div_ceil(16)];
            let made = bytes_mut(&mut made, numel as usize * size);
            let first = piece.start + start;
            let range = first..first + numel;
            self.places.fill(piece.name, range, piece.dtype, made)?;
            let mut found = vec![0; made.len()];
            reading.at(at + start * size as u64, &mut found)?;
            self.check.samples += 1;
            if let Some(byte) = difference(made, &found) {
                self.check.problems.push(FolderProblem::Element {
                    file: reading.name.to_owned(),
                    name: piece.name.to_owned(),
                    element: first + (byte / size) as u64,
                });
            }
        }
        Ok(())
    }
}

/// The first byte that differs.
fn difference(expected: &[u8], found: &[u8]) -> Option<usize> {
    let mut pairs = expected.iter().zip(found);
    pairs.position(|(expected, found)| expected != found)
}

struct Reading<'a> {
    file: File,
    path: &'a Path,
    name: &'a str,
}

impl Reading<'_> {
    fn at(&mut self, start: u64, bytes: &mut [u8]) -> Result<(), FolderError> {
        let read = self.file.seek(SeekFrom::Start(start));
        let read = read.and_then(|_| self.file.read_exact(bytes));
        read.map_err(io("read", self.path))
    }
}

/// Reads all files of a folder that [`InitPlan::save_part`] has made, and returns those that are missing or have another
/// SHA-256 than its `SHA256SUMS` says.
///
/// # Errors
///
/// [`FolderError::Io`] if `SHA256SUMS` or a file cannot be read; [`FolderError::Manifest`] if it is none.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let folder = directory.path();
/// # std::fs::write(folder.join("SHA256SUMS"), format!("{:064}  model.safetensors\n", 0))?;
/// std::fs::write(folder.join("model.safetensors"), "damaged")?;
/// assert_eq!(init_plan::check_sums(folder)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_sums(folder: impl AsRef<Path>) -> Result<Vec<FolderProblem>, FolderError> {
    let folder = folder.as_ref();
    let path = folder.join(SUMS);
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    let mut problems = Vec::new();
    for line in text.lines() {
        let entry = line.split_once("  ").filter(|(_, file)| is_name(file));
        let (expected, file) = entry.ok_or_else(|| FolderError::Manifest {
            path: path.clone(),
            problem: format!("unexpected line {line:?}"),
        })?;
        let file = file.to_owned();
        match sum(&folder.join(&file))? {
            None => problems.push(FolderProblem::Missing { file }),
            Some(sum) if sum != expected => problems.push(FolderProblem::Sum { file }),
            Some(_) => {}
        }
    }
    Ok(problems)
}

/// The SHA-256 of a file; `None` if there is none.
fn sum(path: &Path) -> Result<Option<String>, FolderError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io("read", path))?,
    };
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(io("read", path))?;
    Ok(Some(hexadecimal(&hash.finalize())))
}
