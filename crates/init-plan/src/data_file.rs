//! The file of tensors beside a plan, for data that is neither drawn nor computed.

use crate::error::DataError;
use crate::hexadecimal::hexadecimal;
use crate::stored_dtype::stored;
use crate::view::View;
use safetensors::tensor::TensorInfo;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tensor_parity::Dtype;
use tensor_parity::file::{NewFile, TensorFile};

/// A safetensors file that a plan names. It is opened, and compared with its hash, when a step first
/// needs it.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// A name without a folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
    /// The folder of the plan; `None` for a plan that was read from memory.
    pub(crate) folder: Option<PathBuf>,
    /// The content of the file of a plan that was built in memory.
    content: Option<Arc<Vec<u8>>>,
    opened: Arc<OnceLock<TensorFile>>,
}

/// Two plans are equal if they name the same content, wherever it lies.
impl PartialEq for DataFile {
    fn eq(&self, other: &DataFile) -> bool {
        (&self.name, self.bytes, &self.sha256) == (&other.name, other.bytes, &other.sha256)
    }
}

impl DataFile {
    /// A file of this name, or what is wrong with the row.
    pub(crate) fn new(name: String, bytes: u64, sha256: String) -> Result<DataFile, String> {
        let parts = ['/', '\\', '\0'];
        let is_folder = matches!(name.as_str(), "" | "." | "..");
        if is_folder || name.len() > 255 || name.contains(parts) {
            let shown = crate::error::Shown(&name);
            return Err(format!("expected the name of a file, found {shown}"));
        }
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if sha256.len() != 64 || !sha256.chars().all(is_digit) {
            return Err("expected a SHA-256 of 64 lowercase hexadecimal digits".to_owned());
        }
        Ok(DataFile {
            name,
            bytes,
            sha256,
            folder: None,
            content: None,
            opened: Arc::default(),
        })
    }

    /// A file that exists only in memory.
    pub(crate) fn in_memory(content: Vec<u8>) -> DataFile {
        DataFile {
            name: "model.plan.safetensors".to_owned(),
            bytes: content.len() as u64,
            sha256: hexadecimal(&Sha256::digest(&content)),
            folder: None,
            content: Some(Arc::new(content)),
            opened: Arc::default(),
        }
    }

    /// Writes the content to the file of another name beside a plan, and returns what the plan names.
    pub(crate) fn copy_beside(&self, plan: &Path) -> Result<(DataFile, NewFile), CopyError> {
        let name = name_beside(plan);
        let path = plan.with_file_name(&name);
        let failed = |source| CopyError::Write(path.clone(), source);
        let mut file = NewFile::create(&path).map_err(failed)?;
        match &self.content {
            Some(content) => file.write_all(content).map_err(failed)?,
            None => {
                // Checks the hash.
                self.open().map_err(CopyError::Read)?;
                let source = File::open(self.path());
                let mut source = source.map_err(|error| CopyError::Read(DataError::Read(error)))?;
                io::copy(&mut source, &mut file).map_err(failed)?;
            }
        }
        let data = DataFile {
            name,
            ..self.clone()
        };
        Ok((data, file))
    }

    /// The file that this names in a folder.
    pub(crate) fn in_folder(self, folder: &Path) -> DataFile {
        DataFile {
            folder: Some(folder.to_owned()),
            ..self
        }
    }

    /// Where the file is expected.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(&self.name),
            None => PathBuf::from(&self.name),
        }
    }

    /// Opens the file and compares its size and hash, once.
    pub(crate) fn open(&self) -> Result<&TensorFile, DataError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        if let Some(content) = &self.content {
            let file = TensorFile::from_bytes(&self.name, content.to_vec())?;
            return Ok(self.opened.get_or_init(|| file));
        }
        if self.folder.is_none() {
            return Err(DataError::NoFolder);
        }
        let path = self.path();
        self.check(&path)?;
        let file = TensorFile::open(&path)?;
        Ok(self.opened.get_or_init(|| file))
    }

    fn check(&self, path: &Path) -> Result<(), DataError> {
        let metadata = fs::metadata(path).map_err(DataError::Read)?;
        // Opening a pipe would wait.
        if !metadata.is_file() {
            return Err(DataError::Read(io::Error::other("not a regular file")));
        }
        let mut file = File::open(path).map_err(DataError::Read)?;
        let found = metadata.len();
        if found != self.bytes {
            let expected = self.bytes;
            return Err(DataError::Size { found, expected });
        }
        let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut part).map_err(DataError::Read)? {
                0 => break,
                read => hash.update(&part[..read]),
            }
        }
        match hexadecimal(&hash.finalize()) == self.sha256 {
            true => Ok(()),
            false => Err(DataError::Hash),
        }
    }

    /// Copies the elements of a tensor of the file to a contiguous view of a storage.
    pub(crate) fn read(&self, tensor: &str, out: &View, bytes: &mut [u8]) -> Result<(), DataError> {
        let range = out.bytes();
        let target = bytes.get_mut(range.start as usize..range.end as usize);
        self.read_range(tensor, out, 0..out.numel(), target.unwrap_or_default())
    }

    /// Copies a range of the elements of a tensor of the file, which has the dtype and shape of a view.
    pub(crate) fn read_range(
        &self,
        tensor: &str,
        whole: &View,
        range: Range<u64>,
        target: &mut [u8],
    ) -> Result<(), DataError> {
        let invalid = |problem: String| DataError::Tensor {
            name: tensor.to_owned(),
            problem,
        };
        let file = self.open()?;
        file.check_length()?;
        let view = file.get(tensor);
        let view = view.ok_or_else(|| invalid("the file lacks it".to_owned()))?;
        let (dtype, shape) = (view.dtype(), view.shape());
        let same = shape
            .iter()
            .map(|size| *size as u64)
            .eq(whole.shape().iter().copied());
        if dtype != whole.dtype() || !same {
            let (expected, sizes) = (whole.dtype(), whole.shape());
            return Err(invalid(format!(
                "expected {expected} of shape {sizes:?}, found {dtype} of shape {shape:?}"
            )));
        }
        let mut buffer = Vec::new();
        let source = view.read(range.start as usize..range.end as usize, &mut buffer);
        match source.len() == target.len() {
            true => {
                target.copy_from_slice(source);
                Ok(())
            }
            false => Err(invalid("expected a contiguous output".to_owned())),
        }
    }
}

/// Why a file could not be copied.
pub(crate) enum CopyError {
    Read(DataError),
    Write(PathBuf, io::Error),
}

/// `model.plan.safetensors` beside `model.plan.json`, as the recorder names it.
fn name_beside(plan: &Path) -> String {
    let name = plan.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = &*name;
    for end in [".json", ".plan"] {
        stem = match stem.strip_suffix(end) {
            Some(shorter) if !shorter.is_empty() => shorter,
            _ => stem,
        };
    }
    format!("{stem}.plan.safetensors")
}

/// Tensors that become a file: equal ones are one, and each has the number of its first use as its
/// name.
#[derive(Default)]
pub(crate) struct NewData<'a> {
    numbers: BTreeMap<(Dtype, Vec<u64>, [u8; 32]), usize>,
    tensors: Vec<(Dtype, Vec<u64>, &'a [u8])>,
}

impl<'a> NewData<'a> {
    /// Adds a tensor, and returns its name.
    pub(crate) fn add(&mut self, view: &View, bytes: &'a [u8]) -> String {
        let key = (
            view.dtype(),
            view.shape().to_vec(),
            Sha256::digest(bytes).into(),
        );
        let number = *self.numbers.entry(key).or_insert(self.tensors.len());
        if number == self.tensors.len() {
            self.tensors
                .push((view.dtype(), view.shape().to_vec(), bytes));
        }
        number.to_string()
    }

    /// The file, byte for byte as the recorder writes it; `None` without tensors.
    pub(crate) fn file(&self) -> Option<DataFile> {
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        // So all are aligned.
        order.sort_by_key(|number| std::cmp::Reverse(self.tensors[*number].0.size()));
        let (mut rows, mut offset) = (Vec::new(), 0);
        for number in &order {
            let (dtype, shape, bytes) = &self.tensors[*number];
            let info = TensorInfo {
                // The builder adds only dtypes that are stored.
                dtype: stored(*dtype)?,
                shape: shape.iter().map(|size| *size as usize).collect(),
                data_offsets: (offset, offset + bytes.len()),
            };
            offset += bytes.len();
            rows.push(format!(
                "\"{number}\":{}",
                serde_json::to_string(&info).ok()?
            ));
        }
        let mut header = format!("{{{}}}", rows.join(",")).into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.append(&mut header);
        for number in order {
            content.extend_from_slice(self.tensors[number].2);
        }
        Some(DataFile::in_memory(content)).filter(|_| !self.tensors.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use crate::{InitPlan, PlanError, Save};
    use sha2::{Digest, Sha256};
    use std::error::Error;
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;
    use torch_rng::Mt19937;

    /// A plan beside its file, with a table of 6 numbers and a weight of 2 that is drawn.
    fn plan() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (plan, data) = (
            folder.path().join("a.plan.json"),
            folder.path().join("a.plan.safetensors"),
        );
        let header = r#"{"0":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}   "#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend((0..6).flat_map(|i| (i as f32).to_le_bytes()));
        let hash = crate::hexadecimal::hexadecimal(&Sha256::digest(&bytes));
        fs::write(&data, &bytes).unwrap();
        let length = bytes.len();
        let json = format!(
            r#"{{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0", "semantics": "2.13",
                "model": "by hand", "data": ["a.plan.safetensors",{length},"{hash}"],
                "storages": [24, 8], "views": [[0, "float32", [3, 2]], [1, "float32", [2]]],
                "steps": [["data", 0, "0"], ["uniform_", 1, 0.0, 1.0]],
                "parameters": [["table", 0], ["weight", 1]], "buffers": []}}"#
        );
        fs::write(&plan, json).unwrap();
        (folder, plan, data)
    }

    fn message(error: &dyn Error) -> String {
        match error.source() {
            Some(source) => format!("{error}: {}", message(source)),
            None => error.to_string(),
        }
    }

    #[test]
    fn data_lies_beside_the_plan() {
        let (folder, path, data) = plan();
        let plan = InitPlan::load(&path).unwrap();
        assert_eq!(plan.data_file(), Some(data));
        let tensors = plan.materialize(&mut Mt19937::new(1)).unwrap();
        let expected: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        assert_eq!(*tensors[0].1.to_bytes(), expected);
        let rows = plan.materialize_rows(&Mt19937::new(1), "table", 1..3);
        assert_eq!(*rows.unwrap().to_bytes(), expected[8..]);
        // Weights go anywhere; the plan's data stays where it is.
        let weights = folder.path().join("weights.safetensors");
        plan.save(&weights, &mut Mt19937::new(1), Save::default(), |_| true)
            .unwrap();
        let file = tensor_parity::file::TensorFile::open(&weights).unwrap();
        assert_eq!(file.get("table").unwrap().to_bytes(), expected);
        assert!(plan.to_string().contains("step 0: data(0)"), "{plan}");
        // The text is canonical, and equal to another copy of the plan.
        let again = InitPlan::from_json(plan.to_json().as_bytes()).unwrap();
        assert_eq!(again.to_json(), plan.to_json());
    }

    #[test]
    fn another_file_is_refused_before_anything_is_drawn() {
        type Change = fn(&PathBuf);
        let cases: [(&str, Change); 4] = [
            ("cannot be read", |data| fs::remove_file(data).unwrap()),
            ("expected the 92 bytes", |data| {
                let bytes = fs::read(data).unwrap();
                fs::write(data, &bytes[..bytes.len() - 1]).unwrap();
            }),
            ("SHA-256", |data| {
                let mut bytes = fs::read(data).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(data, &bytes).unwrap();
            }),
            ("cannot be read", |data| {
                fs::remove_file(data).unwrap();
                fs::create_dir(data).unwrap();
            }),
        ];
        for (said, change) in cases {
            let (_folder, path, data) = plan();
            change(&data);
            let plan = InitPlan::load(&path).unwrap();
            let mut generator = Mt19937::new(1);
            let error = plan.materialize(&mut generator).unwrap_err();
            let text = message(&error);
            assert!(
                text.contains("a.plan.safetensors: ") && text.contains(said),
                "{text}"
            );
            assert!(matches!(error, PlanError::Data { .. }));
            assert_eq!(generator, Mt19937::new(1));
            // What does not depend on it is made.
            let made = plan.materialize_only(&mut generator, |name| name == "weight");
            assert_eq!(made.unwrap().len(), 1);
            assert!(
                plan.to_string()
                    .contains("data: 92 bytes in a.plan.safetensors")
            );
        }
    }

    #[test]
    fn a_plan_in_memory_has_no_folder() {
        let (_folder, path, _) = plan();
        let plan = InitPlan::from_json(&fs::read(path).unwrap()).unwrap();
        let text = message(&plan.materialize(&mut Mt19937::new(1)).unwrap_err());
        assert!(text.contains("InitPlan::load"), "{text}");
    }

    #[test]
    fn rows_of_data_are_checked() {
        let (_folder, path, _) = plan();
        let text = fs::read_to_string(path).unwrap();
        for (from, to, said) in [
            (
                "a.plan.safetensors",
                "../a.safetensors",
                "the name of a file",
            ),
            ("a.plan.safetensors", "/etc/passwd", "the name of a file"),
            ("a.plan.safetensors", "", "the name of a file"),
            (",92,", ",-92,", "u64"),
            (",92,", ",92,92,", "string"),
            (r#"["data", 0, "0"]"#, r#"["data", 0, ""]"#, "name of 1 to"),
            (
                r#"["data", 0, "0"]"#,
                r#"["data", 0, 0]"#,
                "the name of a tensor",
            ),
            (
                r#"["data", 0, "0"]"#,
                r#"["fill_", 0, 0.0]"#,
                "expected a step that reads it",
            ),
            (r#""data": ["#, r#""data": null, "steps": ["#, ""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let error = InitPlan::from_json(changed.as_bytes()).unwrap_err();
            assert!(message(&error).contains(said), "{}", message(&error));
        }
        let start = text.find(r#""data""#).unwrap();
        let end = text.find(r#""storages""#).unwrap();
        let without = text[..start].to_owned() + &text[end..];
        let error = InitPlan::from_json(without.as_bytes()).unwrap_err();
        assert!(
            message(&error).contains("the key `data`"),
            "{}",
            message(&error)
        );
    }
}
