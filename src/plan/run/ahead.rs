//! Touches new memory ahead of the draws into it.

use crate::init::memory;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Tensor;

/// Less memory is touched as quickly as a thread begins.
const WORTHWHILE: usize = 8 << 20;
/// Bytes that are touched at a time, between two looks at whether that is still wanted.
const AT_A_TIME: usize = 8 << 20;

/// Does the work while another thread touches the memory of the tensors, in their order: it is new,
/// and its first touch takes longer than a draw. With one thread there is none to do so.
pub(super) fn touched<R>(tensors: &[Tensor], work: impl FnOnce() -> R) -> R {
    let bytes = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
    if tensors.iter().map(bytes).sum::<usize>() < WORTHWHILE {
        return work();
    }
    let ranges: Vec<(usize, usize)> = tensors
        .iter()
        .map(|tensor| (tensor.data_ptr() as usize, bytes(tensor)))
        .collect();
    for (data, length) in &ranges {
        memory::ask_for_huge_pages(std::ptr::without_provenance_mut(*data), *length);
    }
    if tch::get_num_threads() < 2 {
        return work();
    }
    let wanted = AtomicBool::new(true);
    std::thread::scope(|scope| {
        // The tensors live as long as the scope. A thread that cannot begin is done without.
        let toucher = std::thread::Builder::new().spawn_scoped(scope, || {
            let parts = ranges.iter().flat_map(|(data, length)| {
                let (data, length) = (*data, *length);
                (0..length)
                    .step_by(AT_A_TIME)
                    .map(move |at| (data + at, AT_A_TIME.min(length - at)))
            });
            for (data, length) in parts {
                if !wanted.load(Ordering::Relaxed) {
                    break;
                }
                memory::touch(std::ptr::without_provenance_mut(data), length);
            }
        });
        if let Err(error) = &toucher {
            log::debug!("no thread to touch memory ahead: {error}");
        }
        let result = work();
        wanted.store(false, Ordering::Relaxed);
        result
    })
}
