//! The experiment that the project grew from: a three-layer network and two visitors.

use tch::nn::{Linear, Path, VarStore};
use tch::{Device, Kind, TchError, Tensor};
use tch_init::nn::{LinearConfig, f_linear};
use tch_init::recipe::{weight_init, weight_init2};
use tch_init::rng::Seed;
use tch_init::{InitError, Layer, VisitError, apply, cuda, manual_seed};

/// A network of three linear layers with 2, 4 and 2 outputs, ReLU between them and log-softmax at the end.
#[derive(Debug)]
pub struct Net {
    /// Features of the input.
    pub input_size: i64,
    pub fc1: Linear,
    pub fc2: Linear,
    pub fc3: Linear,
}

impl Net {
    /// Makes the network with PyTorch's default initialization, drawn from the default generator.
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
    pub fn f_forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let layer = |x: &Tensor, fc: &Linear| x.f_linear(&fc.ws, fc.bs.as_ref());
        let x = input.f_view([-1, self.input_size])?;
        let x = layer(&x, &self.fc1)?.f_relu()?;
        let x = layer(&x, &self.fc2)?.f_relu()?;
        layer(&x, &self.fc3)?.f_log_softmax(1, None::<Kind>)
    }
}

/// A network after a visitor, and its output.
#[derive(Debug)]
pub struct Run {
    pub vs: VarStore,
    pub net: Net,
    /// The output for [`Experiment::input`], without gradients.
    pub output: Tensor,
}

/// The results of the experiment, in order.
#[derive(Debug)]
pub struct Experiment {
    /// One row of `input_size` normal values.
    pub input: Tensor,
    /// A network after [`weight_init`].
    pub xavier: Run,
    /// Another network after [`weight_init2`].
    pub orthogonal: Run,
}

impl Experiment {
    /// Seeds the default generators and runs the experiment.
    ///
    /// Everything is drawn on the CPU and then moved to `device`, as `model.to(device)` does, so that the weights do not
    /// depend on the device.
    pub fn run(
        seed: impl Into<Seed>,
        input_size: i64,
        bias: bool,
        device: Device,
    ) -> Result<Experiment, VisitError> {
        if let Device::Cuda(_) = device {
            cuda::load()?;
        }
        manual_seed(seed)?;
        let input = Tensor::f_randn([1, input_size], (Kind::Float, Device::Cpu))
            .and_then(|input| input.f_to_device(device))
            .map_err(libtorch("randn"))?;
        let run = |visitor: fn(&mut Layer) -> Result<(), InitError>| {
            let mut vs = VarStore::new(Device::Cpu);
            let net = Net::new(&vs.root(), input_size, bias)?;
            apply(&vs, visitor)?;
            vs.set_device(device);
            let output = net.f_forward(&input).map_err(libtorch("forward"))?;
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

/// libtorch's error with the name of the call; the first line of its message says what is wrong, the rest is a stack.
fn libtorch(function: &'static str) -> impl Fn(TchError) -> InitError {
    move |error| {
        let message = match error {
            TchError::Torch(message) => message,
            other => other.to_string(),
        };
        InitError::Libtorch {
            function,
            message: message.lines().next().unwrap_or_default().trim().to_owned(),
            shape: None,
        }
    }
}
