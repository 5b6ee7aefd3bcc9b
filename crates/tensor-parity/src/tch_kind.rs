//! Conversion between [`Dtype`] and `tch::Kind`.

use crate::Dtype;
use tch::Kind;

/// The dtypes that both types have.
const KINDS: [(Dtype, Kind); 17] = [
    (Dtype::Bool, Kind::Bool),
    (Dtype::Uint8, Kind::Uint8),
    (Dtype::Int8, Kind::Int8),
    (Dtype::Int16, Kind::Int16),
    (Dtype::Int32, Kind::Int),
    (Dtype::Int64, Kind::Int64),
    (Dtype::Float16, Kind::Half),
    (Dtype::Bfloat16, Kind::BFloat16),
    (Dtype::Float32, Kind::Float),
    (Dtype::Float64, Kind::Double),
    (Dtype::Complex32, Kind::ComplexHalf),
    (Dtype::Complex64, Kind::ComplexFloat),
    (Dtype::Complex128, Kind::ComplexDouble),
    (Dtype::Float8E4m3fn, Kind::Float8e4m3fn),
    (Dtype::Float8E4m3fnuz, Kind::Float8e4m3fnuz),
    (Dtype::Float8E5m2, Kind::Float8e5m2),
    (Dtype::Float8E5m2fnuz, Kind::Float8e5m2fnuz),
];

impl Dtype {
    /// The `tch::Kind` of the dtype; `None` if tch lacks it.
    pub fn kind(self) -> Option<Kind> {
        let found = KINDS.iter().find(|(dtype, _)| *dtype == self);
        found.map(|(_, kind)| *kind)
    }

    /// The dtype of a `tch::Kind`; `None` if it is quantized.
    pub fn from_kind(kind: Kind) -> Option<Dtype> {
        let found = KINDS.iter().find(|(_, known)| *known == kind);
        found.map(|(dtype, _)| *dtype)
    }
}
