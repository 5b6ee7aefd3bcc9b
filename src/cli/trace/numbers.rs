//! Numbers in sentences.

/// `24,576`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `311`, `9.1e4`.
pub fn short(number: u64) -> String {
    match number < 10_000 {
        true => grouped(number as usize),
        false => format!("{:.1e}", number as f64),
    }
}
