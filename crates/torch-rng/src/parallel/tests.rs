//! Shares, and draws of them on many threads.

use super::*;
use std::num::NonZero;

#[test]
fn lengths_add_up() {
    for numel in [0, 1, 63, 64, 65, 1000, 16_777_216, 16_777_217] {
        for threads in [1, 2, 3, 7, 64] {
            for nanoseconds in [0.3, 20.0, 1e6, 1e9] {
                let words = 1;
                let lengths = lengths(
                    threads,
                    Passing::with(None),
                    Cost { words, nanoseconds },
                    numel,
                );
                assert_eq!(lengths.iter().sum::<usize>(), numel);
                assert!(lengths.len() <= threads);
                for length in &lengths[..lengths.len() - 1] {
                    assert_eq!(length % ALIGN, 0);
                }
            }
        }
    }
    let lengths = |threads, nanoseconds, numel| {
        let words = 1;
        lengths(
            threads,
            Passing::with(None),
            Cost { words, nanoseconds },
            numel,
        )
    };
    assert_eq!(lengths(64, 0.3, 100_000), [100_000]);
    // The first has more to draw.
    assert_eq!(lengths(2, 1.0, 2_000_000), [1_077_504, 922_496]);
}

fn part(words: u64, nanoseconds: f64) -> Part<'static> {
    Part {
        words,
        nanoseconds,
        draw: None,
    }
}

#[test]
fn shares_take_as_long() {
    let times_of = |threads, words, parts: &[f64]| -> Vec<f64> {
        let parts = parts.iter().map(|time| part(words, *time)).collect();
        let shares = shares(threads, Passing::with(None), parts);
        let before = shares.iter().map(|share| share.before);
        let parts = shares.iter().map(|share| share.parts.len() as u64);
        let expected = parts.scan(0, |before, parts| {
            *before += parts * words;
            Some(*before - parts * words)
        });
        assert!(before.eq(expected));
        let time = |share: &Share| share.parts.iter().map(|part| part.nanoseconds).sum();
        shares.iter().map(time).collect()
    };
    let times = |threads, parts: &[f64]| times_of(threads, 1, parts);
    assert_eq!(times(1, &[1e6; 100]), [1e8]);
    assert_eq!(times(2, &[]), [0.0]);
    assert_eq!(times(2, &[1e4; 7]), [7e4]);
    assert_eq!(times(2, &[1e5; 7]), [4e5, 3e5]);
    // The first has more to draw, the more so if the way to the others' places is long.
    assert_eq!(times(2, &[1e4; 100]), [5.2e5, 4.8e5]);
    assert_eq!(times_of(2, 1 << 40, &[1e4; 100]), [5.8e5, 4.2e5]);
    let many = times(2, &[1e5; 1000]);
    assert_eq!(many.len(), 8);
    // To within a part.
    assert!(many[1..].iter().all(|time| (time - 1.25e7).abs() < 2e5));
    // A part that is longer than a share.
    assert_eq!(times(3, &[1e5, 9e6, 1e5, 1e5]), [1e5, 9e6, 2e5]);
}

/// Draws so small that none would be divided, were they not said to take long.
#[test]
fn up_to_64_threads_make_one_draw() {
    let cost = Cost {
        words: 1,
        nanoseconds: 1e4,
    };
    let draw = |threads: usize, numel: usize| {
        let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
        let mut generator = Mt19937::new(numel as u64);
        generator.skip(100);
        let mut values = vec![0; numel];
        let by = |generator: &mut Mt19937, part: &mut [u32]| generator.fill_words(part);
        fill(&engine, cost, &mut generator, &mut values, by);
        (values, generator)
    };
    for numel in [1, 64, 65_536, 65_537, 300_000, 400_001] {
        let one = draw(1, numel);
        for threads in 2..=64 {
            assert_eq!(
                draw(threads, numel),
                one,
                "{threads} threads, {numel} values"
            );
        }
    }
}

#[test]
fn up_to_64_threads_draw_each_share_once() {
    let cost = Cost {
        words: 1,
        nanoseconds: 1e6,
    };
    for numel in [1, 64, 640, 12_345] {
        let mut expected = vec![0u32; numel];
        Mt19937::new(5).fill_words(&mut expected);
        for threads in 1..=64 {
            let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
            let mut values = vec![0; numel];
            let generator = Mt19937::new(5);
            let by = |mut generator: Mt19937, share: &mut [u32], is_last: bool| {
                generator.fill_words(share);
                (share.len(), is_last)
            };
            let shares = each(&engine, cost, &generator, &mut values, by);
            assert_eq!(values, expected);
            assert_eq!(
                shares.iter().map(|(length, _)| length).sum::<usize>(),
                numel
            );
            let last = shares.iter().position(|(_, is_last)| *is_last);
            assert_eq!(last, Some(shares.len() - 1));
        }
    }
}

#[test]
fn parts_lie_one_behind_the_other() {
    let mut expected = [0u32; 1000];
    Mt19937::new(6).fill_words(&mut expected);
    for threads in 1..=64 {
        let (mut first, mut last) = ([0u32; 300], [0u32; 200]);
        let cost = Cost {
            words: 1,
            nanoseconds: 1e6,
        };
        let by = |generator: &mut Mt19937, part: &mut [u32]| generator.fill_words(part);
        let mut parts: Vec<Part<'_>> = of(cost, &mut first, by).collect();
        parts.extend([part(150, 0.0), part(250, 0.0)]);
        parts.extend(of(cost, &mut last, by));
        parts.push(part(100, 0.0));
        let engine = Engine::default().with_threads(NonZero::new(threads).unwrap());
        let mut generator = Mt19937::new(6);
        run(&engine, &mut generator, parts);
        assert_eq!(
            (&first[..], &last[..]),
            (&expected[..300], &expected[700..900])
        );
        let mut behind = Mt19937::new(6);
        behind.skip(1000);
        assert_eq!(generator, behind);
    }
}
