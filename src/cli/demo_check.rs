//! `tch-init demo --check`: compares the experiment with figures that PyTorch computed.

use super::experiment::Experiment;
use super::report::Report;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tch::Tensor;
use tch_init::parity::ulp_distance;
use tch_init::rng::Seed;

/// Written by `python tests/python/experiment.py > src/cli/reference.json`.
const REFERENCE: &str = include_str!("reference.json");

/// The distance that LAPACK may cause: the bits of `orthogonal_`, and of what follows from it, depend on the CPU and the
/// number of threads. 64 ULP is about 1e-5 of a value, far more than observed between machines and far less than a mistake
/// causes.
const LAPACK_ULPS: u32 = 64;

#[derive(Deserialize)]
struct Reference {
    torch: String,
    runs: Vec<Figures>,
}

/// The bits of each tensor, as unsigned numbers.
#[derive(Deserialize)]
struct Figures {
    seed: i64,
    input_size: i64,
    input: Vec<u32>,
    output1: Vec<u32>,
    weight1: Vec<u32>,
    output2: Vec<u32>,
    weight2: Vec<u32>,
}

/// Reports one line per tensor.
pub fn against_reference(seed: Seed, input_size: i64, experiment: &Experiment) -> Result<Report> {
    let reference: Reference =
        serde_json::from_str(REFERENCE).context("the stored reference is invalid")?;
    let Some(figures) = reference
        .runs
        .iter()
        .find(|run| Seed::from(run.seed) == seed && run.input_size == input_size)
    else {
        let stored: Vec<String> = reference
            .runs
            .iter()
            .map(|run| format!("{}/{}", run.seed, run.input_size))
            .collect();
        bail!(
            "--check: no PyTorch reference is stored for seed {seed} and input size {input_size}; \
             stored are (seed/size) {}",
            stored.join(", ")
        );
    };
    let Experiment {
        input,
        xavier,
        orthogonal,
    } = experiment;
    let mut text = String::new();
    let mut found = false;
    for (label, tensor, expected, exact) in [
        ("输入", input, &figures.input, true),
        ("输出1", &xavier.output, &figures.output1, true),
        ("权重1", &xavier.net.fc1.ws, &figures.weight1, true),
        ("输出2", &orthogonal.output, &figures.output2, false),
        ("权重2", &orthogonal.net.fc1.ws, &figures.weight2, false),
    ] {
        let line = compare(tensor, expected, exact)?;
        text.push_str(&format!(
            "{label}: {} (PyTorch {})\n",
            line.text, reference.torch
        ));
        found |= line.found;
    }
    Ok(Report { text, found })
}

fn compare(tensor: &Tensor, expected: &[u32], exact: bool) -> Result<Report> {
    let values: Vec<f32> = tensor
        .f_detach()?
        .f_to_device(tch::Device::Cpu)?
        .f_contiguous()?
        .f_view([-1])?
        .try_into()?;
    if values.len() != expected.len() {
        bail!(
            "{} values, the reference has {}",
            values.len(),
            expected.len()
        );
    }
    let differing = values
        .iter()
        .zip(expected)
        .filter(|(value, bits)| value.to_bits() != **bits)
        .count();
    if differing == 0 {
        return Ok(Report {
            text: format!("equal, all {} values bit for bit", values.len()),
            found: false,
        });
    }
    let distances = values
        .iter()
        .zip(expected)
        .map(|(value, bits)| ulp_distance(*value, f32::from_bits(*bits)));
    let worst = distances
        .map(|distance| distance.unwrap_or(u32::MAX))
        .max()
        .unwrap_or(0);
    let allowed = !exact && worst <= LAPACK_ULPS;
    Ok(Report {
        text: format!(
            "{differing} of {} values differ, by up to {worst} ULP{}",
            values.len(),
            if allowed {
                ", as LAPACK does from machine to machine"
            } else {
                ""
            }
        ),
        found: !allowed,
    })
}
