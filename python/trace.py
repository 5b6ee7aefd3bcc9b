"""Records every ATen operation of a PyTorch program as a trace (docs/trace.md). Needs only torch.

    with trace.record("python.trace", model=model, steps=2):
        train(...)

    python trace.py script.py --steps 2 -o python.trace -- --the --script --arguments

Recording changes no bit of what the program computes. Operations are seen by a dispatch mode; modules by global forward hooks,
since hooks of a module turn off fast paths; no gradient hooks and no change of the gradient mode, which select other kernels.
"""

import argparse
import contextlib
import ctypes
import gc
import hashlib
import importlib
import json
import math
import os
import platform
import runpy
import shutil
import struct
import sys
import tempfile
import threading
import time
import weakref

try:
    import torch
except ImportError as error:
    print(f"trace.py: {sys.executable} has no PyTorch ({error}); name a Python that has it", file=sys.stderr)
    sys.exit(2)
from torch.utils._python_dispatch import TorchDispatchMode

FORMAT, VERSION = "tch-init trace", 1
HASH = "rows32-sha256-128"
MAX_VALUES = 256 << 20  # bytes of the file of values
SAMPLES = 8
MAX_ORDERS = 1 << 14

# ---------------------------------------------------------------- hash of bytes
#
# Up to ROW bytes, the first 16 bytes of the SHA-256 of the length (8 bytes, little endian) and the bytes. Above, each row of ROW bytes,
# the last one filled up with zeros, is replaced by SUMS sums modulo 2^32 of its words of 32 bits times odd keys: sum j is that of the
# words that begin at byte j, j + 4, ... and lie within the row. A word is the sum of its *signed* bytes times 2^0, 2^8, 2^16 and 2^24.
# A product loses the highest bits of a word; they are lower bits of words of the other sums.
#
# Since bytes are signed, all sums are one product of int8 matrices, which current CPUs compute as fast as they read memory. Others
# multiply words, whose bytes become signed by changing their highest bits and subtracting a constant.

ROW = 8192
SUMS = 4
WORDS = ROW // 4
# The numbers of rows of a product of matrices are these and lower multiples of the step, since oneDNN prepares a kernel for each.
STEP = 16
MOST = 1024, 256
# Rows whose products stay in the cache.
PRODUCTS = 128
# torch reads words from any address, which need not be a multiple of 4.
EVERYWHERE = ctypes.c_char * (1 << 62)
MASK = (1 << 64) - 1
# The highest bits of the four bytes of a word, as a signed number.
HIGHEST = 0x80808080 - (1 << 32)


def split_mix(seed, count):
    """`count` 64-bit numbers (SplitMix64)."""
    numbers, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def keys_of_sums():
    """The keys, [SUMS, WORDS]: odd, and zero for a word that does not lie within its row."""
    numbers = struct.pack(f"<{SUMS * WORDS // 2}Q", *split_mix(1, SUMS * WORDS // 2))
    keys = torch.frombuffer(bytearray(numbers), dtype=torch.int32).view(SUMS, WORDS) | 1
    keys[1:, -1] = 0
    return keys


class MatrixSums:
    """All sums at once, as a product of int8 matrices: a key times the place of a byte in its word, modulo 2^32, is a number of four
    signed digits to base 256."""

    def __init__(self, keys):
        self.every = self.first = SUMS * 4
        self.step = STEP
        self.digits = torch.zeros(ROW + 8, self.every, dtype=torch.int8)
        for j in range(SUMS):
            for b in range(4):
                digits = ((keys[j] << (8 * b)) + HIGHEST) ^ HIGHEST
                self.digits[j + b:j + b + ROW:4, 4 * j:4 * j + 4] = digits.view(torch.int8).view(WORDS, 4)
        self.digits = self.digits[:ROW]
        self.places = torch.tensor([0, 8, 16, 24], dtype=torch.int32)

    def put(self, address, rows, found):
        """What the sums of rows are made of, int32 [rows, 16]. The number of rows is a multiple of STEP."""
        at = 0
        while at < rows:
            count = next((most for most in MOST if rows - at >= most), rows - at)
            part = memory_as(torch.int8, address + at * ROW, count * ROW).view(count, ROW)
            torch._int_mm(part, self.digits, out=found[at:at + count])
            at += count

    def sums(self, found):
        return torch.sum(found.view(-1, SUMS, 4) << self.places, 2, dtype=torch.int32)


class ProductSums:
    """One sum after the other, from products of words."""

    def __init__(self, keys):
        self.every, self.first, self.step = SUMS, 1, 1
        self.keys = keys
        self.highest = torch.tensor(HIGHEST, dtype=torch.int32)
        self.constants = HIGHEST * keys.sum(1, dtype=torch.int32)
        # The words, after which there is room for what the key of zero leaves out.
        self.signed = torch.zeros(PRODUCTS * WORDS + 1, dtype=torch.int32)
        self.words = [memory_as(torch.int32, self.signed.data_ptr() + j, PRODUCTS * WORDS).view(PRODUCTS, WORDS) for j in range(SUMS)]
        self.products = torch.empty(PRODUCTS, WORDS, dtype=torch.int32)

    def put(self, address, rows, found):
        """What the first sums of rows are made of, int32 [rows, 1 or SUMS]."""
        parts = memory_as(torch.int32, address, rows * WORDS).view(rows, WORDS).split(PRODUCTS)
        for part, to in zip(parts, found.split(PRODUCTS)):
            n = len(part)
            torch.bitwise_xor(part, self.highest, out=self.words[0][:n])
            for words, key, sums in zip(self.words, self.keys, to.unbind(1)):
                torch.sum(torch.mul(words[:n], key, out=self.products[:n]), 1, dtype=torch.int32, out=sums)

    def sums(self, found):
        return found - self.constants


def memory_as(dtype, address, count):
    return torch.frombuffer(EVERYWHERE.from_address(address), dtype=dtype, count=count)


def fastest_sums():
    """The faster of the two ways on this CPU; matrices only if their sums are those of words, so that their products are exact."""
    keys = keys_of_sums()
    ways = [ProductSums(keys)]
    try:
        ways.append(MatrixSums(keys))
        # The sums of these bytes have the largest terms.
        rows = torch.tensor([[-128], [127]], dtype=torch.int8).repeat(STEP, ROW)
        rows[2:4] = keys.view(torch.int8).view(-1, ROW)[:2]
        times, sums = [], []
        for way in ways:
            found = torch.empty(len(rows), way.every, dtype=torch.int32)
            for _ in range(3):
                start = time.perf_counter()
                way.put(rows.data_ptr(), len(rows), found)
                last = time.perf_counter() - start
            times.append(last)
            sums.append(way.sums(found))
        if torch.equal(*sums) and times[1] < times[0]:
            return ways[1]
    except (AttributeError, RuntimeError, TypeError):
        pass
    return ways[0]


class Hasher:
    """Hashes memory."""

    def __init__(self, way=None):
        self.way = way or fastest_sums()
        # The last rows, filled up with zeros.
        self.last = torch.zeros(self.way.step, ROW, dtype=torch.int8)

    def found(self, address, size, width):
        """What sums of all rows are made of, int32 [rows, width]."""
        rows = -(-size // ROW)
        whole = size // ROW // self.way.step * self.way.step
        found = torch.empty(whole + self.way.step, width, dtype=torch.int32)
        if whole:
            self.way.put(address, whole, found[:whole])
        if rows > whole:
            rest = size - whole * ROW
            to = self.last.data_ptr()
            ctypes.memmove(to, address + whole * ROW, rest)
            ctypes.memset(to + rest, 0, (rows - whole) * ROW - rest)
            self.way.put(to, self.way.step, found[whole:])
        return found[:rows]

    def memory(self, address, size, known=None):
        """The hash of `size` bytes, as 32 hexadecimal digits.

        `known` is what this returned for the same memory, if nothing that the recorder has seen has written to it since. Its first sums
        exclude any other change. Returns what `known` is the next time, and the hash.
        """
        sha = hashlib.sha256(struct.pack("<Q", size))
        if size <= ROW:
            sha.update(ctypes.string_at(address, size) if size else b"")
            return None, sha.hexdigest()[:32]
        way = self.way
        found = self.found(address, size, way.every if known is None else way.first)
        if known is not None:
            if known[0] == bytes_of(found):
                return known
            if way.first != way.every:
                found = self.found(address, size, way.every)
        sha.update(bytes_of(way.sums(found)))
        return bytes_of(found[:, :way.first].contiguous()), sha.hexdigest()[:32]


def bytes_of(t):
    return ctypes.string_at(t.data_ptr(), t.nbytes)


def logical(t):
    """A contiguous CPU tensor of the logical elements, outside of autograd."""
    t = t.detach()
    if t.is_conj():
        t = t.resolve_conj()
    if t.is_neg():
        t = t.resolve_neg()
    return t.contiguous().cpu()


def reordered(t):
    """A view of a tensor's elements as they are in memory, if they fill it in another order than row-major; else None."""
    if t.is_contiguous() or t.device.type != "cpu" or t.is_conj() or t.is_neg() or not dense(t):
        return None
    view = t.detach().permute(sorted(range(t.dim()), key=t.stride, reverse=True))
    return view if view.is_contiguous() else None


def statistics(t):
    """What charts of layers show."""
    elements = logical(t).double()
    mean, std = elements.mean().item(), elements.std(correction=0).item()
    zeros, largest = int((elements == 0).sum()), elements.abs().max().item()
    return {"mean": number(mean), "std": number(std), "zeros": zeros, "absmax": number(largest)}


def number(value):
    """A float as JSON: words for what JSON cannot say."""
    return value if math.isfinite(value) else {"float": repr(value)}


# ---------------------------------------------------------------- operators

# Not an operation of the program.
IGNORED = {"aten::detach", "aten::detach_", "aten::alias", "aten::lift_fresh"}
# They write arguments that their schemas call constant.
SILENT_WRITES = {"aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm", "aten::batch_norm_update_stats"}
UNINITIALIZED = ("aten::empty", "aten::new_empty", "aten::resize", "aten::_resize")
# What is in their first argument does not matter to them.
OVERWRITES = {f"aten::{name}_" for name in """fill zero copy bernoulli normal uniform random exponential cauchy geometric
    log_normal""".split()}
# A result whose contents are the operation's own affair: a workspace, or memory that is written in part. And what takes it.
WORKSPACES = {"aten::mkldnn_rnn_layer": 3, "aten::_cudnn_rnn": 4, "aten::_ctc_loss": 1}
WORKSPACE_ARGUMENTS = {"aten::mkldnn_rnn_layer_backward": "workspace", "aten::_ctc_loss_backward": "log_alpha"}
INTEGERS = {"ScalarType": {value: str(dtype)[6:] for value, dtype in enumerate(
    [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64])}}


class Operator:
    """What is fixed for an overload."""

    def __init__(self, func):
        schema = func._schema
        self.name = schema.name
        self.overload = schema.overload_name
        self.ignored = schema.name in IGNORED or schema.name.startswith("profiler::")
        self.uninitialized = schema.name.startswith(UNINITIALIZED)
        self.workspace = WORKSPACES.get(schema.name)
        self.returns = len(schema.returns)
        self.draws = torch.Tag.nondeterministic_seeded in func.tags
        self.arguments = []
        for index, argument in enumerate(schema.arguments):
            alias = argument.alias_info
            writes = alias is not None and alias.is_write
            # An `out=` argument, or what the operation fills.
            overwrites = writes and (argument.kwarg_only or (index == 0 and schema.name in OVERWRITES))
            if schema.name in SILENT_WRITES and argument.name.startswith("running_"):
                writes = True
            if WORKSPACE_ARGUMENTS.get(schema.name) == argument.name:
                overwrites = True
            default = argument.default_value if argument.has_default_value() else None
            kind = "ScalarType" if "ScalarType" in str(argument.real_type) else None
            is_float = str(argument.type) in ("float", "Optional[float]")
            self.arguments.append((index, argument.name, argument.kwarg_only, default, writes, overwrites, kind, is_float))


# ---------------------------------------------------------------- storages


class Storage:
    """What the recorder knows of a storage."""

    __slots__ = ("number", "reference", "name", "holes", "hashes")

    def __init__(self, number, reference):
        self.number = number
        self.reference = reference
        self.name = None
        # By dtype and layout: the hashes since the last write.
        self.hashes = {}
        # None, or the intervals of bytes that were written since the memory was allocated without a value.
        self.holes = None

    def write(self, start, end):
        intervals = []
        for a, b in self.holes:
            if b < start or a > end:
                intervals.append((a, b))
            else:
                start, end = min(a, start), max(b, end)
        self.holes = sorted(intervals + [(start, end)])

    def has(self, start, end):
        return self.holes is None or any(a <= start and end <= b for a, b in self.holes)


class Storages:
    """Numbers storages in the order in which they are met, whatever their addresses."""

    def __init__(self):
        self.known, self.count, self.limit = {}, 0, 4096

    def of(self, t):
        storage = t.untyped_storage()
        key = storage._cdata
        entry = self.known.get(key)
        if entry is not None:
            if not torch.UntypedStorage._expired(entry.reference):
                return entry
            torch.UntypedStorage._free_weak_ref(entry.reference)
        if len(self.known) >= self.limit:
            self.clean()
        entry = self.known[key] = Storage(self.count, storage._weak_ref())
        self.count += 1
        return entry

    def has(self, t):
        entry = self.known.get(t.untyped_storage()._cdata)
        return entry is not None and not torch.UntypedStorage._expired(entry.reference)

    def clean(self):
        for key, entry in list(self.known.items()):
            if torch.UntypedStorage._expired(entry.reference):
                torch.UntypedStorage._free_weak_ref(entry.reference)
                del self.known[key]
        self.limit = max(4096, 2 * len(self.known))

    def close(self):
        for entry in self.known.values():
            torch.UntypedStorage._free_weak_ref(entry.reference)
        self.known = {}


def extent(t):
    """The bytes of its storage that a tensor touches."""
    if t.numel() == 0:
        return 0, 0
    last = sum((size - 1) * abs(stride) for size, stride in zip(t.shape, t.stride()))
    start = t.storage_offset() * t.element_size()
    return start, start + (last + 1) * t.element_size()


def dense(t):
    start, end = extent(t)
    return end - start == t.numel() * t.element_size()


# ---------------------------------------------------------------- values beside the trace


class Values:
    """What no operation made, up to a size: bytes in a temporary file, at the end a safetensors file."""

    STORED = {
        "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
        "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
        "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    }

    def __init__(self, path, limit):
        self.path, self.limit = path, limit
        self.header, self.size, self.left_out = {}, 0, 0
        self.file = tempfile.TemporaryFile()

    def keep(self, digest, t, contiguous):
        dtype = self.STORED.get(str(t.dtype)[6:])
        key = f"{str(t.dtype)[6:]}:{digest}"
        if key in self.header:
            return
        if dtype is None or self.size + contiguous.nbytes > self.limit:
            self.left_out += 1
            return
        if contiguous.nbytes:
            self.file.write((ctypes.c_char * contiguous.nbytes).from_address(contiguous.data_ptr()))
        self.header[key] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [self.size, self.size + contiguous.nbytes]}
        self.size += contiguous.nbytes

    def finish(self):
        header = json.dumps(self.header, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        temporary = f"{self.path}.part"
        with open(temporary, "wb") as out:
            out.write(struct.pack("<Q", len(header)) + header)
            self.file.seek(0)
            shutil.copyfileobj(self.file, out, 1 << 20)
        os.replace(temporary, self.path)
        self.file.close()


# ---------------------------------------------------------------- environment


def cpu_model():
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


VARIABLES = """ATEN_CPU_CAPABILITY OMP_NUM_THREADS MKL_NUM_THREADS MKL_CBWR MKL_DYNAMIC ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
    ONEDNN_DEFAULT_FPMATH_MODE CUBLAS_WORKSPACE_CONFIG PYTORCH_NO_CUDA_MEMORY_CACHING TORCH_ALLOW_TF32_CUBLAS_OVERRIDE""".split()


def environment():
    backends = torch.backends
    flags = {
        "default_dtype": str(torch.get_default_dtype())[6:],
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": backends.mkldnn.is_available() and bool(getattr(backends.mkldnn, "enabled", True)),
        "nnpack": bool(torch._C._get_nnpack_enabled()) if hasattr(torch._C, "_get_nnpack_enabled") else None,
        "flash_sdp": backends.cuda.flash_sdp_enabled(),
        "mem_efficient_sdp": backends.cuda.mem_efficient_sdp_enabled(),
        "math_sdp": backends.cuda.math_sdp_enabled(),
    }
    if torch.cuda.is_initialized():
        flags["cudnn_deterministic"] = backends.cudnn.deterministic
        flags["cudnn_benchmark"] = backends.cudnn.benchmark
        flags["cuda_tf32"] = backends.cuda.matmul.allow_tf32
        flags["cuda_device"] = torch.cuda.get_device_name()
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "capability": torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else None,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "flags": flags,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


# ---------------------------------------------------------------- the recorder

TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
OPTIMIZERS = os.path.join(TORCH, "optim") + os.sep
PLUMBING = ("contextlib.py", "runpy.py", "threading.py")
HERE = os.path.abspath(__file__) if "__file__" in globals() else "<string>"

_sequence = getattr(torch._C._autograd, "_get_sequence_nr", lambda: 0)
_node = getattr(torch._C, "_current_autograd_node", lambda: None)
_graph_task = getattr(torch._C, "_current_graph_task_id", lambda: -1)


def place(file):
    """A file without what depends on the machine: relative to the folder on Python's path that has it."""
    file = os.path.abspath(file)
    folders = [os.path.abspath(folder or ".") for folder in sys.path] + [os.getcwd()]
    inside = [folder for folder in folders if file.startswith(folder.rstrip(os.sep) + os.sep)]
    return os.path.relpath(file, max(inside, key=len)).replace(os.sep, "/") if inside else os.path.basename(file)


ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class StepsDone(SystemExit):
    """Ends a script whose steps are recorded."""


class Recorder(TorchDispatchMode):
    """Writes a line for each operation."""

    def __init__(self, path, models, steps, max_values, end_program=False, stats=False, keep=None):
        super().__init__()
        self.path, self.steps, self.end_program = path, steps, end_program
        self.thread = threading.get_ident()
        # The workers of a DataLoader are forks of this thread.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: this() and this().stop())
        self.hasher = Hasher()
        # By the hash in memory and the layout: the hash of the elements in row-major order.
        self.orders = {}
        self.storages = Storages()
        self.stats = stats
        self.values = Values(f"{path}.safetensors", max_values)
        # The operations whose inputs are kept, and the one that runs.
        self.keep, self.index = keep, None
        self.operators, self.composite, self.codes = {}, {}, {}
        self.modules, self.roots, self.stack, self.tensors = {}, {}, [], {}
        self.count, self.step, self.done, self.busy, self.made, self.states = 0, 1, False, False, set(), set()
        self.forward_of, self.after_backward = {}, False
        self.optimizers, self.optimizers_alive, self.in_optimizer = {}, None, False
        self.file = open(path, "w", encoding="utf-8", newline="\n")
        self.write({
            "format": FORMAT, "version": VERSION, "language": "python", "hash": HASH, "values": os.path.basename(self.values.path),
            "environment": environment(),
        })
        for prefix, model in models:
            self.add_root(model, prefix)

    def write(self, line):
        self.file.write(ENCODER.encode(line) + "\n")
        # A program that is killed keeps its trace.
        self.file.flush()

    # -- names -----------------------------------------------------------------------------------

    def add_root(self, model, prefix):
        """Names the modules, parameters and buffers of a model."""
        dot = f"{prefix}." if prefix else ""
        self.roots[prefix] = self.busy = True
        for name, module in model.named_modules():
            self.modules.setdefault(id(module), (weakref.ref(module), (dot + name).rstrip(".") or type(module).__name__))
        entries = []
        for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
            for name, t in tensors:
                # Lazy parameters have no values yet.
                if isinstance(t, torch.nn.parameter.UninitializedTensorMixin) or t.layout != torch.strided:
                    continue
                storage = self.storages.of(t)
                storage.name = dot + name
                self.tensors[dot + name] = (kind, weakref.ref(t))
                entry = {"name": dot + name, "kind": kind, "tensor": self.tensor(t, root=True)}
                if kind == "parameter":
                    entry["requires_grad"] = t.requires_grad
                entries.append(entry)
        self.busy = False
        self.write({"model": prefix, "class": type(model).__name__, "names": entries})

    def enter(self, module, inputs):
        if self.done or threading.get_ident() != self.thread:
            return
        known = self.modules.get(id(module))
        if known is None or known[0]() is not module:
            self.modules.pop(id(module), None)
            prefix = type(module).__name__ if self.roots else ""
            number = 2
            while prefix in self.roots:
                prefix = f"{type(module).__name__}#{number}"
                number += 1
            self.add_root(module, prefix)
            known = self.modules[id(module)]
        self.stack.append((known[1], module.training))

    def leave(self, module, inputs, output):
        if not self.done and self.stack and threading.get_ident() == self.thread:
            self.stack.pop()

    # -- steps -----------------------------------------------------------------------------------

    def optimizer_begins(self, optimizer, *_):
        if self.done or threading.get_ident() != self.thread:
            return
        if self.optimizers.get(id(optimizer)) == self.step:
            self.next_step()
        self.in_optimizer = True

    def optimizer_ends(self, optimizer, *_):
        if self.done or threading.get_ident() != self.thread:
            return
        self.in_optimizer = False
        self.optimizers[id(optimizer)] = self.step
        if not self.optimizers_alive:
            self.optimizers_alive = count_optimizers(self.storages)
        # A program with two optimizers has made a step when both have.
        if sum(step == self.step for step in self.optimizers.values()) >= self.optimizers_alive:
            self.next_step()

    def next_step(self):
        self.step += 1
        self.after_backward = False
        if self.steps is not None and self.step > self.steps:
            self.end("steps")
            if self.end_program:
                raise StepsDone(0)

    # -- values ----------------------------------------------------------------------------------

    def digest(self, t, storage, root):
        """The hash, and the elements if no operation has made them before."""
        contiguous = None
        in_memory = reordered(t)
        if in_memory is None:
            contiguous = logical(t)
            digest = self.hash(contiguous, storage, (t.dtype, t.storage_offset(), t.shape, t.stride(), t.is_conj(), t.is_neg()))
        else:
            # The hash follows from the bytes in memory and the strides, so that equal bytes are put in order once.
            view = in_memory
            bytes_ = self.hash(view, storage, (t.dtype, view.storage_offset(), view.shape, view.stride(), False, False))
            key = (bytes_, t.element_size(), t.shape, t.stride())
            digest = self.orders.get(key)
            if digest is None:
                contiguous = logical(t)
                digest = self.hasher.memory(contiguous.data_ptr(), contiguous.nbytes)[1]
                if len(self.orders) >= MAX_ORDERS:
                    self.orders.clear()
                self.orders[key] = digest
        key = (t.dtype, digest)
        # What an operation has made can be made again.
        if root and self.keeps(key in self.made):
            contiguous = logical(t) if contiguous is None else contiguous
            self.values.keep(digest, t, contiguous)
        if key in self.made:
            return digest, None
        self.made.add(key)
        return digest, logical(t) if contiguous is None else contiguous

    def hash(self, contiguous, storage, layout):
        known = self.hasher.memory(contiguous.data_ptr(), contiguous.nbytes, storage.hashes.get(layout))
        if known[0] is not None:
            storage.hashes[layout] = known
        return known[1]

    def keeps(self, is_made):
        """Whether an input goes to the file of values."""
        if self.keep is None:
            return not is_made
        return self.index is not None and self.keep[0] <= self.index < self.keep[1]

    def tensor(self, t, uninitialized=False, root=False):
        """What a trace says of a tensor."""
        out = {"dtype": str(t.dtype)[6:], "shape": list(t.shape)}
        if t.device.type != "cpu":
            out["device"] = str(t.device)
        if t.layout != torch.strided or t.is_quantized or t.device.type not in ("cpu", "cuda") or type(t) not in PLAIN:
            out["opaque"] = type(t).__name__ if type(t) not in PLAIN else str(t.layout)[6:]
            return out
        if not t.is_contiguous():
            out["strides"] = list(t.stride())
        storage = self.storages.of(t)
        out["storage"] = storage.number
        if t.storage_offset():
            out["offset"] = t.storage_offset()
        if storage.name:
            out["name"] = storage.name
        if uninitialized or storage.holes is not None and not storage.has(*extent(t)):
            out["uninitialized"] = True
            return out
        out["hash"], new = self.digest(t, storage, root)
        if new is not None and new.numel() and t.dtype in DESCRIBED:
            self.describe(out, new.reshape(-1))
        return out

    def describe(self, out, flat):
        """A few elements, or the one of which all are copies."""
        n = flat.numel()
        k = min(n, SAMPLES)
        picked = flat.tolist() if n <= SAMPLES else flat.index_select(0, self.picks(n, k)).tolist()
        first = picked[0]
        if all(x == first for x in picked) and (n <= k or bool((flat == flat[0]).all())):
            out["all"] = number(first) if isinstance(first, float) else first
        else:
            out["sample"] = [number(x) if isinstance(x, float) else x for x in picked]

    def picks(self, n, k):
        key = ("picks", n)
        found = self.codes.get(key)
        if found is None:
            found = self.codes[key] = torch.tensor([i * (n - 1) // (k - 1) for i in range(k)])
        return found

    def value(self, v, kind, uninitialized=False, root=False):
        if isinstance(v, torch.Tensor):
            return self.tensor(v, uninitialized, root)
        if v is None or isinstance(v, (bool, str)):
            return v
        if isinstance(v, float):
            return number(v)
        if isinstance(v, int):
            return INTEGERS[kind].get(v, v) if kind else int(v)
        if isinstance(v, (torch.dtype, torch.layout, torch.memory_format)):
            return str(v)[6:]
        if isinstance(v, torch.device):
            return str(v)
        if isinstance(v, (list, tuple)):
            return [self.value(x, kind, uninitialized, root) for x in v]
        if isinstance(v, torch.Generator):
            return {"generator": str(v.device)}
        if isinstance(v, complex):
            return {"complex": [number(v.real), number(v.imag)]}
        if isinstance(v, (torch.SymInt, torch.SymFloat)):
            return str(v)
        return {"object": type(v).__name__}

    def generator(self, given, device=None, before=False):
        """Seed and hash of the state of the generator of a draw. A state that no draw has left is kept, so that the draw can be
        run again."""
        if given is not None:
            state = given.get_state()
        elif device is not None and device.type == "cuda":
            state = torch.cuda.get_rng_state(device)
        else:
            state = torch.get_rng_state()
        raw = ctypes.string_at(state.data_ptr(), state.numel())
        seed = struct.unpack_from("<Q", raw)[0] if len(raw) >= 8 else 0
        digest = self.hasher.memory(state.data_ptr(), state.numel())[1]
        if before and self.keeps(digest in self.states):
            self.values.keep(digest, state, state)
        self.states.add(digest)
        return {"seed": seed, "state": digest}

    # -- places ----------------------------------------------------------------------------------

    def site(self):
        """The user's line, and whether an optimizer makes the call."""
        frame, optimizer = sys._getframe(2), False
        while frame is not None:
            code = frame.f_code
            kind = self.codes.get(code)
            if kind is None:
                kind = self.codes[code] = self.classify(code)
            if kind is OPTIMIZERS:
                optimizer = True
            elif kind is not TORCH:
                return f"{kind}:{frame.f_lineno}", optimizer
            frame = frame.f_back
        return None, optimizer

    @staticmethod
    def classify(code):
        file = code.co_filename
        path = os.path.abspath(file)
        if path.startswith(OPTIMIZERS):
            return OPTIMIZERS
        if path.startswith(TORCH) or path == HERE or code.co_filename == Recorder.site.__code__.co_filename:
            return TORCH
        if os.path.basename(file) in PLUMBING or file.startswith("<frozen"):
            return TORCH
        return file if file.startswith("<") else place(file)

    # -- operations ------------------------------------------------------------------------------

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.done or self.busy or threading.get_ident() != self.thread:
            return func(*args, **kwargs)
        keys = torch._C.DispatchKey
        if torch.is_inference_mode_enabled() and self.is_composite(func, keys.CompositeImplicitAutograd):
            # In inference mode nothing is decomposed yet. (Not func.decompose: decompositions in Python compute other bits.)
            with self.pushed():
                return func._op_dk(keys.CompositeImplicitAutograd, *args, **kwargs)
        if on_cpu(args) and is_loop(func) and self.is_composite(func, keys.CompositeExplicitAutograd):
            # An operation of each tensor, as a program in Rust calls them.
            with self.pushed():
                return func._op_dk(keys.CompositeExplicitAutograd, *args, **kwargs)
        operator = self.operators.get(func)
        if operator is None:
            operator = self.operators[func] = Operator(func)
        node = _node()
        backward = node is not None or _graph_task() != -1
        if operator.ignored:
            result = func(*args, **kwargs)
            self.name_gradient(node, result)
            return result
        self.count_steps_without_optimizer(backward)
        line, given, device, written, tainted = self.before(operator, args, kwargs, node, backward)
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            line["error"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:400]
            self.write(line)
            raise
        self.after(operator, line, result, written, tainted)
        if operator.draws:
            line["generator"].append(self.generator(given, device))
        self.name_gradient(node, result)
        self.write(line)
        return result

    def is_composite(self, func, key):
        """Whether an operator's kernel of this kind, which calls other operators, is that of the CPU."""
        found = self.composite.get((func, key))
        if found is None:
            found = self.composite[func, key] = func.has_kernel_for_dispatch_key(key) \
                and not func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CPU)
        return found

    @contextlib.contextmanager
    def pushed(self):
        """The mode once more, with views made as outside of it: matmul chooses its kernel by whether a view requires gradients."""
        key = torch._C.DispatchKey.ADInplaceOrView
        excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(key)
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)

    def count_steps_without_optimizer(self, backward):
        """A program that updates its parameters itself makes a step from one backward pass to the next forward pass."""
        if backward:
            # Of a gradient that is differentiated again, more of the same step follows.
            self.after_backward |= not torch.is_grad_enabled()
        elif self.after_backward and torch.is_grad_enabled() and self.has_no_optimizer():
            self.next_step()

    def has_no_optimizer(self):
        if self.optimizers_alive is None:
            self.optimizers_alive = count_optimizers(self.storages)
        return self.optimizers_alive == 0

    def before(self, operator, args, kwargs, node, backward):
        """The line of a call, without its results."""
        site, optimizer = self.site()
        # Optimizers that torch does not have, too; but not the closure that an optimizer calls, nor what follows one that failed.
        self.in_optimizer = self.in_optimizer and not backward
        optimizer = optimizer or self.in_optimizer and not torch.is_grad_enabled()
        phase = "backward" if backward else "optimizer" if optimizer else "forward"
        line = {"i": self.count, "op": operator.name}
        if operator.overload:
            line["overload"] = operator.overload
        line["step"], line["phase"] = self.step, phase
        if torch.is_inference_mode_enabled():
            line["grad"] = "inference"
        elif not torch.is_grad_enabled():
            line["grad"] = "off"
        if self.stack and not backward:
            line["module"] = self.stack[-1][0]
            if not self.stack[-1][1]:
                line["eval"] = True
        if site:
            line["at"] = site
        if backward:
            if node is not None:
                self.describe_node(line, node)
        else:
            self.forward_of.setdefault(_sequence(), self.count)
            if len(self.forward_of) > 1 << 20:
                self.forward_of.clear()
        self.index = self.count
        self.count += 1
        given, device, written, tainted, described = None, None, [], False, {}
        for index, name, kwarg_only, default, writes, overwrites, kind, is_float in operator.arguments:
            v = args[index] if index < len(args) and not kwarg_only else kwargs.get(name, default)
            if is_float and type(v) is int:
                v = float(v)
            described[name] = said = self.value(v, kind, uninitialized=overwrites, root=True)
            many = [(v, said)] if isinstance(v, torch.Tensor) else \
                list(zip(v, said)) if isinstance(v, (list, tuple)) and any(isinstance(x, torch.Tensor) for x in v) else []
            for position, (t, word) in enumerate(many):
                if not isinstance(t, torch.Tensor):
                    continue
                device = device or t.device
                tainted |= not overwrites and bool(word.get("uninitialized"))
                if writes:
                    written.append((name if len(many) == 1 and isinstance(v, torch.Tensor) else f"{name}[{position}]", t))
            if isinstance(v, torch.Generator):
                given = v
        line["args"] = described
        if operator.draws:
            line["generator"] = [self.generator(given, device, before=True)]
        return line, given, device, written, tainted

    def describe_node(self, line, node):
        name = node.name()
        line["node"] = name.rsplit("::", 1)[-1]
        if "AccumulateGrad" in name:
            variable = getattr(node, "variable", None)
            owner = self.storages.of(variable).name if variable is not None and variable.layout == torch.strided else None
            if owner:
                line["parameter"] = owner
        elif hasattr(node, "_sequence_nr"):
            forward = self.forward_of.get(node._sequence_nr() + 1)
            if forward is not None:
                line["forward"] = forward

    def name_gradient(self, node, result):
        """Names what a backward pass puts into `.grad`."""
        if node is None or not isinstance(result, torch.Tensor) or type(result) not in PLAIN or result.layout != torch.strided:
            return
        if "AccumulateGrad" in node.name():
            variable = getattr(node, "variable", None)
            owner = self.storages.of(variable).name if variable is not None and variable.layout == torch.strided else None
            storage = self.storages.of(result)
            if owner and not storage.name:
                storage.name = f"{owner}.grad"

    def after(self, operator, line, result, written, tainted):
        """Adds results and what arguments became."""
        results = list(result) if isinstance(result, (list, tuple)) and operator.returns > 1 else [result] if operator.returns else []
        for _, t in written:
            self.settle(t, tainted)
        said = {}
        out = []
        for index, r in enumerate(results):
            workspace = operator.workspace == index
            for t in r if isinstance(r, (list, tuple)) else [r]:
                if isinstance(t, torch.Tensor) and type(t) in PLAIN and t.layout == torch.strided:
                    if (operator.uninitialized or tainted or workspace) and not any(t is w for _, w in written):
                        storage = self.storages.of(t)
                        if storage.holes is None and not self.is_view(line, storage):
                            storage.holes = []
            out.append(self.value(r, None))
            if isinstance(r, torch.Tensor):
                said[id(r)] = out[-1]
                if self.stats and "hash" in out[-1] and r.is_floating_point() and r.numel():
                    # A copy, since a view shares what is said of it.
                    out[-1] = {**out[-1], "stats": statistics(r)}
        line["results"] = out
        if written:
            writes = {name: said.get(id(t)) or self.value(t, None) for name, t in written}
            line["writes"] = writes

    @staticmethod
    def is_view(line, storage):
        def uses(v):
            return isinstance(v, dict) and v.get("storage") == storage.number and "hash" in v \
                or isinstance(v, list) and any(map(uses, v))
        return any(map(uses, line["args"].values()))

    def settle(self, t, tainted):
        """Notes that memory has values now."""
        if type(t) not in PLAIN or t.layout != torch.strided:
            return
        storage = self.storages.of(t)
        storage.hashes.clear()
        if storage.holes is not None and not tainted and dense(t):
            storage.write(*extent(t))

    # -- beginning and end -----------------------------------------------------------------------

    def __enter__(self):
        hooks = torch.nn.modules.module
        self.hooks = [hooks.register_module_forward_pre_hook(self.enter)]
        try:
            self.hooks.append(hooks.register_module_forward_hook(self.leave, always_call=True))
        except TypeError:
            self.hooks.append(hooks.register_module_forward_hook(self.leave))
        optimizers = importlib.import_module("torch.optim.optimizer")
        if hasattr(optimizers, "register_optimizer_step_post_hook"):
            self.hooks.append(optimizers.register_optimizer_step_pre_hook(self.optimizer_begins))
            self.hooks.append(optimizers.register_optimizer_step_post_hook(self.optimizer_ends))
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        super().__exit__(kind, error, trace)
        for hook in self.hooks:
            hook.remove()
        if not self.done:
            failed = kind is not None and not (issubclass(kind, SystemExit) and error.code in (None, 0))
            self.end(f"error: {kind.__name__}" if failed else "finished")

    def stop(self):
        self.done = True

    def end(self, reason):
        """Writes the last line."""
        self.done = True
        final = {}
        for name, (kind, reference) in self.tensors.items():
            t = reference()
            if t is not None:
                final[name] = self.tensor(t)
        steps = self.step - 1 + (self.step in self.optimizers.values() or self.after_backward and self.has_no_optimizer())
        self.write({
            "end": reason, "operations": self.count, "steps": steps, "final": final,
            "values": {"kept": len(self.values.header), "left_out": self.values.left_out},
        })
        self.file.close()
        self.values.finish()
        self.storages.close()


DESCRIBED = {getattr(torch, name) for name in """bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64""".split()}
PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer) if hasattr(torch.nn, "Buffer") else (torch.Tensor, torch.nn.Parameter)


def count_optimizers(storages):
    """The number of optimizers of parameters that the recorder has met."""
    def is_met(t):
        return isinstance(t, torch.Tensor) and t.layout == torch.strided and type(t) in PLAIN and storages.has(t)

    # Of hundreds of thousands of objects, the types are looked at once. An object may claim another class than its type.
    objects = gc.get_objects()
    classes = tuple(c for c in set(map(type, objects)) if issubclass(c, torch.optim.Optimizer))
    optimizers = [o for o in objects if type(o) in classes] if classes else []
    return sum(any(is_met(t) for group in getattr(o, "param_groups", []) for t in group["params"]) for o in optimizers)


@contextlib.contextmanager
def record(path, model=None, steps=None, max_values=MAX_VALUES, stats=False, keep=None):
    """Records what runs inside to `path`, and what no operation made to `path.safetensors`.

    `model` is a module, a list of them, or a dict of names and modules; without it, modules are named when they are called
    first. After `steps` training steps the rest of the block runs without being recorded. `max_values` limits the size of the
    file of values, in bytes; `keep=(n, m)` instead puts all inputs of the operations from number n to before m there, and no
    others. With `stats`, the mean, standard deviation, zeros and largest magnitude of each floating-point result are recorded.
    """
    if keep is not None and not (len(keep) == 2 and all(isinstance(number, int) for number in keep) and 0 <= keep[0] < keep[1]):
        raise ValueError(f"keep: expected the numbers of the first operation and of the one after the last, found {keep!r}")
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise ValueError(f"steps: expected a positive integer, found {steps!r}")
    with Recorder(os.fspath(path), named_models(model), steps, max_values, stats=stats, keep=keep) as recorder:
        yield recorder


def is_loop(func):
    """Whether an operator of lists calls an operator for each tensor."""
    return func._schema.name.startswith("aten::_foreach_")


def on_cpu(args):
    """Whether the first argument, a list of tensors, has those of the CPU alone."""
    first = args[0] if args else None
    return isinstance(first, (list, tuple)) and all(isinstance(x, torch.Tensor) and x.device.type == "cpu" for x in first)


def named_models(model):
    if model is None:
        return []
    if isinstance(model, torch.nn.Module):
        return [("", model)]
    if isinstance(model, dict):
        return list(model.items())
    names = []
    for module in model:
        name, number = type(module).__name__, 2
        while name in [n for n, _ in names]:
            name = f"{type(module).__name__}#{number}"
            number += 1
        names.append((name, module))
    return names


# ---------------------------------------------------------------- the program


def operations(text):
    """The pair of numbers of `N..M`."""
    first, _, last = text.partition("..")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"expected N..M with N below M, found {text!r}")
    return int(first), int(last)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="trace.py", description="Record the operations of a Python script.")
    parser.add_argument("script")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--to-end", action="store_true", help="go on with the script after the recorded steps")
    parser.add_argument("--max-values", type=int, default=MAX_VALUES)
    parser.add_argument("--keep", type=operations, metavar="N..M", help="the operations whose inputs are kept")
    parser.add_argument("--stats", action="store_true", help="also the mean, standard deviation and zeros of results")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # What follows is the script's.
    rest = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, rest = arguments[:at], arguments[at + 1:]
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        return fail("--steps: expected a positive integer")
    try:
        with open(options.script, "rb"):
            pass
    except OSError as error:
        return fail(f"{options.script}: {error.strerror}")
    try:
        recorder = Recorder(
            options.output, [], options.steps, options.max_values, end_program=not options.to_end, stats=options.stats, keep=options.keep
        )
    except OSError as error:
        return fail(f"{options.output}: {error.strerror}")
    sys.argv = [options.script, *rest]
    sys.path[0:1] = [os.path.dirname(os.path.abspath(options.script))]
    with recorder:
        try:
            runpy.run_path(options.script, run_name="__main__")
        except StepsDone:
            pass
    if recorder.count == 0:
        return fail(f"{options.script}: no operation was recorded")
    done = recorder.step - 1
    if options.steps is not None and done < options.steps:
        print(f"trace.py: warning: the script ended after {done} of {options.steps} steps", file=sys.stderr)
    return 0


def fail(message):
    print(f"trace.py: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
