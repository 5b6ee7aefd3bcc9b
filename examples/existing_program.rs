//! A program of plain `tch::nn` that gets PyTorch's weights from three lines.
//!
//! `cargo run --example existing_program`

use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::{manual_seed, reset_parameters};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let conv = nn::conv2d(&root / "conv", 1, 8, 3, Default::default());
    let fc = nn::linear(&root / "fc", 8, 2, Default::default());
    println!("tch's fc.weight:     {}", row(&fc.ws)?);

    // The three lines, one of them the `use` above.
    manual_seed(0)?;
    reset_parameters(&vs)?;
    println!("PyTorch's fc.weight: {}", row(&fc.ws)?);

    let images = Tensor::ones([1, 1, 3, 3], (Kind::Float, Device::Cpu));
    let output = fc.forward(&conv.forward(&images).relu().view([-1, 8]));
    println!("output:              {}", row(&output)?);
    Ok(())
}

/// The first row, as PyTorch prints it.
fn row(tensor: &Tensor) -> Result<String, tch_init::repr::ReprError> {
    tch_init::repr::tensor_str(&tensor.detach().get(0).narrow(0, 0, 2))
}
