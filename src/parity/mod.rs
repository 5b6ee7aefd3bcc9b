//! How far apart two values are.

mod ulp;

pub use ulp::ulp_distance;
