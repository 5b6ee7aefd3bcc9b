//! What a layer can be, by the names and shapes of its variables.

use crate::nn::LayerKind;

type Shapes<'a> = [(&'a str, Vec<i64>)];

/// The kinds that variables of these names and shapes fit, in the order of [`LayerKind`].
pub(super) fn candidates(parameters: &Shapes<'_>, buffers: &Shapes<'_>) -> Vec<LayerKind> {
    use LayerKind::*;
    let known = ["weight", "bias"];
    let statistics = ["running_mean", "running_var", "num_batches_tracked"];
    if parameters.iter().any(|(name, _)| !known.contains(name))
        || buffers.iter().any(|(name, _)| !statistics.contains(name))
    {
        return Vec::new();
    }
    if shape(buffers, "running_mean").is_some() {
        // Nothing but the input tells the dimensions.
        return vec![BatchNorm1d, BatchNorm2d, BatchNorm3d];
    }
    if !buffers.is_empty() {
        return Vec::new();
    }
    let Some(weight) = shape(parameters, "weight") else {
        return Vec::new();
    };
    let bias = shape(parameters, "bias");
    let (conv, transposed) = match weight.len() {
        2 => {
            let fits = bias.is_none_or(|bias| bias == &weight[..1]);
            return if fits { vec![Linear] } else { Vec::new() };
        }
        3 => (Conv1d, ConvTranspose1d),
        4 => (Conv2d, ConvTranspose2d),
        5 => (Conv3d, ConvTranspose3d),
        _ => return Vec::new(),
    };
    let mut candidates = Vec::new();
    if bias.is_none_or(|bias| bias == &weight[..1]) {
        candidates.push(conv);
    }
    // The weight is [in, out / groups, ..] with groups dividing `in`, the bias is [out].
    let transposed_fits = bias.is_none_or(|bias| match bias[..] {
        [out] if weight[1] > 0 && out % weight[1] == 0 => {
            let groups = out / weight[1];
            groups > 0 && weight[0] % groups == 0
        }
        _ => false,
    });
    if transposed_fits {
        candidates.push(transposed);
    }
    candidates
}

/// What the shapes tell of the arguments that Python prints.
pub(super) fn extra_repr(kind: LayerKind, parameters: &Shapes<'_>) -> String {
    let bias = shape(parameters, "bias").is_some();
    match (kind, shape(parameters, "weight").map(Vec::as_slice)) {
        (LayerKind::Linear, Some([out_features, in_features])) => format!(
            "in_features={in_features}, out_features={out_features}, bias={}",
            if bias { "True" } else { "False" }
        ),
        _ => "...".to_owned(),
    }
}

fn shape<'a>(variables: &'a Shapes<'_>, name: &str) -> Option<&'a Vec<i64>> {
    variables
        .iter()
        .find_map(|(known, shape)| (*known == name).then_some(shape))
}

#[cfg(test)]
mod tests {
    use super::candidates;
    use crate::nn::LayerKind::{self, *};

    fn of(parameters: &[(&str, &[i64])]) -> Vec<LayerKind> {
        let shapes: Vec<_> = parameters.iter().map(|(n, s)| (*n, s.to_vec())).collect();
        candidates(&shapes, &[])
    }

    #[test]
    fn shapes_tell_what_they_can() {
        assert_eq!(of(&[("weight", &[2, 4]), ("bias", &[2])]), [Linear]);
        assert_eq!(of(&[("weight", &[2, 4]), ("bias", &[4])]), []);
        assert_eq!(of(&[("weight", &[2, 4]), ("scale", &[2])]), []);
        // Only a transposed convolution has a bias that is not as long as the weight.
        let up = [("weight", &[16, 8, 2, 2][..]), ("bias", &[8])];
        assert_eq!(of(&up), [ConvTranspose2d]);
        // 3 does not divide 16: no number of groups makes this a transposed convolution.
        let down = [("weight", &[16, 3, 5, 5][..]), ("bias", &[16])];
        assert_eq!(of(&down), [Conv2d]);
        let either = [("weight", &[16, 8, 2][..]), ("bias", &[16])];
        assert_eq!(of(&either), [Conv1d, ConvTranspose1d]);
        assert_eq!(
            of(&[("weight", &[4, 4, 1, 1, 1])]),
            [Conv3d, ConvTranspose3d]
        );
    }
}
