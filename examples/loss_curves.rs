//! What PyTorch's bits are worth: a small GPT, written with plain `tch::nn`, learns the text of a license with AdamW, a warm-up, a
//! cosine schedule and clipping: with PyTorch's weights and optimizer, with tch's, and as its twin in Python.
//!
//! Prints the losses and draws them: `cargo run --example loss_curves -- docs/loss_curves.svg`.
//! Needs the Python reference (`./setup --reference`).

use plotters::prelude::*;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};
use tch_init::nn::LayerKind;
use tch_init::{Walk, get_rng_state, manual_seed, optim, set_rng_state};

const SEED: i64 = 1;
const STEPS: usize = 200;
const WARM_UP: usize = 20;
const RATE: f64 = 3e-3;
const BETAS: (f64, f64) = (0.9, 0.95);
const DECAY: f64 = 0.1;
const LARGEST_NORM: f64 = 1.0;
/// Sequences of a batch, and characters of each.
const SIZE: [i64; 2] = [8, 32];

fn main() -> Result<(), Box<dyn Error>> {
    let python = python_losses()?;

    let vs = VarStore::new(Device::Cpu);
    let loss = gpt(&vs);
    manual_seed(SEED)?;
    // A weight of two dimensions alone could also be that of a linear layer.
    Walk::new()
        .prefer(LayerKind::Embedding)
        .reset_parameters(&vs)?;
    let behind_the_weights = get_rng_state()?;
    let with = with_tch_init(&vs, &loss)?;

    let vs = VarStore::new(Device::Cpu);
    let loss = gpt(&vs);
    // The same batches and dropout as the others.
    set_rng_state(&behind_the_weights)?;
    let without = with_plain_tch(&vs, &loss)?;

    println!("step   PyTorch  tch with tch-init  plain tch");
    for step in (0..STEPS).step_by(20).chain([STEPS - 1]) {
        println!(
            "{step:4}  {:8.4}  {:17.4}  {:9.4}",
            python[step], with[step], without[step]
        );
    }
    let bits = |losses: &[f32]| losses.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let mut steps = bits(&python).into_iter().zip(bits(&with));
    if let Some(step) = steps.position(|(a, b)| a != b) {
        return Err(format!("the losses of tch-init are not PyTorch's from step {step}").into());
    }
    println!("the first two are equal, bit for bit, in all {STEPS} steps");
    if let Some(path) = std::env::args_os().nth(1) {
        draw(Path::new(&path), &python, &with, &without)?;
    }
    Ok(())
}

type Loss = Box<dyn Fn(&Tensor, &Tensor) -> Tensor>;

fn gpt(vs: &VarStore) -> Loss {
    const WIDTH: i64 = 64;
    const HEADS: i64 = 4;
    const VOCABULARY: i64 = 128;
    let root = vs.root();
    let linear = |path, from, to| nn::linear(path, from, to, Default::default());
    let norm = |path| nn::layer_norm(path, vec![WIDTH], Default::default());
    let tokens = nn::embedding(&root / "tokens", VOCABULARY, WIDTH, Default::default());
    let positions = nn::embedding(&root / "positions", SIZE[1], WIDTH, Default::default());
    let block = |i: i64| {
        let path = &root / "blocks" / i;
        let norm1 = norm(&path / "norm1");
        let attention = linear(&path / "attention", WIDTH, 3 * WIDTH);
        let projection = linear(&path / "projection", WIDTH, WIDTH);
        let norm2 = norm(&path / "norm2");
        let up = linear(&path / "up", WIDTH, 4 * WIDTH);
        let down = linear(&path / "down", 4 * WIDTH, WIDTH);
        move |x: &Tensor| {
            let [b, t] = SIZE;
            let heads = |x: Tensor| x.view([b, t, HEADS, WIDTH / HEADS]).transpose(1, 2);
            let qkv = norm1.forward(x).apply(&attention);
            let [q, k, v] = [0, 1, 2].map(|i| heads(qkv.narrow(-1, i * WIDTH, WIDTH)));
            let mask = None::<Tensor>;
            let y = Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, true, None, false);
            let y = y.transpose(1, 2).reshape([b, t, WIDTH]).apply(&projection);
            let x = x + y.dropout(0.1, true);
            let y = norm2.forward(&x).apply(&up).gelu("none").apply(&down);
            x + y.dropout(0.1, true)
        }
    };
    let blocks: Vec<_> = (0..2).map(block).collect();
    let last = norm(&root / "norm");
    let head = linear(&root / "head", WIDTH, VOCABULARY);
    Box::new(move |x, y| {
        let at = Tensor::arange(SIZE[1], (Kind::Int64, Device::Cpu));
        let mut x = tokens.forward(x) + positions.forward(&at);
        for block in &blocks {
            x = block(&x);
        }
        let logits = last.forward(&x).apply(&head).flatten(0, 1);
        let mean = tch::Reduction::Mean;
        logits.cross_entropy_loss::<Tensor>(&y.flatten(0, 1), None, mean, -100, 0.0)
    })
}

/// The characters of the text, and those that follow them.
fn batch(text: &Tensor) -> (Tensor, Tensor) {
    let [sequences, length] = SIZE;
    let first = Tensor::randint(
        text.size()[0] - length,
        [sequences, 1],
        (Kind::Int64, Device::Cpu),
    );
    let at = first + Tensor::arange(length, (Kind::Int64, Device::Cpu));
    (text.take(&at), text.take(&(at + 1)))
}

fn text() -> Tensor {
    let text = include_bytes!("../LICENSE-APACHE").map(i64::from);
    Tensor::from_slice(&text)
}

fn with_tch_init(vs: &VarStore, loss: &Loss) -> Result<Vec<f32>, Box<dyn Error>> {
    use optim::{AdamW, CosineAnnealingLR, LinearLR, OptimizerConfig, sequential_lr};
    let text = text();
    let adamw = AdamW::default().betas(BETAS).weight_decay(DECAY);
    let mut optimizer = adamw.build(vs, RATE)?;
    let warm_up = LinearLR::new()
        .start_factor(0.1)
        .total_iters(WARM_UP as i64)
        .build(&mut optimizer)?;
    let cosine = CosineAnnealingLR::new((STEPS - WARM_UP) as i64).build(&mut optimizer)?;
    let mut scheduler = sequential_lr(&mut optimizer, vec![warm_up, cosine], &[WARM_UP as i64])?;
    let step = |_| {
        let (x, y) = batch(&text);
        let loss = loss(&x, &y);
        optimizer.backward_step_clip_norm(&loss, LARGEST_NORM);
        scheduler.step(&mut optimizer)?;
        Ok(f32::try_from(loss.detach())?)
    };
    (0..STEPS).map(step).collect()
}

fn with_plain_tch(vs: &VarStore, loss: &Loss) -> Result<Vec<f32>, Box<dyn Error>> {
    use nn::OptimizerConfig;
    let text = text();
    let adamw = nn::AdamW {
        beta1: BETAS.0,
        beta2: BETAS.1,
        wd: DECAY,
        ..Default::default()
    };
    let mut optimizer = adamw.build(vs, RATE)?;
    let step = |step: usize| {
        optimizer.set_lr(match step {
            step if step < WARM_UP => RATE * (0.1 + 0.9 * step as f64 / WARM_UP as f64),
            step => {
                let done = (step - WARM_UP) as f64 / (STEPS - WARM_UP) as f64;
                RATE * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0
            }
        });
        let (x, y) = batch(&text);
        let loss = loss(&x, &y);
        optimizer.backward_step_clip_norm(&loss, LARGEST_NORM);
        Ok(f32::try_from(loss.detach())?)
    };
    (0..STEPS).map(step).collect()
}

fn python_losses() -> Result<Vec<f32>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TCH_INIT_PYTHON")
        .map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    let mut child = Command::new(&python)
        .arg(root.join("tests/python/loss_curve.py"))
        .args([SEED as usize, STEPS, WARM_UP].map(|number| number.to_string()))
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
    let all = python.iter().chain(with).chain(without);
    let highest = 1.05 * all.fold(0f32, |a, b| a.max(*b));
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0..STEPS, 0f32..highest)?;
    chart
        .configure_mesh()
        .x_desc("step of AdamW")
        .y_desc("loss")
        .light_line_style(TRANSPARENT)
        .draw()?;
    let gray = RGBColor(150, 150, 150);
    let blue = RGBColor(31, 119, 180);
    let orange = RGBColor(230, 120, 20);
    // PyTorch's line is wide and lies below ours, which covers it exactly.
    for (losses, name, style) in [
        (python, "PyTorch", gray.stroke_width(7)),
        (without, "plain tch", orange.stroke_width(2)),
        (with, "tch with tch-init", blue.stroke_width(2)),
    ] {
        let points = losses.iter().copied().enumerate();
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
