//! The dtypes that draws fill.

use std::fmt;

/// A dtype that PyTorch's CPU generator fills, by PyTorch's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dtype {
    /// `torch.float16`
    Float16,
    /// `torch.bfloat16`
    Bfloat16,
    /// `torch.float32`
    Float32,
    /// `torch.float64`
    Float64,
    /// `torch.int64`, of permutations
    Int64,
}

impl Dtype {
    /// Every dtype.
    pub const ALL: &[Dtype] = &[
        Dtype::Float16,
        Dtype::Bfloat16,
        Dtype::Float32,
        Dtype::Float64,
        Dtype::Int64,
    ];

    /// PyTorch's name, without `torch.`.
    ///
    /// ```
    /// assert_eq!(torch_rng::Dtype::Bfloat16.name(), "bfloat16");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Float16 => "float16",
            Dtype::Bfloat16 => "bfloat16",
            Dtype::Float32 => "float32",
            Dtype::Float64 => "float64",
            Dtype::Int64 => "int64",
        }
    }

    /// The dtype of this name.
    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::ALL
            .iter()
            .copied()
            .find(|dtype| dtype.name() == name)
    }

    /// Whether it is one of the floating-point dtypes of 16 bits.
    pub(crate) fn is_half(self) -> bool {
        matches!(self, Dtype::Float16 | Dtype::Bfloat16)
    }

    /// The bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Float16 | Dtype::Bfloat16 => 2,
            Dtype::Float32 => 4,
            Dtype::Float64 | Dtype::Int64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
