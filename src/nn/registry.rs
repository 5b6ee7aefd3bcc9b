//! The layers that this crate made, by their tensors.
//!
//! A `VarStore` holds names and tensors only. So constructors register what they made under the
//! identity that all handles of a tensor share. A weak handle keeps that identity from being
//! reused, and entries of freed tensors are swept.

use super::spec::LayerSpec;
use crate::error::InitError;
use crate::ffi::{self, CWeakTensor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use tch::Tensor;

/// A layer that a tensor was made for.
#[derive(Debug)]
pub(crate) struct Record {
    /// The layer's path in its `VarStore`.
    pub(crate) path: String,
    pub(crate) spec: LayerSpec,
}

struct WeakTensor(NonNull<CWeakTensor>);

// SAFETY: a weak intrusive pointer counts atomically, and only its expiry is ever asked for.
unsafe impl Send for WeakTensor {}

impl WeakTensor {
    fn new(tensor: &Tensor) -> Result<WeakTensor, InitError> {
        let mut weak = std::ptr::null_mut();
        // SAFETY: the tensor is live for the call, and `weak` a valid place for a handle.
        unsafe { ffi::check(ffi::tch_init_weak_new(tensor.as_ptr(), &mut weak)) }
            .map_err(|message| InitError::libtorch("tensor identity", &message))?;
        NonNull::new(weak)
            .map(WeakTensor)
            .ok_or_else(|| InitError::libtorch("tensor identity", "no handle was made"))
    }

    fn expired(&self) -> bool {
        // SAFETY: the handle is live until it is dropped.
        unsafe { ffi::tch_init_weak_expired(self.0.as_ptr()) != 0 }
    }
}

impl Drop for WeakTensor {
    fn drop(&mut self) {
        // SAFETY: the handle is live, ours, and not used again.
        unsafe { ffi::tch_init_weak_free(self.0.as_ptr()) }
    }
}

struct Registry {
    records: BTreeMap<usize, (WeakTensor, Vec<Arc<Record>>)>,
    /// The number of entries at which freed tensors are swept.
    sweep_at: usize,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    records: BTreeMap::new(),
    sweep_at: 1024,
});

/// The address that all handles of one tensor share.
pub(crate) fn identity(tensor: &Tensor) -> usize {
    // SAFETY: the tensor is live for the call.
    unsafe { ffi::tch_init_tensor_identity(tensor.as_ptr()) as usize }
}

/// Registers the tensors of a layer. Children are registered before their parents.
pub(crate) fn note<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor>,
    record: &Arc<Record>,
) -> Result<(), InitError> {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    for tensor in tensors {
        match registry.records.entry(identity(tensor)) {
            // An identity is not given to another tensor while it is kept here.
            Entry::Occupied(mut known) => known.get_mut().1.push(Arc::clone(record)),
            Entry::Vacant(free) => {
                free.insert((WeakTensor::new(tensor)?, vec![Arc::clone(record)]));
            }
        }
    }
    if registry.records.len() >= registry.sweep_at {
        registry.records.retain(|_, (weak, _)| !weak.expired());
        registry.sweep_at = 1024.max(2 * registry.records.len());
    }
    Ok(())
}

/// The layers that a tensor was made for, innermost first; none if another crate made it.
pub(crate) fn lookup(tensor: &Tensor) -> Vec<Arc<Record>> {
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry
        .records
        .get(&identity(tensor))
        .map(|(_, records)| records.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kind::LayerKind;
    use tch::kind::FLOAT_CPU;

    fn some_record(path: &str) -> Arc<Record> {
        Arc::new(Record {
            path: path.to_owned(),
            spec: LayerSpec::new(LayerKind::Linear, String::new()),
        })
    }

    #[test]
    fn a_record_follows_the_tensor_and_not_its_handle() {
        let tensor = Tensor::zeros([2], FLOAT_CPU);
        let (inner, outer) = (some_record("a.b"), some_record("a"));
        note([&tensor], &inner).unwrap();
        note([&tensor], &outer).unwrap();
        let handle = tensor.shallow_clone();
        drop(tensor);
        let found = lookup(&handle);
        assert!(Arc::ptr_eq(&found[0], &inner) && Arc::ptr_eq(&found[1], &outer));
        assert_eq!(found.len(), 2);
        assert!(lookup(&handle.copy()).is_empty());
    }

    #[test]
    fn dropped_tensors_are_swept_and_their_identities_stay_theirs() {
        for i in 0..5000 {
            let tensor = Tensor::zeros([1], FLOAT_CPU);
            assert!(lookup(&tensor).is_empty(), "{i}");
            note([&tensor], &some_record("b")).unwrap();
        }
        let kept = REGISTRY.lock().unwrap().records.len();
        assert!(
            kept < 2500,
            "{kept} of 5000 dropped tensors are still known"
        );
    }
}
