//! Every value that the f32 normals of the block path are made of, against libtorch's own kernel.
//!
//! A state can be set so that the next 623 words are ones of our choice. With a second uniform
//! value of 0 the angle is 0, so the first normal of a pair is the radius. With a first one whose
//! radius is 1 the two are cosine and sine. Both runs take all 2^24 values the other can have.

use super::case::{bytes_of, engines, untemper};
use crate::common::default_stream;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};
use tch_init::distribution::Engine;
use tch_init::rng::{Mt19937, State};
use tch_init::set_rng_state;

/// Words that a state leaves to choose: no block has 624 to draw, as libtorch makes one when its
/// first word is drawn.
const CHOSEN: usize = 623;
/// Values in whole blocks of them.
const VALUES: usize = CHOSEN / 16 * 16;
/// All values of 24 bits.
const ALL: u32 = 1 << 24;

/// A state whose next words are those that `word` gives for 0 to 622.
fn state(word: impl Fn(usize) -> u32) -> State {
    let mut state = Mt19937::new(0).to_state();
    (state.left, state.next) = (624, 1);
    for (i, raw) in state.words[1..].iter_mut().enumerate() {
        *raw = untemper(word(i));
    }
    state
}

/// All states together draw, at places `place` of their pairs, every number of 24 bits once; at
/// the other places `constant`.
fn states(first: bool, constant: u32) -> impl Iterator<Item = State> {
    let pairs = (VALUES / 2) as u32;
    (0..ALL.div_ceil(pairs)).map(move |run| {
        state(|i| {
            let (block, j) = (i / 16, i % 16);
            let number = run * pairs + (block * 8 + j % 8) as u32;
            // The highest bits are not used; they get something too.
            let number = (number & (ALL - 1)) | number << 24;
            if (j < 8) == first { number } else { constant }
        })
    })
}

fn libtorch(state: &State) -> Vec<f32> {
    set_rng_state(&state.to_bytes()).unwrap();
    let mut tensor = Tensor::zeros([VALUES as i64], (Kind::Float, Device::Cpu));
    let tensor = tensor.normal_(0.0, 1.0);
    let mut values = vec![0f32; VALUES];
    tensor.copy_data(&mut values, VALUES);
    values
}

fn ours(engine: &Engine, state: &State) -> Vec<f32> {
    let mut values = vec![0f32; VALUES];
    let mut generator = Mt19937::from_state(state).unwrap();
    engine
        .normal_(&mut generator, &mut values, 0.0, 1.0)
        .unwrap();
    values
}

fn compare(states: impl Iterator<Item = State>) {
    let engines = engines();
    for state in states {
        let expected = libtorch(&state);
        for engine in &engines {
            let values = ours(engine, &state);
            let differs = |i: &usize| values[*i].to_bits() != expected[*i].to_bits();
            if bytes_of(&values) == bytes_of(&expected) {
                continue;
            }
            if let Some(i) = (0..VALUES).find(differs) {
                panic!(
                    "{}: value {i} of words {:?}, {:?} is {}, libtorch has {}",
                    engine.backend(),
                    drawn(&state, i / 16 * 16 + i % 8),
                    drawn(&state, i / 16 * 16 + i % 8 + 8),
                    values[i],
                    expected[i]
                );
            }
        }
    }
}

fn drawn(state: &State, i: usize) -> u32 {
    let mut generator = Mt19937::from_state(state).unwrap();
    generator.skip(i as u64);
    generator.next_u32() & (ALL - 1)
}

#[test]
fn chosen_words_are_drawn() {
    let word = |i: usize| 0x9e37_79b9_u32.wrapping_mul(i as u32);
    let mut generator = Mt19937::from_state(&state(word)).unwrap();
    for i in 0..CHOSEN {
        assert_eq!(generator.next_u32(), word(i));
    }
}

#[test]
fn every_radius() {
    let _stream = default_stream();
    compare(states(true, 0));
}

#[test]
fn every_sine_and_cosine() {
    let _stream = default_stream();
    compare(states(false, radius_one()));
}

/// A word whose radius is 1: then a normal is a cosine or a sine, and no rounding hides any bit.
fn radius_one() -> u32 {
    static WORD: OnceLock<u32> = OnceLock::new();
    *WORD.get_or_init(|| {
        // exp(-1/2) is what is left of 1.
        let near = ((1.0 - (-0.5f64).exp()) * f64::from(ALL)) as u32;
        let candidate = |i: usize| near - 150 + i as u32;
        let state = state(|i| {
            if i % 16 < 8 {
                candidate(i / 16 * 8 + i % 8)
            } else {
                0
            }
        });
        let values = libtorch(&state);
        let found = (0..VALUES).find(|i| i % 16 < 8 && values[*i] == 1.0);
        let found = found.expect("some radius is exactly 1");
        candidate(found / 16 * 8 + found % 8)
    })
}
