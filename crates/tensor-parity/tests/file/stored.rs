//! Stored files of Python and tch in `data/`, which `data/make.py` wrote.

use std::path::{Path, PathBuf};
use tensor_parity::Dtype;
use tensor_parity::file::{Format, TensorFile};

pub fn path(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/file/data");
    data.join(name)
}

/// Name, dtype, shape and values of a tensor.
type Described = (String, Dtype, Vec<usize>, Vec<f64>);

fn tensors(name: &str) -> (Format, Vec<Described>) {
    let file = TensorFile::open(path(name)).unwrap();
    let number = |dtype: Dtype, bytes: &[u8]| match dtype {
        Dtype::Int64 => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
        Dtype::Int16 => f64::from(i16::from_le_bytes(bytes.try_into().unwrap())),
        _ => dtype.to_f64(bytes).unwrap(),
    };
    let tensors = file.iter().map(|(name, tensor)| {
        let (dtype, bytes) = (tensor.dtype(), tensor.to_bytes());
        let elements = bytes
            .chunks(dtype.size())
            .map(|element| number(dtype, element));
        (
            name.to_owned(),
            dtype,
            tensor.shape().to_vec(),
            elements.collect(),
        )
    });
    (file.format(), tensors.collect())
}

const ROWS: [f64; 6] = [0., 1., 2., 3., 4., 5.];
const COLUMNS: [f64; 6] = [0., 3., 1., 4., 2., 5.];

#[test]
fn a_checkpoint_of_torch_save_is_read() {
    let (format, tensors) = tensors("checkpoint.pt");
    let expected = [
        ("model.fc.weight", Dtype::Float32, vec![2, 3], ROWS.to_vec()),
        (
            "model.fc.tied",
            Dtype::Float32,
            vec![3, 2],
            COLUMNS.to_vec(),
        ),
        ("model.norm.steps", Dtype::Int64, vec![], vec![7.]),
        ("half", Dtype::Float8E5m2, vec![2], vec![1.5, 1.5]),
    ];
    let expected =
        expected.map(|(name, dtype, shape, values)| (name.to_owned(), dtype, shape, values));
    assert_eq!((format, tensors), (Format::TorchSave, expected.to_vec()));
}

#[test]
fn torchscript_and_ot_files_are_read() {
    for (name, weight, shape, values) in [
        ("script.pt", 1, vec![2, 3], ROWS),
        ("named.ot", 0, vec![3, 2], COLUMNS),
    ] {
        let (format, mut tensors) = tensors(name);
        assert_eq!(format, Format::TorchScript);
        let weight = tensors.remove(weight);
        assert_eq!(
            weight,
            (
                "fc.weight".to_owned(),
                Dtype::Float32,
                shape,
                values.to_vec()
            )
        );
        assert_eq!(
            tensors,
            [("steps".to_owned(), Dtype::Int64, vec![], vec![7.])]
        );
    }
}

#[test]
fn stored_and_compressed_npz_arrays_are_read() {
    for name in ["stored.npz", "deflated.npz"] {
        let (format, tensors) = tensors(name);
        let expected = [
            ("f", Dtype::Int16, vec![2, 3], ROWS.to_vec()),
            ("zeros", Dtype::Float64, vec![30, 30], vec![0.; 900]),
            ("s", Dtype::Float16, vec![], vec![1.5]),
        ];
        let expected =
            expected.map(|(name, dtype, shape, values)| (name.to_owned(), dtype, shape, values));
        assert_eq!(
            (format, tensors),
            (Format::Npz, expected.to_vec()),
            "{name}"
        );
    }
}

/// The tensors share one storage, which is borrowed from the file.
#[test]
fn tied_tensors_borrow_the_same_bytes() {
    let file = TensorFile::open(path("checkpoint.pt")).unwrap();
    let mut buffer = Vec::new();
    let weight = file.get("model.fc.weight").unwrap();
    let borrowed = weight.read(0..6, &mut buffer).as_ptr();
    let tied = file.get("model.fc.tied").unwrap().permute(&[1, 0]).unwrap();
    assert_eq!(tied.read(0..6, &mut Vec::new()).as_ptr(), borrowed);
}

#[test]
fn files_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<TensorFile>();
}
