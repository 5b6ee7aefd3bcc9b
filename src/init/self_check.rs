//! Whether libtorch draws what the engine draws: another libtorch may draw otherwise.

use super::cpu_fast_path::Draw;
use super::dispatch;
use super::rejection::Density;
use crate::distribution::{Element, Engine};
use crate::generator::Generator;
use crate::rng::{Backend, Mt19937};
use half::{bf16, f16};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Types that libtorch draws, with what a comparison with libtorch said of each of their draws.
pub(super) trait Checked: Element {
    const KIND: Kind;
    const ZERO: Self;
    const ONE: Self;

    /// For each [`Draw`], in their order.
    fn verdicts() -> &'static [OnceLock<bool>; 5];
}

macro_rules! checked {
    ($($type:ty: $kind:ident, $zero:expr, $one:expr;)*) => {$(
        impl Checked for $type {
            const KIND: Kind = Kind::$kind;
            const ZERO: $type = $zero;
            const ONE: $type = $one;

            fn verdicts() -> &'static [OnceLock<bool>; 5] {
                static VERDICTS: [OnceLock<bool>; 5] = [const { OnceLock::new() }; 5];
                &VERDICTS
            }
        }
    )*};
}

checked! {
    f32: Float, 0.0, 1.0;
    f64: Double, 0.0, 1.0;
    bf16: BFloat16, bf16::ZERO, bf16::ONE;
    f16: Half, f16::ZERO, f16::ONE;
}

/// Whether the engine and libtorch draw the same, tried once for each draw and dtype.
pub(super) fn is_verified<T: Checked>(draw: Draw, backend: Backend) -> bool {
    let (verdict, trial) = draw.trial();
    verdict_of::<T>(&T::verdicts()[verdict], trial, trial, backend)
}

fn verdict_of<T: Checked>(
    kept: &OnceLock<bool>,
    ours: Draw,
    libtorchs: Draw,
    backend: Backend,
) -> bool {
    *kept.get_or_init(|| {
        let equal = draws_the_same::<T>(ours, libtorchs, backend).unwrap_or(false);
        if !equal {
            log::warn!(
                "{ours:?} of {} on the backend {backend} is not what this libtorch draws: \
                 such draws are left to libtorch, and are slower",
                T::DTYPE,
            );
        }
        equal
    })
}

/// Draws a few blocks on both sides.
fn draws_the_same<T: Checked>(ours: Draw, libtorchs: Draw, backend: Backend) -> Option<bool> {
    // 79 rows of 19, and no whole blocks.
    const NUMEL: usize = 1501;
    let mut generator = Generator::new(Device::Cpu).ok()?;
    generator.manual_seed(20).ok()?;
    let mut tensor = Tensor::f_ones([79, 19], (T::KIND, Device::Cpu)).ok()?;
    dispatch::libtorch("self-check", libtorchs, &mut tensor, Some(&generator)).ok()?;
    let mut expected = vec![0u8; NUMEL * size_of::<T>()];
    tensor.f_copy_data_u8(&mut expected, NUMEL).ok()?;

    let mut stream = Mt19937::new(20);
    let mut values = vec![T::ONE; NUMEL];
    let engine = Engine::new(backend).ok()?;
    ours.fill(&engine, &mut stream, &mut values).ok()?;
    // SAFETY: the types have no padding, and the slice is borrowed as long.
    let values =
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), expected.len()) };
    Some(values == expected && stream.to_state().to_bytes() == generator.get_state().ok()?)
}

impl Draw {
    /// What a comparison with libtorch tries of such draws, and where its verdict is kept.
    fn trial(self) -> (usize, Draw) {
        let (mean, std) = (0.3, 0.9);
        match self {
            Draw::Uniform { .. } => (
                0,
                Draw::Uniform {
                    from: -0.7,
                    to: 1.1,
                },
            ),
            Draw::Normal { .. } => (1, Draw::Normal { mean, std }),
            Draw::TruncNormal { .. } => (
                2,
                Draw::TruncNormal {
                    mean,
                    std,
                    a: -0.25,
                    b: 1.5,
                },
            ),
            Draw::Density(_) => (
                3,
                Draw::Density(Density {
                    mean,
                    std,
                    a: 1.5,
                    b: 4.0,
                    log_peak: -0.5 * ((1.5 - mean) / std).powi(2),
                }),
            ),
            Draw::SparseZeros { .. } => (4, Draw::SparseZeros { rows: 79, zeros: 8 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every draw of every dtype passes, and would not against another draw of libtorch's.
    fn trials_are_told_apart<T: Checked>() {
        let backend = Backend::selected();
        let trials = [
            Draw::Uniform { from: 0.0, to: 1.0 },
            Draw::Normal {
                mean: 0.0,
                std: 1.0,
            },
            Draw::TruncNormal {
                mean: 0.0,
                std: 1.0,
                a: -1.0,
                b: 1.0,
            },
            Draw::Density(Density {
                mean: 0.0,
                std: 1.0,
                a: 2.0,
                b: 3.0,
                log_peak: -2.0,
            }),
            Draw::SparseZeros { rows: 79, zeros: 9 },
        ];
        for (i, other) in trials.into_iter().enumerate() {
            let (verdict, trial) = other.trial();
            assert_eq!(verdict, i);
            let kept = OnceLock::new();
            assert!(verdict_of::<T>(&kept, trial, trial, backend), "{trial:?}");
            // What was found first stays.
            assert!(verdict_of::<T>(&kept, other, trial, backend));
            let kept = OnceLock::new();
            assert!(!verdict_of::<T>(&kept, other, trial, backend), "{other:?}");
            assert!(!verdict_of::<T>(&kept, trial, trial, backend));
        }
    }

    #[test]
    fn another_libtorch_is_noticed() {
        trials_are_told_apart::<f32>();
        trials_are_told_apart::<f64>();
        trials_are_told_apart::<bf16>();
        trials_are_told_apart::<f16>();
    }
}
