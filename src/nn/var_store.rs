//! tch's `VarStore`, which also loads checkpoints of plain tch.
//!
//! tch 0.26 looks for every variable of the store in the file, and its batch normalizations have no
//! `num_batches_tracked`. Methods of tch's type cannot be replaced, so this is a type around it.

use super::spec::NUM_BATCHES_TRACKED;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Seek};
use std::ops::{Deref, DerefMut};
use std::path::Path as FilePath;
use std::sync::PoisonError;
use tch::{Device, TchError, Tensor, nn};
use tensor_parity::compare::{SourceEntry, SourceError, TensorSource};

/// `tch::nn::VarStore`, whose functions that load accept checkpoints without the
/// `num_batches_tracked` of normalizations, such as those of plain tch.
///
/// As in PyTorch, whose checkpoints lacked that buffer before 0.4.1, the buffer then keeps its value.
/// Nothing is changed if another variable is missing or has another shape.
///
/// It dereferences to tch's type, and `&VarStore` passes for tch's everywhere. A program that has
/// tch's type itself calls [`load`].
///
/// ```
/// use tch_init::nn;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.ot");
/// let plain = tch::nn::VarStore::new(tch::Device::Cpu);
/// tch::nn::batch_norm1d(plain.root() / "norm", 4, Default::default());
/// plain.save(&path)?;
///
/// let mut vs = nn::VarStore::new(tch::Device::Cpu);
/// let norm = nn::batch_norm1d(vs.root() / "norm", 4, Default::default());
/// vs.load(&path)?;
/// assert_eq!(norm.ws, plain.variables().remove("norm.weight"));
/// # Ok(())
/// # }
/// ```
pub struct VarStore(nn::VarStore);

impl VarStore {
    /// Creates a `VarStore` without variables, as tch's `VarStore::new`.
    pub fn new(device: Device) -> VarStore {
        VarStore(nn::VarStore::new(device))
    }

    /// Moves the variables of all into one, each below its prefix, as tch's `VarStore::merge`.
    ///
    /// # Errors
    ///
    /// [`TchError::Torch`] for a duplicate name or different devices.
    pub fn merge(var_stores: Vec<(VarStore, Option<&str>)>) -> Result<VarStore, TchError> {
        let stores = var_stores.into_iter();
        let stores = stores.map(|(vs, prefix)| (vs.0, prefix)).collect();
        nn::VarStore::merge(stores).map(VarStore)
    }

    /// Loads all variables from a file, as tch's `VarStore::load`, by its extension: `safetensors`,
    /// `npz`, `pt` or `bin` (a `state_dict` of PyTorch), otherwise libtorch's format (`ot`). The
    /// variables take the file's dtypes.
    ///
    /// Duplicate paths, which tch numbers by the variables made before, are matched in their order.
    ///
    /// # Errors
    ///
    /// [`TchError::TensorNameNotFound`] for missing variables other than `num_batches_tracked`,
    /// [`TchError::Shape`] for variables of another shape, and those of reading the file. Then no
    /// variable has changed.
    pub fn load<T: AsRef<FilePath>>(&mut self, path: T) -> Result<(), TchError> {
        load(&mut self.0, path)
    }

    /// Loads all variables from a stream in libtorch's format, as [`load`](VarStore::load).
    ///
    /// # Errors
    ///
    /// As [`load`](VarStore::load).
    pub fn load_from_stream<S: Read + Seek>(&mut self, stream: S) -> Result<(), TchError> {
        let found = Tensor::load_multi_from_stream_with_device(stream, reading(self.device()))?;
        let source = Source::new(found, "the stream");
        source.fill_all(&self.0, Kinds::OfSource)
    }

    /// Loads the variables that the file has, as tch's `VarStore::load_partial`, and returns the names
    /// of the others, sorted; `num_batches_tracked` is not among them.
    ///
    /// # Errors
    ///
    /// As [`load`](VarStore::load), but for missing variables.
    pub fn load_partial<T: AsRef<FilePath>>(&mut self, path: T) -> Result<Vec<String>, TchError> {
        let source = Source::read(path.as_ref(), self.device())?;
        source.fill(&self.0, Kinds::OfSource)
    }

    /// Loads all variables from a safetensors file, as tch's `VarStore::read_safetensors`: they keep
    /// their dtypes.
    ///
    /// # Errors
    ///
    /// As [`load`](VarStore::load).
    pub fn read_safetensors<T: AsRef<FilePath>>(&self, path: T) -> Result<(), TchError> {
        let found = Tensor::read_safetensors(path.as_ref())?;
        let source = Source::new(found, path.as_ref().to_string_lossy());
        source.fill_all(&self.0, Kinds::Own)
    }

    /// Copies the values of all variables from another `VarStore`, as tch's `VarStore::copy`: they
    /// keep their dtypes.
    ///
    /// # Errors
    ///
    /// As [`load`](VarStore::load).
    pub fn copy(&mut self, src: &nn::VarStore) -> Result<(), TchError> {
        let source = Source::new(src.variables(), "the other VarStore");
        source.fill_all(&self.0, Kinds::Own)
    }

    /// tch's type.
    pub fn into_inner(self) -> nn::VarStore {
        self.0
    }
}

/// [`VarStore::load`] for tch's own `VarStore`, whose `load` fails for a checkpoint of plain tch.
///
/// # Errors
///
/// As [`VarStore::load`].
///
/// ```no_run
/// let mut vs = tch::nn::VarStore::new(tch::Device::Cpu);
/// tch_init::nn::batch_norm1d(vs.root() / "norm", 4, Default::default());
/// tch_init::nn::load(&mut vs, "model.ot")?;
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn load<T: AsRef<FilePath>>(vs: &mut nn::VarStore, path: T) -> Result<(), TchError> {
    Source::read(path.as_ref(), vs.device())?.fill_all(vs, Kinds::OfSource)
}

impl Deref for VarStore {
    type Target = nn::VarStore;

    fn deref(&self) -> &nn::VarStore {
        &self.0
    }
}

impl DerefMut for VarStore {
    fn deref_mut(&mut self) -> &mut nn::VarStore {
        &mut self.0
    }
}

impl From<nn::VarStore> for VarStore {
    fn from(vs: nn::VarStore) -> VarStore {
        VarStore(vs)
    }
}

impl From<VarStore> for nn::VarStore {
    fn from(vs: VarStore) -> nn::VarStore {
        vs.0
    }
}

impl fmt::Debug for VarStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TensorSource for VarStore {
    fn entries(&self) -> Result<Vec<SourceEntry<'_>>, SourceError> {
        self.0.entries()
    }
}

/// Whether variables take the dtypes of the source, as tch's `load`, or keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    OfSource,
    Own,
}

/// A variable and the tensor that it takes its values from.
type Pair = (Tensor, Tensor);

/// Named tensors to load from.
struct Source {
    tensors: BTreeMap<String, Tensor>,
    name: String,
}

/// The device to read tensors to; libtorch cannot read to MPS.
fn reading(device: Device) -> Device {
    match device {
        Device::Mps => Device::Cpu,
        device => device,
    }
}

impl Source {
    fn new(tensors: impl IntoIterator<Item = (String, Tensor)>, name: impl Into<String>) -> Source {
        Source {
            tensors: tensors.into_iter().collect(),
            name: name.into(),
        }
    }

    fn read(path: &FilePath, device: Device) -> Result<Source, TchError> {
        let device = reading(device);
        let found = match path.extension().and_then(|extension| extension.to_str()) {
            Some("bin" | "pt") => Tensor::loadz_multi_with_device(path, device),
            Some("safetensors") => Tensor::read_safetensors(path),
            Some("npz") => Tensor::read_npz(path),
            _ => Tensor::load_multi_with_device(path, device),
        };
        Ok(Source::new(found?, path.to_string_lossy()))
    }

    fn fill_all(&self, vs: &nn::VarStore, kinds: Kinds) -> Result<(), TchError> {
        let (pairs, missing) = self.pairs(vs)?;
        match missing.as_slice() {
            [] => copy_all(pairs, kinds),
            names => Err(TchError::TensorNameNotFound(list(names), self.name.clone())),
        }
    }

    /// Copies what there is, and returns the names of the other variables.
    fn fill(&self, vs: &nn::VarStore, kinds: Kinds) -> Result<Vec<String>, TchError> {
        let (pairs, missing) = self.pairs(vs)?;
        copy_all(pairs, kinds)?;
        Ok(missing)
    }

    /// Each variable with its source, and the names of the variables that have none and need one.
    fn pairs(&self, vs: &nn::VarStore) -> Result<(Vec<Pair>, Vec<String>), TchError> {
        let variables: BTreeMap<String, Tensor> = {
            let variables = vs.variables_.lock().unwrap_or_else(PoisonError::into_inner);
            let named = variables.named_variables.iter();
            named
                .map(|(name, variable)| (name.clone(), variable.shallow_clone()))
                .collect()
        };
        let names: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
        let renumbered = self.renumbered(&names);
        let (mut pairs, mut missing) = (Vec::new(), Vec::new());
        for (name, variable) in &variables {
            let name = name.as_str();
            match self.tensors.get(*renumbered.get(name).unwrap_or(&name)) {
                Some(found) => pairs.push((
                    variable.shallow_clone(),
                    self.fitting(name, variable, found)?,
                )),
                None if is_optional(name, &names) => {}
                None => missing.push(name.to_owned()),
            }
        }
        Ok((pairs, missing))
    }

    /// The tensor in the shape of the variable. As in PyTorch, a number may be stored as a vector of
    /// one element.
    fn fitting(&self, name: &str, variable: &Tensor, found: &Tensor) -> Result<Tensor, TchError> {
        match (&variable.size()[..], &found.size()[..]) {
            (own, theirs) if own == theirs => Ok(found.shallow_clone()),
            ([], [1]) => found.f_select(0, 0),
            (own, theirs) => Err(TchError::Shape(format!(
                "{name} has shape {own:?}, in {} {theirs:?}",
                self.name
            ))),
        }
    }

    /// The names in the source of the variables that tch has numbered, where the numbers differ: tch
    /// numbers the second `weight` of a path by the number of all variables before it, of which this
    /// crate's layers may make more.
    fn renumbered<'n>(&'n self, names: &BTreeSet<&'n str>) -> BTreeMap<&'n str, &'n str> {
        let of = |names: &mut dyn Iterator<Item = &'n str>| {
            let mut numbered: BTreeMap<&str, BTreeMap<u64, &str>> = BTreeMap::new();
            for name in names {
                if let (base, Some(number)) = number_of(name) {
                    numbered.entry(base).or_default().insert(number, name);
                }
            }
            numbered
        };
        let own = of(&mut names.iter().copied());
        let theirs = of(&mut self.tensors.keys().map(String::as_str));
        own.iter()
            .filter_map(|(base, own)| Some((own, theirs.get(base)?)))
            .filter(|(own, theirs)| own.len() == theirs.len())
            .flat_map(|(own, theirs)| own.values().copied().zip(theirs.values().copied()))
            .collect()
    }
}

/// The name without the number that tch appends to a duplicate one, and that number.
fn number_of(name: &str) -> (&str, Option<u64>) {
    let numbered = name
        .rsplit_once("__")
        .filter(|(_, digits)| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|(base, digits)| Some((base, digits.parse().ok()?)));
    match numbered {
        Some((base, number)) => (base, Some(number)),
        None => (name, None),
    }
}

/// Whether a checkpoint may lack the variable: `_NormBase._load_from_state_dict`,
/// `torch/nn/modules/batchnorm.py`, PyTorch 2.13, version below 2.
fn is_optional(name: &str, names: &BTreeSet<&str>) -> bool {
    let (base, _) = number_of(name);
    let sibling = match base.strip_suffix(NUM_BATCHES_TRACKED) {
        Some(path) if path.is_empty() || path.ends_with('.') => format!("{path}running_mean"),
        _ => return false,
    };
    names.contains(sibling.as_str())
}

fn copy_all(pairs: Vec<Pair>, kinds: Kinds) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    for (mut variable, found) in pairs {
        if kinds == Kinds::OfSource {
            let own = variable.f_to_kind(found.f_kind()?)?;
            variable.f_set_data(&own)?;
        }
        variable.f_copy_(&found)?;
    }
    Ok(())
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        n if n > SHOWN => format!("{shown} and {} more", n - SHOWN),
        _ => shown,
    }
}
