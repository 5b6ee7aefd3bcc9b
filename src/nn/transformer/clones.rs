//! Layers that start as copies of one.

use super::TransformerNormConfig;
use crate::error::InitError;
use crate::init::recording::copy_;
use crate::nn::build::{Build, python_module};
use crate::nn::named::Named;
use crate::nn::start::Start;
use tch::nn::{LayerNorm, Path, VarStore};

/// The layers, and what Python prints of their list.
pub(super) fn declare<L>(
    build: &mut Build<'_>,
    num_layers: i64,
    declare: impl Fn(&mut Build<'_>) -> Result<L, InitError>,
) -> Result<(Vec<L>, String), InitError> {
    let layers = build.child("layers", |build| {
        (0..num_layers)
            .map(|i| build.child(i.to_string(), &declare))
            .collect::<Result<Vec<L>, InitError>>()
    })?;
    // Equal ones are printed once.
    let list = match num_layers {
        ..=0 => "ModuleList()".to_owned(),
        1 => python_module("ModuleList", &[("0", build.last_repr())]),
        many => {
            let range = format!("0-{}", many - 1);
            let all = format!("{many} x {}", build.last_repr());
            python_module("ModuleList", &[(&range, &all)])
        }
    };
    Ok((layers, list))
}

/// The normalisation after the layers, and what Python prints of both.
pub(super) fn with_norm(
    build: &mut Build<'_>,
    class: &str,
    list: String,
    norm: Option<TransformerNormConfig>,
    d_model: i64,
) -> Result<(Option<LayerNorm>, String), InitError> {
    let Some(norm) = norm else {
        return Ok((None, python_module(class, &[("layers", &list)])));
    };
    let norm = build.child("norm", |build| norm.declare(build, d_model))?;
    let children = [("layers", list.as_str()), ("norm", build.last_repr())];
    Ok((Some(norm), python_module(class, &children)))
}

/// How layers and their last normalisation start: one layer is drawn, and all are copies of it, as
/// `_get_clones` makes them, `torch/nn/modules/transformer.py`, PyTorch 2.13.
///
/// `layer` starts one, and `prototype` makes one elsewhere.
pub(super) fn start<P>(
    build: &Build<'_>,
    num_layers: i64,
    layer: fn(&Named) -> Result<(), InitError>,
    prototype: P,
) -> impl Fn(&Named) -> Result<(), InitError> + Send + Sync + 'static + use<P>
where
    P: Fn(Path<'_>) -> Result<(), InitError> + Send + Sync + 'static,
{
    let (kind, device) = (build.kind(), build.device());
    move |tensors| {
        if num_layers <= 0 {
            // The layer that nothing is a copy of is drawn all the same.
            let mut scratch = VarStore::new(device);
            scratch.set_kind(kind);
            prototype(scratch.root())?;
        }
        let first = tensors.child("layers.0");
        layer(&first)?;
        for i in 1..num_layers {
            let copy = tensors.child(&format!("layers.{i}"));
            for ((_, from), (_, to)) in first.iter().zip(copy.iter()) {
                copy_("layers", &mut to.shallow_clone(), from)?;
            }
        }
        Start::Norm.run(&tensors.child("norm"))
    }
}
