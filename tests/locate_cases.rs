//! `locate` finds random draws of libtorch, and says no seed that is not theirs: `make test-explain` takes 1,000 of them.

use crate::common::bytes;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};
use tch_init::explain::{NamedView, Options, Place, locate};
use tch_init::init::{self, FanMode, Nonlinearity};
use tch_init::rng::Mt19937;
use tch_init::tensor::{Dtype, TensorView};
use tch_init::{Generator, InitError};

type Init = fn(&mut Tensor, &mut Generator) -> Result<(), InitError>;

const INITS: [(&str, Init); 8] = [
    ("uniform_(0, 1)", |tensor, generator| {
        init::uniform_(tensor, 0.0, 1.0, Some(generator))
    }),
    ("uniform_(-0.1, 0.1)", |tensor, generator| {
        init::uniform_(tensor, -0.1, 0.1, Some(generator))
    }),
    ("kaiming_uniform_", |tensor, generator| {
        let negative_slope = 5f64.sqrt();
        let leaky = Nonlinearity::LeakyRelu { negative_slope };
        init::kaiming_uniform_(tensor, FanMode::FanIn, leaky, Some(generator))
    }),
    ("xavier_uniform_", |tensor, generator| {
        init::xavier_uniform_(tensor, 1.0, Some(generator))
    }),
    ("normal_(0, 0.02)", |tensor, generator| {
        init::normal_(tensor, 0.0, 0.02, Some(generator))
    }),
    ("normal_(0, 1)", |tensor, generator| {
        init::normal_(tensor, 0.0, 1.0, Some(generator))
    }),
    ("kaiming_normal_", |tensor, generator| {
        init::kaiming_normal_(tensor, FanMode::FanOut, Nonlinearity::Relu, Some(generator))
    }),
    ("trunc_normal_", |tensor, generator| {
        init::trunc_normal_(tensor, 0.0, 0.02, -2.0, 2.0, Some(generator))
    }),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Later {
    Nothing,
    /// One element in a hundred is changed.
    Changed,
    /// The five elements in a hundred that are farthest from the mean, or fewer.
    Clamped,
    Transposed,
}

#[test]
#[ignore = "takes a minute; more with TCH_INIT_CASES=1000: make test-explain"]
fn random_draws_are_found() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |number| number.parse().unwrap())
    };
    let cases = setting("TCH_INIT_CASES", 12);
    // The most words after a seed that are searched, as a power of two: 2^32 take half a second.
    let max_words = 1 << setting("TCH_INIT_WORDS", 26);
    let mut random = Mt19937::new(20_261_130);
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in 0..cases {
        let mut below = |n: u64| random.random64() % n;
        let seed = below(1 << 32);
        let word = (1_u64 << below(41)) - below(2);
        let word = word - below(word.max(2) / 2);
        let (kind, dtype) = match below(8) {
            0 => (Kind::BFloat16, Dtype::Bfloat16),
            1 => (Kind::Half, Dtype::Float16),
            _ => (Kind::Float, Dtype::Float32),
        };
        let is_half = dtype != Dtype::Float32;
        let (name, init) = INITS[below(INITS.len() as u64) as usize];
        let rows = below(100) + 8;
        let least = if is_half { 5300 } else { 1500 };
        let columns = (least + below(8000)).div_ceil(rows);
        let later = match below(4) {
            0 => Later::Transposed,
            1 => Later::Changed,
            2 if !is_half => Later::Clamped,
            _ => Later::Nothing,
        };
        // Wrong values that show few bits are found only in larger tensors, and other wrong ones in somewhat larger ones.
        let columns = match (is_half, later) {
            (true, Later::Changed) => 90_000_u64.div_ceil(rows),
            (false, Later::Changed) => columns.max(2_100_u64.div_ceil(rows)),
            _ => columns,
        };

        let drawn = drawn_at((seed, word), init, [rows as i64, columns as i64], kind);
        let yours = match later {
            Later::Nothing => drawn.copy(),
            Later::Changed => {
                let changed = drawn.copy();
                let mut some = changed.view([-1]).slice(0, below(100) as i64, None, 100);
                some += 1e-3;
                changed
            }
            Later::Clamped => {
                let (deviation, mean) = (drawn.std(true), drawn.mean(None));
                let far = if name.contains("uniform") { 1.65 } else { 2.0 };
                drawn.clamp_tensor(
                    Some(&mean - &deviation * far),
                    Some(&mean + &deviation * far),
                )
            }
            Later::Transposed => drawn.tr().contiguous(),
        };
        let shape: Vec<usize> = yours.size().iter().map(|size| *size as usize).collect();
        let changed = match later {
            Later::Changed | Later::Clamped => {
                i64::try_from(yours.not_equal_tensor(&drawn).sum(Kind::Int64)).unwrap()
            }
            _ => 0,
        };
        let values = bytes(&yours);
        let view = TensorView::contiguous(dtype, &shape, &values).unwrap();
        let name_in_file = "weight".to_owned();
        let tensors = [NamedView {
            name: name_in_file,
            view,
        }];
        let options = Options::default().other_seeds(0).max_words(max_words);
        let located = &locate(&tensors, &options)[0];
        let what =
            format!("case {case}: {dtype} {shape:?} {name} {later:?} of seed {seed}, word {word}");
        let is_found = match &located.place {
            Place::Drawn {
                seed: s,
                word: w,
                changed: c,
                order,
                ..
            } => {
                let is_transposed = later == Later::Transposed && rows != columns;
                let expected = (seed, word, changed as usize, is_transposed);
                // Square ones are as they were drawn, transposed or not.
                let order = order.is_some() && rows != columns;
                assert_eq!((*s, *w, *c, order), expected, "{what}: {located:?}");
                true
            }
            Place::NoSeed { .. } => {
                assert!(word > max_words, "{what}: {located:?}");
                true
            }
            Place::TooLittle if word > max_words => later != Later::Nothing || is_half,
            _ => {
                println!("{what}: {located:?}");
                false
            }
        };
        let (all, found) = found.entry(format!("{dtype}, {later:?}")).or_default();
        *all += 1;
        *found += usize::from(is_found);
    }
    println!("found of all: {found:#?}");
    // What was clamped may look like no draw, and halves may be too few.
    let is_sure = |kind: &str| kind.starts_with("float32") && !kind.ends_with("Clamped");
    for (kind, (all, found)) in &found {
        assert!(all == found || !is_sure(kind), "{kind}");
    }
}

/// What libtorch draws from a word of the stream of a seed on.
fn drawn_at((seed, word): (u64, u64), init: Init, shape: [i64; 2], kind: Kind) -> Tensor {
    let mut stream = Mt19937::new(seed);
    stream.skip(word);
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.set_state(&stream.to_state().to_bytes()).unwrap();
    let mut drawn = Tensor::zeros(shape, (kind, Device::Cpu));
    init(&mut drawn, &mut generator).unwrap();
    drawn
}

/// Values that show few bits, of which one in a hundred was halved later.
#[test]
fn changed_halves_are_found() {
    let seed = 4_042_322_160;
    for (kind, dtype, init) in [
        (Kind::BFloat16, Dtype::Bfloat16, INITS[4].1),
        (Kind::Half, Dtype::Float16, INITS[1].1),
    ] {
        let drawn = drawn_at((seed, 77), init, [300, 300], kind);
        let changed = drawn.copy();
        let mut some = changed.view([-1]).slice(0, 37, None, 100);
        some *= 0.5;
        let count = i64::try_from(changed.not_equal_tensor(&drawn).sum(Kind::Int64)).unwrap();
        let values = bytes(&changed);
        let tensors = [NamedView {
            name: "weight".to_owned(),
            view: TensorView::contiguous(dtype, &[300, 300], &values).unwrap(),
        }];
        let located = &locate(&tensors, &Options::default().other_seeds(0))[0];
        let Place::Drawn {
            seed: found,
            word,
            changed,
            ..
        } = &located.place
        else {
            panic!("{dtype}: {located:?}");
        };
        assert_eq!((*found, *word, *changed), (seed, 77, count as usize));
    }
}

/// Values beyond the bounds, and NaN, do not hide what the others are drawn from.
#[test]
fn outliers_do_not_hide_a_draw() {
    for (name, init) in [INITS[1], INITS[2], INITS[4]] {
        let drawn = drawn_at((11, 5), init, [40, 60], Kind::Float);
        let values = drawn.copy().view([-1]);
        for (at, value) in [(7, 100.0), (501, -3.0), (999, f64::NAN)] {
            let mut one = values.get(at);
            one += value;
        }
        let values = bytes(&values);
        let tensors = [NamedView {
            name: "weight".to_owned(),
            view: TensorView::contiguous(Dtype::Float32, &[40, 60], &values).unwrap(),
        }];
        let located = &locate(&tensors, &Options::default().other_seeds(0))[0];
        let Place::Drawn {
            seed,
            word,
            changed,
            ..
        } = &located.place
        else {
            panic!("{name}: {located:?}");
        };
        assert_eq!((*seed, *word, *changed), (11, 5, 3), "{name}");
    }
}
