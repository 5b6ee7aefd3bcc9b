//! What a plan says is done.

use super::view::View;
use torch_rng::Draw;

/// A step: `out` is overwritten, and nothing is read but the arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub op: Op,
    /// The view that is written.
    pub out: usize,
}

/// A Python number; its type affects what is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// An `int`.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `bool`.
    Bool(bool),
}

/// A tensor, by its view, or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operand {
    View(usize),
    Scalar(Scalar),
}

/// The steps of `docs/plan.md`; a `usize` is a view.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Draw(Draw),
    Fill(Scalar),
    Const(Box<[u8]>),
    Arange {
        start: Scalar,
        end: Scalar,
        step: Scalar,
    },
    Eye,
    Dirac {
        groups: i64,
    },
    Copy(usize),
    Add {
        a: Operand,
        b: Operand,
        alpha: Scalar,
        subtract: bool,
    },
    Mul(usize, Operand),
    Div(usize, Operand, Option<Rounding>),
    Pow(Operand, Operand),
    Clamp(usize, Option<Scalar>, Option<Scalar>),
    Unary(Unary, usize),
    Compare(Comparison, usize, Operand),
    Where(usize, Operand, Operand),
    MaskedFill(usize, usize, Scalar),
    Reduce(Reduction, usize, Option<Box<[i64]>>, bool),
    Mv(usize, usize),
    Cat(Box<[usize]>, i64),
    Stack(Box<[usize]>, i64),
    Pad(usize, Box<[i64]>, Scalar),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    Floor,
    Trunc,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unary {
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
    pub(super) const ALL: [Unary; 11] = [
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

    pub(super) fn name(self) -> &'static str {
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

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    pub(super) const ALL: [Comparison; 6] = [
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Gt,
        Comparison::Ge,
    ];

    pub(super) fn name(self) -> &'static str {
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

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reduction {
    Sum,
    Norm(Scalar),
    VectorNorm(Scalar),
}

impl Op {
    /// As the format calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Op::Draw(draw) => draw.name(),
            Op::Fill(_) => "fill_",
            Op::Const(_) => "const",
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
        }
    }

    /// Whether it moves the generator.
    pub(super) fn is_draw(&self) -> bool {
        matches!(self, Op::Draw(_))
    }

    /// The views that it reads, in the order of its arguments.
    pub(super) fn reads(&self) -> Vec<usize> {
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
    pub(super) fn map_views(&self, mut map: impl FnMut(usize) -> usize) -> Op {
        let operand = |operand: Operand, map: &mut dyn FnMut(usize) -> usize| match operand {
            Operand::View(view) => Operand::View(map(view)),
            Operand::Scalar(_) => operand,
        };
        let map = &mut map;
        match *self {
            Op::Draw(_)
            | Op::Fill(_)
            | Op::Const(_)
            | Op::Arange { .. }
            | Op::Eye
            | Op::Dirac { .. } => self.clone(),
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
    /// The place that is written.
    pub(super) fn target<'a>(&self, views: &'a [View]) -> &'a View {
        &views[self.out]
    }
}
