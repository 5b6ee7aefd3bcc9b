//! `orthogonal_`, whose values do not show their words: it is drawn again for likely seeds.

use super::candidate::{Origin, Reach, Wanted};
use super::known_draws::Distribution;
use super::replay::{Method, Place, bytes, generator_at, kind};
use super::value_changes::orthogonal;
use super::values::{epsilon, greatest, values};
use crate::error::InitError;
use crate::init::orthogonal_;
use crate::tensor::TensorView;
use tch::{Device, Tensor};

/// Seeds that are tried; each costs a QR decomposition.
const SEEDS: u64 = 64;

/// Larger matrices are tried with the seeds that others were found with only.
const NUMEL: usize = 1 << 18;

/// The origin of orthogonal tensors that have none yet, at the place where they are expected.
pub(super) fn settle_orthogonal(
    wanted: &[Wanted<'_>],
    reach: &Reach,
    found: &mut [Option<Origin>],
) -> Result<(), InitError> {
    let mut seeds: Vec<u64> = found.iter().flatten().map(|o| o.place.seed).collect();
    seeds.extend(reach.seed);
    seeds.dedup();
    for (wanted, found) in wanted.iter().zip(found) {
        let (None, Some(view)) = (&found, wanted.views.first()) else {
            continue;
        };
        let Some(gain) = gain(view) else {
            continue;
        };
        let tried = if view.numel() <= NUMEL {
            SEEDS.min(reach.seeds)
        } else {
            0
        };
        let word = wanted.expected.map_or(0, |place| place.word);
        for seed in seeds.iter().copied().chain(0..tried) {
            let place = Place { seed, word };
            if same(view, gain, place)? {
                *found = Some(Origin {
                    distribution: Distribution::Orthogonal { gain },
                    name: None,
                    method: Method::Libtorch,
                    place,
                    words: None,
                    view: 0,
                });
                break;
            }
        }
    }
    Ok(())
}

/// The gain of an orthogonal tensor.
fn gain(view: &TensorView<'_>) -> Option<f64> {
    let [rows, rest @ ..] = view.shape() else {
        return None;
    };
    let cols: usize = rest.iter().product();
    let values = values(view).filter(|_| *rows > 1 && cols > 1)?;
    if !orthogonal(&values, *rows, cols) {
        return None;
    }
    let square = values.iter().map(|v| v * v).sum::<f64>() / (*rows).min(cols) as f64;
    // People pass round gains and those of `calculate_gain`; the norm shows some digits of it.
    let gain = square.sqrt();
    let known = [1.0, 2f64.sqrt(), 5.0 / 3.0, 0.75];
    let near = |known: &f64| (known - gain).abs() <= 1e-5;
    Some(known.into_iter().find(near).unwrap_or(gain))
}

/// LAPACK's bits depend on threads and CPU, so a draw is recognised by its values.
fn same(view: &TensorView<'_>, gain: f64, place: Place) -> Result<bool, InitError> {
    let Some(kind) = kind(view.dtype()) else {
        return Ok(false);
    };
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    let mut tensor = Tensor::f_empty(shape, (kind, Device::Cpu))
        .map_err(|error| InitError::tch("explain", error))?;
    orthogonal_(&mut tensor, gain, Some(&mut generator_at(place)?))?;
    let drawn = bytes(&tensor, view.dtype())?;
    let drawn = TensorView::contiguous(view.dtype(), view.shape(), &drawn);
    let drawn = drawn.ok().as_ref().and_then(values).unwrap_or_default();
    let yours = values(view).unwrap_or_default();
    let allowed = 8192.0 * epsilon(view.dtype()) * greatest(&yours);
    Ok(drawn.len() == yours.len()
        && drawn
            .iter()
            .zip(&yours)
            .all(|(a, b)| (a - b).abs() <= allowed))
}
