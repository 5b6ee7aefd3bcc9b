//! Normalizations with running statistics.

use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::Tensor;
use tch_init::nn::{
    self, InstanceNorm, InstanceNormConfig, LayerKind, ModuleT, SyncBatchNorm, SyncBatchNormConfig,
};

fn module_t(layer: impl ModuleT + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward_t(&x[0], true), layer.forward_t(&x[0], false)])
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

const BOTH: &str = "[m(x[0]), m.eval()(x[0])]";
/// Two batches in training, the state after them, and one outside training.
const TRACKED: &str = "[m(x[0]), m(2 * x[0] + 1), m.running_mean, m.running_var, \
                       m.num_batches_tracked, m.eval()(x[0])]";

macro_rules! tracked {
    ($name:ident, $layer:ty) => {
        fn $name(layer: $layer) -> Forward {
            Box::new(move |x: &[Tensor]| {
                let mut outputs = vec![
                    layer.forward_t(&x[0], true),
                    layer.forward_t(&(2.0 * &x[0] + 1.0), true),
                ];
                let buffers = [&layer.running_mean, &layer.running_var];
                let buffers = buffers.into_iter().chain([&layer.num_batches_tracked]);
                outputs.extend(buffers.map(|t| t.as_ref().unwrap().copy()));
                outputs.push(layer.forward_t(&x[0], false));
                outputs
            })
        }
    };
}

tracked!(tracked_instances, InstanceNorm);
tracked!(tracked_batches, SyncBatchNorm);

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn instance_norms_are_pytorchs() {
    fn affine() -> InstanceNormConfig {
        InstanceNormConfig::default()
            .cudnn_enabled(true)
            .eps(1e-5)
            .momentum(Some(0.1))
            .affine(true)
            .bias(true)
            .track_running_stats(false)
            .ws_init(nn::init::PYTORCH_DEFAULT)
            .bs_init(nn::init::PYTORCH_DEFAULT)
    }
    assert_twins(&[
        twin!(
            "nn.InstanceNorm1d(3, affine=True)",
            InstanceNorm1d,
            [2, 3, 5],
            BOTH,
            |vs| { nn::instance_norm1d(vs, 3, affine()).map(module_t) }
        ),
        twin!(
            "nn.InstanceNorm1d(3, affine=True, bias=False, eps=0.5)",
            InstanceNorm1d,
            [3, 5],
            BOTH,
            |vs| {
                let config = affine().bias(false).eps(0.5);
                nn::instance_norm1d(vs, 3, config).map(module_t)
            }
        ),
        twin!(
            "nn.InstanceNorm1d(3, momentum=None, track_running_stats=True)",
            InstanceNorm1d,
            [2, 3, 5],
            TRACKED,
            |vs| {
                let config = InstanceNormConfig::default()
                    .momentum(None)
                    .track_running_stats(true);
                nn::instance_norm1d(vs, 3, config).map(tracked_instances)
            }
        ),
        twin!(
            "nn.InstanceNorm2d(3, affine=True, track_running_stats=True)",
            InstanceNorm2d,
            [2, 3, 4, 5],
            TRACKED,
            |vs| {
                let config = affine().track_running_stats(true);
                nn::instance_norm2d(vs, 3, config).map(tracked_instances)
            }
        ),
        twin!(
            "nn.InstanceNorm2d(2, momentum=0.3, track_running_stats=True)",
            InstanceNorm2d,
            [2, 4, 5],
            TRACKED,
            |vs| {
                let config = InstanceNormConfig::default()
                    .momentum(Some(0.3))
                    .track_running_stats(true);
                nn::instance_norm2d(vs, 2, config).map(tracked_instances)
            }
        ),
        twin!(
            "nn.InstanceNorm2d(1, affine=True)",
            InstanceNorm2d,
            [4, 1, 2, 2],
            BOTH,
            |vs| { nn::instance_norm2d(vs, 1, affine()).map(module_t) }
        ),
        twin!(
            "nn.InstanceNorm3d(2, affine=True)",
            InstanceNorm3d,
            [2, 2, 3, 4, 5],
            BOTH,
            |vs| { nn::instance_norm3d(vs, 2, affine()).map(module_t) }
        ),
        twin!(
            "nn.InstanceNorm3d(2, affine=True)",
            InstanceNorm3d,
            [2, 3, 4, 5],
            BOTH,
            |vs| { nn::instance_norm3d(vs, 2, affine()).map(module_t) }
        ),
        twin!(
            "nn.InstanceNorm3d(2, affine=True, bias=False, track_running_stats=True)",
            InstanceNorm3d,
            [2, 2, 3, 1, 2],
            TRACKED,
            |vs| {
                let config = affine().bias(false).track_running_stats(true);
                nn::instance_norm3d(vs, 2, config).map(tracked_instances)
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn batch_norms_with_all_options_are_pytorchs() {
    assert_twins(&[
        twin!(
            "nn.SyncBatchNorm(3)",
            SyncBatchNorm,
            [4, 3, 5],
            TRACKED,
            |vs| { nn::sync_batch_norm(vs, 3, Default::default()).map(tracked_batches) }
        ),
        twin!(
            "nn.SyncBatchNorm(3, momentum=None, bias=False)",
            SyncBatchNorm,
            [4, 3],
            TRACKED,
            |vs| {
                let config = SyncBatchNormConfig::default().momentum(None).bias(false);
                nn::sync_batch_norm(vs, 3, config).map(tracked_batches)
            }
        ),
        twin!(
            "nn.SyncBatchNorm(2, eps=0.01, momentum=0.5, affine=False)",
            SyncBatchNorm,
            [2, 2, 3, 4, 2],
            TRACKED,
            |vs| {
                let config = SyncBatchNormConfig::default()
                    .eps(0.01)
                    .momentum(Some(0.5))
                    .affine(false);
                nn::sync_batch_norm(vs, 2, config).map(tracked_batches)
            }
        ),
        twin!(
            "nn.SyncBatchNorm(3, track_running_stats=False)",
            SyncBatchNorm,
            [4, 3, 2, 2],
            BOTH,
            |vs| {
                let config = SyncBatchNormConfig::default().track_running_stats(false);
                nn::sync_batch_norm(vs, 3, config).map(module_t)
            }
        ),
        twin!(
            "nn.BatchNorm1d(3, bias=False)",
            BatchNorm1d,
            [4, 3, 5],
            BOTH,
            |vs| {
                let config = nn::BatchNormConfig {
                    bs_init: nn::init::NO_BIAS,
                    ..Default::default()
                };
                nn::f_batch_norm1d(vs, 3, config).map(module_t)
            }
        ),
    ]);
}
