//! Normalizations with running statistics: `_NormBase`, `torch/nn/modules/batchnorm.py`, PyTorch
//! 2.13.

use super::printed::{PrintError, Printed, python_bool};
#[cfg(feature = "tch")]
use super::spec::refused;
use super::spec::{InitFill, LayerSpec, NUM_BATCHES_TRACKED, VariableShapes};
#[cfg(feature = "tch")]
use crate::error::InitError;
use crate::nn::kind::LayerKind;
use tensor_parity::{Dtype, python_repr};

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

impl NormBase {
    /// A layer with PyTorch's defaults, but for the class's own.
    pub(super) fn new(kind: LayerKind, num_features: i64) -> NormBase {
        NormBase {
            kind,
            num_features,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            bias: true,
            track_running_stats: true,
        }
    }

    /// `_NormBase.__init__`, `reset_parameters` and `extra_repr`.
    pub(super) fn spec(&self) -> LayerSpec {
        let features = &[self.num_features];
        let bias = self.affine && self.bias;
        let repr = format!(
            "{}({}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={})",
            self.kind,
            self.num_features,
            python_repr::float(self.eps),
            self.momentum.map_or("None".to_owned(), python_repr::float),
            python_bool(self.affine),
            python_bool(bias),
            python_bool(self.track_running_stats),
        );
        let mut spec = LayerSpec::new(self.kind, repr);
        // The statistics are reset first, and listed last.
        if self.track_running_stats {
            spec = spec
                .buffer("running_mean", features, None)
                .buffer("running_var", features, None)
                .buffer(NUM_BATCHES_TRACKED, &[], Some(Dtype::Int64))
                .step("running_mean", InitFill::Constant(0.0))
                .step("running_var", InitFill::Constant(1.0))
                .step(NUM_BATCHES_TRACKED, InitFill::Constant(0.0));
        }
        spec.parameter_if(self.affine, "weight", features, InitFill::Constant(1.0))
            .parameter_if(bias, "bias", features, InitFill::Constant(0.0))
    }

    /// The layer that was printed; `new` has the class's defaults.
    pub(super) fn from_printed(
        kind: LayerKind,
        printed: &Printed,
        new: fn(LayerKind, i64) -> NormBase,
    ) -> Result<LayerSpec, PrintError> {
        let base = new(kind, printed.int("num_features", Some(0))?);
        let base = NormBase {
            affine: printed.flag("affine", base.affine)?,
            bias: printed.flag("bias", base.bias)?,
            track_running_stats: printed.flag("track_running_stats", base.track_running_stats)?,
            ..base
        };
        Ok(base.spec())
    }

    /// The layer that has these variables. Without a weight or statistics there is none.
    pub(super) fn infer(kind: LayerKind, variables: &VariableShapes<'_>) -> Option<LayerSpec> {
        let weight = variables.parameter("weight");
        let statistics = variables.buffer("running_mean");
        let [num_features] = *statistics.or(weight)? else {
            return None;
        };
        let base = NormBase {
            affine: weight.is_some(),
            bias: variables.parameter("bias").is_some(),
            track_running_stats: statistics.is_some(),
            ..NormBase::new(kind, num_features)
        };
        variables.matching(base.spec())
    }

    /// Rejects statistics of a single value. `counted` are the dimensions that statistics are taken
    /// over.
    #[cfg(feature = "tch")]
    pub(super) fn check_count(
        &self,
        what: &str,
        shape: &[i64],
        counted: impl Iterator<Item = i64>,
    ) -> Result<(), InitError> {
        if counted.fold(1, i64::saturating_mul) != 1 {
            return Ok(());
        }
        Err(refused(
            self.kind,
            "input",
            format!("more than 1 {what} is needed for statistics, got an input of shape {shape:?}"),
        ))
    }
}
