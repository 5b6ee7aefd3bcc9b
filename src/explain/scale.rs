//! Names of the constants by which ports are off.

use super::finding::Finding;
use super::known_draws::{Distribution, Known, known};
use super::told::named;
use crate::init::calculate_fan_in_and_fan_out;

/// The name of a factor, if it has one. `slack` is how far, relatively, the factor may be off.
fn name(constant: f64, weight: &[usize], slack: f64) -> Option<String> {
    let shape: Vec<i64> = weight
        .iter()
        .filter_map(|s| i64::try_from(*s).ok())
        .collect();
    let mut constants: Vec<(f64, String)> = [
        (2.0, "2"),
        (0.5, "1/2"),
        (2f64.sqrt(), "sqrt(2)"),
        (6f64.sqrt(), "sqrt(6)"),
        (3f64.sqrt(), "sqrt(3)"),
        (5.0 / 3.0, "5/3"),
        (5f64.sqrt(), "sqrt(5)"),
        (0.75, "3/4"),
    ]
    .into_iter()
    .flat_map(|(value, name)| {
        let inverse = match name {
            "2" | "1/2" => None,
            "5/3" => Some((1.0 / value, "3/5".to_owned())),
            "3/4" => Some((1.0 / value, "4/3".to_owned())),
            _ => Some((1.0 / value, format!("1/{name}"))),
        };
        [Some((value, name.to_owned())), inverse]
            .into_iter()
            .flatten()
    })
    .chain([10.0, 100.0, 1000.0].into_iter().flat_map(|value: f64| {
        [
            (value, value.to_string()),
            (1.0 / value, format!("1/{value}")),
        ]
    }))
    .collect();
    if let Ok((fan_in, fan_out)) = calculate_fan_in_and_fan_out(&shape) {
        let (i, o) = (fan_in as f64, fan_out as f64);
        for (value, name) in [
            ((i / o).sqrt(), "sqrt(fan_in/fan_out)"),
            ((o / i).sqrt(), "sqrt(fan_out/fan_in)"),
            (i.sqrt(), "sqrt(fan_in)"),
            (1.0 / i.sqrt(), "1/sqrt(fan_in)"),
            (o.sqrt(), "sqrt(fan_out)"),
            (1.0 / o.sqrt(), "1/sqrt(fan_out)"),
            (
                (2.0 * i / (i + o)).sqrt(),
                "sqrt(2 fan_in/(fan_in + fan_out))",
            ),
            (
                (6.0 * i / (i + o)).sqrt(),
                "sqrt(6 fan_in/(fan_in + fan_out))",
            ),
            (
                ((i + o) / (2.0 * i)).sqrt(),
                "sqrt((fan_in + fan_out)/(2 fan_in))",
            ),
            (
                ((i + o) / (6.0 * i)).sqrt(),
                "sqrt((fan_in + fan_out)/(6 fan_in))",
            ),
        ] {
            constants.push((value, name.to_owned()));
        }
    }
    let found = constants
        .into_iter()
        .find(|(value, _)| (constant.abs() - value).abs() <= slack * value)
        .map(|(_, name)| name);
    match (found, constant < 0.0) {
        (Some(name), true) => Some(format!("-{name}")),
        (None, true) if (constant + 1.0).abs() <= slack => Some("-1".to_owned()),
        (found, _) => found,
    }
}

/// The finding for a factor, with every name that the fans of the weight give to it.
pub(super) fn scaled(
    constant: f64,
    reference: Option<Distribution>,
    weight: &[usize],
    slack: f64,
) -> Finding {
    let known = known(weight);
    let near = |a: f64, b: f64| (a - b).abs() <= slack * a.abs().max(b.abs());
    let close = |a: &Distribution, b: &Distribution| match (a, b) {
        (Distribution::Uniform { from: a, to: b }, Distribution::Uniform { from: c, to: d }) => {
            near(*a, *c) && near(*b, *d)
        }
        (Distribution::Normal { mean: a, std: b }, Distribution::Normal { mean: c, std: d }) => {
            near(*a, *c) && near(*b, *d)
        }
        _ => false,
    };
    let describe = |distribution: Distribution| {
        let exact = |k: &&Known| k.distribution == distribution;
        let near = |k: &&Known| close(&k.distribution, &distribution);
        let found = known.iter().find(exact).or_else(|| known.iter().find(near));
        named(distribution, found.map(|k| k.name.as_str()))
    };
    Finding::Scaled {
        constant,
        name: name(constant, weight, slack),
        yours: reference
            .filter(|_| constant > 0.0)
            .map(|reference| describe(reference.times(constant))),
        reference: reference.map(describe),
    }
}

/// The factor between two distributions of one family, if there is one.
pub(super) fn ratio(yours: Distribution, reference: Distribution) -> Option<f64> {
    let (constant, spread) = match (yours, reference) {
        (Distribution::Uniform { from: a, to: b }, Distribution::Uniform { from: c, to: d }) => {
            (b / d, a / c)
        }
        (Distribution::Normal { mean: a, std: b }, Distribution::Normal { mean: c, std: d }) => {
            (b / d, if c == 0.0 && a == 0.0 { b / d } else { a / c })
        }
        _ => return None,
    };
    let one = (constant - spread).abs() <= 1e-9 * constant.abs();
    (one && constant.is_finite() && constant != 0.0).then_some(constant)
}

#[cfg(test)]
mod tests {
    use super::{Distribution, Finding, name, scaled};

    #[test]
    fn factors_by_name() {
        for (constant, expected) in [
            (6f64.sqrt(), Some("sqrt(6)")),
            (-6f64.sqrt(), Some("-sqrt(6)")),
            (-1.0, Some("-1")),
            (0.6, Some("3/5")),
            ((4f64 / 3.0).sqrt(), Some("sqrt(fan_in/fan_out)")),
            (1.2345, None),
        ] {
            assert_eq!(
                name(constant, &[3, 4], 1e-6).as_deref(),
                expected,
                "{constant}"
            );
        }
    }

    #[test]
    fn tch_and_pytorch_by_name() {
        let pytorch = Distribution::Uniform {
            from: -0.5,
            to: 0.5,
        };
        let Finding::Scaled {
            yours, reference, ..
        } = scaled(6f64.sqrt(), Some(pytorch), &[3, 4], 1e-6)
        else {
            panic!("not a factor");
        };
        assert!(
            yours
                .as_deref()
                .is_some_and(|y| y.contains("tch's default")),
            "{yours:?}"
        );
        assert!(
            reference
                .as_deref()
                .is_some_and(|r| r.contains("PyTorch's default")),
            "{reference:?}"
        );
    }
}
