//! The explanation of one tensor, from comparison to findings.

use super::candidate::{Origin, SearchTarget, redraw, words};
use super::cast::cast;
use super::cross_match::{differing, exchanged, has_varying_values, weight_shape};
use super::finding::{Displacement, Explanation, Finding, Whose};
use super::known_draws::{describe, known_draws};
use super::permutation::{add_transposed, inverse, permutation, permutations};
use super::reference::{Drawn, ExplainError, Info, NamedView, Tensors};
use super::replay::{Method, Position};
use super::scale::{ratio, scaled};
use super::scaled_float8::scaled_float8;
use super::stream_order::{Span, StreamOrder};
use super::value_changes::{self, Pair};
use super::values::{epsilon, rng_dtype, tensor_varies};
use crate::tensor::{Float8Scale, TensorView};
use torch_rng::{Draw, Normal, Semantics, Target};

/// A tensor of yours with its reference, and what has been found out so far.
pub(super) struct TensorCase<'a> {
    pub yours: &'a NamedView<'a>,
    pub expected: Info<'a>,
    /// The number of the tensor of the reference.
    pub index: usize,
    /// Where yours was found in a stream.
    pub origin: Option<Origin>,
    /// Where the reference was found in a stream, if its draw is not given.
    pub expected_origin: Option<Origin>,
    /// The shape that determines the fans.
    weight: Vec<usize>,
    equal: bool,
    differing: Option<usize>,
    findings: Vec<Finding>,
    /// Whether yours has the reference's draw, changed or not.
    has_reference_draw: bool,
    /// Whether the reference has values that a search may find.
    is_reference_varying: bool,
}

impl<'a> TensorCase<'a> {
    /// Compares the tensors and finds the causes that their values show.
    pub(super) fn new(
        yours: &'a NamedView<'a>,
        index: usize,
        all_yours: &[NamedView<'_>],
        reference: &mut Tensors<'a>,
    ) -> Result<TensorCase<'a>, ExplainError> {
        let expected = reference.infos[index];
        let shapes = reference.infos.iter().map(|info| (info.name, info.shape));
        let mut case = TensorCase {
            yours,
            expected,
            index,
            origin: None,
            expected_origin: None,
            weight: weight_shape(expected.name, expected.shape, shapes),
            equal: false,
            differing: None,
            findings: Vec::new(),
            has_reference_draw: false,
            is_reference_varying: false,
        };
        let mut scales = Vec::new();
        if expected.dtype.is_float8() {
            for name in Float8Scale::names(expected.name) {
                if let Some(scale) = reference.find(&name) {
                    let view = reference.kept(scale)?;
                    scales.push(NamedView { name, view });
                }
            }
        }
        reference.with(index, |view| case.compare(view, all_yours, &scales))?;
        Ok(case)
    }

    fn compare(
        &mut self,
        reference: &TensorView<'_>,
        all_yours: &[NamedView<'_>],
        scales: &[NamedView<'_>],
    ) {
        let view = &self.yours.view;
        let comparable = view.shape() == reference.shape() && view.dtype() == reference.dtype();
        self.differing = comparable.then(|| differing(view, reference));
        self.equal = self.differing == Some(0);
        self.has_reference_draw = self.equal;
        self.is_reference_varying = self.expected.drawn.is_none()
            && (reference.numel() == 1 || tensor_varies(reference) == Some(true));
        if self.equal {
            return;
        }
        if let Some(finding) = scaled_float8(self.yours, reference, all_yours, scales) {
            self.findings.push(finding);
            self.has_reference_draw = true;
        } else if let Some(finding) =
            permutation(view, reference).filter(|_| has_varying_values(view))
        {
            self.findings.push(finding);
            self.has_reference_draw = true;
        } else {
            self.compare_values(reference);
        }
    }

    /// Prefers another tensor of the reference with these very values to what they have in common with their own.
    pub(super) fn find_exchange(
        &mut self,
        all_yours: &[NamedView<'_>],
        reference: &mut Tensors<'_>,
    ) -> Result<(), ExplainError> {
        let is_scaled = matches!(self.findings[..], [Finding::ScaledFloat8 { .. }]);
        if self.equal || is_scaled {
            return Ok(());
        }
        if let Some(finding) = exchanged(self.yours, self.index, all_yours, reference)? {
            self.findings = vec![finding];
            self.has_reference_draw = false;
        }
        Ok(())
    }

    /// Finds the causes that the values show, once yours has the reference's order of dimensions.
    fn compare_values(&mut self, reference: &TensorView<'_>) {
        for order in self.orders() {
            // Any order has the values of a constant.
            let is_own = order.iter().copied().eq(0..order.len());
            let view = self
                .view(&order)
                .filter(|v| is_own || has_varying_values(v));
            if let Some(cast) = view.and_then(|view| cast(&view, reference)) {
                self.findings.extend(permuted(&order, None));
                self.findings.push(cast);
                self.has_reference_draw = true;
                return;
            }
        }
        for order in self.orders() {
            let Some(view) = self.view(&order) else {
                continue;
            };
            let Some(pair) = self.pair(&view, reference) else {
                continue;
            };
            let mut causes = value_changes::causes(&pair);
            if causes.is_empty() {
                continue;
            }
            for cause in &mut causes {
                if let Finding::Scaled { constant, .. } = cause {
                    *cause = scaled(
                        *constant,
                        self.expected_draw(),
                        &self.weight,
                        self.factor_tolerance(),
                    );
                }
            }
            self.findings.extend(permuted(&order, None));
            self.findings.append(&mut causes);
            self.has_reference_draw = true;
            return;
        }
    }

    /// The two tensors, if they can be compared as numbers.
    fn pair<'p>(
        &self,
        yours: &'p TensorView<'p>,
        reference: &'p TensorView<'p>,
    ) -> Option<Pair<'p>> {
        let is_comparable = yours.dtype().is_floating_point()
            && reference.dtype().is_floating_point()
            && yours.shape() == reference.shape();
        is_comparable.then(|| Pair {
            yours,
            reference,
            normal: self
                .expected_draw()
                .map(|draw| matches!(draw, Draw::Normal(_))),
        })
    }

    /// The orders of dimensions in which yours has the reference's shape, the given order first.
    fn orders(&self) -> Vec<Vec<usize>> {
        const DIMENSIONS: usize = 4;
        let (from, to) = (self.yours.view.shape(), self.expected.shape);
        if from.len() != to.len() || from.len() > DIMENSIONS {
            return vec![(0..from.len()).collect()];
        }
        permutations(from.len())
            .into_iter()
            .filter(|order| order.iter().map(|d| from[*d]).eq(to.iter().copied()))
            .collect()
    }

    /// The orders of dimensions in which yours may have been drawn: also those of a transposed shape.
    fn drawn_orders(&self) -> Vec<Vec<usize>> {
        let mut orders = self.orders();
        add_transposed(&mut orders, self.yours.view.shape().len());
        orders
    }

    fn view(&self, order: &[usize]) -> Option<TensorView<'a>> {
        self.yours.view.permute(order).ok()
    }

    /// The largest relative error of a factor between the two tensors.
    fn factor_tolerance(&self) -> f64 {
        let precision = epsilon(self.yours.view.dtype()).max(epsilon(self.expected.dtype));
        // A mean over many values has a smaller error; the bounds have been rounded once.
        let values = self.yours.view.numel().max(1) as f64;
        (2.0 * precision / values.sqrt()).max(2.0 * f64::from(f32::EPSILON))
    }

    fn expected_draw(&self) -> Option<Draw> {
        self.expected.drawn.map(|drawn| drawn.draw)
    }

    /// Yours as a target of the search; `None` if it is already explained.
    pub(super) fn search_yours(&self) -> Option<SearchTarget<'a>> {
        if self.equal || !self.findings.is_empty() {
            return None;
        }
        Some(SearchTarget {
            views: self
                .drawn_orders()
                .iter()
                .filter_map(|order| self.view(order))
                .collect(),
            expected_draw: self.expected_draw(),
            expected_position: self.expected.drawn.map(position),
            weight: self.weight.clone(),
            other_methods: true,
        })
    }

    /// The reference as a target of the search; `None` if its draw is given, or it is a constant.
    pub(super) fn search_expected(
        &self,
        reference: &mut Tensors<'a>,
    ) -> Result<Option<SearchTarget<'a>>, ExplainError> {
        if self.expected.drawn.is_some() || !self.is_reference_varying {
            return Ok(None);
        }
        Ok(Some(SearchTarget {
            views: vec![reference.kept(self.index)?],
            expected_draw: None,
            expected_position: None,
            weight: self.weight.clone(),
            other_methods: false,
        }))
    }

    /// The draw of the reference, as given or as found.
    fn drawn(&self) -> Option<Drawn> {
        self.expected.drawn.or_else(|| {
            self.expected_origin.as_ref().map(|origin| Drawn {
                draw: origin.draw,
                seed: origin.position.seed,
                word: origin.position.word,
                semantics: Semantics::NEWEST,
            })
        })
    }

    /// Prefers the draw of the reference, as another PyTorch or another CPU makes it at its place, to causes that the values
    /// show: a single value at an upper bound is then not taken for a constant.
    pub(super) fn redraw(&mut self) -> Result<(), ExplainError> {
        let (view, reference) = (&self.yours.view, self.expected);
        let is_comparable = view.shape() == reference.shape && view.dtype() == reference.dtype;
        if self.equal || self.findings.is_empty() || !is_comparable {
            return Ok(());
        }
        if let Some(drawn) = self.drawn() {
            let known = known_draws(&self.weight);
            let name = known.into_iter().find(|known| known.draw == drawn.draw);
            let name = name.map(|known| known.name);
            self.origin = redraw(view, drawn.draw, name, position(drawn))?;
        }
        Ok(())
    }

    /// Turns the origins into findings.
    pub(super) fn conclude(&mut self, reference: &mut Tensors<'_>) -> Result<(), ExplainError> {
        let (drawn, tolerance) = (self.drawn(), self.factor_tolerance());
        if let Some(origin) = self.origin.take() {
            self.findings = self.compare_origin(&origin, drawn);
            if self.findings.is_empty() {
                let cause = self.cause_of_values(reference, value_changes::reference_changed)?;
                self.findings.extend(cause);
            }
            self.origin = Some(origin);
        } else if !self.equal && self.findings.is_empty() {
            let cause = self.cause_of_values(reference, value_changes::overwritten)?;
            self.findings.extend(cause);
            self.has_reference_draw = !self.findings.is_empty();
        } else if let Some(drawn) = drawn {
            // The draw of the reference gives the factor a name.
            for finding in &mut self.findings {
                if let Finding::Scaled {
                    constant,
                    reference: None,
                    ..
                } = finding
                {
                    *finding = scaled(*constant, Some(drawn.draw), &self.weight, tolerance);
                }
            }
        }
        Ok(())
    }

    fn cause_of_values(
        &self,
        reference: &mut Tensors<'_>,
        cause: fn(&Pair<'_>) -> Option<Finding>,
    ) -> Result<Option<Finding>, ExplainError> {
        let yours = &self.yours.view;
        if yours.shape() != self.expected.shape {
            return Ok(None);
        }
        reference.with(self.index, |reference| cause(&self.pair(yours, reference)?))
    }

    /// The findings for a tensor that was found in a stream; empty if PyTorch draws it there too.
    fn compare_origin(&self, origin: &Origin, drawn: Option<Drawn>) -> Vec<Finding> {
        let Position { seed, word } = origin.position;
        let distribution = describe(origin.draw, origin.name.as_deref());
        let mut findings = Vec::new();
        if let Some(order) = self.drawn_orders().get(origin.view) {
            let shape: Vec<usize> = order.iter().map(|d| self.yours.view.shape()[*d]).collect();
            let is_other_shape = shape != self.expected.shape;
            findings.extend(permuted(order, is_other_shape.then_some(shape)));
        }
        if let Some(drawn) = drawn.filter(|drawn| drawn.draw != origin.draw) {
            let ratio = ratio(origin.draw, drawn.draw);
            // The bounds may have been computed in another way, with another last bit.
            let same = ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 1e-12);
            findings.extend((!same).then(|| match ratio {
                Some(constant) => scaled(constant, Some(drawn.draw), &self.weight, 1e-9),
                None => Finding::OtherDistribution {
                    distribution: distribution.clone(),
                    expected: Some(self.describe_known(drawn.draw)),
                    seed,
                    word,
                },
            }));
        }
        let expected = drawn.map_or(Semantics::NEWEST, |drawn| drawn.semantics);
        let sizes = self.yours.view.shape().iter();
        let sizes: Vec<u64> = sizes.map(|size| *size as u64).collect();
        let target = Target::new(rng_dtype(self.yours.view.dtype()), &sizes);
        findings.extend(method_finding(origin, target.with_semantics(expected)));
        let (dtype, expected) = (self.yours.view.dtype(), self.expected.dtype);
        if dtype != expected && !matches!(origin.method, Method::In(_)) {
            findings.push(Finding::DrawnIn { dtype, expected });
        }
        let expected_word = drawn.map(|drawn| drawn.word);
        if drawn.is_some_and(|drawn| drawn.seed != seed) {
            findings.push(Finding::OtherSeed {
                seed,
                expected: drawn.map(|drawn| drawn.seed),
                word,
                distribution: distribution.clone(),
            });
        }
        if expected_word.is_some_and(|expected| expected != word) {
            findings.push(Finding::OtherOffset {
                seed,
                word,
                expected: expected_word,
                distribution,
                because: Vec::new(),
                unexplained: None,
            });
        }
        findings
    }

    fn describe_known(&self, draw: Draw) -> String {
        let known = known_draws(&self.weight);
        let name = known.iter().find(|known| known.draw == draw);
        describe(draw, name.map(|known| known.name.as_str()))
    }

    /// The words of the tensor in the two streams.
    pub(super) fn stream_order(&self) -> StreamOrder<'_> {
        let Info { shape, dtype, .. } = self.expected;
        let reference = self.drawn().map(|drawn| Span {
            word: drawn.word,
            words: words(drawn.draw, Method::Version(drawn.semantics), shape, dtype),
        });
        let found = self.origin.as_ref().map(|origin| Span {
            word: origin.position.word,
            words: origin.words,
        });
        StreamOrder {
            name: &self.yours.name,
            yours: found.or(reference.filter(|_| self.has_reference_draw)),
            reference,
        }
    }

    /// Adds to the finding of a shift what explains the shift.
    pub(super) fn explain_shift(&mut self, displacement: Option<(Vec<Displacement>, i64)>) {
        let Some((displacements, rest)) = displacement else {
            return;
        };
        for finding in &mut self.findings {
            if let Finding::OtherOffset {
                because,
                unexplained,
                ..
            } = finding
            {
                because.clone_from(&displacements);
                *unexplained = Some(rest);
            }
        }
    }

    pub(super) fn explanation(self) -> Explanation {
        Explanation {
            tensor: self.yours.name.clone(),
            shape: self.yours.view.shape().to_vec(),
            dtype: self.yours.view.dtype(),
            reference_shape: self.expected.shape.to_vec(),
            reference_dtype: self.expected.dtype,
            equal: self.equal,
            differing: self.differing,
            findings: self.findings,
        }
    }
}

/// The finding for values that are computed in another way than the semantics of `expected` do.
fn method_finding(origin: &Origin, expected: Target<'_>) -> Option<Finding> {
    let Position { seed, word } = origin.position;
    let semantics = expected.semantics;
    let distribution = || describe(origin.draw, origin.name.as_deref());
    match (origin.method, origin.draw) {
        (Method::Libtorch, draw) => {
            let is_other = draw.newest_equivalent(expected) != Semantics::NEWEST;
            is_other.then(|| Finding::OtherVersion {
                version: Semantics::NEWEST.name(),
                distribution: distribution(),
                seed,
                word,
            })
        }
        (Method::InverseErf, _) if origin.rounding.is_some() => Some(Finding::OtherErfinv {
            distribution: distribution(),
            seed,
            word,
            greatest: origin.rounding.unwrap_or_default(),
        }),
        (Method::Version(version), _) if version == semantics => None,
        (Method::InverseErf, _)
            if semantics <= Semantics::PyTorch2_11
                && !matches!(
                    expected.dtype,
                    torch_rng::Dtype::Float16 | torch_rng::Dtype::Bfloat16
                ) =>
        {
            None
        }
        (Method::Serial, _) => Some(Finding::OtherPath {
            serial: true,
            seed,
            word,
        }),
        (Method::Block, _) => Some(Finding::OtherPath {
            serial: false,
            seed,
            word,
        }),
        (Method::DefaultCapability, draw) => Some(Finding::OtherCapability {
            seed,
            word,
            or_scaled_rand: matches!(draw, Draw::Uniform(_)),
        }),
        (Method::RandnTimesStd, Draw::Normal(Normal { mean, std })) => {
            Some(Finding::RandnTimesStd {
                mean,
                std,
                seed,
                word,
            })
        }
        (Method::RandnTimesStd, _) => None,
        (Method::In(dtype), _) => Some(Finding::Rounded {
            through: dtype,
            or: Vec::new(),
            whose: Whose::Yours,
            drawn: true,
        }),
        (Method::InverseErf, _) => Some(Finding::TruncNormalBefore212 {
            distribution: distribution(),
            seed,
            word,
        }),
        (Method::Version(version), _) => Some(Finding::OtherVersion {
            version: version.name(),
            distribution: distribution(),
            seed,
            word,
        }),
    }
}

/// The finding for the order of dimensions in which yours was read; `None` for its own order.
fn permuted(order: &[usize], drawn_as: Option<Vec<usize>>) -> Option<Finding> {
    // `order` permutes yours to the reference; the finding says the inverse.
    (!order.iter().copied().eq(0..order.len())).then(|| Finding::Permuted {
        order: inverse(order),
        drawn_as,
    })
}

fn position(drawn: Drawn) -> Position {
    Position {
        seed: drawn.seed,
        word: drawn.word,
    }
}
