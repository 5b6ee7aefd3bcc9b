//! Draws that PyTorch 2.11, 2.12 and 2.13 made, recorded in data/draws*.json by data/draws.py.

use half::{bf16, f16};
use serde_json::Value;
use std::num::NonZero;
use std::sync::Once;
use torch_rng::{
    Backend, Draw, Dtype, Element, Engine, Mt19937, Normal, Semantics, Target, TruncNormal,
    Uniform, normal_,
};

const DTYPES: [Dtype; 4] = [
    Dtype::Float32,
    Dtype::Float64,
    Dtype::Bfloat16,
    Dtype::Float16,
];

/// An engine for each backend that this CPU supports. The others are reported as not tested.
fn engines() -> Vec<Engine> {
    static MISSING: Once = Once::new();
    MISSING.call_once(|| {
        for backend in Backend::ALL.into_iter().filter(|b| !b.is_available()) {
            eprintln!("NOT TESTED: this CPU does not support backend {backend}");
        }
    });
    Backend::ALL
        .into_iter()
        .filter_map(|backend| Engine::new(backend).ok())
        .collect()
}

/// Fills a tensor and returns its bytes. The memory after it must not change.
fn fill(draw: Draw, engine: &Engine, generator: &mut Mt19937, target: Target<'_>) -> Vec<u8> {
    fn run<T: Element>(
        draw: Draw,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        guard: T,
    ) -> Vec<u8> {
        let numel = target.numel() as usize;
        let mut memory = vec![guard; numel + 8];
        draw.fill(engine, generator, target, &mut memory[..numel])
            .unwrap();
        let guards = vec![guard; 8];
        assert!(bytes_of(&memory[numel..]) == bytes_of(&guards));
        bytes_of(&memory[..numel]).to_vec()
    }
    const GUARD: u32 = 0x1234_5678;
    match target.dtype {
        Dtype::Float32 => run(draw, engine, generator, target, f32::from_bits(GUARD)),
        Dtype::Float64 => {
            let guard = f64::from_bits(u64::from(GUARD));
            run(draw, engine, generator, target, guard)
        }
        Dtype::Bfloat16 => {
            let guard = bf16::from_bits(GUARD as u16);
            run(draw, engine, generator, target, guard)
        }
        Dtype::Float16 => {
            let guard = f16::from_bits(GUARD as u16);
            run(draw, engine, generator, target, guard)
        }
        other => panic!("{other} is not drawn"),
    }
}

fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the element types have no padding, and the slice stays borrowed.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// FNV-1a, 64 bits, as data/draws.py computes it.
fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn draws_equal_those_of_pytorch() {
    check(
        Semantics::PyTorch2_13,
        include_str!("data/draws.json"),
        2 * 4 * 16,
    );
}

#[test]
fn draws_equal_those_of_older_versions() {
    let two = 2 * 4 * 9;
    let sparse = 4 * 4;
    let json = include_str!("data/draws-2.0.json");
    check(Semantics::PyTorch2_0, json, 9 + 4);
    let json = include_str!("data/draws-2.11.json");
    check(Semantics::PyTorch2_11, json, two + sparse);
    let json = include_str!("data/draws-2.12.json");
    check(Semantics::PyTorch2_12, json, two + sparse + 4 * 9);
}

fn check(semantics: Semantics, json: &str, count: usize) {
    let stored: Value = serde_json::from_str(json).unwrap();
    let cases = stored["cases"].as_array().unwrap();
    assert_eq!(cases.len(), count);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let number = |key: &str| case[key].as_u64().unwrap();
        let dtype = Dtype::from_name(text("dtype")).unwrap();
        let arguments = case["arguments"].as_array().unwrap().iter();
        let arguments: Vec<f64> = arguments.map(|value| value.as_f64().unwrap()).collect();
        let draw = Draw::new(text("function"), &arguments).unwrap();
        let mut start = Mt19937::new(number("seed"));
        start.skip(number("skip"));
        if case["keep"].as_bool().unwrap() {
            normal_(&mut start, &mut [0f32], 0.0, 1.0).unwrap();
        }
        let shape: Vec<u64> = match case["shape"].as_array() {
            Some(shape) => shape.iter().map(|size| size.as_u64().unwrap()).collect(),
            None => vec![number("numel")],
        };
        let target = Target::new(dtype, &shape).with_semantics(semantics);
        for engine in engines() {
            let case = format!("{}: {case}", engine.backend());
            let mut generator = start.clone();
            let bytes = fill(draw, &engine, &mut generator, target);
            assert_eq!(hex(&bytes[..bytes.len().min(16)]), text("first"), "{case}");
            assert_eq!(fnv(&bytes), text("values"), "{case}");
            let state = generator.to_state().to_bytes();
            assert_eq!(fnv(&state), text("state"), "{case}");
            let mut skipped = start.clone();
            if draw.skip(&engine, &mut skipped, target) {
                assert_eq!(skipped, generator, "{case}");
            } else {
                assert!(matches!(draw, Draw::TruncNormal(_)), "{case}");
            }
            // Newer semantics that are equivalent have the same bits.
            let newest = target.with_semantics(draw.newest_equivalent(target));
            let mut generator_of_newest = start.clone();
            let bytes_of_newest = fill(draw, &engine, &mut generator_of_newest, newest);
            assert_eq!(bytes_of_newest, bytes, "{case}");
            assert_eq!(generator_of_newest, generator, "{case}");
            if let Draw::Normal(normal) = draw
                && normal.std > 0.0
                && target.numel() > 0
            {
                let serial = Target {
                    contiguous: false,
                    ..target
                };
                let serial_bytes = fill(draw, &engine, &mut start.clone(), serial);
                assert_eq!(serial_bytes == bytes, target.numel() < 16, "{case}");
            }
        }
    }
}

/// The sizes are such that every thread draws a different part.
#[test]
fn thread_count_does_not_affect_the_bits() {
    let draws = [
        (
            Draw::from(Uniform {
                from: -0.1,
                to: 0.1,
            }),
            [3_000_001, 1_500_001, 3_000_001, 3_000_001],
        ),
        (
            Draw::from(Normal {
                mean: 0.5,
                std: 2.0,
            }),
            [1_500_003, 100_001, 1_500_003, 1_500_003],
        ),
        (
            Draw::from(TruncNormal {
                mean: 0.5,
                std: 2.0,
                a: -2.0,
                b: 3.0,
            }),
            [700_003, 40_001, 700_003, 700_003],
        ),
    ];
    let engines = engines();
    let fastest = engines.last().unwrap();
    let cases = draws.into_iter().flat_map(|(draw, sizes)| {
        let old = [Semantics::PyTorch2_11, Semantics::PyTorch2_12].map(|semantics| {
            let halves = [0, 0, 300_003, 300_003];
            (semantics, draw, halves)
        });
        let inverse = matches!(draw, Draw::TruncNormal(_));
        let old = old.into_iter().skip(usize::from(inverse));
        old.chain([(Semantics::PyTorch2_13, draw, sizes)])
    });
    for (semantics, draw, sizes) in cases {
        for (dtype, numel) in DTYPES.into_iter().zip(sizes) {
            let shape = [numel];
            let target = Target::new(dtype, &shape).with_semantics(semantics);
            let mut start = Mt19937::new(3);
            start.skip(77);
            let run = |threads: usize| {
                let engine = fastest.with_threads(NonZero::new(threads).unwrap());
                let mut generator = start.clone();
                let bytes = fill(draw, &engine, &mut generator, target);
                (bytes, generator)
            };
            let one = run(1);
            if let Some(words) = draw.consumed(target, Some(false)).words {
                let mut skipped = start.clone();
                skipped.skip(words);
                assert!(skipped == one.1, "{draw} {dtype}");
            }
            for threads in [2, 3, 7, 64] {
                assert!(run(threads) == one, "{draw} {dtype} on {threads} threads");
            }
        }
    }
}

#[test]
fn ranges_equal_those_of_the_whole() {
    fn check<T: Element + Default>(draw: Draw, target: Target<'_>) {
        let engine = Engine::default();
        let start = Mt19937::new(9);
        let mut whole = vec![T::default(); target.numel() as usize];
        draw.fill(&engine, &mut start.clone(), target, &mut whole)
            .unwrap();
        for (from, to) in [(0, 1), (3, 40), (16, 32), (60, 77), (61, 62), (0, 77)] {
            let mut part = vec![T::default(); to - from];
            draw.fill_range(&engine, &start, target, from as u64..to as u64, &mut part)
                .unwrap();
            assert_eq!(
                bytes_of(&part),
                bytes_of(&whole[from..to]),
                "{draw} {target:?} {from}..{to}"
            );
        }
        let mut made = vec![T::default(); whole.len()];
        if draw.consumed(target, None).words.is_none() {
            assert!(draw.chunks(&engine, target, &mut made).is_err());
            return;
        }
        let chunks = draw.chunks(&engine, target, &mut made).unwrap();
        engine.fill_chunks(&mut start.clone(), chunks);
        assert_eq!(bytes_of(&made), bytes_of(&whole), "{draw} {target:?}");
    }
    let uniform = Uniform { from: 1.0, to: 1.2 };
    let normal = Normal {
        mean: 0.3,
        std: 0.7,
    };
    for semantics in Semantics::ALL {
        let truncated = [(-0.4, 1.0), (-50.0, 60.0)].map(|(a, b)| {
            let (mean, std) = (0.3, 0.7);
            Draw::from(TruncNormal { mean, std, a, b })
        });
        for draw in [uniform.into(), normal.into()].into_iter().chain(truncated) {
            let target = |dtype| Target::new(dtype, &[7, 11]).with_semantics(semantics);
            if !draw.has_ranges(target(Dtype::Float32)) {
                assert_eq!(draw.name(), "trunc_normal_");
                assert!(semantics <= Semantics::PyTorch2_11, "{semantics}");
                continue;
            }
            check::<f32>(draw, target(Dtype::Float32));
            check::<f64>(draw, target(Dtype::Float64));
            check::<bf16>(draw, target(Dtype::Bfloat16));
            check::<f16>(draw, target(Dtype::Float16));
        }
    }
}
