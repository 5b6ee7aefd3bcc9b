//! Plans written by hand, and what is made from them.

#[path = "../../crates/init-plan/tests/plan/build.rs"]
mod json;

pub use json::*;
use std::error::Error as _;
use tch::{Device, Tensor};
use tch_init::Generator;
use tch_init::plan::{CpuTensor, InitPlan, NeedsLibtorch, PlanError};
use tch_init::rng::{Mt19937, State};

pub fn seeded(seed: i64) -> Generator {
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(seed).unwrap();
    generator
}

/// The elements of every tensor as bytes, and the state that is left.
pub fn made(
    plan: &InitPlan,
    mut generator: Generator,
    wanted: impl Fn(&str) -> bool,
) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let start = generator.get_state().unwrap();
    let tensors = plan.materialize_only(&mut generator, &wanted).unwrap();
    let tensors = tensors
        .into_iter()
        .map(|(name, tensor)| (name, crate::common::bytes(&tensor)));
    let (tensors, state): (Vec<(String, Vec<u8>)>, _) =
        (tensors.collect(), generator.get_state().unwrap());
    check_ranges(plan, &start, &tensors);
    if let Some((without, end)) = without_libtorch(plan, &start, wanted) {
        assert_eq!(without, tensors, "{}", plan.to_json());
        assert_eq!(end, state, "{}", plan.to_json());
    }
    (tensors, state)
}

/// Halves of every tensor, made alone, from the last to the first.
fn check_ranges(plan: &InitPlan, start: &[u8], tensors: &[(String, Vec<u8>)]) {
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.set_state(start).unwrap();
    let mut places = plan.places(&generator).unwrap();
    for (name, expected) in tensors.iter().rev() {
        let entry = plan.get(name).unwrap();
        let numel: u64 = entry.shape.iter().product();
        for range in [numel / 2..numel, 0..numel / 2] {
            let size = entry.dtype.size();
            let bytes = range.start as usize * size..range.end as usize * size;
            let mut filled = vec![0xa5; bytes.len()];
            places
                .fill(name, range.clone(), entry.dtype, &mut filled)
                .unwrap();
            assert!(
                filled == expected[bytes],
                "{name} {range:?}: {}",
                plan.to_json()
            );
        }
    }
}

/// What a plan makes with libtorch; where it needs none, it makes the same without.
pub fn materialized(plan: &InitPlan, seed: i64) -> Result<Vec<(String, Tensor)>, PlanError> {
    let tensors = plan.materialize(&mut seeded(seed))?;
    made(plan, seeded(seed), |_| true);
    Ok(tensors)
}

/// The bytes of tensors by name, and the generator's state afterwards.
pub type Made = (Vec<(String, Vec<u8>)>, Vec<u8>);

/// What is made without libtorch, from a state; `None` if a step needs libtorch.
pub fn without_libtorch(
    plan: &InitPlan,
    state: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Option<Made> {
    let state = State::from_bytes(state).unwrap();
    let mut generator = Mt19937::from_state(&state).unwrap();
    match plan.materialize_only(&mut generator, wanted) {
        Ok(tensors) => {
            let bytes =
                |(name, tensor): (String, CpuTensor)| (name, tensor.to_bytes().into_owned());
            let end = generator.state().to_bytes().to_vec();
            Some((tensors.into_iter().map(bytes).collect(), end))
        }
        Err(error) => {
            let source = error.source().unwrap();
            assert!(source.is::<NeedsLibtorch>(), "{error}: {source}");
            None
        }
    }
}

/// The elements of a tensor.
pub fn elements(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_kind(tch::Kind::Double).contiguous().view([-1]);
    Vec::try_from(&flat).unwrap()
}
