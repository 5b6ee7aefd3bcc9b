//! Each function that draws takes a generator: it draws from that and from nothing else.

use super::support::{CPU, filled, seeded};
use crate::common::{bytes, default_stream};
use tch::{Kind, Tensor};
use tch_init::init::*;
use tch_init::{Generator, InitError, get_rng_state, manual_seed};

type Init = fn(&mut Tensor, Option<&mut Generator>) -> Result<(), InitError>;

const DRAWING: [(&str, Init); 9] = [
    ("uniform_", |t, g| uniform_(t, -1.0, 2.0, g)),
    ("normal_", |t, g| normal_(t, 1.0, 2.0, g)),
    ("trunc_normal_ wide", |t, g| {
        trunc_normal_(t, 0.0, 1.0, -2.0, 2.0, g)
    }),
    ("trunc_normal_ narrow", |t, g| {
        trunc_normal_(t, 0.0, 1.0, 2.0, 3.0, g)
    }),
    ("xavier_uniform_", |t, g| xavier_uniform_(t, 1.0, g)),
    ("xavier_normal_", |t, g| xavier_normal_(t, 1.0, g)),
    ("kaiming_uniform_", |t, g| {
        kaiming_uniform_(t, FanMode::FanIn, Nonlinearity::Relu, g)
    }),
    ("kaiming_normal_", |t, g| {
        kaiming_normal_(t, FanMode::FanOut, Nonlinearity::Tanh, g)
    }),
    ("orthogonal_", |t, g| orthogonal_(t, 1.0, g)),
];

/// A given stream yields what the default one yields from the same seed, both end at the same
/// place, and the default stream does not move.
#[test]
fn a_given_generator_is_the_only_one_drawn_from() {
    let _stream = default_stream();
    for (name, init) in DRAWING {
        // Below 16 elements normal draws leave one in the cache.
        for shape in [&[3, 5][..], &[8, 6, 3]] {
            manual_seed(7).unwrap();
            let before = get_rng_state();
            let mut generator = seeded(42);
            let [mut given, mut default, mut again] = [(); 3].map(|()| filled(shape, Kind::Float));
            init(&mut given, Some(&mut generator)).unwrap();
            assert_eq!(
                get_rng_state(),
                before,
                "{name}: the default stream was drawn from"
            );
            assert_ne!(
                generator.get_state(),
                seeded(42).get_state(),
                "{name} drew nothing"
            );

            manual_seed(42).unwrap();
            init(&mut default, None).unwrap();
            assert_eq!(bytes(&given), bytes(&default), "{name}");
            assert_eq!(generator.get_state(), get_rng_state(), "{name}");

            init(&mut again, Some(&mut generator)).unwrap();
            assert_ne!(
                bytes(&given),
                bytes(&again),
                "{name}: the stream did not go on"
            );
        }
    }
}

/// `sparse_` takes its values from the generator and its permutations, one a column, from the
/// default stream, as PyTorch 2.13 does.
#[test]
fn sparse_draws_permutations_from_the_default_stream() {
    let _stream = default_stream();
    let shape = [20, 6];
    manual_seed(7).unwrap();
    let mut generator = seeded(42);
    let mut sparse = filled(&shape, Kind::Float);
    sparse_(&mut sparse, 0.3, 0.5, Some(&mut generator)).unwrap();
    let after = get_rng_state();

    let mut expected = filled(&shape, Kind::Float);
    let mut normals_only = seeded(42);
    normal_(&mut expected, 0.0, 0.5, Some(&mut normals_only)).unwrap();
    assert_eq!(generator.get_state(), normals_only.get_state());

    manual_seed(7).unwrap();
    for column in 0..shape[1] {
        let rows = Tensor::randperm(shape[0], (Kind::Int64, CPU)).narrow(0, 0, 6);
        let _ = expected.select(1, column).index_fill_(0, &rows, 0.0);
    }
    assert_eq!(get_rng_state(), after);
    assert_eq!(bytes(&sparse), bytes(&expected));
}

/// Those that draw nothing leave the default stream where it is.
#[test]
fn constants_draw_nothing() {
    let _stream = default_stream();
    manual_seed(7).unwrap();
    let before = get_rng_state();
    let mut tensor = filled(&[4, 3, 3], Kind::Float);
    constant_(&mut tensor, 0.5).unwrap();
    ones_(&mut tensor).unwrap();
    zeros_(&mut tensor).unwrap();
    dirac_(&mut tensor, 2).unwrap();
    eye_(&mut filled(&[4, 3], Kind::Float)).unwrap();
    assert_eq!(get_rng_state(), before);
}
