//! The self-check: whether a fused update has the bits of the operators of the linked libtorch. Another one may have others.

use super::step::{CHUNK, Step};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tch::{Kind, Tensor};

/// Verdicts by optimizer, branches, and whether the type is `float64`.
static VERDICTS: Mutex<BTreeMap<(&str, u8, bool), bool>> = Mutex::new(BTreeMap::new());

/// A part of a chunk after a whole one, and of a vector.
const NUMEL: usize = CHUNK + 101;

/// Whether `fused` does what the operators do. Checked once per process for the branches of each optimizer and both types, and
/// logged if not.
pub(super) fn passes<S: Step>(
    step: &S,
    is_double: bool,
    fused: impl Fn(&S, &mut [Tensor]) -> Option<Vec<Range<usize>>>,
) -> bool {
    let verdicts = || VERDICTS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (S::OPTIMIZER, step.branches(), is_double);
    let known = verdicts().get(&key).copied();
    known.unwrap_or_else(|| {
        let equal = is_equal(&step.trial(), is_double, fused).unwrap_or(false);
        verdicts().insert(key, equal);
        if !equal {
            log::warn!(
                "libtorch updates {} with other bits than tch-init: steps are left to it and are slower",
                S::OPTIMIZER
            );
        }
        equal
    })
}

fn is_equal<S: Step>(
    step: &S,
    is_double: bool,
    fused: impl Fn(&S, &mut [Tensor]) -> Option<Vec<Range<usize>>>,
) -> Option<bool> {
    let mut ours = sample(step, is_double)?;
    let theirs = sample(step, is_double)?;
    let left_out = fused(step, &mut ours)?;
    step.by_operators(&theirs).ok()?;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if bytes(ours)? != bytes(theirs)? {
            return Some(false);
        }
    }
    Some(left_out.is_empty())
}

/// A parameter, a gradient and a state without a NaN, with numbers of all sizes.
fn sample<S: Step>(step: &S, is_double: bool) -> Option<Vec<Tensor>> {
    const SPECIAL: [f64; 8] = [0.0, -0.0, 1e-42, -1e-40, 3e38, -1e-30, 1.0, f64::INFINITY];
    let mut seed = 1u64;
    let mut next = || {
        // Knuth's MMIX.
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let unit = (seed >> 11) as f64 / (1u64 << 53) as f64;
        (unit - 0.5) * [1.0, 1e-3, 30.0, 1e-7][(seed >> 5) as usize % 4]
    };
    let kind = if is_double { Kind::Double } else { Kind::Float };
    let mut tensors = Vec::new();
    for index in 0..2 + step.states() {
        let values: Vec<f64> = (0..NUMEL)
            .map(|i| match i % 37 {
                0 => SPECIAL[(i / 37 + 3 * index) % SPECIAL.len()],
                _ => next(),
            })
            // A square is not negative.
            .map(|x| if index == 3 { x.abs() } else { x })
            .collect();
        tensors.push(Tensor::f_from_slice(&values).ok()?.f_to_kind(kind).ok()?);
    }
    Some(tensors)
}

fn bytes(tensor: &Tensor) -> Option<Vec<u8>> {
    let size = tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0u8; tensor.numel() * size];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel()).ok()?;
    Some(bytes)
}
