//! A plan into the variables of a program.

use super::{InitPlan, PlanError};
use crate::error::InitError;
use crate::generator::Generator;
use std::collections::{BTreeMap, BTreeSet};
use tch::nn::VarStore;

impl InitPlan {
    /// Fills every variable of a `VarStore` with the parameter or buffer that `rename` names for
    /// it; an identity where both sides have PyTorch's names. Buffers of the plan may be left
    /// over, parameters may not.
    ///
    /// Values go to the variable's device, and to its dtype as `Module.to(dtype)` does. The
    /// generator is left where PyTorch's constructor would have left it.
    ///
    /// # Errors
    ///
    /// [`PlanError::Variable`] before anything is drawn, if names, shapes or dtypes do not fit;
    /// otherwise as [`materialize`](Self::materialize).
    ///
    /// ```
    /// # use tch_init::plan::InitPlan;
    /// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
    /// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
    /// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
    /// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
    /// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
    /// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
    /// # let plan = InitPlan::from_json(json)?;
    /// use tch::{Device, nn};
    ///
    /// let mut vs = nn::VarStore::new(Device::Cpu);
    /// let fc = nn::linear(vs.root() / "fc", 2, 3, Default::default());
    /// let mut generator = tch_init::Generator::new(Device::Cpu)?;
    /// generator.manual_seed(1)?;
    /// plan.materialize_into(&mut vs, &mut generator, |variable| variable.replacen("fc.", "", 1))?;
    /// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, 0.364_346_1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn materialize_into(
        &self,
        vs: &mut VarStore,
        generator: &mut Generator,
        mut rename: impl FnMut(&str) -> String,
    ) -> Result<(), PlanError> {
        // By name: a `VarStore` has no order.
        let variables: BTreeMap<_, _> = vs.variables().into_iter().collect();
        let mut roots = Vec::new();
        for (variable, tensor) in &variables {
            let name = rename(variable);
            let unfit = |problem: String| PlanError::Variable {
                name: variable.clone(),
                problem,
            };
            let known = self
                .find(&name)
                .ok_or_else(|| unfit(format!("the plan has no {}", super::error::Shown(&name))))?;
            let (shape, theirs) = (tensor.size(), super::run::ints(&known.entry.shape));
            if shape != theirs {
                return Err(unfit(format!(
                    "it has shape {shape:?}, the plan has {theirs:?}"
                )));
            }
            let (ours, dtype) = (tensor.kind(), known.entry.dtype);
            let kind = super::run::kind(dtype);
            if ours != kind && !(super::run::is_floating(ours) && dtype.is_floating_point()) {
                return Err(unfit(format!("it is {ours:?}, the plan has {dtype}")));
            }
            roots.push(known.view);
        }
        let taken: BTreeSet<usize> = roots.iter().copied().collect();
        let left = self
            .names
            .iter()
            .find(|name| name.entry.is_parameter && !taken.contains(&name.view));
        if let Some(left) = left {
            return Err(PlanError::Variable {
                name: left.name.clone(),
                problem: "a parameter of the plan that no variable takes".to_owned(),
            });
        }
        let tensors = self.execute(generator, &roots)?;
        let _no_grad = tch::no_grad_guard();
        for (mut variable, tensor) in variables.into_values().zip(tensors) {
            variable
                .f_copy_(&tensor)
                .map_err(|error| InitError::tch("materialize_into", error))?;
        }
        Ok(())
    }
}
