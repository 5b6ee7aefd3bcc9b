//! Adds layers to plans.

use super::spec::{InitFill, InitTarget, LayerSpec, join};
use crate::error::InitError;
use crate::plan::{PlanBuilder, PlanError, Scalar, TensorId};
use crate::tensor::Dtype;
use std::collections::BTreeMap;

impl LayerSpec {
    /// Adds the layer to a plan: its variables, named below `path`, and its initialization.
    ///
    /// `dtype` is that of the variables whose dtype the layer does not fix.
    ///
    /// # Errors
    ///
    /// [`PlanError::Generator`] for a negative size, [`PlanError::Invalid`] for a dtype that the layer
    /// cannot be drawn in and for sizes that a plan cannot have.
    ///
    /// ```
    /// use tch_init::nn::{LayerSpec, Printed};
    /// use tch_init::plan::PlanBuilder;
    /// use tch_init::tensor::Dtype;
    ///
    /// let printed = Printed::parse("Linear(in_features=4, out_features=2, bias=True)")?;
    /// let mut plan = PlanBuilder::new();
    /// if let Some(linear) = LayerSpec::from_printed(&printed)? {
    ///     linear.add_to_plan(&mut plan, "fc1", Dtype::Float32)?;
    /// }
    /// let plan = plan.finish("a linear layer")?;
    /// let names: Vec<&str> = plan.names().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["fc1.weight", "fc1.bias"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_to_plan(
        &self,
        plan: &mut PlanBuilder,
        path: &str,
        dtype: Dtype,
    ) -> Result<(), PlanError> {
        let mut tensors: BTreeMap<String, (TensorId, Dtype)> = BTreeMap::new();
        for (name, variable) in self.variables() {
            let dtype = variable.dtype().unwrap_or(dtype);
            let shape = self.sizes(&name, variable.shape())?;
            let full_name = join(path, &name);
            let tensor = match variable.is_parameter() {
                true => plan.parameter(full_name, dtype, &shape)?,
                false => plan.buffer(full_name, dtype, &shape)?,
            };
            tensors.insert(name, (tensor, dtype));
        }
        let variable = |name: &String| {
            let unknown = || self.refused(format!("initializes {name}, which it lacks"));
            tensors.get(name).copied().ok_or_else(unknown)
        };
        for step in self.init() {
            let (out, dtype, row) = match step.target() {
                InitTarget::Variable(name) => {
                    let (tensor, dtype) = variable(name)?;
                    (tensor, dtype, None)
                }
                InitTarget::Row(name, row) => {
                    let (tensor, dtype) = variable(name)?;
                    (tensor, dtype, Some(*row))
                }
                InitTarget::Discarded(shape) => {
                    let shape = self.sizes("a discarded tensor", shape)?;
                    (plan.tensor(dtype, &shape)?, dtype, None)
                }
            };
            match (step.fill(), row) {
                (InitFill::Draw(draw), None) => plan.draw(out, *draw)?,
                (InitFill::Constant(value), None) => plan.fill(out, scalar(dtype, *value))?,
                (InitFill::Constant(value), Some(row)) => {
                    let row = self.sizes("a row", &[row])?[0];
                    plan.fill_row(out, row, scalar(dtype, *value))?;
                }
                (InitFill::Copy(from), None) => plan.copy(variable(from)?.0, out)?,
                (InitFill::Skip, _) => {}
                (_, Some(row)) => {
                    return Err(self.refused(format!("initializes row {row} by a draw or a copy")));
                }
            }
        }
        Ok(())
    }

    fn sizes(&self, name: &str, shape: &[i64]) -> Result<Vec<u64>, PlanError> {
        let sizes: Result<Vec<u64>, _> = shape.iter().map(|size| u64::try_from(*size)).collect();
        sizes.map_err(|_| self.refused(format!("{name} has a negative size in shape {shape:?}")))
    }

    fn refused(&self, message: String) -> PlanError {
        PlanError::from(InitError::Layer {
            kind: self.kind().name(),
            argument: "parameters",
            message,
        })
    }
}

fn scalar(dtype: Dtype, value: f64) -> Scalar {
    match dtype.is_floating_point() {
        true => Scalar::Float(value),
        false => Scalar::Int(value as i64),
    }
}
