//! `Generator::scope` against Python's argument `generator=` and `fork_rng`.

use crate::common::reference::{expected, first_difference};
use crate::common::{bytes, default_stream};
use serde_json::json;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};
use tch_init::{Generator, get_rng_state, init, manual_seed, nn};

/// A draw in Python, and the same in Rust without a generator.
type Drawing = (&'static str, fn() -> Tensor);

const DRAWS: [Drawing; 14] = [
    ("torch.randint(0, 100, (5,), generator=g)", || {
        Tensor::randint(100, [5], (Kind::Int64, Device::Cpu))
    }),
    ("torch.empty(7).bernoulli_(0.3, generator=g)", || {
        Tensor::zeros([7], FLOAT_CPU).bernoulli_float_(0.3)
    }),
    ("torch.randn(3, generator=g)", || {
        Tensor::randn([3], FLOAT_CPU)
    }),
    ("forked(lambda: F.dropout(torch.ones(40), 0.4))", || {
        Tensor::ones([40], FLOAT_CPU).dropout(0.4, true)
    }),
    ("torch.randperm(9, generator=g)", || {
        Tensor::randperm(9, (Kind::Int64, Device::Cpu))
    }),
    ("torch.rand(700, generator=g)", || {
        Tensor::rand([700], FLOAT_CPU)
    }),
    ("torch.ones(5).multinomial(3, generator=g)", || {
        Tensor::ones([5], FLOAT_CPU).multinomial(3, false)
    }),
    ("torch.normal(torch.zeros(6), 2.0, generator=g)", || {
        Tensor::zeros([6], FLOAT_CPU) + Tensor::randn([6], FLOAT_CPU) * 2.0
    }),
    ("torch.empty(4).exponential_(2.0, generator=g)", || {
        Tensor::zeros([4], FLOAT_CPU).exponential_(2.0)
    }),
    ("forked(lambda: nn.Linear(7, 3).weight)", || {
        let vs = VarStore::new(Device::Cpu);
        nn::linear(vs.root(), 7, 3, Default::default()).ws
    }),
    (
        "nn.init.trunc_normal_(torch.empty(33), generator=g)",
        || {
            let mut tensor = Tensor::zeros([33], FLOAT_CPU);
            init::trunc_normal_(&mut tensor, 0.0, 1.0, -2.0, 2.0, None).unwrap();
            tensor
        },
    ),
    ("torch.randn(1, generator=g, dtype=torch.float64)", || {
        Tensor::randn([1], (Kind::Double, Device::Cpu))
    }),
    ("torch.empty(5).geometric_(0.2, generator=g)", || {
        Tensor::zeros([5], FLOAT_CPU).geometric_(0.2)
    }),
    ("torch.poisson(torch.full((5,), 3.0), generator=g)", || {
        Tensor::full([5], 3.0, FLOAT_CPU).poisson()
    }),
];

fn own(seed: i64) -> Generator {
    let mut generator = Generator::new(Device::Cpu).unwrap();
    generator.manual_seed(seed).unwrap();
    generator
}

/// Each draw in a scope of its own and all of them in one: the same bits, and both generators where
/// Python leaves them.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn draws_in_a_scope_are_those_of_the_argument_generator() {
    let seeds = [(3, 1), (0, -5), (7, 7)];
    let python: Vec<&str> = DRAWS.iter().map(|(python, _)| *python).collect();
    let cases: Vec<_> = seeds
        .iter()
        .map(|(seed, generator)| {
            json!({ "kind": "scope", "seed": seed, "generator": generator, "draws": python })
        })
        .collect();
    let expected = expected(&cases);
    let _stream = default_stream();
    for ((seed, generator), expected) in seeds.into_iter().zip(expected) {
        for is_one_scope in [true, false] {
            manual_seed(seed).unwrap();
            drop(Tensor::rand([3], FLOAT_CPU));
            let mut g = own(generator);
            let drawn: Vec<Tensor> = match is_one_scope {
                true => {
                    let all = || DRAWS.iter().map(|(_, draw)| draw()).collect();
                    g.scope(all).unwrap()
                }
                false => {
                    let each = DRAWS.iter().map(|(_, draw)| g.scope(draw).unwrap());
                    each.collect()
                }
            };
            let mut ours: Vec<Vec<u8>> = drawn.iter().map(bytes).collect();
            ours.push(g.get_state().unwrap());
            ours.push(get_rng_state().unwrap());
            assert_eq!(
                first_difference(&ours, &expected.chunks),
                None,
                "seeds {seed} and {generator}, of {python:?}"
            );
        }
    }
}

#[test]
fn scopes_nest() {
    let _stream = default_stream();
    let draw = || Tensor::randint(1000, [4], (Kind::Int64, Device::Cpu));
    let in_turn =
        |generator: &mut Generator| [(); 2].map(|()| bytes(&generator.scope(draw).unwrap()));
    let (outer, inner) = (in_turn(&mut own(1)), in_turn(&mut own(2)));
    let (mut a, mut b) = (own(1), own(2));
    let before = get_rng_state().unwrap();
    let nested = a
        .scope(|| {
            let first = draw();
            let [second, third] = [(); 2].map(|()| b.scope(draw).unwrap());
            [first, second, third, draw()].map(|tensor| bytes(&tensor))
        })
        .unwrap();
    assert_eq!(
        nested,
        [&outer[0], &inner[0], &inner[1], &outer[1]].map(Clone::clone)
    );
    assert_eq!(get_rng_state().unwrap(), before);
}

#[test]
fn a_panic_and_an_error_leave_the_default_generator_as_it_was() {
    let _stream = default_stream();
    let before = get_rng_state().unwrap();
    let mut generator = own(4);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        generator.scope(|| {
            drop(Tensor::rand([2], FLOAT_CPU));
            std::panic::resume_unwind(Box::new("no message is printed"));
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(get_rng_state().unwrap(), before);
    // The generator has made the draw, as in Python.
    let mut twin = own(4);
    drop(twin.scope(|| Tensor::rand([2], FLOAT_CPU)).unwrap());
    assert_eq!(generator.get_state().unwrap(), twin.get_state().unwrap());
    let failed: Result<(), tch::TchError> = generator
        .scope(|| {
            let drawn = Tensor::f_rand([2], FLOAT_CPU)?;
            drawn.f_view([3]).map(drop)
        })
        .unwrap();
    assert!(failed.is_err());
    assert_eq!(get_rng_state().unwrap(), before);
    // The next scope of this and of another thread runs.
    let other = std::thread::spawn(|| {
        own(4)
            .scope(|| bytes(&Tensor::rand([2], FLOAT_CPU)))
            .unwrap()
    });
    assert_eq!(other.join().unwrap().len(), 8);
    assert_eq!(get_rng_state().unwrap(), before);
}

#[test]
fn scopes_of_several_threads_take_turns() {
    let _stream = default_stream();
    let before = get_rng_state().unwrap();
    let draw = |seed: i64| {
        let mut generator = own(seed);
        let draws = || {
            [(); 50]
                .map(|()| bytes(&Tensor::rand([3], FLOAT_CPU)))
                .to_vec()
        };
        generator.scope(draws).unwrap()
    };
    let expected: Vec<_> = (0..8).map(draw).collect();
    let threads: Vec<_> = (0..8)
        .map(|seed| std::thread::spawn(move || draw(seed)))
        .collect();
    for (thread, expected) in threads.into_iter().zip(expected) {
        assert_eq!(thread.join().unwrap(), expected);
    }
    assert_eq!(get_rng_state().unwrap(), before);
}

#[test]
fn the_scope_of_the_default_generator_draws_from_it() {
    let _stream = default_stream();
    manual_seed(3).unwrap();
    let expected = bytes(&Tensor::rand([3], FLOAT_CPU));
    let after = get_rng_state().unwrap();
    manual_seed(3).unwrap();
    let mut default = Generator::default_generator(Device::Cpu).unwrap();
    let drawn = default.scope(|| Tensor::rand([3], FLOAT_CPU)).unwrap();
    assert_eq!(
        (bytes(&drawn), get_rng_state().unwrap()),
        (expected.clone(), after.clone())
    );
    // Also inside the scope of another one, of which it has the state then.
    manual_seed(8).unwrap();
    let mut own = own(3);
    let nested = own
        .scope(|| default.scope(|| Tensor::rand([3], FLOAT_CPU)).unwrap())
        .unwrap();
    assert_eq!(bytes(&nested), expected);
    assert_eq!(own.get_state().unwrap(), after);
    // `manual_seed` in a scope seeds the generator of the scope.
    let before = get_rng_state().unwrap();
    own.scope(|| manual_seed(5)).unwrap().unwrap();
    assert_eq!(own.initial_seed().unwrap(), 5);
    assert_eq!(get_rng_state().unwrap(), before);
}

/// A plan has the draws of the default generator only.
#[test]
fn a_recording_rejects_a_scope() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let (refused, _) = tch_init::plan::record("scope", &vs, || {
        let mut generator = own(1);
        generator
            .scope(|| nn::linear(vs.root(), 2, 2, Default::default()))
            .err()
    })
    .unwrap();
    let refused = refused.expect("an error").to_string();
    assert!(refused.contains("default generator only"), "{refused}");
    assert!(vs.is_empty());
}
