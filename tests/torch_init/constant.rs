//! The functions that draw nothing.

use super::support::{CPU, Dice, error_of, filled, rounded, values};
use tch::{Kind, Tensor};
use tch_init::InitError;
use tch_init::init::{constant_, dirac_, eye_, ones_, zeros_};

const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16];

/// Upstream: `test_constant`.
#[test]
fn constant() {
    let mut dice = Dice(21);
    for kind in KINDS {
        for dims in [0, 1, 2, 4] {
            let value = dice.float(1.0, 10.0);
            let mut tensor = filled(&dice.shape(dims, 1, 5), kind);
            constant_(&mut tensor, value).unwrap();
            let expected = rounded(value, kind);
            assert!(values(&tensor).iter().all(|x| *x == expected), "{tensor:?}");
        }
    }
}

/// Upstream: `test_ones_and_zeros`.
#[test]
fn ones_and_zeros() {
    let mut dice = Dice(22);
    for kind in KINDS.into_iter().chain([Kind::Int64, Kind::Bool]) {
        for dims in [0, 1, 2, 4] {
            let mut tensor = filled(&dice.shape(dims, 1, 5), kind);
            ones_(&mut tensor).unwrap();
            assert!(values(&tensor).iter().all(|x| *x == 1.0), "{tensor:?}");
            zeros_(&mut tensor).unwrap();
            assert!(values(&tensor).iter().all(|x| *x == 0.0), "{tensor:?}");
        }
    }
}

/// Upstream: `test_eye`, here tall, wide and square.
#[test]
fn eye() {
    for (rows, columns) in [(1, 1), (3, 5), (5, 3), (4, 4), (1, 4)] {
        let mut tensor = filled(&[rows, columns], Kind::Float);
        eye_(&mut tensor).unwrap();
        for i in 0..rows {
            for j in 0..columns {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert_eq!(tensor.double_value(&[i, j]), expected, "({i}, {j})");
            }
        }
    }
}

/// Upstream: `test_eye_only_works_on_2d_inputs`.
#[test]
fn eye_only_works_on_2d_inputs() {
    let mut dice = Dice(23);
    for dims in [0, 1, 3, 4] {
        let shape = dice.shape(dims, 1, 3);
        let error = error_of("eye_", &shape, eye_);
        assert!(
            matches!(&error, InitError::Dimensions { function: "eye_", supported: "2", shape: at } if *at == shape),
            "{error:?}"
        );
    }
}

/// Upstream: `test_dirac_properties`. Besides the number of ones, each is where it should be.
#[test]
fn dirac_properties() {
    let mut dice = Dice(24);
    for dims in [3, 4, 5] {
        for groups in [1, 2, 3] {
            for _ in 0..3 {
                let mut shape = dice.shape(dims, 1, 5);
                let out_per_group = shape[0];
                shape[0] *= groups;
                shape[1] = dice.size(1, 5 * groups);
                let mut tensor = filled(&shape, Kind::Float);
                dirac_(&mut tensor, groups).unwrap();

                let kept = out_per_group.min(shape[1]);
                let ones = tensor.nonzero();
                assert_eq!(ones.size()[0], kept * groups, "{shape:?} in {groups}");
                let sum = tensor.sum(Kind::Double).double_value(&[]);
                assert_eq!(sum, (kept * groups) as f64, "{shape:?} in {groups}");
                for one in Vec::<Vec<i64>>::try_from(&ones).unwrap() {
                    assert_eq!(one[0] % out_per_group, one[1], "{one:?} of {shape:?}");
                    let middle: Vec<i64> = shape[2..].iter().map(|size| size / 2).collect();
                    assert_eq!(one[2..], middle, "{one:?} of {shape:?}");
                }
            }
        }
    }
}

/// Upstream: `test_dirac_identity`: a convolution with the kernel passes on the inside of its
/// input, once a group, and nothing more.
#[test]
fn dirac_identity() {
    let (batch, in_channels, out_channels, size, kernel) = (8, 3, 9, 5, 3);
    for dims in [1, 2, 3] {
        for groups in [1, 3] {
            let out_per_group = out_channels / groups;
            let mut weight = filled(
                &with(&[out_channels, in_channels], kernel, dims),
                Kind::Float,
            );
            dirac_(&mut weight, groups).unwrap();
            let input = numbered(&with(&[batch, in_channels], size, dims));
            let output = convolve(&input, &weight, dims, 1);
            let inside = (0..dims as i64).fold(input, |x, d| x.narrow(d + 2, 1, size - 2));
            for group in 0..groups {
                let first = out_per_group * group;
                let passed = output.narrow(1, first, in_channels);
                assert!(passed.equal(&inside), "{dims} dimensions, group {group}");
                let rest = output.narrow(1, first + in_channels, out_per_group - in_channels);
                assert_eq!(rest.count_nonzero(None).int64_value(&[]), 0);
            }
        }
    }
}

/// The case that groups are for: in a grouped convolution each group passes on its own channels.
#[test]
fn dirac_identity_of_a_grouped_convolution() {
    let (groups, in_per_group, out_per_group, size) = (3, 2, 4, 5);
    for dims in [1, 2, 3] {
        let shape = with(&[groups * out_per_group, in_per_group], 3, dims);
        let mut weight = filled(&shape, Kind::Float);
        dirac_(&mut weight, groups).unwrap();
        let input = numbered(&with(&[2, groups * in_per_group], size, dims));
        let output = convolve(&input, &weight, dims, groups);
        let inside = (0..dims as i64).fold(input, |x, d| x.narrow(d + 2, 1, size - 2));
        for group in 0..groups {
            let passed = output.narrow(1, group * out_per_group, in_per_group);
            let expected = inside.narrow(1, group * in_per_group, in_per_group);
            assert!(passed.equal(&expected), "{dims} dimensions, group {group}");
            let extra = out_per_group - in_per_group;
            let rest = output.narrow(1, group * out_per_group + in_per_group, extra);
            assert_eq!(rest.count_nonzero(None).int64_value(&[]), 0);
        }
    }
}

/// `channels`, then `dims` times `size`.
fn with(channels: &[i64], size: i64, dims: usize) -> Vec<i64> {
    [channels, &vec![size; dims]].concat()
}

/// 1, 2, 3 and so on: small whole numbers, so that a convolution is exact in f32.
fn numbered(shape: &[i64]) -> Tensor {
    let numel: i64 = shape.iter().product();
    Tensor::arange_start(1, numel + 1, (Kind::Float, CPU)).reshape(shape)
}

fn convolve(input: &Tensor, weight: &Tensor, dims: usize, groups: i64) -> Tensor {
    let (one, zero) = (vec![1; dims], vec![0; dims]);
    let bias = None::<Tensor>;
    match dims {
        1 => input.conv1d(weight, bias, &one, &zero, &one, groups),
        2 => input.conv2d(weight, bias, &one, &zero, &one, groups),
        _ => input.conv3d(weight, bias, &one, &zero, &one, groups),
    }
}

/// Upstream: `test_dirac_only_works_on_3_4_5d_inputs`.
#[test]
fn dirac_only_works_on_3_4_5d_inputs() {
    let mut dice = Dice(25);
    for dims in [0, 1, 2, 6] {
        let shape = dice.shape(dims, 1, 3);
        let error = error_of("dirac_", &shape, |t| dirac_(t, 1));
        assert!(
            matches!(&error, InitError::Dimensions { function: "dirac_", shape: at, .. } if *at == shape),
            "{error:?}"
        );
        assert!(error.to_string().contains("3, 4 or 5"), "{error}");
    }
}

/// Groups that do not divide, of which upstream has no test, and a kernel without a middle.
#[test]
fn dirac_errors_on_groups_and_empty_kernels() {
    for groups in [0, 2, 4, -2] {
        let error = error_of("dirac_", &[3, 2, 1], |t| dirac_(t, groups));
        let expected = InitError::Groups {
            shape: vec![3, 2, 1],
            groups,
        };
        assert_eq!(error, expected);
        assert!(
            error.to_string().contains(&format!("groups = {groups}")),
            "{error}"
        );
    }
    let mut empty = filled(&[2, 2, 3, 0], Kind::Float);
    let error = dirac_(&mut empty, 1).unwrap_err();
    assert_eq!(
        error,
        InitError::EmptyKernel {
            shape: vec![2, 2, 3, 0]
        }
    );
    // python: init.dirac_(torch.empty(0, 2, 3)) and init.dirac_(torch.ones(4, 2, 3), -2)
    dirac_(&mut filled(&[0, 2, 3], Kind::Float), 1).unwrap();
    let mut negative = filled(&[4, 2, 3], Kind::Float);
    dirac_(&mut negative, -2).unwrap();
    assert_eq!(values(&negative), [0.0; 24]);
}

mod without_underscore {
    pub fn uniform() {}
    pub fn normal() {}
    pub fn constant() {}
    pub fn eye() {}
    pub fn dirac() {}
    pub fn xavier_uniform() {}
    pub fn xavier_normal() {}
    pub fn kaiming_uniform() {}
    pub fn kaiming_normal() {}
    pub fn orthogonal() {}
    pub fn sparse() {}
}

mod both {
    pub use super::without_underscore::*;
    #[allow(unused_imports)] // as long as none of the names is there
    pub use tch_init::init::*;
}

/// Upstream: `test_deprecation`. PyTorch keeps aliases without the underscore and warns of them;
/// there are none here. If `init` had one, its name would be ambiguous and this not compile.
#[test]
fn deprecation() {
    both::uniform();
    both::normal();
    both::constant();
    both::eye();
    both::dirac();
    both::xavier_uniform();
    both::xavier_normal();
    both::kaiming_uniform();
    both::kaiming_normal();
    both::orthogonal();
    both::sparse();
}
