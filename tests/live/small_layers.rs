//! Bilinear layers and rectifiers with a learnable slope.

use crate::common::default_stream;
use crate::live::family::{Forward, Input, Twin, assert_twins};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_init::InitError;
use tch_init::nn::{self, BilinearConfig, LayerKind, Module, PReLUConfig};

macro_rules! twin {
    ($python:literal, $kind:ident, $inputs:expr, $forward:expr, |$vs:ident| $make:expr) => {
        Twin {
            python: $python,
            forward: $forward,
            inputs: $inputs.into(),
            kind: LayerKind::$kind,
            make: |$vs| $make,
            tolerance: 0.0,
        }
    };
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn bilinear_layers_are_pytorchs() {
    fn bilinear(layer: nn::Bilinear) -> Forward {
        Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0], &x[1]).unwrap()])
    }
    const ONE: &str = "[m(x[0], x[1])]";
    assert_twins(&[
        twin!(
            "nn.Bilinear(4, 3, 2)",
            Bilinear,
            [Input::Randn(&[5, 4]), Input::Randn(&[5, 3])],
            ONE,
            |vs| { nn::bilinear(vs, 4, 3, 2, Default::default()).map(bilinear) }
        ),
        twin!(
            "nn.Bilinear(7, 5, 33, bias=False)",
            Bilinear,
            [Input::Randn(&[2, 3, 7]), Input::Randn(&[2, 3, 5])],
            ONE,
            |vs| {
                let config = BilinearConfig::default().bias(false);
                nn::bilinear(vs, 7, 5, 33, config).map(bilinear)
            }
        ),
        twin!(
            "nn.Bilinear(1, 20, 1)",
            Bilinear,
            [Input::Randn(&[1]), Input::Randn(&[20])],
            ONE,
            |vs| { nn::bilinear(vs, 1, 20, 1, Default::default()).map(bilinear) }
        ),
    ]);
}

#[test]
#[ignore = "needs the Python reference: ./setup --reference, then make test"]
fn prelu_is_pytorchs() {
    fn prelu(layer: nn::PReLU) -> Forward {
        Box::new(move |x: &[Tensor]| vec![layer.forward(&x[0])])
    }
    const ONE: &str = "[m(x[0])]";
    assert_twins(&[
        twin!("nn.PReLU()", PReLU, [Input::Randn(&[4, 3])], ONE, |vs| {
            nn::prelu(vs, Default::default()).map(prelu)
        }),
        twin!(
            "nn.PReLU(3)",
            PReLU,
            [Input::Randn(&[2, 3, 4, 4])],
            ONE,
            |vs| {
                let config = PReLUConfig::default().num_parameters(3);
                nn::prelu(vs, config).map(prelu)
            }
        ),
        twin!(
            "nn.PReLU(2, init=-1.1)",
            PReLU,
            [Input::Randn(&[5, 2])],
            ONE,
            |vs| {
                let config = PReLUConfig::default().num_parameters(2).init(-1.1);
                nn::prelu(vs, config).map(prelu)
            }
        ),
    ]);
}

fn error<T>(result: Result<T, InitError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn what_bilinear_layers_and_prelu_refuse_is_said() {
    let _stream = default_stream();
    let vs = VarStore::new(Device::Cpu);
    assert_eq!(
        error(nn::bilinear(vs.root(), 0, 3, 2, Default::default())),
        "Bilinear: in1_features = 0: must be positive (tensor of shape [2, 0, 3])"
    );
    assert!(error(nn::bilinear(vs.root(), -1, 3, 2, Default::default())).contains("libtorch"));
    let config = PReLUConfig::default().num_parameters(-1);
    assert!(error(nn::prelu(vs.root(), config)).contains("libtorch"));
    let mut half = VarStore::new(Device::Cpu);
    half.set_kind(Kind::Half);
    let config = PReLUConfig::default().num_parameters(2).init(1e300);
    assert!(error(nn::prelu(half.root(), config)).contains("libtorch"));
    assert!(vs.variables().is_empty() && half.variables().is_empty());

    let layer = nn::bilinear(vs.root(), 4, 3, 2, Default::default()).unwrap();
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    assert!(error(layer.forward(&ones(&[5, 4]), &ones(&[6, 3]))).contains("libtorch"));
    let config = PReLUConfig::default().num_parameters(3);
    let prelu = nn::prelu(vs.root(), config).unwrap();
    assert!(error(prelu.f_forward(&ones(&[5, 4]))).contains("libtorch"));
}
