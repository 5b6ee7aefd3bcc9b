//! The list of draws.
//!
//! A draw is one variant of [`Draw`] and one file here, which holds everything there is to know of
//! it: its name and arguments, how many words of the stream it takes, and how it fills memory.

mod normal;
mod orthogonal;
mod randperm;
mod sparse;
mod trunc_normal;
mod uniform;

pub use normal::Normal;
pub(crate) use normal::block_words as normal_block_words;
pub use orthogonal::Orthogonal;
pub use randperm::Randperm;
pub use sparse::Sparse;
pub use trunc_normal::TruncNormal;
pub use uniform::Uniform;

use crate::distribution::{DrawError, Element, Engine};
use crate::{Dtype, Mt19937};
use std::fmt;
use std::ops::{Range, RangeInclusive};

/// The tensor that a draw fills, as far as it affects the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The dtype of its elements.
    pub dtype: Dtype,
    /// The size of each dimension.
    pub shape: &'a [u64],
    /// Whether the tensor is contiguous. Elements of others are drawn one by one, in memory order.
    pub contiguous: bool,
}

impl<'a> Target<'a> {
    /// A contiguous tensor.
    pub fn new(dtype: Dtype, shape: &'a [u64]) -> Target<'a> {
        Target {
            dtype,
            shape,
            contiguous: true,
        }
    }

    /// The number of elements; saturates.
    pub fn numel(&self) -> u64 {
        let sizes = self.shape.iter();
        sizes.fold(1, |numel: u64, size| numel.saturating_mul(*size))
    }
}

/// What a draw takes from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumed {
    /// The number of 32-bit words; `None` if it depends on their values or overflows.
    pub words: Option<u64>,
    /// Whether the generator [caches a normal](Mt19937::next_double_normal) afterwards; `None` if
    /// that is not known.
    pub cached: Option<bool>,
}

/// What every draw knows of itself.
pub(crate) trait Rule: Copy + Sized {
    /// The name of PyTorch's function.
    const NAME: &'static str;
    /// The number of arguments.
    const ARITY: usize;

    /// The arguments, in the order of PyTorch's function.
    fn args(&self) -> Vec<f64>;

    /// The draw with these arguments, [`ARITY`](Self::ARITY) of them.
    fn from_args(args: &[f64]) -> Option<Self>;

    /// The dtypes that it fills.
    const DTYPES: &'static [Dtype] = &[
        Dtype::Float16,
        Dtype::Bfloat16,
        Dtype::Float32,
        Dtype::Float64,
    ];
    /// The numbers of dimensions of the tensors that it fills.
    const DIMS: RangeInclusive<usize> = 0..=usize::MAX;

    /// Checks the arguments; an error says what was expected and found.
    fn check(&self, target: Target<'_>) -> Result<(), String>;

    /// What it takes from a generator that caches a normal, does not, or may.
    fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed;

    /// The number of normals that it draws one by one, before anything else.
    fn serial_normals(&self, _target: Target<'_>) -> u64 {
        0
    }

    /// Fills the elements of `target`, in memory order.
    fn fill<T: Element>(
        &self,
        engine: &Engine,
        generator: &mut Mt19937,
        target: Target<'_>,
        values: &mut [T],
    ) -> Result<(), DrawError>;

    /// Whether [`fill_range`](Self::fill_range) works for this target.
    fn has_ranges(&self, _target: Target<'_>) -> bool {
        false
    }

    /// Fills `values` with the elements of `range` only; `start` is the generator where the draw
    /// begins.
    fn fill_range<T: Element>(
        &self,
        _engine: &Engine,
        _start: &Mt19937,
        _target: Target<'_>,
        _range: Range<u64>,
        _values: &mut [T],
    ) -> Result<(), DrawError> {
        Err(DrawError::Range(Self::NAME))
    }
}

/// Why PyTorch would not make a draw: what was expected and what was found.
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
        return false;
    };
    let skipped = normal::skip_serial(engine, generator, draw.serial_normals(target));
    engine.skip(generator, words - skipped);
    true
}

/// A standard deviation that PyTorch takes.
fn check_std(std: f64) -> Result<(), String> {
    match std >= 0.0 {
        true => Ok(()),
        false => Err(format!("expected std of 0 or more, found {std}")),
    }
}

macro_rules! draws {
    ($($kind:ident)*) => {
        /// A draw of PyTorch's CPU generator with its arguments.
        ///
        /// ```
        /// use torch_rng::distribution::Engine;
        /// use torch_rng::{Draw, Dtype, Mt19937, Target, Uniform};
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
        /// # Ok::<(), torch_rng::distribution::DrawError>(())
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

            /// The number of arguments of the draw of this name; `None` if no draw has it.
            pub fn arity(name: &str) -> Option<usize> {
                match name {
                    $(<$kind as Rule>::NAME => Some(<$kind as Rule>::ARITY),)*
                    _ => None,
                }
            }

            /// The draw of this name with these arguments; `None` if no draw has the name or takes
            /// as many.
            pub fn new(name: &str, args: &[f64]) -> Option<Draw> {
                match name {
                    $(<$kind as Rule>::NAME => <$kind as Rule>::from_args(args).map(Draw::$kind),)*
                    _ => None,
                }
            }

            /// Checks that PyTorch would draw this into `target`: its dtype, its number of
            /// dimensions and the arguments.
            ///
            /// # Errors
            ///
            /// [`ArgumentError`], which says what was expected and what was found.
            pub fn check(&self, target: Target<'_>) -> Result<(), ArgumentError> {
                match self { $(Draw::$kind(draw) => check(draw, target),)* }
            }

            /// What the draw takes from the stream of a generator that caches a normal, does not,
            /// or may (`None`).
            pub fn consumed(&self, target: Target<'_>, cached: Option<bool>) -> Consumed {
                match self { $(Draw::$kind(draw) => draw.consumed(target, cached),)* }
            }

            /// Moves the generator by what the draw [consumes](Self::consumed), without making it;
            /// `false`, with nothing done, if that depends on the values.
            pub fn skip(
                &self,
                engine: &Engine,
                generator: &mut Mt19937,
                target: Target<'_>,
            ) -> bool {
                match self { $(Draw::$kind(draw) => skip(draw, engine, generator, target),)* }
            }

            /// Fills `values`, the elements of `target` in memory order, and moves the generator
            /// by what was [consumed](Self::consumed).
            ///
            /// # Errors
            ///
            /// [`DrawError`] for arguments that PyTorch refuses, and [`DrawError::NeedsLibtorch`]
            /// for a draw that ends in a computation of libtorch's. Nothing is drawn then.
            pub fn fill<T: Element>(
                &self,
                engine: &Engine,
                generator: &mut Mt19937,
                target: Target<'_>,
                values: &mut [T],
            ) -> Result<(), DrawError> {
                match self { $(Draw::$kind(draw) => draw.fill(engine, generator, target, values),)* }
            }

            /// Whether a range of the elements of `target` can be filled without the others.
            pub fn has_ranges(&self, target: Target<'_>) -> bool {
                match self { $(Draw::$kind(draw) => draw.has_ranges(target),)* }
            }

            /// Fills `values` with the elements `range` of `target` only. `start` stands where the
            /// whole draw begins.
            ///
            /// # Errors
            ///
            /// As [`fill`](Self::fill); [`DrawError::Range`] unless the draw
            /// [has ranges](Self::has_ranges).
            pub fn fill_range<T: Element>(
                &self,
                engine: &Engine,
                start: &Mt19937,
                target: Target<'_>,
                range: Range<u64>,
                values: &mut [T],
            ) -> Result<(), DrawError> {
                match self {
                    $(Draw::$kind(draw) => draw.fill_range(engine, start, target, range, values),)*
                }
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

/// As a call of PyTorch's function, without the tensor: `normal_(0, 0.02)`.
impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args().iter().map(f64::to_string).collect();
        write!(f, "{}({})", self.name(), args.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draw_is_made_again_from_its_name_and_arguments() {
        for name in Draw::NAMES {
            let arity = Draw::arity(name).unwrap();
            let args: Vec<f64> = (0..arity).map(|i| i as f64 + 0.5).collect();
            let draw = Draw::new(name, &args).unwrap();
            assert_eq!((draw.name(), draw.args()), (*name, args.clone()));
            let more: Vec<f64> = args.iter().copied().chain([1.0]).collect();
            assert_eq!(Draw::new(name, &more), None);
        }
        assert_eq!(Draw::new("dropout", &[0.5]), None);
    }

    #[test]
    fn fills_consume_what_is_said() {
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
                        assert_eq!(
                            skipped.to_state(),
                            generator.to_state(),
                            "{draw} {target:?}"
                        );
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
    fn ranges_are_parts_of_the_whole() {
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
}
