//! One tensor on its way to an explanation.

use super::candidate::{Origin, Wanted, words};
use super::cross_match::{differing, exchanged, many_values, weight};
use super::finding::{Displacement, Finding};
use super::known_draws::{Distribution, known};
use super::permutation::{inverse, permutation, permutations};
use super::replay::{Method, Place};
use super::scale::{ratio, scaled};
use super::stream_order::{Ordered, Span};
use super::told::named;
use super::value_changes::{self, Pair};
use super::values::{epsilon, values};
use super::{Drawn, Expected, Explanation, NamedView};
use crate::tensor::TensorView;

/// A tensor of yours, what it ought to be, and what is known so far.
pub(super) struct Case<'a> {
    pub yours: &'a NamedView<'a>,
    pub expected: &'a Expected<'a>,
    /// Where yours was found in a stream.
    pub origin: Option<Origin>,
    /// Where the reference was found, if nobody said it.
    pub expected_origin: Option<Origin>,
    /// The shape that decides the fans.
    weight: Vec<usize>,
    equal: bool,
    differing: Option<usize>,
    findings: Vec<Finding>,
    /// Whether yours holds the draw that it ought to hold, changed or not.
    in_place: bool,
}

impl<'a> Case<'a> {
    /// Compares, and lists the causes that the values show.
    pub(super) fn new(
        yours: &'a NamedView<'a>,
        own: &'a Expected<'a>,
        all_yours: &[NamedView<'_>],
        all_expected: &[Expected<'_>],
    ) -> Case<'a> {
        let (view, reference) = (&yours.view, &own.tensor.view);
        let comparable = view.shape() == reference.shape() && view.dtype() == reference.dtype();
        let differing = comparable.then(|| differing(view, reference));
        let equal = differing == Some(0);
        let mut case = Case {
            yours,
            expected: own,
            origin: None,
            expected_origin: None,
            weight: weight(own, all_expected),
            equal,
            differing,
            findings: Vec::new(),
            in_place: equal,
        };
        if equal {
            return case;
        }
        if let Some(finding) = exchanged(yours, all_yours, all_expected) {
            case.findings.push(finding);
        } else if let Some(finding) = permutation(view, reference).filter(|_| many_values(view)) {
            case.findings.push(finding);
            case.in_place = true;
        } else {
            case.by_values();
        }
        case
    }

    /// What the values show, in the order of dimensions of the reference.
    fn by_values(&mut self) {
        let reference = &self.expected.tensor.view;
        let Some(theirs) = values(reference) else {
            return;
        };
        for order in self.orders() {
            let Some(ours) = self.view(&order).as_ref().and_then(values) else {
                continue;
            };
            let pair = self.pair(&ours, &theirs);
            let mut causes = value_changes::causes(&pair);
            if causes.is_empty() {
                continue;
            }
            for cause in &mut causes {
                if let Finding::Scaled { constant, .. } = cause {
                    *cause = scaled(
                        *constant,
                        self.expected_distribution(),
                        &self.weight,
                        self.slack(),
                    );
                }
            }
            self.findings.extend(permuted(&order, None));
            self.findings.append(&mut causes);
            self.in_place = true;
            return;
        }
    }

    fn pair<'p>(&'p self, yours: &'p [f64], reference: &'p [f64]) -> Pair<'p> {
        Pair {
            shape: self.expected.tensor.view.shape(),
            dtypes: (self.yours.view.dtype(), self.expected.tensor.view.dtype()),
            yours,
            reference,
            normal: self
                .expected_distribution()
                .map(|distribution| matches!(distribution, Distribution::Normal { .. })),
        }
    }

    /// The orders of yours' dimensions that give the reference's shape, the given order first.
    fn orders(&self) -> Vec<Vec<usize>> {
        const DIMENSIONS: usize = 4;
        let (from, to) = (self.yours.view.shape(), self.expected.tensor.view.shape());
        if from.len() != to.len() || from.len() > DIMENSIONS {
            return vec![(0..from.len()).collect()];
        }
        permutations(from.len())
            .into_iter()
            .filter(|order| order.iter().map(|d| from[*d]).eq(to.iter().copied()))
            .collect()
    }

    /// The orders in which yours may have been drawn: those, and another shape transposed.
    fn drawn_orders(&self) -> Vec<Vec<usize>> {
        let dimensions = self.yours.view.shape().len();
        let mut orders = self.orders();
        if dimensions >= 2 {
            let reversed: Vec<usize> = (0..dimensions).rev().collect();
            let swapped: Vec<usize> = [1, 0].into_iter().chain(2..dimensions).collect();
            for order in [swapped, reversed] {
                if !orders.contains(&order) {
                    orders.push(order);
                }
            }
        }
        orders
    }

    fn view(&self, order: &[usize]) -> Option<TensorView<'a>> {
        self.yours.view.permute(order).ok()
    }

    /// How far a factor of this tensor is known.
    fn slack(&self) -> f64 {
        let precision =
            epsilon(self.yours.view.dtype()).max(epsilon(self.expected.tensor.view.dtype()));
        // The mean of many roundings errs less than one; bounds have been rounded once.
        let values = self.yours.view.numel().max(1) as f64;
        (2.0 * precision / values.sqrt()).max(2.0 * f64::from(f32::EPSILON))
    }

    fn expected_distribution(&self) -> Option<Distribution> {
        self.expected.drawn.map(|drawn| drawn.distribution)
    }

    /// Yours, to be looked for in the streams, unless the values have explained it.
    pub(super) fn want_yours(&self) -> Option<Wanted<'a>> {
        if self.equal || !self.findings.is_empty() {
            return None;
        }
        Some(Wanted {
            views: self
                .drawn_orders()
                .iter()
                .filter_map(|order| self.view(order))
                .collect(),
            likely: self.expected_distribution().into_iter().collect(),
            weight: self.weight.clone(),
            ports: true,
            expected: self.expected.drawn.map(place),
        })
    }

    /// The reference, if nobody said how it was drawn.
    pub(super) fn want_expected(&self) -> Option<Wanted<'a>> {
        self.expected.drawn.is_none().then(|| Wanted {
            views: vec![self.expected.tensor.view.clone()],
            likely: Vec::new(),
            weight: self.weight.clone(),
            ports: false,
            expected: None,
        })
    }

    /// How the reference was drawn, by what was said or what was found.
    fn drawn(&self) -> Option<Drawn> {
        self.expected.drawn.or_else(|| {
            self.expected_origin.as_ref().map(|origin| Drawn {
                distribution: origin.distribution,
                seed: origin.place.seed,
                word: origin.place.word,
            })
        })
    }

    /// Turns origins into findings.
    pub(super) fn conclude(&mut self) {
        let (drawn, slack) = (self.drawn(), self.slack());
        if let Some(origin) = self.origin.take() {
            self.findings = self.by_origin(&origin, drawn);
            if self.findings.is_empty() {
                self.findings
                    .extend(self.by_pair(value_changes::reference_changed));
            }
            self.origin = Some(origin);
        } else if !self.equal && self.findings.is_empty() {
            self.findings
                .extend(self.by_pair(value_changes::overwritten));
            self.in_place = !self.findings.is_empty();
        } else if let Some(drawn) = drawn {
            // A factor can be named now.
            for finding in &mut self.findings {
                if let Finding::Scaled {
                    constant,
                    reference: None,
                    ..
                } = finding
                {
                    *finding = scaled(*constant, Some(drawn.distribution), &self.weight, slack);
                }
            }
        }
    }

    fn by_pair(&self, cause: fn(&Pair<'_>) -> Option<Finding>) -> Option<Finding> {
        if self.yours.view.shape() != self.expected.tensor.view.shape() {
            return None;
        }
        let ours = values(&self.yours.view)?;
        let theirs = values(&self.expected.tensor.view)?;
        cause(&self.pair(&ours, &theirs))
    }

    fn by_origin(&self, origin: &Origin, drawn: Option<Drawn>) -> Vec<Finding> {
        let Place { seed, word } = origin.place;
        let distribution = named(origin.distribution, origin.name.as_deref());
        let mut findings = Vec::new();
        if let Some(order) = self.drawn_orders().get(origin.view) {
            let shape: Vec<usize> = order.iter().map(|d| self.yours.view.shape()[*d]).collect();
            let other = shape != self.expected.tensor.view.shape();
            findings.extend(permuted(order, other.then_some(shape)));
        }
        if let Some(drawn) = drawn.filter(|drawn| drawn.distribution != origin.distribution) {
            let ratio = ratio(origin.distribution, drawn.distribution);
            // Bounds that differ in their last place are two ways to compute one bound.
            let same = ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 1e-12);
            findings.extend((!same).then(|| match ratio {
                Some(constant) => scaled(constant, Some(drawn.distribution), &self.weight, 1e-9),
                None => Finding::OtherDistribution {
                    distribution: distribution.clone(),
                    expected: Some(self.describe(drawn.distribution)),
                    seed,
                    word,
                },
            }));
        }
        findings.extend(by_method(origin));
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

    fn describe(&self, distribution: Distribution) -> String {
        let known = known(&self.weight);
        let name = known.iter().find(|k| k.distribution == distribution);
        named(distribution, name.map(|k| k.name.as_str()))
    }

    /// The tensor's places in the two streams.
    pub(super) fn ordered(&self) -> Ordered<'_> {
        let view = &self.expected.tensor.view;
        let reference = self.drawn().map(|drawn| Span {
            word: drawn.word,
            words: words(
                drawn.distribution,
                Method::Libtorch,
                view.numel(),
                view.dtype(),
            ),
        });
        let found = self.origin.as_ref().map(|origin| Span {
            word: origin.place.word,
            words: origin.words,
        });
        Ordered {
            name: &self.yours.name,
            yours: found.or(reference.filter(|_| self.in_place)),
            reference,
        }
    }

    /// Adds to a shift what explains it.
    pub(super) fn give_reasons(&mut self, displacement: Option<(Vec<Displacement>, i64)>) {
        let Some((reasons, rest)) = displacement else {
            return;
        };
        for finding in &mut self.findings {
            if let Finding::OtherOffset {
                because,
                unexplained,
                ..
            } = finding
            {
                because.clone_from(&reasons);
                *unexplained = Some(rest);
            }
        }
    }

    pub(super) fn explanation(self) -> Explanation {
        Explanation {
            tensor: self.yours.name.clone(),
            shape: self.yours.view.shape().to_vec(),
            dtype: self.yours.view.dtype(),
            reference_shape: self.expected.tensor.view.shape().to_vec(),
            reference_dtype: self.expected.tensor.view.dtype(),
            equal: self.equal,
            differing: self.differing,
            findings: self.findings,
        }
    }
}

fn by_method(origin: &Origin) -> Option<Finding> {
    let Place { seed, word } = origin.place;
    match (origin.method, origin.distribution) {
        (Method::Libtorch, _) => None,
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
        (Method::DefaultCapability, distribution) => Some(Finding::OtherCapability {
            seed,
            word,
            or_scaled_rand: matches!(distribution, Distribution::Uniform { .. }),
        }),
        (Method::RandnTimesStd, Distribution::Normal { mean, std }) => {
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
            whose: super::Whose::Yours,
            drawn: true,
        }),
        (Method::InverseErf, distribution) => Some(Finding::TruncNormalBefore213 {
            distribution: named(distribution, origin.name.as_deref()),
            seed,
            word,
        }),
    }
}

/// The finding for an order in which yours had to be read; none for the order it has.
fn permuted(order: &[usize], drawn_as: Option<Vec<usize>>) -> Option<Finding> {
    // `order` takes yours to the reference; said is how the reference becomes yours.
    (!order.iter().copied().eq(0..order.len())).then(|| Finding::Permuted {
        order: inverse(order),
        drawn_as,
    })
}

fn place(drawn: Drawn) -> Place {
    Place {
        seed: drawn.seed,
        word: drawn.word,
    }
}
