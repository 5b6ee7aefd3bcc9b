//! The functions of `init`, whose draws the engine makes, among libtorch's own draws.

use super::case::DTYPES;
use super::libtorch::{Choice, kind};
use crate::common::{bytes, default_stream};
use tch::{Device, Kind, Tensor};
use tch_init::rng::{Backend, Mt19937};
use tch_init::{Generator, get_rng_state, init, manual_seed, set_rng_state};

/// What the tests expect of this machine; a fall-back to libtorch that was not asked for would
/// make them prove nothing.
fn backend() -> Option<Backend> {
    Some(Backend::selected())
}

fn zeros(numel: i64, kind: Kind) -> Tensor {
    Tensor::zeros([numel], (kind, Device::Cpu))
}

#[test]
fn the_engine_draws() {
    let _stream = default_stream();
    assert!(backend() > Some(Backend::Scalar), "this CPU has no AVX2");
    for dtype in DTYPES {
        for numel in [256, 1000, 1_000_001] {
            let mut ours = zeros(numel, kind(dtype));
            manual_seed(3).unwrap();
            init::uniform_(&mut ours, -0.1, 0.3, None).unwrap();
            assert_eq!(init::last_backend(), backend(), "{dtype} {numel}");
            init::normal_(&mut ours, 0.1, 0.3, None).unwrap();
            assert_eq!(init::last_backend(), backend(), "{dtype} {numel}");
            let state = get_rng_state().unwrap();
            manual_seed(3).unwrap();
            let mut libtorchs = zeros(numel, kind(dtype));
            let libtorchs = libtorchs.uniform_(-0.1, 0.3).normal_(0.1, 0.3);
            assert!(bytes(&ours) == bytes(&libtorchs), "{dtype} {numel}");
            assert!(state == get_rng_state().unwrap(), "{dtype} {numel}");
        }
    }
}

#[test]
fn a_generator_of_ones_own_is_drawn_from() {
    let mut ours = zeros(500, Kind::Float);
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(-5).unwrap();
    init::normal_(&mut ours, 0.0, 1.0, Some(&mut generator)).unwrap();
    assert_eq!(init::last_backend(), backend());
    let mut stream = Mt19937::new(-5i64 as u64);
    let mut values = [0f32; 500];
    tch_init::distribution::normal_(&mut stream, &mut values, 0.0, 1.0).unwrap();
    assert_eq!(Vec::<f32>::try_from(&ours).unwrap(), values);
    assert!(generator.get_state().unwrap() == stream.to_state().to_bytes());
}

/// A view into the middle of a storage: contiguous, and aligned to no more than its elements.
#[test]
fn views_are_filled_and_nothing_else() {
    let _stream = default_stream();
    for dtype in DTYPES {
        for offset in 1..5 {
            let draw = |fill: &dyn Fn(&mut Tensor)| {
                manual_seed(4).unwrap();
                let storage = zeros(1000, kind(dtype));
                fill(&mut storage.narrow(0, offset, 777));
                bytes(&storage)
            };
            let ours = draw(&|view| {
                init::uniform_(view, 1.0, 2.0, None).unwrap();
                assert_eq!(init::last_backend(), backend());
            });
            let libtorchs = draw(&|view| drop(view.uniform_(1.0, 2.0)));
            assert!(ours == libtorchs, "{dtype} at {offset}");
        }
    }
}

#[test]
fn tensors_that_are_empty_or_not_contiguous_or_refused_are_left_to_libtorch() {
    let _stream = default_stream();
    for mut tensor in [
        zeros(0, Kind::Float),
        zeros(1000, Kind::Float).slice(0, 0, None, 2),
        Tensor::zeros([40, 50], (Kind::Float, Device::Cpu)).tr(),
        zeros(1000, Kind::ComplexFloat),
    ] {
        init::normal_(&mut zeros(1000, Kind::Float), 0.0, 1.0, None).unwrap();
        assert_eq!(init::last_backend(), backend());
        init::normal_(&mut tensor, 0.0, 1.0, None).unwrap();
        assert_eq!(init::last_backend(), None, "{:?}", tensor.size());
    }
    let state = get_rng_state().unwrap();
    let mut tensor = zeros(1000, Kind::Float);
    for error in [
        init::uniform_(&mut tensor, 1.0, 0.0, None).unwrap_err(),
        init::normal_(&mut tensor, 0.0, -1.0, None).unwrap_err(),
        init::uniform_(&mut zeros(1000, Kind::Int64), 0.0, 1.0, None).unwrap_err(),
    ] {
        assert!(error.to_string().contains("libtorch"), "{error}");
    }
    assert!(state == get_rng_state().unwrap());
}

/// Every number of elements up to some blocks, on one stream, so that each draw begins with the state and
/// the cached normal that the one before left.
#[test]
fn small_draws_equal_libtorchs() {
    let _stream = default_stream();
    type Draw = fn(&mut Tensor, bool);
    let draws: [Draw; 4] = [
        |t, ours| match ours {
            true => init::normal_(t, 0.1, 0.3, None).unwrap(),
            false => drop(t.normal_(0.1, 0.3)),
        },
        |t, ours| match ours {
            true => init::uniform_(t, -0.1, 0.3, None).unwrap(),
            false => drop(t.uniform_(-0.1, 0.3)),
        },
        // Without `ours`, a lazily negated tensor, which libtorch draws.
        |t, _| init::trunc_normal_(t, 0.0, 1.0, -0.5, 0.75, None).unwrap(),
        |t, _| init::trunc_normal_(t, 0.0, 1.0, 2.0, 3.0, None).unwrap(),
    ];
    for dtype in DTYPES {
        let run = |ours: bool| {
            manual_seed(6).unwrap();
            let mut log = Vec::new();
            for numel in (1..70).chain([127, 128, 129, 255, 256, 257]) {
                for (i, draw) in draws.iter().enumerate() {
                    let mut tensor = zeros(numel, kind(dtype));
                    if i > 1 && !ours {
                        tensor = tensor.internal_neg_view();
                    }
                    draw(&mut tensor, ours);
                    if ours || i > 1 {
                        let expected = if ours { backend() } else { None };
                        assert_eq!(init::last_backend(), expected, "{dtype} {numel} {i}");
                    }
                    log.push((bytes(&tensor.resolve_neg()), get_rng_state().unwrap()));
                }
            }
            log
        };
        assert!(run(true) == run(false), "{dtype}");
    }
}

/// What autograd saved before a draw is known to be old after it.
#[test]
fn autograd_sees_that_values_changed() {
    let _stream = default_stream();
    let mut w = zeros(1000, Kind::Float).set_requires_grad(true);
    let loss = (&w * &w).sum(Kind::Float);
    init::uniform_(&mut w, 0.0, 1.0, None).unwrap();
    assert_eq!(init::last_backend(), backend());
    let error = loss.f_backward().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("modified by an inplace operation")
    );
}

/// `trunc_normal_` by both of its methods, and `sparse_`: the engine against libtorch's calls, which
/// draw what does not look contiguous.
#[test]
fn draws_of_many_draws() {
    let _stream = default_stream();
    let mut choice = Choice::new(22);
    type Fill = fn(&mut Tensor);
    let fills: [(&str, Fill); 6] = [
        ("redrawn", |t| {
            init::trunc_normal_(t, 0.5, 2.0, -1.5, 3.0, None).unwrap();
        }),
        ("redrawn often", |t| {
            init::trunc_normal_(t, 0.0, 0.02, -0.009, 0.009, None).unwrap();
        }),
        ("by density, tail", |t| {
            init::trunc_normal_(t, 0.0, 1.0, 2.0, 4.0, None).unwrap();
        }),
        ("by density, peak", |t| {
            init::trunc_normal_(t, -1.0, 0.7, -1.1, -0.95, None).unwrap();
        }),
        ("sparse", |t| init::sparse_(t, 0.3, 0.1, None).unwrap()),
        ("sparse, all", |t| init::sparse_(t, 1.0, 0.1, None).unwrap()),
    ];
    for dtype in DTYPES {
        for [rows, columns] in [
            [1, 1],
            [3, 5],
            [5, 3],
            [16, 8],
            [100, 3],
            [3, 100],
            [37, 113],
            [300, 1000],
        ] {
            // Words that begin anywhere in a block.
            let start = choice.state();
            for (name, fill) in fills {
                let case = format!("{name} {dtype} {rows} x {columns}");
                let options = (kind(dtype), Device::Cpu);
                let mut ours = Tensor::zeros([rows, columns], options);
                set_rng_state(&start.to_bytes()).unwrap();
                fill(&mut ours);
                assert_eq!(init::last_backend(), backend(), "{case}");
                let state = get_rng_state().unwrap();

                // A lazily negated tensor is contiguous memory that the engine does not take.
                let mut libtorchs = Tensor::zeros([rows, columns], options).internal_neg_view();
                set_rng_state(&start.to_bytes()).unwrap();
                fill(&mut libtorchs);
                assert_eq!(init::last_backend(), None, "{case}");
                assert!(
                    bytes(&ours) == bytes(&libtorchs.resolve_neg()),
                    "{case}: values"
                );
                assert!(state == get_rng_state().unwrap(), "{case}: state");
            }
        }
    }
}

/// Enough elements for every number of threads to have its part.
#[test]
fn threads_change_no_truncated_value() {
    let _stream = default_stream();
    let threads = tch::get_num_threads();
    let draw = |threads: i32, (a, b): (f64, f64)| {
        tch::set_num_threads(threads);
        manual_seed(9).unwrap();
        let mut tensor = zeros(3_000_007, Kind::Float);
        init::trunc_normal_(&mut tensor, 0.0, 1.0, a, b, None).unwrap();
        assert_eq!(init::last_backend(), backend());
        (bytes(&tensor), get_rng_state().unwrap())
    };
    for bounds in [(-2.0, 2.0), (1.5, 3.0)] {
        let one = draw(1, bounds);
        for threads in [2, 3, 7] {
            assert!(draw(threads, bounds) == one, "{threads} threads");
        }
    }
    tch::set_num_threads(threads);
}

/// Programs of draws, ours and libtorch's in turn, on one stream.
#[test]
fn draws_of_both_kinds_take_turns() {
    let _stream = default_stream();
    let mut choice = Choice::new(21);
    for program in 0..60 {
        let start = choice.state();
        let steps: Vec<(usize, usize, usize)> = (0..12)
            .map(|_| (choice.below(6), choice.below(4), choice.numel()))
            .collect();
        let run = |ours: bool| {
            set_rng_state(&start.to_bytes()).unwrap();
            let mut log = Vec::new();
            for (what, dtype, numel) in &steps {
                let (kind, numel) = (kind(DTYPES[*dtype]), *numel as i64);
                let mut tensor = zeros(numel, kind);
                let filled = match what {
                    0 if ours => {
                        init::uniform_(&mut tensor, -1.0, 1.0, None).unwrap();
                        tensor
                    }
                    0 => tensor.uniform_(-1.0, 1.0),
                    1 if ours => {
                        init::normal_(&mut tensor, 0.0, 0.5, None).unwrap();
                        tensor
                    }
                    1 => tensor.normal_(0.0, 0.5),
                    2 => Tensor::randperm(numel % 100, (Kind::Int64, Device::Cpu)),
                    3 => tensor.f_add_scalar_(1.0).unwrap().dropout(0.5, true),
                    4 => Tensor::randn([numel % 40], (Kind::Float, Device::Cpu)),
                    _ => tensor.bernoulli_float_(0.3),
                };
                log.push(bytes(&filled));
            }
            log.push(get_rng_state().unwrap());
            log
        };
        assert!(run(true) == run(false), "program {program}: {steps:?}");
    }
}
