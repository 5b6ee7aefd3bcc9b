//! Vectors of every width against the scalar code.

use super::*;
use crate::Engine;
use crate::arch::{Portable, Unrolled2};
use crate::stream::Fill;
use crate::{Backend, Mt19937};

/// Vectors of 8, of 16 and of twice 8 lanes in plain Rust against the scalar code, wide ones up to
/// twice 16: so the code around the instructions runs for all widths on any CPU, and under Miri.
fn on_all_widths<R: Recipe + Copy>(
    recipe: R,
    zero: R::Item,
    scalar: impl Fn(&mut Mt19937, &mut [R::Item]),
) where
    R::Item: PartialEq,
{
    // Under Miri, just far enough for a block to be made.
    let sizes = if cfg!(miri) {
        &[0, 16, 48, 640][..]
    } else {
        &[0, 16, 32, 48, 80, 624, 5120, 5136]
    };
    for numel in sizes.iter().copied() {
        let mut start = Mt19937::new(numel as u64);
        start.skip(20);
        let (mut generator, mut expected) = (start.clone(), vec![zero; numel]);
        scalar(&mut generator, &mut expected);
        for vectors in ["8", "16", "2 x 8"] {
            let mut filled = start.clone();
            let mut out = vec![zero; numel];
            let fill = Fill {
                generator: &mut filled,
                recipe,
                out: &mut out,
            };
            match vectors {
                "8" => Portable::<8>.run(fill),
                "16" => Portable::<16>.run(fill),
                _ => Unrolled2(Portable::<8>).run(fill),
            }
            assert!(out == expected, "{numel} in {vectors} lanes");
            assert_eq!(filled, generator, "{numel} in {vectors} lanes");
        }
    }
}

#[test]
fn any_width_draws_the_same() {
    let scalar = Engine::new(Backend::Scalar).unwrap();
    let normal = |generator: &mut Mt19937, out: &mut [f32]| {
        if !out.is_empty() {
            scalar.normal_block_(generator, out, 1.0, 2.0).unwrap();
        }
    };
    let sink = Stored;
    let (mean, std) = (1.0, 2.0);
    on_all_widths(Normal { mean, std, sink }, 0.0, normal);
    let sink = bf16::ZERO;
    on_all_widths(Normal { mean, std, sink }, sink, |generator, out| {
        if !out.is_empty() {
            scalar.normal_block_(generator, out, 1.0, 2.0).unwrap();
        }
    });
    let uniform = Uniform::<f16, true> {
        from: -1.0,
        scale: 2.0 / 16_777_216.0,
        to: 1.0,
        from_stored: -1.0,
        sink: f16::ZERO,
    };
    on_all_widths(uniform, f16::ZERO, |generator, out| {
        scalar.uniform_(generator, out, -1.0, 1.0).unwrap();
    });
    let uniform = UniformF64 {
        from: -1.0,
        scale: f64::EPSILON,
        to: 1.0,
    };
    on_all_widths(uniform, 0.0, |generator, out| {
        scalar.uniform_(generator, out, -1.0, 1.0).unwrap();
    });
}
