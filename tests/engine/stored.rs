//! Against draws that PyTorch 2.13 made, in tests/data/engine.json; no libtorch needed.

use crate::case::{DTYPES, Draw, engines};
use serde_json::Value;
use std::num::NonZero;
use tch_init::rng::Mt19937;

/// FNV-1a, 64 bits, as tests/python/engine.py computes it.
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
fn stored_draws() {
    let stored: Value = serde_json::from_str(include_str!("../data/engine.json")).unwrap();
    let cases = stored["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2 * 4 * 16);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let number = |key: &str| case[key].as_u64().unwrap();
        let dtype = DTYPES.into_iter().find(|d| d.name() == text("dtype"));
        let dtype = dtype.unwrap();
        let [a, b] = [0, 1].map(|i| case["arguments"][i].as_f64().unwrap());
        let draw = match text("function") {
            "uniform_" => Draw::Uniform { from: a, to: b },
            "normal_" => Draw::Normal { mean: a, std: b },
            other => panic!("no such function: {other}"),
        };
        let mut start = Mt19937::new(number("seed"));
        start.skip(number("skip"));
        if case["keep"].as_bool().unwrap() {
            tch_init::distribution::normal_(&mut start, &mut [0f32], 0.0, 1.0).unwrap();
        }
        let numel = number("numel") as usize;
        for engine in engines() {
            let case = format!("{}: {case}", engine.backend());
            let mut generator = start.clone();
            let bytes = draw.bytes(&engine, &mut generator, dtype, numel, 0);
            let bytes = bytes.unwrap();
            assert_eq!(hex(&bytes[..bytes.len().min(16)]), text("first"), "{case}");
            assert_eq!(fnv(&bytes), text("values"), "{case}");
            let state = generator.to_state().to_bytes();
            assert_eq!(fnv(&state), text("state"), "{case}");
            let mut passed = start.clone();
            let kept = start.next_double_normal().is_some();
            passed.skip(draw.words(dtype, numel, kept).unwrap());
            assert_eq!(passed.next_u32(), generator.next_u32(), "{case}");
            if let Draw::Normal { mean, std } = draw
                && std > 0.0
                && numel > 0
            {
                let serial = Draw::NormalSerial { mean, std };
                let serial = serial.bytes(&engine, &mut start.clone(), dtype, numel, 0);
                assert_eq!(serial.unwrap() == bytes, numel < 16, "{case}");
            }
        }
    }
}

/// The number of threads shows in no bit; nor does it where every part is a different one.
#[test]
fn threads_change_nothing() {
    let draws = [
        (
            Draw::Uniform {
                from: -0.1,
                to: 0.1,
            },
            [3_000_001, 1_500_001, 3_000_001, 3_000_001],
        ),
        (
            Draw::Normal {
                mean: 0.5,
                std: 2.0,
            },
            [1_500_003, 100_001, 1_500_003, 1_500_003],
        ),
        (
            Draw::TruncNormal {
                mean: 0.5,
                std: 2.0,
                a: -2.0,
                b: 3.0,
            },
            [700_003, 40_001, 700_003, 700_003],
        ),
    ];
    let backends = engines();
    let fastest = backends.last().unwrap();
    for (draw, sizes) in draws {
        for (dtype, numel) in DTYPES.into_iter().zip(sizes) {
            let mut start = Mt19937::new(3);
            start.skip(77);
            let run = |threads: usize| {
                let engine = fastest.with_threads(NonZero::new(threads).unwrap());
                let mut generator = start.clone();
                let bytes = draw
                    .bytes(&engine, &mut generator, dtype, numel, 0)
                    .unwrap();
                (bytes, generator)
            };
            let one = run(1);
            if let Some(words) = draw.words(dtype, numel, false) {
                let mut passed = start.clone();
                passed.skip(words);
                assert!(passed == one.1, "{draw:?} {dtype}");
            }
            for threads in [2, 3, 7, 64] {
                assert!(run(threads) == one, "{draw:?} {dtype} on {threads} threads");
            }
        }
    }
}
