//! One draw, and its bytes.

use half::{bf16, f16};
use std::sync::Once;
use tch_init::distribution::*;
use tch_init::rng::{self, Dtype};
use tch_init::rng::{Backend, Mt19937};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    Uniform { from: f64, to: f64 },
    Normal { mean: f64, std: f64 },
    NormalSerial { mean: f64, std: f64 },
    TruncNormal { mean: f64, std: f64, a: f64, b: f64 },
}

use Draw::*;

pub const DTYPES: [Dtype; 4] = [
    Dtype::Float32,
    Dtype::Float64,
    Dtype::Bfloat16,
    Dtype::Float16,
];

impl Draw {
    /// The bytes of `numel` elements that begin `offset` elements into their memory.
    pub fn bytes(
        self,
        engine: &Engine,
        generator: &mut Mt19937,
        dtype: Dtype,
        numel: usize,
        offset: usize,
    ) -> Result<Vec<u8>, DrawError> {
        let run = Run {
            draw: self,
            engine,
            generator,
            numel,
            offset,
        };
        match dtype {
            Dtype::Float32 => run.fill(f32::from_bits(GUARD)),
            Dtype::Float64 => run.fill(f64::from_bits(u64::from(GUARD))),
            Dtype::Bfloat16 => run.fill(bf16::from_bits(GUARD as u16)),
            Dtype::Float16 => run.fill(f16::from_bits(GUARD as u16)),
            other => panic!("{other} is not drawn"),
        }
    }

    /// How many words it takes; `None` if that depends on the values.
    pub fn words(self, dtype: Dtype, numel: usize, kept: bool) -> Option<u64> {
        let draw: rng::Draw = match self {
            Uniform { from, to } => rng::Uniform { from, to }.into(),
            Normal { mean, std } | NormalSerial { mean, std } => rng::Normal { mean, std }.into(),
            TruncNormal { mean, std, a, b } => rng::TruncNormal { mean, std, a, b }.into(),
        };
        let shape = [numel as u64];
        let target = rng::Target {
            contiguous: !matches!(self, NormalSerial { .. }),
            ..rng::Target::new(dtype, &shape)
        };
        draw.consumed(target, Some(kept)).words
    }
}

/// What lies around the elements and must stay.
const GUARD: u32 = 0x1234_5678;
const GUARDS: usize = 8;

struct Run<'a> {
    draw: Draw,
    engine: &'a Engine,
    generator: &'a mut Mt19937,
    numel: usize,
    offset: usize,
}

impl Run<'_> {
    fn fill<T: Element>(self, guard: T) -> Result<Vec<u8>, DrawError> {
        let mut memory = vec![guard; self.offset + self.numel + GUARDS];
        let values = &mut memory[self.offset..][..self.numel];
        let generator = self.generator;
        match self.draw {
            Uniform { from, to } => self.engine.uniform_(generator, values, from, to)?,
            Normal { mean, std } => self.engine.normal_(generator, values, mean, std)?,
            NormalSerial { mean, std } => normal_serial_(generator, values, mean, std)?,
            TruncNormal { mean, std, a, b } => {
                self.engine
                    .trunc_normal_(generator, values, mean, std, a, b)?;
            }
        }
        let (before, rest) = memory.split_at(self.offset);
        let (values, after) = rest.split_at(self.numel);
        for guards in [before, after] {
            let untouched = vec![guard; guards.len()];
            assert!(bytes_of(guards) == bytes_of(&untouched), "written outside");
        }
        Ok(bytes_of(values).to_vec())
    }
}

/// An engine for every backend of this CPU. What is not tested for want of instructions is named.
pub fn engines() -> Vec<Engine> {
    static MISSING: Once = Once::new();
    MISSING.call_once(|| {
        for backend in Backend::ALL.into_iter().filter(|b| !b.is_available()) {
            eprintln!("NOT TESTED: this CPU does not support backend {backend}");
        }
    });
    Backend::ALL
        .into_iter()
        .filter_map(|backend| Engine::new(backend).ok())
        .collect()
}

/// The bytes of numbers.
pub fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: the types that tests draw have no padding, and the slice is borrowed as long.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The word of a block that is drawn as `drawn`.
pub fn untemper(drawn: u32) -> u32 {
    let mut word = drawn ^ (drawn >> 18);
    word ^= (word << 15) & 0xefc6_0000;
    // The low 7 bits are right, and each step makes 7 more so.
    let mut low = word;
    for _ in 0..4 {
        low = word ^ ((low << 7) & 0x9d2c_5680);
    }
    let mut high = low;
    for _ in 0..2 {
        high = low ^ (high >> 11);
    }
    high
}
