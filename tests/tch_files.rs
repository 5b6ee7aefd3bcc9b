//! Files that `tch` writes.

use crate::common::bytes;
use tch::nn::{Module, VarStore, batch_norm1d, linear};
use tch::{Device, Kind, Tensor};
use tch_init::file::{Format, TensorFile};

const KINDS: [Kind; 12] = [
    Kind::Bool,
    Kind::Uint8,
    Kind::Int8,
    Kind::Int16,
    Kind::Int,
    Kind::Int64,
    Kind::Half,
    Kind::BFloat16,
    Kind::Float,
    Kind::Double,
    Kind::ComplexFloat,
    Kind::ComplexDouble,
];

fn assert_same(file: &TensorFile, name: &str, tensor: &Tensor) {
    let view = file.get(name).unwrap_or_else(|| panic!("no {name}"));
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    assert_eq!(shape, tensor.size(), "{name}");
    assert_eq!(view.to_bytes(), bytes(tensor), "{name}");
}

#[test]
fn a_var_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ot");
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let net = linear(&root / "encoder" / "0", 3, 4, Default::default());
    batch_norm1d(&root / "norm", 4, Default::default());
    assert_eq!(
        net.forward(&Tensor::zeros([1, 3], (Kind::Float, Device::Cpu)))
            .size(),
        [1, 4]
    );
    vs.save(&path).unwrap();

    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.format(), Format::TorchScript);
    let variables = vs.variables();
    assert_eq!(file.len(), variables.len());
    assert!(variables.contains_key("encoder.0.weight"));
    for (name, tensor) in &variables {
        assert_same(&file, name, tensor);
    }
}

#[test]
fn named_tensors_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("named.ot");
    let bits = Tensor::arange(96, (Kind::Uint8, Device::Cpu));
    let mut named: Vec<(String, Tensor)> = KINDS
        .iter()
        .map(|kind| (format!("kinds.{kind:?}"), bits.view([8, 12]).to_kind(*kind)))
        .collect();
    let base = &named[8].1;
    named.extend([
        ("transposed".to_owned(), base.tr()),
        (
            "sliced".to_owned(),
            base.slice(0, 1, 6, 2).slice(1, 3, 9, 1),
        ),
        (
            "expanded".to_owned(),
            Tensor::from(3.5f32).expand([2, 3], false),
        ),
        ("scalar".to_owned(), Tensor::from(7i64)),
        (
            "none".to_owned(),
            Tensor::zeros([0, 3], (Kind::Half, Device::Cpu)),
        ),
        ("a|b.c".to_owned(), Tensor::from(1u8)),
    ]);
    Tensor::save_multi(&named, &path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    // libtorch writes the attributes in the order they were given.
    let names: Vec<_> = named
        .iter()
        .map(|(name, _)| name.replace('|', "."))
        .collect();
    assert!(
        file.names().eq(names.iter()),
        "{:?}",
        file.names().collect::<Vec<_>>()
    );
    for (name, (_, tensor)) in names.iter().zip(&named) {
        assert_same(&file, name, tensor);
    }
    // What tch itself reads from the file has the same names.
    let mut theirs: Vec<_> = Tensor::load_multi(&path)
        .unwrap()
        .into_iter()
        .map(|t| t.0)
        .collect();
    let mut ours: Vec<_> = file.names().map(str::to_owned).collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);

    // A tensor without elements is a null pointer, of which tch's stream makes a slice.
    let some: Vec<_> = named
        .iter()
        .filter(|(_, tensor)| tensor.numel() > 0)
        .collect();
    let some: Vec<_> = some.iter().map(|(name, tensor)| (name, tensor)).collect();
    let mut stream = Vec::new();
    Tensor::save_multi_to_stream(&some, &mut stream).unwrap();
    let streamed = TensorFile::from_bytes("stream.ot", stream).unwrap();
    assert!(
        streamed
            .names()
            .eq(file.names().filter(|name| *name != "none"))
    );
}

#[test]
fn a_tensor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alone.ot");
    let tensor = Tensor::arange(5, (Kind::Double, Device::Cpu));
    tensor.save(&path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.len(), 1);
    let name = file.names().next().unwrap().to_owned();
    assert_same(&file, &name, &tensor);
    assert_eq!(name, "0");
}
