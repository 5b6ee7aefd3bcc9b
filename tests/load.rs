//! Checkpoints of plain tch in a program with `use tch_init::nn`.

use crate::common::{bytes, default_stream};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, TchError, Tensor};

/// A program that makes a network in the `VarStore` of its `nn`.
macro_rules! program {
    () => {
        pub fn build(vs: &nn::VarStore) {
            let root = &vs.root();
            nn::conv2d(root / "conv", 3, 4, 3, Default::default());
            nn::batch_norm2d(root / "bn", 4, Default::default());
            nn::batch_norm1d(root / "head" / "norm", 4, Default::default());
            nn::lstm(root / "lstm", 4, 3, Default::default());
            // tch numbers what has a name already: by all variables before it.
            nn::linear(root / "twice", 4, 3, Default::default());
            nn::linear(root / "twice", 3, 2, Default::default());
            nn::batch_norm1d(root / "head" / "norm", 5, Default::default());
            nn::linear(root / "twice", 2, 6, Default::default());
        }

        #[allow(dead_code)]
        pub fn load(path: &std::path::Path) -> Result<nn::VarStore, tch::TchError> {
            let mut vs = nn::VarStore::new(tch::Device::Cpu);
            build(&vs);
            vs.load(path)?;
            Ok(vs)
        }
    };
}

mod with_tch {
    use tch::nn;
    program!();
}

mod with_ours {
    use tch_init::nn;
    program!();
}

fn plain() -> tch::nn::VarStore {
    let vs = tch::nn::VarStore::new(Device::Cpu);
    with_tch::build(&vs);
    for mut tensor in vs.variables().into_values() {
        tch::no_grad(|| drop(tensor.uniform_(-1.0, 1.0)));
    }
    vs
}

fn ours() -> tch_init::nn::VarStore {
    let vs = tch_init::nn::VarStore::new(Device::Cpu);
    with_ours::build(&vs);
    vs
}

fn values(vs: &tch::nn::VarStore) -> BTreeMap<String, Vec<u8>> {
    let variables = vs.variables().into_iter();
    variables.map(|(name, t)| (name, bytes(&t))).collect()
}

/// The names with the numbers of duplicates in place of tch's, in order.
fn unnumbered(values: BTreeMap<String, Vec<u8>>) -> BTreeMap<(String, usize), Vec<u8>> {
    let mut numbered: BTreeMap<String, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
    for (name, value) in values {
        let (base, number) = match name.rsplit_once("__") {
            Some((base, number)) => (base.to_owned(), number.parse().unwrap()),
            None => (name, 0),
        };
        numbered.entry(base).or_default().push((number, value));
    }
    let mut all = BTreeMap::new();
    for (base, mut values) in numbered {
        values.sort();
        for (index, (_, value)) in values.into_iter().enumerate() {
            all.insert((base.clone(), index), value);
        }
    }
    all
}

/// Ours has the values of plain tch, and counters as they started.
fn assert_loaded(ours: &tch::nn::VarStore, plain: &tch::nn::VarStore, label: &str) {
    let (counters, ours): (BTreeMap<_, _>, BTreeMap<_, _>) = unnumbered(values(ours))
        .into_iter()
        .partition(|((base, _), _)| base.ends_with("num_batches_tracked"));
    assert_eq!(counters.into_values().collect::<Vec<_>>(), [[0; 8]; 3]);
    let plain = unnumbered(values(plain));
    let names = |map: &BTreeMap<(String, usize), Vec<u8>>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&plain), "{label}");
    assert!(ours == plain, "{label}: values");
}

fn write_npz(vs: &tch::nn::VarStore, path: &Path) {
    let named: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
    Tensor::write_npz(&named, path).unwrap();
}

#[test]
fn a_checkpoint_of_plain_tch_loads() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let plain = plain();
    for extension in ["ot", "safetensors", "npz"] {
        let path = folder.path().join("plain").with_extension(extension);
        match extension {
            "npz" => write_npz(&plain, &path),
            _ => plain.save(&path).unwrap(),
        }
        assert_loaded(&with_ours::load(&path).unwrap(), &plain, extension);
        // A program that has tch's own type.
        let mut vs = ours().into_inner();
        assert!(
            extension == "npz" || vs.load(&path).is_err(),
            "tch loads it by now"
        );
        let mut vs2 = ours().into_inner();
        tch_init::nn::load(&mut vs2, &path).unwrap();
        assert_loaded(&vs2, &plain, extension);
        let mut partial = ours();
        assert_eq!(partial.load_partial(&path).unwrap(), Vec::<String>::new());
        assert_loaded(&partial, &plain, extension);
    }
    let mut stream = Vec::new();
    plain.save_to_stream(&mut stream).unwrap();
    let mut vs = ours();
    vs.load_from_stream(std::io::Cursor::new(stream)).unwrap();
    assert_loaded(&vs, &plain, "a stream");
    let mut vs = ours();
    vs.copy(&plain).unwrap();
    assert_loaded(&vs, &plain, "a copy");
    let vs = ours();
    let path = folder.path().join("plain.safetensors");
    vs.read_safetensors(&path).unwrap();
    assert_loaded(&vs, &plain, "read_safetensors");
}

/// Checkpoints of this crate load too, counters included, and into plain tch.
#[test]
fn a_checkpoint_of_the_drop_in_loads() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    for extension in ["ot", "safetensors"] {
        let path = folder.path().join("ours").with_extension(extension);
        let saved = ours();
        for (name, mut tensor) in saved.variables() {
            if name.contains("num_batches_tracked") {
                drop(tensor.fill_(7));
            }
        }
        saved.save(&path).unwrap();
        let loaded = with_ours::load(&path).unwrap();
        assert_eq!(values(&loaded), values(&saved), "{extension}");
    }
}

#[test]
fn the_dtypes_are_the_files() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let mut plain = plain();
    plain.bfloat16();
    plain.save(&path).unwrap();
    let vs = with_ours::load(&path).unwrap();
    for (name, tensor) in vs.variables() {
        let kind = match name.contains("num_batches_tracked") {
            true => Kind::Int64,
            false => Kind::BFloat16,
        };
        assert_eq!(tensor.kind(), kind, "{name}");
    }
    // `copy` and `read_safetensors` keep those of the variables.
    let mut vs = ours();
    vs.copy(&plain).unwrap();
    vs.read_safetensors(&path).unwrap();
    assert_eq!(vs.variables()["conv.weight"].kind(), Kind::Float);
}

/// What else is missing or has another shape is an error, after which nothing has changed.
#[test]
fn what_does_not_fit_changes_nothing() {
    let _stream = default_stream();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let save = |tensors: &[(&str, Tensor)]| Tensor::write_safetensors(tensors, &path).unwrap();
    let floats = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let vs = || {
        let vs = tch_init::nn::VarStore::new(Device::Cpu);
        tch_init::nn::batch_norm1d(vs.root() / "norm", 2, Default::default());
        // Not a counter of a normalization.
        let other = vs.root().zeros_no_train("num_batches_tracked", &[]);
        assert_eq!(other.numel(), 1);
        vs
    };
    save(&[
        ("norm.weight", floats(&[2]) * 5),
        ("norm.running_mean", floats(&[2])),
    ]);
    let mut loading = vs();
    let before = values(&loading);
    let error = loading.load(&path).unwrap_err();
    let TchError::TensorNameNotFound(names, file) = &error else {
        panic!("{error}");
    };
    assert_eq!(names, "norm.bias, norm.running_var, num_batches_tracked");
    assert_eq!(file, &path.to_string_lossy());
    assert_eq!(values(&loading), before);
    assert_eq!(
        loading.load_partial(&path).unwrap(),
        ["norm.bias", "norm.running_var", "num_batches_tracked"]
    );
    assert_ne!(values(&loading), before);

    save(&[
        ("norm.weight", floats(&[2]) * 5),
        ("norm.bias", floats(&[1])),
        ("norm.running_mean", floats(&[2])),
        ("norm.running_var", floats(&[2])),
        ("num_batches_tracked", floats(&[1])),
    ]);
    let mut loading = vs();
    let error = loading.load(&path).unwrap_err().to_string();
    assert!(error.contains("norm.bias has shape [2], in "), "{error}");
    assert!(error.ends_with("[1]"), "{error}");
    assert_eq!(values(&loading), before);
    // As in PyTorch, a number may be stored as one element.
    save(&[
        ("norm.weight", floats(&[2]) * 5),
        ("norm.bias", floats(&[2])),
        ("norm.running_mean", floats(&[2])),
        ("norm.running_var", floats(&[2])),
        (
            "norm.num_batches_tracked",
            floats(&[1]).to_kind(Kind::Int64) * 3,
        ),
        ("num_batches_tracked", floats(&[1])),
    ]);
    loading.load(&path).unwrap();
    assert_eq!(
        loading.variables()["norm.num_batches_tracked"].int64_value(&[]),
        3
    );
    assert!(loading.load(folder.path().join("gone.ot")).is_err());
    assert!(loading.load(folder.path().join("gone.npz")).is_err());
}

#[test]
fn the_var_store_is_tchs_in_everything_else() {
    let _stream = default_stream();
    let first = ours();
    let count = first.len();
    let second = tch_init::nn::VarStore::new(Device::Cpu);
    drop(second.root().zeros("a", &[2]));
    let merged = tch_init::nn::VarStore::merge(vec![(first, Some("x.")), (second, None)]).unwrap();
    assert_eq!(merged.len(), count + 1);
    assert!(merged.variables().contains_key("x.conv.weight"));
    let mut merged = tch_init::nn::VarStore::from(tch::nn::VarStore::from(merged));
    merged.double();
    merged.freeze();
    assert_eq!(merged.variables()["a"].kind(), Kind::Double);
    assert!(format!("{merged:?}").starts_with("VarStore"));
    let compared = tch_init::parity::Comparison::new(&merged, &merged, Default::default());
    assert!(compared.unwrap().is_same());
}
