//! `tch_init::repr` against a live Python: new cases, and whether the stored ones are up to date.

use crate::common::{bytes, run_script};
use crate::repr::{DTYPES, GOLDEN, in_repository, printed};
use serde_json::{Value, json};
use std::path::Path;
use tch::{Kind, Tensor};

const GENERATOR: &str = "tests/python/repr_golden.py";

/// SplitMix64: the cases of the live test are the same in every run.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn unit(&mut self) -> f64 {
        self.bits() as f64 / u64::MAX as f64 * 2.0 - 1.0
    }

    fn number(&mut self, values: usize) -> f64 {
        #[rustfmt::skip]
        const SPECIAL: [f64; 12] = [
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, 1e-4, 9.9999e-5, 1e8,
            1.0001e8, 1000.0, 1001.0,
        ];
        match values {
            0 => 3.0 * self.unit(),
            1 => (1e4 * self.unit()).round(),
            2 => self.unit() * 10_f64.powf(8.0 * self.unit()),
            // Exact ties between two printed numbers.
            3 => self.below(8192) as f64 / self.pick(&[2.0, 32.0, 64.0, 2048.0, -4096.0]),
            // Subnormal numbers of every type.
            4 => self.unit() * self.pick(&[1e-6, 1e-40, 1e-310, 1.0]),
            5 => self.pick(&[0.0, -0.0]),
            6 => self.pick(&SPECIAL),
            7 => self.pick(&SPECIAL[5..]),
            8 => 100.0 * self.unit().abs() + 0.1,
            _ => f64::from_bits(self.bits()),
        }
    }

    fn shape(&mut self) -> Vec<i64> {
        let dims = self.below(6);
        let large = self.below(4) == 0;
        let sizes: &[i64] = match (large, dims) {
            (false, 1) => &[1, 2, 7, 30],
            (false, _) => &[1, 2, 3, 4],
            (true, 1) => &[1001, 5000],
            (true, 2) => &[7, 40, 200],
            (true, _) => &[2, 7, 13],
        };
        let mut shape: Vec<i64> = (0..dims).map(|_| self.pick(sizes)).collect();
        if dims > 0 && self.below(25) == 0 {
            let empty = self.below(dims);
            shape[empty] = 0;
        }
        shape
    }

    fn case(&mut self) -> (Value, Vec<u8>) {
        // Half of them float32.
        let (dtype, kind, number) = DTYPES[self.below(2) * self.below(DTYPES.len())];
        let shape = self.shape();
        let values = self.below(10);
        let count = 1 + self.below(40);
        let parts = if dtype.starts_with("complex") { 2 } else { 1 };
        let numbers: Vec<f64> = (0..count * parts).map(|_| self.number(values)).collect();
        let data = match (kind, number) {
            (kind, Some(_)) => {
                let size = kind.elt_size_in_bytes();
                let end = self.pick(&[100, u64::MAX]);
                (0..count)
                    .flat_map(|_| (self.bits() % end).to_le_bytes()[..size].to_vec())
                    .collect()
            }
            (kind, None) => {
                let kind = match kind {
                    Kind::ComplexHalf => Kind::Half,
                    Kind::ComplexFloat => Kind::Float,
                    Kind::ComplexDouble => Kind::Double,
                    kind => kind,
                };
                bytes(&Tensor::from_slice(&numbers).to_kind(kind))
            }
        };
        let mut ops = Vec::new();
        if shape.len() > 1 && self.below(3) == 0 {
            ops.push(json!(["transpose", 0, shape.len() - 1]));
        }
        if shape.first().is_some_and(|&size| size > 1) && ops.is_empty() && self.below(6) == 0 {
            ops.push(json!(["narrow", 0, 1, shape[0] - 1]));
        }
        if dtype.starts_with("complex") && self.below(2) == 0 {
            ops.push(json!(["conj"]));
            if self.below(2) == 0 {
                ops.push(json!(["imag"]));
            }
        }
        if ["float32", "float64", "float16", "bfloat16", "complex64"].contains(&dtype) {
            if self.below(4) == 0 {
                ops.push(json!(["requires_grad"]));
            }
            if ops.last() == Some(&json!(["requires_grad"])) && self.below(3) == 0 {
                ops.push(json!(["view_as"]));
            }
        }
        let mut options = json!({});
        if self.below(3) == 0 {
            options["precision"] = json!(self.below(20));
            options["linewidth"] = json!(self.below(130));
            options["sci_mode"] = self.pick(&[None, Some(true), Some(false)]).into();
            // Small enough that most tensors are cut short.
            options["threshold"] = json!(self.pick(&[0, 3, 10, 100, 1000]));
            options["edgeitems"] = json!(self.below(5));
        }
        let case = json!({
            "dtype": dtype, "shape": shape, "ops": ops, "options": options, "length": data.len(),
        });
        (case, data)
    }
}

#[test]
#[ignore = "needs the Python reference: run ./setup --reference, then make test"]
fn new_cases_print_as_in_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(2026);
    let (cases, data): (Vec<Value>, Vec<Vec<u8>>) = (0..3000).map(|_| random.case()).unzip();
    std::fs::write(folder.path().join("cases.json"), json!(cases).to_string()).unwrap();
    std::fs::write(folder.path().join("data.bin"), data.concat()).unwrap();
    run_generator(&["live".as_ref(), folder.path()]);
    let answer = std::fs::read(folder.path().join("expected.json")).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let texts = answer["texts"].as_array().unwrap();
    assert_eq!(texts.len(), cases.len());
    let mut wrong = 0;
    for ((case, data), expected) in cases.iter().zip(&data).zip(texts) {
        let got = printed(case, data);
        if expected.as_str() != Some(&got) {
            wrong += 1;
            println!("{case} {data:?}\nexpected:\n{expected}\ngot:\n{got:?}\n");
        }
    }
    assert_eq!(wrong, 0, "of {} cases", cases.len());
}

#[test]
#[ignore = "needs the Python reference: run ./setup --reference, then make test"]
fn the_stored_cases_are_what_the_generator_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.json");
    run_generator(&["golden".as_ref(), &path]);
    let (new, stored) = (std::fs::read(path), std::fs::read(in_repository(GOLDEN)));
    assert!(new.unwrap() == stored.unwrap(), "{GOLDEN} is out of date");
}

fn run_generator(arguments: &[&Path]) {
    run_script(GENERATOR, arguments);
}
