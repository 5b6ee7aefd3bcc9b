//! What PyTorch's weights are worth: a small network for images, made with plain `tch::nn` as in
//! tch's own examples, trained with PyTorch's weights and with tch's, and its Python twin.
//!
//! Prints the losses and draws them: `cargo run --example loss_curves -- docs/loss_curves.svg`.
//! Needs the Python reference (`./setup --reference`).

use plotters::prelude::*;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tch::nn::{self, Module, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::{get_rng_state, manual_seed, reset_parameters, set_rng_state};

const SEED: i64 = 1;
const STEPS: usize = 60;
/// A rate at which PyTorch learns; with tch's own weights it is too high.
const RATE: f64 = 0.03;

fn main() -> Result<(), Box<dyn Error>> {
    let python = python_losses()?;

    let (vs, loss) = network();
    manual_seed(SEED)?;
    reset_parameters(&vs)?;
    let behind_the_weights = get_rng_state()?;
    let with = train(&vs, &loss)?;

    let (vs, loss) = network();
    // The same images as the others.
    set_rng_state(&behind_the_weights)?;
    let without = train(&vs, &loss)?;

    println!("step   PyTorch  tch + reset_parameters  plain tch");
    for step in (0..STEPS).step_by(10) {
        println!(
            "{step:4}  {:8.4}  {:22.4}  {:9.4}",
            python[step], with[step], without[step]
        );
    }
    let equal = python
        .iter()
        .zip(&with)
        .all(|(a, b)| a.to_bits() == b.to_bits());
    println!(
        "the first two are {}",
        if equal {
            "equal, bit for bit"
        } else {
            "NOT equal"
        }
    );
    if let Some(path) = std::env::args_os().nth(1) {
        draw(Path::new(&path), &python, &with, &without)?;
    }
    Ok(())
}

type Loss = Box<dyn Fn(&Tensor, &Tensor) -> Tensor>;

/// All layers at the root, as tch's example makes them.
fn network() -> (VarStore, Loss) {
    let vs = VarStore::new(Device::Cpu);
    let root = vs.root();
    let conv1 = nn::conv2d(&root, 1, 32, 5, Default::default());
    let conv2 = nn::conv2d(&root, 32, 64, 5, Default::default());
    let fc1 = nn::linear(&root, 1024, 128, Default::default());
    let fc2 = nn::linear(&root, 128, 10, Default::default());
    let loss = move |x: &Tensor, y: &Tensor| {
        let x = conv1.forward(x).max_pool2d_default(2);
        let x = conv2.forward(&x).max_pool2d_default(2).view([-1, 1024]);
        fc2.forward(&fc1.forward(&x).relu())
            .cross_entropy_loss::<Tensor>(y, None, tch::Reduction::Mean, -100, 0.0)
    };
    (vs, Box::new(loss))
}

/// Ten patterns in noise, drawn here and in Python from the same place in the stream.
fn train(vs: &VarStore, loss: &Loss) -> Result<Vec<f32>, Box<dyn Error>> {
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let patterns = normal(&[10, 1, 28, 28]);
    let labels = Tensor::randint(10, [32], (Kind::Int64, Device::Cpu));
    let images = patterns.index_select(0, &labels) + normal(&[32, 1, 28, 28]);
    let mut optimizer = nn::sgd(0.0, 0.0, 0.0, false).build(vs, RATE)?;
    (0..STEPS)
        .map(|_| {
            let loss = loss(&images, &labels);
            optimizer.backward_step(&loss);
            Ok(f32::try_from(loss.detach())?)
        })
        .collect()
}

fn python_losses() -> Result<Vec<f32>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    let mut child = Command::new(&python)
        .arg(root.join("tests/python/loss_curve.py"))
        .args([
            "Images",
            &SEED.to_string(),
            &STEPS.to_string(),
            &RATE.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}; run `./setup --reference`", python.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        write!(stdin, "{}", tch::get_num_threads())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{} failed", python.display()).into());
    }
    let losses: Result<Vec<f64>, _> = String::from_utf8(output.stdout)?
        .lines()
        .map(str::parse)
        .collect();
    // Python prints an f32 as the f64 of the same value.
    Ok(losses?.into_iter().map(|loss| loss as f32).collect())
}

fn draw(path: &Path, python: &[f32], with: &[f32], without: &[f32]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    // Room for three times the losses of PyTorch; what leaves the picture is said in the legend.
    let highest = 3.0 * python.iter().fold(0f32, |a, b| a.max(*b));
    let diverges = without.iter().any(|loss| !loss.is_finite());
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0..STEPS, 0f32..highest)?;
    chart
        .configure_mesh()
        .x_desc("step of SGD")
        .y_desc("loss")
        .light_line_style(TRANSPARENT)
        .draw()?;
    let gray = RGBColor(150, 150, 150);
    let blue = RGBColor(31, 119, 180);
    let orange = RGBColor(230, 120, 20);
    // PyTorch's line is wide and lies below ours, which covers it exactly.
    for (losses, name, style) in [
        (python, "PyTorch", gray.stroke_width(9)),
        (with, "tch + reset_parameters", blue.stroke_width(2)),
        (
            without,
            if diverges {
                "plain tch (becomes NaN)"
            } else {
                "plain tch"
            },
            orange.stroke_width(2),
        ),
    ] {
        let shown = losses.iter().take_while(|loss| loss.is_finite());
        let points = shown
            .enumerate()
            .map(|(step, loss)| (step, loss.min(highest)));
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(TRANSPARENT)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
