//! Runs a transform at every vector width.

use crate::arch::{Portable, Unrolled2};
use crate::mt19937::Mt19937;
use crate::simd::Kernel;
use crate::stream::{Fill, Transform};

/// Compares vectors of 8, 16 and twice 8 lanes in plain Rust with the scalar code; wide ones have up to
/// twice 16. So the code around the instructions runs at all widths on any CPU, and under Miri.
pub(super) fn check_all_widths<R: Transform + Copy>(
    transform: R,
    zero: R::Item,
    scalar: impl Fn(&mut Mt19937, &mut [R::Item]),
) where
    R::Item: PartialEq,
{
    // Under Miri, just enough for a block to be generated.
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
        for width in ["8", "16", "2 x 8"] {
            let mut filled = start.clone();
            let mut out = vec![zero; numel];
            let fill = Fill {
                generator: &mut filled,
                transform,
                out: &mut out,
            };
            match width {
                "8" => fill.run(Portable::<8>),
                "16" => fill.run(Portable::<16>),
                _ => fill.run(Unrolled2(Portable::<8>)),
            }
            assert!(out == expected, "{numel} in {width} lanes");
            assert_eq!(filled, generator, "{numel} in {width} lanes");
        }
    }
}
