//! The constants of Cephes' `logf` and `sinf`, with the digits of `ATen/native/cpu/avx_mathfun.h`
//! (PyTorch 2.13).

// More digits than an f32 holds, so that they can be compared with their source.
#![allow(clippy::excessive_precision)]

/// Highest power first.
pub(crate) const LOG: [f32; 9] = [
    7.0376836292E-2,
    -1.1514610310E-1,
    1.1676998740E-1,
    -1.2420140846E-1,
    1.4249322787E-1,
    -1.6668057665E-1,
    2.0000714765E-1,
    -2.4999993993E-1,
    3.3333331174E-1,
];

/// ln 2 in two parts, the small one first.
pub(crate) const LN_2: [f32; 2] = [-2.12194440e-4, 0.693359375];

/// Highest power first.
pub(crate) const SIN: [f32; 3] = [-1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1];

/// Highest power first.
pub(crate) const COS: [f32; 3] = [
    2.443315711809948E-005,
    -1.388731625493765E-003,
    4.166664568298827E-002,
];

/// -pi / 4 in three parts.
pub(crate) const MINUS_QUARTER_PI: [f32; 3] = [
    -0.78515625,
    -2.4187564849853515625e-4,
    -3.77489497744594108e-8,
];

/// 4 / pi.
pub(crate) const FOUR_OVER_PI: f32 = 1.27323954473516;
