//! Linear layers, convolutions and batch normalizations.

use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::Tensor;
use tch_init::nn::{self, LayerKind, Module, ModuleT};

fn module(layer: impl Module + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0])])
}

fn module_t(layer: impl ModuleT + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward_t(&x[0], true)])
}

macro_rules! twin {
    ($python:expr, $kind:ident, $input:expr, $wrap:ident, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: "[m(x[0])]",
            inputs: vec![$input],
            kind: LayerKind::$kind,
            make: |$vs| Ok($wrap($make?)),
            tolerance: 0.0,
        }
    };
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn linear_convolutions_and_batch_norm_are_pytorchs() {
    let images = Input::Randn(&[2, 4, 7, 6]);
    assert_twins(&[
        twin!(
            "nn.Linear(6, 3)",
            Linear,
            Input::Randn(&[5, 6]),
            module,
            |vs| { nn::f_linear(vs, 6, 3, Default::default()) }
        ),
        twin!(
            "nn.Linear(33, 100, bias=False)",
            Linear,
            Input::Randn(&[33]),
            module,
            |vs| {
                nn::f_linear(
                    vs,
                    33,
                    100,
                    nn::LinearConfig {
                        bias: false,
                        ..Default::default()
                    },
                )
            }
        ),
        twin!(
            "nn.Linear(1, 1)",
            Linear,
            Input::Randn(&[2, 3, 1]),
            module,
            |vs| { nn::f_linear(vs, 1, 1, Default::default()) }
        ),
        twin!(
            "nn.Conv2d(4, 6, 3, padding=1)",
            Conv2d,
            images.clone(),
            module,
            |vs| {
                nn::f_conv2d(
                    vs,
                    4,
                    6,
                    3,
                    nn::ConvConfig {
                        padding: 1,
                        ..Default::default()
                    },
                )
            }
        ),
        twin!(
            "nn.Conv2d(4, 8, (1, 3), stride=(2, 1), padding=1, groups=2, padding_mode='circular')",
            Conv2d,
            images.clone(),
            module,
            |vs| nn::f_conv(
                vs,
                4,
                8,
                [1, 3],
                nn::ConvConfigND {
                    stride: [2, 1],
                    padding: [1, 1],
                    groups: 2,
                    padding_mode: nn::PaddingMode::Circular,
                    ..Default::default()
                }
            )
        ),
        twin!(
            "nn.ConvTranspose2d(4, 6, 2, stride=2)",
            ConvTranspose2d,
            images.clone(),
            module,
            |vs| {
                let config = nn::ConvTransposeConfig {
                    stride: 2,
                    ..Default::default()
                };
                nn::f_conv_transpose2d(vs, 4, 6, 2, config)
            }
        ),
        twin!(
            "nn.BatchNorm2d(4)",
            BatchNorm2d,
            images.clone(),
            module_t,
            |vs| { nn::f_batch_norm2d(vs, 4, Default::default()) }
        ),
    ]);
}

fn conv_config(
    stride: i64,
    padding: i64,
    dilation: i64,
    groups: i64,
    bias: bool,
) -> nn::ConvConfig {
    nn::ConvConfig {
        stride,
        padding,
        dilation,
        groups,
        bias,
        ..Default::default()
    }
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn convolutions_of_all_dimensions_are_pytorchs() {
    const LINE: Input = Input::Randn(&[2, 4, 9]);
    const IMAGE: Input = Input::Randn(&[2, 4, 9, 8]);
    const VOLUME: Input = Input::Randn(&[1, 4, 5, 6, 7]);
    assert_twins(&[
        twin!("nn.Conv1d(4, 6, 3)", Conv1d, LINE, module, |vs| {
            nn::f_conv1d(vs, 4, 6, 3, Default::default())
        }),
        twin!(
            "nn.Conv1d(4, 8, 3, 2, 1, 2, 4, False)",
            Conv1d,
            LINE,
            module,
            |vs| { nn::f_conv1d(vs, 4, 8, 3, conv_config(2, 1, 2, 4, false)) }
        ),
        twin!(
            "nn.Conv1d(4, 2, 5, padding=2, padding_mode='replicate')",
            Conv1d,
            LINE,
            module,
            |vs| {
                let config = nn::ConvConfig {
                    padding_mode: nn::PaddingMode::Replicate,
                    ..conv_config(1, 2, 1, 1, true)
                };
                nn::f_conv1d(vs, 4, 2, 5, config)
            }
        ),
        twin!(
            "nn.Conv2d(4, 6, 1, bias=False)",
            Conv2d,
            IMAGE,
            module,
            |vs| { nn::f_conv2d(vs, 4, 6, 1, nn::no_bias()) }
        ),
        twin!(
            "nn.Conv2d(4, 8, 3, 2, 2, 2, 2)",
            Conv2d,
            IMAGE,
            module,
            |vs| { nn::f_conv2d(vs, 4, 8, 3, conv_config(2, 2, 2, 2, true)) }
        ),
        twin!("nn.Conv3d(4, 6, 2)", Conv3d, VOLUME, module, |vs| {
            nn::f_conv3d(vs, 4, 6, 2, Default::default())
        }),
        twin!(
            "nn.Conv3d(4, 4, 3, 1, 1, 1, 4, False)",
            Conv3d,
            VOLUME,
            module,
            |vs| { nn::f_conv3d(vs, 4, 4, 3, conv_config(1, 1, 1, 4, false)) }
        ),
        twin!(
            "nn.Conv3d(4, 2, (1, 2, 3), (1, 2, 1))",
            Conv3d,
            VOLUME,
            module,
            |vs| {
                let config = nn::ConvConfigND {
                    stride: [1, 2, 1],
                    ..Default::default()
                };
                nn::f_conv(vs, 4, 2, [1, 2, 3], config)
            }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn transposed_convolutions_of_all_dimensions_are_pytorchs() {
    const LINE: Input = Input::Randn(&[2, 4, 5]);
    const IMAGE: Input = Input::Randn(&[2, 4, 5, 4]);
    const VOLUME: Input = Input::Randn(&[1, 4, 3, 2, 4]);
    let mut twins = Vec::new();
    macro_rules! three {
        ($class:literal, $kind:ident, $make:ident, $input:expr) => {
            twins.push(twin!(
                concat!("nn.", $class, "(4, 6, 3)"),
                $kind,
                $input,
                module,
                |vs| { nn::$make(vs, 4, 6, 3, Default::default()) }
            ));
            twins.push(twin!(
                concat!("nn.", $class, "(4, 6, 3, 2, 1, 1, 2, False)"),
                $kind,
                $input,
                module,
                |vs| {
                    let config = nn::ConvTransposeConfig {
                        stride: 2,
                        padding: 1,
                        output_padding: 1,
                        groups: 2,
                        bias: false,
                        ..Default::default()
                    };
                    nn::$make(vs, 4, 6, 3, config)
                }
            ));
            twins.push(twin!(
                concat!("nn.", $class, "(4, 3, 2, dilation=2)"),
                $kind,
                $input,
                module,
                |vs| {
                    let config = nn::ConvTransposeConfig {
                        dilation: 2,
                        ..Default::default()
                    };
                    nn::$make(vs, 4, 3, 2, config)
                }
            ));
        };
    }
    three!("ConvTranspose1d", ConvTranspose1d, f_conv_transpose1d, LINE);
    three!(
        "ConvTranspose2d",
        ConvTranspose2d,
        f_conv_transpose2d,
        IMAGE
    );
    three!(
        "ConvTranspose3d",
        ConvTranspose3d,
        f_conv_transpose3d,
        VOLUME
    );
    assert_twins(&twins);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn batch_norms_of_all_dimensions_are_pytorchs() {
    let mut twins = Vec::new();
    macro_rules! three {
        ($class:literal, $kind:ident, $make:ident, $input:expr) => {
            twins.push(twin!(
                concat!("nn.", $class, "(4)"),
                $kind,
                $input,
                module_t,
                |vs| { nn::$make(vs, 4, Default::default()) }
            ));
            twins.push(twin!(
                concat!("nn.", $class, "(4, eps=1e-3, momentum=0.3)"),
                $kind,
                $input,
                module_t,
                |vs| {
                    let config = nn::BatchNormConfig {
                        eps: 1e-3,
                        momentum: 0.3,
                        ..Default::default()
                    };
                    nn::$make(vs, 4, config)
                }
            ));
            twins.push(twin!(
                concat!("nn.", $class, "(4, affine=False)"),
                $kind,
                $input,
                module_t,
                |vs| {
                    let config = nn::BatchNormConfig {
                        affine: false,
                        ..Default::default()
                    };
                    nn::$make(vs, 4, config)
                }
            ));
        };
    }
    three!(
        "BatchNorm1d",
        BatchNorm1d,
        f_batch_norm1d,
        Input::Randn(&[5, 4, 3])
    );
    three!(
        "BatchNorm2d",
        BatchNorm2d,
        f_batch_norm2d,
        Input::Randn(&[5, 4, 3, 2])
    );
    three!(
        "BatchNorm3d",
        BatchNorm3d,
        f_batch_norm3d,
        Input::Randn(&[2, 4, 3, 2, 2])
    );
    assert_twins(&twins);
}

/// Every option in every dimension of its own.
#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn convolutions_with_unequal_dimensions_are_pytorchs() {
    const LINE: Input = Input::Randn(&[2, 4, 9]);
    const IMAGE: Input = Input::Randn(&[2, 4, 7, 6]);
    const VOLUME: Input = Input::Randn(&[2, 4, 5, 4, 6]);
    assert_twins(&[
        twin!(
            "nn.ConvTranspose1d(4, 6, 4, 3, 2, 1, 2, False, 2)",
            ConvTranspose1d,
            LINE,
            module,
            |vs| {
                let config = nn::ConvTransposeConfigND {
                    stride: [3],
                    padding: [2],
                    output_padding: [1],
                    groups: 2,
                    bias: false,
                    dilation: [2],
                    ..Default::default()
                };
                nn::conv_transpose(vs, 4, 6, [4], config)
            }
        ),
        twin!(
            "nn.ConvTranspose2d(4, 6, (3, 5))",
            ConvTranspose2d,
            IMAGE,
            module,
            |vs| nn::conv_transpose(vs, 4, 6, [3, 5], Default::default())
        ),
        twin!(
            "nn.ConvTranspose2d(4, 6, (3, 5), (2, 3), (1, 2), (0, 1), 2, True, (2, 1))",
            ConvTranspose2d,
            IMAGE,
            module,
            |vs| {
                let config = nn::ConvTransposeConfigND {
                    stride: [2, 3],
                    padding: [1, 2],
                    output_padding: [0, 1],
                    groups: 2,
                    dilation: [2, 1],
                    ..Default::default()
                };
                nn::conv_transpose(vs, 4, 6, [3, 5], config)
            }
        ),
        twin!(
            "nn.ConvTranspose3d(4, 2, (1, 2, 3), (1, 2, 3), (0, 1, 2), (0, 1, 2), 1, True, (1, 2, 3))",
            ConvTranspose3d,
            VOLUME,
            module,
            |vs| {
                let config = nn::ConvTransposeConfigND {
                    stride: [1, 2, 3],
                    padding: [0, 1, 2],
                    output_padding: [0, 1, 2],
                    dilation: [1, 2, 3],
                    ..Default::default()
                };
                nn::conv_transpose(vs, 4, 2, [1, 2, 3], config)
            }
        ),
        twin!(
            "nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 3), 2, False)",
            Conv2d,
            IMAGE,
            module,
            |vs| {
                let config = nn::ConvConfigND {
                    stride: [2, 1],
                    padding: [1, 2],
                    dilation: [1, 3],
                    groups: 2,
                    bias: false,
                    ..Default::default()
                };
                nn::f_conv(vs, 4, 6, [3, 2], config)
            }
        ),
        twin!(
            "nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 3), (1, 3))",
            Conv2d,
            IMAGE,
            module,
            |vs| nn::padded_conv(vs, 4, 6, [3, 2], padded([2, 1], [1, 3], [1, 3], Zeros))
        ),
        twin!(
            "nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 3), (1, 3), padding_mode='circular')",
            Conv2d,
            IMAGE,
            module,
            |vs| nn::padded_conv(vs, 4, 6, [3, 2], padded([2, 1], [1, 3], [1, 3], Circular))
        ),
        twin!(
            "nn.Conv1d(4, 6, 3, padding=2, padding_mode='replicate')",
            Conv1d,
            LINE,
            module,
            |vs| nn::padded_conv(vs, 4, 6, [3], padded([1], [2], [1], Replicate))
        ),
        twin!(
            "nn.Conv3d(4, 2, (2, 1, 3), 1, (0, 1, 3), padding_mode='reflect')",
            Conv3d,
            VOLUME,
            module,
            |vs| nn::padded_conv(
                vs,
                4,
                2,
                [2, 1, 3],
                padded([1; 3], [0, 1, 3], [1; 3], Reflect)
            )
        ),
    ]);
}

use nn::PaddingMode::{self, Circular, Reflect, Replicate, Zeros};

fn padded<const N: usize>(
    stride: [i64; N],
    padding: [i64; N],
    dilation: [i64; N],
    padding_mode: PaddingMode,
) -> nn::ConvConfigND<[i64; N]> {
    nn::ConvConfigND {
        stride,
        padding,
        dilation,
        padding_mode,
        ..Default::default()
    }
}
