//! `tch-init demo`: runs the experiment and prints it as the Python program does.

use super::demo_check;
use super::experiment::Experiment;
use super::report::Report;
use anyhow::{Result, bail};
use tch::Device;
use tch_init::repr::{module_str, tensor_str};
use tch_init::rng::Seed;

#[derive(clap::Args)]
pub struct Arguments {
    /// The seed, as torch.manual_seed takes it: -2^63 to 2^64 - 1
    #[arg(long, default_value = "1", allow_negative_numbers = true)]
    seed: Seed,

    /// Features of the input
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(i64).range(1..=10_000_000))]
    input_size: i64,

    /// The device of the networks: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    device: Device,

    /// Compare each tensor with the stored PyTorch reference
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: &Arguments) -> Result<Report> {
    let Arguments {
        seed,
        input_size,
        device,
        ..
    } = *arguments;
    let experiment = Experiment::run(seed, input_size, true, device)?;
    let Experiment {
        input,
        xavier,
        orthogonal,
    } = &experiment;
    let weight = |run: &super::experiment::Run| run.net.fc1.ws.detach();

    // The labels are those of the program in the seed document.
    let mut text = format!("网络结构: \n {}\n", module_str("Net", &xavier.vs)?);
    for (label, tensor) in [
        ("输入", input.shallow_clone()),
        ("输出1", xavier.output.shallow_clone()),
        ("权重1", weight(xavier)),
        ("输出2", orthogonal.output.shallow_clone()),
        ("权重2", weight(orthogonal)),
    ] {
        text.push_str(&format!("{label}: \n {}\n", tensor_str(&tensor)?));
    }
    let mut found = false;
    if arguments.check {
        let checked = demo_check::against_reference(seed, input_size, &experiment)?;
        text.push_str(&checked.text);
        found = checked.found;
    }
    Ok(Report { text, found })
}

fn parse_device(text: &str) -> Result<Device> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", index)) => Ok(Device::Cuda(index.parse()?)),
        _ => bail!("use cpu, cuda or cuda:N"),
    }
}
