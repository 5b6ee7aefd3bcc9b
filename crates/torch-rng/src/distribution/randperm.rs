//! Permutations.
//!
//! Follows `randperm_cpu` (`ATen/native/TensorFactories.cpp`), PyTorch 2.13.

use crate::{Backend, Mt19937, Simd};

/// From so many elements on, a word each is too coarse.
pub(crate) const LARGE: usize = u32::MAX as usize / 20;

/// Words that are drawn at a time.
const AT_A_TIME: usize = 1024;

/// A permutation of the integers below `n`, as `torch.randperm(n)` makes it. Takes
/// the words that [`Draw::consumed`](crate::Draw::consumed) says.
///
/// ```
/// use torch_rng::distribution::randperm;
/// use torch_rng::Mt19937;
///
/// // python: torch.manual_seed(1); torch.randperm(5).tolist()
/// assert_eq!(randperm(&mut Mt19937::new(1), 5), [0, 4, 2, 3, 1]);
/// ```
pub fn randperm(generator: &mut Mt19937, n: usize) -> Vec<i64> {
    let mut permutation = Vec::new();
    begin_randperm(
        generator,
        Backend::selected().simd(),
        n,
        n,
        &mut permutation,
    );
    permutation
}

/// Draws a permutation of `n`, of which the first `count` elements are made; the others are in no
/// order. The memory of `permutation` is used again.
pub(crate) fn begin_randperm(
    generator: &mut Mt19937,
    simd: Option<Simd>,
    n: usize,
    count: usize,
    permutation: &mut Vec<i64>,
) {
    permutation.clear();
    permutation.extend(0..n as i64);
    if n >= LARGE {
        // From the inside out, so that the last draw may move the first element.
        for i in 0..n {
            let place = (generator.random64() % (i as u64 + 1)) as usize;
            permutation[i] = permutation[place];
            permutation[place] = i as i64;
        }
        return;
    }
    let drawn = n.saturating_sub(1);
    let count = count.min(drawn);
    let mut words = [0; AT_A_TIME];
    for first in (0..count).step_by(AT_A_TIME) {
        let words = &mut words[..AT_A_TIME.min(count - first)];
        generator.fill_words_with(simd, words);
        for (i, word) in (first..).zip(words) {
            permutation.swap(i, i + *word as usize % (n - i));
        }
    }
    generator.skip_with(simd, (drawn - count) as u64);
}
