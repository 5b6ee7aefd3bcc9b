//! Against libtorch's own kernels, called through tch: values, and the state afterwards.

use super::case::{DTYPES, Draw, engines, untemper};
use crate::common::{bytes, default_stream};
use tch::{Device, Kind, Tensor};
use tch_init::distribution::{normal_interval_probability, randperm};
use tch_init::rng::{Draw as AnyDraw, Dtype, Randperm, Target};
use tch_init::rng::{Mt19937, State};
use tch_init::{get_rng_state, set_rng_state};

pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::Float32 => Kind::Float,
        Dtype::Float64 => Kind::Double,
        Dtype::Bfloat16 => Kind::BFloat16,
        Dtype::Float16 => Kind::Half,
        other => panic!("{other} is not drawn"),
    }
}

/// libtorch's bytes, or `None` where it rejects.
fn libtorch(draw: Draw, dtype: Dtype, numel: usize) -> Option<Vec<u8>> {
    let zeros = |numel: usize| Tensor::zeros([numel as i64], (kind(dtype), Device::Cpu));
    let mut tensor = match draw {
        // Every second element: not contiguous, whatever their number.
        Draw::NormalSerial { .. } if numel >= 16 => zeros(2 * numel).slice(0, 0, None, 2),
        _ => zeros(numel),
    };
    let filled = match draw {
        Draw::Uniform { from, to } => tensor.f_uniform_(from, to),
        Draw::Normal { mean, std } | Draw::NormalSerial { mean, std } => {
            tensor.f_normal_(mean, std)
        }
        Draw::TruncNormal { mean, std, a, b } => return truncated(tensor, mean, std, a, b),
    };
    filled.ok().map(|filled| bytes(&filled))
}

/// As `torch.nn.init.trunc_normal_` draws again what lies outside, or `None` where it would not.
fn truncated(mut tensor: Tensor, mean: f64, std: f64, a: f64, b: f64) -> Option<Vec<u8>> {
    let redraws = normal_interval_probability(mean, std, a, b) > 0.3;
    if !redraws {
        return None;
    }
    let bound = |bound: f64| Tensor::from_slice(&[bound]).to_kind(tensor.kind());
    let (low, high) = (bound(a), bound(b));
    tensor = tensor.f_normal_(mean, std).ok()?;
    loop {
        let outside = tensor.lt_tensor(&low).logical_or(&tensor.gt_tensor(&high));
        if outside.any().int64_value(&[]) == 0 {
            return Some(bytes(&tensor));
        }
        let fresh = tensor.empty_like().normal_(mean, std);
        tensor = fresh.where_self(&outside, &tensor);
    }
}

/// Runs one draw in libtorch and with every backend, from the same state, and compares all there
/// is. Our elements begin `offset` elements into their memory.
fn compare(start: &State, draw: Draw, dtype: Dtype, numel: usize, offset: usize) {
    set_rng_state(&start.to_bytes()).unwrap();
    let expected = libtorch(draw, dtype, numel);
    let expected_state = get_rng_state().unwrap();
    for engine in engines() {
        let case = || {
            format!(
                "{}: {draw:?} {dtype} {numel} at {offset} from ({}, {}), kept = {:?}, seed = {}",
                engine.backend(),
                start.left,
                start.next,
                start.next_double_normal,
                start.initial_seed
            )
        };
        let mut generator = Mt19937::from_state(start).unwrap();
        let ours = draw.bytes(&engine, &mut generator, dtype, numel, offset);
        match (&expected, ours) {
            (Some(expected), Ok(ours)) => {
                let size = dtype.size();
                let element = |i: usize| i * size..(i + 1) * size;
                let differs = |i: &usize| expected[element(*i)] != ours[element(*i)];
                if *expected != ours
                    && let Some(i) = (0..numel).find(differs)
                {
                    panic!(
                        "{}: element {i} is {:02x?}, libtorch has {:02x?}",
                        case(),
                        &ours[element(i)],
                        &expected[element(i)]
                    );
                }
                let kept = start.next_double_normal.get();
                // Of a truncated normal, words are known for values that a generator can have kept.
                let is_drawable = kept.is_none_or(|value| value.abs() < 8.57);
                if let Some(words) = draw
                    .words(dtype, numel, kept.is_some())
                    .filter(|_| is_drawable || !matches!(draw, Draw::TruncNormal { .. }))
                {
                    let mut passed = Mt19937::from_state(start).unwrap();
                    passed.skip(words);
                    let (passed, drawn) = (passed.to_state(), generator.to_state());
                    let place = |state: &State| (state.left, state.next);
                    assert_eq!(place(&passed), place(&drawn), "{}", case());
                    assert!(passed.words == drawn.words, "{}: words", case());
                }
            }
            (None, Err(_)) => {}
            (expected, ours) => panic!(
                "{}: libtorch {}, ours {:?}",
                case(),
                if expected.is_some() {
                    "draws"
                } else {
                    "refuses"
                },
                ours.map(drop)
            ),
        }
        let state = generator.to_state().to_bytes();
        assert!(state == expected_state, "{}: the state", case());
    }
}

/// Arguments from a stream of ours: plain ones, and those at the edges of the dtypes.
pub struct Choice(Mt19937);

impl Choice {
    pub fn new(seed: u64) -> Choice {
        Choice(Mt19937::new(seed))
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.0.random64() % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn number(&mut self) -> f64 {
        let unit = self.below(1 << 24) as f64 / f64::from(1 << 23) - 1.0;
        match self.below(8) {
            0 => self.of(&[0.0, -0.0, 1.0, -1.0, 0.1, 65504.0, -65504.0]),
            1 => self.of(&[1e-45, -1e-40, 5e-324, 1e-310, 6e-8, -1e-7, 1e-30]),
            2 => self.of(&[
                3.4e38,
                -3.4e38,
                3.3895313892515355e38,
                1e308,
                -1.7e308,
                1e30,
            ]),
            3 => unit * 65504.0,
            _ => unit,
        }
    }

    fn draw(&mut self) -> Draw {
        let (a, b) = (self.number(), self.number());
        match self.below(6) {
            0 | 1 => Draw::Uniform {
                // In order, but for one case in 32.
                from: if self.below(32) == 0 { a } else { a.min(b) },
                to: a.max(b),
            },
            2 | 3 => Draw::Normal {
                mean: if self.below(64) == 0 { f64::NAN } else { a },
                std: match self.below(64) {
                    0 => b,
                    1 => f64::INFINITY,
                    _ => b.abs(),
                },
            },
            4 => Draw::NormalSerial {
                mean: a,
                std: b.abs(),
            },
            _ => {
                // Bounds so far away that some of what is drawn is outside.
                let (mean, std) = (a, b.abs());
                let [low, high] = self.of(&[[-2.0, 2.0], [-0.4, 0.4], [-5.0, 0.0], [-0.1, 9.0]]);
                Draw::TruncNormal {
                    mean,
                    std,
                    a: mean + low * std,
                    b: mean + high * std,
                }
            }
        }
    }

    pub fn numel(&mut self) -> usize {
        match self.below(32) {
            0..16 => self.below(64),
            16..31 => self.below(3000),
            _ => self.below(100_000),
        }
    }

    pub fn state(&mut self) -> State {
        let mut generator = Mt19937::new(self.0.random64());
        generator.skip(self.below(2000) as u64);
        let mut state = generator.to_state();
        if self.below(2) == 0 {
            state.next_double_normal = Some(self.number()).into();
        }
        if self.below(4) == 0 {
            // Places that libtorch accepts and no draw reaches.
            state.left = 1 + self.below(624) as u32;
            state.next = self.below(626 - state.left as usize).min(624) as u32;
        }
        if self.below(8) == 0 {
            state.next_float_normal = Some(0.5).into();
        }
        state
    }
}

#[test]
fn random_draws() {
    let _stream = default_stream();
    let mut choice = Choice::new(20);
    for _ in 0..5000 {
        let (state, draw) = (choice.state(), choice.draw());
        let (dtype, numel) = (choice.of(&DTYPES), choice.numel());
        compare(&state, draw, dtype, numel, choice.below(9));
    }
}

#[test]
fn every_small_size_from_every_place() {
    let _stream = default_stream();
    for dtype in DTYPES {
        for numel in 0..70 {
            for skip in [0, 1, 590, 607, 608, 609, 623, 624] {
                let mut generator = Mt19937::new(numel as u64);
                generator.skip(skip);
                let state = generator.to_state();
                let uniform = Draw::Uniform {
                    from: -1.0,
                    to: 1.0,
                };
                let normal = Draw::Normal {
                    mean: 0.5,
                    std: 2.0,
                };
                compare(&state, uniform, dtype, numel, 0);
                compare(&state, normal, dtype, numel, 0);
            }
        }
    }
}

#[test]
fn permutations() {
    let _stream = default_stream();
    let mut choice = Choice::new(24);
    for n in (0..70).chain([623, 624, 625, 1025, 2048, 100_000]) {
        let start = choice.state();
        let mut generator = Mt19937::from_state(&start).unwrap();
        set_rng_state(&start.to_bytes()).unwrap();
        let libtorchs = Tensor::randperm(n, (Kind::Int64, Device::Cpu));
        let ours = randperm(&mut generator, n as usize);
        assert_eq!(ours, Vec::<i64>::try_from(&libtorchs).unwrap());
        assert!(generator.to_state().to_bytes() == get_rng_state().unwrap());
        let mut passed = Mt19937::from_state(&start).unwrap();
        passed.skip(words_of_randperm(n as u64));
        assert_eq!(passed.next_u32(), generator.next_u32());
    }
}

/// Sizes at which stores go past the caches, from an aligned and from an unaligned place.
#[test]
fn large_draws() {
    let _stream = default_stream();
    let state = Mt19937::new(7).to_state();
    for offset in [0, 1] {
        let numel = (16 << 20) / 4 + 5;
        compare(
            &state,
            Draw::Uniform { from: 0.0, to: 3.0 },
            Dtype::Float32,
            numel,
            offset,
        );
    }
}

/// Uniform values of 0 and of the largest that there is, with arguments at the edges.
#[test]
fn edges() {
    let _stream = default_stream();
    let numbers = [
        0.0,
        -0.0,
        1.0,
        -2.5,
        1e-40,
        3.4e38,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
    ];
    // Raw words of 0 are drawn as 0; these are drawn as words whose low 24 bits are all ones.
    let states = [0, untemper(0xff_ffff), untemper(u32::MAX)].map(|raw| {
        let mut state = Mt19937::new(0).to_state();
        (state.left, state.next) = (560, 65);
        for (i, word) in state.words[65..].iter_mut().enumerate() {
            if i % 3 != 0 {
                *word = raw;
            }
        }
        state
    });
    for state in &states {
        for a in numbers {
            for b in numbers {
                for dtype in DTYPES {
                    compare(state, Draw::Uniform { from: a, to: b }, dtype, 80, 0);
                    compare(state, Draw::Normal { mean: a, std: b }, dtype, 80, 0);
                    compare(state, Draw::NormalSerial { mean: a, std: b }, dtype, 20, 0);
                }
            }
        }
    }
}

/// Bounds whose difference is within the dtype, until both are rounded to it.
#[test]
fn bounds_too_far_apart_once_rounded() {
    let _stream = default_stream();
    let to = 2f64.powi(127) + 0.6 * 2f64.powi(104);
    let from = to - f64::from(f32::MAX);
    assert_eq!(to as f32 - from as f32, f32::INFINITY);
    let state = Mt19937::new(0).to_state();
    compare(&state, Draw::Uniform { from, to }, Dtype::Float32, 20, 0);
}

fn words_of_randperm(n: u64) -> u64 {
    let shape = [n];
    let target = Target::new(Dtype::Int64, &shape);
    AnyDraw::from(Randperm)
        .consumed(target, None)
        .words
        .unwrap()
}
