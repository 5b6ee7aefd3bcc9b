//! The experiment that this project grew from: a three-layer network and two visitors.

use crate::error::InitError;
use crate::generator::manual_seed;
use crate::nn::{LinearConfig, f_linear};
use crate::recipe::{weight_init, weight_init2};
use crate::visit::{Layer, VisitError, apply};
use tch::nn::{Linear, Path, VarStore};
use tch::{Device, Kind, Tensor};

/// The network: three linear layers of 2, 4 and 2 outputs, with rectifiers between them and the
/// logarithm of the softmax at the end.
#[derive(Debug)]
pub struct Net {
    /// Features of the input.
    pub input_size: i64,
    /// From `input_size` features to 2.
    pub fc1: Linear,
    /// From 2 features to 4.
    pub fc2: Linear,
    /// From 4 features to 2.
    pub fc3: Linear,
}

impl Net {
    /// The network with PyTorch's default initialisation, drawn from the default stream.
    ///
    /// # Errors
    ///
    /// [`InitError::Libtorch`] if `input_size` is negative.
    pub fn new(vs: &Path<'_>, input_size: i64, bias: bool) -> Result<Net, InitError> {
        let config = LinearConfig {
            bias,
            ..LinearConfig::default()
        };
        Ok(Net {
            input_size,
            fc1: f_linear(vs / "fc1", input_size, 2, config)?,
            fc2: f_linear(vs / "fc2", 2, 4, config)?,
            fc3: f_linear(vs / "fc3", 4, 2, config)?,
        })
    }

    /// The log-probabilities of two classes, `[n, 2]`, of an input of `n * input_size` elements.
    ///
    /// # Errors
    ///
    /// The error of libtorch if the input does not fit.
    pub fn f_forward(&self, input: &Tensor) -> Result<Tensor, tch::TchError> {
        let layer = |x: &Tensor, fc: &Linear| x.f_linear(&fc.ws, fc.bs.as_ref());
        let x = input.f_view([-1, self.input_size])?;
        let x = layer(&x, &self.fc1)?.f_relu()?;
        let x = layer(&x, &self.fc2)?.f_relu()?;
        layer(&x, &self.fc3)?.f_log_softmax(1, None::<Kind>)
    }
}

/// A network after a visitor, and what it makes of the input.
#[derive(Debug)]
pub struct Run {
    /// The network's variables.
    pub vs: VarStore,
    /// The network.
    pub net: Net,
    /// Its output for [`Experiment::input`], without gradients.
    pub output: Tensor,
}

/// All that the experiment makes, in its order.
#[derive(Debug)]
pub struct Experiment {
    /// One row of `input_size` normal values.
    pub input: Tensor,
    /// A network after [`weight_init`].
    pub xavier: Run,
    /// Another after [`weight_init2`].
    pub orthogonal: Run,
}

impl Experiment {
    /// Seeds the default streams and runs the experiment.
    ///
    /// All is drawn on the CPU and then moved to `device`, as by `model.to(device)`, so that the
    /// weights are the same everywhere.
    ///
    /// ```standalone_crate
    /// use tch_init::experiment::Experiment;
    ///
    /// # fn main() -> Result<(), tch_init::VisitError> {
    /// let run = Experiment::run(1, 4, true, tch::Device::Cpu)?;
    /// assert_eq!(format!("{:.4}", run.xavier.output.double_value(&[0, 0])), "-0.7233");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`VisitError`] if a tensor cannot be made or filled.
    pub fn run(
        seed: i64,
        input_size: i64,
        bias: bool,
        device: Device,
    ) -> Result<Experiment, VisitError> {
        if let Device::Cuda(_) = device {
            crate::cuda::load()?;
        }
        manual_seed(seed)?;
        let input = Tensor::f_randn([1, input_size], (Kind::Float, Device::Cpu))
            .and_then(|input| input.f_to_device(device))
            .map_err(|error| InitError::tch("randn", error))?;
        let run = |visitor: fn(&mut Layer) -> Result<(), InitError>| {
            let mut vs = VarStore::new(Device::Cpu);
            let net = Net::new(&vs.root(), input_size, bias)?;
            apply(&vs, visitor)?;
            vs.set_device(device);
            let output = net
                .f_forward(&input)
                .map_err(|error| InitError::tch("forward", error))?;
            Ok::<Run, VisitError>(Run {
                output: output.detach(),
                vs,
                net,
            })
        };
        let xavier = run(weight_init)?;
        let orthogonal = run(weight_init2)?;
        Ok(Experiment {
            input,
            xavier,
            orthogonal,
        })
    }
}
