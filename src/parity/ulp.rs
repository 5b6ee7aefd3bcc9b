//! Units in the last place.

/// How many steps of one representable number lie between two values: 0 for equal ones, with
/// `-0.0` and `0.0` one apart in bits but not in value, so 0. `None` if exactly one is NaN.
///
/// ```
/// use tch_init::parity::ulp_distance;
///
/// assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), Some(1));
/// assert_eq!(ulp_distance(-f32::MIN_POSITIVE, f32::MIN_POSITIVE), Some(0x0100_0000));
/// assert_eq!(ulp_distance(f32::NAN, 0.0), None);
/// ```
pub fn ulp_distance(a: f32, b: f32) -> Option<u32> {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Some(0),
        (false, false) => Some(place(a).abs_diff(place(b))),
        _ => None,
    }
}

/// The value's place among all floats, counted from zero.
fn place(x: f32) -> i32 {
    let bits = x.to_bits();
    // Below 2^31 by construction, so the sign is free.
    let magnitude = (bits & 0x7fff_ffff) as i32;
    if bits >> 31 == 0 {
        magnitude
    } else {
        -magnitude
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
