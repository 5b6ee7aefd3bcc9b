//! Lazy layers.

use crate::common::{bytes, default_stream};
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::nn::{self, LayerKind, Lazy, Module, ModuleT};
use tch_init::{get_rng_state, manual_seed};

/// The layer that zeros of this shape make.
fn made<L>(lazy: Lazy<'_, L>, shape: &[i64]) -> Result<L, tch_init::InitError> {
    lazy.materialize(&Tensor::zeros(shape, (Kind::Float, Device::Cpu)))?;
    Ok(lazy.into_layer().unwrap())
}

fn module(layer: impl Module + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0])])
}

fn module_t(layer: impl ModuleT + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward_t(&x[0], true)])
}

/// In Python a dry run in evaluation mode makes the layer, which leaves a normalization's
/// statistics as they start.
macro_rules! twin {
    ($class:literal, $dry:expr, $python_dry:literal, $kind:ident, $input:expr, $wrap:ident, |$vs:ident| $make:expr) => {
        Twin {
            python: concat!(
                "(lambda m: (m.eval()(torch.zeros(",
                $python_dry,
                ")), m.train())[1])(nn.",
                $class,
                ")"
            ),
            forward: "[m(x[0])]",
            inputs: vec![Input::Randn($input)],
            kind: LayerKind::$kind,
            make: |$vs| Ok($wrap(made($make?, &$dry)?)),
            tolerance: 0.0,
        }
    };
}

fn conv(padding: i64, groups: i64, bias: bool) -> nn::ConvConfig {
    nn::ConvConfig {
        padding,
        groups,
        bias,
        ..Default::default()
    }
}

fn conv_transpose(stride: i64, groups: i64, bias: bool) -> nn::ConvTransposeConfig {
    nn::ConvTransposeConfig {
        stride,
        groups,
        bias,
        ..Default::default()
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn lazy_linear_and_norms_are_pytorchs() {
    assert_twins(&[
        twin!(
            "LazyLinear(3)",
            [5, 4],
            "5, 4",
            Linear,
            &[2, 4],
            module,
            |vs| { nn::lazy_linear(vs, 3, Default::default()) }
        ),
        twin!(
            "LazyLinear(30, bias=False)",
            [7],
            "7",
            Linear,
            &[7],
            module,
            |vs| {
                let config = nn::LinearConfig {
                    bias: false,
                    ..Default::default()
                };
                nn::lazy_linear(vs, 30, config)
            }
        ),
        twin!(
            "LazyLinear(1)",
            [1, 2, 17],
            "1, 2, 17",
            Linear,
            &[2, 3, 17],
            module,
            |vs| { nn::lazy_linear(vs, 1, Default::default()) }
        ),
        twin!(
            "LazyBatchNorm1d()",
            [2, 5],
            "2, 5",
            BatchNorm1d,
            &[4, 5],
            module_t,
            |vs| { nn::lazy_batch_norm1d(vs, Default::default()) }
        ),
        twin!(
            "LazyBatchNorm1d(1e-3, 0.2)",
            [2, 5, 3],
            "2, 5, 3",
            BatchNorm1d,
            &[4, 5, 3],
            module_t,
            |vs| {
                let config = nn::BatchNormConfig {
                    eps: 1e-3,
                    momentum: 0.2,
                    ..Default::default()
                };
                nn::lazy_batch_norm1d(vs, config)
            }
        ),
        twin!(
            "LazyBatchNorm2d(affine=False)",
            [1, 3, 2, 2],
            "1, 3, 2, 2",
            BatchNorm2d,
            &[4, 3, 2, 2],
            module_t,
            |vs| {
                let config = nn::BatchNormConfig {
                    affine: false,
                    ..Default::default()
                };
                nn::lazy_batch_norm2d(vs, config)
            }
        ),
        twin!(
            "LazyBatchNorm3d()",
            [1, 3, 2, 2, 2],
            "1, 3, 2, 2, 2",
            BatchNorm3d,
            &[4, 3, 2, 2, 1],
            module_t,
            |vs| nn::lazy_batch_norm3d(vs, Default::default())
        ),
        twin!(
            "LazyInstanceNorm1d()",
            [1, 3, 4],
            "1, 3, 4",
            InstanceNorm1d,
            &[2, 3, 4],
            module_t,
            |vs| nn::lazy_instance_norm1d(vs, instance_norm(true, true))
        ),
        twin!(
            "LazyInstanceNorm1d()",
            [1, 3, 4],
            "1, 3, 4",
            InstanceNorm1d,
            &[2, 3, 4],
            module_t,
            |vs| nn::lazy_instance_norm1d(vs, Default::default())
        ),
        twin!(
            "LazyInstanceNorm2d(eps=1e-3)",
            [1, 3, 2, 2],
            "1, 3, 2, 2",
            InstanceNorm2d,
            &[2, 3, 2, 2],
            module_t,
            |vs| nn::lazy_instance_norm2d(vs, nn::InstanceNormConfig::default().eps(1e-3))
        ),
        twin!(
            "LazyInstanceNorm3d(bias=False)",
            [1, 3, 2, 2, 2],
            "1, 3, 2, 2, 2",
            InstanceNorm3d,
            &[2, 3, 2, 2, 1],
            module_t,
            |vs| nn::lazy_instance_norm3d(vs, nn::InstanceNormConfig::default().bias(false))
        ),
        twin!(
            "LazyInstanceNorm2d(track_running_stats=False)",
            [1, 3, 2, 2],
            "1, 3, 2, 2",
            InstanceNorm2d,
            &[2, 3, 2, 2],
            module_t,
            |vs| nn::lazy_instance_norm2d(vs, instance_norm(true, false))
        ),
        twin!(
            "LazyInstanceNorm3d(affine=False)",
            [1, 3, 2, 2, 2],
            "1, 3, 2, 2, 2",
            InstanceNorm3d,
            &[2, 3, 2, 2, 1],
            module_t,
            |vs| nn::lazy_instance_norm3d(vs, instance_norm(false, true))
        ),
    ]);
}

/// Both options set; PyTorch's lazy classes have both by default, the others neither.
fn instance_norm(affine: bool, track_running_stats: bool) -> nn::InstanceNormConfig {
    nn::InstanceNormConfig::default()
        .affine(affine)
        .track_running_stats(track_running_stats)
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn lazy_convolutions_are_pytorchs() {
    assert_twins(&[
        twin!(
            "LazyConv1d(6, 3)",
            [2, 4, 9],
            "2, 4, 9",
            Conv1d,
            &[2, 4, 9],
            module,
            |vs| { nn::lazy_conv1d(vs, 6, 3, Default::default()) }
        ),
        twin!(
            "LazyConv1d(6, 3, groups=2, bias=False)",
            [4, 9],
            "4, 9",
            Conv1d,
            &[4, 9],
            module,
            |vs| nn::lazy_conv1d(vs, 6, 3, conv(0, 2, false))
        ),
        twin!(
            "LazyConv2d(6, 3, padding=1)",
            [2, 4, 5, 6],
            "2, 4, 5, 6",
            Conv2d,
            &[1, 4, 5, 6],
            module,
            |vs| nn::lazy_conv2d(vs, 6, 3, conv(1, 1, true))
        ),
        twin!(
            "LazyConv2d(6, (1, 3), stride=(2, 1), groups=3, padding_mode='reflect')",
            [3, 5, 6],
            "3, 5, 6",
            Conv2d,
            &[3, 5, 6],
            module,
            |vs| {
                let config = nn::ConvConfigND {
                    stride: [2, 1],
                    groups: 3,
                    padding_mode: nn::PaddingMode::Reflect,
                    ..Default::default()
                };
                nn::lazy_conv(vs, 6, [1, 3], config)
            }
        ),
        twin!(
            "LazyConv3d(2, 2)",
            [1, 3, 4, 4, 4],
            "1, 3, 4, 4, 4",
            Conv3d,
            &[3, 4, 4, 4],
            module,
            |vs| nn::lazy_conv3d(vs, 2, 2, Default::default())
        ),
        twin!(
            "LazyConvTranspose1d(6, 3, stride=2)",
            [2, 4, 9],
            "2, 4, 9",
            ConvTranspose1d,
            &[2, 4, 9],
            module,
            |vs| nn::lazy_conv_transpose1d(vs, 6, 3, conv_transpose(2, 1, true))
        ),
        twin!(
            "LazyConvTranspose2d(6, 3, groups=2)",
            [4, 3, 3],
            "4, 3, 3",
            ConvTranspose2d,
            &[2, 4, 3, 3],
            module,
            |vs| nn::lazy_conv_transpose2d(vs, 6, 3, conv_transpose(1, 2, true))
        ),
        twin!(
            "LazyConvTranspose2d(6, (3, 2), (1, 2), (1, 0), (0, 1))",
            [4, 3, 3],
            "4, 3, 3",
            ConvTranspose2d,
            &[2, 4, 3, 3],
            module,
            |vs| {
                let config = nn::ConvTransposeConfigND {
                    stride: [1, 2],
                    padding: [1, 0],
                    output_padding: [0, 1],
                    ..Default::default()
                };
                nn::lazy_conv_transpose(vs, 6, [3, 2], config)
            }
        ),
        twin!(
            "LazyConvTranspose3d(2, 2, bias=False)",
            [1, 3, 2, 2, 2],
            "1, 3, 2, 2, 2",
            ConvTranspose3d,
            &[1, 3, 2, 2, 2],
            module,
            |vs| nn::lazy_conv_transpose3d(vs, 2, 2, conv_transpose(1, 1, false))
        ),
    ]);
}

/// The variables by name, and the final generator state.
type Left = (Vec<(String, Vec<u8>)>, Vec<u8>);

fn left_by(make: impl FnOnce(&VarStore)) -> Left {
    manual_seed(3).unwrap();
    let vs = VarStore::new(Device::Cpu);
    make(&vs);
    let mut variables: Vec<(String, Vec<u8>)> = vs
        .variables()
        .iter()
        .map(|(name, tensor)| (name.clone(), bytes(tensor)))
        .collect();
    variables.sort();
    (variables, get_rng_state().unwrap())
}

#[test]
fn layers_draw_in_the_order_of_their_first_use() {
    let _stream = default_stream();
    let config = nn::LinearConfig::default;
    let lazy = left_by(|vs| {
        let first = nn::lazy_linear(vs.root() / "first", 5, config()).unwrap();
        let norm = nn::lazy_batch_norm1d(vs.root() / "norm", Default::default()).unwrap();
        let second = nn::lazy_linear(vs.root() / "second", 3, config()).unwrap();
        let _last = nn::linear(vs.root() / "last", 3, 2, config());
        let _other = second.materialize_for(5).unwrap();
        let input = Tensor::ones([2, 4], (Kind::Float, Device::Cpu));
        for _ in 0..2 {
            let hidden = norm.forward_t(&first.forward(&input), false);
            let output = second.forward(&hidden);
            assert_eq!(output.size(), [2, 3]);
        }
        assert_eq!(first.layer().unwrap().ws.size(), [5, 4]);
    });
    let eager = left_by(|vs| {
        let _last = nn::linear(vs.root() / "last", 3, 2, config());
        let _second = nn::linear(vs.root() / "second", 5, 3, config());
        let _first = nn::linear(vs.root() / "first", 4, 5, config());
        let _norm = nn::batch_norm1d(vs.root() / "norm", 5, Default::default());
    });
    assert_eq!(lazy, eager);
    let nothing = left_by(|vs| {
        let lazy = nn::lazy_conv2d(vs.root(), 5, 3, Default::default()).unwrap();
        assert_eq!(lazy.kind(), LayerKind::Conv2d);
        assert!(lazy.into_layer().is_none());
    });
    assert_eq!(nothing, left_by(|_| {}));
}

#[test]
fn an_input_without_features_makes_a_layer_without_draws() {
    let _stream = default_stream();
    let untouched = left_by(|_| {}).1;
    let (linear, state) = left_by(|vs| {
        let lazy = nn::lazy_linear(vs.root(), 3, Default::default()).unwrap();
        let input = Tensor::zeros([2, 0], (Kind::Float, Device::Cpu));
        assert_eq!(lazy.materialize(&input).unwrap().ws.size(), [3, 0]);
    });
    assert_eq!(linear[0], ("bias".to_owned(), vec![0; 12]));
    assert_eq!(state, untouched);
    let (_, state) = left_by(|vs| {
        let lazy = nn::lazy_conv_transpose1d(vs.root() / "a", 4, 3, Default::default()).unwrap();
        assert_eq!(lazy.materialize_for(0).unwrap().ws.size(), [0, 4, 3]);
        let lazy = nn::lazy_conv(vs.root() / "b", 4, [3], Default::default()).unwrap();
        assert_eq!(lazy.materialize_for(0).unwrap().ws.size(), [4, 0, 3]);
    });
    assert_eq!(state, untouched);
    let (set, _) = left_by(|vs| {
        let config = nn::LinearConfig {
            bs_init: Some(nn::Init::Const(1.0)),
            ..Default::default()
        };
        nn::lazy_linear(vs.root(), 1, config)
            .unwrap()
            .materialize_for(0)
            .unwrap();
    });
    assert_eq!(set[0].1, 1f32.to_le_bytes());
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let groups = |groups| conv(0, groups, true);
    let refused = nn::lazy_conv1d(&root, 4, 3, groups(0)).unwrap_err();
    assert!(refused.to_string().starts_with("Conv1d: groups = 0 must"));
    assert!(nn::lazy_conv1d(&root, 5, 3, groups(2)).is_err());
    assert!(nn::lazy_conv_transpose2d(&root, 5, 3, conv_transpose(1, 2, true)).is_err());
    assert!(nn::lazy_conv(&root, 4, [3; 4], Default::default()).is_err());

    macro_rules! dimensions {
        ($lazy:expr, $supported:literal, $($shape:expr),*) => {{
            let lazy = $lazy;
            for shape in [$(&$shape[..]),*] {
                let error = lazy.materialize(&zeros(shape)).unwrap_err().to_string();
                let expected = format!(
                    "{}: only tensors with {} dimensions are supported, got shape {shape:?}",
                    lazy.kind(),
                    $supported
                );
                assert_eq!(error, expected);
            }
        }};
    }
    let norm = nn::BatchNormConfig::default;
    let up = nn::ConvTransposeConfig::default;
    dimensions!(
        nn::lazy_linear(&root, 2, Default::default()).unwrap(),
        "1 or more",
        []
    );
    dimensions!(
        nn::lazy_conv1d(&root, 2, 1, groups(1)).unwrap(),
        "2 or 3",
        [3],
        [1; 4]
    );
    dimensions!(
        nn::lazy_conv2d(&root, 2, 1, groups(1)).unwrap(),
        "3 or 4",
        [1; 2],
        [1; 5]
    );
    dimensions!(
        nn::lazy_conv3d(&root, 2, 1, groups(1)).unwrap(),
        "4 or 5",
        [1; 3],
        [1; 6]
    );
    dimensions!(
        nn::lazy_conv_transpose1d(&root, 2, 1, up()).unwrap(),
        "2 or 3",
        [3],
        [1; 4]
    );
    dimensions!(
        nn::lazy_conv_transpose2d(&root, 2, 1, up()).unwrap(),
        "3 or 4",
        [1; 2],
        [1; 5]
    );
    dimensions!(
        nn::lazy_conv_transpose3d(&root, 2, 1, up()).unwrap(),
        "4 or 5",
        [1; 3],
        [1; 6]
    );
    dimensions!(
        nn::lazy_batch_norm1d(&root, norm()).unwrap(),
        "2 or 3",
        [3],
        [1; 4]
    );
    dimensions!(
        nn::lazy_batch_norm2d(&root, norm()).unwrap(),
        "4",
        [1; 3],
        [1; 5]
    );
    dimensions!(
        nn::lazy_batch_norm3d(&root, norm()).unwrap(),
        "5",
        [1; 4],
        [1; 6]
    );

    // A rejected input does not keep another from being tried.
    let conv = nn::lazy_conv1d(&root, 4, 3, groups(2)).unwrap();
    assert!(conv.materialize(&zeros(&[1, 3, 5])).is_err());
    assert!(conv.materialize_for(-2).is_err());
    assert!(vs.is_empty());
    assert_eq!(conv.forward(&zeros(&[1, 2, 5])).size(), [1, 4, 3]);
    assert_eq!(format!("{conv:?}").split(',').nth(1), Some(" kind: Conv1d"));
}
