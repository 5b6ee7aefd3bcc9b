//! Where in a stream the tensors were drawn.

use super::known_draws::{Distribution, known};
use super::orthogonal::settle_orthogonal;
use super::replay::{Method, Place, redraw};
use super::stream_search::Search;
use super::values::{epsilon, values, varies};
use super::word_prediction::Trace;
use crate::draw_words::{
    words_of_normal, words_of_normal_block, words_of_normal_serial, words_of_uniform,
};
use crate::error::InitError;
use crate::tensor::{Dtype, TensorView};
use rayon::prelude::*;

/// How a tensor came out of a stream, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    pub distribution: Distribution,
    /// The name that the distribution is known by.
    pub name: Option<String>,
    pub method: Method,
    pub place: Place,
    /// The words that it drew, where that does not depend on the values.
    pub words: Option<u64>,
    /// Which of the views that were offered.
    pub view: usize,
}

/// A tensor whose origin is looked for.
pub(super) struct Wanted<'a> {
    /// The tensor, or the orders of its dimensions in which it may have been drawn.
    pub views: Vec<TensorView<'a>>,
    /// Tried first: what the reference was drawn from, at another scale too.
    pub likely: Vec<Distribution>,
    /// The shape that decides the fans.
    pub weight: Vec<usize>,
    /// Whether ways of drawing that PyTorch does not have are tried.
    pub ports: bool,
    /// Where it is expected.
    pub expected: Option<Place>,
}

/// One way in which one tensor may have been drawn.
struct Lead {
    wanted: usize,
    view: usize,
    distribution: Distribution,
    name: Option<String>,
    method: Method,
}

/// How far to look.
pub(super) struct Reach {
    /// The stream that is looked through first.
    pub seed: Option<u64>,
    /// Words of it.
    pub words: u64,
    /// How many seeds, from 0, are tried for what is not found there.
    pub seeds: u64,
}

/// Seeds that people use beyond the range that is tried one by one.
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

/// A lead may fit by accident; with this expected number of accidents it is no evidence.
const ACCIDENTS: f64 = 1e-3;

/// The origin of each tensor, as far as it is found.
pub(super) fn origins(
    wanted: &[Wanted<'_>],
    reach: &Reach,
) -> Result<Vec<Option<Origin>>, InitError> {
    let (leads, traces): (Vec<Lead>, Vec<Option<Trace>>) = wanted
        .iter()
        .enumerate()
        .flat_map(|(number, wanted)| wanted.leads(number))
        .unzip();
    let mut found: Vec<Option<Origin>> = vec![None; wanted.len()];
    let look = |found: &mut Vec<Option<Origin>>, seed: u64, words: u64| {
        let open = open_leads(&leads, &traces, found, words);
        let search = Search::new(&open.traces);
        let hits = search.scan(seed, words);
        settle(wanted, &leads, &open, seed, &hits, found)
    };
    if let Some(seed) = reach.seed {
        look(&mut found, seed, reach.words)?;
    }
    let nearest = wanted
        .iter()
        .zip(&found)
        .filter(|(_, origin)| origin.is_none())
        .filter_map(|(wanted, _)| wanted.expected.map(|place| place.word))
        .min();
    // Some two blocks beyond where the first tensor is expected.
    let words = nearest.unwrap_or(0) + 1248;
    // At some 5 ns a word, seconds.
    let affordable = (400_000_000 / words).max(64);
    let open = open_leads(&leads, &traces, &found, words * reach.seeds.min(affordable));
    let search = Search::new(&open.traces);
    let others: Vec<u64> = (0..reach.seeds.min(affordable))
        .chain(COMMON_SEEDS.into_iter().filter(|seed| *seed >= reach.seeds))
        .filter(|seed| Some(*seed) != reach.seed)
        .collect();
    let hits: Vec<(u64, Vec<(usize, u64)>)> = others
        .into_par_iter()
        .map(|seed| (seed, search.scan(seed, words)))
        .filter(|(_, hits)| !hits.is_empty())
        .collect();
    for (seed, hits) in hits {
        if settle(wanted, &leads, &open, seed, &hits, &mut found)? {
            look(&mut found, seed, reach.words)?;
        }
    }
    settle_beside(wanted, &leads, &mut found)?;
    settle_orthogonal(wanted, reach, &mut found)?;
    Ok(found)
}

/// What says too little to be found by itself may stand where it is expected, or as far from
/// there as another tensor that was found: few places, so few values are evidence.
fn settle_beside(
    wanted: &[Wanted<'_>],
    leads: &[Lead],
    found: &mut [Option<Origin>],
) -> Result<(), InitError> {
    const PLACES: usize = 4;
    let mut shifts: Vec<(u64, i64)> = Vec::new();
    for (wanted, origin) in wanted.iter().zip(&*found) {
        if let (Some(expected), Some(origin)) = (wanted.expected, origin) {
            let shift = (
                origin.place.seed,
                origin.place.word as i64 - expected.word as i64,
            );
            if !shifts.contains(&shift) && shifts.len() < PLACES {
                shifts.push(shift);
            }
        }
    }
    for lead in leads {
        let Some(expected) = wanted[lead.wanted].expected else {
            continue;
        };
        let view = &wanted[lead.wanted].views[lead.view];
        let shifted = shifts.iter().filter_map(|(seed, shift)| {
            let word = expected.word.checked_add_signed(*shift)?;
            Some(Place { seed: *seed, word })
        });
        for place in [expected].into_iter().chain(shifted) {
            if found[lead.wanted].is_none() && bits_of_evidence(view) >= 2.0 * BITS_OF_TRIES {
                settle_lead(lead, view, place, found)?;
            }
        }
    }
    Ok(())
}

/// Some thousand tries: ways of drawing times places.
const BITS_OF_TRIES: f64 = 11.0;

/// What a match of all values is worth.
fn bits_of_evidence(view: &TensorView<'_>) -> f64 {
    let values = values(view).unwrap_or_default();
    let drawn = values.iter().filter(|value| **value != 0.0).count();
    // The digits of the dtype, and a sign.
    drawn as f64 * (1.0 - epsilon(view.dtype()).max(f64::from(f32::EPSILON)).log2())
}

/// The leads of tensors that have no origin yet.
struct Open {
    traces: Vec<Trace>,
    /// Which lead each trace belongs to.
    leads: Vec<usize>,
}

/// Leaves out leads that so many words would fit by accident.
fn open_leads(
    leads: &[Lead],
    traces: &[Option<Trace>],
    found: &[Option<Origin>],
    words: u64,
) -> Open {
    let mut accidents = 0.0;
    let (traces, leads) = leads
        .iter()
        .zip(traces)
        .enumerate()
        .filter(|(_, (lead, _))| found[lead.wanted].is_none())
        .filter_map(|(number, (_, trace))| Some((trace.clone()?, number)))
        .filter(|(trace, _)| {
            let chance = trace.chance() * words as f64;
            let believed = accidents + chance <= ACCIDENTS;
            if believed {
                accidents += chance;
            }
            believed
        })
        .unzip();
    Open { traces, leads }
}

/// Draws again what fits, and keeps what has the same bits. Whether anything was kept.
fn settle(
    wanted: &[Wanted<'_>],
    leads: &[Lead],
    open: &Open,
    seed: u64,
    hits: &[(usize, u64)],
    found: &mut [Option<Origin>],
) -> Result<bool, InitError> {
    let mut any = false;
    // The likeliest lead of a tensor comes first, wherever it fits.
    let mut ordered: Vec<(usize, u64)> = hits
        .iter()
        .map(|(number, word)| (open.leads[*number], *word))
        .collect();
    ordered.sort_unstable();
    for (number, word) in ordered {
        let lead = &leads[number];
        if found[lead.wanted].is_some() {
            continue;
        }
        let view = &wanted[lead.wanted].views[lead.view];
        any |= settle_lead(lead, view, Place { seed, word }, found)?;
    }
    Ok(any)
}

/// Draws one lead again at one place. Whether it was kept.
fn settle_lead(
    lead: &Lead,
    view: &TensorView<'_>,
    place: Place,
    found: &mut [Option<Origin>],
) -> Result<bool, InitError> {
    for method in lead.same_words(view.dtype()) {
        let (numel, dtype) = (view.numel(), view.dtype());
        let drawn = redraw(lead.distribution, method, numel, dtype, place)?;
        if drawn.is_some_and(|drawn| same_but_zeros(&drawn, view)) {
            found[lead.wanted] = Some(Origin {
                distribution: lead.distribution,
                name: lead.name.clone(),
                method,
                place,
                words: words(lead.distribution, method, numel, dtype),
                view: lead.view,
            });
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a tensor has the bits of a draw, but for zeros that were set afterwards: a padding row.
fn same_but_zeros(drawn: &[u8], view: &TensorView<'_>) -> bool {
    let bytes = view.to_bytes();
    let size = view.dtype().size();
    let zero = |element: &[u8]| element.iter().all(|byte| *byte == 0);
    let zeros = bytes
        .chunks_exact(size)
        .filter(|element| zero(element))
        .count();
    drawn.len() == bytes.len()
        && zeros * 2 <= view.numel()
        && drawn
            .chunks_exact(size)
            .zip(bytes.chunks_exact(size))
            .all(|(drawn, element)| drawn == element || zero(element))
}

impl Lead {
    /// The methods that draw the same words as this one's, and differ in rounding.
    fn same_words(&self, dtype: Dtype) -> Vec<Method> {
        let halves = matches!(dtype, Dtype::Float16 | Dtype::Bfloat16);
        match (self.method, self.distribution) {
            (Method::Libtorch, Distribution::Uniform { .. }) if halves => {
                vec![Method::Libtorch, Method::In(Dtype::Float32)]
            }
            (Method::Libtorch, Distribution::Uniform { .. }) => {
                vec![Method::Libtorch, Method::DefaultCapability]
            }
            (Method::Libtorch, Distribution::Normal { .. }) => vec![
                Method::Libtorch,
                Method::RandnTimesStd,
                Method::DefaultCapability,
            ],
            (method, _) => vec![method],
        }
    }
}

impl<'a> Wanted<'a> {
    fn leads(&self, number: usize) -> Vec<(Lead, Option<Trace>)> {
        // A sample is enough for what a distribution may hold, and a trace takes less.
        const SAMPLE: usize = 1 << 16;
        let mut leads = Vec::new();
        for (view_number, view) in self.views.iter().enumerate() {
            let Some(all) = values(view) else {
                continue;
            };
            if !varies(&all) && all.len() > 1 {
                continue;
            }
            let sample = &all[..all.len().min(SAMPLE)];
            let (dtype, numel) = (view.dtype(), view.numel());
            let named = known(&self.weight);
            let likely = self.likely.iter().map(|distribution| {
                let known = named.iter().find(|k| k.distribution == *distribution);
                (*distribution, known.map(|k| k.name.clone()))
            });
            let others = named
                .iter()
                .filter(|k| !self.likely.contains(&k.distribution))
                .map(|k| (k.distribution, Some(k.name.clone())));
            for (distribution, name) in likely.chain(others) {
                if !distribution.may_hold(sample) {
                    continue;
                }
                for method in methods(distribution, numel, dtype, self.ports) {
                    let lead = Lead {
                        wanted: number,
                        view: view_number,
                        distribution,
                        name: name.clone(),
                        method,
                    };
                    leads.push((lead, Trace::new(distribution, method, &all, dtype)));
                }
            }
        }
        leads
    }
}

/// The ways that draw different words.
fn methods(distribution: Distribution, numel: usize, dtype: Dtype, ports: bool) -> Vec<Method> {
    let mut methods = vec![Method::Libtorch];
    if !ports {
        return methods;
    }
    if let Distribution::Normal { .. } = distribution {
        methods.push(match numel < 16 {
            true => Method::Block,
            false => Method::Serial,
        });
        // 16 bits and 32 bits draw the same words unless there is a remainder.
        if epsilon(dtype) > epsilon(Dtype::Float32) && !numel.is_multiple_of(16) {
            methods.push(Method::In(Dtype::Float32));
        }
    }
    if let Distribution::TruncNormal { .. } = distribution {
        methods.push(Method::InverseErf);
    }
    methods.push(Method::In(match dtype {
        Dtype::Float64 => Dtype::Float32,
        _ => Dtype::Float64,
    }));
    methods
}

/// The words that a draw takes.
pub(super) fn words(
    distribution: Distribution,
    method: Method,
    numel: usize,
    dtype: Dtype,
) -> Option<u64> {
    let numel = numel as u64;
    match (distribution, method) {
        (Distribution::Uniform { .. }, Method::In(drawn)) => words_of_uniform(drawn, numel),
        (Distribution::Uniform { .. }, _) => words_of_uniform(dtype, numel),
        (Distribution::TruncNormal { .. }, Method::InverseErf) => words_of_uniform(dtype, numel),
        (Distribution::TruncNormal { .. } | Distribution::Orthogonal { .. }, _) => None,
        (Distribution::Normal { .. }, Method::Serial) => words_of_normal_serial(numel, false),
        (Distribution::Normal { .. }, Method::Block) => words_of_normal_block(dtype, numel.max(16)),
        (Distribution::Normal { .. }, Method::In(drawn)) => words_of_normal(drawn, numel, false),
        (Distribution::Normal { .. }, _) => words_of_normal(dtype, numel, false),
    }
}
