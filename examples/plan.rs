//! The weights of a Python model in a program of plain tch, from a plan of its constructor.
//!
//! ```text
//! tch-init record 'torchvision.models.resnet18()' -o resnet18.plan.json
//! cargo run --example plan -- resnet18.plan.json
//! ```

use std::error::Error;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::Generator;
use tch_init::plan::{InitPlan, materialize_into};
use tch_init::repr::{ReprError, tensor_str};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1);
    let plan = InitPlan::load(path.ok_or("give a plan of torchvision.models.resnet18()")?)?;

    let mut vs = VarStore::new(Device::Cpu);
    let net = tch::vision::resnet::resnet18(&vs.root(), 1000);
    let mut generator = Generator::new(Device::Cpu)?;
    generator.manual_seed(1)?;
    // tch's names are torchvision's.
    materialize_into(&plan, &mut vs, &mut generator)?;

    println!("conv1.weight: {}", first(&vs.variables()["conv1.weight"])?);
    println!("fc.weight:    {}", first(&vs.variables()["fc.weight"])?);
    let images = Tensor::ones([1, 3, 224, 224], (Kind::Float, Device::Cpu));
    println!("output:       {}", first(&net.forward_t(&images, false))?);
    Ok(())
}

/// The first values, as PyTorch prints them.
fn first(tensor: &Tensor) -> Result<String, ReprError> {
    tensor_str(&tensor.detach().flatten(0, -1).narrow(0, 0, 3))
}
