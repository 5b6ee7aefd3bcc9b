//! Candidates: the ways in which a tensor may have been drawn.

use super::draw_fit::{Head, share_of_state};
use super::known_draws::{Moments, known_draws, may_hold};
use super::permutation::equal_bytes;
use super::replay::{Method, Position, replay};
use super::values::{Sample, epsilon, rng_dtype, sum_of_pieces, tensor_varies, values, varies};
use super::word_prediction::WordPattern;
use crate::error::InitError;
use crate::tensor::{Dtype, TensorView};
use half::{bf16, f16};
use torch_rng::recovery::find_seed;
use torch_rng::{Consumed, Draw, Semantics, Target, TruncNormal, Uniform};

/// A tensor whose origin is looked for.
pub(super) struct SearchTarget<'a> {
    /// The tensor, with its dimensions in every order in which it may have been drawn.
    pub views: Vec<TensorView<'a>>,
    /// The draw of the reference, which is tried first.
    pub expected_draw: Option<Draw>,
    /// The position of the reference.
    pub expected_position: Option<Position>,
    /// The shape that determines the fans.
    pub weight: Vec<usize>,
    /// Whether methods that PyTorch does not use are tried.
    pub other_methods: bool,
}

/// A way in which one tensor may have been drawn.
pub(super) struct Candidate {
    /// The index of the [`SearchTarget`].
    pub target: usize,
    view: usize,
    draw: Draw,
    name: Option<String>,
    method: Method,
}

/// How a tensor was drawn: replaying it gives its bits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    pub draw: Draw,
    /// The name of the draw, if it is a [known](super::known_draws) one.
    pub name: Option<String>,
    pub method: Method,
    pub position: Position,
    /// The largest difference, if the values are those of the draw but for the rounding of `erfinv` on another CPU.
    pub rounding: Option<f64>,
    /// The number of words drawn; `None` if it depends on the values.
    pub words: Option<u64>,
    /// The index of the view of the [`SearchTarget`].
    pub view: usize,
}

impl Candidate {
    /// Replays the candidate at a position; returns the origin if the bits are those of the tensor.
    pub(super) fn replay(
        &self,
        target: &SearchTarget<'_>,
        position: Position,
    ) -> Result<Option<Origin>, InitError> {
        self.origin(&target.views[self.view], position, equal_except_zeros)
    }

    /// The origin at a position, if a replay gives what `is_equal` compares with the view.
    fn origin(
        &self,
        view: &TensorView<'_>,
        position: Position,
        is_equal: fn(&[u8], &TensorView<'_>) -> bool,
    ) -> Result<Option<Origin>, InitError> {
        let dtype = view.dtype();
        let origin = |method, rounding| Origin {
            draw: self.draw,
            name: self.name.clone(),
            method,
            position,
            rounding,
            words: words(self.draw, method, view.shape(), dtype),
            view: self.view,
        };
        let mut near = None;
        for method in self.methods_of_these_words(dtype) {
            let Some(drawn) = replay(self.draw, method, view.numel(), dtype, position)? else {
                continue;
            };
            let drawn = drawn.bytes(dtype);
            if is_equal(drawn, view) {
                return Ok(Some(origin(method, None)));
            }
            if method == Method::InverseErf {
                near = rounding_of_erfinv(self.draw, drawn, view).map(|r| (method, r));
            }
        }
        Ok(near.map(|(method, rounding)| origin(method, Some(rounding))))
    }

    /// The methods that draw the same words as this candidate's but may round differently.
    fn methods_of_these_words(&self, dtype: Dtype) -> Vec<Method> {
        let is_half = matches!(dtype, Dtype::Float16 | Dtype::Bfloat16);
        match (self.method, self.draw) {
            (Method::Libtorch, Draw::Uniform(_)) if is_half => {
                vec![Method::Libtorch, Method::In(Dtype::Float32)]
            }
            // A value that rounds to the upper bound differs.
            (Method::Libtorch, Draw::Uniform(_)) => vec![
                Method::Libtorch,
                Method::Version(Semantics::PyTorch2_11),
                Method::DefaultCapability,
            ],
            (Method::InverseErf, _) if !is_half => {
                vec![Method::InverseErf, Method::Version(Semantics::PyTorch2_11)]
            }
            (Method::Libtorch, Draw::Normal(_)) if is_half => vec![
                Method::Libtorch,
                Method::Version(Semantics::PyTorch2_12),
                Method::RandnTimesStd,
                Method::DefaultCapability,
            ],
            (Method::Libtorch, Draw::Normal(_)) => vec![
                Method::Libtorch,
                Method::RandnTimesStd,
                Method::DefaultCapability,
            ],
            (Method::Libtorch, Draw::TruncNormal(_)) if is_half => {
                vec![Method::Libtorch, Method::Version(Semantics::PyTorch2_12)]
            }
            (Method::Version(Semantics::PyTorch2_11), Draw::Normal(_) | Draw::TruncNormal(_))
                if is_half =>
            {
                vec![self.method, Method::Version(Semantics::PyTorch2_0)]
            }
            (method, _) => vec![method],
        }
    }

    /// Whether it is the draw of the reference, as libtorch makes it.
    pub(super) fn is_expected(&self, target: &SearchTarget<'_>) -> bool {
        self.method == Method::Libtorch && target.expected_draw == Some(self.draw)
    }

    /// Whether the values may be enough to determine the generator.
    ///
    /// `heads` are those of the views of its target.
    pub(super) fn is_enough(&self, heads: &[Option<Head>]) -> bool {
        let head = heads[self.view].as_ref();
        head.is_some_and(|head| share_of_state(&head.shown(self.draw)) >= 1.0)
    }

    /// The position at which the values were drawn, if they are enough to determine the generator.
    ///
    /// `heads` are those of the views of its target.
    pub(super) fn recovered(&self, heads: &[Option<Head>], words: u64) -> Option<Position> {
        /// Positions beyond those that are searched; they take some 30 ms.
        const MORE: u64 = 1 << 28;
        if self.method != Method::Libtorch {
            return None;
        }
        let head = heads[self.view].as_ref()?;
        if !head.fits(self.draw) {
            return None;
        }
        let (generator, first) = head.generator(self.draw).ok()?;
        let origin = find_seed(&generator, words.max(MORE).saturating_add(first))?;
        Some(Position {
            seed: origin.seed.into(),
            word: origin.words.checked_sub(first)?,
        })
    }
}

impl SearchTarget<'_> {
    /// All candidates of the tensor, the likeliest first, each with the words that it predicts if
    /// they are sufficient evidence for a search.
    pub(super) fn candidates(&self, number: usize) -> Vec<(Candidate, Option<WordPattern>)> {
        let mut candidates = Vec::new();
        let known = known_draws(&self.weight);
        for (view_number, view) in self.views.iter().enumerate() {
            let Some(sample) = Sample::of(view) else {
                continue;
            };
            if sample.numel > 1 && !varies(&sample.head) && tensor_varies(view) != Some(true) {
                continue;
            }
            let moments = Moments::of(&sample.head);
            let dtype = view.dtype();
            let expected = self.expected_draw.map(|draw| {
                let known = known.iter().find(|known| known.draw == draw);
                (draw, known.map(|known| known.name.clone()))
            });
            let others = known
                .iter()
                .filter(|known| self.expected_draw != Some(known.draw))
                .map(|known| (known.draw, Some(known.name.clone())));
            for (draw, name) in expected.into_iter().chain(others) {
                if !may_hold(draw, &moments) {
                    continue;
                }
                for method in methods(draw, &sample, dtype, self.other_methods) {
                    let candidate = Candidate {
                        target: number,
                        view: view_number,
                        draw,
                        name: name.clone(),
                        method,
                    };
                    candidates.push((candidate, WordPattern::new(draw, method, &sample, dtype)));
                }
            }
        }
        candidates
    }
}

/// The origin of a tensor that is drawn as its reference, at its position, whoever draws it: with its bits and not only
/// with some of its values.
pub(super) fn redraw(
    view: &TensorView<'_>,
    draw: Draw,
    name: Option<String>,
    position: Position,
) -> Result<Option<Origin>, InitError> {
    let Some(sample) = Sample::of(view) else {
        return Ok(None);
    };
    let is_pytorchs = |method: &Method| {
        matches!(
            method,
            Method::Libtorch | Method::Version(_) | Method::InverseErf | Method::DefaultCapability
        )
    };
    // The others are functions of the whole tensor.
    if !matches!(
        draw,
        Draw::Uniform(_) | Draw::Normal(_) | Draw::TruncNormal(_)
    ) {
        return Ok(None);
    }
    let methods = methods(draw, &sample, view.dtype(), true);
    for method in methods.into_iter().filter(is_pytorchs) {
        let candidate = Candidate {
            target: 0,
            view: 0,
            draw,
            name: name.clone(),
            method,
        };
        let origin = candidate.origin(view, position, is_equal)?;
        let origin = origin.filter(|origin| is_pytorchs(&origin.method));
        if origin.is_some() {
            return Ok(origin);
        }
    }
    Ok(None)
}

/// The methods that draw different words.
fn methods(draw: Draw, sample: &Sample, dtype: Dtype, other_methods: bool) -> Vec<Method> {
    let numel = sample.numel;
    let mut methods = vec![Method::Libtorch];
    if !other_methods {
        return methods;
    }
    if let Draw::Normal(_) = draw {
        methods.push(match numel < 16 {
            true => Method::Block,
            false => Method::Serial,
        });
        // 16-bit dtypes and f32 draw the same words unless there is a remainder.
        if epsilon(dtype) > epsilon(Dtype::Float32) && !numel.is_multiple_of(16) {
            methods.push(Method::In(Dtype::Float32));
        }
    }
    if let Draw::TruncNormal(_) = draw {
        methods.push(Method::InverseErf);
    }
    let has_old_bits = match draw {
        Draw::Uniform(_) | Draw::TruncNormal(_) => true,
        Draw::Normal(_) => numel >= 16,
        _ => false,
    };
    if has_old_bits && matches!(dtype, Dtype::Float16 | Dtype::Bfloat16) {
        methods.push(Method::Version(Semantics::PyTorch2_11));
    }
    methods.push(Method::In(match dtype {
        Dtype::Float64 => Dtype::Float32,
        _ => Dtype::Float64,
    }));
    // Values that have no more digits may have been drawn with fewer, and cast.
    if epsilon(dtype) <= epsilon(Dtype::Float32) {
        let is_bf16 = |value: &f64| f64::from(bf16::from_f64(*value)) == *value;
        let is_f16 = |value: &f64| f64::from(f16::from_f64(*value)) == *value;
        if sample.head.iter().all(is_bf16) {
            methods.push(Method::In(Dtype::Bfloat16));
        } else if sample.head.iter().all(is_f16) {
            methods.push(Method::In(Dtype::Float16));
        }
    }
    methods
}

/// The number of words of a draw by a generator that caches no normal.
///
/// `None` if it depends on the values.
pub(super) fn words(draw: Draw, method: Method, shape: &[usize], dtype: Dtype) -> Option<u64> {
    let mut shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
    let draw = match (method, draw) {
        (Method::InverseErf, _) => Uniform { from: 0.0, to: 1.0 }.into(),
        _ => draw,
    };
    let semantics = match method {
        Method::Version(semantics) => semantics,
        _ => Semantics::NEWEST,
    };
    if method == Method::Block {
        shape = vec![shape.iter().product::<u64>().max(16)];
    }
    let target = Target {
        contiguous: method != Method::Serial,
        semantics,
        ..Target::new(
            match method {
                Method::In(drawn) => rng_dtype(drawn),
                _ => rng_dtype(dtype),
            },
            &shape,
        )
    };
    let Consumed { words, .. } = draw.consumed(target, Some(false));
    words
}

/// The largest difference between a `trunc_normal_` by `erfinv` and the values of a tensor, if it is that of two
/// implementations of `erfinv` (MKL has other bits on the CPUs of each vendor).
fn rounding_of_erfinv(draw: Draw, drawn: &[u8], view: &TensorView<'_>) -> Option<f64> {
    /// How many ULPs they may be apart. Seen: 1 in f32 and in f64.
    const ULPS: f64 = 4.0;
    let Draw::TruncNormal(TruncNormal { mean, .. }) = draw else {
        return None;
    };
    let is_wide = matches!(view.dtype(), Dtype::Float32 | Dtype::Float64);
    let again = TensorView::contiguous(view.dtype(), view.shape(), drawn).ok()?;
    let (ours, theirs) = (values(view).filter(|_| is_wide)?, values(&again)?);
    let ulp = ULPS * epsilon(view.dtype());
    let mut largest = 0_f64;
    for (ours, theirs) in ours.zip(theirs) {
        // The product is rounded before the mean is added.
        let size = (theirs - mean).abs().max(theirs.abs());
        let difference = (ours - theirs).abs();
        if ours.is_nan() || difference > ulp * size {
            return None;
        }
        largest = largest.max(difference);
    }
    Some(largest)
}

/// Whether a tensor has the bits of a draw.
fn is_equal(drawn: &[u8], view: &TensorView<'_>) -> bool {
    as_drawn(drawn, view).is_some_and(|drawn| equal_bytes(&drawn, view))
}

/// A draw as a tensor like another one, if it has as many elements.
fn as_drawn<'d>(drawn: &'d [u8], view: &'d TensorView<'_>) -> Option<TensorView<'d>> {
    TensorView::contiguous(view.dtype(), view.shape(), drawn).ok()
}

/// Whether a tensor has the bits of a draw, except for zeros that were set later, as in a padding
/// row.
fn equal_except_zeros(drawn: &[u8], view: &TensorView<'_>) -> bool {
    let Some(drawn) = as_drawn(drawn, view) else {
        return false;
    };
    let zeros = match view.dtype().size() {
        2 => sum_of_pieces(&drawn, view, zeros_if_equal::<2>),
        4 => sum_of_pieces(&drawn, view, zeros_if_equal::<4>),
        8 => sum_of_pieces(&drawn, view, zeros_if_equal::<8>),
        _ => None,
    };
    zeros.is_some_and(|zeros| zeros * 2 <= view.numel())
}

/// The number of zeros if the others are those drawn.
fn zeros_if_equal<const SIZE: usize>(drawn: &[u8], elements: &[u8]) -> Option<usize> {
    let (drawn, elements) = (drawn.as_chunks().0, elements.as_chunks().0);
    let zero = [0; SIZE];
    // Without a branch for each element.
    let (zeros, other) = drawn.iter().zip(elements).fold(
        (0, false),
        |(zeros, other), (drawn, element): (&[u8; SIZE], &[u8; SIZE])| {
            let is_zero = *element == zero;
            (
                zeros + usize::from(is_zero),
                other | (!is_zero & (drawn != element)),
            )
        },
    );
    (!other).then_some(zeros)
}
