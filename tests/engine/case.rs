//! One draw, and its bytes.

use half::{bf16, f16};
use tch_init::distribution::*;
use tch_init::rng::Mt19937;
use tch_init::tensor::Dtype;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    Uniform { from: f64, to: f64 },
    Normal { mean: f64, std: f64 },
    NormalSerial { mean: f64, std: f64 },
}

use Draw::*;

pub const DTYPES: [Dtype; 4] = [
    Dtype::Float32,
    Dtype::Float64,
    Dtype::Bfloat16,
    Dtype::Float16,
];

impl Draw {
    /// The bytes of `numel` elements that held zero.
    pub fn bytes(
        self,
        generator: &mut Mt19937,
        dtype: Dtype,
        numel: usize,
    ) -> Result<Vec<u8>, DrawError> {
        match dtype {
            Dtype::Float32 => {
                let values = self.fill::<f32>(generator, numel)?;
                Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
            }
            Dtype::Float64 => {
                let values = self.fill::<f64>(generator, numel)?;
                Ok(values.into_iter().flat_map(f64::to_le_bytes).collect())
            }
            Dtype::Bfloat16 => {
                let values = self.fill::<bf16>(generator, numel)?;
                Ok(values.into_iter().flat_map(bf16::to_le_bytes).collect())
            }
            Dtype::Float16 => {
                let values = self.fill::<f16>(generator, numel)?;
                Ok(values.into_iter().flat_map(f16::to_le_bytes).collect())
            }
            other => panic!("{other} is not drawn"),
        }
    }

    fn fill<T: Element + Default>(
        self,
        generator: &mut Mt19937,
        numel: usize,
    ) -> Result<Vec<T>, DrawError> {
        let mut values = vec![T::default(); numel];
        match self {
            Uniform { from, to } => uniform_(generator, &mut values, from, to)?,
            Normal { mean, std } => normal_(generator, &mut values, mean, std)?,
            NormalSerial { mean, std } => normal_serial_(generator, &mut values, mean, std)?,
        }
        Ok(values)
    }

    pub fn words(self, dtype: Dtype, numel: usize, kept: bool) -> u64 {
        let numel = numel as u64;
        match self {
            Uniform { .. } => words_of_uniform(dtype, numel),
            Normal { .. } => words_of_normal(dtype, numel, kept),
            NormalSerial { .. } => words_of_normal_serial(numel, kept),
        }
        .expect("a small draw of a drawn dtype")
    }
}
