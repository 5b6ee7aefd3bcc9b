//! Finds the seed of `orthogonal_`, whose values do not show their words, by drawing again.

use super::candidate::{Origin, SearchTarget, words};
use super::replay::{Method, Position, bytes, generator_at, kind};
use super::value_changes::is_orthogonal;
use super::values::{epsilon, values};
use crate::error::InitError;
use crate::init::orthogonal_;
use crate::tensor::TensorView;
use tch::{Device, Tensor};
use torch_rng::{Draw, Orthogonal};

/// The number of seeds that are tried; each costs a QR decomposition.
const SEEDS: u64 = 64;

/// The most elements with which seeds are tried that no other tensor was found with.
const NUMEL: usize = 1 << 18;

/// Finds the origins of the orthogonal tensors that have none yet, at their expected positions.
pub(super) fn find_orthogonal(
    targets: &[SearchTarget<'_>],
    likely_seed: Option<u64>,
    seeds: u64,
    found: &mut [Option<Origin>],
) -> Result<(), InitError> {
    let mut likely: Vec<u64> = found.iter().flatten().map(|o| o.position.seed).collect();
    likely.extend(likely_seed);
    likely.dedup();
    for (target, found) in targets.iter().zip(found) {
        let (None, Some(view)) = (&found, target.views.first()) else {
            continue;
        };
        let Some(gain) = gain(view) else {
            continue;
        };
        let others = match view.numel() <= NUMEL {
            true => SEEDS.min(seeds),
            false => 0,
        };
        let word = target.expected_position.map_or(0, |position| position.word);
        for seed in likely.iter().copied().chain(0..others) {
            let position = Position { seed, word };
            if is_drawn_at(view, gain, position)? {
                let draw = Draw::from(Orthogonal { gain });
                *found = Some(Origin {
                    draw,
                    name: None,
                    method: Method::Libtorch,
                    position,
                    rounding: None,
                    words: words(draw, Method::Libtorch, view.shape(), view.dtype()),
                    view: 0,
                });
                break;
            }
        }
    }
    Ok(())
}

/// The gain of an orthogonal tensor; `None` for others.
fn gain(view: &TensorView<'_>) -> Option<f64> {
    let [rows, rest @ ..] = view.shape() else {
        return None;
    };
    let cols: usize = rest.iter().product();
    let values = values(view).filter(|_| *rows > 1 && cols > 1)?;
    if !is_orthogonal(view, *rows, cols) {
        return None;
    }
    let square = values.map(|v| v * v).sum::<f64>() / (*rows).min(cols) as f64;
    // The norm gives some digits of the gain. Round gains and those of `calculate_gain` are likely.
    let gain = square.sqrt();
    let known = [1.0, 2f64.sqrt(), 5.0 / 3.0, 0.75];
    let near = |known: &f64| (known - gain).abs() <= 1e-5;
    Some(known.into_iter().find(near).unwrap_or(gain))
}

/// Whether a tensor is `orthogonal_` drawn at a position.
///
/// LAPACK's bits depend on threads and CPU, so the values are compared with a tolerance.
fn is_drawn_at(view: &TensorView<'_>, gain: f64, position: Position) -> Result<bool, InitError> {
    let Some(kind) = kind(view.dtype()) else {
        return Ok(false);
    };
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    let mut tensor = Tensor::f_empty(shape, (kind, Device::Cpu))
        .map_err(|error| InitError::tch("explain", error))?;
    orthogonal_(&mut tensor, gain, Some(&mut generator_at(position)?))?;
    let drawn = bytes(&tensor, view.dtype())?;
    let drawn = TensorView::contiguous(view.dtype(), view.shape(), &drawn);
    let (Ok(drawn), Some(all)) = (drawn, values(view)) else {
        return Ok(false);
    };
    let greatest = all.fold(0.0, |greatest: f64, value| greatest.max(value.abs()));
    let allowed = 8192.0 * epsilon(view.dtype()) * greatest;
    let both = values(&drawn).zip(values(view));
    Ok(both.is_some_and(|(drawn, yours)| drawn.zip(yours).all(|(a, b)| (a - b).abs() <= allowed)))
}
