//! `orthogonal_` and `sparse_`.

use super::statistics::Distribution::{Normal, Uniform};
use super::statistics::{assert_drawn_from, assert_rejected};
use super::support::{CPU, Dice, error_of, filled, seeded, values};
use crate::common::default_stream;
use tch::{Kind, Tensor};
use tch_init::init::{normal_, orthogonal_, sparse_};
use tch_init::{InitError, manual_seed};

/// Wide, tall, square, and with more than two dimensions, as rows and columns.
const ORTHOGONAL: [(&[i64], i64, i64); 8] = [
    (&[3, 4], 3, 4),
    (&[4, 3], 4, 3),
    (&[5, 5], 5, 5),
    (&[1, 6], 1, 6),
    (&[6, 1], 6, 1),
    (&[20, 2, 3, 4], 20, 24),
    (&[30, 2, 3, 4], 30, 24),
    (&[2, 3, 4, 5], 2, 60),
];

/// The largest difference of two matrices, in f64.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// Upstream: `test_orthogonal`: the shorter side's product with itself is the identity times the
/// gain squared.
#[test]
fn orthogonal() {
    let mut dice = Dice(31);
    for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-14)] {
        for (shape, rows, columns) in ORTHOGONAL {
            for gain in [1.0, dice.float(0.1, 2.0)] {
                let mut tensor = filled(shape, kind);
                orthogonal_(&mut tensor, gain, Some(&mut seeded(31))).unwrap();
                let q = tensor.view([rows, columns]).to_kind(Kind::Double);
                let product = if rows > columns {
                    q.tr().mm(&q)
                } else {
                    q.mm(&q.tr())
                };
                let expected = Tensor::eye(rows.min(columns), (Kind::Double, CPU)) * gain * gain;
                let off = difference(&product, &expected);
                assert!(
                    off < tolerance * (gain * gain).max(1.0),
                    "{shape:?}, gain {gain}: {off}"
                );
            }
        }
    }
}

/// That holds for many matrices; this for one only. With the tall matrix A that the stream gives
/// (transposed if the result is wide), the result is the Q of A = QR with R's diagonal positive:
/// Q^T A is upper triangular with a positive diagonal, and Q that times its inverse.
#[test]
fn orthogonal_is_the_factor_of_what_is_drawn() {
    for (shape, rows, columns) in ORTHOGONAL {
        for seed in 0..4 {
            let mut drawn = filled(&[rows, columns], Kind::Double);
            normal_(&mut drawn, 0.0, 1.0, Some(&mut seeded(seed))).unwrap();
            let mut tensor = filled(shape, Kind::Double);
            orthogonal_(&mut tensor, 1.0, Some(&mut seeded(seed))).unwrap();
            let q = tensor.view([rows, columns]);
            let (a, q) = if rows < columns {
                (drawn.tr(), q.tr())
            } else {
                (drawn, q)
            };
            let r = q.tr().mm(&a);
            assert!(difference(&r, &r.triu(0)) < 1e-13, "{shape:?}: {r}");
            assert!(r.diag(0).min().double_value(&[]) > 0.0, "{shape:?}: {r}");
            assert!(difference(&q.mm(&r), &a) < 1e-13, "{shape:?}");
        }
    }
}

/// Vectors and scalars have no rows and columns, of which upstream has no test.
#[test]
fn orthogonal_errors_on_inputs_smaller_than_2d() {
    for shape in [&[][..], &[1], &[4]] {
        let mut generator = seeded(1);
        let error = error_of("orthogonal_", shape, |t| {
            orthogonal_(t, 1.0, Some(&mut generator))
        });
        assert!(
            matches!(&error, InitError::Dimensions { function: "orthogonal_", shape: at, .. } if at == shape),
            "{error:?}"
        );
        assert!(error.to_string().contains("2 or more"), "{error}");
        assert_eq!(generator.get_state(), seeded(1).get_state());
    }
}

/// Upstream: `test_sparse_only_works_on_2d_inputs`.
#[test]
fn sparse_only_works_on_2d_inputs() {
    let mut dice = Dice(32);
    for dims in [0, 1, 3, 4] {
        let shape = dice.shape(dims, 1, 3);
        let sparsity = dice.float(0.1, 0.9);
        let mut generator = seeded(1);
        let error = error_of("sparse_", &shape, |t| {
            sparse_(t, sparsity, 0.01, Some(&mut generator))
        });
        assert!(
            matches!(&error, InitError::Dimensions { function: "sparse_", supported: "2", shape: at } if *at == shape),
            "{error:?}"
        );
        assert_eq!(generator.get_state(), seeded(1).get_state());
    }
}

/// Upstream: `test_sparse_default_std`. Each column has exactly its share of zeros, and the other
/// elements are those that `normal_` draws.
#[test]
fn sparse_default_std() {
    let _stream = default_stream();
    let mut dice = Dice(33);
    for std in [0.01, dice.float(0.02, 0.2)] {
        manual_seed(33).unwrap();
        let (rows, columns) = (dice.size(30, 35), 500);
        let sparsity = dice.float(0.1, 0.2);
        let mut tensor = filled(&[rows, columns], Kind::Float);
        sparse_(&mut tensor, sparsity, std, Some(&mut seeded(5))).unwrap();

        let zeros = (sparsity * rows as f64).ceil() as i64;
        assert!((3..=7).contains(&zeros), "{zeros}");
        let mask = tensor.eq(0.0);
        let in_columns = mask.sum_dim_intlist(0, false, Kind::Int64);
        assert!(
            values(&in_columns).iter().all(|n| *n == zeros as f64),
            "{in_columns}"
        );

        let kept = values(&tensor.masked_select(&mask.logical_not()));
        assert_drawn_from(Normal { mean: 0.0, std }, &kept, Kind::Float);
        assert_rejected(
            Normal {
                mean: 0.0,
                std: 1.15 * std,
            },
            &kept,
        );

        let mut drawn = filled(&[rows, columns], Kind::Float);
        normal_(&mut drawn, 0.0, std, Some(&mut seeded(5))).unwrap();
        assert!(tensor.equal(&drawn.masked_fill(&mask, 0.0)));
    }
}

/// The zeros lie anywhere in a column, and elsewhere in each.
#[test]
fn sparse_zeros_are_spread_evenly() {
    let _stream = default_stream();
    manual_seed(34).unwrap();
    let (rows, columns) = (20, 1200);
    let mut tensor = filled(&[rows, columns], Kind::Float);
    sparse_(&mut tensor, 0.25, 1.0, Some(&mut seeded(6))).unwrap();
    let mask = tensor.eq(0.0);
    // A row's number of zeros is binomial with p = 1/4.
    let std = (columns as f64 * 0.25 * 0.75).sqrt();
    for zeros in values(&mask.sum_dim_intlist(1, false, Kind::Int64)) {
        assert!((zeros - 300.0).abs() < 5.0 * std, "{zeros}");
    }
    // Neighbors in a column are both zero with p = 5/20 * 4/19, however they are spread.
    let both = mask
        .narrow(0, 0, rows - 1)
        .logical_and(&mask.narrow(0, 1, rows - 1));
    let share = both.to_kind(Kind::Double).mean(None).double_value(&[]);
    assert!((share - 1.0 / 19.0).abs() < 0.008, "{share}");
    // A column is like the next no more often than chance has it: of 15504 patterns.
    let same = mask
        .narrow(1, 0, columns - 1)
        .eq_tensor(&mask.narrow(1, 1, columns - 1));
    let same = same.all_dim(0, false).sum(Kind::Int64).int64_value(&[]);
    assert!(same <= 2, "{same}");
}

/// How many zeros a share makes: rounded up, from none to all, and as Python slices beyond that.
#[test]
fn sparse_counts_its_zeros() {
    let _stream = default_stream();
    manual_seed(35).unwrap();
    // python: math.ceil(s * 10) zeros a column, cut as `[:n]` cuts 10 rows
    for (sparsity, zeros) in [
        (0.0, 0),
        (0.01, 1),
        (0.3, 3),
        (0.31, 4),
        (1.0, 10),
        (1.7, 10),
        (-0.2, 8),
        (-3.0, 0),
    ] {
        let mut tensor = filled(&[10, 7], Kind::Float);
        sparse_(&mut tensor, sparsity, 1.0, None).unwrap();
        let in_columns = tensor.eq(0.0).sum_dim_intlist(0, false, Kind::Int64);
        assert_eq!(
            values(&in_columns),
            [f64::from(zeros); 7],
            "sparsity {sparsity}"
        );
    }
    for sparsity in [f64::NAN, f64::INFINITY] {
        let error = error_of("sparse_", &[10, 7], |t| sparse_(t, sparsity, 1.0, None));
        assert!(
            matches!(
                error,
                InitError::Argument {
                    argument: "sparsity",
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// Entries of orthogonal matrices are as likely negative as positive, in every place: without
/// the signs of R's diagonal the first column of a QR is biased (Mezzadri, 2006).
#[test]
fn orthogonal_is_uniformly_distributed() {
    let mut generator = seeded(36);
    let mut angles = Vec::new();
    for _ in 0..1000 {
        let mut q = filled(&[2, 2], Kind::Double);
        orthogonal_(&mut q, 1.0, Some(&mut generator)).unwrap();
        let [x, y] = [q.double_value(&[0, 0]), q.double_value(&[1, 0])];
        angles.push(y.atan2(x));
    }
    let pi = std::f64::consts::PI;
    assert_drawn_from(Uniform { a: -pi, b: pi }, &angles, Kind::Double);
    // As it would be with Householder's signs, all first columns in one half plane.
    let folded: Vec<f64> = angles.iter().map(|angle| angle.abs()).collect();
    assert_rejected(Uniform { a: -pi, b: pi }, &folded);
}
