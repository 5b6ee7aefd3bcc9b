//! The losses of a program, as far as its trace has their values.

use op_trace::{Operation, Phase, SharedStr, TensorValue, Value, ValueHash};
use std::collections::HashMap;

/// What backward passes begin with; of a program without any, its last scalar.
#[derive(Default)]
pub struct Losses {
    /// The scalars that the program computed. A value is only where it is met first.
    values: HashMap<(SharedStr, ValueHash), f64>,
    found: Vec<Loss>,
    last: Option<Loss>,
    last_seeded: Option<Loss>,
    in_backward: bool,
}

/// A loss of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    pub step: u32,
    pub value: f64,
}

impl Losses {
    /// The next operation.
    pub fn add(&mut self, operation: &Operation) {
        // A backward pass begins with the gradient of the loss, which is 1, of its shape.
        let seeded = self.seeded(operation);
        let is_backward = operation.phase == Phase::Backward;
        if is_backward && !self.in_backward {
            self.found.extend(seeded.or(self.last_seeded).or(self.last));
        }
        self.in_backward = is_backward;
        self.last_seeded = seeded;
        if operation.phase != Phase::Forward || operation.name.as_str() == "aten::ones_like" {
            return;
        }
        for (_, tensor) in operation.results.iter().flat_map(Value::tensors) {
            let (Some(key), Some(value)) = (scalar(tensor), tensor.all) else {
                continue;
            };
            self.values.insert(key, value);
            self.last = Some(Loss {
                step: operation.step,
                value,
            });
        }
    }

    /// The scalar whose gradient an operation begins.
    fn seeded(&self, operation: &Operation) -> Option<Loss> {
        match operation.argument("self") {
            Some(Value::Tensor(tensor)) if operation.name.as_str() == "aten::ones_like" => {
                let value = *self.values.get(&scalar(tensor)?)?;
                Some(Loss {
                    step: operation.step,
                    value,
                })
            }
            _ => None,
        }
    }

    /// The last loss of both programs, if both have as many until there.
    pub fn last_of(a: &Losses, b: &Losses) -> Option<(Loss, Loss)> {
        match a.found.len().min(b.found.len()) {
            0 if a.found.len() == b.found.len() => a.last.zip(b.last),
            0 => None,
            count => Some((a.found[count - 1], b.found[count - 1])),
        }
    }
}

/// The value of a tensor of one float.
fn scalar(tensor: &TensorValue) -> Option<(SharedStr, ValueHash)> {
    let is_scalar = tensor.elements() == 1 && tensor.dtype.as_str().contains("float");
    Some((tensor.dtype.clone(), tensor.hash.filter(|_| is_scalar)?))
}
