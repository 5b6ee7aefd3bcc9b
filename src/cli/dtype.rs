//! `--dtype`.

use clap::ValueEnum;
#[cfg(feature = "tch")]
use tch::Kind;
use tch_init::tensor::Dtype;

/// The dtypes of parameters.
#[derive(Clone, Copy, ValueEnum)]
pub enum FloatDtype {
    Float16,
    Bfloat16,
    Float32,
    Float64,
}

impl FloatDtype {
    pub fn dtype(self) -> Dtype {
        match self {
            FloatDtype::Float16 => Dtype::Float16,
            FloatDtype::Bfloat16 => Dtype::Bfloat16,
            FloatDtype::Float32 => Dtype::Float32,
            FloatDtype::Float64 => Dtype::Float64,
        }
    }

    /// tch's name of the dtype.
    #[cfg(feature = "tch")]
    pub fn kind(self) -> Kind {
        match self {
            FloatDtype::Float16 => Kind::Half,
            FloatDtype::Bfloat16 => Kind::BFloat16,
            FloatDtype::Float32 => Kind::Float,
            FloatDtype::Float64 => Kind::Double,
        }
    }
}
