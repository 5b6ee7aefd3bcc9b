//! Generator states handed over in both directions.

use crate::common::reference::{expected, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tch_init::{Generator, get_rng_state, manual_seed, set_rng_state};

fn draw_on() -> Vec<Vec<u8>> {
    let options = (Kind::Float, Device::Cpu);
    vec![
        get_rng_state().unwrap(),
        bytes(&Tensor::randn([5], options)),
        bytes(&Tensor::rand([700], options)),
        get_rng_state().unwrap(),
    ]
}

/// Python goes on from our states, we go on from the states it then gives.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn states_are_exchanged_both_ways() {
    let _stream = default_stream();
    let states: Vec<Vec<u8>> = [
        (0, 0),
        (-1, 1),
        (7, 623),
        (7, 624),
        (1i64 << 40, 625),
        (3, 5000),
    ]
    .into_iter()
    .map(|(seed, words)| {
        manual_seed(seed).unwrap();
        drop(Tensor::rand([words], (Kind::Float, Device::Cpu)));
        if words % 2 == 1 {
            // Leaves the second normal of a pair in the generator.
            drop(Tensor::randn([1], (Kind::Double, Device::Cpu)));
        }
        get_rng_state().unwrap()
    })
    .collect();
    let cases: Vec<_> = states
        .iter()
        .map(|state| json!({ "kind": "state", "state": state }))
        .collect();
    for (state, expected) in states.iter().zip(expected(&cases)) {
        set_rng_state(state).unwrap();
        assert_eq!(first_difference(&draw_on(), &expected.chunks), None);

        let theirs = expected.chunks.last().unwrap();
        let mut generator = Generator::new(Device::Cpu).unwrap();
        generator.set_state(theirs).unwrap();
        assert_eq!(&generator.get_state().unwrap(), theirs);
    }
}
