//! `locate` finds seeds and positions from values, and none where there are none.

use crate::common::bytes;
use tch::{Device, Kind, Tensor};
use tch_init::explain::{
    Expected, Located, NamedView, Options, Place, Progress, Stage, explain_with_progress, locate,
    locate_with_progress,
};
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
    located_in(Dtype::Float32, tensors, options)
}

fn located_in(
    dtype: Dtype,
    tensors: &[(&str, &[usize], Vec<u8>)],
    options: &Options,
) -> Vec<Located> {
    let views: Vec<NamedView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NamedView {
            name: (*name).to_owned(),
            view: TensorView::contiguous(dtype, shape, bytes).unwrap(),
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

/// Values that were cut at bounds show nothing, and the others the seed.
#[test]
fn clamped_tensors_show_their_seed() {
    let (seed, word) = (3_735_928_559, 70_001);
    type Draw = fn(&mut Tensor, &mut Generator) -> Result<(), InitError>;
    let uniform: Draw = |tensor, generator| init::uniform_(tensor, -0.1, 0.1, Some(generator));
    let xavier: Draw = |tensor, generator| init::xavier_uniform_(tensor, 1.0, Some(generator));
    let normal: Draw = |tensor, generator| init::normal_(tensor, 0.0, 0.02, Some(generator));
    for (draw, low, high) in [
        (uniform, -0.09, 0.09),
        (uniform, -0.1, 0.06),
        (uniform, -0.07, 0.1),
        (xavier, -0.15, 0.15),
        (normal, -0.04, 0.04),
        (normal, -1.0, 0.03),
    ] {
        let shape: [usize; 2] = [60, 80];
        let mut tensor = Tensor::zeros([60, 80], (Kind::Float, Device::Cpu));
        draw(&mut tensor, &mut at(seed, word)).unwrap();
        let clamped = tensor.clamp(low, high);
        let changed = i64::try_from(clamped.not_equal_tensor(&tensor).sum(Kind::Int64)).unwrap();
        assert!(changed > 100);
        let found = located(&[("w", &shape, bytes(&clamped))], &Options::default());
        let expected = Some((seed, word, changed as usize));
        assert_eq!(origin(&found[0]), expected, "{low} {high}: {found:?}");
    }
    // Of values that no generator of PyTorch drew, nothing is claimed.
    let mut state = 1_u64;
    let values = (0..4800).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(3);
        ((state >> 40) as f32 / 16_777_216.0)
            .mul_add(0.2, -0.1)
            .clamp(-0.09, 0.09)
    });
    let values: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let found = located(&[("w", &[60, 80], values)], &Options::default());
    assert_eq!(origin(&found[0]), None, "{found:?}");
}

#[test]
fn progress_is_reported() {
    let tensors = linears(Kind::Float, 3, 30, &mut at(99, 7));
    let views: Vec<NamedView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NamedView {
            name: name.clone(),
            view: TensorView::contiguous(Dtype::Float32, shape, bytes).unwrap(),
        })
        .collect();
    let mut reports: Vec<Progress> = Vec::new();
    let located = locate_with_progress(&views, &Options::default(), |p| reports.push(p));
    assert_eq!(located.len(), 6);
    let expected = |p: &Progress| p.stage == Stage::Search && p.of == 6 && p.done <= 6;
    assert!(
        reports.len() >= 6 && reports.iter().all(expected),
        "{reports:?}"
    );
    // Two tensors of the reference are not there.
    let expected: Vec<Expected<'_>> = views
        .iter()
        .map(|tensor| Expected {
            tensor: tensor.clone(),
            drawn: None,
        })
        .collect();
    let mut compared = Vec::new();
    let options = Options::default().other_seeds(0);
    let explained = explain_with_progress(&views[..4], &expected, &options, |p| {
        if p.stage == Stage::Compare {
            compared.push((p.done, p.of));
        }
    });
    assert!(
        explained
            .unwrap()
            .iter()
            .all(|explanation| explanation.equal)
    );
    assert_eq!(compared, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}

#[test]
fn the_given_seed_is_searched_for_what_is_too_small() {
    let mut generator = at(5, 1000);
    let mut tensor = Tensor::zeros([4, 5], (Kind::Float, Device::Cpu));
    init::uniform_(&mut tensor, -1.0, 1.0, Some(&mut generator)).unwrap();
    let tensors: [(&str, &[usize], Vec<u8>); 1] = [("w", &[4, 5], bytes(&tensor))];
    let few = Options::default().other_seeds(0);
    for options in [few.seed(5), few.other_seeds(6)] {
        let found = located(&tensors, &options);
        assert_eq!(origin(&found[0]), Some((5, 1000, 0)));
    }
    for options in [few, few.seed(6), few.other_seeds(5)] {
        let found = located(&tensors, &options);
        assert_eq!(found[0].place, Place::TooLittle);
    }
}

#[test]
fn small_networks_are_found_by_trying_small_seeds() {
    for (kind, dtype) in [
        (Kind::Float, Dtype::Float32),
        (Kind::BFloat16, Dtype::Bfloat16),
    ] {
        let mut tensors = linears(kind, 3, 6, &mut at(1729, 0));
        // A constant and values that are not drawn.
        tensors.push((
            "norm.weight".to_owned(),
            vec![6],
            drawn(kind, &[6], &mut at(0, 0), |tensor, _| init::ones_(tensor)),
        ));
        let tensors: Vec<(&str, &[usize], Vec<u8>)> = tensors
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), shape.as_slice(), bytes.clone()))
            .collect();
        let found = located_in(dtype, &tensors, &Options::default().other_seeds(2000));
        let places: Vec<_> = found.iter().filter_map(origin).collect();
        let words = [36, 0, 78, 42, 120, 84];
        assert_eq!(places, words.map(|word| (1729, word, 0)), "{found:?}");
        let found = located_in(dtype, &tensors, &Options::default().other_seeds(1729));
        assert!(found.iter().all(|found| origin(found).is_none()));
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

/// A tensor of a kind, drawn by `init`.
fn drawn(
    kind: Kind,
    shape: &[usize],
    generator: &mut Generator,
    init: impl FnOnce(&mut Tensor, &mut Generator) -> Result<(), InitError>,
) -> Vec<u8> {
    let sizes: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    let mut tensor = Tensor::zeros(&sizes[..], (kind, Device::Cpu));
    init(&mut tensor, generator).unwrap();
    bytes(&tensor)
}

#[test]
fn tensors_of_16_bits_show_any_seed_alone() {
    let (seed, word) = (3_141_592_653, 1_000_003);
    let normal: fn(&mut Tensor, &mut Generator) -> Result<(), InitError> =
        |tensor, generator| init::normal_(tensor, 0.0, 0.02, Some(generator));
    let uniform: fn(&mut Tensor, &mut Generator) -> Result<(), InitError> =
        |tensor, generator| init::xavier_uniform_(tensor, 1.0, Some(generator));
    for (kind, dtype, init) in [
        (Kind::BFloat16, Dtype::Bfloat16, uniform),
        (Kind::BFloat16, Dtype::Bfloat16, normal),
        (Kind::Half, Dtype::Float16, uniform),
        (Kind::Half, Dtype::Float16, normal),
    ] {
        let values = drawn(kind, &[96, 64], &mut at(seed, word), init);
        let found = located_in(dtype, &[("w", &[96, 64], values)], &Options::default());
        assert_eq!(origin(&found[0]), Some((seed, word, 0)), "{found:?}");
    }
    // Half as many are too few.
    let values = drawn(Kind::BFloat16, &[48, 64], &mut at(seed, word), normal);
    let found = located_in(
        Dtype::Bfloat16,
        &[("w", &[48, 64], values)],
        &Options::default(),
    );
    assert_eq!(found[0].place, Place::TooLittle);
}

/// Linear layers as PyTorch draws them: weight, then bias.
fn linears(
    kind: Kind,
    layers: usize,
    features: usize,
    generator: &mut Generator,
) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bound = 1.0 / (features as f64).sqrt();
    let mut tensors = Vec::new();
    // As safetensors sorts names; the tenth layer comes second.
    for layer in 0..layers {
        for (name, shape) in [
            ("weight", vec![features, features]),
            ("bias", vec![features]),
        ] {
            let values = drawn(kind, &shape, generator, |tensor, generator| {
                init::uniform_(tensor, -bound, bound, Some(generator))
            });
            tensors.push((format!("layers.{layer}.{name}"), shape, values));
        }
    }
    tensors.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    tensors
}

#[test]
fn small_tensors_show_a_seed_together() {
    let (seed, word) = (2_718_281_828, 12_345);
    for (kind, dtype, layers, features) in [
        (Kind::Float, Dtype::Float32, 2, 30),
        (Kind::Float, Dtype::Float32, 12, 12),
        (Kind::BFloat16, Dtype::Bfloat16, 12, 24),
    ] {
        let tensors = linears(kind, layers, features, &mut at(seed, word));
        let tensors: Vec<(&str, &[usize], Vec<u8>)> = tensors
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), shape.as_slice(), bytes.clone()))
            .collect();
        let found = located_in(dtype, &tensors, &Options::default());
        let layer_words = (features * features + features) as u64;
        for found in &found {
            let mut parts = found.tensor.split('.').skip(1);
            let layer: u64 = parts.next().unwrap().parse().unwrap();
            let own = match parts.next() {
                Some("bias") => (features * features) as u64,
                _ => 0,
            };
            let expected = word + layer * layer_words + own;
            assert_eq!(origin(found), Some((seed, expected, 0)), "{found:?}");
        }
        // One layer is too little, and none is claimed.
        let found = located_in(dtype, &tensors[..2], &Options::default());
        assert!(found.iter().all(|found| found.place == Place::TooLittle));
    }
}

#[test]
fn biases_that_were_set_to_zero_still_took_words() {
    let (seed, word) = (99, 7);
    let mut tensors = linears(Kind::Float, 3, 30, &mut at(seed, word));
    for (name, _, bytes) in &mut tensors {
        if name.ends_with("bias") {
            bytes.fill(0);
        }
    }
    let tensors: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), shape.as_slice(), bytes.clone()))
        .collect();
    let found = located(&tensors, &Options::default());
    let places: Vec<_> = found.iter().filter_map(origin).collect();
    assert_eq!(places, [(99, 7, 0), (99, 937, 0), (99, 1867, 0)]);
}
