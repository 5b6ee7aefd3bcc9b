//! Linear layers, convolutions and batch normalisations.

use crate::family::{Forward, Input, Twin, assert_twins};
use tch::Tensor;
use tch_init::nn::{self, LayerKind, Module, ModuleT};

fn module(layer: impl Module + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0])])
}

fn module_t(layer: impl ModuleT + 'static) -> Forward {
    Box::new(move |x: &[Tensor]| vec![layer.forward_t(&x[0], true)])
}

macro_rules! twin {
    ($python:literal, $kind:ident, $input:expr, $wrap:ident, |$vs:ident| $make:expr) => {
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
