//! Hashes of tensors at the speed of memory, also in a program that is not optimized, as those that are recorded often are.

use op_trace::ValueHash;
use rayon::prelude::*;

unsafe extern "C" {
    fn tch_init_trace_row_sums(rows: *const u8, count: usize, keys: *const u32, sums: *mut u32);
}

/// The fewest rows for which a thread of their own is worth its cost.
const ROWS_OF_THREAD: usize = 256;

/// [`ValueHash::of`].
pub(super) fn value_hash(bytes: &[u8]) -> ValueHash {
    in_threads(bytes, usize::try_from(tch::get_num_threads()).unwrap_or(1))
}

fn in_threads(bytes: &[u8], threads: usize) -> ValueHash {
    ValueHash::with_row_sums(bytes, |rows, keys| {
        let row = size_of_val(&keys[0]);
        let mut sums = vec![[0; 4]; rows.len() / row];
        let part = sums.len().div_ceil(threads.max(1)).max(ROWS_OF_THREAD);
        let sums_of = |(index, sums): (usize, &mut [[u32; 4]])| {
            let rows = &rows[index * part * row..][..sums.len() * row];
            // SAFETY: the rows have 8192 bytes each; there are four sums for each, and four times 2048 keys.
            unsafe {
                tch_init_trace_row_sums(
                    rows.as_ptr(),
                    sums.len(),
                    keys.as_flattened().as_ptr(),
                    sums.as_flattened_mut().as_mut_ptr(),
                );
            }
        };
        match sums.len() <= part {
            // Another thread would only be waited for.
            true => sums_of((0, &mut sums)),
            false => sums.par_chunks_mut(part).enumerate().for_each(sums_of),
        }
        sums
    })
}

#[cfg(test)]
mod tests {
    use super::in_threads;
    use op_trace::ValueHash;

    #[test]
    fn hashes_are_those_of_the_format() {
        for size in [0, 8, 8191, 8192, 8193, 16380, 16384, 3 << 20, (9 << 20) + 5] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            for threads in [1, 2, 3] {
                assert_eq!(in_threads(&bytes, threads), ValueHash::of(&bytes), "{size}");
            }
        }
    }
}
