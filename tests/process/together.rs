//! Draws that are made together: large ones into parts of few storages, with other writes between
//! them, against one step after the other.

use crate::build::{Builder, made, seeded, view};
use crate::common::bytes;
use proptest::prelude::*;
use serde_json::json;
use std::ops::Range;
use tch::{Device, Kind, Tensor};
use tch_init::init;

const NUMEL: usize = 700_000;
const STORAGES: usize = 3;

#[derive(Debug, Clone)]
struct Step {
    op: &'static str,
    storage: usize,
    elements: Range<usize>,
    /// Where a copy comes from.
    other: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop::sample::select(vec![
        "normal_",
        "normal_",
        "normal_",
        "uniform_",
        "fill_",
        "copy_",
        "trunc_normal_",
    ]);
    let few = 0..NUMEL - 40;
    // Often the whole, and often a part that has other parts for neighbors.
    let elements = prop_oneof![
        Just(0..NUMEL),
        (0usize..4).prop_map(|i| i * NUMEL / 4..(i + 1) * NUMEL / 4),
        (0..NUMEL, 0..NUMEL).prop_map(|(a, b)| a.min(b)..a.max(b)),
        (few, 0usize..40).prop_map(|(a, length)| a..a + length),
    ];
    (op, 0..STORAGES, elements, 0..STORAGES).prop_map(|(op, storage, elements, other)| Step {
        op,
        storage,
        elements,
        other,
    })
}

impl Step {
    fn add(&self, plan: &mut Builder, dtype: &str) {
        let mut part = |storage: usize| {
            let Range { start, end } = self.elements;
            plan.view(json!([storage, dtype, [end - start], start]))
        };
        let (out, other) = (part(self.storage), part(self.other));
        plan.step(match self.op {
            "fill_" => json!(["fill_", out, 0.5]),
            "copy_" => json!(["copy_", out, view(other)]),
            "uniform_" => json!(["uniform_", out, -0.25, 0.5]),
            "trunc_normal_" => json!(["trunc_normal_", out, 0.0, 1.0, -1.0, 1.5]),
            _ => json!(["normal_", out, 0.1, 0.7]),
        });
    }

    fn make(&self, storages: &[Tensor], generator: &mut tch_init::Generator) {
        let Range { start, end } = self.elements;
        let part = |storage: usize| storages[storage].narrow(0, start as i64, (end - start) as i64);
        let mut out = part(self.storage);
        match self.op {
            "fill_" => init::constant_(&mut out, 0.5),
            "copy_" => {
                let from = part(self.other).copy();
                out.copy_(&from);
                Ok(())
            }
            "uniform_" => init::uniform_(&mut out, -0.25, 0.5, Some(generator)),
            "trunc_normal_" => init::trunc_normal_(&mut out, 0.0, 1.0, -1.0, 1.5, Some(generator)),
            _ => init::normal_(&mut out, 0.1, 0.7, Some(generator)),
        }
        .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn draws_made_together_are_those_made_in_turn(
        steps in prop::collection::vec(step(), 1..14),
        dtype in prop::sample::select(vec![("float32", Kind::Float), ("bfloat16", Kind::BFloat16), ("float64", Kind::Double)]),
        wanted in 0u8..8,
        kept in any::<bool>(),
        seed in any::<i64>(),
    ) {
        // libtorch's number of threads is the process's.
        let _threads = crate::common::default_stream();
        let (dtype, kind) = dtype;
        let mut plan = Builder::default();
        for i in 0..STORAGES {
            let whole = plan.tensor(dtype, &[NUMEL as u64]);
            plan.step(json!(["fill_", whole, 0.0])).parameter(&i.to_string(), whole);
        }
        for step in &steps {
            step.add(&mut plan, dtype);
        }
        let plan = plan.plan();
        let mut generator = seeded(seed);
        if kept {
            init::normal_(&mut Tensor::zeros([1], (Kind::Float, Device::Cpu)), 0.0, 1.0, Some(&mut generator)).unwrap();
        }

        let storages = [(); STORAGES].map(|()| Tensor::zeros([NUMEL as i64], (kind, Device::Cpu)));
        let mut in_turn = generator.clone_state().unwrap();
        for step in &steps {
            step.make(&storages, &mut in_turn);
        }
        let end = in_turn.get_state().unwrap();

        let threads = tch::get_num_threads();
        for count in [1, 2, 5] {
            tch::set_num_threads(count);
            let is_wanted = |name: &str| wanted >> name.parse::<u32>().unwrap() & 1 == 1;
            let (made, state) = made(&plan, generator.clone_state().unwrap(), is_wanted);
            prop_assert_eq!(&state, &end, "{} threads", count);
            for (name, ours) in made {
                let theirs = bytes(&storages[name.parse::<usize>().unwrap()]);
                prop_assert!(ours == theirs, "{} threads: {}", count, name);
            }
        }
        tch::set_num_threads(threads);
    }
}
