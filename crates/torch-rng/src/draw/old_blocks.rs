//! Blocks of normal values of bf16 and f16 as PyTorch drew them before 2.13.
//!
//! Follows `normal_fill` and `normal_fill_16` (`ATen/native/cpu/DistributionTemplates.h`) of PyTorch 2.11,
//! where every operation is one of the 16-bit type, and of PyTorch 2.12, where a block is computed in f32. In PyTorch 2.0, f16
//! has no functions of its own (`c10/util/Half.h`), so that only what is stored in a variable is rounded. All use the C library's functions.

use super::uniform::few_bits_unit;
use crate::dtype::Dtype;
use crate::element::{Element, InSingle};
use crate::mt19937::Mt19937;
use crate::opmath::Opmath;
use crate::semantics::Semantics;
use std::f64::consts::PI;

/// The elements of a block.
const BLOCK: usize = 16;

/// Whether blocks of this dtype differ from those of the newest semantics.
pub(super) fn has_old_blocks(semantics: Semantics, dtype: Dtype) -> bool {
    semantics < Semantics::PyTorch2_13 && dtype.is_half()
}

/// A block of which the elements are drawn whose bit in `wanted` is set, the lowest for the first element.
pub(super) struct OldBlock<'a, T: Element> {
    pub(super) semantics: Semantics,
    pub(super) generator: &'a mut Mt19937,
    pub(super) values: &'a mut [T; BLOCK],
    pub(super) wanted: u16,
    /// The arguments, which both versions round to the dtype.
    pub(super) mean: T::Opmath,
    pub(super) std: T::Opmath,
}

impl<T: Element> InSingle<T> for OldBlock<'_, T> {
    type Output = ();

    fn run(self)
    where
        T: Element<Opmath = f32>,
    {
        const HALF: usize = BLOCK / 2;
        let (mean, std) = (round::<T>(self.mean), round::<T>(self.std));
        let is_rounded = self.semantics <= Semantics::PyTorch2_11;
        let units = [(); BLOCK].map(|()| match is_rounded {
            true => few_bits_unit::<T>(self.generator),
            false => f32::uniform(self.generator, 0.0, 1.0),
        });
        for j in 0..HALF {
            if (self.wanted >> j | self.wanted >> (j + HALF)) & 1 == 0 {
                continue;
            }
            let (cos, sin) = match is_rounded {
                true => {
                    let (u1, u2) = (units[j], units[j + HALF]);
                    rounded_box_muller::<T>(u1, u2, mean, std, self.semantics)
                }
                false => box_muller(units[j], units[j + HALF], mean, std),
            };
            for (element, value) in [(j, cos), (j + HALF, sin)] {
                if self.wanted >> element & 1 != 0 {
                    self.values[element] = T::from_opmath(value);
                }
            }
        }
    }
}

fn round<T: Element<Opmath = f32>>(value: f32) -> f32 {
    T::from_opmath(value).to_opmath()
}

/// `2.0f * c10::pi<double> * u2`, which is a product of doubles.
fn angle(u2: f32) -> f32 {
    (2.0 * PI * f64::from(u2)) as f32
}

/// The normal values of two uniform values, each operation rounded to `T`; in PyTorch 2.0, those of f16 whose result is stored
/// in a variable. The caller rounds the last one.
fn rounded_box_muller<T: Element<Opmath = f32>>(
    u1: f32,
    u2: f32,
    mean: f32,
    std: f32,
    semantics: Semantics,
) -> (f32, f32) {
    let is_stored_only = semantics == Semantics::PyTorch2_0 && T::DTYPE == Dtype::Float16;
    let stored = round::<T>;
    let inner = |value: f32| match is_stored_only {
        true => value,
        false => stored(value),
    };
    let radius = stored(inner(-2.0 * inner(stored(1.0 - u1).ln())).sqrt());
    let angle = stored(angle(u2));
    let normal = |x: f32| inner(inner(radius * inner(x)) * std) + mean;
    (normal(angle.cos()), normal(angle.sin()))
}

/// The normal values of two uniform values, in f32.
fn box_muller(u1: f32, u2: f32, mean: f32, std: f32) -> (f32, f32) {
    let radius = (-2.0 * (1.0 - u1).ln()).sqrt();
    let angle = angle(u2);
    let normal = |x: f32| (radius * x).mul_add(std, mean);
    (normal(angle.cos()), normal(angle.sin()))
}
