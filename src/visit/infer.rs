//! What a layer can be, by the names and shapes of its variables.

use crate::nn::LayerKind;
use crate::nn::build::python_bool;

/// Names and shapes of variables.
pub(super) type Shapes<'a> = [(&'a str, Vec<i64>)];

/// The kinds that `tch::nn` makes, and those whose names leave no doubt.
const INFERRED: &[LayerKind] = {
    use LayerKind::*;
    &[
        Linear,
        Conv1d,
        Conv2d,
        Conv3d,
        ConvTranspose1d,
        ConvTranspose2d,
        ConvTranspose3d,
        BatchNorm1d,
        BatchNorm2d,
        BatchNorm3d,
        LayerNorm,
        GroupNorm,
        Embedding,
        RNN,
        LSTM,
        GRU,
        RNNCell,
        LSTMCell,
        GRUCell,
    ]
};

/// The kinds that a program of plain tch can have meant by variables of these names and shapes.
pub(super) fn candidates(parameters: &Shapes<'_>, buffers: &Shapes<'_>) -> Vec<LayerKind> {
    // tch's norms have both parameters or none; a lone vector is the caller's own.
    let lone_vector = matches!(parameters, [(_, shape)] if shape.len() == 1);
    if lone_vector && buffers.is_empty() {
        return Vec::new();
    }
    let fits = |kind: &&LayerKind| fits(**kind, parameters, buffers);
    INFERRED.iter().filter(fits).copied().collect()
}

/// Whether a layer of this kind can have these variables.
///
/// Of layers that PyTorch gives children or variables of unusual names, none can: they are known
/// from their constructors only.
pub(super) fn fits(kind: LayerKind, parameters: &Shapes<'_>, buffers: &Shapes<'_>) -> bool {
    use LayerKind::*;
    let weight = shape(parameters, "weight");
    let bias = shape(parameters, "bias");
    let only = |names: &[&str]| parameters.iter().all(|(name, _)| names.contains(name));
    let plain = only(&["weight", "bias"]) && buffers.is_empty();
    let statistics = shape(buffers, "running_mean").is_some()
        && shape(buffers, "running_var").is_some()
        && buffers
            .iter()
            .all(|(name, _)| ["running_mean", "running_var", "num_batches_tracked"].contains(name));
    let dims = weight.map_or(0, <[i64]>::len);
    let bias_is_first = || bias.is_none_or(|bias| Some(bias) == weight.and_then(|w| w.get(..1)));
    match kind {
        Linear => plain && dims == 2 && bias_is_first(),
        Bilinear => plain && dims == 3 && bias_is_first(),
        Embedding | EmbeddingBag => plain && dims == 2 && bias.is_none(),
        Conv1d | Conv2d | Conv3d => {
            let spatial = 1 + kind as usize - Conv1d as usize;
            plain && dims == 2 + spatial && bias_is_first()
        }
        ConvTranspose1d | ConvTranspose2d | ConvTranspose3d => {
            let spatial = 1 + kind as usize - ConvTranspose1d as usize;
            plain && dims == 2 + spatial && weight.is_some_and(|w| transposed_fits(w, bias))
        }
        BatchNorm1d | BatchNorm2d | BatchNorm3d | SyncBatchNorm => {
            only(&["weight", "bias"]) && statistics
        }
        InstanceNorm1d | InstanceNorm2d | InstanceNorm3d => {
            only(&["weight", "bias"]) && (statistics || plain && dims == 1)
        }
        LayerNorm => plain && dims > 0 && (bias == weight || bias.is_none() && dims == 1),
        GroupNorm => plain && dims == 1 && bias.is_none_or(|bias| Some(bias) == weight),
        RMSNorm => plain && dims > 0 && bias.is_none(),
        PReLU => plain && dims == 1 && bias.is_none(),
        RNN => gates(parameters, buffers, "_l0") == Some(1),
        GRU => gates(parameters, buffers, "_l0") == Some(3),
        LSTM => gates(parameters, buffers, "_l0") == Some(4),
        RNNCell => gates(parameters, buffers, "") == Some(1),
        GRUCell => gates(parameters, buffers, "") == Some(3),
        LSTMCell => gates(parameters, buffers, "") == Some(4),
        _ => false,
    }
}

/// The weight is `[in, out / groups, ..]` with groups dividing `in`, the bias is `[out]`.
fn transposed_fits(weight: &[i64], bias: Option<&[i64]>) -> bool {
    match (weight, bias) {
        (_, None) => true,
        ([inputs, per_group, ..], Some([out])) if *per_group > 0 && out % per_group == 0 => {
            let groups = out / per_group;
            groups > 0 && inputs % groups == 0
        }
        _ => false,
    }
}

/// Whether a variable of this name is of a recurrent layer.
pub(super) fn is_recurrent(name: &str) -> bool {
    RECURRENT.iter().any(|stem| name.starts_with(stem))
}

const RECURRENT: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

/// How many gates a recurrent layer has: the rows of its recurrent weight by its columns.
fn gates(parameters: &Shapes<'_>, buffers: &Shapes<'_>, suffix: &str) -> Option<i64> {
    let named = |name: &str| {
        RECURRENT.iter().any(|stem| {
            name.strip_prefix(stem)
                .is_some_and(|rest| rest.is_empty() == suffix.is_empty())
        })
    };
    if !buffers.is_empty() || !parameters.iter().all(|(name, _)| named(name)) {
        return None;
    }
    shape(parameters, &format!("weight_ih{suffix}"))?;
    let projected = shape(parameters, &format!("weight_hr{suffix}"));
    match (shape(parameters, &format!("weight_hh{suffix}"))?, projected) {
        (_, Some(_)) => Some(4),
        ([rows, hidden], None) if *hidden > 0 && rows % hidden == 0 => Some(rows / hidden),
        _ => None,
    }
}

/// What the shapes tell of what Python prints; `...` for options that they do not tell.
pub(super) fn repr(kind: LayerKind, parameters: &Shapes<'_>) -> String {
    let bias = python_bool(shape(parameters, "bias").is_some());
    match (kind, shape(parameters, "weight")) {
        (LayerKind::Linear, Some([out_features, in_features])) => {
            format!("Linear(in_features={in_features}, out_features={out_features}, bias={bias})")
        }
        _ => format!("{kind}(...)"),
    }
}

fn shape<'a>(variables: &'a Shapes<'_>, name: &str) -> Option<&'a [i64]> {
    variables
        .iter()
        .find_map(|(known, shape)| (*known == name).then_some(shape.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::{candidates, fits};
    use crate::nn::LayerKind::{self, *};

    fn shapes<'a>(variables: &[(&'a str, &[i64])]) -> Vec<(&'a str, Vec<i64>)> {
        variables.iter().map(|(n, s)| (*n, s.to_vec())).collect()
    }

    fn of(parameters: &[(&str, &[i64])]) -> Vec<LayerKind> {
        candidates(&shapes(parameters), &[])
    }

    #[test]
    fn shapes_tell_what_they_can() {
        assert_eq!(of(&[("weight", &[2, 4]), ("bias", &[2])]), [Linear]);
        assert_eq!(of(&[("weight", &[2, 4]), ("bias", &[4])]), []);
        assert_eq!(of(&[("weight", &[2, 4]), ("scale", &[2])]), []);
        assert_eq!(of(&[("weight", &[2, 4])]), [Linear, Embedding]);
        assert_eq!(
            of(&[("weight", &[4]), ("bias", &[4])]),
            [LayerNorm, GroupNorm]
        );
        assert_eq!(of(&[("weight", &[2, 4]), ("bias", &[2, 4])]), [LayerNorm]);
        assert_eq!(of(&[("cls_token", &[1, 1, 8])]), []);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn convolutions_are_told_apart_where_their_biases_tell() {
        // Only a transposed convolution has a bias that is not as long as the weight.
        let up = [("weight", &[16, 8, 2, 2][..]), ("bias", &[8])];
        assert_eq!(of(&up), [ConvTranspose2d]);
        // 3 does not divide 16: no number of groups makes this a transposed convolution.
        let down = [("weight", &[16, 3, 5, 5][..]), ("bias", &[16])];
        assert_eq!(of(&down), [Conv2d]);
        let either = [("weight", &[16, 8, 2][..]), ("bias", &[16])];
        assert_eq!(of(&either), [Conv1d, ConvTranspose1d]);
        let cubes = [("weight", &[4, 4, 1, 1, 1][..])];
        assert_eq!(of(&cubes), [Conv3d, ConvTranspose3d]);
    }

    #[test]
    fn recurrent_layers_are_told_by_their_gates() {
        for (kind, cell, gates) in [(RNN, RNNCell, 1), (GRU, GRUCell, 3), (LSTM, LSTMCell, 4)] {
            let [ih, hh, b] = [[gates * 5, 2], [gates * 5, 5], [gates * 5, 0]];
            let layer = [
                ("weight_ih_l0", &ih[..]),
                ("weight_hh_l0", &hh),
                ("bias_ih_l0", &b[..1]),
            ];
            assert_eq!(of(&layer), [kind]);
            let one = [("weight_ih", &ih[..]), ("weight_hh", &hh)];
            assert_eq!(of(&one), [cell]);
        }
        assert_eq!(
            of(&[("weight_ih_l0", &[8, 2]), ("weight_hh_l0", &[8, 3])]),
            []
        );
        assert_eq!(of(&[("weight_hh_l0", &[8, 2])]), []);
        let projected = [
            ("weight_ih_l0", &[20, 2][..]),
            ("weight_hh_l0", &[20, 3]),
            ("weight_hr_l0", &[3, 5]),
        ];
        assert_eq!(of(&projected), [LSTM]);
    }

    #[test]
    fn statistics_make_a_normalisation_of_batches() {
        let statistics = shapes(&[("running_mean", &[4]), ("running_var", &[4])]);
        let affine = shapes(&[("weight", &[4]), ("bias", &[4])]);
        for parameters in [&affine[..], &[]] {
            assert_eq!(
                candidates(parameters, &statistics),
                [BatchNorm1d, BatchNorm2d, BatchNorm3d]
            );
            assert!(fits(InstanceNorm2d, parameters, &statistics));
        }
        assert!(candidates(&affine, &shapes(&[("mask", &[4])])).is_empty());
    }

    #[test]
    fn what_tch_does_not_make_is_possible_and_not_guessed() {
        let one = shapes(&[("weight", &[1])]);
        assert!(candidates(&one, &[]).is_empty());
        assert!(fits(PReLU, &one, &[]) && fits(RMSNorm, &one, &[]));
        let cube = shapes(&[("weight", &[4, 2, 3]), ("bias", &[4])]);
        assert!(fits(Bilinear, &cube, &[]) && !candidates(&cube, &[]).contains(&Bilinear));
        assert!(!fits(Transformer, &cube, &[]));
    }
}
