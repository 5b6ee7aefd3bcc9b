//! What the normalisations of batches and of instances have in common: `_NormBase`,
//! `torch/nn/modules/batchnorm.py`, PyTorch 2.13.

use super::LayerKind;
use super::build::{Build, python_bool};
use super::start::Start;
use crate::error::InitError;
use crate::repr::python_float;
use tch::{Kind, Tensor};

/// The arguments of `_NormBase`.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormBase {
    pub(super) kind: LayerKind,
    pub(super) num_features: i64,
    pub(super) eps: f64,
    pub(super) momentum: Option<f64>,
    pub(super) affine: bool,
    pub(super) bias: bool,
    pub(super) track_running_stats: bool,
}

/// The tensors of `_NormBase`.
pub(super) struct NormTensors {
    pub(super) ws: Option<Tensor>,
    pub(super) bs: Option<Tensor>,
    pub(super) running_mean: Option<Tensor>,
    pub(super) running_var: Option<Tensor>,
    pub(super) num_batches_tracked: Option<Tensor>,
}

impl NormBase {
    /// Declares the layer of which `with` makes the caller's type.
    pub(super) fn declare<L>(
        self,
        build: &mut Build<'_>,
        with: impl FnOnce(NormTensors) -> L,
    ) -> Result<L, InitError> {
        build.layer(self.kind, Start::Norm, |build| {
            let features = &[self.num_features];
            let bias = self.affine && self.bias;
            let mut tensors = NormTensors {
                ws: build.optional_parameter(self.affine, "weight", features)?,
                bs: build.optional_parameter(bias, "bias", features)?,
                running_mean: None,
                running_var: None,
                num_batches_tracked: None,
            };
            if self.track_running_stats {
                let kind = build.kind();
                tensors.running_mean = Some(build.buffer("running_mean", features, kind)?);
                tensors.running_var = Some(build.buffer("running_var", features, kind)?);
                let batches = build.buffer("num_batches_tracked", &[], Kind::Int64)?;
                tensors.num_batches_tracked = Some(batches);
            }
            let repr = format!(
                "{}({}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={})",
                self.kind,
                self.num_features,
                python_float(self.eps),
                self.momentum.map_or("None".to_owned(), python_float),
                python_bool(self.affine),
                python_bool(bias),
                python_bool(self.track_running_stats),
            );
            Ok((with(tensors), repr))
        })
    }

    /// What layers refuse to compute statistics from: one value alone. `counted` are the
    /// dimensions that statistics are taken over.
    pub(super) fn check_count(
        &self,
        what: &str,
        shape: &[i64],
        counted: impl Iterator<Item = i64>,
    ) -> Result<(), InitError> {
        if counted.fold(1, i64::saturating_mul) != 1 {
            return Ok(());
        }
        Err(InitError::layer(
            self.kind,
            format!("more than 1 {what} is needed for statistics, got an input of shape {shape:?}"),
        ))
    }
}
