//! Finds seed and position of the tensors of one file, without a reference.

use super::Options;
use super::candidate::words;
use super::cross_match::{split_name, weight_of, weight_shape};
use super::draw_fit::{HEAD, Head, Unrecovered};
use super::known_draws::{KnownDraw, describe, known_draws};
use super::located::{Located, Place};
use super::permutation::{add_transposed, inverse};
use super::progress::{Progress, Stage};
use super::reference::NamedView;
use super::replay::Method;
use super::stream_search::StreamSearch;
use super::together::{Segment, orders, runs};
use super::values::{Sample, bits_of_value, range, tensor_varies, varies};
use super::word_prediction::WordPattern;
use crate::tensor::{Dtype, TensorView};
use half::{bf16, f16};
use rayon::prelude::*;
use std::collections::BTreeSet;
use torch_rng::recovery::find_seed;
use torch_rng::{Draw, Element, Engine, Mt19937, Target};

/// The bits that show which of some thousand positions and draws a tensor has.
const BITS_NEAR: f64 = 18.0;

/// The words that are searched at once.
const STRIDE: u64 = 1 << 22;

/// Finds the seed and the position of each tensor from its values alone.
///
/// A tensor of at least some 1,300 f32 values of `uniform_` or `normal_`, or 5,000 of f16 or bf16, shows enough bits of its words to
/// determine the state of the generator, and with it seed and position, whatever they are. Smaller tensors that were drawn one after the
/// other show them together, if they were drawn in the order of the file or in that of their names. The other tensors of the file, of any floating-point dtype, are then looked for in the
/// streams of these seeds, and in that of [`Options::seed`]. Nothing is reported as drawn that does not have the bits that drawing it again
/// gives.
///
/// If no tensor shows a seed, the beginnings of [`Options::other_seeds`] streams are searched.
///
/// ```
/// use tch_init::explain::{NamedView, Options, Place, locate};
/// use tch_init::rng::Mt19937;
/// use tch_init::tensor::{Dtype, TensorView};
///
/// let mut generator = Mt19937::new(1234);
/// generator.skip(77);
/// let mut values = vec![0f32; 1600];
/// tch_init::distribution::uniform_(&mut generator, &mut values, -0.1, 0.1)?;
/// let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
/// let view = TensorView::contiguous(Dtype::Float32, &[16, 100], &bytes)?;
/// let located = locate(&[NamedView { name: "fc.weight".to_owned(), view }], &Options::default());
/// assert!(matches!(located[0].place, Place::Drawn { seed: 1234, word: 77, changed: 0, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn locate(tensors: &[NamedView<'_>], options: &Options) -> Vec<Located> {
    locate_with_progress(tensors, options, |_| ())
}

/// As [`locate`], and calls `progress` now and then.
#[must_use]
pub fn locate_with_progress(
    tensors: &[NamedView<'_>],
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Vec<Located> {
    let mut search = Search::new(tensors);
    if let Some(seed) = options.seed {
        search.search_stream(seed, 0);
    }
    for index in 0..tensors.len() {
        progress(Progress {
            stage: Stage::Search,
            done: search.drawn().count(),
            of: tensors.len(),
        });
        let Some((seed, end)) = search.recover(index, options.max_words) else {
            continue;
        };
        search.search_stream(seed, end);
    }
    search.fit_found();
    search.recover_together(options.max_words);
    search.search_small_seeds(options.other_seeds);
    search.search_near();
    let places = search.places();
    tensors
        .iter()
        .zip(places)
        .map(|(tensor, place)| Located {
            tensor: tensor.name.clone(),
            shape: tensor.view.shape().to_vec(),
            dtype: tensor.view.dtype(),
            place,
        })
        .collect()
}

/// A tensor whose place is looked for.
struct Open<'a> {
    views: Vec<OrderedView<'a>>,
    /// The elements, if all have one value.
    constants: u64,
    place: Option<Place>,
}

/// A tensor with its dimensions in an order in which it may have been drawn.
struct OrderedView<'a> {
    /// `None` for the tensor's own order.
    order: Option<Vec<usize>>,
    view: TensorView<'a>,
    head: Head,
    fits: Vec<KnownDraw>,
}

struct Search<'a> {
    names: Vec<String>,
    tensors: Vec<Open<'a>>,
    /// The seeds whose streams were searched.
    seeds: BTreeSet<u64>,
}

impl<'a> Search<'a> {
    fn new(tensors: &[NamedView<'a>]) -> Search<'a> {
        let opened: Vec<Open<'a>> = tensors
            .par_iter()
            .map(|tensor| {
                let shapes = tensors.iter().map(|t| (t.name.as_str(), t.view.shape()));
                let weight = weight_shape(&tensor.name, tensor.view.shape(), shapes);
                Open::new(&tensor.view, &known_draws(&weight))
            })
            .collect();
        let mut search = Search {
            names: tensors.iter().map(|tensor| tensor.name.clone()).collect(),
            tensors: opened,
            seeds: BTreeSet::new(),
        };
        search.fit_others();
        search
    }

    /// Finds draws with arguments that are not known ones, and tries them for all other tensors without a draw.
    fn fit_others(&mut self) {
        /// The tensors for which all arguments are tried. Of a trained model, all would be tried in vain.
        const TENSORS: usize = 12;
        let mut tried = 0;
        for index in 0..self.tensors.len() {
            let open = &self.tensors[index];
            let (true, Some(first)) = (open.is_without_fit(), open.views.first()) else {
                continue;
            };
            if tried == TENSORS {
                return;
            }
            tried += usize::from(first.head.shows_grid());
            let Some(fitted) = first.head.fitted() else {
                continue;
            };
            tried -= 1;
            let known = [fitted];
            for open in self.tensors.iter_mut().filter(|open| open.is_without_fit()) {
                for view in &mut open.views {
                    view.fits = view.head.known_fits(&known);
                }
            }
        }
    }

    /// Tries the draws that were found for tensors without a draw: a bias has the bounds of its weight, whatever their names are.
    fn fit_found(&mut self) {
        let mut found: Vec<KnownDraw> = Vec::new();
        for open in &self.tensors {
            let fits = open.views.iter().flat_map(|view| &view.fits);
            for known in fits.filter(|_| matches!(open.place, Some(Place::Drawn { .. }))) {
                if found.iter().all(|other| other.draw != known.draw) {
                    found.push(known.clone());
                }
            }
        }
        for open in self.tensors.iter_mut().filter(|open| open.is_without_fit()) {
            for view in &mut open.views {
                view.fits = view.head.known_fits(&found);
            }
        }
    }

    /// Recovers the generator from a tensor without a place. Returns the seed and the end of the tensor.
    fn recover(&mut self, index: usize, max_words: u64) -> Option<(u64, u64)> {
        let open = &self.tensors[index];
        if open.place.is_some() {
            return None;
        }
        let mut failed = None;
        let candidates = open.views.iter().enumerate();
        let candidates = candidates
            .flat_map(|(number, view)| (0..view.fits.len()).map(move |fit| (number, fit)));
        for (number, fit) in candidates.collect::<Vec<_>>() {
            let view = &self.tensors[index].views[number];
            let draw = view.fits[fit].draw;
            let distribution = || describe(draw, None);
            let recovered = view.head.generator(draw).or_else(|error| {
                let corrected = || view.head.corrected_generator(&view.view, draw);
                match error {
                    Unrecovered::WrongWords => corrected().ok_or(error),
                    Unrecovered::TooFew => view.likeliest(draw).ok_or(error),
                    Unrecovered::OtherData => Err(error),
                }
            });
            let (generator, first) = match recovered {
                Ok(recovered) => recovered,
                Err(Unrecovered::OtherData) => {
                    failed.get_or_insert(match view.head.shows_grid() {
                        true => Place::OtherGenerator {
                            distribution: distribution(),
                        },
                        false => Place::NoDraw,
                    });
                    continue;
                }
                Err(Unrecovered::TooFew | Unrecovered::WrongWords) => {
                    failed = Some(Place::TooLittle);
                    continue;
                }
            };
            let Some(origin) = find_seed(&generator, max_words.saturating_add(first)) else {
                let is_drawn = first == 0 && view.equal(draw, generator) == Some(view.view.numel());
                failed = Some(match is_drawn {
                    true => Place::NoSeed {
                        distribution: distribution(),
                    },
                    false => Place::TooLittle,
                });
                continue;
            };
            let Some(word) = origin.words.checked_sub(first) else {
                continue;
            };
            let seed = u64::from(origin.seed);
            if self.place(index, number, fit, (seed, word)) {
                let end =
                    word.saturating_add(2 * self.tensors[index].views[number].view.numel() as u64);
                return Some((seed, end));
            }
        }
        if let Some(place) = failed {
            self.tensors[index].place = Some(place);
        }
        None
    }

    /// Recovers generators from tensors that were drawn one after the other.
    fn recover_together(&mut self, max_words: u64) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let orders = orders(&names);
        let mut in_vain = 0;
        // Some initializers set biases to zero that the layer drew.
        for (order, are_zeros_drawn) in orders
            .iter()
            .flat_map(|order| [(order, false), (order, true)])
        {
            for segments in self.segments(order, are_zeros_drawn) {
                for run in runs(&segments, &mut in_vain) {
                    let Some(origin) =
                        find_seed(&run.generator, max_words.saturating_add(run.next))
                    else {
                        continue;
                    };
                    let Some(start) = origin.words.checked_sub(run.next) else {
                        continue;
                    };
                    let seed = u64::from(origin.seed);
                    let mut end = None;
                    for (index, word) in run.tensors {
                        let word = start.saturating_add(word);
                        if let Some(number) = self.tensors[index].first_fit()
                            && self.place(index, number, 0, (seed, word))
                        {
                            end = Some(word);
                        }
                    }
                    if let Some(end) = end {
                        self.search_stream(seed, end);
                    }
                }
            }
        }
    }

    /// The open tensors in an order, in parts between which something of unknown length may have been drawn.
    fn segments(&self, order: &[usize], are_zeros_drawn: bool) -> Vec<Vec<Segment>> {
        let mut parts = vec![Vec::new()];
        let mut before = 0;
        for &index in order {
            let open = &self.tensors[index];
            let segment = match (&open.place, open.first_fit()) {
                (Some(Place::NotDrawn), _) => continue,
                (Some(Place::Constant { .. }), _) => {
                    if are_zeros_drawn && self.is_drawn_before_zeros(index) {
                        before += open.constants;
                    }
                    continue;
                }
                (None | Some(Place::TooLittle), Some(number)) => {
                    let view = &open.views[number];
                    let draw = view.fits[0].draw;
                    let shape = view.view.shape();
                    words(draw, Method::Libtorch, shape, view.view.dtype()).map(|words| Segment {
                        tensor: index,
                        known: view.head.shown(draw),
                        before,
                        words,
                    })
                }
                _ => None,
            };
            before = 0;
            match (segment, parts.last_mut()) {
                (Some(segment), Some(part)) => part.push(segment),
                _ => parts.push(Vec::new()),
            }
        }
        parts
    }

    /// Whether a constant may have been drawn first: a bias whose weight was. PyTorch's attention does not draw that of its projections.
    fn is_drawn_before_zeros(&self, index: usize) -> bool {
        let name = &self.names[index];
        let is_bias = split_name(name).1.starts_with("bias");
        let weight = weight_of(name);
        let weight = self.names.iter().position(|name| *name == weight);
        is_bias
            && weight.is_some_and(|weight| {
                !matches!(self.tensors[weight].place, Some(Place::Constant { .. }))
            })
    }

    /// Places a tensor if drawing it again at a position gives its bits.
    fn place(&mut self, index: usize, number: usize, fit: usize, (seed, word): (u64, u64)) -> bool {
        let view = &self.tensors[index].views[number];
        let mut stream = Mt19937::new(seed);
        stream.skip(word);
        let numel = view.view.numel();
        let Some(equal) = view.equal(view.fits[fit].draw, stream.clone()) else {
            return false;
        };
        let (mut known, mut equal) = (&view.fits[fit], equal);
        // Another draw of the same words may give more of the values: its bounds or deviation are nearly the same.
        for (other_fit, other) in view.fits.iter().enumerate() {
            if equal == numel {
                break;
            }
            if other_fit == fit {
                continue;
            }
            match view.equal(other.draw, stream.clone()) {
                Some(more) if more > equal => (known, equal) = (other, more),
                _ => {}
            }
        }
        // Some elements may have been changed later; the others must be evidence enough.
        let bits = equal as f64 * bits_of_value(view.view.dtype());
        let is_evidence = bits >= BITS_NEAR && (equal == numel || 2 * equal >= numel.max(32));
        if !is_evidence {
            return false;
        }
        let dtype = view.view.dtype();
        self.tensors[index].place = Some(Place::Drawn {
            seed,
            word,
            words: words(known.draw, Method::Libtorch, view.view.shape(), dtype),
            distribution: describe(known.draw, Some(&known.name)),
            order: view.order.as_deref().map(inverse),
            changed: numel - equal,
        });
        true
    }

    /// Looks for open tensors at the beginnings of the streams of small seeds, if none was found otherwise.
    fn search_small_seeds(&mut self, seeds: u64) {
        /// The words of each stream.
        const WORDS: u64 = 2048;
        /// The patterns that are searched. One tensor that is found shows where the others may be.
        const PATTERNS: usize = 64;
        if self.drawn().next().is_some() {
            return;
        }
        let found = self.patterns(seeds.saturating_mul(WORDS).saturating_mul(1000));
        let (owners, patterns): (Vec<_>, Vec<_>) = found.into_iter().take(PATTERNS).unzip();
        if patterns.is_empty() {
            return;
        }
        let search = StreamSearch::new(&patterns);
        let hits: Vec<(u64, usize, u64)> = (0..seeds)
            .into_par_iter()
            .flat_map_iter(|seed| {
                let hits = search.scan(seed, WORDS).into_iter();
                hits.map(move |(pattern, word)| (seed, pattern, word))
            })
            .collect();
        for (seed, pattern, word) in hits {
            let (index, number, fit) = owners[pattern];
            let before = self.tensors[index].views[number].words_before();
            if let (true, Some(word)) = (self.tensors[index].is_open(), word.checked_sub(before))
                && self.place(index, number, fit, (seed, word))
            {
                self.search_stream(seed, word);
            }
        }
    }

    /// Looks for all open tensors in the stream of a seed: as far as a tensor was found, and as all of them may draw after.
    fn search_stream(&mut self, seed: u64, end: u64) {
        if !self.seeds.insert(seed) {
            return;
        }
        let open = self.tensors.iter().filter(|open| open.is_open());
        let numel: u64 = open.map(|open| open.numel()).sum();
        let end = end
            .saturating_add(numel.saturating_mul(2))
            .saturating_add(1 << 16);
        let threads = rayon::current_num_threads() as u64;
        let mut start = 0;
        while start < end {
            let found = self.patterns(end);
            if found.is_empty() {
                return;
            }
            let (owners, patterns): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            let search = StreamSearch::new(&patterns);
            let starts: Vec<u64> = (0..threads)
                .map(|part| start + part * STRIDE)
                .filter(|start| *start < end)
                .collect();
            let hits: Vec<(usize, u64)> = starts
                .into_par_iter()
                .flat_map_iter(|start| {
                    let mut stream = Mt19937::new(seed);
                    stream.skip(start);
                    let hits = search.scan_from(stream, STRIDE.min(end - start));
                    hits.into_iter()
                        .map(move |(number, word)| (number, start + word))
                })
                .collect();
            for (pattern, word) in hits {
                let (index, number, fit) = owners[pattern];
                let before = self.tensors[index].views[number].words_before();
                if let (true, Some(word)) =
                    (self.tensors[index].is_open(), word.checked_sub(before))
                {
                    self.place(index, number, fit, (seed, word));
                }
            }
            start += threads * STRIDE;
        }
    }

    /// The words of open tensors that a search of so many words finds by no accident: each with tensor, view and draw.
    fn patterns(&self, words: u64) -> Vec<((usize, usize, usize), WordPattern)> {
        /// The largest expected number of accidental matches of a pattern.
        const ACCIDENTS: f64 = 1e-6;
        let mut patterns = Vec::new();
        for (index, open) in self
            .tensors
            .iter()
            .enumerate()
            .filter(|(_, open)| open.is_open())
        {
            for (number, view) in open.views.iter().enumerate() {
                for (fit, known) in view.fits.iter().enumerate() {
                    let pattern = view.pattern(known.draw);
                    let pattern =
                        pattern.filter(|pattern| pattern.probability() * words as f64 <= ACCIDENTS);
                    patterns.extend(pattern.map(|pattern| ((index, number, fit), pattern)));
                }
            }
        }
        patterns
    }

    /// Looks for open tensors directly after others that were found, and directly before: for so few positions, few values are
    /// evidence.
    fn search_near(&mut self) {
        loop {
            let mut any = false;
            let spans: Vec<(usize, u64, u64, Option<u64>)> = self.drawn().collect();
            // The nearest in the file come first: a bias is beside its weight.
            for index in 0..self.tensors.len() {
                if !self.tensors[index].is_open() {
                    continue;
                }
                let mut spans = spans.clone();
                spans.sort_by_key(|(other, ..)| other.abs_diff(index));
                for (_, seed, word, words) in spans.into_iter().take(4) {
                    any |= self.place_beside(index, seed, word, words);
                    if !self.tensors[index].is_open() {
                        break;
                    }
                }
            }
            if !any {
                return;
            }
        }
    }

    fn place_beside(&mut self, index: usize, seed: u64, word: u64, words: Option<u64>) -> bool {
        let open = &self.tensors[index];
        let mut tries = Vec::new();
        for (number, view) in open.views.iter().enumerate() {
            for (fit, known) in view.fits.iter().enumerate() {
                let shape = view.view.shape();
                let own = self::words(known.draw, Method::Libtorch, shape, view.view.dtype());
                let after = words.map(|words| word + words);
                let before = own.and_then(|own| word.checked_sub(own));
                tries.extend(
                    after
                        .into_iter()
                        .chain(before)
                        .map(|word| (number, fit, word)),
                );
            }
        }
        tries
            .into_iter()
            .any(|(number, fit, word)| self.place(index, number, fit, (seed, word)))
    }

    /// Index, seed, word and words of the tensors that were found.
    fn drawn(&self) -> impl Iterator<Item = (usize, u64, u64, Option<u64>)> + '_ {
        let places = self.tensors.iter().enumerate();
        places.filter_map(|(index, open)| match &open.place {
            Some(Place::Drawn {
                seed, word, words, ..
            }) => Some((index, *seed, *word, *words)),
            _ => None,
        })
    }

    fn places(self) -> impl Iterator<Item = Place> {
        self.tensors.into_iter().map(|open| {
            let has_fit = open.views.iter().any(|view| !view.fits.is_empty());
            match open.place {
                Some(place) => place,
                None if has_fit => Place::TooLittle,
                None => Place::NoDraw,
            }
        })
    }
}

impl<'a> Open<'a> {
    fn new(view: &TensorView<'a>, known: &[KnownDraw]) -> Open<'a> {
        let settled = |place| Open {
            views: Vec::new(),
            constants: view.numel() as u64,
            place: Some(place),
        };
        if !matches!(
            view.dtype(),
            Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64
        ) {
            return settled(Place::NotDrawn);
        }
        if let Some(value) = constant(view) {
            return settled(Place::Constant { value });
        }
        let dimensions = view.shape().len();
        let mut orders = vec![(0..dimensions).collect()];
        add_transposed(&mut orders, dimensions);
        let views = orders.into_iter().filter_map(|order: Vec<usize>| {
            let is_own = order.iter().copied().eq(0..order.len());
            let view = view.permute(&order).ok()?;
            let head = Head::of(&view)?;
            let mut fits = head.known_fits(known);
            if !is_own {
                // The fans of the shape in which it was drawn have other names.
                fits.splice(..0, head.known_fits(&known_draws(view.shape())));
                let mut draws = Vec::new();
                fits.retain(|known| {
                    let is_new = !draws.contains(&known.draw);
                    draws.push(known.draw);
                    is_new
                });
            }
            Some(OrderedView {
                order: (!is_own).then_some(order),
                view,
                head,
                fits,
            })
        });
        Open {
            views: views.collect(),
            constants: 0,
            place: None,
        }
    }

    /// Whether it was not found. A tensor that shows no state by itself may still be found in a stream.
    fn is_open(&self) -> bool {
        matches!(
            self.place,
            None | Some(Place::TooLittle | Place::OtherGenerator { .. } | Place::NoDraw)
        ) && !self.views.is_empty()
    }

    /// The first view that a known draw fits.
    fn first_fit(&self) -> Option<usize> {
        self.views.iter().position(|view| !view.fits.is_empty())
    }

    fn is_without_fit(&self) -> bool {
        self.place.is_none() && self.views.iter().all(|view| view.fits.is_empty())
    }

    fn numel(&self) -> u64 {
        self.views.first().map_or(0, |view| view.head.numel)
    }
}

impl OrderedView<'_> {
    /// The words that the first values predict.
    fn pattern(&self, draw: Draw) -> Option<WordPattern> {
        let Head { dtype, first, .. } = &self.head;
        let values = self.head.known_values();
        // A search for those after zeros needs blocks that begin there.
        let has_all = *first == 0 || values.len() >= 16;
        has_all
            .then(|| {
                let sample = Sample::all(values.to_vec());
                WordPattern::new(draw, Method::Libtorch, &sample, *dtype)
            })
            .flatten()
    }

    /// The words before those of the first values.
    fn words_before(&self) -> u64 {
        match self.head.dtype {
            Dtype::Float64 => 2 * self.head.first,
            _ => self.head.first,
        }
    }

    /// Of the generators that may draw the values, the one that draws most of them, if that is one. It draws the first word of the draw next.
    fn likeliest(&self, draw: Draw) -> Option<(Mt19937, u64)> {
        let candidates = self.head.candidates(draw).into_par_iter();
        let equal: Vec<_> = candidates
            .filter_map(|generator| Some((self.equal(draw, generator.clone())?, generator)))
            .collect();
        let most = equal.iter().map(|(equal, _)| *equal).max()?;
        let mut best = equal.into_iter().filter(|(equal, _)| *equal == most);
        let (_, generator) = best.next()?;
        best.next().is_none().then_some((generator, 0))
    }

    /// How many elements have the bits of a draw; `None` if the draw does not exist for the dtype.
    fn equal(&self, draw: Draw, stream: Mt19937) -> Option<usize> {
        match self.view.dtype() {
            Dtype::Float32 => equal(draw, &self.view, stream, f32::to_le_bytes),
            Dtype::Float64 => equal(draw, &self.view, stream, f64::to_le_bytes),
            Dtype::Float16 => equal(draw, &self.view, stream, f16::to_le_bytes),
            Dtype::Bfloat16 => equal(draw, &self.view, stream, bf16::to_le_bytes),
            _ => None,
        }
    }
}

/// How many elements of a tensor have the bits of a draw.
fn equal<T: Element + Default, const SIZE: usize>(
    draw: Draw,
    view: &TensorView<'_>,
    mut stream: Mt19937,
    bits: fn(T) -> [u8; SIZE],
) -> Option<usize> {
    const CHUNK: usize = 1 << 16;
    let shape: Vec<u64> = view.shape().iter().map(|size| *size as u64).collect();
    let mut drawn = vec![T::default(); view.numel()];
    let target = Target::new(T::DTYPE, &shape);
    draw.fill(&Engine::default(), &mut stream, target, &mut drawn)
        .ok()?;
    let pieces = drawn.par_chunks(CHUNK).enumerate();
    let equal = pieces.map_init(Vec::new, |buffer, (number, drawn)| {
        let start = number * CHUNK;
        let elements = view.read(start..start + CHUNK, buffer);
        let elements = elements.as_chunks::<SIZE>().0.iter();
        let both = elements.zip(drawn);
        both.filter(|(element, drawn)| **element == bits(**drawn))
            .count()
    });
    Some(equal.sum())
}

/// The value that all elements have. A single element counts only if it is 0 or 1.
fn constant(view: &TensorView<'_>) -> Option<f64> {
    let head = range(view, 0..HEAD)?;
    let first = *head.first()?;
    if varies(&head) || (view.numel() == 1 && first != 0.0 && first != 1.0) {
        return None;
    }
    let all_equal = view.numel() <= HEAD || tensor_varies(view) == Some(false);
    all_equal.then_some(first)
}
