//! Fills the variables of a program from a plan.

use super::stream::{ints, is_floating};
use super::{InitPlan, PlanError, View};
use crate::error::InitError;
use crate::generator::Generator;
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;
use tch::nn::VarStore;

/// Fills every variable of a `VarStore` with the parameter or buffer of its name, as
/// [`materialize_into_renamed`] does.
///
/// # Errors
///
/// As there.
///
/// ```
/// use tch_init::{Generator, nn, plan};
///
/// let mut vs = nn::VarStore::new(tch::Device::Cpu);
/// let (_fc, recorded) = plan::record("linear", &vs, || {
///     nn::linear(vs.root(), 2, 3, Default::default())
/// })?;
/// let mut generator = Generator::new(tch::Device::Cpu)?;
/// generator.manual_seed(1)?;
/// plan::materialize_into(&recorded, &mut vs, &mut generator)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn materialize_into(
    plan: &InitPlan,
    vs: &mut VarStore,
    generator: &mut Generator,
) -> Result<(), PlanError> {
    materialize_into_renamed(plan, vs, generator, str::to_owned)
}

/// Fills every variable of a `VarStore` with the parameter or buffer whose name `rename` returns for
/// it. The plan may have more buffers, but not more parameters.
///
/// Values are copied to the variable's device, and cast to its dtype as `Module.to(dtype)` does. The
/// generator is left where PyTorch's constructor would have left it.
///
/// # Errors
///
/// [`PlanError::Variable`] before anything is drawn, if names, shapes or dtypes do not match;
/// otherwise as [`InitPlan::materialize`].
///
/// ```
/// # let json = br#"{"format": "tch-init plan", "version": 1, "pytorch": "2.13.0",
/// #   "semantics": "2.13", "model": "torch.nn.Linear(2, 3)", "storages": [24, 12],
/// #   "views": [[0, "float32", [3, 2]], [1, "float32", [3]]],
/// #   "steps": [["uniform_", 0, -0.7071067811865475, 0.7071067811865475],
/// #             ["uniform_", 1, -0.7071067811865475, 0.7071067811865475]],
/// #   "parameters": [["weight", 0], ["bias", 1]], "buffers": []}"#;
/// use tch::{Device, nn};
/// use tch_init::plan::{self, InitPlan};
///
/// # let recorded = InitPlan::from_json(json)?;
/// let mut vs = nn::VarStore::new(Device::Cpu);
/// let fc = nn::linear(vs.root() / "fc", 2, 3, Default::default());
/// let mut generator = tch_init::Generator::new(Device::Cpu)?;
/// generator.manual_seed(1)?;
/// let rename = |variable: &str| variable.replacen("fc.", "", 1);
/// plan::materialize_into_renamed(&recorded, &mut vs, &mut generator, rename)?;
/// assert_eq!(fc.ws.double_value(&[0, 0]) as f32, 0.364_346_1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn materialize_into_renamed(
    plan: &InitPlan,
    vs: &mut VarStore,
    generator: &mut Generator,
    mut rename: impl FnMut(&str) -> String,
) -> Result<(), PlanError> {
    // By name: a `VarStore` has no order.
    let variables: BTreeMap<_, _> = vs.variables().into_iter().collect();
    let mut variables_of: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    let mut views = BTreeSet::new();
    for (variable, tensor) in variables {
        let name = rename(&variable);
        let mismatch = |problem: String| PlanError::Variable {
            name: variable.clone(),
            problem,
        };
        let view = plan.view(&name);
        let view = view.ok_or_else(|| mismatch(format!("the plan lacks {name:?}")))?;
        let (found, expected) = (tensor.size(), ints(view.shape()));
        if found != expected {
            return Err(mismatch(format!(
                "expected shape {expected:?}, found {found:?}"
            )));
        }
        let (found, dtype) = (tensor.kind(), view.dtype());
        if Some(found) != dtype.kind() && !(is_floating(found) && dtype.is_floating_point()) {
            return Err(mismatch(format!("expected {dtype}, found {found:?}")));
        }
        views.insert(key(view));
        variables_of.entry(name).or_default().push(tensor);
    }
    let mut parameters = plan.names().filter(|(_, entry)| entry.is_parameter);
    let unmatched = parameters.find(|(name, _)| {
        !plan
            .view(name)
            .is_some_and(|view| views.contains(&key(view)))
    });
    if let Some((name, _)) = unmatched {
        return Err(PlanError::Variable {
            name: name.to_owned(),
            problem: "the parameter matches no variable".to_owned(),
        });
    }
    let tensors = plan.materialize_only(generator, |name| variables_of.contains_key(name))?;
    let _no_grad = tch::no_grad_guard();
    for (name, tensor) in tensors {
        for variable in variables_of.get_mut(&name).into_iter().flatten() {
            variable
                .f_copy_(&tensor)
                .map_err(|error| InitError::tch("materialize_into", error))?;
        }
    }
    Ok(())
}

/// What makes two names those of tied weights.
fn key(view: &View) -> (usize, u64, &[u64], &[u64], &str) {
    let dtype = view.dtype().name();
    (
        view.storage(),
        view.offset(),
        view.shape(),
        view.stride(),
        dtype,
    )
}
