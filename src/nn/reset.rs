//! Runs the initialization of a [`LayerSpec`] on tensors.

use super::init;
use super::named_tensors::NamedTensors;
use super::spec::{InitFill, InitStep, InitTarget, LayerSpec};
use crate::error::{Context, InitError};
use crate::generator::Generator;
use crate::init::recording::copy_;
use crate::init::{constant_, normal_, uniform_, zeros_};
use std::collections::BTreeSet;
use tch::Tensor;
use torch_rng::Draw;

/// Fills the tensors and draws as PyTorch's constructor does, from the default stream of the
/// tensors' device without a generator. A variable that is missing is skipped.
pub(crate) fn reset(
    spec: &LayerSpec,
    tensors: &NamedTensors,
    mut generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    let mut overridden = BTreeSet::new();
    for step in spec.init() {
        let (name, row) = match step.target() {
            InitTarget::Variable(name) => (name, None),
            InitTarget::Row(name, row) => (name, Some(*row)),
            InitTarget::Discarded(shape) => {
                let mut discarded = Tensor::f_empty(shape, tensors.options())
                    .map_err(|error| InitError::tch("variable", error).with_shape(shape))?;
                fill(step, &mut discarded, tensors, generator.as_deref_mut())?;
                continue;
            }
        };
        let Some(mut tensor) = tensors.get(name) else {
            continue;
        };
        if let Some(init) = tensors.initializer(name) {
            if overridden.insert(name) {
                init::fill(&mut tensor, init)?;
            }
            continue;
        }
        let generator = generator.as_deref_mut();
        match row {
            None => fill(step, &mut tensor, tensors, generator)?,
            Some(row) => {
                let _no_grad = tch::no_grad_guard();
                let mut row = tensor.f_select(0, row).context("padding_idx", &tensor)?;
                fill(step, &mut row, tensors, generator)?;
            }
        }
    }
    Ok(())
}

fn fill(
    step: &InitStep,
    tensor: &mut Tensor,
    tensors: &NamedTensors,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    match step.fill() {
        InitFill::Draw(draw) if step.is_row_major() && !tensor.is_contiguous() => {
            let function = "reset_parameters";
            let options = (tensor.f_kind().context(function, tensor)?, tensor.device());
            let contiguous = Tensor::f_empty(tensor.size(), options);
            let mut contiguous = contiguous.context(function, tensor)?;
            draw_(*draw, &mut contiguous, generator)?;
            copy_(function, tensor, &contiguous)
        }
        InitFill::Draw(draw) => draw_(*draw, tensor, generator),
        InitFill::Constant(0.0) => zeros_(tensor),
        InitFill::Constant(value) => constant_(tensor, *value),
        InitFill::Copy(of) => match tensors.get(of) {
            Some(source) => copy_("layers", tensor, &source),
            None => Ok(()),
        },
        InitFill::Skip => {
            log::warn!(
                "kaiming_uniform_: initializing zero-element tensors is a no-op (shape {:?})",
                tensor.size()
            );
            Ok(())
        }
    }
}

fn draw_(
    draw: Draw,
    tensor: &mut Tensor,
    generator: Option<&mut Generator>,
) -> Result<(), InitError> {
    match draw {
        Draw::Uniform(draw) => uniform_(tensor, draw.from, draw.to, generator),
        Draw::Normal(draw) => normal_(tensor, draw.mean, draw.std, generator),
        other => Err(InitError::libtorch(
            "reset_parameters",
            &format!("no layer is initialized by {}", other.name()),
        )),
    }
}
