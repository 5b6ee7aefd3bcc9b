//! The versions of PyTorch whose draws have the same bits.

use std::fmt;

/// The versions of PyTorch whose bits are drawn. Each variant is named after the last version that has its
/// bits, except for the newest one, which is named after the first.
///
/// A [`Target`](crate::Target) has semantics, the [newest](Self::NEWEST) unless they are
/// [set](crate::Target::with_semantics).
///
/// | draw | 2.0 | 2.1 to 2.11 | 2.12 |
/// |---|---|---|---|
/// | `uniform_` of f32 and f64 | as 2.11 | a value that rounds to the upper bound stays | as 2.13 |
/// | `uniform_` of bf16 and f16 | as 2.11 | as many random bits as the dtype has digits, bounds rounded to the dtype | as 2.13 |
/// | `normal_` and `sparse_` of bf16 and f16, contiguous, from 16 elements | bf16 as 2.11; of f16, only radius and angle are rounded | each operation rounded to the dtype | logarithm, sine and cosine of the C library |
/// | `trunc_normal_` | as 2.11, its factor rounded to bf16 or f16 | the inverse of the distribution function, which needs libtorch | bf16 and f16: as `normal_` |
///
/// All other draws have the same bits since PyTorch 2.0.
///
/// ```
/// use torch_rng::{Draw, Dtype, Engine, Mt19937, Semantics, Target, Uniform};
///
/// let draw = Draw::from(Uniform { from: 0.0, to: 1.0 });
/// let target = Target::new(Dtype::Bfloat16, &[1]).with_semantics(Semantics::PyTorch2_11);
/// let mut values = [half::bf16::ZERO];
/// draw.fill(&Engine::default(), &mut Mt19937::new(1), target, &mut values)?;
/// // python 2.11: torch.manual_seed(1); torch.rand(1, dtype=torch.bfloat16).item()
/// assert_eq!(values[0].to_f32(), 0.14453125);
/// # Ok::<(), torch_rng::DrawError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Semantics {
    /// PyTorch 2.0.
    PyTorch2_0,
    /// PyTorch 2.1 to 2.11.
    PyTorch2_11,
    /// PyTorch 2.12.
    PyTorch2_12,
    /// PyTorch 2.13 and newer, up to 2.15 as far as is known.
    #[default]
    PyTorch2_13,
}

impl Semantics {
    /// All semantics, the oldest first.
    pub const ALL: [Semantics; 4] = [
        Semantics::PyTorch2_0,
        Semantics::PyTorch2_11,
        Semantics::PyTorch2_12,
        Semantics::PyTorch2_13,
    ];

    /// The newest semantics, which are the default.
    pub const NEWEST: Semantics = Semantics::PyTorch2_13;

    /// The name, as in plans: `2.0`, `2.11`, `2.12` or `2.13`.
    ///
    /// ```
    /// use torch_rng::Semantics;
    ///
    /// assert_eq!(Semantics::NEWEST.name(), "2.13");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Semantics::PyTorch2_0 => "2.0",
            Semantics::PyTorch2_11 => "2.11",
            Semantics::PyTorch2_12 => "2.12",
            Semantics::PyTorch2_13 => "2.13",
        }
    }

    /// The semantics of this name.
    ///
    /// ```
    /// use torch_rng::Semantics;
    ///
    /// assert_eq!(Semantics::from_name("2.11"), Some(Semantics::PyTorch2_11));
    /// assert_eq!(Semantics::from_name("2.10"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Semantics> {
        let mut all = Semantics::ALL.into_iter();
        all.find(|semantics| semantics.name() == name)
    }

    /// The semantics of a version of PyTorch from 2.0 to 2.15, such as `2.7` or `2.7.1+cpu`; `None` for others.
    ///
    /// ```
    /// use torch_rng::Semantics;
    ///
    /// assert_eq!(Semantics::of_version("2.7.1"), Some(Semantics::PyTorch2_11));
    /// assert_eq!(Semantics::of_version("1.13.1"), None);
    /// ```
    pub fn of_version(version: &str) -> Option<Semantics> {
        let mut numbers = version.split('.');
        let major: u32 = numbers.next()?.parse().ok()?;
        let minor: u32 = numbers.next()?.parse().ok()?;
        match (major, minor) {
            (2, 0) => Some(Semantics::PyTorch2_0),
            (2, 1..=11) => Some(Semantics::PyTorch2_11),
            (2, 12) => Some(Semantics::PyTorch2_12),
            (2, 13..=15) => Some(Semantics::PyTorch2_13),
            _ => None,
        }
    }
}

/// Writes the versions: `PyTorch 2.1 to 2.11`.
impl fmt::Display for Semantics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Semantics::PyTorch2_0 => "PyTorch 2.0",
            Semantics::PyTorch2_11 => "PyTorch 2.1 to 2.11",
            Semantics::PyTorch2_12 => "PyTorch 2.12",
            Semantics::PyTorch2_13 => "PyTorch 2.13 and newer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_and_round_trip() {
        assert!(Semantics::ALL.is_sorted());
        assert_eq!(Semantics::ALL.last(), Some(&Semantics::NEWEST));
        assert_eq!(Semantics::default(), Semantics::NEWEST);
        for semantics in Semantics::ALL {
            assert_eq!(Semantics::from_name(semantics.name()), Some(semantics));
            assert!(semantics.to_string().contains(semantics.name()));
            assert_eq!(Semantics::of_version(semantics.name()), Some(semantics));
        }
    }
}
