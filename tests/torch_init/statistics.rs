//! The one-sample two-sided Kolmogorov-Smirnov test, as upstream has it from `scipy.stats.kstest`.

use super::support::{Dice, filled, rounded, seeded, sorted};
use tch::{Kind, Tensor};
use tch_init::init::{normal_, trunc_normal_, uniform_};

unsafe extern "C" {
    // libm's, which std does not offer. It is exact to 1 ulp; no test needs more than 1e-9.
    safe fn erf(x: f64) -> f64;
}

/// Below this p value upstream rejects a distribution.
const REJECTED: f64 = 1e-4;

/// A distribution by its parameters; the interval of the last is `[a, b]`.
#[derive(Debug, Clone, Copy)]
pub enum Distribution {
    Uniform { a: f64, b: f64 },
    Normal { mean: f64, std: f64 },
    TruncNormal { mean: f64, std: f64, a: f64, b: f64 },
}

use Distribution::*;

impl Distribution {
    /// The probability of a value of at most `x`, as a function of `x`.
    fn cdf(self) -> Box<dyn Fn(f64) -> f64> {
        let standard = |z: f64| (1.0 + erf(z / 2f64.sqrt())) / 2.0;
        match self {
            Uniform { a, b } => Box::new(move |x| ((x - a) / (b - a)).clamp(0.0, 1.0)),
            Normal { mean, std } => Box::new(move |x| standard((x - mean) / std)),
            TruncNormal { mean, std, a, b } => {
                let below = move |x: f64| standard((x - mean) / std);
                let (below_a, inside) = (below(a), below(b) - below(a));
                Box::new(move |x| ((below(x) - below_a) / inside).clamp(0.0, 1.0))
            }
        }
    }

    /// Where all values must lie; at dtypes of low precision its bounds are rounded.
    fn interval(self) -> (f64, f64) {
        match self {
            Uniform { a, b } | TruncNormal { a, b, .. } => (a, b),
            Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// The p value of `sample` under this distribution.
    ///
    /// The asymptotic distribution of the statistic, with the correction for small samples of
    /// Stephens (1970), "Use of the Kolmogorov-Smirnov, Cramer-Von Mises and related statistics
    /// without extensive tables", J. R. Stat. Soc. B 32, p. 118.
    pub fn p_value(self, sample: &[f64]) -> f64 {
        let root = (sample.len() as f64).sqrt();
        kolmogorov_tail((root + 0.12 + 0.11 / root) * self.distance(sample))
    }

    /// The largest distance between the sample's distribution function and this one.
    fn distance(self, sample: &[f64]) -> f64 {
        let mut sorted = sample.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let cdf = self.cdf();
        let distances = sorted.iter().enumerate().map(|(i, x)| {
            let expected = cdf(*x);
            ((i + 1) as f64 / n - expected).max(expected - i as f64 / n)
        });
        distances.fold(0.0, f64::max)
    }
}

/// The probability of a value above `x` under Kolmogorov's distribution:
/// `2 (e^(-2 x^2) - e^(-8 x^2) + e^(-18 x^2) - ...)`, which converges at once for `x >= 0.2`.
fn kolmogorov_tail(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0; // within 1e-12
    }
    let terms = (1..=100).map(|k| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    });
    terms.sum()
}

/// The sample must be large, finite, inside the distribution's interval as `kind` holds it, reach
/// both of its tails, and not be rejected.
pub fn assert_drawn_from(distribution: Distribution, sample: &[f64], kind: Kind) {
    assert!(sample.len() >= 1000, "{} values", sample.len());
    let (a, b) = distribution.interval();
    let [a, b] = [a, b].map(|bound| rounded(bound, kind));
    let outside = sample.iter().find(|x| !(a..=b).contains(*x));
    assert_eq!(outside, None, "{distribution:?} {kind:?}");
    // A tail of 20 / n stays empty with a probability of e^-20.
    let cdf = distribution.cdf();
    let low = sample.iter().copied().fold(f64::INFINITY, f64::min);
    let high = sample.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let tails = [cdf(low), 1.0 - cdf(high)].map(|tail| tail * sample.len() as f64);
    assert!(
        tails.iter().all(|tail| *tail < 20.0),
        "{distribution:?} {kind:?}: {tails:?}"
    );
    let p = distribution.p_value(sample);
    assert!(p > REJECTED, "{distribution:?} {kind:?}: p = {p}");
}

pub fn assert_rejected(distribution: Distribution, sample: &[f64]) {
    let p = distribution.p_value(sample);
    assert!(p < REJECTED, "{distribution:?}: p = {p}");
}

/// Kolmogorov's distribution at the points that tables give, as Smirnov (1948), "Table for
/// estimating the goodness of fit of empirical distributions", Ann. Math. Stat. 19.
#[test]
fn the_tail_is_the_one_of_the_tables() {
    for (x, tail) in [
        (0.5, 0.963945),
        (1.0, 0.270000),
        (1.22385, 0.1),
        (1.35810, 0.05),
        (1.62762, 0.01),
    ] {
        let found = kolmogorov_tail(x);
        assert!((found - tail).abs() < 2e-6, "{x}: {found}");
    }
}

/// Three values against the uniform distribution, worked by hand.
#[test]
fn the_distance_is_the_largest_on_either_side_of_a_step() {
    let unit = Uniform { a: 0.0, b: 1.0 };
    assert!((unit.distance(&[0.9, 0.1, 0.2]) - (2.0 / 3.0 - 0.2)).abs() < 1e-15);
    assert!((unit.distance(&[0.8, 0.9, 0.85]) - 0.8).abs() < 1e-15);
}

/// The negative control: near misses of each kind are rejected at the sizes used here, and the
/// truth is not.
#[test]
fn wrong_distributions_are_rejected() {
    let mut generator = seeded(1);
    let mut sample = |init: &dyn Fn(&mut Tensor, Option<&mut tch_init::Generator>)| {
        let mut tensor = filled(&Dice(3).large(2), Kind::Float);
        init(&mut tensor, Some(&mut generator));
        sorted(&tensor)
    };
    let uniform = sample(&|t, g| uniform_(t, -1.0, 2.0, g).unwrap());
    assert_drawn_from(Uniform { a: -1.0, b: 2.0 }, &uniform, Kind::Float);
    assert_rejected(Uniform { a: -1.1, b: 2.1 }, &uniform);
    assert_rejected(Uniform { a: -0.8, b: 2.0 }, &uniform);
    assert_rejected(
        Normal {
            mean: 0.5,
            std: 3.0 / 12f64.sqrt(),
        },
        &uniform,
    );

    let normal = sample(&|t, g| normal_(t, 1.0, 2.0, g).unwrap());
    assert_drawn_from(
        Normal {
            mean: 1.0,
            std: 2.0,
        },
        &normal,
        Kind::Float,
    );
    assert_rejected(
        Normal {
            mean: 1.15,
            std: 2.0,
        },
        &normal,
    );
    assert_rejected(
        Normal {
            mean: 1.0,
            std: 2.25,
        },
        &normal,
    );
    assert_rejected(
        Normal {
            mean: 1.0,
            std: 1.75,
        },
        &normal,
    );
    assert_rejected(
        TruncNormal {
            mean: 1.0,
            std: 2.0,
            a: -3.0,
            b: 5.0,
        },
        &normal,
    );

    let truncated = sample(&|t, g| trunc_normal_(t, 0.0, 1.0, -2.0, 2.0, g).unwrap());
    let truth = TruncNormal {
        mean: 0.0,
        std: 1.0,
        a: -2.0,
        b: 2.0,
    };
    assert_drawn_from(truth, &truncated, Kind::Float);
    assert_rejected(
        Normal {
            mean: 0.0,
            std: 1.0,
        },
        &truncated,
    );
    assert_rejected(
        TruncNormal {
            mean: 0.0,
            std: 1.2,
            a: -2.0,
            b: 2.0,
        },
        &truncated,
    );
    assert_rejected(Uniform { a: -2.0, b: 2.0 }, &truncated);
}

/// The other half of the negative control: constants, values outside and NaN do not pass.
#[test]
fn degenerate_samples_are_rejected() {
    let unit = Uniform { a: 0.0, b: 1.0 };
    assert_rejected(unit, &[0.5; 5000]);
    assert_rejected(
        Normal {
            mean: 0.0,
            std: 1.0,
        },
        &[0.0; 5000],
    );
    let even: Vec<f64> = (0..5000).map(|i| f64::from(i) / 5000.0).collect();
    assert_drawn_from(unit, &even, Kind::Double);
    let changed = |at: usize, value: f64| {
        let mut sample = even.clone();
        sample[at] = value;
        sample
    };
    let inner: Vec<f64> = even.iter().map(|x| 0.005 + 0.99 * x).collect();
    for sample in [
        changed(9, 1.5),
        changed(9, -0.1),
        changed(9, f64::NAN),
        inner,
    ] {
        let passed = std::panic::catch_unwind(|| assert_drawn_from(unit, &sample, Kind::Double));
        assert!(passed.is_err());
    }
}
