//! Evaluates the calls in a pickle of tensors as the Python functions of `torch/_utils.py` and
//! `torch/serialization.py`, PyTorch 2.13, would. A call of any other function becomes a placeholder.

use super::global::{Element, Global, Rebuild};
use super::value::{Heap, Id, Numpy, Object, Storage, Tensor, Unreadable, Value};
use crate::file::error::Problem;
use std::borrow::Cow;

/// Evaluates `function(*arguments)`.
pub(super) fn reduce<'a>(heap: &mut Heap<'a>, function: Id, arguments: Id) -> Result<Id, Problem> {
    let Value::Global(global) = *heap.get(function) else {
        return object(heap, function, arguments);
    };
    let items = match heap.get(arguments) {
        Value::Tuple(items) => items.as_slice(),
        _ => &[],
    };
    match (global, items) {
        (Global::Dictionary, []) => heap.push(Value::Dict(Vec::new())),
        (Global::FirstArgument | Global::TensorClass, [first, ..]) => Ok(*first),
        // An empty set, Size or Counter.
        (Global::FirstArgument, []) => Ok(Heap::EMPTY),
        (Global::Device, _) => heap.push(Value::Device(arguments)),
        (Global::Bytes, []) => heap.push(Value::Bytes(&[])),
        (Global::Bytes, &[first, ..]) => match heap.get(first) {
            Value::Str(_) if is_latin1(heap, items) => heap.push(Value::Latin1(first)),
            Value::Bytes(_) | Value::Latin1(_) => Ok(first),
            _ => Ok(Heap::BYTES),
        },
        (Global::Numpy(kind), _) => heap.push(Value::Numpy(Box::new(Numpy {
            kind,
            arguments,
            state: Heap::NONE,
        }))),
        (Global::Opaque(what), _) => heap.push(Value::Opaque(what)),
        (Global::Instance, &[class, ref rest @ ..]) => {
            // The state of a base class, such as the items of a dict.
            let state = rest.get(1).copied().unwrap_or(Heap::NONE);
            let instance = object(heap, class, Heap::EMPTY)?;
            if let Value::Object(object) = heap.get_mut(instance) {
                object.state = state;
            }
            Ok(instance)
        }
        (Global::RebuildFromType, &[inner, _class, arguments, ref rest @ ..]) => {
            // One level only: PyTorch never nests these calls, and nesting would recurse here.
            if matches!(
                heap.get(inner),
                Value::Global(Global::RebuildFromType | Global::RebuildFromCpu)
            ) {
                return object(heap, function, arguments);
            }
            let state = rest.first().copied().unwrap_or(Heap::NONE);
            let tensor = reduce(heap, inner, arguments)?;
            match heap.get_mut(tensor) {
                Value::Unreadable(unreadable) => unreadable.state = state,
                Value::Object(object) => object.state = state,
                _ => {}
            }
            Ok(tensor)
        }
        (Global::RebuildFromCpu, &[data, dtype, ..]) => {
            let from = match heap.get(data) {
                Value::Tensor(tensor) => tensor.dtype(heap),
                _ => None,
            };
            match heap.get(dtype) {
                Value::Global(Global::Dtype(Element::Known(to))) if from == Some(*to) => Ok(data),
                _ => unreadable(
                    heap,
                    "a tensor that PyTorch converts to another dtype as it loads it",
                    "save x.cpu()",
                    dtype,
                ),
            }
        }
        (Global::Rebuild(kind), _) => {
            let first = items.first().copied().unwrap_or(Heap::NONE);
            let (reason, advice) = match kind {
                Rebuild::Sparse => ("a sparse tensor", "save x.to_dense()"),
                Rebuild::Quantized => ("a quantized tensor", "save x.dequantize() or x.int_repr()"),
                Rebuild::Meta => (
                    "a tensor on the meta device, which has no elements",
                    "materialize it first",
                ),
                Rebuild::Nested => (
                    "a nested tensor",
                    "save x.to_padded_tensor(0) or x.unbind()",
                ),
                Rebuild::Wrapper => (
                    "a tensor subclass that wraps other tensors",
                    "save its plain tensors",
                ),
                Rebuild::Other => (
                    "a tensor that is not a plain dense one",
                    "save x.to_dense()",
                ),
            };
            unreadable(heap, reason, advice, first)
        }
        (Global::RebuildTensor, &[storage, offset, size, stride]) => {
            tensor(heap, [storage, offset, size, stride], None)
        }
        (
            Global::RebuildTensorV2,
            &[storage, offset, size, stride, _grad, _hooks, ref rest @ ..],
        ) => {
            let metadata = rest.first().copied();
            match is_lazy(heap, metadata) {
                true => lazy(heap),
                false => tensor(heap, [storage, offset, size, stride], None),
            }
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
        ) => match *heap.get(dtype) {
            _ if is_lazy(heap, rest.first().copied()) => lazy(heap),
            Value::Global(Global::Dtype(element)) => {
                tensor(heap, [storage, offset, size, stride], Some(element))
            }
            _ => unreadable(
                heap,
                "a tensor of a dtype that is not one of PyTorch 2.13",
                "convert it to another dtype",
                dtype,
            ),
        },
        // The reader finds that its storage is missing.
        (Global::RebuildTensor | Global::RebuildTensorV2 | Global::RebuildTensorV3, _) => {
            tensor(heap, [Heap::NONE; 4], None)
        }
        _ => object(heap, function, arguments),
    }
}

/// Whether the second argument of `_codecs.encode` or `bytearray` is the encoding that pickles use.
fn is_latin1(heap: &Heap<'_>, arguments: &[Id]) -> bool {
    let encoding = arguments.get(1).map(|id| heap.get(*id));
    matches!(encoding, Some(Value::Str(name)) if ["latin1", "latin-1"].contains(&&**name))
}

/// A placeholder for `function(*arguments)`.
pub(super) fn object(heap: &mut Heap<'_>, class: Id, arguments: Id) -> Result<Id, Problem> {
    heap.push(Value::Object(Box::new(Object {
        class,
        arguments,
        state: Heap::NONE,
        items: Vec::new(),
    })))
}

fn unreadable(
    heap: &mut Heap<'_>,
    reason: &'static str,
    advice: &'static str,
    detail: Id,
) -> Result<Id, Problem> {
    heap.push(Value::Unreadable(Box::new(Unreadable {
        reason,
        advice,
        detail,
        state: Heap::NONE,
    })))
}

/// The tensor of `_rebuild_tensor(storage, offset, size, stride)`.
fn tensor(
    heap: &mut Heap<'_>,
    [storage, offset, size, stride]: [Id; 4],
    element: Option<Element>,
) -> Result<Id, Problem> {
    heap.push(Value::Tensor(Box::new(Tensor {
        storage,
        element,
        offset,
        size,
        stride,
    })))
}

fn lazy(heap: &mut Heap<'_>) -> Result<Id, Problem> {
    unreadable(
        heap,
        "a lazily conjugated or negated tensor",
        "save x.resolve_conj().resolve_neg()",
        Heap::NONE,
    )
}

/// Whether the bits are set that PyTorch sets instead of conjugating or negating the elements.
fn is_lazy(heap: &Heap<'_>, metadata: Option<Id>) -> bool {
    let Some(Value::Dict(items)) = metadata.map(|id| heap.get(id)) else {
        return false;
    };
    items.iter().any(|(key, value)| {
        let is_bit = matches!(heap.get(*key), Value::Str(key) if key == "conj" || key == "neg");
        is_bit && !matches!(heap.get(*value), Value::Bool(false))
    })
}

/// Evaluates a persistent id: `("storage", class, key, location, numel)`, to which files of before
/// PyTorch 1.6 add a part of the storage, `(view_key, offset, numel)` or `None`; and
/// `("module", class, source_file, source)` in them. Those of PyTorch 0.1 are the keys of tensors. Any other is a placeholder.
pub(super) fn persistent<'a>(heap: &mut Heap<'a>, id: Id) -> Result<Id, Problem> {
    let items = match heap.get(id) {
        Value::Tuple(items) => items.as_slice(),
        Value::Int(_) | Value::Str(_) => return heap.push(Value::Persistent(id)),
        _ => &[],
    };
    let values: Vec<_> = items.iter().take(6).map(|item| heap.get(*item)).collect();
    let is = |value: &Value<'_>, text: &str| matches!(value, Value::Str(name) if name == text);
    let natural = |value: &Value<'_>| match value {
        Value::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    let storage = match values[..] {
        [kind, _, ..] if is(kind, "module") => return Ok(items[1]),
        // The same in PyTorch 0.1.
        [Value::Global(_) | Value::Unknown(_), ..] => return Ok(items[0]),
        [
            kind,
            Value::Global(Global::Storage(element)),
            key,
            _,
            numel,
            ref rest @ ..,
        ] if is(kind, "storage") => {
            let key = match key {
                Value::Str(key) => Some(copied(key)),
                Value::Int(key) => Some(Cow::Owned(key.to_string())),
                _ => None,
            };
            let view = match rest.first() {
                None | Some(Value::None) => Some(None),
                Some(Value::Tuple(view)) => match view[..] {
                    [_, offset, size] => {
                        let range = natural(heap.get(offset)).zip(natural(heap.get(size)));
                        range.map(Some)
                    }
                    _ => None,
                },
                Some(_) => None,
            };
            match (key, natural(numel), view) {
                (Some(key), Some(numel), Some(view)) => Some(Storage {
                    key,
                    element: *element,
                    numel,
                    view,
                }),
                _ => None,
            }
        }
        _ => None,
    };
    match storage {
        Some(storage) => heap.push(Value::Storage(Box::new(storage))),
        None => Ok(Heap::OTHER),
    }
}

/// A copy of text, which stays short: a few bytes of pickle may copy an owned text many times.
pub(super) fn copied<'a>(text: &Cow<'a, str>) -> Cow<'a, str> {
    match text {
        Cow::Owned(text) if text.len() > 64 => Cow::Borrowed("?"),
        other => other.clone(),
    }
}
