//! Sizes and numbers by chance but the same each time, tensors to fill, and checks of errors.

use tch::{Device, Kind, Tensor};
use tch_init::{Generator, InitError};

pub const CPU: Device = Device::Cpu;

/// SplitMix64 (Steele, Lea and Flood, 2014): what upstream takes from Python's `random`.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn size(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn float(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }

    pub fn shape(&mut self, dims: usize, low: i64, high: i64) -> Vec<i64> {
        (0..dims).map(|_| self.size(low, high)).collect()
    }

    /// A shape of 10 000 elements and more, with a second dimension twice the first, so that fan
    /// in and fan out cannot be taken for each other.
    pub fn large(&mut self, dims: usize) -> Vec<i64> {
        let (low, high) = match dims {
            1 => return vec![self.size(15_000, 20_000)],
            2 => (80, 100),
            3 => (18, 22),
            4 => (9, 10),
            5 => (6, 7),
            _ => unreachable!("{dims} dimensions"),
        };
        let mut shape = self.shape(dims, low, high);
        shape[1] = 2 * shape[0];
        shape
    }
}

/// A tensor whose values every initialization changes.
pub fn filled(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::full(shape, 77.0, (kind, CPU))
}

pub fn seeded(seed: i64) -> Generator {
    let mut generator = Generator::new(CPU).unwrap();
    generator.manual_seed(seed).unwrap();
    generator
}

/// The elements as f64, which holds those of every dtype used here exactly.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.to_kind(Kind::Double).contiguous().view([-1]);
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    values
}

/// What [`values`] returns, sorted where it is fast: a test is built without optimization.
pub fn sorted(tensor: &Tensor) -> Vec<f64> {
    values(&tensor.view([-1]).sort(0, false).0)
}

/// A value as a dtype holds it.
pub fn rounded(value: f64, kind: Kind) -> f64 {
    Tensor::from(value).to_kind(kind).double_value(&[])
}

/// `init` must fail on a tensor of this shape, leave it alone, and say where it failed.
pub fn error_of(
    function: &str,
    shape: &[i64],
    init: impl FnOnce(&mut Tensor) -> Result<(), InitError>,
) -> InitError {
    let mut tensor = filled(shape, Kind::Float);
    let error = init(&mut tensor).unwrap_err();
    assert!(values(&tensor).iter().all(|x| *x == 77.0), "{error}");
    let message = error.to_string();
    assert!(message.contains(function), "{function}: {message}");
    assert!(message.contains(&format!("{shape:?}")), "{message}");
    error
}
