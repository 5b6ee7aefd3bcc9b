//! Evaluates the calls in a pickle of tensors as the Python functions of `torch/_utils.py` and
//! `torch/serialization.py`, PyTorch 2.13, would.

use super::global::Global;
use super::value::{Heap, Id, Storage, Tensor, Value};
use crate::Dtype;
use crate::file::error::Problem;

/// Evaluates `function(*arguments)`.
pub(super) fn reduce<'a>(heap: &mut Heap<'a>, function: Id, arguments: Id) -> Result<Id, Problem> {
    let Value::Global(function) = *heap.get(function) else {
        return Err(Problem::damaged("a call of a value that is not a function"));
    };
    let Value::Tuple(items) = heap.get(arguments) else {
        return Err(Problem::damaged("a call whose arguments are not a tuple"));
    };
    let value = match (function, items.as_slice()) {
        (Global::OrderedDict, []) => Value::Dict(Vec::new()),
        (Global::FirstArgument, [first, ..]) => return Ok(*first),
        // An empty set, Size or Counter.
        (Global::FirstArgument, []) => return Ok(Heap::EMPTY),
        (Global::Opaque, _) => return Ok(Heap::OPAQUE),
        // A TorchScript enumeration.
        (Global::ScriptClass, _) => Value::Object(None),
        (Global::RebuildTensor, &[storage, offset, size, stride]) => {
            tensor([storage, offset, size, stride], None)
        }
        (
            Global::RebuildTensorV2,
            &[storage, offset, size, stride, _grad, _hooks, ref rest @ ..],
        ) => {
            no_lazy_bits(heap, rest.first())?;
            tensor([storage, offset, size, stride], None)
        }
        (
            Global::RebuildTensorV3,
            &[
                storage,
                offset,
                size,
                stride,
                _grad,
                _hooks,
                dtype,
                ref rest @ ..,
            ],
        ) => {
            no_lazy_bits(heap, rest.first())?;
            let Value::Global(Global::Dtype(dtype)) = *heap.get(dtype) else {
                return Err(Problem::damaged(
                    "a tensor whose dtype argument is not a dtype",
                ));
            };
            tensor([storage, offset, size, stride], Some(dtype))
        }
        (Global::RebuildFromType, &[inner, class, arguments, ..]) => {
            if !matches!(heap.get(class), Value::Global(Global::TensorClass)) {
                return Err(Problem::damaged(
                    "a tensor of a class that is not a tensor class",
                ));
            }
            let plain = matches!(
                heap.get(inner),
                Value::Global(
                    Global::RebuildTensor | Global::RebuildTensorV2 | Global::RebuildTensorV3
                )
            );
            // One level only: PyTorch never nests these calls, and nesting would recurse here.
            return match plain {
                true => reduce(heap, inner, arguments),
                false => Err(Problem::damaged(
                    "a tensor rebuilt by an unexpected function",
                )),
            };
        }
        _ => {
            return Err(Problem::damaged(
                "a call with arguments that PyTorch never writes",
            ));
        }
    };
    heap.push(value)
}

/// The tensor of `_rebuild_tensor(storage, offset, size, stride)`.
fn tensor<'a>([storage, offset, size, stride]: [Id; 4], dtype: Option<Dtype>) -> Value<'a> {
    Value::Tensor(Box::new(Tensor {
        storage,
        dtype,
        offset,
        size,
        stride,
    }))
}

/// Refuses the bits that PyTorch sets instead of conjugating or negating the elements.
fn no_lazy_bits(heap: &Heap<'_>, metadata: Option<&Id>) -> Result<(), Problem> {
    let Some(Value::Dict(items)) = metadata.map(|id| heap.get(*id)) else {
        return Ok(());
    };
    let is_lazy = items.iter().any(|(key, value)| {
        matches!(heap.get(*key), Value::Str("conj" | "neg"))
            && !matches!(heap.get(*value), Value::Bool(false))
    });
    match is_lazy {
        false => Ok(()),
        true => Err(Problem::unsupported(
            "a lazily conjugated or negated tensor",
            "save x.resolve_conj().resolve_neg()",
        )),
    }
}

/// Parses the persistent id of a storage: `("storage", class, key, location, numel)`.
pub(super) fn storage<'a>(heap: &Heap<'a>, id: Id) -> Result<Storage<'a>, Problem> {
    let items = match heap.get(id) {
        Value::Tuple(items) => items.as_slice(),
        _ => &[],
    };
    let values: Vec<_> = items.iter().take(6).map(|item| heap.get(*item)).collect();
    let (dtype, key, numel) = match values[..] {
        [
            Value::Str("storage"),
            Value::Global(class),
            Value::Str(key),
            _,
            Value::Int(numel),
        ] => {
            let dtype = match class {
                Global::Storage(dtype) => Some(Some(*dtype)),
                Global::UntypedStorage => Some(None),
                _ => None,
            };
            (dtype, *key, u64::try_from(*numel).ok())
        }
        _ => (None, "", None),
    };
    match (dtype, numel) {
        (Some(dtype), Some(numel)) => Ok(Storage { key, dtype, numel }),
        _ => Err(Problem::damaged(
            "a persistent id that is not a PyTorch storage",
        )),
    }
}
