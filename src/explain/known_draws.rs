//! The draws that initial weights commonly come from, with their common names.

use crate::init::{Nonlinearity, calculate_fan_in_and_fan_out, calculate_gain};
use std::fmt;
use torch_rng::{Draw, Normal, Orthogonal, Sparse, TruncNormal, Uniform};

/// Prints a number with seven significant digits, without trailing zeros.
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

/// Prints a draw as a call of PyTorch's function, followed by its name if it has one.
pub(super) fn describe(draw: Draw, name: Option<&str>) -> String {
    let args: Vec<String> = draw
        .args()
        .iter()
        .map(|arg| Short(*arg).to_string())
        .collect();
    let call = format!("{}({})", draw.name(), args.join(", "));
    match name {
        Some(name) => format!("{call}: {name}"),
        None => call,
    }
}

/// A draw and where it is commonly used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KnownDraw {
    pub draw: Draw,
    pub name: String,
}

/// The draws that a tensor may have been initialized with, the likeliest first and each only once.
///
/// `weight` is the shape that determines the fans: the tensor's own, or for a bias that of its
/// weight.
pub(super) fn known_draws(weight: &[usize]) -> Vec<KnownDraw> {
    let mut list = List(Vec::new());
    let shape: Vec<i64> = weight
        .iter()
        .filter_map(|s| i64::try_from(*s).ok())
        .collect();
    if let Ok((fan_in, fan_out)) = calculate_fan_in_and_fan_out(&shape) {
        list.add_by_fans(fan_in as f64, fan_out as f64);
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
    list.add_common();
    list.0
}

/// The gains of `calculate_gain`, and the one that PyTorch's layers use.
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

struct List(Vec<KnownDraw>);

impl List {
    /// Adds a draw unless it is in the list. Bounds are compared exactly: a difference in the last
    /// bit of a bound can change the last bit of a value.
    fn push(&mut self, draw: impl Into<Draw>, name: &str) {
        let draw = draw.into();
        if !self.0.iter().any(|known| known.draw == draw) {
            self.0.push(KnownDraw {
                draw,
                name: name.to_owned(),
            });
        }
    }

    fn uniform(&mut self, bound: f64, name: &str) {
        let from = -bound;
        self.push(Uniform { from, to: bound }, name);
    }

    fn normal(&mut self, std: f64, name: &str) {
        self.push(Normal { mean: 0.0, std }, name);
    }

    fn add_by_fans(&mut self, fan_in: f64, fan_out: f64) {
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
        // timm's lecun_normal_ makes up for the variance that truncation at 2 std removes.
        let std = (1.0 / fan_in).sqrt() / 0.879_625_661_034_239_8;
        self.push(
            TruncNormal {
                mean: 0.0,
                std,
                a: -2.0 * std,
                b: 2.0 * std,
            },
            "timm's lecun_normal_",
        );
    }

    fn add_common(&mut self) {
        self.push(Uniform { from: 0.0, to: 1.0 }, "torch.rand");
        for bound in [1.0, 0.1, 0.05, 0.08, 0.01] {
            self.uniform(bound, "a common range");
        }
        self.normal(1.0, "PyTorch's default for Embedding; torch.randn");
        self.normal(0.02, "the std of BERT, GPT-2 and DCGAN");
        for std in [0.01, 0.1, 0.05, 0.001] {
            self.normal(std, "a common std");
        }
        self.push(
            Normal {
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
                TruncNormal {
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

/// The draw whose values are `factor > 0` times those of `draw`; `None` if there is no such draw.
pub(super) fn scale_draw(draw: Draw, factor: f64) -> Option<Draw> {
    Some(match draw {
        Draw::Uniform(Uniform { from, to }) => Draw::Uniform(Uniform {
            from: from * factor,
            to: to * factor,
        }),
        Draw::Normal(Normal { mean, std }) => Draw::Normal(Normal {
            mean: mean * factor,
            std: std * factor,
        }),
        Draw::TruncNormal(TruncNormal { mean, std, a, b }) => Draw::TruncNormal(TruncNormal {
            mean: mean * factor,
            std: std * factor,
            a: a * factor,
            b: b * factor,
        }),
        Draw::Orthogonal(Orthogonal { gain }) => Draw::Orthogonal(Orthogonal {
            gain: gain * factor,
        }),
        Draw::Sparse(Sparse { sparsity, std }) => Draw::Sparse(Sparse {
            sparsity,
            std: std * factor,
        }),
        _ => return None,
    })
}

/// The range and the first moments of values, which tell most draws apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    n: f64,
    pub low: f64,
    pub high: f64,
    /// One of the values. The sums are of distances from it, which squares do not round away as they do those of values far from zero.
    origin: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn of(values: &[f64]) -> Moments {
        let mut moments = Moments {
            n: values.len() as f64,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            origin: values.first().copied().unwrap_or_default(),
            sum: 0.0,
            squares: 0.0,
        };
        for value in values {
            moments.low = moments.low.min(*value);
            moments.high = moments.high.max(*value);
            let distance = value - moments.origin;
            moments.sum += distance;
            moments.squares += distance * distance;
        }
        moments
    }
}

/// Whether values with these moments may come from a draw.
///
/// A quick test that saves a search: it rejects the right draw for fewer than one tensor in a
/// million. Draws whose values do not show their words are always rejected.
pub(super) fn may_hold(draw: Draw, moments: &Moments) -> bool {
    let Moments {
        n,
        low,
        high,
        origin,
        sum,
        squares,
    } = *moments;
    if n == 0.0 || !low.is_finite() || !high.is_finite() {
        return false;
    }
    // bfloat16 rounds by up to 2^-8 of a bound.
    const SLACK: f64 = 1.0 / 128.0;
    match draw {
        Draw::Uniform(Uniform { from, to }) => {
            let width = to - from;
            // All n values miss the outer parts with a probability below 1e-7.
            let reach = 1e-7f64.powf(1.0 / n);
            width > 0.0
                && low >= from - SLACK * width
                && high <= to + SLACK * width
                && high - low >= (2.0 * reach - 1.0 - SLACK) * width
        }
        Draw::Normal(Normal { mean, std }) => {
            // The mean of the squares of `(value - mean) / std`.
            let mean = mean - origin;
            let square = (squares / n - 2.0 * mean * (sum / n) + mean * mean) / (std * std);
            // The mean square has mean 1 and standard deviation sqrt(2 / n).
            let spread = 6.0 * (2.0 / n).sqrt();
            square <= 1.0 + spread.max(36.0 / n) && square >= (1.0 - spread).max(0.0)
        }
        Draw::TruncNormal(TruncNormal { mean, std, a, b }) => {
            let slack = SLACK * std;
            let nearly_untruncated = (b - a) > 6.0 * std;
            low >= a - slack
                && high <= b + slack
                && (!nearly_untruncated || may_hold(Normal { mean, std }.into(), moments))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Draw, Moments, Normal, Short, Uniform, known_draws, may_hold, scale_draw};

    #[test]
    fn short_numbers_have_seven_digits() {
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
    fn defaults_of_pytorch_and_tch_have_names() {
        let name_of = |bound: f64| {
            let draw = Draw::from(Uniform {
                from: -bound,
                to: bound,
            });
            let known = known_draws(&[3, 4]);
            let found = known.iter().find(|known| known.draw == draw);
            found.map(|known| known.name.clone()).unwrap_or_default()
        };
        let pytorch = name_of(0.5);
        assert!(pytorch.contains("PyTorch's default"), "{pytorch}");
        let tch = name_of(3f64.sqrt() * (2f64.sqrt() / 2.0));
        assert!(tch.contains("tch's default"), "{tch}");
    }

    #[test]
    fn draws_that_cannot_give_the_values_are_rejected() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i) / 50.0 - 0.99).collect();
        let uniform = Draw::from(Uniform {
            from: -1.0,
            to: 1.0,
        });
        let moments = Moments::of(&values);
        let holds = |draw, factor| scale_draw(draw, factor).is_some_and(|d| may_hold(d, &moments));
        assert!(may_hold(uniform, &moments));
        assert!(!holds(uniform, 2.0));
        assert!(!holds(uniform, 0.5));
        let normal = Draw::from(Normal {
            mean: 0.0,
            std: 0.57,
        });
        assert!(may_hold(normal, &moments));
        assert!(!holds(normal, 5.0));
        assert!(!holds(normal, 0.2));
    }
}
