//! `locate` finds seeds and positions from values, and none where there are none.

use crate::common::bytes;
use tch::{Device, Kind, Tensor};
use tch_init::explain::{Located, NamedView, Options, Place, locate};
use tch_init::init::{self, FanMode, Nonlinearity};
use tch_init::rng::Mt19937;
use tch_init::tensor::{Dtype, TensorView};
use tch_init::{Generator, InitError};

/// The generator of libtorch at a position.
fn at(seed: u64, word: u64) -> Generator {
    let mut stream = Mt19937::new(seed);
    stream.skip(word);
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.set_state(&stream.to_state().to_bytes()).unwrap();
    generator
}

fn located(tensors: &[(&str, &[usize], Vec<u8>)], options: &Options) -> Vec<Located> {
    let views: Vec<NamedView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NamedView {
            name: (*name).to_owned(),
            view: TensorView::contiguous(Dtype::Float32, shape, bytes).unwrap(),
        })
        .collect();
    locate(&views, options)
}

fn origin(located: &Located) -> Option<(u64, u64, usize)> {
    match located.place {
        Place::Drawn {
            seed,
            word,
            changed,
            ..
        } => Some((seed, word, changed)),
        _ => None,
    }
}

#[test]
fn any_seed_and_position_is_found() {
    type Init = fn(&mut Tensor, &mut Generator) -> Result<(), InitError>;
    let inits: [Init; 6] = [
        |tensor, generator| init::uniform_(tensor, 0.0, 1.0, Some(generator)),
        |tensor, generator| {
            let leaky = Nonlinearity::LeakyRelu {
                negative_slope: 5f64.sqrt(),
            };
            init::kaiming_uniform_(tensor, FanMode::FanIn, leaky, Some(generator))
        },
        |tensor, generator| init::xavier_uniform_(tensor, 1.0, Some(generator)),
        |tensor, generator| init::normal_(tensor, 0.0, 0.02, Some(generator)),
        |tensor, generator| {
            init::kaiming_normal_(tensor, FanMode::FanOut, Nonlinearity::Relu, Some(generator))
        },
        |tensor, generator| init::trunc_normal_(tensor, 0.0, 0.02, -2.0, 2.0, Some(generator)),
    ];
    // Positions on both sides of a block of 624 words.
    let mut random = Mt19937::new(1);
    for (number, init) in inits.into_iter().enumerate() {
        let seed = u64::from(random.next_u32());
        let word = [0, 623, 624, 1, 3_000_017, 77_777_777][number];
        let shape: [usize; 2] = [[37, 41], [100, 30]][number % 2];
        let mut generator = at(seed, word);
        let sizes = shape.map(|size| size as i64);
        let mut tensor = Tensor::zeros(sizes, (Kind::Float, Device::Cpu));
        init(&mut tensor, &mut generator).unwrap();
        let found = located(&[("w", &shape, bytes(&tensor))], &Options::default());
        assert_eq!(
            origin(&found[0]),
            Some((seed, word, 0)),
            "{number}: {found:?}"
        );
        if word > 700 && number == 4 {
            // Not within so many words.
            let options = Options::default().max_words(word - 1);
            let found = located(&[("w", &shape, bytes(&tensor))], &options);
            assert!(matches!(found[0].place, Place::NoSeed { .. }), "{found:?}");
        }
    }
}

#[test]
fn the_given_seed_is_searched_for_what_is_too_small() {
    let mut generator = at(5, 1000);
    let mut tensor = Tensor::zeros([4, 5], (Kind::Float, Device::Cpu));
    init::uniform_(&mut tensor, -1.0, 1.0, Some(&mut generator)).unwrap();
    let tensors: [(&str, &[usize], Vec<u8>); 1] = [("w", &[4, 5], bytes(&tensor))];
    let found = located(&tensors, &Options::default().seed(5));
    assert_eq!(origin(&found[0]), Some((5, 1000, 0)));
    for options in [Options::default(), Options::default().seed(6)] {
        let found = located(&tensors, &options);
        assert_eq!(found[0].place, Place::TooLittle);
    }
}

#[test]
fn no_seed_is_found_where_there_is_none() {
    // A generator of another kind.
    let mut state = 1_u64;
    let mut word = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let mut tensors: Vec<(String, Vec<f32>)> = Vec::new();
    for number in 0..60 {
        let mut grid = || (word() & 0x00ff_ffff) as f32 / 16_777_216.0;
        let n = 1500 + number;
        let values: Vec<f32> = match number % 5 {
            // On the grid of torch.rand, as a GPU draws.
            0 => (0..n).map(|_| grid()).collect(),
            1 => (0..n).map(|_| grid().mul_add(0.2, -0.1)).collect(),
            // A uniform draw after steps of training.
            2 => (0..n)
                .map(|_| grid().mul_add(0.2, -0.1) + 1e-3 * (grid() - grid()))
                .collect(),
            3 => (0..n)
                .map(|_| (0..12).map(|_| grid()).sum::<f32>() - 6.0)
                .collect(),
            _ => {
                let value = grid();
                vec![value; n]
            }
        };
        tensors.push((format!("{number}"), values));
    }
    let shapes: Vec<[usize; 1]> = tensors.iter().map(|(_, values)| [values.len()]).collect();
    let tensors: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .zip(&shapes)
        .map(|((name, values), shape)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name.as_str(), shape.as_slice(), bytes.collect())
        })
        .collect();
    for (number, found) in located(&tensors, &Options::default()).iter().enumerate() {
        let is_expected = match number % 5 {
            0 | 1 => matches!(found.place, Place::OtherGenerator { .. }),
            2 | 3 => found.place == Place::NoDraw,
            _ => matches!(found.place, Place::Constant { .. }),
        };
        assert!(is_expected, "{number}: {found:?}");
    }
}
