//! How far the results of two programs are apart, by layer and by step.

use super::layers::{Layers, phase_number};
use super::losses::{Loss, Losses};
use op_trace::{Comparison, Operation, Trace, TraceError, Value, Verdict};
use std::collections::HashMap;
use std::iter::Peekable;

/// How far two results are apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Difference {
    /// The largest difference of elements, in units of the last place.
    pub ulps: f64,
    /// The largest difference of elements, as a part of the largest element.
    pub part: f64,
}

/// The largest differences by layer and by step: forward, backward, optimizer.
#[derive(Default)]
pub struct Differences {
    /// The layers of A.
    pub layers: Layers,
    pub by_layer: Vec<[Option<Difference>; 3]>,
    pub by_step: Vec<(u32, [Option<Difference>; 3])>,
    /// How many results are compared, and how many of one program have no counterpart or no known elements.
    pub compared: usize,
    pub left_out: usize,
    /// The last loss that both programs have.
    pub losses: Option<(Loss, Loss)>,
}

/// The same work in both programs: the n-th operation of a kind and shape in a phase of a step.
type Place = (String, Vec<i64>, usize);

/// The elements of a result that the trace has.
struct Sampled {
    dtype: String,
    elements: Vec<f64>,
}

impl Differences {
    /// Compares the sampled elements of results. `see` is shown each operation of A and of B with its layer's number in its own
    /// trace.
    pub fn measure(
        traces: (&Trace, &Trace),
        comparison: &Comparison,
        mut see: impl FnMut(bool, &Layers, u32, &Operation),
    ) -> Result<Differences, TraceError> {
        let mut found = Differences::default();
        let mut in_b = Layers::default();
        let (mut losses_a, mut losses_b) = (Losses::default(), Losses::default());
        let mut a = traces.0.operations().peekable();
        let mut b = traces.1.operations().peekable();
        // Steps have the same numbers; within one, all is in memory.
        while let Some(step) = next_step(&mut a, &mut b)? {
            let mut places: HashMap<(Place, usize), Sampled> = HashMap::new();
            let mut counts = HashMap::new();
            while let Some(operation) = next_of(&mut b, step)? {
                losses_b.add(&operation);
                let layer = in_b.add(&operation, &traces.1.language);
                see(false, &in_b, layer, &operation);
                let place = place(&operation, &mut counts);
                if comparison.verdicts.b.of(operation.index) == Verdict::Departed
                    && let Some(sampled) = sampled(&operation)
                {
                    places.insert((place, phase_number(operation.phase)), sampled);
                }
            }
            let mut counts = HashMap::new();
            let mut largest = [None; 3];
            while let Some(operation) = next_of(&mut a, step)? {
                losses_a.add(&operation);
                let layer = found.layers.add(&operation, &traces.0.language);
                see(true, &found.layers, layer, &operation);
                found.by_layer.resize(found.layers.names.len(), [None; 3]);
                let place = place(&operation, &mut counts);
                let phase = phase_number(operation.phase);
                let difference = match comparison.verdicts.a.of(operation.index) {
                    Verdict::Shared => Difference::default(),
                    Verdict::Departed => {
                        let twin = places.remove(&(place, phase));
                        let difference = sampled(&operation)
                            .zip(twin)
                            .and_then(|(a, b)| a.difference(&b));
                        let Some(difference) = difference else {
                            found.left_out += 1;
                            continue;
                        };
                        found.compared += 1;
                        difference
                    }
                    _ => continue,
                };
                for slot in [
                    &mut found.by_layer[layer as usize][phase],
                    &mut largest[phase],
                ] {
                    *slot = Some(slot.map_or(difference, |known: Difference| Difference {
                        ulps: known.ulps.max(difference.ulps),
                        part: known.part.max(difference.part),
                    }));
                }
            }
            found.by_step.push((step, largest));
        }
        found.losses = Losses::last_of(&losses_a, &losses_b);
        Ok(found)
    }

    /// The largest difference in units in the last place, if any result is known to differ.
    pub fn ulps(&self) -> Option<f64> {
        let of_steps = self.by_step.iter().flat_map(|(_, phases)| phases);
        let ulps = of_steps.flatten().map(|difference| difference.ulps);
        ulps.reduce(f64::max).filter(|ulps| *ulps > 0.0)
    }
}

fn next_step<I: Iterator<Item = Result<Operation, TraceError>>>(
    a: &mut Peekable<I>,
    b: &mut Peekable<impl Iterator<Item = Result<Operation, TraceError>>>,
) -> Result<Option<u32>, TraceError> {
    let step = |next: Option<&Result<Operation, TraceError>>| {
        next.and_then(|next| next.as_ref().ok())
            .map(|operation| operation.step)
    };
    // An error is met as the first of any step.
    let is_error = matches!(a.peek(), Some(Err(_))) || matches!(b.peek(), Some(Err(_)));
    Ok(match (step(a.peek()), step(b.peek())) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other).or(is_error.then_some(0)),
    })
}

/// The next operation, if it is not of a later step.
fn next_of(
    operations: &mut Peekable<impl Iterator<Item = Result<Operation, TraceError>>>,
    step: u32,
) -> Result<Option<Operation>, TraceError> {
    operations
        .next_if(|next| {
            next.as_ref()
                .map_or(true, |operation| operation.step <= step)
        })
        .transpose()
}

fn place(operation: &Operation, counts: &mut HashMap<(String, Vec<i64>, usize), usize>) -> Place {
    let name = operation.name.as_str().trim_end_matches('_').to_owned();
    let shape = operation
        .results
        .iter()
        .flat_map(Value::tensors)
        .next()
        .map(|(_, tensor)| tensor.shape.clone())
        .unwrap_or_default();
    let count = counts
        .entry((name.clone(), shape.clone(), phase_number(operation.phase)))
        .or_insert(0);
    *count += 1;
    (name, shape, *count)
}

fn sampled(operation: &Operation) -> Option<Sampled> {
    let (_, tensor) = operation.results.iter().flat_map(Value::tensors).next()?;
    let elements = match tensor.all {
        Some(all) => vec![all],
        None => tensor.sample.clone(),
    };
    (!elements.is_empty()).then(|| Sampled {
        dtype: tensor.dtype.to_string(),
        elements,
    })
}

impl Sampled {
    /// The largest difference; one element stands for all.
    fn difference(&self, other: &Sampled) -> Option<Difference> {
        if self.dtype != other.dtype {
            return None;
        }
        let count = self.elements.len().max(other.elements.len());
        let of = |sampled: &Sampled, index: usize| match sampled.elements[..] {
            [one] => Some(one),
            _ => sampled.elements.get(index).copied(),
        };
        let (mut largest, mut apart, mut value) = (0f64, 0f64, 0f64);
        for index in 0..count {
            let (a, b) = (of(self, index)?, of(other, index)?);
            largest = largest.max(ulps(&self.dtype, a, b)?);
            apart = apart.max((a - b).abs());
            value = value.max(a.abs()).max(b.abs());
        }
        let part = if apart == 0.0 { 0.0 } else { apart / value };
        Some(Difference {
            ulps: largest,
            part: if part.is_finite() { part } else { 1.0 },
        })
    }
}

/// The number of representable values between two. NaN is as far from any number as numbers can be.
fn ulps(dtype: &str, a: f64, b: f64) -> Option<f64> {
    // The bits below the point, and the exponent of the smallest normal number.
    let (bits, smallest) = match dtype {
        "float64" => (52, -1022),
        "float32" => (23, -126),
        "bfloat16" => (7, -126),
        "float16" => (10, -14),
        _ => return (a == b).then_some(0.0),
    };
    if a == b || (a.is_nan() && b.is_nan()) {
        return Some(0.0);
    }
    let position = |value: f64| {
        let magnitude = value.abs();
        let exponent = if magnitude < f64::MIN_POSITIVE {
            -1022
        } else {
            (magnitude.to_bits() >> 52) as i32 - 1023
        };
        let exponent = exponent.max(smallest);
        let unit = 2f64.powi(exponent - bits);
        // Zero is 0, the smallest normal number 2^bits.
        let steps = (i128::from(exponent - smallest) << bits) + (magnitude / unit) as i128;
        if value < 0.0 { -steps } else { steps }
    };
    let far = 2f64.powi(bits + 8);
    Some(match a.is_finite() && b.is_finite() {
        true => (position(a) - position(b)).unsigned_abs() as f64,
        false => far,
    })
}

#[cfg(test)]
mod tests {
    use super::ulps;

    #[test]
    fn ulps_are_steps_between_numbers() {
        let f = |a: f32, b: f32| ulps("float32", f64::from(a), f64::from(b));
        assert_eq!(f(1.0, 1.0f32.next_up()), Some(1.0));
        assert_eq!(f(2.0, 2.0f32.next_down()), Some(1.0));
        assert_eq!(f(0.0, f32::from_bits(3)), Some(3.0));
        assert_eq!(f(-f32::from_bits(2), f32::from_bits(3)), Some(5.0));
        assert_eq!(f(0.0, -0.0), Some(0.0));
        assert_eq!(f(1.0, 2.0), Some(f64::from(1 << 23)));
        assert_eq!(f(f32::NAN, f32::NAN), Some(0.0));
        assert!(f(f32::INFINITY, 1.0).unwrap() > 1e9);
        for bits in [1u32, 77, 0x0080_0000, 0x3f80_0001, 0x7f7f_ffff] {
            let (a, b) = (f32::from_bits(bits), f32::from_bits(bits - 1));
            assert_eq!(f(a, b), Some(1.0), "{a}");
        }
        assert_eq!(ulps("float64", 1.0, 1.0f64.next_up()), Some(1.0));
        assert_eq!(ulps("bfloat16", 1.0, 1.0078125), Some(1.0));
        assert_eq!(ulps("float16", 1.0, 1.0009765625), Some(1.0));
        assert_eq!(
            (ulps("int64", 3.0, 3.0), ulps("int64", 3.0, 4.0)),
            (Some(0.0), None)
        );
    }
}
