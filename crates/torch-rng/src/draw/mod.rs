//! The list of draws.
//!
//! A draw is one variant of [`Draw`] and one file here: its name and arguments, the words that it consumes,
//! and how it fills memory, by scalar code and by vectors.

mod normal;
mod old_blocks;
mod orthogonal;
mod randperm;
mod rule;
mod sparse;
#[cfg(test)]
mod test_support;
mod trunc_normal;
mod uniform;

pub use normal::{Normal, normal_, normal_block_, normal_serial_};
pub use orthogonal::Orthogonal;
pub use randperm::{Randperm, randperm};
pub use rule::{Consumed, Target};
pub use sparse::Sparse;
pub use trunc_normal::{TruncNormal, erf, normal_interval_probability, trunc_normal_};
pub use uniform::{Uniform, uniform_};

use crate::element::Element;
use crate::engine::Engine;
use crate::error::DrawError;
use crate::mt19937::Mt19937;
use crate::parallel::Chunk;
use crate::semantics::Semantics;
use rule::Rule;
use std::fmt;
use std::ops::Range;

/// PyTorch would reject the draw: what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

fn check<R: Rule>(draw: &R, target: Target<'_>) -> Result<(), ArgumentError> {
    draw.check(target).map_err(ArgumentError)?;
    if !R::DTYPES.contains(&target.dtype) {
        let names: Vec<&str> = R::DTYPES.iter().map(|dtype| dtype.name()).collect();
        return Err(ArgumentError(format!(
            "expected dtype {}, found {}",
            names.join(" or "),
            target.dtype
        )));
    }
    if !R::DIMS.contains(&target.shape.len()) {
        let dims = match (*R::DIMS.start(), *R::DIMS.end()) {
            (least, usize::MAX) => format!("{least} or more"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(ArgumentError(format!(
            "expected {dims} dimensions, found shape {:?}",
            target.shape
        )));
    }
    Ok(())
}

fn skip<R: Rule>(draw: &R, engine: &Engine, generator: &mut Mt19937, target: Target<'_>) -> bool {
    let cached = generator.next_double_normal().is_some();
    let Some(words) = draw.consumed(target, Some(cached)).words else {
        let can_skip = draw.can_skip_values(target);
        if can_skip {
            draw.skip_values(engine, generator, target);
        }
        return can_skip;
    };
    let skipped = normal::skip_serial(engine, generator, draw.serial_normals(target));
    engine.skip(generator, words - skipped);
    true
}

macro_rules! draws {
    ($($kind:ident)*) => {
        /// A draw of PyTorch's CPU generator, with its arguments.
        ///
        /// ```
        /// use torch_rng::{Draw, Dtype, Engine, Mt19937, Target, Uniform};
        ///
        /// let draw = Draw::from(Uniform { from: 0.0, to: 1.0 });
        /// assert_eq!(draw.to_string(), "uniform_(0, 1)");
        /// let target = Target::new(Dtype::Float32, &[3]);
        /// assert_eq!(draw.consumed(target, Some(false)).words, Some(3));
        ///
        /// let mut values = [0f32; 3];
        /// draw.fill(&Engine::default(), &mut Mt19937::new(1), target, &mut values)?;
        /// // python: torch.manual_seed(1); torch.rand(3).tolist()
        /// assert_eq!(values, [0.7576315999031067, 0.2793108820915222, 0.40306925773620605]);
        /// # Ok::<(), torch_rng::DrawError>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub enum Draw {
            $(#[doc = concat!("[`", stringify!($kind), "`]")] $kind($kind),)*
        }

        impl Draw {
            /// The names of all draws.
            pub const NAMES: &[&str] = &[$(<$kind as Rule>::NAME),*];

            /// The name of PyTorch's function.
            pub fn name(&self) -> &'static str {
                match self { $(Draw::$kind(_) => <$kind as Rule>::NAME,)* }
            }

            /// The arguments, in the order of PyTorch's function.
            pub fn args(&self) -> Vec<f64> {
                match self { $(Draw::$kind(draw) => draw.args(),)* }
            }

            /// The number of arguments of the draw with this name; `None` for an unknown name.
            pub fn arity(name: &str) -> Option<usize> {
                match name {
                    $(<$kind as Rule>::NAME => Some(<$kind as Rule>::ARITY),)*
                    _ => None,
                }
            }

            /// The draw with this name and these arguments; `None` for an unknown name or a wrong number
            /// of arguments.
            pub fn new(name: &str, args: &[f64]) -> Option<Draw> {
                match name {
                    $(<$kind as Rule>::NAME => <$kind as Rule>::from_args(args).map(Draw::$kind),)*
                    _ => None,
                }
            }

            /// Checks that PyTorch accepts the draw for `target`: its dtype, its number of dimensions and
            /// the arguments.
            ///
            /// # Errors
            ///
            /// [`ArgumentError`] names what was expected and what was found.
            pub fn check(&self, target: Target<'_>) -> Result<(), ArgumentError> {
                match self { $(Draw::$kind(draw) => check(draw, target),)* }
            }

            /// What the draw consumes if the generator [caches a normal](Mt19937::next_double_normal)
            /// before, does not, or may (`None`).
            pub fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
                match self { $(Draw::$kind(draw) => draw.consumed(target, cached),)* }
            }

            /// The newest semantics that give `target` the same bits as its own do.
            ///
            /// ```
            /// use torch_rng::{Draw, Dtype, Normal, Semantics, Target};
            ///
            /// let draw = Draw::from(Normal { mean: 0.0, std: 1.0 });
            /// let old = Semantics::PyTorch2_11;
            /// let single = Target::new(Dtype::Float32, &[99]).with_semantics(old);
            /// assert_eq!(draw.newest_equivalent(single), Semantics::NEWEST);
            /// let half = Target::new(Dtype::Bfloat16, &[99]).with_semantics(old);
            /// assert_eq!(draw.newest_equivalent(half), old);
            /// ```
            pub fn newest_equivalent(&self, target: Target<'_>) -> Semantics {
                match self { $(Draw::$kind(draw) => draw.newest_equivalent(target),)* }
            }

            /// Whether [`skip`](Self::skip) advances past this draw.
            ///
            /// ```
            /// use torch_rng::{Draw, Dtype, Target, TruncNormal};
            ///
            /// let draw = |a, b| Draw::from(TruncNormal { mean: 0.0, std: 1.0, a, b });
            /// let target = Target::new(Dtype::Float32, &[1 << 40]);
            /// assert!(draw(-2.0, 2.0).can_skip(target));
            /// // Rejection sampling by libtorch's logarithm.
            /// assert!(!draw(3.0, 4.0).can_skip(target));
            /// ```
            pub fn can_skip(&self, target: Target<'_>) -> bool {
                let is_known = self.consumed(target, Some(false)).words.is_some();
                is_known || match self { $(Draw::$kind(draw) => draw.can_skip_values(target),)* }
            }

            /// Advances the generator by what the draw [consumes](Self::consumed), without filling
            /// anything. Where that depends on the values, these are computed a part at a time, in at most
            /// 32 MiB; `false`, with nothing done, if libtorch has to compute them or all are needed together.
            pub fn skip(
                &self,
                engine: &Engine,
                generator: &mut Mt19937,
                target: Target<'_>,
            ) -> bool {
                match self { $(Draw::$kind(draw) => skip(draw, engine, generator, target),)* }
            }

            /// Fills `values`, the elements of `target` in memory order, and advances the generator by
            /// the words [consumed](Self::consumed).
            ///
            /// # Errors
            ///
            /// [`DrawError::Elements`] if `values` does not match `target`, [`DrawError::NeedsLibtorch`] if
            /// the draw ends in a computation that only libtorch has, and other errors for arguments that
            /// PyTorch rejects. Nothing is drawn then.
            pub fn fill<T: Element>(
                &self,
                engine: &Engine,
                generator: &mut Mt19937,
                target: Target<'_>,
                values: &mut [T],
            ) -> Result<(), DrawError> {
                check_elements(target, target.numel(), values)?;
                match self { $(Draw::$kind(draw) => draw.fill(engine, generator, target, values),)* }
            }

            /// Whether the elements of `target` can be drawn separately, by [`fill_range`](Self::fill_range), and
            /// by [`chunks`](Self::chunks) too if the number of [words](Consumed::words) is known.
            pub fn has_ranges(&self, target: Target<'_>) -> bool {
                match self { $(Draw::$kind(draw) => draw.has_ranges(target),)* }
            }

            /// Fills `values` with the elements `range` of `target` only. `start` is the generator before
            /// the whole draw.
            ///
            /// # Errors
            ///
            /// As [`fill`](Self::fill), and [`DrawError::Range`] unless the draw
            /// [has ranges](Self::has_ranges) and `range` is inside the tensor.
            pub fn fill_range<T: Element>(
                &self,
                engine: &Engine,
                start: &Mt19937,
                target: Target<'_>,
                range: Range<u64>,
                values: &mut [T],
            ) -> Result<(), DrawError> {
                check_elements(target, range.end.saturating_sub(range.start), values)?;
                if !self.has_ranges(target) || range.end.max(range.start) > target.numel() {
                    return Err(DrawError::Range(self.name()));
                }
                match self {
                    $(Draw::$kind(draw) => draw.fill_range(engine, start, target, range, values),)*
                }
            }

            /// Divides the draw into chunks that consume consecutive words, for
            /// [`Engine::fill_chunks`].
            ///
            /// # Errors
            ///
            /// As [`fill`](Self::fill), and [`DrawError::Range`] unless the draw
            /// [has ranges](Self::has_ranges) and consumes a known number of words.
            pub fn chunks<'a, T: Element>(
                &self,
                engine: &Engine,
                target: Target<'_>,
                values: &'a mut [T],
            ) -> Result<Vec<Chunk<'a>>, DrawError> {
                check_elements(target, target.numel(), values)?;
                if !self.has_ranges(target) {
                    return Err(DrawError::Range(self.name()));
                }
                match self { $(Draw::$kind(draw) => draw.chunks(engine, target, values),)* }
            }
        }

        $(impl From<$kind> for Draw {
            fn from(draw: $kind) -> Draw {
                Draw::$kind(draw)
            }
        })*
    };
}

draws! {
    Uniform
    Normal
    TruncNormal
    Orthogonal
    Sparse
    Randperm
}

fn check_elements<T: Element>(
    target: Target<'_>,
    expected: u64,
    values: &[T],
) -> Result<(), DrawError> {
    if values.len() as u64 == expected && target.dtype == T::DTYPE {
        return Ok(());
    }
    Err(DrawError::Elements {
        expected,
        expected_dtype: target.dtype,
        found: values.len(),
        found_dtype: T::DTYPE,
    })
}

/// Writes the draw as a call of PyTorch's function without the tensor: `normal_(0, 0.02)`.
impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args().iter().map(f64::to_string).collect();
        write!(f, "{}({})", self.name(), args.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    #[test]
    fn every_draw_round_trips_through_name_and_arguments() {
        for name in Draw::NAMES {
            let arity = Draw::arity(name).unwrap();
            let args: Vec<f64> = (0..arity).map(|i| i as f64 + 0.5).collect();
            let draw = Draw::new(name, &args).unwrap();
            assert_eq!((draw.name(), draw.args()), (*name, args.clone()));
            let too_many: Vec<f64> = args.iter().copied().chain([1.0]).collect();
            assert_eq!(Draw::new(name, &too_many), None);
        }
        assert_eq!(Draw::new("dropout", &[0.5]), None);
    }

    #[test]
    fn fills_consume_the_declared_words() {
        let engine = Engine::default();
        for draw in [
            Draw::from(Uniform {
                from: -1.0,
                to: 1.0,
            }),
            Draw::from(Normal {
                mean: 0.5,
                std: 2.0,
            }),
            Draw::from(Sparse {
                sparsity: 0.4,
                std: 0.1,
            }),
        ] {
            for shape in [[0, 5], [3, 5], [5, 5], [16, 16], [7, 40]] {
                for contiguous in [true, false] {
                    for cached in [true, false] {
                        let mut generator = Mt19937::new(3);
                        if cached {
                            let one = Normal {
                                mean: 0.0,
                                std: 1.0,
                            };
                            let target = Target::new(Dtype::Float32, &[1]);
                            one.fill(&engine, &mut generator, target, &mut [0f32])
                                .unwrap();
                        }
                        let target = Target {
                            contiguous,
                            ..Target::new(Dtype::Float64, &shape)
                        };
                        let consumed = draw.consumed(target, Some(cached));
                        let mut expected = generator.clone();
                        expected.skip(consumed.words.unwrap());
                        let mut skipped = generator.clone();
                        assert!(draw.skip(&engine, &mut skipped, target));
                        let mut values = vec![0f64; target.numel() as usize];
                        if !contiguous && matches!(draw, Draw::Sparse(_)) {
                            continue;
                        }
                        draw.fill(&engine, &mut generator, target, &mut values)
                            .unwrap();
                        assert_eq!(skipped.state(), generator.state(), "{draw} {target:?}");
                        assert_eq!(
                            Some(generator.next_double_normal().is_some()),
                            consumed.cached
                        );
                        assert_eq!(
                            generator.next_u32(),
                            expected.next_u32(),
                            "{draw} {target:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn ranges_equal_parts_of_the_whole_draw() {
        fn check<T: Element + std::fmt::Debug + Default>() {
            let engine = Engine::default();
            let start = Mt19937::new(8);
            for draw in [
                Draw::from(Uniform {
                    from: -1.0,
                    to: 1.0,
                }),
                Draw::from(Normal {
                    mean: 0.5,
                    std: 2.0,
                }),
            ] {
                for numel in [1u64, 15, 16, 17, 40, 95, 96, 1000] {
                    let shape = [numel];
                    let target = Target::new(T::DTYPE, &shape);
                    if !draw.has_ranges(target) {
                        assert!(numel < 16, "{draw}");
                        continue;
                    }
                    let mut whole = vec![T::default(); numel as usize];
                    draw.fill(&engine, &mut start.clone(), target, &mut whole)
                        .unwrap();
                    for (from, to) in [
                        (0, numel),
                        (0, 1),
                        (numel - 1, numel),
                        (numel / 3, numel / 2),
                        (3, 3),
                    ] {
                        let range = from.min(numel)..to.min(numel).max(from.min(numel));
                        let mut part = vec![T::default(); (range.end - range.start) as usize];
                        draw.fill_range(&engine, &start, target, range.clone(), &mut part)
                            .unwrap();
                        assert_eq!(
                            part,
                            whole[range.start as usize..range.end as usize],
                            "{draw} {numel} {range:?}"
                        );
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
        check::<half::bf16>();
        check::<half::f16>();
    }

    #[test]
    fn chunks_equal_the_whole_draw() {
        fn check<T: Element + fmt::Debug + Default>() {
            let engine = Engine::default();
            for draw in [
                Draw::from(Uniform {
                    from: -1.0,
                    to: 1.0,
                }),
                Draw::from(Normal {
                    mean: 0.5,
                    std: 2.0,
                }),
            ] {
                for numel in [16, 17, 40, 95, 96, 300_000, 300_001] {
                    let shape = [numel];
                    let target = Target::new(T::DTYPE, &shape);
                    let (mut generator, mut expected) = (Mt19937::new(8), Mt19937::new(8));
                    let mut values = vec![T::default(); numel as usize];
                    let chunks = draw.chunks(&engine, target, &mut values).unwrap();
                    let words = chunks.iter().map(Chunk::words).sum();
                    assert_eq!(draw.consumed(target, Some(false)).words, Some(words));
                    engine.fill_chunks(&mut generator, chunks);
                    let mut whole = vec![T::default(); numel as usize];
                    draw.fill(&engine, &mut expected, target, &mut whole)
                        .unwrap();
                    assert!(values == whole, "{draw} {numel}");
                    assert_eq!(generator, expected, "{draw} {numel}");
                }
            }
        }
        check::<f32>();
        check::<f64>();
        check::<half::bf16>();
        check::<half::f16>();
    }

    #[test]
    fn mismatched_elements_are_rejected() {
        let (engine, start) = (Engine::default(), Mt19937::new(1));
        let draw = Draw::from(Uniform { from: 0.0, to: 1.0 });
        let target = Target::new(Dtype::Float32, &[4, 5]);
        let error = |expected, found, found_dtype| {
            Err(DrawError::Elements {
                expected,
                expected_dtype: Dtype::Float32,
                found,
                found_dtype,
            })
        };
        let mut generator = start.clone();
        assert_eq!(
            draw.fill(&engine, &mut generator, target, &mut [0f32; 19]),
            error(20, 19, Dtype::Float32)
        );
        assert_eq!(
            draw.fill(&engine, &mut generator, target, &mut [0f64; 20]),
            error(20, 20, Dtype::Float64)
        );
        assert_eq!(generator, start);
        let mut few = [0f32; 3];
        assert_eq!(
            draw.fill_range(&engine, &start, target, 0..4, &mut few),
            error(4, 3, Dtype::Float32)
        );
        assert_eq!(
            draw.fill_range(&engine, &start, target, 18..21, &mut few),
            Err(DrawError::Range("uniform_"))
        );
    }
}
