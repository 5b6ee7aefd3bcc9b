//! Finds the seed and the position that tensors were drawn with.

use super::candidate::{Candidate, Origin, SearchTarget};
use super::draw_fit::Head;
use super::orthogonal::find_orthogonal;
use super::replay::Position;
use super::stream_search::StreamSearch;
use super::values::{Sample, bits_of_value, values};
use super::word_prediction::WordPattern;
use crate::error::InitError;
use crate::rng::Mt19937;
use crate::tensor::TensorView;
use rayon::prelude::*;

/// The streams that are searched.
pub(super) struct SearchLimits {
    /// The seed whose stream is searched first.
    pub seed: Option<u64>,
    /// The number of words of that stream.
    pub words: u64,
    /// The number of other seeds, from 0, that are tried for what is not found there.
    pub seeds: u64,
}

/// Seeds that people use, beyond the range that is tried one by one.
const COMMON_SEEDS: [u64; 10] = [
    123_456,
    1_234_567,
    12_345_678,
    123_456_789,
    1_234_567_890,
    31_415_926,
    20_240_101,
    987_654_321,
    0xdead_beef,
    0xffff_ffff,
];

/// How many times as many seeds are tried for tensors with known positions: of each, only a few words are drawn.
const SEEDS_AT_POSITIONS: u64 = 16;

/// The largest expected number of accidental matches in one search.
const ACCIDENTS: f64 = 1e-3;

/// The bits of evidence that some thousand tries cost: methods times positions.
const BITS_OF_TRIES: f64 = 11.0;

/// Finds the origin of each tensor; `None` for those that are not found. Calls `progress` with the number of those that are.
pub(super) fn find_origins(
    targets: &[SearchTarget<'_>],
    limits: &SearchLimits,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Option<Origin>>, InitError> {
    let (candidates, patterns): (Vec<Candidate>, Vec<Option<WordPattern>>) = targets
        .iter()
        .enumerate()
        .flat_map(|(number, target)| target.candidates(number))
        .unzip();
    let mut found: Vec<Option<Origin>> = vec![None; targets.len()];
    let search_seed = |found: &mut Vec<Option<Origin>>, seed: u64, words: u64| {
        let open = OpenCandidates::new(&candidates, &patterns, found, words);
        let hits = StreamSearch::new(&open.patterns).scan(seed, words);
        confirm_hits(targets, &candidates, &open, seed, &hits, found)
    };
    let evidence: Vec<f64> = targets
        .iter()
        .map(|target| target.views.first().map_or(0.0, bits_of_evidence))
        .collect();
    if let Some(shift) = first_shift(targets, &candidates, limits, &mut found)? {
        find_at(
            targets,
            &candidates,
            &patterns,
            &evidence,
            shift,
            &mut found,
            progress,
        )?;
    }
    if let Some(seed) = limits.seed
        && found.contains(&None)
    {
        search_seed(&mut found, seed, limits.words)?;
    }
    let count = |found: &[Option<Origin>]| found.iter().flatten().count();
    // Any seed at all, where a tensor has enough values to determine it.
    for number in 0..targets.len() {
        if found[number].is_some() {
            continue;
        }
        let heads: Vec<_> = targets[number].views.iter().map(Head::of).collect();
        let mut own = candidates
            .iter()
            .filter(|candidate| candidate.target == number);
        let position = own.find_map(|candidate| candidate.recovered(&heads, limits.words));
        if let Some(position) = position {
            let end = position.word.saturating_add(limits.words);
            search_seed(&mut found, position.seed, end)?;
            progress(count(&found));
        }
    }
    for (seed, position) in seeds_at_positions(targets, &candidates, &patterns, &found, limits) {
        let (candidate, word) = position;
        let origin = &mut found[candidates[candidate].target];
        if origin.is_some() {
            continue;
        }
        let target = &targets[candidates[candidate].target];
        *origin = candidates[candidate].replay(target, Position { seed, word })?;
        if origin.is_some() {
            search_seed(&mut found, seed, limits.words)?;
            progress(count(&found));
        }
    }
    let nearest = targets
        .iter()
        .zip(&found)
        .filter(|(_, origin)| origin.is_none())
        .filter_map(|(target, _)| target.expected_position.map(|position| position.word))
        .min();
    // Two state blocks beyond the expected position of the first tensor.
    let words = nearest.unwrap_or(0) + 1248;
    // A word takes some 5 ns, so this takes seconds.
    let affordable = (400_000_000 / words).max(64);
    let seeds = limits.seeds.min(affordable);
    let open = OpenCandidates::new(&candidates, &patterns, &found, words * seeds);
    let search = StreamSearch::new(&open.patterns);
    let others: Vec<u64> = (0..seeds)
        .chain(
            COMMON_SEEDS
                .into_iter()
                .filter(|seed| *seed >= limits.seeds),
        )
        .filter(|seed| Some(*seed) != limits.seed)
        .collect();
    let hits: Vec<(u64, Vec<(usize, u64)>)> = others
        .into_par_iter()
        .map(|seed| (seed, search.scan(seed, words)))
        .filter(|(_, hits)| !hits.is_empty())
        .collect();
    for (seed, hits) in hits {
        if confirm_hits(targets, &candidates, &open, seed, &hits, &mut found)? {
            search_seed(&mut found, seed, limits.words)?;
            progress(count(&found));
        }
    }
    find_near_expected(
        targets,
        &candidates,
        &patterns,
        &evidence,
        &mut found,
        progress,
    )?;
    find_orthogonal(targets, limits.seed, limits.seeds, &mut found)?;
    Ok(found)
}

/// Finds other seeds with which tensors may have been drawn at their positions in the reference: each with a candidate and its
/// word.
///
/// Only the words at the first positions are drawn.
fn seeds_at_positions(
    targets: &[SearchTarget<'_>],
    candidates: &[Candidate],
    patterns: &[Option<WordPattern>],
    found: &[Option<Origin>],
    limits: &SearchLimits,
) -> Vec<(u64, (usize, u64))> {
    /// The words that are drawn of each stream: two blocks.
    const WINDOW: u64 = 1248;
    /// What the seeds may cost, and what a seed and a word do, in nanoseconds.
    const BUDGET: f64 = 3e10;
    const SEED: f64 = 3000.0;
    const WORD: f64 = 0.2;
    /// What a jump costs, which skips any number of words.
    const JUMP: f64 = 120_000.0;
    let seeds = limits.seeds.saturating_mul(SEEDS_AT_POSITIONS);
    let open = OpenCandidates::new(candidates, patterns, found, seeds);
    let placed: Vec<(usize, &WordPattern, u64)> = open
        .candidates
        .iter()
        .zip(&open.patterns)
        .filter_map(|(candidate, pattern)| {
            let position = targets[candidates[*candidate].target].expected_position?;
            Some((*candidate, pattern, position.word))
        })
        .collect();
    let Some(first) = placed.iter().map(|(_, _, word)| *word).min() else {
        return Vec::new();
    };
    let affordable = BUDGET / (SEED + (first as f64 * WORD).min(JUMP));
    let near = placed
        .iter()
        .filter(|(_, pattern, word)| word - first + pattern.span() <= WINDOW);
    let near: Vec<_> = near.collect();
    (0..seeds.min(affordable as u64))
        .into_par_iter()
        .filter(|seed| Some(*seed) != limits.seed)
        .map_init(
            || vec![0; WINDOW as usize],
            |window, seed| {
                let mut stream = Mt19937::new(seed);
                stream.skip(first);
                stream.fill_words(window);
                let fits = near
                    .iter()
                    .filter(|(_, pattern, word)| pattern.fits(window, (word - first) as usize));
                fits.map(|(candidate, _, word)| (seed, (*candidate, *word)))
                    .collect::<Vec<_>>()
            },
        )
        .flatten_iter()
        .collect()
}

/// The seed of a stream, and how many words later than in the reference tensors were drawn from it.
type Shift = (u64, i64);

/// Recovers the generator of one of the first tensors that were drawn as in the reference.
///
/// Most often all tensors were drawn from one stream, with the same shift: this finds it without a search.
fn first_shift(
    targets: &[SearchTarget<'_>],
    candidates: &[Candidate],
    limits: &SearchLimits,
    found: &mut [Option<Origin>],
) -> Result<Option<Shift>, InitError> {
    /// How many tensors are tried.
    const TRIES: usize = 4;
    let mut tried = 0;
    for (number, target) in targets.iter().enumerate() {
        let Some(expected) = target.expected_position else {
            continue;
        };
        let heads: Vec<_> = target.views.iter().map(Head::of).collect();
        let is_tried = |candidate: &&Candidate| {
            candidate.target == number
                && candidate.is_expected(target)
                && candidate.is_enough(&heads)
        };
        let own: Vec<_> = candidates.iter().filter(is_tried).collect();
        for candidate in &own {
            let Some(position) = candidate.recovered(&heads, limits.words) else {
                continue;
            };
            found[number] = candidate.replay(target, position)?;
            if found[number].is_some() {
                let shift = position.word as i64 - expected.word as i64;
                return Ok(Some((position.seed, shift)));
            }
        }
        tried += usize::from(!own.is_empty());
        if tried == TRIES {
            break;
        }
    }
    Ok(None)
}

/// Finds the tensors that were drawn with a shift.
fn find_at(
    targets: &[SearchTarget<'_>],
    candidates: &[Candidate],
    patterns: &[Option<WordPattern>],
    evidence: &[f64],
    (seed, shift): Shift,
    found: &mut [Option<Origin>],
    progress: &mut dyn FnMut(usize),
) -> Result<(), InitError> {
    let mut count = found.iter().flatten().count();
    for (candidate, pattern) in candidates.iter().zip(patterns) {
        let target = &targets[candidate.target];
        let expected = target.expected_position;
        let Some(word) = expected.and_then(|at| at.word.checked_add_signed(shift)) else {
            continue;
        };
        let position = Position { seed, word };
        // The draw of the reference is a single try.
        let needed = match candidate.is_expected(target) {
            true => BITS_OF_TRIES + 1.0,
            false => 2.0 * BITS_OF_TRIES,
        };
        if found[candidate.target].is_none()
            && evidence[candidate.target] >= needed
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.fits_at(position))
        {
            found[candidate.target] = candidate.replay(target, position)?;
            count += usize::from(found[candidate.target].is_some());
            progress(count);
        }
    }
    Ok(())
}

/// Finds tensors with too few values for a search, at the position where they are expected or
/// shifted from it as another tensor is: for so few positions, few values are evidence.
fn find_near_expected(
    targets: &[SearchTarget<'_>],
    candidates: &[Candidate],
    patterns: &[Option<WordPattern>],
    evidence: &[f64],
    found: &mut [Option<Origin>],
    progress: &mut dyn FnMut(usize),
) -> Result<(), InitError> {
    const SHIFTS: usize = 4;
    let mut shifts: Vec<Shift> = Vec::new();
    for (target, origin) in targets.iter().zip(&*found) {
        if let (Some(expected), Some(origin)) = (target.expected_position, origin) {
            let shift = (
                origin.position.seed,
                origin.position.word as i64 - expected.word as i64,
            );
            if !shifts.contains(&shift) && shifts.len() < SHIFTS {
                shifts.push(shift);
            }
        }
    }
    let expected = targets.iter().filter_map(|target| target.expected_position);
    let mut seeds: Vec<u64> = expected.map(|position| position.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let unshifted = seeds.into_iter().map(|seed| (seed, 0));
    for shift in unshifted.chain(shifts) {
        find_at(
            targets, candidates, patterns, evidence, shift, found, progress,
        )?;
    }
    Ok(())
}

/// The evidence of a match of all values, in bits; of a large tensor, of some.
fn bits_of_evidence(view: &TensorView<'_>) -> f64 {
    let sample = Sample::of(view).map(|sample| sample.head);
    let is_drawn = |value: &f64| *value != 0.0;
    let drawn = sample.map(|values| values.into_iter().filter(is_drawn).count());
    let drawn = match drawn {
        Some(0) => values(view).map_or(0, |values| values.filter(is_drawn).count()),
        some => some.unwrap_or(0),
    };
    drawn as f64 * bits_of_value(view.dtype())
}

/// The candidates of tensors without an origin that a search can find.
struct OpenCandidates {
    patterns: Vec<WordPattern>,
    /// The index of the candidate of each pattern.
    candidates: Vec<usize>,
}

impl OpenCandidates {
    /// Leaves out candidates whose pattern is likely to match by chance in `words` words.
    fn new(
        candidates: &[Candidate],
        patterns: &[Option<WordPattern>],
        found: &[Option<Origin>],
        words: u64,
    ) -> OpenCandidates {
        let mut accidents = 0.0;
        let (patterns, candidates) = candidates
            .iter()
            .zip(patterns)
            .enumerate()
            .filter(|(_, (candidate, _))| found[candidate.target].is_none())
            .filter_map(|(number, (_, pattern))| Some((pattern.clone()?, number)))
            .filter(|(pattern, _)| {
                let expected = pattern.probability() * words as f64;
                let is_evidence = accidents + expected <= ACCIDENTS;
                if is_evidence {
                    accidents += expected;
                }
                is_evidence
            })
            .unzip();
        OpenCandidates {
            patterns,
            candidates,
        }
    }
}

/// Replays the hits of a search and keeps those with the right bits. Returns whether any was kept.
fn confirm_hits(
    targets: &[SearchTarget<'_>],
    candidates: &[Candidate],
    open: &OpenCandidates,
    seed: u64,
    hits: &[(usize, u64)],
    found: &mut [Option<Origin>],
) -> Result<bool, InitError> {
    let mut any = false;
    // The likeliest candidate of a tensor comes first, at whatever position.
    let mut ordered: Vec<(usize, u64)> = hits
        .iter()
        .map(|(number, word)| (open.candidates[*number], *word))
        .collect();
    ordered.sort_unstable();
    for (number, word) in ordered {
        let candidate = &candidates[number];
        let origin = &mut found[candidate.target];
        if origin.is_none() {
            let target = &targets[candidate.target];
            *origin = candidate.replay(target, Position { seed, word })?;
            any |= origin.is_some();
        }
    }
    Ok(any)
}
