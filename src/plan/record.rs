//! Records the plan of a model of [`nn`](crate::nn).

use super::{InitPlan, PlanBuilder, PlanError, Scalar, StorageId, TensorId};
use crate::error::InitError;
use crate::ffi::{Fact, fact};
use crate::init;
use crate::init::recording::{Event, Fill, Location, Recording, Values};
use crate::nn::registry::identity;
use crate::tensor::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use tch::Device;
use tch::nn::VarStore;

/// Constructs a model without drawing, and records what it would have drawn: its constructors,
/// [`apply`](crate::apply) and everything else that fills the variables of `vs` by the functions of
/// [`init`](crate::init). `model` describes the model for human readers.
///
/// The variables have no values then: their memory is not touched.
/// [`materialize_into`](super::materialize_into) gives them those of any seed, and makes only the
/// draws that they depend on. The default generator is not moved.
///
/// The plan's parameters are the trainable variables in the order of their creation, its buffers all
/// others by name.
///
/// # Errors
///
/// [`PlanError::Generator`] if the constructor draws in another way, uses another generator than the
/// default one, or reads or writes values of what it has just made; and for tensors that are not on
/// the CPU. [`PlanError::Record`] for a variable that a plan cannot express. Other threads are not
/// watched. Given values may have any size; [`InitPlan::write`] writes large ones beside the plan.
///
/// ```
/// use tch_init::{Generator, nn, plan};
///
/// let mut vs = nn::VarStore::new(tch::Device::Cpu);
/// let (net, recorded) = plan::record("mlp", &vs, || {
///     let net = nn::seq()
///         .add(nn::linear(vs.root() / "fc1", 784, 128, Default::default()))
///         .add(nn::linear(vs.root() / "fc2", 128, 10, Default::default()));
///     tch_init::apply(&vs, tch_init::recipe::xavier_normal).map(|()| net)
/// })?;
/// let net = net?;
///
/// let mut generator = Generator::new(tch::Device::Cpu)?;
/// generator.manual_seed(1)?;
/// plan::materialize_into(&recorded, &mut vs, &mut generator)?;
/// assert_eq!(recorded.to_string().matches("dead").count(), 5);
/// # drop(net);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn record<T>(
    model: &str,
    vs: &VarStore,
    construct: impl FnOnce() -> T,
) -> Result<(T, InitPlan), PlanError> {
    if vs.device() != Device::Cpu {
        let problem = format!("expected a VarStore on the CPU, found {:?}", vs.device());
        return Err(InitError::libtorch("record", &problem).into());
    }
    let recording = Recording::begin()?;
    let made = construct();
    let trainable = vs.trainable_variables();
    let trainable: BTreeSet<usize> = trainable.iter().map(identity).collect();
    let mut variables = Vec::new();
    for (name, tensor) in crate::walk::variables_in_order(vs) {
        if tensor.device() != Device::Cpu {
            let problem = format!("expected a tensor on the CPU, found {:?}", tensor.device());
            return Err(PlanError::Record { name, problem });
        }
        let is_parameter = trainable.contains(&identity(&tensor));
        let place = recording.locate(&tensor)?;
        variables.push(Variable {
            name,
            place,
            is_parameter,
            requires_grad: tensor.requires_grad(),
        });
    }
    let events = recording.end()?;
    let pytorch = fact(Fact::Version).map_err(|why| InitError::libtorch("record", &why))?;
    let pytorch = pytorch.split('+').next().unwrap_or_default();
    let plan = Draft::new(pytorch).plan(events, &variables, model)?;
    Ok((made, plan))
}

/// A variable of the model.
struct Variable {
    name: String,
    place: Location,
    is_parameter: bool,
    requires_grad: bool,
}

/// A plan whose storages are those of a recording.
struct Draft {
    /// By the recording's number of each storage.
    storages: BTreeMap<usize, StorageId>,
    builder: PlanBuilder,
}

impl Draft {
    fn new(pytorch: &str) -> Draft {
        Draft {
            storages: BTreeMap::new(),
            builder: PlanBuilder::new()
                .pytorch(pytorch)
                .semantics(init::semantics()),
        }
    }

    fn plan(
        mut self,
        events: Vec<Event>,
        variables: &[Variable],
        model: &str,
    ) -> Result<InitPlan, PlanError> {
        for event in events {
            self.step(event)?;
        }
        for variable in variables {
            let tensor = self.tensor(&variable.place).map_err(|error| match error {
                PlanError::Build { problem, .. } => PlanError::Record {
                    name: variable.name.clone(),
                    problem,
                },
                other => other,
            })?;
            let name = variable.name.as_str();
            match variable.is_parameter {
                true => self
                    .builder
                    .name_parameter(name, tensor, variable.requires_grad),
                false => self.builder.name_buffer(name, tensor, true),
            }
        }
        self.builder.finish(model)
    }

    fn step(&mut self, event: Event) -> Result<(), PlanError> {
        let out = self.tensor(&event.out)?;
        match event.fill {
            Fill::Draw(draw) => self.builder.draw(out, draw),
            Fill::Dirac { groups } => self.builder.dirac(out, groups),
            Fill::Eye => self.builder.eye(out),
            Fill::Copy(from) => {
                let from = self.tensor(&from)?;
                self.builder.copy(from, out)
            }
            Fill::Constant(value) => {
                let value = number_of(dtype(&event.out)?, value);
                self.builder.fill(out, value)
            }
            Fill::Values(Values::Each(bytes)) => self.builder.constant(out, bytes),
            Fill::Values(Values::Repeated(element)) => match exact(dtype(&event.out)?, &element) {
                Some(value) => self.builder.fill(out, value),
                None => {
                    // The tensor is the whole storage.
                    let numel = event.out.bytes as usize / element.len().max(1);
                    self.builder.constant(out, element.repeat(numel))
                }
            },
        }
    }

    fn tensor(&mut self, place: &Location) -> Result<TensorId, PlanError> {
        let dtype = dtype(place)?;
        let sizes = |sizes: &[i64]| sizes.iter().map(|size| size.unsigned_abs()).collect();
        let (shape, stride): (Vec<u64>, Vec<u64>) = (sizes(&place.shape), sizes(&place.stride));
        let storage = self.storages.entry(place.storage);
        let storage = *storage.or_insert_with(|| self.builder.storage(place.bytes));
        let offset = place.offset.unsigned_abs();
        self.builder.view(storage, dtype, offset, &shape, &stride)
    }
}

fn dtype(place: &Location) -> Result<Dtype, PlanError> {
    let dtype = Dtype::ALL
        .into_iter()
        .find(|dtype| dtype.kind() == Some(place.kind));
    dtype.ok_or_else(|| PlanError::Build {
        place: "tensor".to_owned(),
        problem: format!("expected a dtype of PyTorch, found {:?}", place.kind),
    })
}

/// A fill value as the recorder writes it: in the number type of the tensor, where that loses
/// nothing.
fn number_of(dtype: Dtype, value: f64) -> Scalar {
    match dtype {
        Dtype::Bool if value == 0.0 || value == 1.0 => Scalar::Bool(value == 1.0),
        _ if dtype.is_floating_point() || value.fract() != 0.0 || value.abs() >= 2f64.powi(53) => {
            Scalar::Float(value)
        }
        _ => Scalar::Int(value as i64),
    }
}

/// The number that an element is, if a fill with it gives these bits.
fn exact(dtype: Dtype, element: &[u8]) -> Option<Scalar> {
    match dtype {
        Dtype::Bool => Some(Scalar::Bool(element == [1])),
        Dtype::Uint8 => Some(Scalar::Int(element.first().copied()?.into())),
        Dtype::Int8 => Some(Scalar::Int(
            i8::from_le_bytes(element.try_into().ok()?).into(),
        )),
        Dtype::Int16 => Some(Scalar::Int(
            i16::from_le_bytes(element.try_into().ok()?).into(),
        )),
        Dtype::Int32 => Some(Scalar::Int(
            i32::from_le_bytes(element.try_into().ok()?).into(),
        )),
        Dtype::Int64 => Some(Scalar::Int(i64::from_le_bytes(element.try_into().ok()?))),
        // The bits of a NaN are more than a number.
        _ => dtype
            .to_f64(element)
            .filter(|value| !value.is_nan())
            .map(Scalar::Float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn sizes_of_empty_tensors_do_not_overflow() {
        let mut draft = Draft::new("2.13.0");
        let out = Location {
            storage: 8,
            bytes: 0,
            kind: Kind::Float,
            offset: 0,
            shape: vec![1 << 50, 1 << 50, 0],
            stride: vec![1; 3],
        };
        let element = f32::NAN.to_le_bytes().to_vec();
        let fill = Fill::Values(Values::Repeated(element));
        draft.step(Event { out, fill }).unwrap();
    }
}
