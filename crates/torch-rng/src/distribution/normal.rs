//! Normal values.
//!
//! Follows `normal_kernel` and `normal_fill` (`ATen/native/cpu/DistributionTemplates.h`) and
//! `normal_distribution` (`ATen/core/DistributionsHelper.h`), PyTorch 2.13.

use super::DrawError;
use crate::Engine;
use crate::element::Element;
use crate::opmath::Opmath;
use crate::parallel::Part;
use crate::parallel::{self, Cost};
use crate::{Mt19937, Simd};
use std::f64::consts::PI;

/// The elements of a block; also the fewest for which libtorch takes the block path.
pub(crate) const BLOCK: usize = 16;

/// Fills with normal values, as `torch.Tensor.normal_` does on a contiguous tensor: by
/// [`normal_block_`] from 16 elements on, by [`normal_serial_`] below.
///
/// # Errors
///
/// [`DrawError::Std`], with nothing drawn, if `std` is negative or NaN.
///
/// ```
/// use torch_rng::distribution::normal_;
/// use torch_rng::Mt19937;
///
/// let mut values = [0f32; 3];
/// normal_(&mut Mt19937::new(1), &mut values, 0.0, 1.0)?;
/// // python: torch.manual_seed(1); torch.randn(3).tolist()
/// assert_eq!(values, [0.6613521575927734, 0.266924113035202, 0.06167725846171379]);
/// # Ok::<(), torch_rng::distribution::DrawError>(())
/// ```
pub fn normal_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    Engine::default().normal_(generator, values, mean, std)
}

/// Fills with normal values by Box and Muller's transform of blocks of 16 uniform values, where
/// elements `j` and `j + 8` are a pair. libtorch does this from 16 elements on.
///
/// If the number of elements is no multiple of 16, the last 16 are drawn again from fresh words;
/// f32 and f64 have drawn words for all elements before that, bf16 and f16 only those of whole
/// blocks. f32, bf16 and f16 take logarithm, sine and cosine from polynomials in f32; f64 from
/// the C library. A normal that the serial path kept stays kept.
///
/// # Errors
///
/// [`DrawError::Std`] as [`normal_`]; [`DrawError::Block`] for fewer than 16 elements. Nothing is
/// drawn then.
pub fn normal_block_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    Engine::default().normal_block_(generator, values, mean, std)
}

/// Fills with normal values one after the other, in f64 and then rounded. libtorch does this below
/// 16 elements, and for tensors that are not contiguous, in the order of their memory.
///
/// Each pair takes four words and gives the cosine first; its sine is kept in the generator for
/// the next such draw, whatever dtype that has.
///
/// # Errors
///
/// [`DrawError::Std`] as [`normal_`].
pub fn normal_serial_<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) -> Result<(), DrawError> {
    check_std(std)?;
    for value in values {
        *value = T::from_f64(standard_normal(generator).mul_add(std, mean));
    }
    Ok(())
}

/// Whether the words of the elements behind the last whole block are drawn, only to be drawn over:
/// where libtorch writes the uniform values into the tensor itself.
pub(crate) fn draws_remainder<T: Element>() -> bool {
    size_of::<T>() == size_of::<T::Opmath>()
}

/// The block path, for at least 16 values and a `std` that was checked.
pub(crate) fn fill<T: Element>(
    engine: &Engine,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: f64,
    std: f64,
) {
    let blocks = Blocks::new(engine, mean, std);
    let whole = values.len() / BLOCK * BLOCK;
    let by = |generator: &mut Mt19937, part: &mut [T]| blocks.fill(generator, part);
    parallel::fill(engine, blocks.cost(), generator, &mut values[..whole], by);
    blocks.fill_rest(generator, values);
}

/// The same, in parts.
pub(crate) fn parts<'a, T: Element>(
    engine: &Engine,
    values: &'a mut [T],
    mean: f64,
    std: f64,
) -> impl Iterator<Item = Part<'a>> {
    let blocks = Blocks::new(engine, mean, std);
    let words = crate::draw::normal_block_words(T::DTYPE, values.len() as u64);
    // What is drawn again comes with the block that it overlaps.
    let (whole, last) = match values.len() % BLOCK {
        0 => (values, None),
        rest => {
            let (whole, last) = values.split_at_mut(values.len() - rest - BLOCK);
            (whole, Some(last))
        }
    };
    let cost = blocks.cost();
    let words = words.unwrap_or(0) - cost.words * whole.len() as u64;
    let last = last.map(|last| {
        let nanoseconds = cost.nanoseconds * last.len() as f64;
        Part::new(words, nanoseconds, move |generator| {
            blocks.fill(generator, &mut last[..BLOCK]);
            blocks.fill_rest(generator, last);
        })
    });
    let by = move |generator: &mut Mt19937, part: &mut [T]| blocks.fill(generator, part);
    parallel::of(cost, whole, by).chain(last)
}

/// How blocks are filled.
#[derive(Debug, Clone, Copy)]
struct Blocks<O> {
    simd: Option<Simd>,
    mean: O,
    std: O,
}

impl<O: Opmath> Blocks<O> {
    fn new(engine: &Engine, mean: f64, std: f64) -> Self {
        Blocks {
            simd: engine.backend.simd(),
            mean: O::from_f64(mean),
            std: O::from_f64(std),
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            words: O::WORDS,
            nanoseconds: match self.simd {
                Some(_) if O::WORDS == 1 => 0.9,
                _ => 20.0,
            },
        }
    }

    fn fill<T: Element<Opmath = O>>(&self, generator: &mut Mt19937, values: &mut [T]) {
        fill_blocks(self.simd, generator, values, self.mean, self.std);
    }

    /// Draws the last 16 values again if they are not a block of the others; those are drawn.
    fn fill_rest<T: Element<Opmath = O>>(&self, generator: &mut Mt19937, values: &mut [T]) {
        let rest = values.len() % BLOCK;
        if rest == 0 {
            return;
        }
        if draws_remainder::<T>() {
            generator.skip_with(self.simd, O::WORDS * rest as u64);
        }
        let last = values.len() - BLOCK;
        self.fill(generator, &mut values[last..]);
    }
}

/// Fills whole blocks, by SIMD where that can.
pub(crate) fn fill_blocks<T: Element>(
    simd: Option<Simd>,
    generator: &mut Mt19937,
    values: &mut [T],
    mean: T::Opmath,
    std: T::Opmath,
) {
    if simd.is_some_and(|simd| T::normal(simd, generator, values, mean, std)) {
        return;
    }
    for block in values.as_chunks_mut().0 {
        draw_block(generator, block, u16::MAX, mean, std);
    }
}

/// Draws a block, of which the elements with a 1 in `wanted` are written. The lowest bit is the
/// first's.
pub(crate) fn draw_block<T: Element>(
    generator: &mut Mt19937,
    values: &mut [T; BLOCK],
    wanted: u16,
    mean: T::Opmath,
    std: T::Opmath,
) {
    const HALF: usize = BLOCK / 2;
    let (zero, one) = (T::Opmath::from_f64(0.0), T::Opmath::from_f64(1.0));
    let units = [(); BLOCK].map(|()| T::Opmath::uniform(generator, zero, one));
    for j in 0..HALF {
        let (first, second) = (wanted >> j & 1 != 0, wanted >> (j + HALF) & 1 != 0);
        if first || second {
            let (cos, sin) = T::Opmath::box_muller(units[j], units[j + HALF], mean, std);
            if first {
                values[j] = T::from_opmath(cos);
            }
            if second {
                values[j + HALF] = T::from_opmath(sin);
            }
        }
    }
}

pub(crate) fn check_std(std: f64) -> Result<(), DrawError> {
    if std >= 0.0 {
        Ok(())
    } else {
        Err(DrawError::Std(std))
    }
}

pub(crate) fn check_block<T>(values: &[T], std: f64) -> Result<(), DrawError> {
    check_std(std)?;
    if values.len() < BLOCK {
        return Err(DrawError::Block(values.len()));
    }
    Ok(())
}

fn standard_normal(generator: &mut Mt19937) -> f64 {
    if let Some(cached) = std::mem::take(&mut generator.state.next_double_normal).get() {
        return cached;
    }
    let u1 = f64::uniform(generator, 0.0, 1.0);
    let u2 = f64::uniform(generator, 0.0, 1.0);
    let radius = (-2.0 * (-u2).ln_1p()).sqrt();
    let (sin, cos) = (2.0 * PI * u1).sin_cos();
    generator.state.next_double_normal = Some(radius * sin).into();
    radius * cos
}
