"""Records the initialization of a PyTorch model as a plan (docs/plan.md). Needs only torch, and versions.py beside it.

    python record.py 'torchvision.models.resnet50()' -o resnet50.plan.json
    python record.py transformers:GPT2LMHeadModel --config config.json -o gpt2.plan.json

The constructor runs on CPU tensors. A call that draws, or that depends on a draw, is recorded and not executed: its tensor
is *deferred*, and its memory stays untouched. A call that does not depend on a draw is recorded and executed, unless it is
large, since constructors read such values (`[x.item() for x in torch.linspace(0, rate, depth)]`). Reading a value of a
deferred tensor is an error, since the plan of one branch would be wrong for other seeds.
"""

import argparse
import ast
import base64
import builtins
import contextlib
import ctypes
import datetime
import hashlib
import importlib
import importlib.util
import json
import math
import mmap
import os
import random
import select
import signal
import struct
import sys
import tempfile
import threading
import time
import types
import warnings


def beside(name):
    """A module of the recorder: the program has put it into `sys.modules`, otherwise it lies beside this file."""
    full = f"tch_init_{name}"
    if full not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(full, path)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except OSError as error:
            print(f"record.py: {error.filename} is missing: record.py needs versions.py and versions.json beside it", file=sys.stderr)
            sys.exit(2)
        sys.modules[full] = module
    return sys.modules[full]


versions = beside("versions")
if __name__ == "__main__":
    # Before the imports, which take seconds.
    try:
        versions.before_import(sys.argv[1:])
    except versions.Rejected as error:
        print("record.py: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
try:
    import torch
except ImportError as error:
    print(f"record.py: {sys.executable} has no PyTorch that can be imported ({error}); name a Python that has it", file=sys.stderr)
    sys.exit(2)
import torch.nn.init as init
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

VERSION, OPERATOR_VERSION = 1, 2  # of plans without and with calls of operators or changes of streams
MAX_CONST = 1 << 16  # bytes; larger data lies beside the plan
MAX_ROWS = 1_000_000
MAX_FILE = 64 << 20
MAX_MESSAGE = 400  # characters of an error: some list all that they know
# Larger tensors are not filled, and none is after this many bytes in total.
MAX_FILLED = 4 << 20
MAX_FILLED_TOTAL = 256 << 20
# What is read after all is computed then, up to so many bytes.
MAX_COMPUTED = 1 << 30
# Memory that numpy may share is compared after each write to it, up to this size.
MAX_WATCHED = 16 << 20
# From this size on, the memory of a deferred tensor is mapped without reserve, so that the allocation cannot fail.
MAPPED = 1 << 20

DTYPES = {
    getattr(torch, name): name
    for name in """bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float8_e4m3fn float8_e4m3fnuz float8_e5m2
    float8_e5m2fnuz float8_e8m0fnu float16 bfloat16 float32 float64 complex32 complex64 complex128""".split()
    if hasattr(torch, name)
}
INFINITE = (math.inf, -math.inf)
# Floats of 8 bits: a value is written by its bits.
FLOAT8 = {dtype for dtype, name in DTYPES.items() if name.startswith("float8")}
# Other languages' bindings of libtorch lack these, so that only steps that move bits use them.
ONLY_MOVED = {dtype for dtype, name in DTYPES.items() if name in ("uint16", "uint32", "uint64", "float8_e8m0fnu")}
MOVES = {"fill_", "copy_", "cat", "stack", "arange"}
PARTS = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}
# What safetensors calls the dtypes that it has; others are stored as what they are made of.
STORED = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}


# The operators that a plan may call by their schema: those of crates/init-plan/src/operator.rs.
OPERATORS = set("""
    _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _cdist_forward _conj_physical _euclidean_dist
    _fft_c2c _fft_c2r _fft_r2c _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd _log_softmax
    _native_batch_norm_legit _native_batch_norm_legit_functional _pdist_forward _safe_softmax _sample_dirichlet
    _softmax _standard_gamma _to_copy _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm_interface abs acos acosh add addbmm addcdiv
    addcmul addmm addmv addr all amax amin aminmax angle any argmax argmin argsort asin asinh atan atan2 atanh
    avg_pool1d avg_pool2d avg_pool3d baddbmm bartlett_window bernoulli bernoulli_ bitwise_and bitwise_left_shift
    bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman_window block_diag bmm bucketize cauchy_ ceil
    celu cholesky cholesky_inverse cholesky_solve clamp clamp_max clamp_min clone complex convolution copysign
    cos cosh count_nonzero cummax cummin cumprod cumsum deg2rad diag_embed diagonal_copy diagonal_scatter digamma
    div dot elu embedding eq erf erfc erfinv exp exp2 expm1 exponential_ flip floor floor_divide fmax fmin fmod
    frac frexp full full_like gather ge gelu geometric_ geqrf glu gt hamming_window hann_window hardshrink
    hardsigmoid hardswish hardtanh heaviside hypot i0 index index_add index_copy index_fill index_put
    index_reduce index_select isin isinf isnan isneginf isposinf kaiser_window kthvalue le leaky_relu lerp lgamma
    linalg_cholesky_ex linalg_cross linalg_eig linalg_householder_product linalg_inv_ex linalg_lstsq linalg_lu
    linalg_lu_factor_ex linalg_matrix_exp linalg_pinv linalg_qr linalg_solve_triangular linalg_vector_norm
    linspace log log10 log1p log2 log_normal_ log_sigmoid_forward logaddexp logaddexp2 logcumsumexp logical_and
    logical_not logical_or logical_xor logit logspace logsumexp lt lu_unpack masked_fill masked_scatter max
    max_pool2d_with_indices max_pool3d_with_indices maximum mean median min minimum mish mkldnn_rnn_layer mm mode
    mul multinomial mv mvlgamma nan_to_num nanmedian nansum native_group_norm native_layer_norm ne neg nextafter
    norm normal normal_ ones ones_like permute_copy pixel_shuffle pixel_unshuffle poisson polar pow prod put
    rad2deg rand rand_like randint randint_like randn randn_like random_ randperm reciprocal reflection_pad1d
    reflection_pad2d reflection_pad3d relu remainder renorm repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d roll rot90 round rrelu_with_noise_functional rsqrt rsub scatter scatter_add scatter_reduce
    searchsorted select_copy select_scatter sgn sigmoid sign signbit silu sin sinc sinh slice_copy slice_scatter
    softplus softshrink sort special_bessel_j0 special_bessel_j1 special_entr special_erfcx special_i0e
    special_i1 special_i1e special_log_ndtr special_ndtri special_xlog1py sqrt std std_mean sub sum t_copy take
    tan tanh threshold topk trace transpose_copy tril triu trunc uniform_ upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean
    vdot view_as_complex_copy where xlogy zeros zeros_like
""".split())


class Refused(BaseException):
    """The model cannot be recorded. Not an Exception, so that a constructor's `except` does not catch it."""


def roots():
    """The folders of PyTorch and of Python's own library."""
    return [os.path.dirname(os.path.realpath(m.__file__)) + os.sep for m in (torch, os)]


def of_user(name, torch_root, python_root):
    """Whether a file belongs to neither PyTorch nor Python."""
    path = os.path.realpath(name)
    packages = os.sep + "site-packages" + os.sep in path
    return not path.startswith(torch_root) and (packages or not path.startswith(python_root))


def user_line():
    """File and line of the innermost frame of the user's code."""
    torch_root, python_root = roots()
    frame, fallback = sys._getframe(1), None
    while frame is not None:
        name = frame.f_code.co_filename
        if frame.f_globals is not globals() and not name.startswith("<"):
            place = name, frame.f_lineno
            fallback = fallback or place
            if of_user(name, torch_root, python_root):
                return place
        frame = frame.f_back
    return fallback


def at_line(message):
    line = user_line()
    return f"{line[0]}:{line[1]}: {message}" if line else message


# ---------------------------------------------------------------- views and steps


def itemsize(dtype):
    return torch.empty(0, dtype=dtype, device="meta").element_size()


UNINITIALIZED = torch.nn.parameter.UninitializedTensorMixin


class View:
    """The memory of a tensor: storage, dtype, offset, shape, stride (None if contiguous)."""

    __slots__ = ("storage", "dtype", "shape", "offset", "stride")

    def __init__(self, storage, dtype, shape, offset=0, stride=None):
        self.storage, self.dtype, self.shape = storage, dtype, tuple(shape)
        self.offset = offset if self.numel() else 0
        self.stride = None if stride is None else tuple(stride)

    @classmethod
    def of(cls, storage, tensor):
        if isinstance(tensor, UNINITIALIZED):
            return cls(storage, torch.uint8, (0,))
        stride = None if tensor.is_contiguous() else tensor.stride()
        return cls(storage, tensor.dtype, tensor.shape, tensor.storage_offset(), stride)

    def real(self):
        """A complex view as `torch.view_as_real` has it."""
        stride = None if self.stride is None else (*(2 * s for s in self.stride), 1)
        return View(self.storage, PARTS[self.dtype], (*self.shape, 2), 2 * self.offset, stride)

    def key(self):
        return self.storage, self.dtype, self.shape, self.offset, self.stride

    def numel(self):
        return math.prod(self.shape)

    def strides(self):
        if self.stride is not None:
            return self.stride
        strides, step = [], 1
        for size in reversed(self.shape):
            strides.append(step)
            step *= max(size, 1)
        return tuple(reversed(strides))

    def extent(self):
        """First byte, end, and whether the view covers every element in between; None without elements."""
        if not self.numel():
            return None
        size = itemsize(self.dtype)
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides()))
        dense = last + 1 == self.numel() and not self.overlaps_itself()
        return self.offset * size, (self.offset + last + 1) * size, dense

    def overlaps_itself(self):
        span = 0
        for stride, size in sorted((s, n) for n, s in zip(self.shape, self.strides()) if n > 1):
            if stride <= span:
                return True
            span += (size - 1) * stride
        return False


class Step:
    """One row: op, out, arguments. With an `op` of None there is no row; `why` is the reason, reported if the result is used.

    A call of an operator has a list of outputs. `stream` is the stream that is drawn from, `before` are the rows that
    change streams before that.
    """

    __slots__ = ("op", "outs", "args", "draws", "why", "reads", "stream", "before")

    def __init__(self, op, out, args=(), draws=False, why=None, reads=None):
        self.op, self.args, self.draws, self.why = op, list(args), draws, why
        self.outs = out if isinstance(out, list) else [out]
        self.stream, self.before = 0, []
        if reads is None:
            reads = [x for x in tree_flatten(self.args)[0] if isinstance(x, View)]
        self.reads = reads

    @property
    def is_call(self):
        return self.op is not None and self.op.startswith("aten::")


class Data:
    """The values of a tensor for the file beside the plan."""

    def __init__(self, values):
        self.values = values.detach().contiguous()
        self.name = None

    def preserve(self):
        """Called before the memory of the values is written."""
        self.values = self.values.clone()

    def bytes(self):
        """Dtype, shape and memory; safetensors lacks some complex dtypes."""
        values = self.values
        if DTYPES[values.dtype] not in STORED:
            values = torch.view_as_real(values)
        return STORED[DTYPES[values.dtype]], list(values.shape), memory(values)


def memory(tensor):
    """The bytes of a contiguous tensor, without numpy and without a copy."""
    nbytes = tensor.numel() * tensor.element_size()
    if not nbytes:
        return b""
    array = (ctypes.c_char * nbytes).from_address(tensor.data_ptr())
    array.tensor = tensor  # keeps the memory
    return memoryview(array).cast("B")


def hash_of(tensor):
    return hashlib.sha256(memory(tensor)).digest()


# ---------------------------------------------------------------- versions of PyTorch


def wide(step):
    """Whether integers of a range of 2^28 or more are drawn: without bounds, as many as the dtype has."""
    bounds = [x for x in step.args[:2] if isinstance(x, int)]
    if not bounds:
        return itemsize(step.outs[0].dtype) >= 4 and step.outs[0].dtype != torch.float32
    return bounds[-1] - (bounds[0] if len(bounds) > 1 else 0) >= 1 << 28


# When a row of the table of versions holds, by what it says there.
CONDITIONS = {
    "a range of 2^28 or more": wide,
    "by a number": lambda step: any(isinstance(x, (bool, int, float)) for x in step.args[:2]),
}
decided = {}  # of each --assume-pytorch: the PyTorch that records


def under(assume=None):
    """What the running PyTorch is taken for."""
    if assume not in decided:
        try:
            found = versions.decide(torch.__version__, os.path.dirname(os.path.realpath(torch.__file__)), assume)
            decided[assume] = versions.confirm(found)
        except versions.Rejected as error:
            raise Refused(str(error)) from None
    return decided[assume]


def rounded(argument, dtype):
    """A number rounded to a dtype; any other argument as it is."""
    return torch.tensor(argument, dtype=dtype).item() if isinstance(argument, (int, float)) else argument


def other_bits(under, step):
    """Why a step has bits in this PyTorch that a plan cannot give."""
    if step.op is None:
        return None
    views = [*step.outs, *step.reads]
    return under.other_bits(step.op, [DTYPES[v.dtype] for v in views], lambda condition: CONDITIONS[condition](step))


class Unsupported(Exception):
    """An op, or a form of an op, that a plan cannot represent."""


# ---------------------------------------------------------------- aten ops to rows
# Each takes the arguments by the schema's names, with views for tensors, and returns (op, arguments).


def like_dtype(value, dtype):
    """A fill value in the number type of the tensor, if the conversion is exact."""
    if dtype.is_floating_point and isinstance(value, (bool, int)) and abs(value) < 1 << 53:
        return float(value)
    if dtype == torch.bool:
        return bool(value)
    if not dtype.is_floating_point and not dtype.is_complex and isinstance(value, bool):
        return int(value)
    if dtype.is_complex and isinstance(value, complex) and value.imag == 0 and not math.copysign(1, value.imag) < 0:
        return value.real
    return value


def fill(value):
    return lambda a, out: ("fill_", [like_dtype(value, out.dtype)])


def fill_with(name):
    def row(a, out):
        value = a[name]
        if isinstance(value, View):
            return "copy_", [expanded(value, out.shape)]
        return "fill_", [like_dtype(value, out.dtype)]

    return row


def expanded(view, shape):
    """The view, expanded by strides of 0."""
    lead = len(shape) - len(view.shape)
    strides = [0] * lead + [
        s if n == shape[lead + i] else 0 for i, (n, s) in enumerate(zip(view.shape, view.strides()))
    ]
    if tuple(shape) == view.shape:
        return view
    return View(view.storage, view.dtype, shape, view.offset, strides)


def unary(name):
    return lambda a, out: (name, [a["self"]])


def compared(name):
    return lambda a, out: (name, [a["self"], a["other"]])


def with_alpha(name):
    return lambda a, out: (name, [a["self"], a["other"], a.get("alpha", 1)])


def div(a, out):
    mode = a.get("rounding_mode")
    return "div", [a["self"], a["other"], mode]


def clamp(low, high):
    def row(a, out):
        bounds = [a.get(low) if low else None, a.get(high) if high else None]
        if any(isinstance(b, View) for b in bounds):
            raise Unsupported
        return "clamp", [a["self"], *bounds]

    return row


def where(a, out):
    if a["condition"].dtype != torch.bool:
        raise Unsupported
    return "where", [a["condition"], a["self"], a["other"]]


def masked_fill(a, out):
    if isinstance(a["value"], View):
        raise Unsupported
    return "masked_fill", [a["self"], a["mask"], a["value"]]


def dims_of(view, dims):
    if dims is None:
        return None
    dims = [dims] if isinstance(dims, int) else list(dims)
    return [d % max(len(view.shape), 1) for d in dims] or None


def same_dtype(a, expected):
    if a.get("dtype") not in (None, expected):
        raise Unsupported


def total(a, out):
    x = a["self"]
    same_dtype(a, x.dtype if x.dtype.is_floating_point else torch.int64)
    return "sum", [x, dims_of(x, a.get("dim")), a.get("keepdim", False)]


def norm(name, power):
    def row(a, out):
        x, p = a["self"], a.get(power)
        same_dtype(a, x.dtype)
        return name, [x, 2 if p is None else p, dims_of(x, a.get("dim")), a.get("keepdim", False)]

    return row


def joined(name):
    def row(a, out):
        tensors = list(a["tensors"])
        if name == "cat" and any(t.shape == (0,) for t in tensors):
            tensors = [t for t in tensors if t.shape != (0,)] or tensors[:1]
        rank = max(len(t.shape) for t in tensors) + (name == "stack")
        return name, [tensors, a.get("dim", 0) % max(rank, 1)]

    return row


def arange(a, out):
    return "arange", [a.get("start", 0), a["end"], a.get("step", 1)]


def copy(name):
    def row(a, out):
        return "copy_", [expanded(a[name], out.shape)]

    return row


def repeat(a, out):
    """`repeat` as a copy of the view, repeated by strides of 0, to `out` seen as (repeat, size, repeat, size, ...)."""
    x, times = a["self"], a["repeats"]
    lead = len(times) - len(x.shape)
    shape = (1,) * lead + x.shape
    strides = (0,) * lead + x.strides()
    out_shape, source = [], []
    for n, size, stride in zip(times, shape, strides):
        out_shape += [n, size]
        source += [0, stride]
    if out.stride is not None or len(out_shape) > 16:
        raise Unsupported
    return "copy_", [View(x.storage, x.dtype, out_shape, x.offset, source)], View(
        out.storage, out.dtype, out_shape, out.offset
    )


def drawn(name, *values):
    def row(a, out):
        if not out.dtype.is_floating_point:
            raise Unsupported
        return name, [float(a.get(x, x)) for x in values]

    return row


def randn(a, out):
    if not out.dtype.is_floating_point:
        raise Unsupported
    return "normal_", [0.0, complex_std(a)]


def normal(a, out):
    if "size" not in a or not out.dtype.is_floating_point:
        raise Unsupported
    return "normal_", [float(a["mean"]), float(a["std"])]


def randperm(a, out):
    if out.dtype != torch.int64:
        raise Unsupported
    return "randperm", []


def fill_diagonal(a, out):
    """A fill of the diagonal as a view."""
    strides = out.strides()
    size = min(out.shape)
    if len(out.shape) > 2 and len(set(out.shape)) > 1 or a.get("wrap") and out.shape[0] > size:
        raise Unsupported
    return "fill_", [like_dtype(a["fill_value"], out.dtype)], View(out.storage, out.dtype, (size,), out.offset, (sum(strides),) if size > 1 else None)


ROWS = {
    "fill_diagonal_": fill_diagonal,
    "uniform_": drawn("uniform_", "from", "to"),
    "normal_": drawn("normal_", "mean", "std"),
    "rand": drawn("uniform_", 0.0, 1.0),
    "randn": randn,
    "rand_like": drawn("uniform_", 0.0, 1.0),
    "randn_like": randn,
    "normal": normal,
    "randperm": randperm,
    "arange": arange,
    "eye": lambda a, out: ("eye", []),
    "copy_": copy("src"),
    "clone": copy("self"),
    "_to_copy": copy("self"),
    "lift_fresh_copy": copy("self"),
    "repeat": repeat,
    "add": with_alpha("add"),
    "sub": with_alpha("sub"),
    "rsub": with_alpha("rsub"),
    "mul": lambda a, out: ("mul", [a["self"], a["other"]]),
    "div": div,
    "floor_divide": lambda a, out: ("div", [a["self"], a["other"], "floor"]),
    "pow": lambda a, out: ("pow", [a["self"], a["exponent"]]),
    "clamp": clamp("min", "max"),
    "clamp_min": clamp("min", None),
    "clamp_max": clamp(None, "max"),
    "where": where,
    "masked_fill": masked_fill,
    "sum": total,
    "norm": norm("norm", "p"),
    "linalg_vector_norm": norm("linalg_vector_norm", "ord"),
    "mv": lambda a, out: ("mv", [a["self"], a["vec"]]),
    "cat": joined("cat"),
    "stack": joined("stack"),
    "constant_pad_nd": lambda a, out: ("constant_pad_nd", [a["self"], list(a["pad"]), a.get("value", 0)]),
}
for _name in "neg abs sign reciprocal exp expm1 log sin cos erfinv bitwise_not".split():
    ROWS[_name] = unary(_name)
for _name in "eq ne lt le gt ge".split():
    ROWS[_name] = compared(_name)
for _name in "zero_ zeros zeros_like new_zeros zero".split():
    ROWS[_name] = fill(0)
for _name in "ones ones_like new_ones".split():
    ROWS[_name] = fill(1)
for _name, _value in (("fill_", "value"), ("fill", "value"), ("full", "fill_value"), ("full_like", "fill_value"),
                      ("new_full", "fill_value"), ("scalar_tensor", "s")):
    ROWS[_name] = fill_with(_value)


# `ATen/native/DistributionTemplates.h`: complex draws are those of the real view; the parts share the variance.
def complex_uniform(out, arguments):
    return out.real(), arguments


def complex_normal(out, arguments):
    mean, std = arguments.get("mean", 0), arguments.get("std", 1)
    if isinstance(mean, complex) and mean.imag:
        raise Unsupported
    return out.real(), {**arguments, "mean": mean, "std": std / math.sqrt(2)}


def complex_std(arguments):
    """1, but for the parts of complex numbers."""
    return float(arguments.get("std", 1))


COMPLEX_DRAWS = {"uniform_": complex_uniform, "rand": complex_uniform, "rand_like": complex_uniform,
                 "normal_": complex_normal, "randn": complex_normal, "randn_like": complex_normal}

# Ops that overwrite all of their output without reading it.
OVERWRITE = {"uniform_", "normal_", "zero_", "fill_", "copy_"}
# Draws into their output, of libtorch.
DRAWN_IN_PLACE = {"bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_"}
OVERWRITE |= DRAWN_IN_PLACE
EMPTY = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
# Ops that return another tensor of the same memory, although their schemas do not say so.
VIEWS = {"_unsafe_view", "_reshape_alias", "lift", "unsafe_split", "unsafe_split_with_sizes"}
# Ops that take a shape and a dtype from their argument, and not its values.
LIKE = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "rand_like", "randn_like", "randint_like"}
# Functions of lists of tensors that libtorch computes on the CPU by the function of this name, tensor by tensor.
FOREACH = set("add sub mul div lerp addcmul addcdiv neg abs sqrt exp log sigmoid tanh reciprocal sign erf sin cos zero copy".split())
# Operators whose known results are data: a call of them has other bits with another number of threads or another library.
OF_LIBRARIES = set("_cdist_forward _euclidean_dist _fft_c2c _fft_c2r _fft_r2c _pdist_forward cholesky_solve linalg_lstsq mkldnn_rnn_layer".split())
# What hands the values of a tensor to Python.
PYTHON_READS = {"aten::_local_scalar_dense", "numpy()", "tolist", "apply_", "map_", "map2_", "__dlpack__", "__reduce_ex__"}
# Ops that move the bytes of the state of a generator.
OF_STATE = {"clone", "_to_copy", "stack", "cat"}
# Ops that write running statistics, although their schemas do not say so, if this argument is true.
RUNNING = {"native_batch_norm": "training", "cudnn_batch_norm": "training", "miopen_batch_norm": "training"}
# Ops whose vectors are not computed for singular values and eigenvalues alone; the number of that argument. PyTorch
# computes them under a dispatch mode, as for tensors that need gradients.
VALUES_ONLY = {"_linalg_svd": 2, "_linalg_eigh": 2}
# Ops whose dtype is that of `out`, independent of the default dtype.
NO_PROMOTION = {"fill_", "arange", "eye", "copy_", "uniform_", "normal_", "randperm"}


# ---------------------------------------------------------------- calls of operators by their schemas


# What `out` says in the overloads that have it.
OF_OUT = {"dtype", "layout", "device", "pin_memory", "memory_format"}


def signature(schema, outs):
    return [(a.name, str(a.type)) for a in schema.arguments if a.name not in outs]


def function_of(func):
    """The overload that returns new tensors and has the same arguments."""
    schema = func._schema
    name = schema.name.split("::")[1]
    if not schema.is_mutable:
        return name, func
    outs = {a.name for a in schema.arguments if a.is_out}
    base = name if outs else name[:-1]
    packet = getattr(torch.ops.aten, base, None)
    for overload in packet.overloads() if packet is not None and base in OPERATORS else ():
        candidate = getattr(packet, overload)
        if candidate._schema.is_mutable:
            continue
        if signature(candidate._schema, OF_OUT if outs else ()) == signature(schema, outs | OF_OUT if outs else outs):
            return base, candidate
    raise Unsupported


def with_generator(name, func):
    """The overload that takes a generator."""
    packet = getattr(torch.ops.aten, name)
    for candidate in (func, *(getattr(packet, overload) for overload in packet.overloads())):
        schema = candidate._schema
        takes = any(a.name == "generator" for a in schema.arguments)
        if takes and schema.is_mutable == func._schema.is_mutable and signature(schema, {"generator"}) == signature(func._schema, {"generator"}):
            return candidate
    raise Unsupported


def operator_argument(value):
    """An argument as a plan has it: a view, a number, a text, or a list of them."""
    if isinstance(value, torch.dtype):
        if value not in DTYPES:
            raise Unsupported
        return DTYPES[value]
    if isinstance(value, (list, tuple)):
        return [operator_argument(x) for x in value]
    if isinstance(value, (torch.device, torch.layout, torch.memory_format, torch.Generator)):
        return None
    if value is None or isinstance(value, (View, bool, int, float, str)):
        return value
    raise Unsupported


def operator_row(func, arguments, outs):
    """The row's op and arguments."""
    name = func._schema.name.split("::")[1]
    if name in DRAWN_IN_PLACE:
        target = func
    else:
        name, target = function_of(func)
    if name not in OPERATORS:
        raise Unsupported
    if torch.Tag.nondeterministic_seeded in target.tags:
        target = with_generator(name, target)
    schema = target._schema
    overload = schema.overload_name
    parameters = list(schema.arguments)[1 if name in DRAWN_IN_PLACE else 0 :]
    is_factory = any(a.name == "layout" for a in parameters)
    if torch.Tag.nondeterministic_seeded in target.tags and arguments.get("memory_format") not in (None, torch.preserve_format):
        raise Unsupported
    views = [x for x in tree_flatten(list(arguments.values()))[0] if isinstance(x, View)]
    if any(v.dtype not in DTYPES or v.dtype in ONLY_MOVED for v in [*views, *outs]):
        raise Unsupported
    if not is_factory and torch.get_default_dtype() != torch.float32:
        if any(v.dtype.is_floating_point for v in outs) and not any(v.dtype.is_floating_point for v in views):
            raise Unsupported
    args = []
    for a in parameters:
        value = arguments.get(a.name)
        if a.name == "dtype" and is_factory:
            value = outs[0].dtype
        if a.name == "output_size" and name == "repeat_interleave":
            if overload != "Tensor":
                raise Unsupported
            value = outs[0].shape[0]
        if str(a.type) == "float" and isinstance(value, (bool, int)):
            value = float(value)
        args.append((operator_argument(value), a))
    while args and args[-1][1].has_default_value():
        value, default = args[-1][0], operator_argument(args[-1][1].default_value)
        if isinstance(value, View) or type(value) is not type(default) or value != default:
            break
        args.pop()
    return f"aten::{name}" + (f".{overload}" if overload else ""), [value for value, _ in args]


def batch_norm(arguments, places):
    """libtorch's function of the statistics, which returns the new running ones, and its outputs."""
    if not arguments["training"]:
        raise Unsupported
    if len(places) == 5:
        return torch.ops.aten._native_batch_norm_legit_functional.default, places[2:] + places[:2]
    return torch.ops.aten._native_batch_norm_legit.no_stats, places


# ---------------------------------------------------------------- generators


def state_key(generator):
    state = generator.get_state()
    return ctypes.string_at(state.data_ptr(), state.numel())


class Streams:
    """Which stream each draw is from.

    Draws are not executed, so they do not move generators. Instead, each recorded draw writes a number to the state
    of its generator, so that states of generators, wherever they are copied, are positions in the streams of the plan.
    """

    # The seed that the default generator seems to have: that of the user of the plan is unknown.
    USER = 0x7C4E_1D3A_5B00_0000
    STATE = 5056
    WORD = 24 + 8 * 600  # of the state, in its bytes

    def __init__(self):
        self.before = torch.default_generator.get_state()
        self.positions = {}  # state -> position
        self.at = {}  # position -> the stream that is there
        self.left = {}  # position -> the stream that was there, and the step that moved it
        self.count = 0
        self.streams = 1
        torch.default_generator.manual_seed(self.USER)
        self.at[self.mark(torch.default_generator)] = 0

    def close(self):
        torch.default_generator.set_state(self.before)

    def mark(self, generator):
        """A new position."""
        state = generator.get_state()
        self.count += 1
        number = self.count.to_bytes(4, "little")
        ctypes.memmove(state.data_ptr() + self.WORD, number + bytes(4), 8)
        generator.set_state(state)
        self.positions[state_key(generator)] = self.count
        return self.count

    def new(self):
        self.streams += 1
        if self.streams > 65536:
            raise Refused("the constructor uses more than 65,536 generators")
        return self.streams - 1

    def of_user(self, generator):
        """Whether the generator's seed is that of the default generator before the constructor."""
        return self.USER != ANOTHER_SEED and 0 <= generator.initial_seed() - self.USER < 1 << 32

    def stream(self, generator):
        """The stream that is where the generator is, and the rows that bring it there."""
        key = state_key(generator)
        seed = generator.initial_seed()
        position = self.positions.get(key)
        if position in self.at:
            return self.at[position], []
        fresh = torch.Generator.manual_seed(plain_generator(), seed)
        if key == state_key(fresh):
            if self.of_user(generator):
                raise Refused("a seed depends on the seed of the default generator, which a plan does not know")
            new = self.new()
            return new, [["manual_seed", new, seed - (1 << 64) if seed >= 1 << 63 else seed]]
        if position is None:
            raise Refused("a generator was moved in a way that was not recorded")
        stream, step = self.left[position]
        new = self.new()
        step.before.append(["copy_state", new, stream])
        return new, []

    def draw(self, step, generator):
        """Notes that a step draws from a generator."""
        generator = torch.default_generator if generator is None else generator
        if generator.device.type != "cpu":
            raise Refused(f"the constructor draws from a generator of {generator.device}")
        step.stream, rows = self.stream(generator)
        step.before += rows
        for position in [p for p, stream in self.at.items() if stream == step.stream]:
            del self.at[position]
            self.left[position] = step.stream, step
        key = state_key(generator)
        if key not in self.positions:
            self.count += 1
            self.positions[key] = self.count
            self.left[self.count] = step.stream, step
        self.at[self.mark(generator)] = step.stream

    def end(self):
        """The rows that leave the default generator where PyTorch leaves it."""
        stream, rows = self.stream(torch.default_generator)
        return [*rows, *([["copy_state", 0, stream]] if stream else [])]

    def holds(self, tensor):
        """Whether a tensor is the state of a generator."""
        return (
            tensor.dtype == torch.uint8
            and tensor.numel() == self.STATE
            and tensor.is_contiguous()
            and ctypes.string_at(tensor.data_ptr(), self.STATE) in self.positions
        )


plain_generator = torch.Generator


# ---------------------------------------------------------------- torch.nn.init's functions as one event each

HOOKED = {
    "_no_grad_trunc_normal_": ("trunc_normal_", "mean, std, a, b"),
    "orthogonal_": ("orthogonal_", "gain,"),
    "sparse_": ("sparse_", "sparsity, std"),
    "dirac_": ("dirac_", "groups,"),
}


@contextlib.contextmanager
def replaced_code(module, hook, functions):
    """Replaces the code of functions, not the functions, which other modules may have imported by name.

    `functions` are the signature of each, and the arguments of the call of `hook` that it makes.
    """
    saved = {}
    module._tch_init_hook = hook
    try:
        for name, (signature, arguments) in functions.items():
            scope = {}
            source = f"def f({signature}):\n return _tch_init_hook({arguments})"
            # Under the name of PyTorch's file, so that its frames are not taken for the user's code.
            exec(compile(source, module.__file__, "exec"), module.__dict__, scope)
            function = getattr(module, name)
            saved[function] = function.__code__
            function.__code__ = scope["f"].__code__
        yield
    finally:
        for function, code in saved.items():
            function.__code__ = code
        del module._tch_init_hook


def hooked_init(recorder):
    """Records these functions as one step, where they are those of a known PyTorch; others are recorded as their steps."""
    functions = {}
    for name, (_, arguments) in HOOKED.items():
        function = recorder.under.known_function(f"nn/init.py:{name}", init)
        if function is None:
            continue
        recorder.original[name] = types.FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
        parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
        generator = "generator" if "generator" in parameters else "None"
        functions[name] = ", ".join(parameters), f"{name!r}, tensor, ({arguments}), {generator}"
    return replaced_code(init, recorder.init_event, functions)


def hooked_seeds(recorder):
    def called(name):
        if name == "seed":
            recorder.refuse("the constructor calls torch.seed, which draws a seed that no seed of PyTorch sets")
        if recorder.streams.of_user(torch.default_generator):
            recorder.refuse("the constructor calls torch.initial_seed: what depends on the seed itself cannot be recorded")
        return torch.default_generator.initial_seed()

    return replaced_code(torch.random, called, {name: ("", repr(name)) for name in ("seed", "initial_seed")})


@contextlib.contextmanager
def replaced(changes):
    """Replaces attributes temporarily: (owner, name, value)."""
    missing, saved = object(), []
    try:
        for owner, name, value in changes:
            saved.append((owner, name, vars(owner).get(name, missing)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(saved):
            if value is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


# ---------------------------------------------------------------- the recorder


class Recorder(TorchDispatchMode):
    def __init__(self, under):
        super().__init__()
        self.under = under  # the PyTorch that records
        self.original = {}  # torch.nn.init's functions, before they were replaced
        self.steps, self.bytes, self.dtypes, self.keep = [], [], [], []
        self.storages = {}  # address of a storage -> number; `keep` keeps the address from being used again
        self.known = set()  # storages whose contents the steps so far account for
        self.deferred = {}  # storage -> "random" | "large"
        self.unset = {}  # storage of uninitialized memory -> what of it has been written
        self.data = {}  # storage -> its values that steps refer to
        self.outside = {}  # storage made elsewhere -> the values that were recorded, or their hash
        self.paused = 0
        self.filled = self.computed = 0
        self.later = []  # calls of large tensors, not made yet: (call, storages, bytes); without the call if it cannot be made
        self.refused = None
        self.streams = Streams()
        self.end = []
        self.values_only = False
        self.seeded = set()  # Python's and numpy's generators that have a fixed seed
        self.states = set()  # storages of states of generators, which have their values
        self.thread = threading.get_ident()

    # ------------------------------------------------ errors

    def refuse(self, message):
        error = Refused(at_line(message))
        self.refused = self.refused or error
        raise error

    @contextlib.contextmanager
    def pause(self):
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    # ------------------------------------------------ draws

    def add(self, step, generator=None):
        """Adds a step, which may draw from a generator."""
        if step.op == "mul" and self.under.release == "2.0" and step.outs[0].dtype in (torch.bfloat16, torch.float16):
            # PyTorch 2.0 rounds the number to the dtype before it multiplies.
            step.args = [rounded(x, step.outs[0].dtype) for x in step.args]
        why = other_bits(self.under, step)
        if why and step.draws:
            self.refuse(why)
        elif why:
            step = Step(None, step.outs, why=at_line(why), reads=step.reads)
        if step.draws:
            try:
                with self.pause():
                    self.streams.draw(step, generator)
            except Refused as error:
                self.refuse(str(error))
        self.steps.append(step)

    def is_drawn(self, tensor):
        """Whether the values of a tensor depend on a draw."""
        return not self.paused and self.deferred.get(self.storages.get(tensor.untyped_storage()._cdata)) == "random"

    def delay(self, call, numbers):
        """Notes a call of large tensors that is not made now, and the storages that it reads or writes."""
        numbers = set(numbers)
        self.later.append((call, numbers, sum(self.bytes[n] for n in numbers)))

    def delay_copy(self, new, copied, untyped, number):
        bytes_of = lambda x: torch.empty(0, dtype=torch.uint8).set_(x)  # noqa: E731
        source = bytes_of(untyped)
        if number in self.deferred:
            self.delay(lambda: bytes_of(new).copy_(source), [copied, number])
        elif untyped.nbytes() <= MAX_WATCHED:
            source = source.clone()  # the other may be written before
            self.delay(lambda: bytes_of(new).copy_(source), [copied])
        else:
            self.delay(None, [copied])

    def compute(self, numbers):
        """Makes the calls that large tensors have their values from, in their order; False if that would be too much."""
        wanted, size = set(numbers), -1
        while size != len(wanted):
            size = len(wanted)
            wanted.update(*(others for _, others, _ in self.later if not wanted.isdisjoint(others)))
        calls = [entry for entry in self.later if not wanted.isdisjoint(entry[1])]
        nbytes = sum(self.bytes[n] for n in wanted)
        if any(call is None for call, _, _ in calls) or self.computed + nbytes > MAX_COMPUTED:
            return False
        self.computed += nbytes
        self.later = [entry for entry in self.later if wanted.isdisjoint(entry[1])]
        with self.pause(), torch.no_grad():
            for call, _, _ in calls:
                call()
        for number in wanted:
            if self.deferred.get(number) == "large":
                del self.deferred[number]
        return True

    def delayed(self, func, args, kwargs, result, written, inputs):
        """The call as one that can be made later, when small tensors among its arguments may have changed."""
        with self.pause():
            kept = {}
            for x in inputs:
                if self.view(x).storage not in self.deferred:
                    if x.numel() * x.element_size() > MAX_WATCHED:
                        return None
                    kept[id(x)] = x.detach().clone()
        args, kwargs = tree_map(lambda x: kept.get(id(x), x), (args, kwargs))

        def call():
            made = func(*args, **kwargs)
            if not written:
                for out, x in zip(tree_flatten(result)[0], tree_flatten(made)[0]):
                    if isinstance(out, torch.Tensor):
                        out.copy_(x)

        return call

    def is_known(self, tensor):
        """Whether a tensor has its values now."""
        if self.paused or tensor.device.type != "cpu" or tensor.layout != torch.strided or isinstance(tensor, UNINITIALIZED):
            return True
        number = self.storages.get(tensor.untyped_storage()._cdata)
        return number not in self.deferred and (number not in self.unset or not self.is_unset(self.view(tensor)))

    def state_of(self, state):
        """The state of a generator, whose values depend on the seed."""
        if not self.paused:
            number = self.storage(state.untyped_storage(), state.dtype)
            self.known.add(number)
            self.deferred[number] = "random"
            self.states.add(number)
            why = at_line("it depends on the state of a generator, which is not in a plan's vocabulary")
            self.steps.append(Step(None, self.view(state), why=why, reads=[]))
        return state

    # ------------------------------------------------ memory

    def storage(self, untyped, dtype=torch.uint8):
        key = untyped._cdata
        number = self.storages.get(key)
        if number is None:
            number = self.storages[key] = len(self.bytes)
            self.keep.append(untyped)
            self.bytes.append(0)
            self.dtypes.append(dtype)
        self.bytes[number] = max(self.bytes[number], untyped.nbytes())
        return number

    def view(self, tensor):
        if tensor.is_quantized or tensor.layout != torch.strided:
            what = f"a quantized tensor ({str(tensor.dtype)[6:]})" if tensor.is_quantized else f"a tensor of layout {tensor.layout}"
            self.refuse(f"{what} cannot be recorded; a dense one, converted after the constructor, can")
        if tensor.device.type != "cpu":
            self.refuse(f"a tensor on device {tensor.device} is combined with one on the CPU; only CPU models can be recorded")
        return View.of(self.storage(tensor.untyped_storage(), tensor.dtype), tensor)

    def allocate(self, nbytes):
        """Allocates memory without touching a page."""
        if nbytes < MAPPED or not hasattr(mmap, "MAP_PRIVATE"):
            return torch.empty(nbytes, dtype=torch.uint8).untyped_storage()
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        if sys.platform.startswith("linux"):
            flags |= 0x4000  # MAP_NORESERVE
        return torch.frombuffer(mmap.mmap(-1, nbytes, flags=flags), dtype=torch.uint8).untyped_storage()

    def empty_as(self, meta):
        """An untouched CPU tensor with the geometry of a meta tensor."""
        if not isinstance(meta, torch.Tensor):
            return meta
        if meta.dtype not in DTYPES:
            self.refuse(f"a tensor of dtype {meta.dtype} that depends on random values cannot be recorded")
        last = sum((n - 1) * s for n, s in zip(meta.shape, meta.stride())) + 1 if meta.numel() else 0
        storage = self.allocate(last * meta.element_size())
        return torch.empty(0, dtype=meta.dtype).set_(storage, 0, meta.shape, meta.stride())

    def read(self, view):
        """A view as an argument. Memory that no step wrote becomes a constant with its current values."""
        number = view.storage
        if number not in self.known or self.changed(number):
            self.known.add(number)
            untyped = self.keep[number]
            size = itemsize(view.dtype)
            dtype = view.dtype if untyped.nbytes() % size == 0 else torch.uint8
            with self.pause():
                whole = torch.empty(0, dtype=dtype).set_(untyped)
                self.constant(whole, View(number, dtype, whole.shape), "a tensor made outside the constructor")
                last = self.steps[-1] if self.steps else None
                is_data = last is not None and last.op == "data" and last.outs[0].storage == number
                self.outside[number] = self.snapshot(number, last.args[0] if is_data else None)
        return view

    def constant(self, tensor, out, why, fresh=False):
        """Adds steps for known values; the memory of `fresh` ones is written only by calls that are seen."""
        nbytes = tensor.numel() * tensor.element_size()
        if nbytes == 0:
            return
        if self.streams.holds(tensor):
            self.refuse("the state of a generator is used as a tensor, whose values depend on the seed")
        if tensor.dtype not in DTYPES:
            why = f"{why} (of dtype {str(tensor.dtype)[6:]}, which a plan cannot represent)"
            self.steps.append(Step(None, out, why=at_line(why)))
            return
        values = tensor.detach().resolve_conj().resolve_neg().contiguous()
        flat = memory(values)
        size = tensor.element_size()
        # Compared with itself, one element further.
        if flat[size:] == flat[:-size] and self.fill_step(out, values.reshape(-1)[:1], nbytes > MAX_CONST):
            return
        if out.stride is not None:  # such data is contiguous: through a storage of its own
            values = values.clone() if values.untyped_storage()._cdata in self.storages else values
            number = self.storage(values.untyped_storage(), tensor.dtype)
            self.known.add(number)
            part = View(number, tensor.dtype, tensor.shape, values.storage_offset())
            self.data_step(part, values, fresh)
            self.steps.append(Step("copy_", out, [part]))
        else:
            self.data_step(out, values, fresh)

    def data_step(self, out, values, fresh=False):
        """Adds the step of the elements of a contiguous view."""
        flat = memory(values)
        if len(flat) <= MAX_CONST:
            self.steps.append(Step("const", out, [base64.b64encode(flat).decode()]))
            return
        data = Data(values)
        if fresh:
            self.data.setdefault(self.storage(values.untyped_storage()), []).append(data)
        else:
            data.preserve()
        self.steps.append(Step("data", out if DTYPES[out.dtype] in STORED else out.real(), [data]))

    def changed(self, number):
        """Whether memory that was made elsewhere has changed since it was recorded: numpy may share and write it."""
        if number not in self.outside:
            return False
        kept = self.outside[number]
        with self.pause():
            now = torch.empty(0, dtype=torch.uint8).set_(self.keep[number])
            changed = hash_of(now) != kept if isinstance(kept, bytes) else kept is None or not torch.equal(now, kept)
        if changed and number in self.deferred:
            self.refuse("memory that a draw is written to was changed unseen, for instance through the numpy array that it shares")
        return changed

    def snapshot(self, number, data=None):
        """What memory that was made elsewhere has now: a copy, which `data` has already, or a hash of much."""
        with self.pause():
            now = torch.empty(0, dtype=torch.uint8).set_(self.keep[number])
            if data is not None:
                return torch.empty(0, dtype=torch.uint8).set_(data.values.untyped_storage())
            return now.clone() if now.numel() <= MAX_WATCHED else hash_of(now)

    def watch(self, number):
        """Notes what memory that was made elsewhere has after a write, unless that takes long."""
        if number in self.outside and self.bytes[number] <= MAX_WATCHED:
            self.outside[number] = self.snapshot(number)
        else:
            self.outside.pop(number, None)

    def is_unset(self, view):
        """Whether some of a view was never written."""
        written = self.unset.get(view.storage)
        if written is None or not view.numel():
            return False
        return written.count < min(view.numel() * itemsize(view.dtype), self.bytes[view.storage]) or not written.covers(view)

    def set(self, view):
        """Notes that memory has been written."""
        written = self.unset.get(view.storage)
        if written is None or not view.numel():
            return
        written.write(view)
        nbytes, size = self.bytes[view.storage], itemsize(view.dtype)
        if written.count >= nbytes and written.covers(View(view.storage, view.dtype, (nbytes // size,))):
            del self.unset[view.storage]

    def grown(self, tensor, nbytes):
        """Notes that a storage which had `nbytes` may have more."""
        number = self.view(tensor).storage
        if self.bytes[number] > nbytes:
            self.unset.setdefault(number, Written()).write(View(number, torch.uint8, (nbytes,)))

    def preserve(self, number):
        """Called before the memory of a storage is written: steps have its values of before."""
        for data in self.data.pop(number, ()):
            data.preserve()

    def fill_step(self, out, value, by_bits=True):
        """Adds steps that write one element, a tensor, everywhere. `by_bits`: also if no number has its bits."""
        if value.dtype not in FLOAT8:
            number = like_dtype(value.reshape(()).item(), out.dtype)
            if isinstance(number, (bool, int, float)) and number == number and -(1 << 63) <= number < 1 << 63 or number in INFINITE:
                self.steps.append(Step("fill_", out, [number]))
                return True
        if not by_bits:
            return False
        self.steps.append(Step("copy_", out, [expanded(self.element(value.clone()), out.shape)]))
        return True

    def element(self, value):
        """Adds the step of a tensor of one element that only the recorder has, and returns a view of it without dimensions."""
        number = self.storage(value.untyped_storage(), value.dtype)
        self.known.add(number)
        self.data_step(View(number, value.dtype, (1,)), value)
        return View(number, value.dtype, ())

    def clone_storage(self, untyped):
        """Records a deep copy of memory."""
        number = self.storages.get(untyped._cdata)
        if self.paused or number is None:
            return None
        dtype = self.dtypes[number]
        if untyped.nbytes() % itemsize(dtype):
            dtype = torch.uint8
        with self.pause():
            if number not in self.states and (number in self.deferred or untyped.nbytes() > MAX_FILLED):
                new = self.allocate(untyped.nbytes())
            else:
                new = torch.empty(0, dtype=torch.uint8).set_(untyped).clone().untyped_storage()
        copied = self.storage(new, dtype)
        if number in self.deferred or untyped.nbytes() > MAX_FILLED:
            self.deferred[copied] = self.deferred.get(number, "large")
            if self.deferred[copied] == "large":
                with self.pause():
                    self.delay_copy(new, copied, untyped, number)
        if number in self.states:
            self.states.add(copied)
        shape = (untyped.nbytes() // itemsize(dtype),)
        source = self.read(View(number, dtype, shape))
        self.known.add(copied)
        self.steps.append(Step("copy_", View(copied, dtype, shape), [source]))
        return new

    # ------------------------------------------------ torch.nn.init

    def init_event(self, name, tensor, args, generator):
        op = HOOKED[name][0]
        original = self.original[name]
        if threading.get_ident() != self.thread:
            self.refuse(f"{name} in another thread cannot be recorded, since the order of the draws is not fixed")
        # PyTorch's own functions make of a complex tensor what they can.
        if self.paused or tensor.device.type == "meta" or tensor.is_complex():
            return original(tensor, *args, **({} if generator is None else {"generator": generator}))
        if op == "sparse_" and generator is not None:
            # Draws the values from the generator, but the permutations from the default one.
            return original(tensor, *args, generator=generator)
        args = [int(x) for x in args] if op == "dirac_" else [float(x) for x in args]
        # Raises PyTorch's own errors of bad arguments, with a tensor of one element, without moving a generator.
        with self.pause(), torch.no_grad():
            if op == "trunc_normal_":
                self.without_moving(original, torch.empty(1, dtype=tensor.dtype), *args)
            elif op == "sparse_" and tensor.ndim == 2:
                self.without_moving(original, torch.empty(1, 1, dtype=tensor.dtype), *args)
            elif op == "dirac_":
                original(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"), *args)
            else:
                self.without_moving(original, torch.empty([1] * tensor.ndim, dtype=tensor.dtype), *args)
        out = self.view(tensor)
        if not tensor.numel():
            return tensor
        self.written(out)
        self.set(out)
        self.add(Step(op, out, args, draws=op != "dirac_"), generator)
        random_before = self.deferred.get(out.storage) == "random" and out.extent() != (0, self.bytes[out.storage], True)
        self.deferred[out.storage] = "random" if op != "dirac_" or random_before else "large"
        if op == "dirac_":
            self.delay(lambda: original(tensor, *args), [out.storage])
        return tensor

    def without_moving(self, function, *args):
        """Calls a function that draws from the default generator, and puts that back."""
        state = torch.default_generator.get_state()
        try:
            return function(*args)
        finally:
            torch.default_generator.set_state(state)

    def written(self, out):
        """Called before a step that overwrites `out`: the remaining bytes of an unknown storage become a constant."""
        extent = out.extent()
        if extent is None or extent != (0, self.bytes[out.storage], True):
            self.read(out)
        self.known.add(out.storage)

    # ------------------------------------------------ aten

    def __torch_dispatch__(self, func, types_, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        if self.refused:
            raise self.refused
        if any(isinstance(x, torch.Tensor) and not isinstance(x, UNINITIALIZED) and (x.is_conj() or x.is_neg()) for x in tree_flatten((args, kwargs))[0]):
            if not func.is_view and not func._schema.is_mutable:
                args, kwargs = tree_map(self.resolved, (args, kwargs))
        # In inference mode, a function that is made of others arrives as a whole; whether it returns a copy or a view is
        # seen only in its parts.
        if torch.is_inference_mode_enabled() and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # libtorch's own parts: `decompose` has others in Python
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
        arguments = bound(func, args, kwargs)
        if func._schema.name.startswith("aten::_foreach_"):
            each = self.foreach(func, arguments)
            if each is not NotImplemented:
                return each
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        # A parameter of a lazy module has neither shape nor elements.
        if any(isinstance(x, UNINITIALIZED) for x in tensors):
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        draws = torch.Tag.nondeterministic_seeded in func.tags and arguments.get("dropout_p") != 0.0
        if any(x.layout != torch.strided or x.is_nested for x in tensors):
            self.refuse(f"{func.name()} of a sparse or nested tensor cannot be recorded; a dense one, made sparse after the constructor, can")
        device = arguments.get("device")
        if device is not None and torch.device(device).type not in ("cpu", "meta"):
            self.refuse(f"{func.name()} on device {device}: only models on the CPU can be recorded")
        if torch.device(device).type == "meta" if device is not None else is_meta(tensors):
            return func(*args, **kwargs)
        if torch.Tag.inplace_view in func.tags or func.is_view or name in VIEWS or name == "set_":
            before = [self.bytes[self.view(x).storage] for x in tensors]
            result = func(*args, **kwargs)
            if name == "resize_":
                self.grown(tensors[0], before[0])
            return result
        if name in EMPTY:
            return self.empty(func, args, kwargs)
        if name in ("rrelu_with_noise", "rrelu_with_noise_") and hasattr(torch.ops.aten, "rrelu_with_noise_functional"):
            return self.rrelu(name, arguments)
        if name == "masked_select" and not self.is_known(arguments["self"]) and self.is_known(arguments["mask"]):
            shape = torch.broadcast_shapes(arguments["self"].shape, arguments["mask"].shape)
            with self:
                return arguments["self"].expand(shape)[arguments["mask"].expand(shape)]
        if name in OF_STATE and tensors and all(self.storages.get(x.untyped_storage()._cdata) in self.states for x in tensors):
            with self.pause():
                result = func(*args, **kwargs)
            return self.state_of(result)
        return self.step(func, name, arguments, args, kwargs, tensors, draws)

    def rrelu(self, name, a):
        """`rrelu` without the memory that it draws its slopes into."""
        with self:
            if a["training"]:
                bounds = a["lower"], a["upper"], True
                result = torch.ops.aten.rrelu_with_noise_functional(a["self"], torch.zeros_like(a["self"]), *bounds, generator=a["generator"])[0]
            else:
                result = torch.ops.aten.leaky_relu(a["self"], (a["lower"] + a["upper"]) / 2)
            return a["self"].copy_(result) if name.endswith("_") else result

    def foreach(self, func, arguments):
        """A function of lists of tensors as libtorch has it on the CPU: one tensor after the other."""
        base = func._schema.name.removeprefix("aten::_foreach_")
        if base.removesuffix("_") not in FOREACH:
            return NotImplemented
        lists = {n: x for n, x in arguments.items() if isinstance(x, (list, tuple)) and x}
        count = len(arguments["self"])
        packet = getattr(torch.ops.aten, base, None)
        if packet is None or any(len(x) != count for x in lists.values()):
            return NotImplemented
        schema = func._schema.arguments
        with self:
            results = []
            for i in range(count):
                values = {n: x[i] if n in lists else x for n, x in arguments.items()}
                # The schemas of the two differ in the names of the arguments that have no default.
                positional = [values[a.name] for a in schema if not a.has_default_value()]
                keywords = {a.name: values[a.name] for a in schema if a.has_default_value() and a.name in values}
                results.append(packet(*positional, **keywords))
        return results if func._schema.returns else None

    def resolved(self, x):
        """The values of a lazily conjugated or negated tensor."""
        if isinstance(x, torch.Tensor) and x.is_neg():
            x = self.__torch_dispatch__(torch.ops.aten.neg.default, (), (torch._neg_view(x),))
        if isinstance(x, torch.Tensor) and x.is_conj():
            x = self.__torch_dispatch__(torch.ops.aten._conj_physical.default, (), (torch._conj(x),))
        return x

    def on_meta(self, func, args, kwargs):
        """The result of the op, without values."""

        def meta(x):
            if isinstance(x, torch.Tensor):
                return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
            return x

        args, kwargs = tree_map(meta, (args, kwargs))
        kwargs = dict(kwargs)
        if any(a.name == "device" for a in func._schema.arguments):
            kwargs["device"] = torch.device("meta")
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if "generator" in kwargs:
            kwargs["generator"] = None
        return func(*args, **kwargs)

    def empty(self, func, args, kwargs):
        with self.pause():
            meta = self.on_meta(func, args, kwargs)
            big = meta.numel() * meta.element_size() >= MAPPED and meta.dtype in DTYPES
            result = self.empty_as(meta) if big else func(*args, **kwargs)
        number = self.view(result).storage
        self.known.add(number)
        self.unset[number] = Written()
        return result

    def step(self, func, name, arguments, args, kwargs, tensors, draws):
        if name in ("index", "index_put", "index_put_"):
            args, kwargs, arguments, tensors = self.without_masks(func, args, kwargs, arguments, tensors)
        if name == "_linalg_check_errors" and any(self.view(x).storage in self.deferred for x in tensors):
            return None  # PyTorch's error of a singular matrix, which libtorch does not report
        if name == "linalg_lstsq" and any(self.view(x).storage in self.deferred for x in tensors) and arguments["driver"] in (None, "gelsy"):
            self.refuse("torch.linalg.lstsq by the driver gelsy (the default on the CPU) reads uninitialized memory in PyTorch, so that its bits are others in each run; driver='gelsd' or 'gels' can be recorded")
        if name == "mkldnn_rnn_layer":  # the same values, without the memory that training needs
            args, kwargs = (*bound(func, args, kwargs).values(),)[:-1] + (False,), {}
            # oneDNN's kernel depends on the gradient mode, and on CPUs without AVX-512 the bits on the kernel.
            arguments = {**bound(func, args, kwargs), "train": torch.is_grad_enabled()}
        if self.values_only and name in VALUES_ONLY:
            args = (args + tuple(a.default_value for a in func._schema.arguments[len(args) :] if not a.kwarg_only))[: VALUES_ONLY[name]]
            args += (False,)
            arguments = bound(func, args, kwargs)
        written = [
            x
            for a in func._schema.arguments
            if a.alias_info is not None and a.alias_info.is_write
            for x in tree_flatten(arguments.get(a.name))[0]
            if isinstance(x, torch.Tensor)
        ]
        if name in RUNNING and arguments[RUNNING[name]]:
            hidden = [x for x in (arguments["running_mean"], arguments["running_var"]) if x is not None]
        else:
            hidden = []
        overwrites = name in OVERWRITE or any(a.is_out for a in func._schema.arguments)
        if any(a.is_out for a in func._schema.arguments):
            self.resize_out(func, arguments, args, kwargs)
        inputs = [x for x in tensors if x.device.type != "meta" and not (overwrites and any(x is w for w in written))]
        if name in LIKE:
            inputs = [x for x in inputs if x is not arguments["self"]]
        deferred = {self.deferred.get(self.view(x).storage) for x in inputs} - {None}

        if draws:
            self.check_draw(func, arguments, written)
        returns = func._schema.returns
        reads_values = not written and not all("Tensor" in str(r.type) for r in returns)
        if deferred == {"large"} and not draws and (reads_values or self.needs_values(func, name)):
            if self.compute(self.view(x).storage for x in inputs):
                deferred = set()
        if deferred and reads_values:
            self.refuse_read(deferred, func.name())

        # The arguments before the op.
        views = tree_map(lambda x: self.view(x) if isinstance(x, torch.Tensor) and x.device.type != "meta" else x, arguments)
        reads = [self.view(x) for x in inputs]
        unset = any(self.is_unset(v) for v in reads)
        if unset and reads_values:
            self.refuse(f"{func.name()} reads uninitialized memory")
        for view in reads:
            self.read(view)
        if overwrites:
            for x in written:
                self.written(self.view(x))

        kind = "random" if draws or "random" in deferred else "large" if deferred else None
        if kind is None:
            kind = self.too_large(func, args, kwargs, written)
        if kind is None and overwrites:
            # Writing a part of a deferred tensor leaves it deferred; writing all of it makes its values known.
            for x in written:
                view = self.view(x)
                if view.extent() == (0, self.bytes[view.storage], True):
                    self.deferred.pop(view.storage, None)
                else:
                    kind = kind or self.deferred.get(view.storage)
        elif kind is None:
            kind = next((k for k in (self.deferred.get(self.view(x).storage) for x in written) if k), None)

        if kind is None:
            for x in written + hidden:
                self.preserve(self.view(x).storage)
            result = func(*args, **kwargs)
            for x in written + hidden:
                self.watch(self.view(x).storage)
        elif written:
            self.same_shape(func, args, kwargs, written)
            result = written[0] if len(returns) == 1 else tuple(written)
            result = None if not returns else result
            for x in written:
                view = self.view(x)
                if self.deferred.get(view.storage) != "random" or overwrites and view.extent() == (0, self.bytes[view.storage], True):
                    self.deferred[view.storage] = kind
        else:
            result = self.unexecuted(func, args, kwargs, deferred)
        for x in tree_flatten(result)[0]:
            if isinstance(x, torch.Tensor) and x.layout != torch.strided:
                self.view(x)  # refuses
        mine = {x.untyped_storage()._cdata for x in tensors}
        outs = written + hidden
        for x in hidden if kind else ():
            self.deferred[self.view(x).storage] = kind
        for x in tree_flatten(result)[0]:
            if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in mine:
                outs.append(x)
                number = self.view(x).storage
                self.known.add(number)
                if kind:
                    self.deferred[number] = kind
        if kind == "large":
            call = None if unset or hidden else self.delayed(func, args, kwargs, result, written, inputs)
            self.delay(call, (self.view(x).storage for x in [*outs, *inputs] if self.view(x).storage in self.deferred))
        for x in outs:
            view = self.view(x)
            if unset:
                self.unset.setdefault(view.storage, Written())
            else:
                self.set(view)
        self.append(func, name, views, reads, outs, "unset" if unset else kind, draws, overwrites)
        return result

    def needs_values(self, func, name):
        """Whether an op of large tensors has to be computed: its shape depends on values, or a plan has no row for it."""
        if name in OF_LIBRARIES or {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            return True
        try:
            return name not in ROWS and name.removesuffix("_") not in ROWS and function_of(func)[0] not in OPERATORS
        except Unsupported:
            return True

    def resize_out(self, func, arguments, args, kwargs):
        """Gives the tensors of `out=` the shapes of the result, as the op does."""
        names = [a.name for a in func._schema.arguments if a.is_out]
        with self.pause():
            try:
                results = tree_flatten(self.on_meta(func, args, kwargs))[0]
            except (NotImplementedError, RuntimeError):
                return
            for x, result in zip((arguments[n] for n in names if n in arguments), results):
                if isinstance(x, torch.Tensor) and x.shape != result.shape:
                    x.resize_(result.shape)

    def without_masks(self, func, args, kwargs, arguments, tensors):
        """Known masks among the indices as indices, if the result is not computed now."""
        masks = [x for x in arguments["indices"] if x is not None and x.dtype in (torch.bool, torch.uint8)]
        is_deferred = lambda x: self.view(x).storage in self.deferred  # noqa: E731
        if not masks or not any(map(is_deferred, tensors)) or any(map(is_deferred, masks)):
            return args, kwargs, arguments, tensors
        indices = []
        for x in arguments["indices"]:
            if x is not None and x.dtype in (torch.bool, torch.uint8):
                indices += (self.read(self.view(x)) and x).nonzero().unbind(1)
            else:
                indices.append(x)
        args = (args[0], indices, *args[2:])
        arguments = bound(func, args, kwargs)
        return args, kwargs, arguments, [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]

    def append(self, func, name, arguments, reads, outs, kind, draws, overwrites):
        """The row of a step, or a placeholder for an op that a plan cannot represent."""
        places = [self.view(x) for x in outs]
        out = target = places[0] if len(places) == 1 else None
        base = name[:-1] if name.endswith("_") and name not in ROWS else name
        generator = arguments.get("generator")
        if places and not any(place.numel() for place in places) and (not draws or name not in OPERATORS):
            return
        if out is not None:
            if base == "complex" and kind not in (None, "unset"):
                real = out.real()
                for i, part in enumerate((arguments["real"], arguments["imag"])):
                    half = View(real.storage, real.dtype, out.shape, real.offset + i, real.strides()[:-1])
                    self.steps.append(Step("copy_", half, [expanded(part, out.shape)]))
                return
            try:
                if base not in ROWS:
                    raise Unsupported
                if draws and out.dtype.is_complex and base in COMPLEX_DRAWS:
                    out, arguments = COMPLEX_DRAWS[base](out, arguments)
                row = ROWS[base](arguments, out)
                op, args = row[0], row[1]
                if kind == "unset" and op != "copy_":
                    raise Unsupported
                self.check_promotion(op, args, out)
                args = [self.complex_number(x, out.dtype) if op != "fill_" else x for x in args]
            except Unsupported:
                out = target
            else:
                if op == "copy_" and args[0].key() == out.key():
                    return
                if op == "fill_" and (out.dtype in FLOAT8 or not isinstance(args[0], (bool, int, float)) or abs(args[0]) >= 1 << 63):
                    with self.pause():
                        self.fill_step(out, torch.empty(1, dtype=out.dtype).fill_(args[0]))
                    return
                self.add(Step(op, row[2] if len(row) > 2 else out, args, draws), generator)
                return
        small = all(x.numel() * x.element_size() <= MAX_CONST for x in outs)
        if kind != "unset" and not (kind is None and (small or name in OF_LIBRARIES)):
            try:
                if name == "native_batch_norm":
                    func, places = batch_norm(arguments, places)
                op, args = operator_row(func, arguments, places)
            except Unsupported:
                pass
            else:
                self.add(Step(op, places, args, draws), generator)
                return
        if draws:
            self.refuse(f"{func.name()} draws in a way that a plan cannot represent")
        what = f"{func.name()} is not in a plan's vocabulary"
        if torch.get_default_dtype() != torch.float32:
            what += f" under the default dtype {str(torch.get_default_dtype())[6:]} (integers have to be cast explicitly)"
        if kind == "unset":
            what = f"{func.name()} reads uninitialized memory"
        for x, out in zip(outs, places):
            if kind is None:
                with self.pause():
                    self.constant(x, out, f"the result of {func.name()}", fresh=True)
            else:
                own = [] if overwrites else [out]
                self.steps.append(Step(None, out, why=at_line(what), reads=reads + own))

    def check_promotion(self, op, args, out):
        """Integers are promoted to the default dtype, which is float32 in a plan."""
        views = [x for x in tree_flatten(args)[0] if isinstance(x, View)]
        dtypes = {v.dtype for v in [*views, out]}
        if not dtypes <= set(DTYPES) or (op not in MOVES and dtypes & ONLY_MOVED):
            raise Unsupported
        if len(dtypes) > 1 and any(DTYPES[dtype] == "float8_e8m0fnu" for dtype in dtypes):
            raise Unsupported
        if op in NO_PROMOTION or torch.get_default_dtype() == torch.float32:
            return
        inexact = lambda dtype: dtype.is_floating_point or dtype.is_complex  # noqa: E731
        if inexact(out.dtype) and not any(inexact(v.dtype) for v in views):
            raise Unsupported

    def complex_number(self, value, dtype):
        """A complex number among the arguments as a tensor without dimensions, which promotes as it does."""
        if not isinstance(value, complex):
            return value
        if not dtype.is_complex:
            raise Unsupported
        with self.pause():
            return self.element(torch.full((1,), value, dtype=dtype))

    def check_draw(self, func, arguments, written):
        """Raises PyTorch's own errors of bad arguments, with a tensor of one element and a dedicated generator."""
        if written and func._schema.name in ("aten::uniform_", "aten::normal_"):
            values = [arguments[n] for n in (("from", "to") if "uniform" in func._schema.name else ("mean", "std"))]
            with self.pause():
                func(torch.empty(1, dtype=written[0].dtype), *values, generator=torch.Generator())

    def too_large(self, func, args, kwargs, written):
        """Whether an op that could be executed is deferred, since it would fill much memory."""
        if written:
            nbytes = max(x.numel() * x.element_size() for x in written)
        else:
            name = func._schema.name.split("::")[1]
            if name not in ROWS:
                return None
            with self.pause():
                metas = [x for x in tree_flatten(self.on_meta(func, args, kwargs))[0] if isinstance(x, torch.Tensor)]
            nbytes = max((x.numel() * x.element_size() for x in metas), default=0)
        if nbytes > MAX_FILLED or self.filled + nbytes > MAX_FILLED_TOTAL and nbytes > MAX_CONST:
            return "large"
        self.filled += nbytes
        return None

    def same_shape(self, func, args, kwargs, written):
        """Raises PyTorch's own errors of shapes and dtypes for an in-place op that is not executed."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return
        with self.pause():
            try:
                self.on_meta(func, args, kwargs)
            except NotImplementedError:
                pass

    def unexecuted(self, func, args, kwargs, deferred):
        if func._schema.name == "aten::_assert_async":
            return None
        with self.pause():
            try:
                metas = self.on_meta(func, args, kwargs)
            except NotImplementedError:
                metas = self.on_ones(func, args, kwargs, deferred)
            except RuntimeError as error:
                if "meta" not in str(error).lower():
                    raise
                metas = self.on_ones(func, args, kwargs, deferred)
            return tree_map(self.empty_as, metas)

    def on_ones(self, func, args, kwargs, deferred):
        """The result of an op of the vocabulary whose shape does not depend on values, of other values."""
        tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        try:
            known = function_of(func)[0] in OPERATORS
        except Unsupported:
            known = False
        nbytes = sum(x.numel() * x.element_size() for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor))
        if torch.Tag.nondeterministic_seeded in func.tags and not known:
            self.refuse(f"{func.name()} draws in a way that a plan cannot represent")
        # Its shapes depend on whether the matrix has full rank, as a drawn one has.
        is_lstsq = func._schema.name == "aten::linalg_lstsq"
        if not known or tags & set(func.tags) and not is_lstsq or nbytes > MAX_FILLED_TOTAL:
            self.refuse_read(deferred, func.name())

        def ones(x):
            if not isinstance(x, torch.Tensor):
                return x
            made = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype)
            if is_lstsq and x.ndim > 1:
                made.zero_().diagonal(dim1=-2, dim2=-1).fill_(1)
                return made
            return made.fill_(1) if x.dtype.is_floating_point or x.dtype.is_complex else made.zero_()

        args, kwargs = tree_map(ones, (args, kwargs))
        if any(a.name == "generator" for a in func._schema.arguments):
            kwargs = {**kwargs, "generator": plain_generator()}
        return func(*args, **kwargs)

    def refuse_read(self, deferred, what):
        if "random" in deferred:
            remedy = "; what PyTorch computes can be recorded, what Python or numpy computes of a draw cannot" if what in PYTHON_READS else ""
            self.refuse(f"the constructor branches on random values: {what} reads a tensor that depends on a draw{remedy}")
        self.refuse(f"{what} reads back a value of large tensors (of {MAX_COMPUTED >> 30} GiB together), which are not filled while recording")

    def check_read(self, tensor, what):
        """Refuses reads of values that do not pass through aten."""
        if self.paused or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return
        number = self.storages.get(tensor.untyped_storage()._cdata)
        if self.deferred.get(number) == "large":
            self.compute([number])
        if number in self.deferred:
            self.refuse_read({self.deferred[number]}, what)
        if number in self.unset and self.is_unset(self.view(tensor)):
            self.refuse(f"{what} reads uninitialized memory")


def is_meta(tensors):
    return bool(tensors) and all(t.device.type == "meta" for t in tensors)


def bound(func, args, kwargs):
    """Arguments by the schema's names, including defaults."""
    named = {}
    for i, a in enumerate(func._schema.arguments):
        if i < len(args):
            named[a.name] = args[i]
        elif a.name in kwargs:
            named[a.name] = kwargs[a.name]
        elif a.has_default_value():
            named[a.name] = a.default_value
    return named


# ---------------------------------------------------------------- what does not pass through aten


def tensor_hooks(recorder):
    """Replaces reads of a tensor that do not pass through aten, and deep copies of memory."""

    def reading(method, what):
        def read(self, *args, **kwargs):
            recorder.check_read(self, what)
            return method(self, *args, **kwargs)

        return read

    def numpy(self, *args, **kwargs):
        recorder.check_read(self, "numpy()")
        array = plain_numpy(self, *args, **kwargs)
        if not recorder.paused and self.device.type == "cpu" and self.layout == torch.strided and self.numel():
            number = recorder.storage(self.untyped_storage(), self.dtype)
            if recorder.bytes[number] > MAX_WATCHED:
                array.flags.writeable = False  # a write through it would go unseen
            elif number in recorder.known:
                recorder.outside[number] = None
                recorder.watch(number)
        return array

    def text(self, *args, **kwargs):
        """As text, tensors decide nothing. What is not known now gets a text that is another in each recording and for each view."""
        if not recorder.is_known(self):
            number = ",".join(map(str, recorder.view(self).key()))
            return f"tensor(<not known while recording, {UNKNOWN_TEXTS[recording]}{number}>, size={tuple(self.shape)}, dtype={self.dtype})"
        return plain_repr(self, *args, **kwargs)

    def formatted(self, specification):
        return plain_format(self, specification) if recorder.is_known(self) else text(self)

    def by_element(method, what):
        """Python's functions of each element."""

        def change(self, *args):
            for x in (self, *args):
                if isinstance(x, torch.Tensor):
                    recorder.check_read(x, what)
            number = recorder.view(self).storage
            recorder.preserve(number)
            result = method(self, *args)
            recorder.known.discard(number)  # recorded with its new values when it is read
            return result

        return change

    def storage_access(method, what):
        def access(self, *args, **kwargs):
            if not recorder.paused and self._cdata in recorder.storages:
                recorder.refuse(f"{what} of a storage reaches into a tensor's memory unseen")
            return method(self, *args, **kwargs)

        return access

    def clone(self):
        new = recorder.clone_storage(self)
        return plain_clone(self) if new is None else new

    def values_only(method):
        def call(A, *args, **kwargs):
            before = recorder.values_only
            recorder.values_only = not (torch.is_grad_enabled() and A.requires_grad)
            try:
                return method(A, *args, **kwargs)
            finally:
                recorder.values_only = before

        return call

    plain_numpy, plain_clone = torch.Tensor.numpy, torch.UntypedStorage.clone
    plain_repr, plain_format = torch.Tensor.__repr__, torch.Tensor.__format__
    changes = [(torch.Tensor, "numpy", numpy), (torch.UntypedStorage, "clone", clone)]
    changes += [(torch.Tensor, "__repr__", text), (torch.Tensor, "__format__", formatted)]
    for name in "svdvals eigvalsh norm matrix_norm cond matrix_rank".split():
        changes.append((torch.linalg, name, values_only(getattr(torch.linalg, name))))
    for name in "apply_ map_ map2_".split():
        changes.append((torch.Tensor, name, by_element(getattr(torch.Tensor, name), name)))
    # Of numbers: `torch.tensor([x[0], x[1]])` reads them unseen.
    for name in "__float__ __int__ __index__ __bool__ __complex__".split():
        changes.append((torch.Tensor, name, reading(getattr(torch.Tensor, name), "aten::_local_scalar_dense")))
    for name in "tolist __dlpack__ __reduce_ex__".split():
        changes.append((torch.Tensor, name, reading(getattr(torch.Tensor, name), name)))
    for name in "__getitem__ __setitem__ fill_ tolist copy_".split():
        method = getattr(torch.UntypedStorage, name)
        changes.append((torch.UntypedStorage, name, storage_access(method, name)))
    return changes


def generator_hooks(recorder):
    """Replaces what draws a seed, and Python's and numpy's generators until they have a fixed seed."""

    class Meta(type(plain_generator)):
        def __instancecheck__(cls, x):
            return isinstance(x, plain_generator)

    class Generator(plain_generator, metaclass=Meta):
        def seed(self):
            recorder.refuse("the constructor calls Generator.seed, which draws a seed that no seed of PyTorch sets")

        def get_state(self):
            return recorder.state_of(super().get_state())

    def get_rng_state():
        return recorder.state_of(torch.default_generator.get_state())

    changes = [(torch, "Generator", Generator)]
    for owner in (torch, torch.random):
        changes.append((owner, "get_rng_state", get_rng_state))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        plain = numpy.random.default_rng

        def default_rng(seed=None):
            if seed is None:
                recorder.refuse("the constructor draws from numpy.random (default_rng without a seed), which no seed of PyTorch sets")
            return plain(seed)

        changes.append((numpy.random, "default_rng", default_rng))
        for name in "RandomState SeedSequence MT19937 PCG64 PCG64DXSM Philox SFC64".split():
            changes.append((numpy.random, name, seeded_class(recorder, getattr(numpy.random, name), f"numpy.random.{name}")))
    changes.append((random, "Random", seeded_class(recorder, random.Random, "random.Random")))
    for owner, label in ((random, "random"), (getattr(numpy, "random", None), "numpy.random")):
        for name in dir(owner) if owner else ():
            method = getattr(owner, name)
            is_global = getattr(method, "__self__", None) is not None or name == "seed"
            if is_global and not name.startswith("_") and name not in ("getstate", "get_state"):
                changes.append((owner, name, seeded_first(recorder, label, name, method)))
    return changes


def decision_hooks(recorder):
    """Replaces decisions of PyTorch's own code over drawn values by assertions."""
    module = torch.nn.utils.parametrizations
    plain = module._is_orthogonal

    def is_orthogonal(Q, eps=None):
        if not recorder.is_drawn(Q):
            return plain(Q, eps)
        storage = recorder.view(Q).storage
        n, k = Q.size(-2), Q.size(-1)
        identity = torch.eye(k, dtype=Q.dtype)
        eps = 10.0 * n * torch.finfo(Q.dtype).eps if eps is None else eps
        close = ((Q.mH @ Q - identity).abs() <= eps + 1e-5 * identity).all()
        last = next((s for s in reversed(recorder.steps) if any(out.storage == storage for out in s.outs)), None)
        expected = last is not None and last.op == "orthogonal_" and last.args == [1.0]
        torch._assert_async(close if expected else close.logical_not())
        return expected

    def one_hot(tensor, num_classes=-1):
        if num_classes < 1 or not recorder.is_drawn(tensor):
            return plain_one_hot(tensor, num_classes)
        # Indices out of range are an error of the scatter too.
        return torch.zeros(*tensor.shape, num_classes, dtype=torch.int64).scatter_(-1, tensor.unsqueeze(-1), 1)

    def right_inverse(self, Q):
        """With a choice of each element instead of an index by a mask of drawn values."""
        if not recorder.is_drawn(Q) or hasattr(self, "base") or self.orthogonal_map != module._OrthMaps.householder or Q.shape != self.shape:
            return plain_right_inverse(self, Q)
        transpose = Q.size(-2) < Q.size(-1)
        A, tau = torch.geqrf(Q.mT if transpose else Q)
        diagonal = A.diagonal(dim1=-2, dim2=-1).sign_()
        diagonal.copy_(torch.where(tau == 0.0, diagonal * -1, diagonal))
        return A.mT if transpose else A

    plain_right_inverse = module._Orthogonal.right_inverse
    plain_one_hot = torch.nn.functional.one_hot
    changes = [(torch.nn.functional, "one_hot", one_hot)]
    for key, owner, name, hook in (
        ("_is_orthogonal", module, "_is_orthogonal", is_orthogonal),
        ("_Orthogonal.right_inverse", module._Orthogonal, "right_inverse", right_inverse),
    ):
        if recorder.under.known_function(f"nn/utils/parametrizations.py:{key}", module):
            changes.append((owner, name, hook))
    return changes


def importing():
    """Whether a module is imported now by the constructor: modules may have generators that nothing draws from."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not run.__code__:
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def seeded_class(recorder, plain, label):
    """A class of generators that needs a seed."""

    class Meta(type(plain)):
        def __instancecheck__(cls, x):
            return isinstance(x, plain)

    class Seeded(plain, metaclass=Meta):
        def __new__(cls, *args, **kwargs):
            if not any(x is not None for x in (*args, *kwargs.values())) and not importing():
                recorder.refuse(f"the constructor draws from {label} without a seed, which no seed of PyTorch sets")
            return plain(*args, **kwargs)

    Seeded.__name__ = Seeded.__qualname__ = plain.__name__
    return Seeded


def thread_hooks(recorder):
    """Refuses draws and recorded tensors in threads that the constructor starts: their order is not fixed."""

    class Elsewhere(TorchDispatchMode):
        def __torch_dispatch__(self, func, types_, args=(), kwargs=None):
            kwargs = kwargs or {}
            tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
            recorded = any(x.layout == torch.strided and not isinstance(x, UNINITIALIZED) and x.untyped_storage()._cdata in recorder.storages for x in tensors)
            if recorded or torch.Tag.nondeterministic_seeded in func.tags:
                recorder.refuse(f"{func.name()} in another thread cannot be recorded; construct in one thread")
            return func(*args, **kwargs)

    plain = threading.Thread._bootstrap_inner

    def bootstrap(self):
        with Elsewhere():
            plain(self)

    plain_hook = threading.excepthook

    def excepthook(args):
        if not isinstance(args.exc_value, Refused):  # reported at the end
            plain_hook(args)

    return [(threading.Thread, "_bootstrap_inner", bootstrap), (threading, "excepthook", excepthook)]


def seeded_first(recorder, label, name, method):
    """A function of a global generator, allowed once that has a fixed seed."""

    def call(*args, **kwargs):
        if name == "seed" and next(iter([*args, *kwargs.values()]), None) is not None:
            recorder.seeded.add(label)
        elif name in ("setstate", "set_state"):
            recorder.seeded.discard(label)  # where it is then is seen at the end
            return method(*args, **kwargs)
        if label not in recorder.seeded:
            recorder.refuse(f"the constructor draws from {label} ({name}), which no seed of PyTorch sets")
        return method(*args, **kwargs)

    return call


def generator_states():
    numpy = sys.modules.get("numpy")
    states = [("random", random.getstate())]
    if numpy is not None:
        state = numpy.random.get_state(legacy=False)
        states.append(("numpy.random", repr((state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"]))))
    return states


def run(construct, under):
    """Runs the constructor and returns the recorder and the model."""
    before = generator_states()
    recorder = Recorder(under)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(hooked_init(recorder))
            stack.enter_context(replaced(tensor_hooks(recorder) + generator_hooks(recorder) + decision_hooks(recorder) + thread_hooks(recorder)))
            stack.enter_context(hooked_seeds(recorder))
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            stack.enter_context(recorder)
            try:
                with calls_noted():
                    model = construct()
            except Exception:
                if recorder.refused:  # the error may follow from it, for instance where another thread was refused
                    raise recorder.refused from None
                raise
        if recorder.refused:
            raise recorder.refused
        recorder.end = recorder.streams.end()
    finally:
        recorder.streams.close()
    for (name, old), (_, new) in zip(before, generator_states()):
        if old != new and name not in recorder.seeded:
            raise Refused(f"the constructor draws from {name}, which no seed of PyTorch sets")
    if not isinstance(model, torch.nn.Module):
        raise Refused(f"this is a {type(model).__name__}, not a torch.nn.Module")
    return recorder, model


# ---------------------------------------------------------------- the same plan at another seed, at another time


# The seed of the second recording: small, and Streams.USER minus it is a prime, so that no remainder of the two is equal.
ANOTHER_SEED = 21
ANOTHER_TIME = 34_571_233  # seconds, a prime: 400 days and some hours
# What has no values that a seed determines, the least predictable first.
SOURCES = ["urandom getrandom generate_time_safe seed".split(), "initial_seed".split(), "getpid now utcnow today time time_ns localtime gmtime ctime asctime strftime".split(),
           "perf_counter perf_counter_ns monotonic monotonic_ns process_time process_time_ns thread_time times clock_gettime".split()]
# In the text of a value that is not known, by recording: texts of other lengths, characters and sums of characters, so
# that a decision by any of these is another one. Not random: two random texts may have the same sum.
UNKNOWN_TEXTS = ("aaaaaaa", "NNNNNNNNNNNN", "66666666666666666")
OF_SOURCES = {"posix", "nt", "_uuid", "time", "datetime", "date", "Generator", "Random", "DateTime", "Date"}
recording = 0  # which of the recordings of a plan this process makes
noted = None  # in the process that looks for them: calls of sources as (rank, name, place)


class Again:
    """A process that was forked before the recording, and records once more when it is asked: with other random numbers, at another time.

    Not in this process, since modules may keep what the first construction made.
    """

    def __init__(self, make, number, seed, seconds, earlier=()):
        start = time.time()
        asked, self.ask = os.pipe()
        self.answer, answers = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # threads are not copied; none of them works for the recorder
            self.process = os.fork()
        if self.process:
            os.close(asked)
            os.close(answers)
            return
        try:
            for descriptor in (self.ask, self.answer, *(d for other in earlier for d in (other.ask, other.answer))):
                os.close(descriptor)
            if os.read(asked, 1):
                null = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(null, descriptor)
                with os.fdopen(answers, "w") as file:
                    # As if it began when the first one did, so many seconds later: a difference is not made up by the wait.
                    json.dump(recorded_again(make, number, seed, seconds + start - time.time()), file)
        finally:
            os._exit(0)

    def result(self, limit):
        """What it recorded, or None if it did not end in so many seconds."""
        os.write(self.ask, b".")
        end, said = time.monotonic() + limit, []
        while select.select([self.answer], [], [], max(0, end - time.monotonic()))[0]:
            said.append(os.read(self.answer, 1 << 20))
            if not said[-1]:
                break
        text = b"".join(said)
        return json.loads(text) if said and not said[-1] and text else None

    def end(self):
        os.close(self.ask)
        os.close(self.answer)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


def recorded_again(make, number, seed, seconds):
    """The plan and hashes of its data, or the error, and the calls that were noted."""
    global noted, recording
    recording = number
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # ends with its parent
    if seed == Streams.USER:
        noted = []
    Streams.USER = seed
    torch.set_num_threads(1)  # OpenMP's threads are not in a forked process
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    # Addresses are others too: sets of objects are in another order.
    blocks = [make() for make in (object, lambda: complex(1, 2), *(lambda n=n: bytes(n) for n in range(8, 520, 16))) for _ in range(2000)]
    random.shuffle(blocks)
    kept = blocks[::2]
    del blocks
    at_another_time(seconds)
    try:
        text, parts = make()
        result = {"plan": text, "data": data_hashes(parts)}
    except BaseException as error:
        result = {"error": str(error) if isinstance(error, Refused) else described(error)}
    del kept
    return {**result, "noted": sorted(noted or [], key=lambda note: note[0])}


def data_hashes(parts):
    """The SHA-256 of each tensor of the data, by its name."""
    names = json.loads(bytes(parts[1])) if parts else ()
    return {name: hashlib.sha256(part).hexdigest() for name, part in zip(names, parts[2:])}


def at_another_time(seconds):
    """Moves the clocks of this process, wherever modules have them: whole seconds, days and years are others."""

    class IsPlain(type):
        def __instancecheck__(cls, x):
            return isinstance(x, cls.__mro__[1])

    class Date(datetime.date, metaclass=IsPlain):
        @classmethod
        def today(cls):
            return date_plain.today() + moved

    class DateTime(datetime.datetime, metaclass=IsPlain):
        @classmethod
        def now(cls, tz=None):
            return datetime_plain.now(tz) + moved

        @classmethod
        def utcnow(cls):
            return datetime_plain.now(datetime.timezone.utc).replace(tzinfo=None) + moved

        @classmethod
        def today(cls):
            return datetime_plain.now() + moved

    def later(f):
        return lambda given=None: f(plain() + seconds if given is None else given)

    moved, plain, plain_ns = datetime.timedelta(seconds=seconds), time.time, time.time_ns
    date_plain, datetime_plain = datetime.date, datetime.datetime
    asctime, strftime, localtime = time.asctime, time.strftime, later(time.localtime)
    changes = {
        time.time: lambda: plain() + seconds,
        time.time_ns: lambda: plain_ns() + round(seconds * 10**9),
        time.localtime: localtime,
        time.gmtime: later(time.gmtime),
        time.ctime: later(time.ctime),
        asctime: lambda given=None: asctime(localtime() if given is None else given),
        strftime: lambda format, given=None: strftime(format, localtime() if given is None else given),
        datetime.datetime: DateTime,
        datetime.date: Date,
    }
    changes = {id(old): (old, new) for old, new in changes.items()}
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            for name, value in list(vars(module).items()):
                old, new = changes.get(id(value), (None, None))
                if old is value and old is not None:
                    vars(module)[name] = new


@contextlib.contextmanager
def calls_noted():
    """Notes calls of sources, in the process that looks for them."""
    if noted is None:
        yield
        return
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def note(frame, event, function):
    if event != "c_call":
        return
    name, owner = function.__name__, getattr(function, "__self__", None)
    rank = next((rank for rank, names in enumerate(SOURCES) if name in names), None)
    if rank is None:
        return
    of = owner.__name__ if isinstance(owner, (type, types.ModuleType)) else type(owner).__name__
    if of not in OF_SOURCES or name == "seed" and frame.f_locals.get("a", 0) is not None:
        return
    if name == "initial_seed" and frame.f_globals is globals():
        return  # the recorder's own
    # Under the name of the function that the user's code calls.
    label = f"{ {'posix': 'os', 'nt': 'os'}.get(of, of)}.{name}"
    torch_root, python_root = roots()
    while frame is not None:
        code, scope = frame.f_code, frame.f_globals
        if scope is globals():
            if code is run.__code__:
                return
        elif not code.co_filename.startswith("<"):
            if of_user(code.co_filename, torch_root, python_root):
                entry = [rank, label, f"{code.co_filename}:{frame.f_lineno}"]
                if entry not in noted:
                    noted.append(entry)
                return
            label = f"{scope.get('__name__')}.{getattr(code, 'co_qualname', code.co_name)}"
        frame = frame.f_back


def checked(make):
    """A plan's text and data, which `make` returns, if it is the same at another seed, at another time and with other random numbers."""
    if not hasattr(os, "fork"):
        warn("on this system it is not checked whether the plan depends on the time or on random numbers that no seed sets")
        return make()
    with contextlib.suppress(ImportError):
        importlib.import_module("torch._dynamo")  # PyTorch imports it when it records, in each process
    others = [Again(make, 1, ANOTHER_SEED, ANOTHER_TIME)]
    try:
        others.append(Again(make, 2, Streams.USER, 2 * ANOTHER_TIME, others))
        start = time.monotonic()
        text, parts = make()
        limit = 60 + 10 * (time.monotonic() - start)
        second = others[0].result(limit)
        if second is None or second.get("plan") != text:
            third = others[1].result(limit)
            if second is None and third is None:
                warn("a second recording, at another time, did not end: it is not known whether the plan depends on the time or on random numbers that no seed sets")
            else:
                compare({"plan": text, "data": data_hashes(parts)}, second or third, third if second else None)
        return text, parts
    finally:
        for other in others:
            other.end()


def warn(message):
    print(f"record.py: warning: {message}", file=sys.stderr)


def compare(first, second, third):
    """Refuses a plan that is another at another seed (the second is) or at another time (the second and the third are)."""
    values = lambda result: [result.get(key) for key in ("plan", "data", "error")]  # noqa: E731
    if second.get("plan") == first["plan"] or third is not None and values(second) == values(third):
        return  # or only the number of threads differs, or what the first construction has left outside the process
    if third is not None and third.get("plan") == first["plan"]:
        raise Refused(f"{what_differs(first, second)} on the seed itself (initial_seed of the default generator), which a plan does not know; a draw from the generator can be recorded")
    notes = third["noted"] if third else []
    calls = [f"{label} ({place})" for rank, label, place in notes if rank == notes[0][0]][:3]
    what = " or ".join(calls) or "what is another in each run (an address, a random number, the time)"
    raise Refused(f"{what_differs(first, second)} on {what}, which no seed of PyTorch sets; give such a value to the constructor as an argument, or draw it from a generator with a fixed seed")


def views_among(argument):
    """The numbers of the views in an argument of a row."""
    if isinstance(argument, list):
        return [view for x in argument for view in views_among(x)]
    return [argument["view"]] if isinstance(argument, dict) else []


def what_differs(first, second):
    """`fc.weight depends`: what differs in two recordings of a model."""
    if "plan" not in second:
        return f"a second construction fails ({second['error']}), so that the model depends"
    a, b = json.loads(first["plan"]), json.loads(second["plan"])
    rows_a, rows_b = ({row[0]: row[1:] for row in plan["parameters"] + plan["buffers"]} for plan in (a, b))
    if list(rows_a) != list(rows_b):
        return f"the names of the tensors ({next(iter(set(rows_a) ^ set(rows_b)), 'their order')}) depend"
    for name in rows_a:
        if a["views"][rows_a[name][0]][1:] != b["views"][rows_b[name][0]][1:] or rows_a[name][1:] != rows_b[name][1:]:
            return f"the shape of {name} depends"
    # The names that are written by a step that differs, directly or by way of others.
    written, streams, stream = set(), set(), 0
    storage = lambda view: a["views"][view][0]  # noqa: E731
    for i, (op, out, *args) in enumerate(a["steps"]):
        differs = i >= len(b["steps"]) or [op, out, *args] != b["steps"][i]
        if op in ("manual_seed", "copy_state", "use_stream"):
            stream = out if op == "use_stream" else stream
            if op != "use_stream":
                (streams.add if differs or op == "copy_state" and args[0] in streams else streams.discard)(out)
            continue
        read = [storage(view) for view in views_among(args)]
        differs |= op == "data" and first["data"][args[0]] != second["data"].get(args[0])
        draws = not read and op not in ("const", "data", "fill_", "arange", "eye", "dirac_")
        if differs or written.intersection(read) or draws and stream in streams:
            written.update(map(storage, out if isinstance(out, list) else [out]))
    name = next((name for name, row in rows_a.items() if storage(row[0]) in written), None)
    return f"{name} depends" if name is not None else "the draws depend"


# ---------------------------------------------------------------- from steps to the plan


def subtract(intervals, a, b):
    parts = []
    for x, y in intervals:
        if y <= a or x >= b:
            parts.append((x, y))
        else:
            parts += [(x, a)] if x < a else []
            parts += [(b, y)] if y > b else []
    return parts


def add(intervals, a, b):
    rest = []
    for x, y in intervals:
        if y < a or x > b:
            rest.append((x, y))
        else:
            a, b = min(a, x), max(b, y)
    return [*rest, (a, b)]


def needed(steps, names):
    """The steps that draw or that reach a name. Refuses if a plan cannot represent one of them."""
    live = {}  # storage -> [(first byte, end, name)]: read later

    def mark(view, name):
        extent = view.extent()
        if extent:
            live.setdefault(view.storage, {}).setdefault(name, [])
            live[view.storage][name] = add(live[view.storage][name], extent[0], extent[1])

    for _, name, view, _ in names:
        mark(view, name)
    kept = []
    for step in reversed(steps):
        extents = [(out.storage, out.extent()) for out in step.outs]
        used_by = next(
            (
                n
                for storage, extent in extents
                if extent
                for n, parts in live.get(storage, {}).items()
                if any(x < extent[1] and y > extent[0] for x, y in parts)
            ),
            None,
        )
        if used_by is None:
            if not step.draws and step.outs:
                continue
            used_by = "a draw" if step.draws else "an assertion"
        if step.op is None:
            raise Refused(f"{used_by}: {step.why}")
        for storage, extent in extents:
            if extent and extent[2]:
                users = live.get(storage, {})
                for name in users:
                    users[name] = subtract(users[name], extent[0], extent[1])
        for view in step.reads:
            mark(view, used_by)
        kept.append(step)
    kept.reverse()
    return kept


class Written:
    """The written bytes of a storage."""

    def __init__(self):
        self.dense, self.sparse = [], []
        self.count = 0  # bytes, those that were written twice counted twice

    def write(self, view):
        extent = view.extent()
        if extent is None:
            return
        first, end, dense = extent
        self.count += view.numel() * itemsize(view.dtype)
        if dense:
            self.dense = add(self.dense, first, end)
        else:
            self.sparse.append(view)

    def covers(self, view):
        first, end, _ = view.extent()
        return any(a <= first and end <= b for a, b in self.dense) or self.by_element(view)

    def by_element(self, view):
        size = itemsize(view.dtype)
        _, end, _ = view.extent()
        # Too many to compare one by one, or of several sizes: compares their number.
        if end // size > 1 << 28 or any(itemsize(v.dtype) != size for v in self.sparse):
            count = sum(v.numel() for v in self.sparse) + sum((b - a) // size for a, b in self.dense)
            return count >= view.numel()
        mask = torch.zeros(end // size, dtype=torch.bool)
        for a, b in self.dense:
            mask[a // size : b // size] = True
        for v in self.sparse:
            last = v.extent()[1] // size
            if last > mask.numel():
                mask = torch.cat([mask, mask.new_zeros(last - mask.numel())])
            mask.as_strided(v.shape, v.strides(), v.offset).fill_(True)
        return bool(mask.as_strided(view.shape, view.strides(), view.offset).all())


def drop_unset(steps):
    """The steps without copies of memory that was never written, and the written bytes."""
    written, kept = {}, []
    for step in steps:
        unset = [v for v in step.reads if v.storage not in written]
        if unset and step.op == "copy_":
            continue
        if unset:
            raise Refused(f"{step.op} reads uninitialized memory")
        kept.append(step)
        for out in step.outs:
            target = written.setdefault(out.storage, Written())
            # A copy of memory that was written in part is such memory again.
            if out.numel() and (step.op != "copy_" or all(written[v.storage].covers(v) for v in step.reads if v.numel())):
                target.write(out)
    return kept, written


def named(recorder, model):
    """(section, name, view, options) of parameters and buffers."""
    rows = []
    persistent = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                persistent.add(f"{prefix}.{name}" if prefix else name)
    for section, items in (
        ("parameters", model.named_parameters(remove_duplicate=False)),
        ("buffers", model.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in items:
            if isinstance(tensor, UNINITIALIZED):
                raise Refused(f"{name} is lazy: it has no shape before the first forward")
            if tensor.device.type != "cpu":
                raise Refused(f"{name} is on device {tensor.device}; only models on the CPU can be recorded")
            if tensor.layout != torch.strided or tensor.dtype not in DTYPES:
                raise Refused(f"{name} has dtype {str(tensor.dtype)[6:]} and layout {tensor.layout}, which a plan cannot represent")
            if tensor.is_conj() or tensor.is_neg():
                raise Refused(f"{name} is a conjugate or negative view, which a plan cannot represent; resolve_conj() and resolve_neg() make a tensor of it")
            options = {}
            if section == "parameters" and not tensor.requires_grad:
                options["requires_grad"] = False
            if section == "buffers" and name not in persistent:
                options["persistent"] = False
            view = recorder.view(tensor)
            recorder.read(view)
            rows.append((section, name, view, options))
    return rows


def number(value):
    """A scalar, bool, null, string, list or view reference as JSON."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise Refused(f"the number {value} is out of the range of 64 bits")
        return str(int(value))
    if isinstance(value, float):
        value = float(value)
        return repr(value) if math.isfinite(value) else json.dumps("nan" if value != value else "inf" if value > 0 else "-inf")
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(number, value)) + "]"
    raise Refused(f"a {type(value).__name__} cannot be in a plan")


def data_of(steps):
    """Names the data of the steps, equal data once, and returns the content of its safetensors file, in parts."""
    names, tensors = {}, []
    for step in steps:
        for data in (x for x in step.args if isinstance(x, Data)):
            dtype, shape, content = data.bytes()
            key = dtype, tuple(shape), hashlib.sha256(content).digest()
            data.name = names.setdefault(key, str(len(names)))
            if len(names) > len(tensors):
                tensors.append((data.name, dtype, shape, content))
    if not tensors:
        return []
    # As safetensors orders them, so that all are aligned.
    tensors.sort(key=lambda t: -len(t[3]) // max(math.prod(t[2]), 1))
    header, offset = [], 0
    for name, dtype, shape, content in tensors:
        header.append(f'"{name}":{{"dtype":"{dtype}","shape":{number(shape)},"data_offsets":[{offset},{offset + len(content)}]}}')
        offset += len(content)
    header = ("{" + ",".join(header) + "}").encode()
    header += b" " * (-len(header) % 8)
    return [struct.pack("<Q", len(header)), header, *(t[3] for t in tensors)]


def data_row(data_file, parts):
    """The row of a plan that names the file of its data."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"[{json.dumps(data_file)},{sum(len(part) for part in parts)},{json.dumps(digest.hexdigest())}]"


class Tables:
    """Numbers storages and views in the order of first use."""

    def __init__(self, recorder):
        self.bytes = recorder.bytes
        self.storages, self.views, self.rows = {}, {}, []

    def view(self, view):
        key = view.key()
        if key not in self.views:
            storage = self.storages.setdefault(view.storage, len(self.storages))
            row = [storage, DTYPES[view.dtype], list(view.shape)]
            if view.stride is not None:
                row += [view.offset, list(view.stride)]
            elif view.offset:
                row.append(view.offset)
            self.views[key] = len(self.rows)
            self.rows.append(number(row))
        return self.views[key]

    def argument(self, value):
        if isinstance(value, View):
            return f'{{"view": {self.view(value)}}}'
        if isinstance(value, Data):
            return json.dumps(value.name)
        if isinstance(value, (list, tuple)):
            return "[" + ",".join(map(self.argument, value)) + "]"
        return number(value)


def check_limits(tables, steps, names):
    for what, count in (("storages", len(tables.storages)), ("views", len(tables.rows)), ("steps", len(steps)), ("names", len(names))):
        if count > MAX_ROWS:
            raise Refused(f"{count} {what}: a plan holds at most {MAX_ROWS}")
    if sum(tables.bytes[s] for s in tables.storages) >= 1 << 53:
        raise Refused("the storages are larger than 2^53 bytes together")
    seen = set()
    for _, name, view, _ in names:
        if not name or len(name.encode()) > 1024:
            raise Refused(f"the name {name[:40]!r} is empty or longer than 1,024 bytes")
        if name in seen:
            raise Refused(f"{name} is the name of two tensors")
        seen.add(name)
        if len(view.shape) > 16:
            raise Refused(f"{name} has {len(view.shape)} dimensions: a plan holds at most 16")


def plan_of(construct, label):
    """The plan's text."""
    return plan_and_data(construct, label)[0]


def plan_and_data(construct, label, data_file="model.plan.safetensors", assume=None):
    """The plan's text, and the content of the file beside it, in parts; none if it needs no such file."""
    under(assume)  # for all recordings
    return checked(lambda: recorded(construct, label, data_file, assume))


def recorded(construct, label, data_file="model.plan.safetensors", assume=None):
    """The same, of one construction."""
    pytorch = under(assume)
    recorder, model = run(construct, pytorch)
    names = named(recorder, model)
    steps, written = drop_unset(needed(recorder.steps, names))
    parts = data_of(steps)
    tables = Tables(recorder)
    rows, stream = [], 0
    for step in steps:
        rows += map(number, step.before)
        if step.draws and step.stream != stream:
            stream = step.stream
            rows.append(number(["use_stream", stream]))
        # Arguments are numbered before `out`, since they are read first.
        args = [tables.argument(x) for x in step.args]
        outs = [tables.view(out) for out in step.outs]
        rows.append("[" + ",".join([json.dumps(step.op), number(outs if step.is_call else outs[0]), *args]) + "]")
    rows += map(number, recorder.end)
    is_new = any(step.is_call or step.before for step in steps) or recorder.end
    sections = {"parameters": [], "buffers": []}
    unset = []
    for section, name, view, options in names:
        covered = view.extent() is None or (view.storage in written and written[view.storage].covers(view))
        if not covered:
            options["unset"] = True
            unset.append(name)
        entry = f"{json.dumps(name)},{tables.view(view)}"
        if options:
            entry += "," + json.dumps(options, separators=(",", ": "))
        sections[section].append(f"[{entry}]")
    check_limits(tables, steps, names)
    if len(label.encode()) > 65536:
        raise Refused("the model's expression and arguments are longer than 65,536 bytes")

    def table(key, rows):
        return f'"{key}": [\n' + ",\n".join(rows) + "\n]" if rows else f'"{key}": []'

    lines = [
        '"format": "tch-init plan"',
        f'"version": {OPERATOR_VERSION if is_new else VERSION}',
        f'"pytorch": {json.dumps(pytorch.text.split("+")[0])}',
        f'"semantics": {json.dumps(pytorch.semantics)}',
        f'"model": {json.dumps(label)}',
        *([f'"data": {data_row(data_file, parts)}'] if parts else []),
        table("storages", [str(recorder.bytes[s]) for s in tables.storages]),
        table("views", tables.rows),
        table("steps", rows),
        table("parameters", sections["parameters"]),
        table("buffers", sections["buffers"]),
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if len(text) > MAX_FILE:
        raise Refused(f"the plan has {len(text)} bytes: at most {MAX_FILE} are allowed")
    for note in pytorch.notes:
        print(f"record.py: warning: {note}", file=sys.stderr)
    for name in unset:
        warn(f"{name} is left uninitialized, at least in part, by its constructor; the plan has zeros")
    return text, parts


# ---------------------------------------------------------------- the program


def import_prefix(dotted, namespace):
    """Imports the modules at the start of a dotted name."""
    parts = dotted.split(".")
    for i in range(1, len(parts) + 1):
        try:
            module = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError as error:
            if i == 1 or not ".".join(parts[:i]).startswith(error.name or "\0"):
                raise
            return
        if i == 1:
            namespace[parts[0]] = module


def dotted_names(tree):
    for node in ast.walk(tree):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(chain)])


def read_file(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None


def load_config(path, target):
    try:
        values = json.loads(read_file(path))
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise Refused(f"{path} is not a JSON object")
    config_class = getattr(target, "config_class", None)
    if config_class is None and "model_type" not in values:
        raise Refused(f'{path} has no "model_type", so its kind of config is unknown')
    try:
        if config_class is not None:
            return config_class.from_dict(values)
        from transformers import AutoConfig

        return AutoConfig.for_model(values.pop("model_type"), **values)
    except Exception as error:
        raise Refused(f"{path}: {described(error)}") from error


def constructor(options):
    """The function that makes the model, and its label."""
    namespace = {"torch": torch, "nn": torch.nn}
    for name in options.imports:
        namespace[name.split(".")[0]] = importlib.import_module(name.split(".")[0])
        importlib.import_module(name)
    label = options.expression
    positional, keywords = [], {}
    if options.args is not None:
        try:
            given = json.loads(options.args)
        except ValueError as error:
            raise Refused(f"--args is not JSON: {error}") from None
        if isinstance(given, dict):
            keywords = given
        elif isinstance(given, list):
            positional = given
        else:
            raise Refused("--args must be a JSON array (positional arguments) or object (named arguments)")
        label += " --args " + json.dumps(given, separators=(",", ":"))
    if options.config:
        label += " --config sha256:" + hashlib.sha256(read_file(options.config)).hexdigest()
    module, colon, path = options.expression.partition(":")
    if colon and all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        target = importlib.import_module(module)
        for part in path.split("."):
            target = getattr(target, part)
        if options.config:
            positional = [load_config(options.config, target), *positional]
        return (lambda: target(*positional, **keywords)), label
    if options.args is not None:
        raise Refused("--args needs EXPR to be module:function")
    try:
        tree = ast.parse(options.expression, "<expression>", "eval")
    except SyntaxError as error:
        raise Refused(f"{options.expression!r} is neither module:function nor a Python expression: {error.msg}") from None
    bound_names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound_names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)} | set(dir(builtins)) | {"config", "nn"}
    for dotted in sorted(set(dotted_names(tree))):
        if dotted.split(".")[0] not in bound_names:
            import_prefix(dotted, namespace)
    if options.config:
        namespace["config"] = load_config(options.config, None)
    code = compile(tree, "<expression>", "eval")
    return (lambda: eval(code, namespace)), label


def check_output(path):
    """The path of the plan with links resolved. Checks it before the work starts."""
    if path is None:
        return None
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise Refused(f"{path} cannot be written: the folder {folder} does not exist")
    # A rename would replace a folder or a device by a file.
    if os.path.exists(path) and not os.path.isfile(path):
        raise Refused(f"{path} cannot be written: it is not a regular file")
    return path


def data_path(path):
    """Where the data of a plan lies: `model.plan.safetensors` beside `model.plan.json`."""
    for end in (".json", ".plan"):
        path = path[: -len(end)] if path.endswith(end) and os.path.basename(path) != end else path
    return path + ".plan.safetensors"


def write(text, parts, path):
    """Writes temporary files and renames them, so that a plan is complete or missing, and what it names exists."""
    try:
        if path is not None:
            replace([*([(data_path(path), parts)] if parts else []), (path, [text.encode()])])
        elif parts:
            nbytes = sum(len(part) for part in parts)
            raise Refused(f"the plan needs a file of {nbytes} bytes beside it, for data that is neither drawn nor computed; name the plan with -o")
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError as error:
        if path is None:
            # What is left in the buffer would fail again when Python closes stdout, with exit code 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return
        raise Refused(f"{path or 'stdout'} cannot be written: {error.strerror or error}") from None


def replace(files):
    """Writes the content, in parts, of each path; renames them in their order when all are written."""
    temporary = []
    try:
        for path, parts in files:
            if os.path.isdir(path):
                raise IsADirectoryError(f"{path} is a folder")
            descriptor, name = tempfile.mkstemp(prefix=".plan-", suffix=".tmp", dir=os.path.dirname(path))
            temporary.append(name)
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
        for name, (path, _) in zip(temporary, files):
            os.replace(name, path)
    except BaseException:
        for name in temporary:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(f"{message}; try --help")


def arguments(argv):
    parser = Parser(prog="record.py", description="Record the initialization of a PyTorch model as a plan.")
    parser.add_argument("expression", metavar="EXPR", help="a Python expression, or module:function")
    parser.add_argument("-o", dest="output", metavar="OUT", help="the plan's file (default: stdout)")
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE", help="import this first")
    parser.add_argument("--config", metavar="FILE", help="a config.json of transformers: `config` in EXPR, or the function's argument")
    parser.add_argument("--args", metavar="JSON", help="the function's arguments, as an array or an object")
    parser.add_argument("--assume-pytorch", dest="assume", metavar="X.Y", help="take this PyTorch for this release, instead of comparing it")
    return parser.parse_args(argv)


def described(error):
    """The message of an error as one line of limited length."""
    if isinstance(error, ModuleNotFoundError):
        return f"{sys.executable} has no module {error.name}: install it there, or name another Python"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " [...]"


def failure(error):
    """One line for an error of the constructor: its position in the user's code, and its message."""
    place, trace = "", error.__traceback__
    torch_root, python_root = roots()
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if trace.tb_frame.f_globals is not globals() and not name.startswith("<") and of_user(name, torch_root, python_root):
            place = f"{name}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return place + described(error)


def main(argv=None):
    sys.path.insert(0, os.getcwd())
    try:
        options = arguments(argv)
        path = check_output(options.output)
        under(options.assume)
        name = os.path.basename(data_path(path)) if path else "-"
        # Modules are imported after the fork: they may take the time and random numbers too.
        write(*checked(lambda: recorded(*constructor(options), name, options.assume)), path)
        return 0
    except Refused as error:
        message = str(error)
    except KeyboardInterrupt:
        message = "interrupted"
    except Exception as error:
        message = failure(error)
    print("record.py: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
