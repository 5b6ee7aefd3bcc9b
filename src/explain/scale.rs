//! Constant factors between two tensors, with the names of the factors that ports get wrong.

use super::finding::Finding;
use super::known_draws::{KnownDraw, describe, known_draws, scale_draw};
use crate::init::calculate_fan_in_and_fan_out;
use torch_rng::Draw;

/// Names a factor, if it has a name. `tolerance` is the largest relative error of the factor.
fn factor_name(constant: f64, weight: &[usize], tolerance: f64) -> Option<String> {
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
        .find(|(value, _)| (constant.abs() - value).abs() <= tolerance * value)
        .map(|(_, name)| name);
    match (found, constant < 0.0) {
        (Some(name), true) => Some(format!("-{name}")),
        (None, true) if (constant + 1.0).abs() <= tolerance => Some("-1".to_owned()),
        (found, _) => found,
    }
}

/// The finding for a factor; names the two draws by the fans of the weight.
///
/// `tolerance` is the largest relative error of the factor.
pub(super) fn scaled(
    constant: f64,
    reference: Option<Draw>,
    weight: &[usize],
    tolerance: f64,
) -> Finding {
    let known = known_draws(weight);
    let near = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(b.abs());
    let close = |a: Draw, b: Draw| match (a, b) {
        (Draw::Uniform(a), Draw::Uniform(b)) => near(a.from, b.from) && near(a.to, b.to),
        (Draw::Normal(a), Draw::Normal(b)) => near(a.mean, b.mean) && near(a.std, b.std),
        _ => false,
    };
    let text = |draw: Draw| {
        let equal = |known: &&KnownDraw| known.draw == draw;
        let near = |known: &&KnownDraw| close(known.draw, draw);
        let found = known.iter().find(equal).or_else(|| known.iter().find(near));
        describe(draw, found.map(|known| known.name.as_str()))
    };
    Finding::Scaled {
        constant,
        name: factor_name(constant, weight, tolerance),
        yours: reference
            .filter(|_| constant > 0.0)
            .and_then(|reference| scale_draw(reference, constant))
            .map(text),
        reference: reference.map(text),
    }
}

/// The factor between two draws of one kind; `None` if they differ by more than a factor.
pub(super) fn ratio(yours: Draw, reference: Draw) -> Option<f64> {
    let (constant, other) = match (yours, reference) {
        (Draw::Uniform(a), Draw::Uniform(b)) => (a.to / b.to, a.from / b.from),
        (Draw::Normal(a), Draw::Normal(b)) => {
            let spread = a.std / b.std;
            match a.mean == 0.0 && b.mean == 0.0 {
                true => (spread, spread),
                false => (spread, a.mean / b.mean),
            }
        }
        _ => return None,
    };
    let is_one_factor = (constant - other).abs() <= 1e-9 * constant.abs();
    (is_one_factor && constant.is_finite() && constant != 0.0).then_some(constant)
}

#[cfg(test)]
mod tests {
    use super::{Finding, factor_name, scaled};
    use torch_rng::Uniform;

    #[test]
    fn factors_have_names() {
        for (constant, expected) in [
            (6f64.sqrt(), Some("sqrt(6)")),
            (-6f64.sqrt(), Some("-sqrt(6)")),
            (-1.0, Some("-1")),
            (0.6, Some("3/5")),
            ((4f64 / 3.0).sqrt(), Some("sqrt(fan_in/fan_out)")),
            (1.2345, None),
        ] {
            assert_eq!(
                factor_name(constant, &[3, 4], 1e-6).as_deref(),
                expected,
                "{constant}"
            );
        }
    }

    #[test]
    fn defaults_of_tch_and_pytorch_are_named() {
        let pytorch = Uniform {
            from: -0.5,
            to: 0.5,
        };
        let Finding::Scaled {
            yours, reference, ..
        } = scaled(6f64.sqrt(), Some(pytorch.into()), &[3, 4], 1e-6)
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
