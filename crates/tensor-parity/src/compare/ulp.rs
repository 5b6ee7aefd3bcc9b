//! Units in the last place.

use crate::Dtype;

/// How many steps of one representable number lie between two values: 0 for equal ones, with
/// `-0.0` and `0.0` one apart in bits but not in value, so 0. `None` if exactly one is NaN.
///
/// ```
/// use tensor_parity::compare::ulp_distance;
///
/// assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), Some(1));
/// assert_eq!(ulp_distance(-f32::MIN_POSITIVE, f32::MIN_POSITIVE), Some(0x0100_0000));
/// assert_eq!(ulp_distance(f32::NAN, 0.0), None);
/// ```
pub fn ulp_distance(a: f32, b: f32) -> Option<u32> {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Some(0),
        (false, false) => Some(place32(a.to_bits()).abs_diff(place32(b.to_bits()))),
        _ => None,
    }
}

/// The value's place among all floats, counted from zero.
#[inline(always)]
pub(super) fn place32(bits: u32) -> i32 {
    // Below 2^31 by construction, so the sign is free.
    let magnitude = (bits & 0x7fff_ffff) as i32;
    let sign = bits as i32 >> 31;
    (magnitude ^ sign) - sign
}

/// As [`place32`].
#[inline(always)]
pub(super) fn place64(bits: u64) -> i64 {
    let magnitude = (bits & 0x7fff_ffff_ffff_ffff) as i64;
    let sign = bits as i64 >> 63;
    (magnitude ^ sign) - sign
}

/// As [`place32`], for a float of one byte that is no NaN.
#[inline(always)]
pub(super) fn place8(dtype: Dtype, byte: u8) -> i32 {
    match dtype {
        Dtype::Float8E8m0fnu => i32::from(byte),
        _ if byte >> 7 == 1 => -i32::from(byte & 0x7f),
        _ => i32::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::ulp_distance;

    #[test]
    fn distances() {
        assert_eq!(ulp_distance(0.0, -0.0), Some(0));
        assert_eq!(ulp_distance(f32::NAN, f32::NAN), Some(0));
        assert_eq!(ulp_distance(f32::MAX, f32::INFINITY), Some(1));
        assert_eq!(ulp_distance(f32::from_bits(1), -f32::from_bits(1)), Some(2));
        assert_eq!(
            ulp_distance(f32::INFINITY, f32::NEG_INFINITY),
            Some(2 * 0x7f80_0000)
        );
    }
}
