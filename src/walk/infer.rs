//! The layers that variables of plain tch can make up.

use crate::nn::{LayerKind, LayerSpec, VariableShapes};

/// The layers that a program of plain tch can have meant by these variables.
pub(super) fn inferred(variables: &VariableShapes<'_>) -> Vec<LayerSpec> {
    // tch's norms have both parameters or none; a lone vector is the caller's own.
    let lone_vector = matches!(variables.parameters, [(_, shape)] if shape.len() == 1);
    if lone_vector && variables.buffers.is_empty() {
        return Vec::new();
    }
    let kinds = LayerKind::ALL.iter().filter(|kind| kind.is_inferred());
    kinds
        .filter_map(|kind| LayerSpec::infer(*kind, variables))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{VariableShapes, inferred};
    use crate::nn::LayerKind::{self, *};
    use crate::nn::LayerSpec;

    fn shapes<'a>(variables: &[(&'a str, &[i64])]) -> Vec<(&'a str, Vec<i64>)> {
        variables.iter().map(|(n, s)| (*n, s.to_vec())).collect()
    }

    fn candidates(parameters: &[(&str, Vec<i64>)], buffers: &[(&str, Vec<i64>)]) -> Vec<LayerKind> {
        let variables = VariableShapes {
            parameters,
            buffers,
        };
        inferred(&variables).iter().map(LayerSpec::kind).collect()
    }

    fn fits(
        kind: LayerKind,
        parameters: &[(&str, Vec<i64>)],
        buffers: &[(&str, Vec<i64>)],
    ) -> bool {
        let variables = VariableShapes {
            parameters,
            buffers,
        };
        LayerSpec::infer(kind, &variables).is_some()
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
    fn statistics_make_a_normalization_of_batches() {
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
