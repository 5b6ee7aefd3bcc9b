//! Casts: one tensor is the other in another dtype, or by way of one.
//!
//! libtorch makes them, so that every pair of dtypes follows one rule.

use super::finding::{Finding, Whose};
use super::replay::bytes;
use super::values::{tensor_varies, values};
use crate::tensor::{Dtype, TensorView};
use tch::{Kind, Tensor};

/// Dtypes that weights are cast to and back, the coarsest first: it is the least likely to fit by
/// chance.
const COARSE: [Dtype; 8] = [
    Dtype::Float8E8m0fnu,
    Dtype::Float8E5m2,
    Dtype::Float8E4m3fn,
    Dtype::Float8E5m2fnuz,
    Dtype::Float8E4m3fnuz,
    Dtype::Bfloat16,
    Dtype::Float16,
    Dtype::Float32,
];

/// The finding if one tensor is the other, cast. They have the same shape and different bits or
/// dtypes.
pub(super) fn cast(yours: &TensorView<'_>, reference: &TensorView<'_>) -> Option<Finding> {
    if yours.shape() != reference.shape() || yours.numel() == 0 {
        return None;
    }
    let dtypes = (yours.dtype(), reference.dtype());
    let direct = (dtypes.0 != dtypes.1).then(|| narrower(dtypes.0, dtypes.1));
    let by_way = COARSE
        .into_iter()
        .filter(|through| Some(*through) != direct && dtypes.0.is_floating_point());
    direct.into_iter().chain(by_way).find_map(|through| {
        let is_direct = Some(through) == direct;
        // If each is a cast of the other, that of the narrower dtype is the rounded one.
        let sides = match is_direct && through == dtypes.1 {
            true => [Whose::Reference, Whose::Yours],
            false => [Whose::Yours, Whose::Reference],
        };
        let whose = sides.into_iter().find(|whose| match whose {
            Whose::Yours => is_cast(reference, through, yours),
            Whose::Reference => is_cast(yours, through, reference),
        })?;
        let cast = match whose {
            Whose::Yours => yours,
            Whose::Reference => reference,
        };
        (is_direct || is_evident(through, yours, reference, cast)).then(|| Finding::Rounded {
            through,
            or: match is_direct {
                true => Vec::new(),
                false => alike(through, whose, yours, reference),
            },
            whose,
            drawn: false,
        })
    })
}

/// The other dtypes of this size that the cast may as well have gone through: their values are the
/// same bits.
fn alike(
    through: Dtype,
    whose: Whose,
    yours: &TensorView<'_>,
    reference: &TensorView<'_>,
) -> Vec<Dtype> {
    let (from, to) = match whose {
        Whose::Yours => (reference, yours),
        Whose::Reference => (yours, reference),
    };
    COARSE
        .into_iter()
        .filter(|other| *other != through && other.size() == through.size())
        .filter(|other| is_cast(from, *other, to))
        .collect()
}

/// The dtype with the fewer values: an integer one, or the less precise.
fn narrower(a: Dtype, b: Dtype) -> Dtype {
    let rank = |dtype: Dtype| {
        let coarse = COARSE.iter().position(|coarse| *coarse == dtype);
        match (dtype.is_floating_point(), coarse) {
            (false, _) => (0, dtype.size()),
            (true, Some(position)) => (1, position),
            (true, None) => (1, COARSE.len()),
        }
    };
    if rank(b) < rank(a) { b } else { a }
}

/// Whether `from`, cast to `through` and then to the dtype of `to`, has the bits of `to`.
fn is_cast(from: &TensorView<'_>, through: Dtype, to: &TensorView<'_>) -> bool {
    const SAMPLE: usize = 1024;
    const CHUNK: usize = 1 << 22;
    let numel = from.numel();
    let sample = numel.min(SAMPLE);
    let chunks = (sample..numel).step_by(CHUNK);
    let ranges =
        std::iter::once(0..sample).chain(chunks.map(|start| start..(start + CHUNK).min(numel)));
    let (mut given, mut expected) = (Vec::new(), Vec::new());
    ranges.into_iter().all(|range| {
        let given = from.read(range.clone(), &mut given);
        let cast = converted(given, [from.dtype(), through, to.dtype()]);
        cast.is_some_and(|cast| cast == to.read(range, &mut expected))
    })
}

/// The elements, cast twice; `None` for casts that libtorch lacks.
fn converted(elements: &[u8], [from, through, to]: [Dtype; 3]) -> Option<Vec<u8>> {
    // A complex number has no cast to a real one.
    if from.part().is_some() || through.part().is_some() || to.part().is_some() {
        return None;
    }
    let length = i64::try_from(elements.len() / from.size()).ok()?;
    // tch lacks this dtype. PyTorch casts it to and from others by way of float32.
    let exponents = Dtype::Float8E8m0fnu;
    let tensor = if from == exponents {
        powers_of_two(elements)
    } else {
        Tensor::f_from_data_size(elements, &[length], from.kind()?).ok()?
    };
    let cast = if through == exponents {
        powers_of_two(&rounded_exponents(&tensor)?)
    } else {
        tensor.f_to_kind(through.kind()?).ok()?
    };
    if to == exponents {
        return rounded_exponents(&cast);
    }
    bytes(&cast.f_to_kind(to.kind()?).ok()?, to).ok()
}

/// float8_e8m0fnu as float32 (`torch/headeronly/util/Float8_e8m0fnu.h`, PyTorch 2.13).
fn powers_of_two(exponents: &[u8]) -> Tensor {
    let value = |exponent: &u8| match *exponent {
        0 => f32::from_bits(0x0040_0000),
        0xff => f32::from_bits(0x7f80_0001),
        exponent => f32::from_bits(u32::from(exponent) << 23),
    };
    let values: Vec<f32> = exponents.iter().map(value).collect();
    Tensor::from_slice(&values)
}

/// The float8_e8m0fnu nearest to each value, without its sign; the same file.
fn rounded_exponents(tensor: &Tensor) -> Option<Vec<u8>> {
    let values = bytes(&tensor.f_to_kind(Kind::Float).ok()?, Dtype::Float32).ok()?;
    let rounded = values.as_chunks().0.iter().map(|value| {
        let bits = u32::from_le_bytes(*value);
        let [exponent, _] = ((bits >> 23) as u16 & 0xff).to_le_bytes();
        let (half, rest) = (bits & 0x40_0000 != 0, bits & 0x3f_ffff != 0);
        match exponent {
            0xff => exponent,
            // Halfway is up, except to the smallest normal number from below.
            _ => exponent + u8::from(half && (rest || exponent > 0)),
        }
    });
    Some(rounded.collect())
}

/// Whether a cast to a third dtype is more than a coincidence.
fn is_evident(
    through: Dtype,
    yours: &TensorView<'_>,
    reference: &TensorView<'_>,
    cast: &TensorView<'_>,
) -> bool {
    let (Some(ours), Some(theirs), Some(mut all), Some(mut cast)) =
        (values(yours), values(reference), values(cast), values(cast))
    else {
        return false;
    };
    // It has no zero.
    if through == Dtype::Float8E8m0fnu && all.all(|value| value == 2f64.powi(-127)) {
        return true;
    }
    if tensor_varies(yours) == Some(false) || tensor_varies(reference) == Some(false) {
        // One number says something if it has more digits than people write.
        let is_long = |value: f64| {
            let exponent = value.abs().log2().floor();
            value.is_finite() && value != 0.0 && (value * 2f64.powf(3.0 - exponent)).fract() != 0.0
        };
        return through.size() == 2 && cast.all(is_long);
    }
    if through.size() > 1 {
        return true;
    }
    // Few values are near many numbers.
    const NEEDED: usize = 8;
    let changed = ours
        .zip(theirs)
        .filter(|(a, b)| a != b && *a != 0.0 && *b != 0.0);
    changed.take(NEEDED).count() == NEEDED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'b>(dtype: Dtype, bytes: &'b [u8]) -> TensorView<'b> {
        TensorView::contiguous(dtype, &[bytes.len() / dtype.size()], bytes).unwrap()
    }

    /// Values as PyTorch has them in a dtype.
    fn in_dtype(values: &[f64], dtype: Dtype) -> Vec<u8> {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        converted(&bytes, [Dtype::Float64, dtype, dtype]).unwrap()
    }

    fn found(yours: (&[u8], Dtype), reference: (&[u8], Dtype)) -> Option<(Dtype, Whose)> {
        let finding = cast(&view(yours.1, yours.0), &view(reference.1, reference.0))?;
        match finding {
            Finding::Rounded {
                through,
                whose,
                drawn: false,
                ..
            } => Some((through, whose)),
            other => panic!("{other:?}"),
        }
    }

    const FLOATS: [Dtype; 9] = [
        Dtype::Float8E8m0fnu,
        Dtype::Float8E4m3fn,
        Dtype::Float8E4m3fnuz,
        Dtype::Float8E5m2,
        Dtype::Float8E5m2fnuz,
        Dtype::Float16,
        Dtype::Bfloat16,
        Dtype::Float32,
        Dtype::Float64,
    ];

    #[test]
    fn every_cast_is_one_rule() {
        let drawn: Vec<f64> = (0..40)
            .map(|i| (f64::from(i) * 0.7341).sin() * 0.3)
            .collect();
        let tensors = [
            drawn,
            vec![1.0; 5],
            vec![0.0; 3],
            vec![0.1],
            vec![3.7, -2.2, 100.0],
        ];
        for values in &tensors {
            for from in FLOATS {
                let reference = in_dtype(values, from);
                for to in FLOATS
                    .into_iter()
                    .chain([Dtype::Int64, Dtype::Int8, Dtype::Uint8])
                {
                    if from == to {
                        continue;
                    }
                    let yours = converted(&reference, [from, to, to]).unwrap();
                    let finding = found((&yours, to), (&reference, from));
                    let narrow = narrower(from, to);
                    let (through, whose) =
                        finding.unwrap_or_else(|| panic!("{values:?}: {from} to {to}"));
                    assert_eq!(through, narrow, "{values:?}: {from} to {to}");
                    // Yours is always a cast here; the reference may be one of yours too.
                    if narrow == to {
                        assert_eq!(whose, Whose::Yours, "{values:?}: {from} to {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn casts_there_and_back_are_found() {
        let drawn: Vec<f64> = (0..40)
            .map(|i| (f64::from(i) * 0.7341).sin() * 0.3)
            .collect();
        let reference = in_dtype(&drawn, Dtype::Float32);
        for through in [
            Dtype::Float8E4m3fn,
            Dtype::Float8E5m2,
            Dtype::Float16,
            Dtype::Bfloat16,
        ] {
            let yours = converted(&reference, [Dtype::Float32, through, Dtype::Float32]).unwrap();
            let both = (
                (&yours[..], Dtype::Float32),
                (&reference[..], Dtype::Float32),
            );
            assert_eq!(found(both.0, both.1), Some((through, Whose::Yours)));
            assert_eq!(found(both.1, both.0), Some((through, Whose::Reference)));
        }
        // A constant with digits.
        let tenth = in_dtype(&[0.1; 4], Dtype::Float32);
        let yours = converted(&tenth, [Dtype::Float32, Dtype::Bfloat16, Dtype::Float32]).unwrap();
        let expected = Some((Dtype::Bfloat16, Whose::Yours));
        assert_eq!(
            found((&yours, Dtype::Float32), (&tenth, Dtype::Float32)),
            expected
        );
    }

    #[test]
    fn coincidences_are_no_casts() {
        let f32s = |values: &[f64]| in_dtype(values, Dtype::Float32);
        let none = |a: &[f64], b: &[f64]| {
            let (a, b) = (f32s(a), f32s(b));
            assert_eq!(found((&a, Dtype::Float32), (&b, Dtype::Float32)), None);
        };
        none(&[1.0; 4], &[1.001; 4]);
        none(&[0.0; 4], &[1e-9; 4]);
        none(&[0.5, 1.0, 0.25], &[0.501, 1.01, 0.2501]);
        none(&[0.3, 0.7], &[0.31, 0.71]);
        let (bits, other) = (in_dtype(&[0.3, 0.5], Dtype::Bfloat16), f32s(&[0.4, 0.5]));
        assert_eq!(
            found((&bits, Dtype::Bfloat16), (&other, Dtype::Float32)),
            None
        );
    }
}
