//! Distributions that initial weights are drawn from, by the names under which people know them.

use crate::init::{Nonlinearity, calculate_fan_in_and_fan_out, calculate_gain};
use std::fmt;

/// What a tensor was, or may have been, drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// `uniform_(from, to)`
    Uniform {
        /// The lower bound.
        from: f64,
        /// The upper bound.
        to: f64,
    },
    /// `normal_(mean, std)`
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// `trunc_normal_(mean, std, a, b)`
    TruncNormal {
        /// The mean before truncation.
        mean: f64,
        /// The standard deviation before truncation.
        std: f64,
        /// The lower bound.
        a: f64,
        /// The upper bound.
        b: f64,
    },
    /// `orthogonal_(gain)`
    Orthogonal {
        /// The gain.
        gain: f64,
    },
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Distribution::Uniform { from, to } => {
                write!(f, "uniform_({}, {})", Short(from), Short(to))
            }
            Distribution::Normal { mean, std } => {
                write!(f, "normal_({}, {})", Short(mean), Short(std))
            }
            Distribution::Orthogonal { gain } => write!(f, "orthogonal_({})", Short(gain)),
            Distribution::TruncNormal { mean, std, a, b } => write!(
                f,
                "trunc_normal_({}, {}, {}, {})",
                Short(mean),
                Short(std),
                Short(a),
                Short(b)
            ),
        }
    }
}

/// A number to seven digits, without trailing zeros.
pub(super) struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
            return write!(f, "{:.6e}", self.0);
        }
        let digits = 7 - (magnitude.max(1e-4).log10().floor() as i32 + 1).clamp(-3, 7);
        let text = format!("{:.*}", digits.max(0) as usize, self.0);
        match text.contains('.') {
            true => f.write_str(text.trim_end_matches('0').trim_end_matches('.')),
            false => f.write_str(&text),
        }
    }
}

/// A distribution with the name that says where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub distribution: Distribution,
    pub name: String,
}

/// The distributions that somebody may have drawn a tensor from, the likeliest first, no
/// distribution twice. `weight` is the shape that decides the fans: the tensor's own, or for a
/// bias that of the weight beside it.
pub(super) fn known(weight: &[usize]) -> Vec<Known> {
    let mut list = List(Vec::new());
    let shape: Vec<i64> = weight
        .iter()
        .filter_map(|s| i64::try_from(*s).ok())
        .collect();
    if let Ok((fan_in, fan_out)) = calculate_fan_in_and_fan_out(&shape) {
        list.by_fans(fan_in as f64, fan_out as f64);
    }
    if let [first, ..] = *weight {
        for (gates, layer) in [(1, "RNN"), (4, "LSTM"), (3, "GRU")] {
            if first % gates == 0 && first > 0 {
                let hidden = (first / gates) as f64;
                list.uniform(
                    1.0 / hidden.sqrt(),
                    &format!("1/sqrt(hidden_size), PyTorch's {layer} default"),
                );
            }
        }
    }
    list.common();
    list.0
}

/// The gains of `calculate_gain`, and the one that PyTorch's own layers use.
fn gains() -> Vec<(f64, String)> {
    let leaky = |negative_slope| Nonlinearity::LeakyRelu { negative_slope };
    [
        (Nonlinearity::Relu, "relu"),
        (Nonlinearity::Linear, "linear"),
        (Nonlinearity::Tanh, "tanh"),
        (Nonlinearity::Selu, "selu"),
        (leaky(0.01), "leaky_relu"),
        (leaky(0.1), "leaky_relu, a=0.1"),
        (leaky(0.2), "leaky_relu, a=0.2"),
        (leaky(5f64.sqrt()), "leaky_relu, a=sqrt(5)"),
    ]
    .into_iter()
    .filter_map(|(nonlinearity, name)| Some((calculate_gain(nonlinearity).ok()?, name.to_owned())))
    .collect()
}

struct List(Vec<Known>);

impl List {
    fn push(&mut self, distribution: Distribution, name: &str) {
        // Two names for one range: the first stands. Rounding of the bound in double precision
        // can change a last bit of the values, so only equal bounds are one.
        if !self.0.iter().any(|k| k.distribution == distribution) {
            self.0.push(Known {
                distribution,
                name: name.to_owned(),
            });
        }
    }

    fn uniform(&mut self, bound: f64, name: &str) {
        let from = -bound;
        self.push(Distribution::Uniform { from, to: bound }, name);
    }

    fn normal(&mut self, std: f64, name: &str) {
        self.push(Distribution::Normal { mean: 0.0, std }, name);
    }

    fn by_fans(&mut self, fan_in: f64, fan_out: f64) {
        if fan_in <= 0.0 || fan_out <= 0.0 {
            return;
        }
        self.uniform(
            1.0 / fan_in.sqrt(),
            "1/sqrt(fan_in), PyTorch's default for Linear and Conv",
        );
        for (fan, mode) in [(fan_in, "fan_in"), (fan_out, "fan_out")] {
            for (gain, nonlinearity) in gains() {
                let origin = match (mode, nonlinearity.as_str()) {
                    ("fan_in", "leaky_relu, a=sqrt(5)") => {
                        ", PyTorch's default for Linear and Conv"
                    }
                    ("fan_in", "relu") => ", tch's default for Linear and Conv",
                    _ => "",
                };
                let std = gain / fan.sqrt();
                self.uniform(
                    3f64.sqrt() * std,
                    &format!("kaiming_uniform_ ({mode}, {nonlinearity}){origin}"),
                );
                self.normal(std, &format!("kaiming_normal_ ({mode}, {nonlinearity})"));
            }
        }
        for (gain, nonlinearity) in gains() {
            let std = gain * (2.0 / (fan_in + fan_out)).sqrt();
            let gain = match nonlinearity.as_str() {
                "linear" => String::new(),
                other => format!(" (gain of {other})"),
            };
            self.uniform(3f64.sqrt() * std, &format!("xavier_uniform_{gain}"));
            self.normal(std, &format!("xavier_normal_{gain}"));
        }
        self.uniform(1.0 / fan_out.sqrt(), "1/sqrt(fan_out)");
        // timm's lecun_normal_: the variance that truncation at 2 std takes is given back.
        let std = (1.0 / fan_in).sqrt() / 0.879_625_661_034_239_8;
        self.push(
            Distribution::TruncNormal {
                mean: 0.0,
                std,
                a: -2.0 * std,
                b: 2.0 * std,
            },
            "lecun_normal_ as timm has it",
        );
    }

    fn common(&mut self) {
        self.push(Distribution::Uniform { from: 0.0, to: 1.0 }, "torch.rand");
        for bound in [1.0, 0.1, 0.05, 0.08, 0.01] {
            self.uniform(bound, "a common range");
        }
        self.normal(1.0, "PyTorch's default for Embedding; torch.randn");
        self.normal(0.02, "the std of BERT, GPT-2 and DCGAN");
        for std in [0.01, 0.1, 0.05, 0.001] {
            self.normal(std, "a common std");
        }
        self.push(
            Distribution::Normal {
                mean: 1.0,
                std: 0.02,
            },
            "the BatchNorm weight of DCGAN",
        );
        for (std, bound) in [
            (0.02, 2.0),
            (0.02, 0.04),
            (1.0, 2.0),
            (0.01, 2.0),
            (0.1, 0.2),
        ] {
            self.push(
                Distribution::TruncNormal {
                    mean: 0.0,
                    std,
                    a: -bound,
                    b: bound,
                },
                "a common truncation",
            );
        }
    }
}

impl Distribution {
    /// The same distribution of values times `c > 0`.
    pub(super) fn times(self, c: f64) -> Distribution {
        match self {
            Distribution::Uniform { from, to } => Distribution::Uniform {
                from: from * c,
                to: to * c,
            },
            Distribution::Normal { mean, std } => Distribution::Normal {
                mean: mean * c,
                std: std * c,
            },
            Distribution::TruncNormal { mean, std, a, b } => Distribution::TruncNormal {
                mean: mean * c,
                std: std * c,
                a: a * c,
                b: b * c,
            },
            Distribution::Orthogonal { gain } => Distribution::Orthogonal { gain: gain * c },
        }
    }

    /// Whether values could come from here: a quick test that spares a search, wrong for less than
    /// one tensor in a million.
    pub(super) fn may_hold(self, values: &[f64]) -> bool {
        let n = values.len() as f64;
        let (low, high) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(*v), high.max(*v))
            });
        if values.is_empty() || !low.is_finite() || !high.is_finite() {
            return false;
        }
        // bfloat16 rounds by up to 2^-8 of a bound.
        const SLACK: f64 = 1.0 / 128.0;
        match self {
            Distribution::Uniform { from, to } => {
                let width = to - from;
                // All n values miss the outer parts with a chance below 1e-7.
                let reach = 1e-7f64.powf(1.0 / n);
                width > 0.0
                    && low >= from - SLACK * width
                    && high <= to + SLACK * width
                    && high - low >= (2.0 * reach - 1.0 - SLACK) * width
            }
            Distribution::Normal { mean, std } => {
                let square = values
                    .iter()
                    .map(|v| ((v - mean) / std).powi(2))
                    .sum::<f64>()
                    / n;
                // The mean square has mean 1 and standard deviation sqrt(2 / n).
                let spread = 6.0 * (2.0 / n).sqrt();
                square <= 1.0 + spread.max(36.0 / n) && square >= (1.0 - spread).max(0.0)
            }
            // Not by its values alone: see `orthogonal`.
            Distribution::Orthogonal { .. } => false,
            Distribution::TruncNormal { mean, std, a, b } => {
                let slack = SLACK * std;
                let nearly_untruncated = (b - a) > 6.0 * std;
                low >= a - slack
                    && high <= b + slack
                    && (!nearly_untruncated || Distribution::Normal { mean, std }.may_hold(values))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Distribution, Short, known};

    #[test]
    fn short_numbers() {
        for (number, text) in [
            (0.5, "0.5"),
            (-1.224_744_871, "-1.224745"),
            (0.02, "0.02"),
            (1e-9, "1.000000e-9"),
            (784.0, "784"),
            (0.0, "0"),
            (123_456.789, "123456.8"),
        ] {
            assert_eq!(Short(number).to_string(), text);
        }
    }

    #[test]
    fn the_defaults_are_known_by_name() {
        let of = |bound: f64| {
            let wanted = Distribution::Uniform {
                from: -bound,
                to: bound,
            };
            let all = known(&[3, 4]);
            let found = all.iter().find(|k| k.distribution == wanted);
            found.map(|k| k.name.clone()).unwrap_or_default()
        };
        assert!(of(0.5).contains("PyTorch's default"), "{}", of(0.5));
        let tch = 3f64.sqrt() * (2f64.sqrt() / 2.0);
        assert!(of(tch).contains("tch's default"), "{}", of(tch));
    }

    #[test]
    fn impossible_values_are_excluded() {
        let uniform = Distribution::Uniform {
            from: -1.0,
            to: 1.0,
        };
        let values: Vec<f64> = (0..100).map(|i| f64::from(i) / 50.0 - 0.99).collect();
        assert!(uniform.may_hold(&values));
        assert!(!uniform.times(2.0).may_hold(&values));
        assert!(!uniform.times(0.5).may_hold(&values));
        let normal = Distribution::Normal {
            mean: 0.0,
            std: 0.57,
        };
        assert!(normal.may_hold(&values));
        assert!(!normal.times(5.0).may_hold(&values));
        assert!(!normal.times(0.2).may_hold(&values));
    }
}
