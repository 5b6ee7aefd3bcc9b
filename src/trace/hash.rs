//! Hashes of tensors at the speed of memory, also in a program that is not optimized, as those that are recorded often are.

use crate::ffi;
use op_trace::{RowKeys, ValueHash};
use rayon::prelude::*;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn tch_init_trace_row_sums(rows: *const u8, count: usize, keys: *const u32, sums: *mut u32);
    fn tch_init_trace_matrix_product(
        rows: *const i8,
        count: usize,
        matrix: *const i8,
        columns: usize,
        product: *mut i32,
    ) -> ffi::Failure;
}

const ROW: usize = 8192;
/// The fewest rows for which a thread of their own is worth its cost.
const ROWS_OF_THREAD: usize = 256;
/// Columns of the matrix: four digits of each sum.
const COLUMNS: usize = 16;
/// The numbers of rows of a product of matrices are these and lower multiples of the step, since oneDNN prepares a kernel for each.
const STEP: usize = 16;
const MOST: [usize; 2] = [1024, 256];

/// [`ValueHash::of`].
pub(super) fn value_hash(bytes: &[u8]) -> ValueHash {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    ValueHash::with_row_sums(bytes, |rows, keys| {
        let whole = rows.len() / ROW / STEP * STEP;
        let found = match whole {
            0 => None,
            _ => Matrix::fastest(keys).and_then(|matrix| matrix.sums(&rows[..whole * ROW])),
        };
        let mut sums = found.unwrap_or_default();
        let rest = &rows[sums.len() * ROW..];
        if !rest.is_empty() {
            sums.extend(in_threads(rest, keys, threads));
        }
        sums
    })
}

/// The sums from products of words.
fn in_threads(rows: &[u8], keys: &RowKeys, threads: usize) -> Vec<[u32; 4]> {
    let mut sums = vec![[0; 4]; rows.len() / ROW];
    let part = sums.len().div_ceil(threads.max(1)).max(ROWS_OF_THREAD);
    let sums_of = |(index, sums): (usize, &mut [[u32; 4]])| {
        let rows = &rows[index * part * ROW..][..sums.len() * ROW];
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
}

/// What rows of bytes are multiplied by for all sums: a key times the place of a byte in its word, modulo 2^32, is a number of
/// four signed digits to base 256. Products of `int8` matrices take less time than those of words on CPUs that have them.
struct Matrix(Vec<[i8; COLUMNS]>);

impl Matrix {
    fn new(keys: &RowKeys) -> Matrix {
        const HIGHEST: u32 = 0x8080_8080;
        let mut digits = vec![[0; COLUMNS]; ROW];
        for (sum, keys) in keys.iter().enumerate() {
            for (word, key) in keys.iter().enumerate().filter(|(_, key)| **key != 0) {
                for byte in 0..4 {
                    let number = (key << (8 * byte)).wrapping_add(HIGHEST) ^ HIGHEST;
                    let row = &mut digits[4 * word + sum + byte];
                    row[4 * sum..][..4].copy_from_slice(&number.to_le_bytes().map(u8::cast_signed));
                }
            }
        }
        Matrix(digits)
    }

    /// The matrix, if its products are exact on this CPU and take less time.
    fn fastest(keys: &RowKeys) -> Option<&'static Matrix> {
        static MATRIX: OnceLock<Option<Matrix>> = OnceLock::new();
        let matrix = MATRIX.get_or_init(|| {
            let matrix = Matrix::new(keys);
            // The sums of these bytes have the largest terms.
            let mut rows = [[0x80; ROW], [0x7f; ROW]].concat().repeat(STEP);
            let own: Vec<u8> = keys[0].iter().flat_map(|key| key.to_le_bytes()).collect();
            rows[2 * ROW..3 * ROW].copy_from_slice(&own);
            let timed = |sums: &dyn Fn() -> Option<Vec<[u32; 4]>>| {
                let mut last = (None, Duration::MAX);
                for _ in 0..3 {
                    let start = Instant::now();
                    last = (sums(), start.elapsed());
                }
                last
            };
            let (of_words, of_words_took) = timed(&|| Some(in_threads(&rows, keys, 1)));
            let (found, took) = timed(&|| matrix.sums(&rows));
            (found == of_words && took < of_words_took).then_some(matrix)
        });
        matrix.as_ref()
    }

    /// The sums of a number of rows that is a multiple of [`STEP`], if libtorch has such products.
    fn sums(&self, rows: &[u8]) -> Option<Vec<[u32; 4]>> {
        let count = rows.len() / ROW;
        let mut products = vec![[0_i32; COLUMNS]; count];
        let mut at = 0;
        while at < count {
            let rest = count - at;
            let size = MOST.into_iter().find(|most| rest >= *most).unwrap_or(rest);
            let part = &rows[at * ROW..][..size * ROW];
            let product = &mut products[at..][..size];
            // SAFETY: a row has 8192 bytes, and the matrix as many rows of 16 columns; the product has 16 numbers for each row.
            let done = unsafe {
                ffi::check(tch_init_trace_matrix_product(
                    part.as_ptr().cast(),
                    size,
                    self.0.as_flattened().as_ptr(),
                    COLUMNS,
                    product.as_flattened_mut().as_mut_ptr(),
                ))
            };
            done.ok()?;
            at += size;
        }
        let sum = |digits: &[i32; 4]| {
            let places = digits.iter().zip([0, 8, 16, 24]);
            places.fold(0_u32, |sum, (digit, place)| {
                sum.wrapping_add(digit.cast_unsigned() << place)
            })
        };
        let sums = products.iter().map(|row| {
            let (digits, _) = row.as_chunks();
            [0, 1, 2, 3].map(|index| sum(&digits[index]))
        });
        Some(sums.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, ROW, in_threads, value_hash};
    use op_trace::ValueHash;

    #[test]
    fn hashes_are_those_of_the_format() {
        for size in [0, 8, 8191, 8192, 8193, 16380, 16384, 3 << 20, (9 << 20) + 5] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            let hash = ValueHash::of(&bytes);
            assert_eq!(value_hash(&bytes), hash, "{size}");
            for threads in [1, 2, 3] {
                let of_words =
                    ValueHash::with_row_sums(&bytes, |rows, keys| in_threads(rows, keys, threads));
                assert_eq!(of_words, hash, "{size}");
            }
        }
    }

    #[test]
    fn products_of_matrices_are_the_same() {
        for rows in [16, 32, 256, 1024 + 256 + 48] {
            let bytes: Vec<u8> = (0..rows * ROW).map(|i| (i * 7 + i / 251) as u8).collect();
            let hash = ValueHash::with_row_sums(&bytes, |rows, keys| {
                Matrix::new(keys).sums(rows).unwrap()
            });
            assert_eq!(hash, ValueHash::of(&bytes), "{rows}");
        }
    }
}
