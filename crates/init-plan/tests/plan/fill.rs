//! Ranges of elements: those of the whole tensors, bit for bit.

use crate::build::{Builder, size, view};
use init_plan::{CpuStream, InitPlan, PlanError, Save, Stream};
use proptest::prelude::*;
use serde_json::json;
use std::num::NonZero;
use tensor_parity::Dtype;
use tensor_parity::file::TensorFile;
use torch_rng::Mt19937;

/// Plans by the numbers of a small generator.
struct Random {
    state: u64,
    plan: Builder,
    /// The views that have values: number, dtype, shape.
    views: Vec<(u64, &'static str, Vec<u64>)>,
}

impl Random {
    fn new(seed: u64) -> Random {
        Random {
            state: seed.wrapping_mul(2).wrapping_add(1),
            plan: Builder::default(),
            views: Vec::new(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005);
        self.state = self.state.wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % limit
    }

    fn dtype(&mut self) -> &'static str {
        let dtypes = ["float32", "float32", "float64", "bfloat16", "float16"];
        dtypes[self.below(5) as usize]
    }

    fn shape(&mut self) -> Vec<u64> {
        match self.below(8) {
            0 => vec![],
            1 => vec![1 + self.below(15)],
            2 => vec![16 * (1 + self.below(4))],
            3 => vec![1 + self.below(4), 1 + self.below(5), 1 + self.below(9)],
            4 => vec![0, 3],
            _ => vec![1 + self.below(30), 1 + self.below(20)],
        }
    }

    /// A tensor with memory of its own, or now and then with strides.
    fn tensor(&mut self, dtype: &'static str, shape: &[u64]) -> u64 {
        if shape.len() == 2 && self.below(5) == 0 {
            let [rows, columns] = [shape[0], shape[1]];
            self.plan.storage((rows * columns * 2 + 3) * size(dtype));
            let storage = self.plan.storages.len() - 1;
            return match self.below(2) {
                0 => self.plan.view(json!([storage, dtype, shape, 0, [1, rows]])),
                _ => self
                    .plan
                    .view(json!([storage, dtype, shape, 3, [2 * columns, 1]])),
            };
        }
        self.plan.tensor(dtype, shape)
    }

    fn draw(&mut self, out: u64) {
        // Only libtorch draws these again into strides.
        let is_strided = self.plan.views[out as usize]
            .as_array()
            .is_some_and(|row| row.len() > 4);
        let (a, b) = [(-0.04, 0.04), (-2.0, 2.0), (-0.02, 0.5)][self.below(3) as usize];
        let step = match self.below(4) {
            0 => json!(["uniform_", out, -0.5, 0.25]),
            1 if !is_strided => json!(["trunc_normal_", out, 0.0, 0.02, a, b]),
            _ => json!(["normal_", out, 0.5, 0.02]),
        };
        self.plan.step(step);
    }

    fn known(&mut self) -> Option<(u64, &'static str, Vec<u64>)> {
        match self.views.len() as u64 {
            0 => None,
            n => {
                let i = self.below(n) as usize;
                Some(self.views[i].clone())
            }
        }
    }

    /// A view of some rows of one that has values.
    fn rows(&mut self) -> Option<(u64, &'static str, Vec<u64>)> {
        let (number, dtype, shape) = self.known()?;
        let row = &self.plan.views[number as usize];
        let first = *shape.first().filter(|rows| **rows > 0)?;
        if row.as_array()?.len() > 3 {
            return None;
        }
        let storage = row[0].clone();
        let start = self.below(first);
        let rows = 1 + self.below(first - start);
        let inner: u64 = shape[1..].iter().product();
        let shape = [&[rows][..], &shape[1..]].concat();
        let view = match start * inner {
            0 => self.plan.view(json!([storage, dtype, shape])),
            offset => self.plan.view(json!([storage, dtype, shape, offset])),
        };
        Some((view, dtype, shape))
    }

    fn step(&mut self) -> Option<()> {
        let dtype = self.dtype();
        let shape = self.shape();
        match self.below(11) {
            0..3 => {
                let out = self.tensor(dtype, &shape);
                self.draw(out);
                self.views.push((out, dtype, shape));
            }
            3 => {
                // A padding row, or rows drawn again.
                let (rows, ..) = self.rows()?;
                match self.below(2) {
                    0 => drop(self.plan.step(json!(["fill_", rows, 0.0]))),
                    _ => self.draw(rows),
                }
            }
            4 => {
                let from = if self.below(2) == 0 {
                    self.rows()?
                } else {
                    self.known()?
                };
                let out = self.tensor(dtype, &from.2);
                self.plan.step(json!(["copy_", out, view(from.0)]));
                self.views.push((out, dtype, from.2));
            }
            5 => {
                let (from, dtype, shape) = self.known()?;
                let out = match self.below(2) {
                    0 => from,
                    _ => self.tensor(dtype, &shape),
                };
                let step = match self.below(4) {
                    0 => json!(["mul", out, view(from), 0.5]),
                    1 => json!(["add", out, view(from), 0.25, 1]),
                    2 => json!(["div", out, view(from), 3.0, null]),
                    _ => json!(["neg", out, view(from)]),
                };
                self.plan.step(step);
                if out != from {
                    self.views.push((out, dtype, shape));
                }
            }
            6 => {
                // A factor that is broadcast.
                let (from, dtype, shape) = self.known()?;
                let last = *shape.last()?;
                let factor = self.plan.tensor(dtype, &[last]);
                self.draw(factor);
                let out = self.tensor(dtype, &shape);
                self.plan
                    .step(json!(["mul", out, view(from), view(factor)]));
                self.views.push((out, dtype, shape));
            }
            7 | 8 => {
                let (a, dtype, shape) = self.known()?;
                let dim = self.below(shape.len() as u64 + 1);
                let is_stack = self.below(2) == 0;
                let mut whole = shape.clone();
                match is_stack {
                    true => whole.insert(dim as usize, 2),
                    false => *whole.get_mut(dim as usize)? *= 2,
                }
                let b = self.plan.tensor(dtype, &shape);
                self.draw(b);
                let out = self.tensor(dtype, &whole);
                let op = if is_stack { "stack" } else { "cat" };
                self.plan.step(json!([op, out, [view(a), view(b)], dim]));
                self.views.push((out, dtype, whole));
            }
            9 => {
                // Another stream for a while.
                let out = self.plan.tensor("float32", &[40]);
                self.plan
                    .step(json!(["manual_seed", 1, 7]))
                    .step(json!(["use_stream", 1]));
                self.draw(out);
                self.plan.step(json!(["use_stream", 0]));
                self.views.push((out, "float32", vec![40]));
            }
            _ => {
                let out = self.tensor(dtype, &shape);
                self.plan.step(json!(["fill_", out, 1.5]));
                self.views.push((out, dtype, shape));
            }
        }
        Some(())
    }

    fn plan(mut self) -> Builder {
        for _ in 0..2 + self.below(12) {
            self.step();
        }
        for (i, (view, ..)) in self.views.clone().iter().enumerate() {
            self.plan.parameter(&format!("p{i}"), *view);
        }
        // Memory that nothing has written.
        let unset = self.plan.tensor("float32", &[5]);
        self.plan.parameter("unset", unset);
        self.plan
    }
}

fn read(plan: &Builder) -> InitPlan {
    let mut json = plan.json();
    json["version"] = json!(2);
    InitPlan::from_json(&serde_json::to_vec(&json).unwrap())
        .unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn check(seed: u64) -> bool {
    let builder = Random::new(seed).plan();
    let plan = read(&builder);
    let start = CpuStream::new(Mt19937::new(seed)).threads(NonZero::<usize>::MIN);
    let mut end = start.clone();
    let Ok(whole) = plan.materialize(&mut end) else {
        return false;
    };
    let shown = || serde_json::to_string(&builder.json()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let half = Dtype::Bfloat16;
    let save = Save::default().dtype(Some(half));
    plan.save(&path, &mut start.clone(), save, |_| true)
        .unwrap();
    let file = TensorFile::open(&path).unwrap();
    let mut places = plan.places(&start).unwrap();
    let mut numbers = Random::new(seed ^ 5);
    // In any order, so that positions are found in any order.
    for (name, tensor) in whole.iter().rev() {
        let (all, size) = (tensor.to_bytes(), tensor.dtype().size());
        let numel = (all.len() / size) as u64;
        let mut ranges = vec![0..numel, 0..0];
        for _ in 0..4 {
            let start = numbers.below(numel + 1);
            ranges.push(start..start + numbers.below(numel - start + 1));
        }
        for range in ranges {
            let bytes = range.start as usize * size..range.end as usize * size;
            let mut made = vec![0xa5; bytes.len()];
            places
                .fill(name, range.clone(), tensor.dtype(), &mut made)
                .unwrap();
            assert_eq!(
                made,
                all[bytes],
                "{name} {range:?} of seed {seed}: {}",
                shown()
            );
            let mut cast = vec![0xa5; 2 * (range.end - range.start) as usize];
            places.fill(name, range.clone(), half, &mut cast).unwrap();
            let expected = file.get(name).unwrap().to_bytes();
            let expected = &expected[2 * range.start as usize..2 * range.end as usize];
            assert_eq!(
                cast,
                expected,
                "{name} {range:?} as bfloat16 of seed {seed}: {}",
                shown()
            );
        }
    }
    assert_eq!(
        places.end().unwrap(),
        end.position().unwrap(),
        "seed {seed}: {}",
        shown()
    );
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn ranges_are_those_of_the_whole_tensors(seed in any::<u64>()) {
        check(seed);
    }
}

/// Most random plans can be made, or the property would say nothing.
#[test]
fn random_plans_are_made() {
    let made = (0..200).filter(|seed| check(*seed)).count();
    assert!(made >= 180, "{made}");
}

#[test]
fn ranges_that_do_not_exist_are_refused() {
    let mut plan = Builder::default();
    let weight = plan.tensor("float32", &[4, 5]);
    plan.step(json!(["normal_", weight, 0.0, 1.0]))
        .parameter("weight", weight);
    let plan = plan.plan();
    let mut places = plan.places(&Mt19937::new(1)).unwrap();
    let mut fill =
        |name: &str, range, bytes| places.fill(name, range, Dtype::Float32, &mut vec![0; bytes]);
    assert!(matches!(
        fill("bias", 0..1, 4),
        Err(PlanError::NoSuchName(_))
    ));
    #[allow(clippy::reversed_empty_ranges)]
    for (range, bytes) in [(0..21, 84), (3..2, 0), (0..2, 4), (0..u64::MAX, 8)] {
        let error = fill("weight", range, bytes).unwrap_err();
        assert!(matches!(error, PlanError::Range { has: 20, .. }), "{error}");
    }
    fill("weight", 20..20, 0).unwrap();
    fill("weight", 0..20, 80).unwrap();
}

/// A part of what no machine holds, made from parts of what it is made from.
#[test]
fn ranges_of_huge_tensors_are_made_from_ranges() {
    let mut plan = Builder::default();
    let [q, k] = [0, 1].map(|_| plan.tensor("float32", &[1 << 20, 1 << 10, 1 << 10]));
    let both = plan.tensor("float32", &[1 << 20, 1 << 11, 1 << 10]);
    let half = plan.tensor("bfloat16", &[1 << 20, 1 << 11, 1 << 10]);
    plan.step(json!(["normal_", q, 0.0, 0.02]))
        .step(json!(["trunc_normal_", k, 0.0, 0.02, -2.0, 2.0]))
        .step(json!(["cat", both, [view(q), view(k)], 1]))
        .step(json!(["mul", both, view(both), 0.5]))
        .step(json!(["copy_", half, view(both)]))
        .parameter("both", both)
        .parameter("half", half);
    let plan = plan.plan();
    let start = Mt19937::new(3);
    let mut places = plan.places(&start).unwrap();
    // The end of a piece of q, and the start of one of k.
    let piece = 1u64 << 20;
    let at = (1 << 19) * 2 * piece + piece - 32;
    let mut made = vec![0; 256];
    places
        .fill("both", at..at + 64, Dtype::Float32, &mut made)
        .unwrap();
    let mut expected = [0f32; 64];
    for (offset, values) in [
        ((1 << 19) * piece + piece - 32, 0..32),
        ((1 << 40) + (1 << 19) * piece, 32..64),
    ] {
        let mut generator = start.clone();
        generator.skip(offset);
        torch_rng::normal_block_(&mut generator, &mut expected[values], 0.0, 0.02).unwrap();
    }
    let expected = expected.map(|value| value * 0.5);
    assert_eq!(made, expected.map(f32::to_le_bytes).concat());
    let mut cast = vec![0; 128];
    places
        .fill("half", at..at + 64, Dtype::Bfloat16, &mut cast)
        .unwrap();
    let halves = expected.map(|value| half::bf16::from_f32(value).to_le_bytes());
    assert_eq!(cast, halves.concat());
}
