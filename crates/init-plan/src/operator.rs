//! Operators of libtorch that a plan may call by their schema.
//!
//! The list is closed. No operator of it reads or writes anything but its tensors, all check their indices,
//! none runs on for ever; and a rule bounds the size of each result by the plan alone, so that
//! a plan that was written by hand allocates no more than its views say.

use crate::scalar::Scalar;
use crate::view::{View, product};

/// A call of an operator of libtorch by its schema.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OperatorCall {
    /// The operator.
    pub operator: Operator,
    /// The name of its overload, empty for the default one.
    pub overload: Box<str>,
    /// The arguments in the order of the schema. Trailing ones may be absent, which then have the schema's
    /// defaults. An operator that draws into its output lacks the output itself.
    pub args: Box<[Argument]>,
}

/// An argument of an operator.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Argument {
    /// The absence of an optional argument.
    Null,
    /// The number of a view.
    View(usize),
    /// A number.
    Scalar(Scalar),
    /// A text, or the name of a dtype.
    Text(Box<str>),
    /// The numbers of views, some of which may be absent.
    Views(Box<[Option<usize>]>),
    /// Numbers.
    Scalars(Box<[Scalar]>),
}

/// An operator of libtorch that a plan may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    name: &'static str,
    rule: Rule,
    draws: bool,
}

/// What a plan says about the shapes of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All tensors broadcast; without any, the integers in the list are the sizes.
    Broadcast,
    /// That of the tensor with this number among the tensors.
    Like(usize),
    /// At most as many elements as the first tensor has, or one.
    Within,
    /// One dimension, of the size that the argument of this number says.
    Length(usize),
    /// Two dimensions for the last one, which is on their diagonal.
    DiagEmbed,
    /// Matrices on the diagonal of one; a tensor of one dimension is a row.
    BlockDiagonal,
    /// A row for each row of one tensor, a column for each of the other.
    Distances,
    /// One for each pair of rows.
    Pairs,
    /// A solution with as many rows as a matrix has columns, as many columns as the second one has, and what tells how good it is.
    LeastSquares,
    /// A Fourier transform of the dimensions in the list; for complex to real, the last argument is the size of the last of them.
    Fourier,
    /// A layer of an LSTM: its outputs, and the hidden and the cell state at the end.
    Lstm,
    /// The first tensor, with another size in one dimension.
    IndexSelect,
    /// The first tensor, with the shape of the indices for the indexed dimensions.
    Index,
    /// The shape of the second tensor, then the last size of the first one.
    Embedding,
    /// As many elements as the second argument says.
    RepeatInterleave,
    /// Rows of one tensor by columns of another.
    Product,
    /// Factors of an m by n matrix: m by k, k by n, and for a text of `complete` m by m.
    Qr,
    /// Factors of an m by n matrix; all of m by m and n by n if the second argument is true.
    Svd,
    /// The first two sizes of the tensor, then the integers in the list.
    Resized,
    /// The sizes of the tensor and what the integers in the list add at both ends, from the last one on.
    Padded,
    /// A convolution by the second tensor.
    Convolution,
    /// Square matrices of the larger size, which are one of the outputs, and the factors.
    Square,
    /// Rows of the tensor, and as many columns as the second argument says.
    Multinomial,
    /// A draw into the output itself; tensors broadcast to it.
    InPlace,
    /// No result.
    Nothing,
}

/// The operators, by their rules and whether they draw.
#[rustfmt::skip]
const OPERATORS: &[(Rule, bool, &[&str])] = &[
    (Rule::Broadcast, false, &[
        "_conj_physical", "_to_copy", "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "angle", "asin",
        "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or",
        "bitwise_right_shift", "bitwise_xor", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "clone",
        "complex", "copysign", "cos", "cosh", "deg2rad", "digamma", "div", "elu", "eq", "erf", "erfc",
        "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "frexp",
        "full", "full_like", "ge", "gelu", "gt", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
        "heaviside", "hypot", "i0", "isinf", "isnan", "isneginf", "isposinf", "le", "leaky_relu", "linalg_cross", "lerp",
        "lgamma", "log", "log10", "log1p", "log2", "log_sigmoid_forward", "logaddexp", "logaddexp2",
        "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "lt", "masked_fill", "maximum",
        "minimum", "mish", "mul", "mvlgamma", "nan_to_num", "ne", "neg", "nextafter", "ones", "ones_like",
        "polar", "pow", "rad2deg", "reciprocal", "relu", "remainder", "round", "rsqrt", "rsub", "sgn",
        "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus", "softshrink",
        "special_bessel_j0", "special_bessel_j1", "special_entr", "special_erfcx", "special_i0e",
        "special_i1", "special_i1e", "special_log_ndtr", "special_ndtri", "special_xlog1py", "sqrt", "sub",
        "tan", "tanh", "threshold", "trunc", "where", "xlogy", "zeros", "zeros_like",
    ]),
    (Rule::Like(0), false, &[
        "_log_softmax", "_safe_softmax", "_softmax", "argsort", "bucketize", "cholesky", "cholesky_inverse",
        "cummax", "cummin", "cumprod", "cumsum", "diagonal_scatter", "flip", "index_add", "index_copy",
        "index_fill", "index_put", "index_reduce", "linalg_householder_product", "linalg_matrix_exp",
        "logcumsumexp", "put", "renorm", "roll", "scatter", "scatter_add", "scatter_reduce",
        "select_scatter", "slice_scatter", "sort", "tril", "triu", "cholesky_solve", "isin", "masked_scatter",
    ]),
    (Rule::Like(1), false, &[
        "gather", "searchsorted", "take",
    ]),
    (Rule::Within, false, &[
        "glu", "_linalg_det", "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "max_pool2d_with_indices", "max_pool3d_with_indices", "_linalg_eigh", "_linalg_slogdet", "_weight_norm_interface", "all", "amax", "amin",
        "aminmax", "any", "argmax", "argmin", "count_nonzero", "diagonal_copy", "geqrf", "kthvalue",
        "linalg_cholesky_ex", "linalg_eig", "linalg_inv_ex", "linalg_lu_factor_ex", "linalg_pinv",
        "linalg_vector_norm", "logsumexp", "max", "mean", "median", "min", "mode", "nanmedian", "nansum",
        "native_group_norm", "native_layer_norm", "norm", "permute_copy", "pixel_shuffle", "pixel_unshuffle", "avg_pool1d", "avg_pool2d", "avg_pool3d", "prod", "rot90", "select_copy", "slice_copy", "std",
        "std_mean", "sum", "t_copy", "topk", "trace", "transpose_copy", "var", "var_mean",
        "view_as_complex_copy",
    ]),
    (Rule::Length(0), false, &[
        "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window",
    ]),
    (Rule::Length(2), false, &[
        "linspace", "logspace",
    ]),
    (Rule::DiagEmbed, false, &[
        "diag_embed",
    ]),
    (Rule::BlockDiagonal, false, &[
        "block_diag",
    ]),
    (Rule::Distances, false, &[
        "_cdist_forward", "_euclidean_dist",
    ]),
    (Rule::Pairs, false, &[
        "_pdist_forward",
    ]),
    (Rule::LeastSquares, false, &[
        "linalg_lstsq",
    ]),
    (Rule::Fourier, false, &[
        "_fft_c2c", "_fft_c2r", "_fft_r2c",
    ]),
    (Rule::Lstm, false, &[
        "mkldnn_rnn_layer",
    ]),
    (Rule::IndexSelect, false, &[
        "index_select",
    ]),
    (Rule::Index, false, &[
        "index",
    ]),
    (Rule::Embedding, false, &[
        "embedding",
    ]),
    (Rule::RepeatInterleave, false, &[
        "repeat_interleave",
    ]),
    (Rule::Product, false, &[
        "_linalg_solve_ex", "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "dot", "linalg_solve_triangular",
        "mm", "mv", "vdot",
    ]),
    (Rule::Qr, false, &[
        "linalg_qr",
    ]),
    (Rule::Svd, false, &[
        "_linalg_svd",
    ]),
    (Rule::Resized, false, &[
        "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_bicubic2d",
        "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d",
        "upsample_nearest3d", "upsample_trilinear3d",
    ]),
    (Rule::Padded, false, &[
        "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
        "replication_pad2d", "replication_pad3d",
    ]),
    (Rule::Convolution, false, &[
        "convolution",
    ]),
    (Rule::Square, false, &[
        "linalg_lu", "lu_unpack",
    ]),
    (Rule::Nothing, false, &[
        "_assert_async",
    ]),
    (Rule::Broadcast, true, &[
        "bernoulli", "normal", "poisson", "rand", "randint", "randn",
    ]),
    (Rule::Like(0), true, &[
        "_sample_dirichlet", "_standard_gamma", "rand_like", "randint_like", "randn_like",
        "rrelu_with_noise_functional",
    ]),
    (Rule::Length(0), true, &[
        "randperm",
    ]),
    (Rule::Multinomial, true, &[
        "multinomial",
    ]),
    (Rule::InPlace, true, &[
        "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_",
        "uniform_",
    ]),
];

impl Operator {
    /// The operator of this name, as `aten::sort`; `None` if plans may not call it.
    pub fn find(name: &str) -> Option<Operator> {
        let name = name.strip_prefix("aten::")?;
        OPERATORS.iter().find_map(|(rule, draws, names)| {
            let name = names.iter().find(|known| **known == name)?;
            Some(Operator {
                name,
                rule: *rule,
                draws: *draws,
            })
        })
    }

    /// The names of all operators, without the `aten::` before each.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OPERATORS
            .iter()
            .flat_map(|(_, _, names)| names.iter().copied())
    }

    /// The name without the `aten::` before it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it draws from a generator.
    pub fn is_draw(&self) -> bool {
        self.draws
    }

    /// Whether it draws into the memory of its output, as `exponential_`, instead of making a tensor.
    pub fn is_in_place(&self) -> bool {
        self.rule == Rule::InPlace
    }

    /// Whether it has no result: an assertion, which is always made.
    pub fn is_assertion(&self) -> bool {
        self.rule == Rule::Nothing
    }
}

impl OperatorCall {
    /// The views that it reads, in the order of its arguments.
    pub fn reads(&self) -> impl Iterator<Item = usize> {
        self.args.iter().flat_map(|argument| match argument {
            Argument::View(view) => vec![*view],
            Argument::Views(views) => views.iter().flatten().copied().collect(),
            _ => Vec::new(),
        })
    }

    /// The same call with other views.
    pub(crate) fn map_views(&self, map: &mut dyn FnMut(usize) -> usize) -> OperatorCall {
        let argument = |argument: &Argument| match argument {
            Argument::View(view) => Argument::View(map(*view)),
            Argument::Views(views) => {
                Argument::Views(views.iter().map(|view| view.map(&mut *map)).collect())
            }
            other => other.clone(),
        };
        OperatorCall {
            args: self.args.iter().map(argument).collect(),
            ..self.clone()
        }
    }

    /// The argument of this number as an integer.
    pub(crate) fn int(&self, argument: usize) -> Option<i64> {
        match self.args.get(argument) {
            Some(Argument::Scalar(Scalar::Int(value))) => Some(*value),
            _ => None,
        }
    }

    /// The first list of integers.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        self.args.iter().find_map(|argument| match argument {
            Argument::Scalars(list) => list
                .iter()
                .map(|value| match value {
                    Scalar::Int(value) => Some(*value),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    fn flag(&self, argument: usize) -> bool {
        matches!(
            self.args.get(argument),
            Some(Argument::Scalar(Scalar::Bool(true)))
        )
    }

    /// Checks the shapes of the outputs, so far as the arguments determine them; an error says what is
    /// wrong. libtorch's result is compared with them once more.
    pub(crate) fn check(&self, outs: &[usize], views: &[View]) -> Result<(), String> {
        let overload = &*self.overload;
        let is_name = overload
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || overload.len() > 64 || overload.split('_').any(|part| part == "out") {
            return Err("expected the overload of a function".to_owned());
        }
        let outs: Vec<&View> = outs.iter().map(|out| &views[*out]).collect();
        if outs.is_empty() != self.operator.is_assertion() {
            return Err(format!(
                "expected another number of outputs, found {}",
                outs.len()
            ));
        }
        let tensors: Vec<&[u64]> = self
            .args
            .iter()
            .filter_map(|argument| match argument {
                Argument::View(view) => Some(views[*view].shape()),
                _ => None,
            })
            .collect();
        let tensor = |number: usize| {
            let shape = tensors.get(number).copied();
            shape.ok_or_else(|| "expected more tensors".to_owned())
        };
        let exactly = |shape: &[u64]| match outs.iter().find(|out| out.shape() != shape) {
            None => Ok(()),
            Some(out) => Err(format!(
                "expected an output of shape {shape:?}, found {:?}",
                out.shape()
            )),
        };
        let at_most = |numel: u64| match outs.iter().find(|out| out.numel() > numel.max(1)) {
            None => Ok(()),
            Some(out) => Err(format!(
                "expected at most {numel} elements, found {}",
                out.numel()
            )),
        };
        let numel = |shape: &[u64]| product(shape).unwrap_or(u64::MAX);
        let unsized_ = || "expected arguments that determine the size of the output".to_owned();
        match self.operator.rule {
            Rule::Broadcast if tensors.is_empty() => exactly(&self.sizes().ok_or_else(unsized_)?),
            Rule::Broadcast => exactly(&broadcast(&tensors)?),
            Rule::Like(number) => exactly(tensor(number)?),
            Rule::Within => at_most(numel(tensor(0)?)),
            Rule::Length(argument) => {
                let length = self
                    .int(argument)
                    .and_then(|length| u64::try_from(length).ok());
                exactly(&[length.ok_or_else(unsized_)?])
            }
            Rule::DiagEmbed => {
                let (last, rest) = tensor(0)?.split_last().ok_or_else(unsized_)?;
                let offset = self.int(1).unwrap_or(0).unsigned_abs();
                let side = last.checked_add(offset);
                let count = side.and_then(|side| numel(rest).checked_mul(side)?.checked_mul(side));
                same_count(&outs, count)
            }
            Rule::BlockDiagonal => {
                let blocks = self.args.iter().find_map(|argument| match argument {
                    Argument::Views(blocks) => Some(blocks),
                    _ => None,
                });
                let (mut rows, mut columns) = (0u64, 0u64);
                for block in blocks.ok_or_else(unsized_)?.iter().flatten() {
                    let (m, n) = match *views[*block].shape() {
                        [] => (1, 1),
                        [n] => (1, n),
                        [m, n] => (m, n),
                        _ => return Err("expected matrices".to_owned()),
                    };
                    rows = rows.saturating_add(m);
                    columns = columns.saturating_add(n);
                }
                exactly(&[rows, columns])
            }
            Rule::Distances => match (tensor(0)?, tensor(1)?) {
                ([batch @ .., p, a], [other @ .., r, b]) if a == b => {
                    let mut shape = broadcast(&[batch, other])?;
                    shape.extend([*p, *r]);
                    exactly(&shape)
                }
                _ => Err("expected rows of one size".to_owned()),
            },
            Rule::Pairs => match tensor(0)? {
                [n, _] => same_count(&outs, n.checked_mul(n.saturating_sub(1)).map(|n| n / 2)),
                _ => Err("expected a matrix".to_owned()),
            },
            Rule::LeastSquares => {
                let (a, b) = (tensor(0)?, tensor(1)?);
                let [.., m, n] = *a else {
                    return Err("expected a matrix".to_owned());
                };
                let solution = (numel(b) / m.max(1)).checked_mul(n).ok_or_else(unsized_)?;
                at_most(solution.max(numel(a)).max(numel(b)))?;
                match outs.first().is_some_and(|out| out.numel() == solution) {
                    true => Ok(()),
                    false => Err(unsized_()),
                }
            }
            Rule::Fourier => {
                let mut shape = tensor(0)?.to_vec();
                let dims = self.fourier_dims(shape.len()).ok_or_else(|| {
                    "expected dimensions of the tensor, each once, for a transform".to_owned()
                })?;
                let last = dims.last().and_then(|dim| shape.get_mut(*dim));
                if self.operator.name == "_fft_c2c" {
                    return exactly(&shape);
                }
                let last = last.ok_or_else(unsized_)?;
                if self.operator.name == "_fft_c2r" {
                    let size = self.int(3).and_then(|size| u64::try_from(size).ok());
                    let size = size.filter(|size| size / 2 + 1 == *last);
                    *last = size.ok_or_else(unsized_)?;
                } else if self.flag(3) {
                    *last = *last / 2 + 1;
                }
                exactly(&shape)
            }
            Rule::Lstm => self.check_lstm(&outs, &tensors),
            Rule::IndexSelect => {
                let mut shape = tensor(0)?.to_vec();
                let dim = self.dim(1, shape.len()).ok_or_else(unsized_)?;
                if let Some(size) = shape.get_mut(dim) {
                    *size = numel(tensor(1)?);
                }
                exactly(&shape)
            }
            Rule::Index => self.check_index(&outs, views),
            Rule::Embedding => {
                let mut shape = tensor(1)?.to_vec();
                shape.push(*tensor(0)?.last().ok_or_else(unsized_)?);
                exactly(&shape)
            }
            Rule::RepeatInterleave => {
                let length = self.int(1).and_then(|length| u64::try_from(length).ok());
                exactly(&[length
                    .filter(|_| overload == "Tensor")
                    .ok_or_else(unsized_)?])
            }
            Rule::Product => {
                let shape = product_shape(self.operator.name, &tensors);
                let shape = shape
                    .ok_or_else(|| format!("expected shapes that multiply, found {tensors:?}"))?;
                match (self.operator.name, outs.as_slice()) {
                    ("_linalg_solve_ex", _) => at_most(numel(&shape).max(numel(tensor(0)?))),
                    (_, [_]) => exactly(&shape),
                    _ => Err(unsized_()),
                }
            }
            Rule::Qr | Rule::Svd => {
                let shape = tensor(0)?;
                let (m, n) = match shape {
                    [.., m, n] => (*m, *n),
                    _ => return Err(format!("expected a matrix, found shape {shape:?}")),
                };
                let complete = self.args.iter().any(
                    |argument| matches!(argument, Argument::Text(text) if &**text == "complete"),
                );
                let full = match self.operator.rule {
                    Rule::Svd if self.flag(1) => m.max(n),
                    Rule::Qr if complete => m,
                    _ => 0,
                };
                let batch = numel(&shape[..shape.len() - 2]);
                at_most(batch.saturating_mul(m.max(n)).saturating_mul(m.max(n)))?;
                // The largest of them is an output, so that it is counted.
                let full = batch.saturating_mul(full).saturating_mul(full);
                match outs.iter().any(|out| out.numel() >= full) {
                    true => Ok(()),
                    false => Err(unsized_()),
                }
            }
            Rule::Convolution => {
                let shape = self.convolved(tensor(0)?, tensor(1)?);
                exactly(&shape.ok_or_else(unsized_)?)
            }
            Rule::Square => {
                let [.., m, n] = *tensor(0)? else {
                    return Err(unsized_());
                };
                let batch = numel(tensor(0)?) / m.saturating_mul(n).max(1);
                let square = batch.saturating_mul(m).saturating_mul(m);
                at_most(square.max(numel(tensor(0)?)))?;
                match outs.iter().any(|out| out.numel() == square) {
                    true => Ok(()),
                    false => Err(unsized_()),
                }
            }
            Rule::Resized => {
                let mut shape = tensor(0)?.get(..2).ok_or_else(unsized_)?.to_vec();
                shape.extend(self.sizes().ok_or_else(unsized_)?);
                exactly(&shape)
            }
            Rule::Padded => exactly(&crate::shape::padded(
                tensor(0)?,
                &self.ints().ok_or_else(unsized_)?,
            )?),
            Rule::Multinomial => {
                let columns = self.int(1).and_then(|columns| u64::try_from(columns).ok());
                let rows = tensor(0)?.split_last().map(|(_, rows)| numel(rows));
                same_count(
                    &outs,
                    rows.zip(columns)
                        .and_then(|(rows, columns)| rows.checked_mul(columns)),
                )
            }
            Rule::InPlace => match outs.as_slice() {
                [out] => {
                    let mut all = tensors.clone();
                    all.push(out.shape());
                    exactly(&broadcast(&all)?)
                }
                _ => Err("expected one output".to_owned()),
            },
            Rule::Nothing => at_most(1),
        }
    }

    /// The shape of a convolution, whose arguments after the bias are stride, padding, dilation, whether it is
    /// transposed, output padding and groups.
    fn convolved(&self, of: &[u64], weight: &[u64]) -> Option<Vec<u64>> {
        let list = |argument: usize| match self.args.get(argument) {
            Some(Argument::Scalars(list)) => Some(list),
            _ => None,
        };
        let (stride, padding, dilation) = (list(3)?, list(4)?, list(5)?);
        let (more, groups) = (list(7)?, u64::try_from(self.int(8)?).ok()?);
        let is_transposed = self.flag(6);
        let ([batch, _, sizes @ ..], [out, per_group, kernel @ ..]) = (of, weight) else {
            return None;
        };
        let channels = match is_transposed {
            true => per_group.checked_mul(groups)?,
            false => *out,
        };
        let mut shape = vec![*batch, channels];
        for (dim, (size, kernel)) in sizes.iter().zip(kernel).enumerate() {
            let at = |list: &[Scalar]| match list.get(dim)? {
                Scalar::Int(value) => Some(i128::from(*value)),
                _ => None,
            };
            let (stride, padding) = (at(stride)?, at(padding)?);
            let reach = at(dilation)? * (i128::from(*kernel) - 1);
            let size = i128::from(*size);
            let size = match is_transposed {
                true => (size - 1) * stride - 2 * padding + reach + at(more)? + 1,
                false => (size + 2 * padding - reach - 1).checked_div_euclid(stride)? + 1,
            };
            shape.push(u64::try_from(size).ok()?);
        }
        Some(shape)
    }

    /// The dimensions of a Fourier transform, if they are those of a tensor and each is there once.
    fn fourier_dims(&self, dims: usize) -> Option<Vec<usize>> {
        let mut found: Vec<usize> = Vec::new();
        for dim in self.ints()? {
            let dim = usize::try_from(dim).ok().filter(|dim| *dim < dims)?;
            if found.contains(&dim) {
                return None;
            }
            found.push(dim);
        }
        Some(found)
    }

    /// A layer of an LSTM, whose arguments are the input, two weights, two biases, the hidden and the cell state, then
    /// whether it is reversed, the sizes of batches, 2 for an LSTM, the size of the state, and last whether gradients are recorded.
    /// oneDNN does not check the sizes.
    fn check_lstm(&self, outs: &[&View], tensors: &[&[u64]]) -> Result<(), String> {
        let wrong = || "expected the tensors of a layer of an LSTM".to_owned();
        let [
            &[steps, batch, inputs],
            &[gates, of_inputs],
            &[more_gates, hidden],
            bias,
            more_bias,
            state,
            cells,
        ] = *tensors
        else {
            return Err(wrong());
        };
        let ints = self.ints().unwrap_or_default();
        let fits = inputs == of_inputs
            && hidden.checked_mul(4) == Some(gates)
            && gates == more_gates
            && [bias, more_bias]
                .iter()
                .all(|bias| bias.first() == Some(&gates))
            && [state, cells]
                .iter()
                .all(|state| **state == [batch, hidden])
            && self.int(9) == Some(2)
            && self.int(10) == i64::try_from(hidden).ok()
            && ints.is_empty();
        let made: Vec<&[u64]> = outs.iter().map(|out| out.shape()).collect();
        let state = [batch, hidden];
        match (fits, made.as_slice()) {
            (true, [out, first, second, rest]) => {
                let is_empty = rest.contains(&0);
                match **out == [steps, batch, hidden]
                    && *first == state
                    && *second == state
                    && is_empty
                {
                    true => Ok(()),
                    false => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    /// The first list of integers as sizes.
    fn sizes(&self) -> Option<Vec<u64>> {
        let ints = self.ints()?;
        ints.into_iter()
            .map(|size| u64::try_from(size).ok())
            .collect()
    }

    /// A dimension, which may count from the end, as a number below `dims`.
    pub(crate) fn dim(&self, argument: usize, dims: usize) -> Option<usize> {
        let dims = i64::try_from(dims).ok()?;
        let dim = self.int(argument)?;
        let dim = if dim < 0 { dim + dims.max(1) } else { dim };
        usize::try_from(dim)
            .ok()
            .filter(|dim| *dim < dims.max(1) as usize)
    }

    fn check_index(&self, outs: &[&View], views: &[View]) -> Result<(), String> {
        let [Argument::View(of), Argument::Views(indices)] = &*self.args else {
            return Err("expected a view and a list of views".to_owned());
        };
        let shape = views[*of].shape();
        if indices.len() > shape.len() {
            return Err(format!(
                "expected at most {} indices, found {}",
                shape.len(),
                indices.len()
            ));
        }
        let mut shapes = Vec::new();
        let mut rest = 1u64;
        for (dim, size) in shape.iter().enumerate() {
            match indices.get(dim).copied().flatten() {
                None => rest = rest.saturating_mul(*size),
                Some(index) if matches!(views[index].dtype().name(), "int64" | "int32") => {
                    shapes.push(views[index].shape());
                }
                Some(_) => return Err("expected indices of dtype int64".to_owned()),
            }
        }
        let count = product(&broadcast(&shapes)?);
        same_count(outs, count.and_then(|count| count.checked_mul(rest)))
    }
}

fn same_count(outs: &[&View], count: Option<u64>) -> Result<(), String> {
    match outs {
        [out] if Some(out.numel()) == count => Ok(()),
        _ => Err("expected one output with the elements of the result".to_owned()),
    }
}

fn broadcast(shapes: &[&[u64]]) -> Result<Vec<u64>, String> {
    let mut all = Vec::new();
    for shape in shapes {
        all = crate::shape::joined(&all, shape)?;
    }
    Ok(all)
}

fn product_shape(name: &str, tensors: &[&[u64]]) -> Option<Vec<u64>> {
    let shape = match (name, tensors) {
        ("mm", [[m, a], [b, n]]) | ("addmm", [_, [m, a], [b, n]]) if a == b => vec![*m, *n],
        ("bmm", [[k, m, a], [l, b, n]]) | ("baddbmm", [_, [k, m, a], [l, b, n]])
            if a == b && k == l =>
        {
            vec![*k, *m, *n]
        }
        ("addbmm", [_, [k, m, a], [l, b, n]]) if a == b && k == l => vec![*m, *n],
        ("mv", [[m, a], [b]]) | ("addmv", [_, [m, a], [b]]) if a == b => vec![*m],
        ("addr", [_, [m], [n]]) => vec![*m, *n],
        ("dot" | "vdot", [[a], [b]]) if a == b => vec![],
        ("_linalg_solve_ex" | "linalg_solve_triangular", [a, b])
            if a.len() == b.len() && a.len() >= 2 && a[..a.len() - 2] == b[..a.len() - 2] =>
        {
            b.to_vec()
        }
        _ => return None,
    };
    Some(shape)
}
