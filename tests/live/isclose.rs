//! `Criterion::Close` element by element against `torch.isclose`, and whole messages against those
//! of `assert_close`, for every dtype: elements lie within two steps of where the tolerance ends.

use crate::common::reference::expected_of;
use half::{bf16, f16};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tch_init::parity::{
    AssertClose, Criterion, Failure, TensorComparison, default_tolerances, promote_types,
};
use tch_init::tensor::{Dtype, TensorView};

/// SplitMix64, so that the cases are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[derive(Clone)]
struct Side {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Side {
    fn view(&self) -> TensorView<'_> {
        TensorView::contiguous(self.dtype, &self.shape, &self.bytes).unwrap()
    }

    fn json(&self) -> Value {
        let hex: String = self.bytes.iter().map(|b| format!("{b:02x}")).collect();
        json!({ "dtype": self.dtype.name(), "shape": self.shape, "hex": hex })
    }
}

struct Case {
    actual: Side,
    expected: Side,
    criterion: Criterion,
}

/// A float in its dtype, nearest first.
fn encode(dtype: Dtype, x: f64) -> Vec<u8> {
    match dtype {
        Dtype::Float16 => f16::from_f64(x).to_le_bytes().to_vec(),
        Dtype::Bfloat16 => bf16::from_f64(x).to_le_bytes().to_vec(),
        Dtype::Float32 => (x as f32).to_le_bytes().to_vec(),
        Dtype::Float64 => x.to_le_bytes().to_vec(),
        _ => panic!("{dtype}"),
    }
}

fn nudge(bytes: &[u8], by: i64) -> Vec<u8> {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let moved = u64::from_le_bytes(word).wrapping_add_signed(by);
    moved.to_le_bytes()[..bytes.len()].to_vec()
}

fn float(random: &mut Random, dtype: Dtype) -> Vec<u8> {
    let subnormal = nudge(&encode(dtype, 0.0), 1 + random.below(100) as i64);
    match random.below(12) {
        0 => encode(dtype, random.pick(&[0.0, -0.0])),
        1 => encode(dtype, random.pick(&[f64::INFINITY, f64::NEG_INFINITY])),
        2 => nudge(&encode(dtype, f64::NAN), random.below(3) as i64),
        3 => subnormal,
        4 => nudge(&encode(dtype, f64::INFINITY), -1 - random.below(2) as i64),
        5 => random.next().to_le_bytes()[..dtype.size()].to_vec(),
        _ => {
            let scale = 10f64.powi(random.below(9) as i32 - 5);
            encode(dtype, (random.unit() - 0.5) * scale)
        }
    }
}

/// Near an element, and often just where the tolerance ends.
fn near(random: &mut Random, dtype: Dtype, b: &[u8], (rtol, atol): (f64, f64)) -> Vec<u8> {
    let value = dtype.to_f64(b).unwrap();
    match random.below(10) {
        0..3 => b.to_vec(),
        3 => nudge(b, random.below(7) as i64 - 3),
        4 => encode(dtype, -value),
        5 => float(random, dtype),
        6 => encode(dtype, value * (1.0 + (random.unit() - 0.5) * 0.01)),
        _ => {
            let allowed = (atol + rtol * value.abs()) * random.pick(&[1.0, -1.0]);
            nudge(&encode(dtype, value + allowed), random.below(5) as i64 - 2)
        }
    }
}

/// `extreme`: beyond 2^62, where PyTorch's differences wrap around.
fn integer(random: &mut Random, dtype: Dtype, extreme: bool) -> Vec<u8> {
    let wide = match (random.below(3), dtype) {
        (0, Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64) => random.below(5) as i64,
        (0, _) => random.below(10) as i64 - 5,
        (1, _) => random.below(1 << 20) as i64,
        _ if extreme || dtype.size() < 8 => random.next() as i64,
        (_, Dtype::Uint64) => (random.next() >> 2) as i64,
        _ => random.next() as i64 >> 2,
    };
    match dtype {
        Dtype::Bool => vec![(wide & 1) as u8],
        _ => wide.to_le_bytes()[..dtype.size()].to_vec(),
    }
}

fn near_integer(random: &mut Random, dtype: Dtype, b: &[u8], extreme: bool) -> Vec<u8> {
    match random.below(4) {
        _ if dtype == Dtype::Bool => integer(random, dtype, extreme),
        0 => integer(random, dtype, extreme),
        // Not around the ends of the range.
        1 if b.iter().all(|byte| (4..0x7c).contains(byte)) => nudge(b, random.below(7) as i64 - 3),
        _ => b.to_vec(),
    }
}

fn pair(random: &mut Random, dtype: Dtype, tolerances: (f64, f64), extreme: bool) -> [Vec<u8>; 2] {
    if let Some(part) = dtype.part() {
        let [re, im] = [0, 0].map(|_| pair(random, part, tolerances, extreme));
        let join = |side: usize| [&re[side][..], &im[side][..]].concat();
        return [join(0), join(1)];
    }
    if dtype.is_float8() {
        let b = random.next() as u8;
        return [random.pick(&[b, b, b ^ 0x80, b ^ 1, !b]), b].map(|byte| vec![byte]);
    }
    if dtype.is_floating_point() {
        let b = float(random, dtype);
        return [near(random, dtype, &b, tolerances), b];
    }
    let b = integer(random, dtype, extreme);
    [near_integer(random, dtype, &b, extreme), b]
}

fn criterion(random: &mut Random) -> Criterion {
    let (rtol, atol) = match random.below(8) {
        0..3 => (None, None),
        3 => (Some(0.0), Some(0.0)),
        4 => (Some(0.0), Some(1e-6)),
        5 => (Some(1e-2), Some(0.0)),
        6 => (Some(0.1), Some(0.5)),
        _ => (Some(random.unit() * 1e-2), Some(random.unit() * 1e-3)),
    };
    Criterion::Close(
        AssertClose::default()
            .rtol(rtol)
            .atol(atol)
            .equal_nan(random.below(2) == 0)
            .check_dtype(random.below(4) > 0),
    )
}

fn tolerances(criterion: Criterion, actual: Dtype, expected: Dtype) -> (f64, f64) {
    let default = default_tolerances(actual, expected);
    match criterion {
        Criterion::Close(parameters) => (
            parameters.rtol.unwrap_or(default.0),
            parameters.atol.unwrap_or(default.1),
        ),
        _ => panic!("{criterion}"),
    }
}

fn shape(random: &mut Random) -> Vec<usize> {
    match random.below(8) {
        0 => vec![],
        1 => vec![1],
        2 => vec![3, 0],
        3 => vec![2, 3, 1, 7],
        // Whole vectors and what remains of them.
        _ => vec![1 + random.below(300) as usize],
    }
}

/// Every dtype with itself, often enough that it meets each kind of element and option.
fn same_dtypes(random: &mut Random, extreme: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in Dtype::ALL {
        for _ in 0..40 {
            let criterion = criterion(random);
            let limits = tolerances(criterion, dtype, dtype);
            let shape = shape(random);
            // Some with one difference, and some with none.
            let rarely = random.below(3) == 0;
            let mut sides = [Vec::new(), Vec::new()];
            for _ in 0..shape.iter().product() {
                let [mut a, b] = pair(random, dtype, limits, extreme);
                if rarely && random.below(200) > 0 {
                    a.clone_from(&b);
                }
                sides[0].extend(a);
                sides[1].extend(b);
            }
            let [actual, expected] = sides.map(|bytes| Side {
                dtype,
                shape: shape.clone(),
                bytes,
            });
            cases.push(Case {
                actual,
                expected,
                criterion,
            });
        }
    }
    cases
}

/// Every pair of dtypes, and some shapes that differ.
fn mixed(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for a in Dtype::ALL {
        for b in Dtype::ALL {
            let criterion = criterion(random);
            let sides = [a, b].map(|dtype| {
                let shape = match random.below(20) {
                    0 => vec![2, 2],
                    1 => vec![],
                    _ => vec![4],
                };
                let mut bytes = Vec::new();
                for _ in 0..shape.iter().product() {
                    bytes.extend(match dtype {
                        // Small numbers, so that some are equal.
                        _ if dtype.part().is_none() && dtype.is_floating_point() => {
                            match dtype.is_float8() {
                                true => vec![random.next() as u8],
                                false => encode(dtype, random.below(4) as f64),
                            }
                        }
                        _ => pair(random, dtype, (1e-3, 1e-3), false)[0].clone(),
                    });
                }
                Side {
                    dtype,
                    shape,
                    bytes,
                }
            });
            let [actual, expected] = sides;
            cases.push(Case {
                actual,
                expected,
                criterion,
            });
        }
    }
    cases
}

fn request(case: &Case) -> Value {
    let Criterion::Close(AssertClose {
        rtol,
        atol,
        equal_nan,
        check_dtype,
        ..
    }) = case.criterion
    else {
        panic!("{}", case.criterion);
    };
    let (actual, expected) = (&case.actual, &case.expected);
    json!({
        "actual": actual.json(),
        "expected": expected.json(),
        "options": {
            "rtol": rtol, "atol": atol, "equal_nan": equal_nan, "check_dtype": check_dtype,
        },
        "tolerances": tolerances(case.criterion, actual.dtype, expected.dtype),
    })
}

/// What `assert_close` would say: the text without the lines that are ours.
fn in_pytorchs_words(comparison: &TensorComparison) -> String {
    let text = comparison.to_string();
    let lines: Vec<&str> = match comparison.failure {
        // It says no more than this of dtypes and tolerances.
        Some(Failure::Dtype | Failure::Tolerance) => text.lines().take(1).collect(),
        _ => text
            .lines()
            .filter(|line| !line.contains("ULP distance: "))
            .collect(),
    };
    lines.join("\n")
}

/// Which elements match, each compared on its own.
fn mask(case: &Case) -> Vec<u8> {
    let (actual, expected) = (case.actual.view(), case.expected.view());
    (0..actual.numel())
        .map(|element| {
            let [mut a, mut b] = [Vec::new(), Vec::new()];
            let a = actual.read(element..element + 1, &mut a);
            let b = expected.read(element..element + 1, &mut b);
            let one = |dtype, bytes| TensorView::contiguous(dtype, &[1], bytes).unwrap();
            let (a, b) = (one(actual.dtype(), a), one(expected.dtype(), b));
            u8::from(TensorComparison::new(&a, &b, case.criterion).mismatched == 0)
        })
        .collect()
}

/// Compares every case, and counts the verdicts by PyTorch's.
fn judge(cases: &[Case], figures: bool) -> BTreeMap<&'static str, usize> {
    let requests: Vec<Value> = cases.iter().map(request).collect();
    let mut verdicts = BTreeMap::new();
    for (case, theirs) in cases
        .iter()
        .zip(expected_of("tests/python/isclose.py", &requests))
    {
        let what = || {
            let Side { dtype, shape, .. } = &case.actual;
            let other = case.expected.dtype;
            format!("{dtype} and {other}, {shape:?}, {}", case.criterion)
        };
        let ours =
            TensorComparison::new(&case.actual.view(), &case.expected.view(), case.criterion);
        let (raised, message) = (theirs.rest[0].as_str(), theirs.rest[1].as_str());
        assert_eq!(
            ours.is_same(),
            raised.is_none(),
            "{}\nPyTorch: {message:?}\nours: {ours}",
            what()
        );
        if !theirs.chunks[0].is_empty() {
            let mask = mask(case);
            let differ = (0..mask.len()).find(|&i| mask[i] != theirs.chunks[0][i]);
            if let Some(element) = differ {
                let size = case.actual.dtype.size();
                let range = element * size..(element + 1) * size;
                panic!(
                    "{}: element {element} of {} ({:02x?} against {:02x?}): ours {}, PyTorch {}",
                    what(),
                    mask.len(),
                    &case.actual.bytes[range.clone()],
                    &case.expected.bytes[range],
                    mask[element],
                    theirs.chunks[0][element]
                );
            }
        }
        let verdict = match (raised, ours.failure) {
            (None, None) => "same",
            (Some("AssertionError"), Some(failure)) => {
                if figures {
                    assert_eq!(in_pytorchs_words(&ours), message.unwrap(), "{}", what());
                }
                match failure {
                    Failure::Shape => "shape",
                    Failure::Dtype => "dtype",
                    Failure::Tolerance => "tolerance",
                    _ => "values",
                }
            }
            (Some("RuntimeError"), Some(Failure::Promotion)) => "promotion",
            // Python's abs() of a complex number overflows while the message is made.
            (Some("RuntimeError"), Some(Failure::Values))
                if ours.shapes.actual.is_empty() && ours.dtypes.actual.part().is_some() =>
            {
                "values"
            }
            other => panic!("{}: {other:?}: {message:?}", what()),
        };
        *verdicts.entry(verdict).or_insert(0) += 1;
    }
    verdicts
}

/// 840 pairs of one dtype: NaN of several payloads, infinities, zeros of both signs, subnormal and
/// greatest numbers, and elements within two steps of where the tolerance ends.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn verdicts_elements_and_figures_are_those_of_assert_close() {
    let verdicts = judge(&same_dtypes(&mut Random(1), false), true);
    assert!(
        verdicts["same"] > 100 && verdicts["values"] > 300,
        "{verdicts:?}"
    );
    assert!(verdicts["tolerance"] > 50, "{verdicts:?}");
}

/// Integers of the whole range: PyTorch's differences wrap around there, its verdicts do not.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn verdicts_on_integers_of_the_whole_range() {
    let mut cases = same_dtypes(&mut Random(2), true);
    cases.retain(|case| matches!(case.actual.dtype, Dtype::Uint64 | Dtype::Int64));
    let verdicts = judge(&cases, false);
    assert!(
        verdicts["same"] > 10 && verdicts["values"] > 20,
        "{verdicts:?}"
    );
}

/// All 441 pairs of dtypes.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn different_dtypes_and_shapes_are_judged_as_assert_close_judges_them() {
    let cases: Vec<Case> = (3..6).flat_map(|seed| mixed(&mut Random(seed))).collect();
    let verdicts = judge(&cases, true);
    for verdict in ["values", "dtype", "shape", "promotion"] {
        assert!(verdicts[verdict] > 5, "{verdicts:?}");
    }
    // Random values of two dtypes are seldom the same; those of one dtype are, in the other test.
    assert!(verdicts["same"] > 0, "{verdicts:?}");
    let promoted = |case: &&Case| promote_types(case.actual.dtype, case.expected.dtype).is_some();
    assert!(cases.iter().filter(promoted).count() < cases.len());
}
