//! Plans built in code.

use crate::data_file::NewData;
use crate::error::PlanError;
use crate::interval_set::IntervalSet;
use crate::limits;
use crate::plan::{Entry, InitPlan, Name};
use crate::scalar::Scalar;
use crate::step::{Op, Step};
use crate::stored_dtype::stored;
use crate::validate::validate;
use crate::view::{View, product, row_major};
use std::collections::BTreeMap;
use tensor_parity::Dtype;
use torch_rng::{Draw, Semantics};

/// Builds an [`InitPlan`]: tensors, what happens to them in order, and which of them have names.
///
/// Steps that draw nothing and that no named tensor depends on are left out of the plan. Draws stay,
/// since they move the generator.
///
/// ```
/// use init_plan::{PlanBuilder, Scalar};
/// use torch_rng::Uniform;
/// use tensor_parity::Dtype;
///
/// let mut plan = PlanBuilder::new();
/// let weight = plan.parameter("weight", Dtype::Float32, &[3, 2])?;
/// let bias = plan.parameter("bias", Dtype::Float32, &[3])?;
/// plan.draw(weight, Uniform { from: -0.5, to: 0.5 })?;
/// plan.fill(bias, Scalar::Float(0.0))?;
/// let plan = plan.finish("a linear layer")?;
/// assert!(plan.to_json().contains(r#"["uniform_",0,-0.5,0.5]"#));
/// # Ok::<(), init_plan::PlanError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PlanBuilder {
    pytorch: String,
    semantics: Semantics,
    /// Bytes of each.
    storages: Vec<u64>,
    tensors: Vec<View>,
    steps: Vec<Step>,
    names: Vec<Named>,
    /// Steps that stand for what a plan cannot express, and why it cannot.
    refused: BTreeMap<usize, String>,
}

/// A tensor of a [`PlanBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorId(usize);

/// The memory of one or several tensors of a [`PlanBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageId(usize);

#[derive(Debug, Clone)]
struct Named {
    name: String,
    tensor: usize,
    is_parameter: bool,
    requires_grad: bool,
    persistent: bool,
}

impl Default for PlanBuilder {
    fn default() -> PlanBuilder {
        PlanBuilder::new()
    }
}

impl PlanBuilder {
    /// A plan without tensors, of PyTorch 2.13.0 and with the newest semantics.
    pub fn new() -> PlanBuilder {
        PlanBuilder {
            pytorch: "2.13.0".to_owned(),
            semantics: Semantics::NEWEST,
            storages: Vec::new(),
            tensors: Vec::new(),
            steps: Vec::new(),
            names: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Sets the version of PyTorch that the plan names.
    #[must_use]
    pub fn pytorch(mut self, version: impl Into<String>) -> PlanBuilder {
        self.pytorch = version.into();
        self
    }

    /// Sets the versions of PyTorch whose bits the draws have.
    ///
    /// ```
    /// use init_plan::PlanBuilder;
    /// use tensor_parity::Dtype;
    /// use torch_rng::{Mt19937, Semantics, Uniform};
    ///
    /// let mut plan = PlanBuilder::new().semantics(Semantics::PyTorch2_11);
    /// let weight = plan.parameter("weight", Dtype::Bfloat16, &[1])?;
    /// plan.draw(weight, Uniform { from: 0.0, to: 1.0 })?;
    /// let plan = plan.finish("a draw of bf16")?;
    /// let (_, weight) = &plan.materialize(&mut Mt19937::new(1))?[0];
    /// // python 2.11: torch.manual_seed(1); torch.rand(1, dtype=torch.bfloat16).item()
    /// let expected = half::bf16::from_f32(0.14453125);
    /// assert_eq!(*weight.to_bytes(), expected.to_le_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn semantics(mut self, semantics: Semantics) -> PlanBuilder {
        self.semantics = semantics;
        self
    }

    /// Adds memory of this many bytes.
    pub fn storage(&mut self, bytes: u64) -> StorageId {
        self.storages.push(bytes);
        StorageId(self.storages.len() - 1)
    }

    /// Adds a tensor on existing memory. The offset and the strides are in elements of `dtype`.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] unless it lies within the storage.
    pub fn view(
        &mut self,
        storage: StorageId,
        dtype: Dtype,
        offset: u64,
        shape: &[u64],
        stride: &[u64],
    ) -> Result<TensorId, PlanError> {
        let bytes = self.storages.get(storage.0).copied();
        let bytes = bytes.ok_or_else(|| foreign("storage"))?;
        let offset = match shape.contains(&0) {
            true => 0,
            false => offset,
        };
        let new = |stride| View::new(storage.0, dtype, offset, shape.to_vec(), stride, bytes);
        let view = new(stride.to_vec()).and_then(|view| match view.is_contiguous() {
            true => new(row_major(shape)),
            false => Ok(view),
        });
        let view = view.map_err(|problem| PlanError::build("tensor", problem))?;
        self.tensors.push(view);
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// Adds a contiguous tensor in its own memory, without a name.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] if it is too large to count its bytes.
    pub fn tensor(&mut self, dtype: Dtype, shape: &[u64]) -> Result<TensorId, PlanError> {
        let bytes = product(shape).and_then(|numel| numel.checked_mul(dtype.size() as u64));
        let bytes = bytes
            .filter(|bytes| *bytes <= limits::SIZE)
            .ok_or_else(|| {
                let limit = limits::SIZE;
                let problem = format!("expected at most {limit} bytes, found shape {shape:?}");
                PlanError::build("tensor", problem)
            })?;
        let storage = self.storage(bytes);
        self.view(storage, dtype, 0, shape, &row_major(shape))
    }

    /// Adds a contiguous tensor in its own memory as a trained parameter.
    ///
    /// # Errors
    ///
    /// As [`tensor`](Self::tensor).
    pub fn parameter(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[u64],
    ) -> Result<TensorId, PlanError> {
        let tensor = self.tensor(dtype, shape)?;
        self.name_parameter(name, tensor, true);
        Ok(tensor)
    }

    /// Adds a contiguous tensor in its own memory as a buffer that the `state_dict` has.
    ///
    /// # Errors
    ///
    /// As [`tensor`](Self::tensor).
    pub fn buffer(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[u64],
    ) -> Result<TensorId, PlanError> {
        let tensor = self.tensor(dtype, shape)?;
        self.name_buffer(name, tensor, true);
        Ok(tensor)
    }

    /// Names a tensor as a parameter. Tied weights are several names of one tensor.
    pub fn name_parameter(
        &mut self,
        name: impl Into<String>,
        tensor: TensorId,
        requires_grad: bool,
    ) {
        self.names.push(Named {
            name: name.into(),
            tensor: tensor.0,
            is_parameter: true,
            requires_grad,
            persistent: true,
        });
    }

    /// Names a tensor as a buffer; only a `persistent` one is in the `state_dict`.
    pub fn name_buffer(&mut self, name: impl Into<String>, tensor: TensorId, persistent: bool) {
        self.names.push(Named {
            name: name.into(),
            tensor: tensor.0,
            is_parameter: false,
            requires_grad: false,
            persistent,
        });
    }

    /// Draws into a tensor.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] for arguments, a dtype or a shape that PyTorch rejects.
    pub fn draw(&mut self, out: TensorId, draw: impl Into<Draw>) -> Result<(), PlanError> {
        self.step(Op::Draw(draw.into()), out)
    }

    /// Fills a tensor with one value.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] for a tensor that overlaps itself.
    pub fn fill(&mut self, out: TensorId, value: Scalar) -> Result<(), PlanError> {
        self.step(Op::Fill(value), out)
    }

    /// Fills one row of a tensor, an index of its first dimension, with one value.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] if the tensor lacks the row.
    pub fn fill_row(&mut self, out: TensorId, row: u64, value: Scalar) -> Result<(), PlanError> {
        let View {
            storage,
            dtype,
            offset,
            ref shape,
            ref stride,
            ..
        } = *self.known(out)?;
        let (size, step) = (shape.first().copied(), stride.first().copied());
        let (Some(_), Some(step)) = (size.filter(|size| row < *size), step) else {
            let problem = format!("expected a row of shape {shape:?}, found {row}");
            return Err(PlanError::build("fill_", problem));
        };
        let (shape, stride) = (shape[1..].to_vec(), stride[1..].to_vec());
        // Overflows only if the tensor has no elements, whose offset is ignored.
        let offset = offset.saturating_add(row.saturating_mul(step));
        let row = self.view(StorageId(storage), dtype, offset, &shape, &stride)?;
        self.fill(row, value)
    }

    /// Copies a tensor to another one of its shape, and casts it to that one's dtype.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] for different shapes.
    pub fn copy(&mut self, from: TensorId, to: TensorId) -> Result<(), PlanError> {
        self.known(from)?;
        self.step(Op::Copy(from.0), to)
    }

    /// Writes given elements: little-endian, in row-major order, to a contiguous tensor. More than
    /// 65,536 bytes lie in a file beside the plan, which [`InitPlan::write`] writes.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] for another number of bytes than the tensor has.
    pub fn constant(
        &mut self,
        out: TensorId,
        bytes: impl Into<Box<[u8]>>,
    ) -> Result<(), PlanError> {
        let (bytes, mut out) = (bytes.into(), out);
        let view = self.known(out)?;
        if bytes.len() > limits::CONST
            && stored(view.dtype).is_none()
            && let Some(parts) = view.as_real()
        {
            self.tensors.push(parts);
            out = TensorId(self.tensors.len() - 1);
        }
        self.step(Op::Const(bytes), out)
    }

    /// Writes the identity to a matrix.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] unless the tensor has 2 dimensions.
    pub fn eye(&mut self, out: TensorId) -> Result<(), PlanError> {
        self.step(Op::Eye, out)
    }

    /// Writes the Dirac delta to a convolution's weight, as `torch.nn.init.dirac_` does.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] unless the tensor has 3 to 5 dimensions and the groups divide the
    /// first.
    pub fn dirac(&mut self, out: TensorId, groups: i64) -> Result<(), PlanError> {
        self.step(Op::Dirac { groups }, out)
    }

    /// Notes that a tensor is written in a way that a plan cannot express, and why:
    /// [`finish`](Self::finish) fails if a named tensor depends on it.
    ///
    /// # Errors
    ///
    /// As [`fill`](Self::fill).
    pub fn refuse(&mut self, out: TensorId, problem: impl Into<String>) -> Result<(), PlanError> {
        let step = self.steps.len();
        self.fill(out, Scalar::Int(0))?;
        self.refused.insert(step, problem.into());
        Ok(())
    }

    fn known(&self, tensor: TensorId) -> Result<&View, PlanError> {
        self.tensors.get(tensor.0).ok_or_else(|| foreign("tensor"))
    }

    fn step(&mut self, op: Op, out: TensorId) -> Result<(), PlanError> {
        self.known(out)?;
        let step = Step::new(op, out.0);
        validate(&step.op, out.0, &self.tensors).map_err(|problem| {
            let op = crate::error::Shown(step.op.name());
            let place = format!("step {} ({op})", self.steps.len());
            PlanError::build(place, problem)
        })?;
        self.steps.push(step);
        Ok(())
    }

    /// The plan, checked like one read from a file; `model` describes the model for human readers.
    ///
    /// # Errors
    ///
    /// [`PlanError::Build`] for names that are empty, too long or duplicates, and for more rows
    /// than the format has; [`PlanError::Record`] if a named tensor depends on what was
    /// [refused](Self::refuse).
    pub fn finish(self, model: &str) -> Result<InitPlan, PlanError> {
        for named in &self.names {
            self.known(TensorId(named.tensor))?;
        }
        let all: Vec<usize> = (0..self.steps.len()).collect();
        let plan = self.numbered(&all, model);
        let live = plan.live(plan.names.iter().map(|name| name.view));
        let mut needed = Vec::new();
        for step in all {
            if live[step] {
                if let Some(problem) = self.refused.get(&step) {
                    return Err(PlanError::Record {
                        name: plan.needed_by(step).unwrap_or_default(),
                        problem: problem.clone(),
                    });
                }
                needed.push(step);
            } else if self.steps[step].op.is_draw() {
                needed.push(step);
            }
        }
        let mut data = NewData::default();
        let mut plan = self.numbered(&needed, model);
        for (step, numbered) in needed.iter().zip(&mut plan.steps) {
            let Step { op, outs } = &self.steps[*step];
            if let (Op::Const(bytes), [out]) = (op, &**outs)
                && bytes.len() > limits::CONST
            {
                let name = data.add(&self.tensors[*out], bytes);
                numbered.op = Op::Data(name.into());
            }
        }
        plan.data = data.file();
        let read = InitPlan::from_json(plan.to_json().as_bytes()).map_err(|error| match error {
            PlanError::Invalid { place, problem } => PlanError::Build { place, problem },
            other => other,
        })?;
        Ok(InitPlan {
            data: plan.data,
            ..read
        })
    }

    /// The plan of some of the steps, with storages and views in the order of their first use.
    fn numbered(&self, steps: &[usize], model: &str) -> InitPlan {
        let mut rows = Rows::default();
        let mut numbered = Vec::with_capacity(steps.len());
        for step in steps {
            let Step { op, outs } = &self.steps[*step];
            let op = op.map_views(|tensor| rows.view(self, tensor));
            let outs = outs.iter().map(|out| rows.view(self, *out)).collect();
            numbered.push(Step { op, outs });
        }
        let mut written = vec![IntervalSet::default(); self.storages.len()];
        for step in steps {
            for out in self.steps[*step]
                .targets(&self.tensors)
                .filter(|out| out.is_dense())
            {
                written[out.storage].add(out.bytes());
            }
        }
        let mut names = Vec::with_capacity(self.names.len());
        for section in [true, false] {
            for named in self
                .names
                .iter()
                .filter(|named| named.is_parameter == section)
            {
                let tensor = &self.tensors[named.tensor];
                let covered = written[tensor.storage].contains(&tensor.bytes());
                let entry = Entry {
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                    is_parameter: section,
                    requires_grad: named.requires_grad,
                    persistent: named.persistent,
                    unset: !covered && tensor.numel() > 0,
                };
                names.push(Name {
                    name: named.name.clone(),
                    view: rows.view(self, named.tensor),
                    entry,
                });
            }
        }
        InitPlan {
            pytorch: self.pytorch.clone(),
            semantics: self.semantics,
            model: model.to_owned(),
            data: None,
            storages: rows.storages,
            views: rows.views,
            steps: numbered,
            names,
            sha256: String::new(),
        }
    }
}

/// An identifier that another builder made.
fn foreign(what: &str) -> PlanError {
    PlanError::build(what, format!("expected a {what} of this builder"))
}

/// What makes a view: storage, dtype, offset, shape, stride.
type Key = (usize, &'static str, u64, Vec<u64>, Vec<u64>);

/// The storages and views of a plan, numbered by their first use.
#[derive(Default)]
struct Rows {
    /// Bytes of each.
    storages: Vec<u64>,
    views: Vec<View>,
    /// By the builder's number of each storage.
    storage_numbers: BTreeMap<usize, usize>,
    view_numbers: BTreeMap<Key, usize>,
}

impl Rows {
    fn view(&mut self, builder: &PlanBuilder, tensor: usize) -> usize {
        let mut view = builder.tensors[tensor].clone();
        let bytes = builder.storages[view.storage];
        let next = self.storages.len();
        let storage = *self.storage_numbers.entry(view.storage).or_insert(next);
        if storage == next {
            self.storages.push(bytes);
        }
        view.storage = storage;
        let View {
            dtype,
            offset,
            shape,
            stride,
            ..
        } = &view;
        let key = (
            storage,
            dtype.name(),
            *offset,
            shape.clone(),
            stride.clone(),
        );
        *self.view_numbers.entry(key).or_insert_with(|| {
            self.views.push(view);
            self.views.len() - 1
        })
    }
}
