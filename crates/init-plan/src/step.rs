//! The steps of a plan.

use crate::operator::OperatorCall;
use crate::scalar::Scalar;
use crate::view::View;
use torch_rng::{Draw, Seed};

/// A step of a plan: it overwrites its outputs and reads only the views among its arguments.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What is drawn or computed.
    pub op: Op,
    /// The numbers of the views that are written: one, but any number for a call of an operator, and
    /// none for a change of streams.
    pub outs: Box<[usize]>,
}

/// A tensor, by the number of its view, or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand {
    /// The number of a view.
    View(usize),
    /// A number.
    Scalar(Scalar),
}

/// What a step draws or computes, as `docs/plan.md` describes it. Each `usize` is the number of a
/// view that is read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Values from the generator.
    Draw(Draw),
    /// One value everywhere.
    Fill(Scalar),
    /// The given elements: little-endian, in row-major order.
    Const(Box<[u8]>),
    /// The elements of the tensor of this name in the file beside the plan.
    Data(Box<str>),
    /// `torch.arange(start, end, step)`.
    Arange {
        /// The first value.
        start: Scalar,
        /// The end, which is not reached.
        end: Scalar,
        /// The difference of two values.
        step: Scalar,
    },
    /// The identity matrix.
    Eye,
    /// The Dirac delta, as `torch.nn.init.dirac_`.
    Dirac {
        /// The groups of the convolution.
        groups: i64,
    },
    /// The values of a view, cast.
    Copy(usize),
    /// `a + alpha * b`, or `a - alpha * b`. If `a` is a number, it is subtracted from.
    Add {
        /// The first operand.
        a: Operand,
        /// The second operand.
        b: Operand,
        /// The factor of the second operand.
        alpha: Scalar,
        /// Whether to subtract.
        subtract: bool,
    },
    /// The product.
    Mul(usize, Operand),
    /// The quotient.
    Div(usize, Operand, Option<Rounding>),
    /// The first operand to the power of the second; one of them is a view.
    Pow(Operand, Operand),
    /// Values limited to at least the first and at most the second bound.
    Clamp(usize, Option<Scalar>, Option<Scalar>),
    /// A function of each element.
    Unary(Unary, usize),
    /// A comparison of each element.
    Compare(Comparison, usize, Operand),
    /// `torch.where(condition, a, b)`.
    Where(usize, Operand, Operand),
    /// The first view, with the value where the second one is true.
    MaskedFill(usize, usize, Scalar),
    /// A reduction over dimensions (all, if there are none); the last argument is `keepdim`.
    Reduce(Reduction, usize, Option<Box<[i64]>>, bool),
    /// A matrix times a vector.
    Mv(usize, usize),
    /// Views one after the other in a dimension.
    Cat(Box<[usize]>, i64),
    /// Views one after the other in a new dimension.
    Stack(Box<[usize]>, i64),
    /// A view padded with a value, as `torch.nn.functional.pad`.
    Pad(usize, Box<[i64]>, Scalar),
    /// What an operator of libtorch computes or draws.
    Call(OperatorCall),
    /// Another stream, or another position of one.
    Stream(StreamChange),
}

/// A change of the streams from which a plan draws. Stream 0 is that of the default generator; others have a
/// position once they are seeded or copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamChange {
    /// Moves a stream to the start of a seed.
    Seed {
        /// The stream.
        stream: u64,
        /// The seed.
        seed: Seed,
    },
    /// Moves a stream to the position of another one.
    Copy {
        /// The stream that is moved.
        to: u64,
        /// The stream whose position is taken.
        from: u64,
    },
    /// The stream of all later draws.
    Use(u64),
}

/// How a quotient is rounded to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Down.
    Floor,
    /// Toward zero.
    Trunc,
}

/// A function of one element; each has the name of PyTorch's function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Unary {
    Neg,
    Abs,
    Sign,
    Reciprocal,
    Exp,
    Expm1,
    Log,
    Sin,
    Cos,
    Erfinv,
    BitwiseNot,
}

impl Unary {
    pub(crate) const ALL: [Unary; 11] = [
        Unary::Neg,
        Unary::Abs,
        Unary::Sign,
        Unary::Reciprocal,
        Unary::Exp,
        Unary::Expm1,
        Unary::Log,
        Unary::Sin,
        Unary::Cos,
        Unary::Erfinv,
        Unary::BitwiseNot,
    ];

    /// The name of PyTorch's function.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Reciprocal => "reciprocal",
            Unary::Exp => "exp",
            Unary::Expm1 => "expm1",
            Unary::Log => "log",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Erfinv => "erfinv",
            Unary::BitwiseNot => "bitwise_not",
        }
    }
}

/// A comparison, by the name of PyTorch's function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    pub(crate) const ALL: [Comparison; 6] = [
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Gt,
        Comparison::Ge,
    ];

    /// The name of PyTorch's function.
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Eq => "eq",
            Comparison::Ne => "ne",
            Comparison::Lt => "lt",
            Comparison::Le => "le",
            Comparison::Gt => "gt",
            Comparison::Ge => "ge",
        }
    }
}

/// A reduction of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The norm of this order, as `torch.norm`.
    Norm(Scalar),
    /// The norm of this order, as `torch.linalg.vector_norm`.
    VectorNorm(Scalar),
}

impl Op {
    /// The name in the format.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Draw(draw) => draw.name(),
            Op::Fill(_) => "fill_",
            Op::Const(_) => "const",
            Op::Data(_) => "data",
            Op::Arange { .. } => "arange",
            Op::Eye => "eye",
            Op::Dirac { .. } => "dirac_",
            Op::Copy(_) => "copy_",
            Op::Add {
                subtract: false, ..
            } => "add",
            Op::Add {
                subtract: true,
                a: Operand::Scalar(_),
                ..
            } => "rsub",
            Op::Add { subtract: true, .. } => "sub",
            Op::Mul(..) => "mul",
            Op::Div(..) => "div",
            Op::Pow(..) => "pow",
            Op::Clamp(..) => "clamp",
            Op::Unary(unary, _) => unary.name(),
            Op::Compare(comparison, ..) => comparison.name(),
            Op::Where(..) => "where",
            Op::MaskedFill(..) => "masked_fill",
            Op::Reduce(Reduction::Sum, ..) => "sum",
            Op::Reduce(Reduction::Norm(_), ..) => "norm",
            Op::Reduce(Reduction::VectorNorm(_), ..) => "linalg_vector_norm",
            Op::Mv(..) => "mv",
            Op::Cat(..) => "cat",
            Op::Stack(..) => "stack",
            Op::Pad(..) => "constant_pad_nd",
            Op::Call(call) => call.operator.name(),
            Op::Stream(StreamChange::Seed { .. }) => "manual_seed",
            Op::Stream(StreamChange::Copy { .. }) => "copy_state",
            Op::Stream(StreamChange::Use(_)) => "use_stream",
        }
    }

    /// Whether it moves the generator by drawing.
    pub fn is_draw(&self) -> bool {
        match self {
            Op::Draw(_) => true,
            Op::Call(call) => call.operator.is_draw(),
            _ => false,
        }
    }

    /// Whether it is executed even if nothing depends on its outputs, since only that moves the stream as it
    /// does, or since it is an assertion.
    pub(crate) fn is_always_live(&self) -> bool {
        match self {
            Op::Call(call) => call.operator.is_draw() || call.operator.is_assertion(),
            _ => false,
        }
    }

    /// The views that it reads, in the order of its arguments.
    pub fn reads(&self) -> Vec<usize> {
        let mut views = Vec::new();
        // A constant is not cloned.
        if !matches!(self, Op::Const(_)) {
            self.map_views(|view| {
                views.push(view);
                view
            });
        }
        views
    }

    /// The same operation on other views.
    pub(crate) fn map_views(&self, mut map: impl FnMut(usize) -> usize) -> Op {
        let operand = |operand: Operand, map: &mut dyn FnMut(usize) -> usize| match operand {
            Operand::View(view) => Operand::View(map(view)),
            Operand::Scalar(_) => operand,
        };
        let map = &mut map;
        match *self {
            Op::Draw(_)
            | Op::Fill(_)
            | Op::Const(_)
            | Op::Data(_)
            | Op::Arange { .. }
            | Op::Eye
            | Op::Stream(_)
            | Op::Dirac { .. } => self.clone(),
            Op::Call(ref call) => Op::Call(call.map_views(map)),
            Op::Copy(a) => Op::Copy(map(a)),
            Op::Add {
                a,
                b,
                alpha,
                subtract,
            } => Op::Add {
                a: operand(a, map),
                b: operand(b, map),
                alpha,
                subtract,
            },
            Op::Mul(a, b) => Op::Mul(map(a), operand(b, map)),
            Op::Div(a, b, rounding) => Op::Div(map(a), operand(b, map), rounding),
            Op::Pow(a, b) => Op::Pow(operand(a, map), operand(b, map)),
            Op::Clamp(a, min, max) => Op::Clamp(map(a), min, max),
            Op::Unary(unary, a) => Op::Unary(unary, map(a)),
            Op::Compare(comparison, a, b) => Op::Compare(comparison, map(a), operand(b, map)),
            Op::Where(condition, a, b) => {
                Op::Where(map(condition), operand(a, map), operand(b, map))
            }
            Op::MaskedFill(a, mask, value) => Op::MaskedFill(map(a), map(mask), value),
            Op::Reduce(reduction, a, ref dims, keepdim) => {
                Op::Reduce(reduction, map(a), dims.clone(), keepdim)
            }
            Op::Mv(a, b) => Op::Mv(map(a), map(b)),
            Op::Cat(ref tensors, dim) => Op::Cat(tensors.iter().map(|a| map(*a)).collect(), dim),
            Op::Stack(ref tensors, dim) => {
                Op::Stack(tensors.iter().map(|a| map(*a)).collect(), dim)
            }
            Op::Pad(a, ref pad, value) => Op::Pad(map(a), pad.clone(), value),
        }
    }
}

impl Step {
    /// A step with one output.
    pub(crate) fn new(op: Op, out: usize) -> Step {
        Step {
            op,
            outs: Box::new([out]),
        }
    }

    /// The views that are written.
    pub(crate) fn targets<'a>(&self, views: &'a [View]) -> impl Iterator<Item = &'a View> {
        self.outs.iter().map(|out| &views[*out])
    }
}
