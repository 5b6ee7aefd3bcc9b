//! A plan of a model of `tch_init::nn`.

use super::run::kind;
use super::step::{Op, Scalar, Step};
use super::view::{View, row_major};
use super::{DTYPES, Entry, InitPlan, Name, PlanError, check, hexadecimal, limit};
use crate::error::InitError;
use crate::ffi::{Fact, fact};
use crate::init::recording::{Event, Fill, Place, Recording, Values};
use crate::interval_set::Spans;
use crate::nn::registry::identity;
use crate::tensor::Dtype;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tch::nn::VarStore;
use torch_rng::{Normal, Orthogonal, Sparse, TruncNormal, Uniform};

impl InitPlan {
    /// Constructs a model without drawing, and records what it would have drawn: its constructors,
    /// [`apply`](crate::apply) and whatever else fills the variables of `vs` by the functions of
    /// [`init`](crate::init). `model` is text for people.
    ///
    /// The model has no values then: its memory is not even touched.
    /// [`materialize_into`](Self::materialize_into) gives it those of any seed, and draws only
    /// what lives to the end. The default stream is not moved.
    ///
    /// The plan's parameters are the trainable variables in the order of their creation, its
    /// buffers all others by name.
    ///
    /// # Errors
    ///
    /// [`PlanError::Init`] if the constructor draws otherwise, from another generator than the
    /// default one, or reads or writes values of what it has just made: nothing is guessed.
    /// [`PlanError::Record`] for a variable that no plan has place for, such as one of more than
    /// 65,536 bytes of given values. What is done on other threads is not seen.
    ///
    /// ```
    /// use tch_init::plan::InitPlan;
    /// use tch_init::{Generator, nn};
    ///
    /// let mut vs = nn::VarStore::new(tch::Device::Cpu);
    /// let (net, plan) = InitPlan::record("mlp", &vs, || {
    ///     let net = nn::seq()
    ///         .add(nn::linear(vs.root() / "fc1", 784, 128, Default::default()))
    ///         .add(nn::linear(vs.root() / "fc2", 128, 10, Default::default()));
    ///     tch_init::apply(&vs, tch_init::recipe::xavier_normal).map(|()| net)
    /// })?;
    /// let net = net?;
    ///
    /// let mut generator = Generator::new(tch::Device::Cpu)?;
    /// generator.manual_seed(1)?;
    /// plan.materialize_into(&mut vs, &mut generator, str::to_owned)?;
    /// assert_eq!(plan.to_string().matches("dead").count(), 5);
    /// # drop(net);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record<T>(
        model: &str,
        vs: &VarStore,
        construct: impl FnOnce() -> T,
    ) -> Result<(T, InitPlan), PlanError> {
        let recording = Recording::begin()?;
        let made = construct();
        let trainable = vs.trainable_variables();
        let trainable: BTreeSet<usize> = trainable.iter().map(identity).collect();
        let mut variables = Vec::new();
        for (name, tensor) in crate::visit::variables_in_order(vs) {
            let is_parameter = trainable.contains(&identity(&tensor));
            let place = recording.place(&tensor);
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
        let plan = Draft::new(pytorch, model).plan(&events, &variables)?;
        // Without what draws nothing and reaches no name.
        let live = plan.live(plan.names.iter().map(|name| name.view));
        let mut kept = Vec::new();
        for (i, event) in events.into_iter().enumerate() {
            if !live[i] && !plan.steps[i].op.is_draw() {
                continue;
            }
            if let Fill::Values(Values::Many(bytes)) = event.fill {
                return Err(PlanError::Record {
                    name: plan.needed_by(i).unwrap_or_default(),
                    problem: format!(
                        "{bytes} bytes of values that were given, a plan has place for {}",
                        limit::CONST
                    ),
                });
            }
            kept.push(event);
        }
        let mut plan = Draft::new(pytorch, model).plan(&kept, &variables)?;
        plan.sha256 = hexadecimal(&Sha256::digest(plan.to_json().as_bytes()));
        Ok((made, plan))
    }
}

/// A variable of the model.
struct Variable {
    name: String,
    place: Place,
    is_parameter: bool,
    requires_grad: bool,
}

/// What makes a view: storage, dtype, offset, shape, stride.
type Key = (usize, &'static str, u64, Vec<u64>, Vec<u64>);

/// A plan whose rows are numbered by their first use.
struct Draft {
    /// By the recording's number of each storage.
    storages: BTreeMap<usize, usize>,
    views: BTreeMap<Key, usize>,
    plan: InitPlan,
}

impl Draft {
    fn new(pytorch: &str, model: &str) -> Draft {
        Draft {
            storages: BTreeMap::new(),
            views: BTreeMap::new(),
            plan: InitPlan {
                pytorch: pytorch.to_owned(),
                model: model.to_owned(),
                storages: Vec::new(),
                views: Vec::new(),
                steps: Vec::new(),
                names: Vec::new(),
                sha256: String::new(),
            },
        }
    }

    /// What the limits of the format refuse is found by reading the plan.
    fn plan(mut self, events: &[Event], variables: &[Variable]) -> Result<InitPlan, PlanError> {
        for event in events {
            self.step(event)?;
        }
        let written = self.written();
        for section in [true, false] {
            for variable in variables.iter().filter(|v| v.is_parameter == section) {
                let problem = |problem| PlanError::Record {
                    name: variable.name.clone(),
                    problem,
                };
                let index = self.view(&variable.place).map_err(problem)?;
                let view = &self.plan.views[index];
                let covered = written.get(view.storage);
                let covered = covered.is_some_and(|written| written.cover(&view.bytes()));
                let entry = Entry {
                    dtype: view.dtype,
                    shape: view.shape.clone(),
                    is_parameter: section,
                    requires_grad: section && variable.requires_grad,
                    persistent: true,
                    unset: !covered && view.numel() > 0,
                };
                self.plan.names.push(Name {
                    name: variable.name.clone(),
                    view: index,
                    entry,
                });
            }
        }
        Ok(self.plan)
    }

    fn step(&mut self, event: &Event) -> Result<(), PlanError> {
        let number = self.plan.steps.len();
        let place = |problem| PlanError::invalid(format_args!("step {number}"), problem);
        // Arguments before `out`: numbered as they are read.
        let from = match &event.fill {
            Fill::Copy(from) => Some(self.view(from).map_err(place)?),
            _ => None,
        };
        let out = self.view(&event.out).map_err(place)?;
        let dtype = self.plan.views[out].dtype;
        let op = match &event.fill {
            &Fill::Uniform { from, to } => Op::Draw(Uniform { from, to }.into()),
            &Fill::Normal { mean, std } => Op::Draw(Normal { mean, std }.into()),
            &Fill::TruncNormal { mean, std, a, b } => {
                Op::Draw(TruncNormal { mean, std, a, b }.into())
            }
            &Fill::Orthogonal { gain } => Op::Draw(Orthogonal { gain }.into()),
            &Fill::Sparse { sparsity, std } => Op::Draw(Sparse { sparsity, std }.into()),
            &Fill::Dirac { groups } => Op::Dirac { groups },
            Fill::Eye => Op::Eye,
            Fill::Copy(_) => Op::Copy(from.unwrap_or(out)),
            Fill::Constant(value) => Op::Fill(number_of(dtype, *value)),
            Fill::Values(Values::Each(bytes)) => Op::Const(bytes.clone().into()),
            Fill::Values(Values::All(element)) => match exact(dtype, element) {
                Some(value) => Op::Fill(value),
                None => Op::Const(element.repeat(self.plan.views[out].numel() as usize).into()),
            },
            // Refused later, if it is needed.
            Fill::Values(Values::Many(_)) => Op::Fill(Scalar::Int(0)),
        };
        let step = Step { op, out };
        check::check(&step, &self.plan.views).map_err(|problem| {
            let op = super::error::Shown(step.op.name());
            PlanError::invalid(format_args!("step {number} ({op})"), problem)
        })?;
        self.plan.steps.push(step);
        Ok(())
    }

    fn view(&mut self, place: &Place) -> Result<usize, String> {
        let dtype = DTYPES.into_iter().find(|dtype| kind(*dtype) == place.kind);
        let dtype = dtype.ok_or_else(|| format!("it is {:?}", place.kind))?;
        let sizes = |sizes: &[i64]| sizes.iter().map(|size| size.unsigned_abs()).collect();
        let (shape, stride): (Vec<u64>, Vec<u64>) = (sizes(&place.shape), sizes(&place.stride));
        let known = self.storages.get(&place.storage).copied();
        let storage = known.unwrap_or(self.storages.len());
        // Without elements it lies nowhere.
        let offset = match shape.contains(&0) {
            true => 0,
            false => place.offset.unsigned_abs(),
        };
        let new = |stride| View::new(storage, dtype, offset, shape.clone(), stride, place.bytes);
        let mut view = new(stride)?;
        if view.is_contiguous() {
            view = new(row_major(&shape))?;
        }
        if known.is_none() {
            self.storages.insert(place.storage, storage);
            self.plan.storages.push(place.bytes);
        }
        let View { stride, .. } = &view;
        let key = (storage, dtype.name(), offset, shape.clone(), stride.clone());
        Ok(*self.views.entry(key).or_insert_with(|| {
            self.plan.views.push(view);
            self.plan.views.len() - 1
        }))
    }

    /// What the steps write of each storage.
    fn written(&self) -> Vec<Spans> {
        let mut written = vec![Spans::default(); self.plan.storages.len()];
        for step in &self.plan.steps {
            let out = step.target(&self.plan.views);
            if out.is_dense() {
                written[out.storage].add(out.bytes());
            }
        }
        written
    }
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
