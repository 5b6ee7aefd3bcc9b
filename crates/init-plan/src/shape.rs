//! Shapes of results.

/// The shape to which both broadcast.
pub(crate) fn joined(a: &[u64], b: &[u64]) -> Result<Vec<u64>, String> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut shape = long.to_vec();
    for (size, other) in shape.iter_mut().rev().zip(short.iter().rev()) {
        match (*size, *other) {
            (size, other) if size == other => {}
            (1, other) => *size = other,
            (_, 1) => {}
            _ => {
                return Err(format!(
                    "expected shapes that broadcast, found {a:?} and {b:?}"
                ));
            }
        }
    }
    Ok(shape)
}

/// The shape after padding, as `torch.nn.functional.pad`.
pub(crate) fn padded(shape: &[u64], pad: &[i64]) -> Result<Vec<u64>, String> {
    if !pad.len().is_multiple_of(2) || pad.len() > 2 * shape.len() {
        return Err(format!(
            "expected an even number of entries that pads shape {shape:?}, found {}",
            pad.len()
        ));
    }
    let mut padded = shape.to_vec();
    for (size, both) in padded.iter_mut().rev().zip(pad.chunks(2)) {
        let sum = both
            .iter()
            .try_fold(*size as i64, |sum, pad| sum.checked_add(*pad));
        *size = sum
            .and_then(|sum| u64::try_from(sum).ok())
            .ok_or_else(|| format!("expected entries that pad shape {shape:?}, found {pad:?}"))?;
    }
    Ok(padded)
}
