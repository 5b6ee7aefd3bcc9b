//! Normalizations.

use crate::common::reference::expected;
use crate::common::{bytes, default_stream};
use crate::live::family::{Forward, Input, Twin, assert_twins};
use serde_json::json;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::nn::{
    self, GroupNormConfig, InstanceNormConfig, LayerKind, LayerNormConfig, Module, ModuleT,
    RMSNormConfig, SyncBatchNormConfig,
};
use tch_init::{InitError, manual_seed};

fn module(layer: impl Module + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0])])
}

macro_rules! twin {
    ($python:literal, $kind:ident, $shape:expr, $forward:expr, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: vec![Input::Randn(&$shape)],
            kind: LayerKind::$kind,
            make: |$vs| $make,
            tolerance: 0.0,
        }
    };
}

const ONE: &str = "[m(x[0])]";

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn layer_group_and_rms_norm_are_pytorchs() {
    assert_twins(&[
        twin!("nn.LayerNorm(6)", LayerNorm, [5, 6], ONE, |vs| {
            nn::f_layer_norm(vs, vec![6], Default::default()).map(module)
        }),
        twin!(
            "nn.LayerNorm([3, 4, 5], eps=1e-3)",
            LayerNorm,
            [2, 3, 4, 5],
            ONE,
            |vs| {
                let config = LayerNormConfig {
                    eps: 1e-3,
                    ..Default::default()
                };
                nn::f_layer_norm(vs, vec![3, 4, 5], config).map(module)
            }
        ),
        twin!(
            "nn.LayerNorm((7,), bias=False)",
            LayerNorm,
            [2, 3, 7],
            ONE,
            |vs| {
                let config = LayerNormConfig {
                    bs_init: nn::init::NO_BIAS,
                    ..Default::default()
                };
                nn::f_layer_norm(vs, vec![7], config).map(module)
            }
        ),
        twin!("nn.GroupNorm(2, 6)", GroupNorm, [3, 6, 5], ONE, |vs| {
            nn::f_group_norm(vs, 2, 6, Default::default()).map(module)
        }),
        twin!(
            "nn.GroupNorm(4, 4, eps=0.1, bias=False)",
            GroupNorm,
            [2, 4, 3, 3],
            ONE,
            |vs| {
                let config = GroupNormConfig {
                    eps: 0.1,
                    bs_init: nn::init::NO_BIAS,
                    ..Default::default()
                };
                nn::f_group_norm(vs, 4, 4, config).map(module)
            }
        ),
        twin!("nn.GroupNorm(1, 8)", GroupNorm, [2, 8], ONE, |vs| {
            nn::f_group_norm(vs, 1, 8, Default::default()).map(module)
        }),
        twin!("nn.RMSNorm(6)", RMSNorm, [5, 6], ONE, |vs| {
            nn::rms_norm(vs, vec![6], Default::default()).map(module)
        }),
        twin!(
            "nn.RMSNorm([3, 4], eps=1e-6)",
            RMSNorm,
            [2, 3, 4],
            ONE,
            |vs| {
                let config = RMSNormConfig::default().eps(Some(1e-6));
                nn::rms_norm(vs, vec![3, 4], config).map(module)
            }
        ),
        twin!("nn.RMSNorm(1, eps=2.0)", RMSNorm, [4, 1], ONE, |vs| {
            let config = RMSNormConfig::default().eps(Some(2.0));
            nn::rms_norm(vs, vec![1], config).map(module)
        }),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn norms_without_variables_compute_what_pytorchs_compute() {
    type Make = fn(&VarStore) -> Result<Forward, InitError>;
    let runs: [(&str, &[i64], Make); 5] = [
        (
            "nn.LayerNorm((3, 4), elementwise_affine=False)",
            &[2, 3, 4],
            |vs| {
                let config = LayerNormConfig {
                    elementwise_affine: false,
                    ..Default::default()
                };
                nn::f_layer_norm(vs.root(), vec![3, 4], config).map(module)
            },
        ),
        ("nn.GroupNorm(3, 6, affine=False)", &[2, 6, 4], |vs| {
            let config = GroupNormConfig {
                affine: false,
                ..Default::default()
            };
            nn::f_group_norm(vs.root(), 3, 6, config).map(module)
        }),
        ("nn.RMSNorm(4, elementwise_affine=False)", &[3, 4], |vs| {
            let config = RMSNormConfig::default().elementwise_affine(false);
            nn::rms_norm(vs.root(), vec![4], config).map(module)
        }),
        ("nn.InstanceNorm2d(3)", &[2, 3, 4, 5], |vs| {
            let layer = nn::instance_norm2d(vs.root(), 3, Default::default())?;
            Ok(Box::new(move |x| vec![layer.forward_t(&x[0], false)]))
        }),
        // Without a weight the number of channels is only warned of.
        ("nn.InstanceNorm1d(7)", &[2, 3, 5], |vs| {
            let layer = nn::instance_norm1d(vs.root(), 7, Default::default())?;
            Ok(Box::new(move |x| vec![layer.forward_t(&x[0], true)]))
        }),
    ];
    let cases = runs.map(|(python, shape, _)| {
        json!({
            "kind": "twin", "python": python, "forward": ONE, "inputs": [["randn", shape]],
            "seed": 5, "dtype": "f32",
        })
    });
    let _stream = default_stream();
    for ((python, shape, make), expected) in runs.into_iter().zip(expected(&cases)) {
        let vs = VarStore::new(Device::Cpu);
        let forward = make(&vs).unwrap();
        assert!(vs.variables().is_empty(), "{python}");
        manual_seed(6).unwrap();
        let x = Tensor::randn(shape, (Kind::Float, Device::Cpu));
        assert_eq!(bytes(&forward(&[x])[0]), expected.chunks[1], "{python}");
    }
}

fn error<T>(result: Result<T, InitError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn what_norms_refuse_is_said() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let randn = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    for (groups, channels) in [(4, 6), (0, 6), (-2, 6), (-1, i64::MIN)] {
        assert_eq!(
            error(nn::f_group_norm(
                vs.root(),
                groups,
                channels,
                Default::default()
            )),
            format!(
                "GroupNorm: num_groups = {groups} must be positive and divide num_channels = \
                 {channels}"
            )
        );
    }
    let negative = nn::f_layer_norm(vs.root(), vec![3, -1], Default::default());
    assert!(error(negative).contains("[3, -1]"));
    let negative = nn::rms_norm(vs.root(), vec![-1], Default::default());
    assert!(matches!(negative, Err(InitError::Libtorch { .. })));
    assert!(vs.variables().is_empty());

    let rms = nn::rms_norm(vs.root(), vec![4], Default::default()).unwrap();
    assert!(error(rms.f_forward(&randn(&[4, 3]))).starts_with("RMSNorm: libtorch: "));

    let affine = InstanceNormConfig::default().affine(true);
    let norm = nn::instance_norm2d(vs.root(), 3, affine).unwrap();
    let refused = |shape: &[i64]| error(norm.f_forward_t(&randn(shape), true));
    assert_eq!(
        refused(&[3, 4]),
        "InstanceNorm2d: an input of 3 or 4 dimensions is expected, got shape [3, 4]"
    );
    assert_eq!(
        refused(&[2, 4, 5, 5]),
        "InstanceNorm2d: dim 1 of shape [2, 4, 5, 5] should be num_features = 3"
    );
    assert_eq!(
        refused(&[2, 3, 1, 1]),
        "InstanceNorm2d: more than 1 spatial element is needed for statistics, got an input of \
         shape [2, 3, 1, 1]"
    );

    let batches = |eps| {
        let config = SyncBatchNormConfig::default().eps(eps);
        nn::sync_batch_norm(vs.root(), 3, config).unwrap()
    };
    let refused = |eps, shape: &[i64], train| error(batches(eps).f_forward_t(&randn(shape), train));
    assert_eq!(
        refused(0.1, &[3], true),
        "SyncBatchNorm: an input of at least 2 dimensions is expected, got shape [3]"
    );
    assert_eq!(
        refused(0.1, &[2, 0], false),
        "SyncBatchNorm: an input with channels is expected, got shape [2, 0]"
    );
    assert_eq!(
        refused(0.1, &[1, 3, 1], true),
        "SyncBatchNorm: more than 1 value per channel is needed for statistics, got an input of \
         shape [1, 3, 1]"
    );
    assert_eq!(
        refused(0.0, &[2, 3], true),
        "SyncBatchNorm: eps = 0 must be positive"
    );
    assert_eq!(
        refused(-1.0, &[2, 3], false),
        "SyncBatchNorm: eps = -1 must be not negative"
    );
    assert!(batches(0.0).f_forward_t(&randn(&[1, 3]), false).is_ok());
    assert!(refused(0.1, &[2, 5], true).starts_with("SyncBatchNorm: libtorch: "));
}
