"""Writes files that have more than plain tensors, and says what a reader must find in them.

    python odd_files.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` has, for each file, the tensors that PyTorch
or numpy read from it (name, dtype, shape and number of bytes; the bytes are in `results.bin`), the
names of tensors that a reader without PyTorch must leave out with a word of the reason, and the names
of the values that are not tensors.
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import io
import json
import os
import pathlib
import pickle
import random
import struct
import sys
import tarfile
import types
import warnings

import numpy
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")


UNSAVED = {f"{sign}int{bits}" for sign in ["", "u"] for bits in range(1, 8)}


@dataclasses.dataclass
class Config:
    width: int = 3
    name: str = "small"


@dataclasses.dataclass
class Batch:
    images: torch.Tensor
    label: int


@dataclasses.dataclass(slots=True)
class Slotted:
    weight: torch.Tensor
    steps: int


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: str


class Color(enum.Enum):
    RED = 1


class AttributeDict(dict):
    """As that of Lightning."""


class Point(collections.namedtuple("Point", "x y")):
    pass


class Custom:
    def __init__(self, value):
        self.value = value


class Reduced:
    def __reduce_ex__(self, protocol):
        return Reduced, (), None, iter([torch.ones(2)]), iter([("k", torch.zeros(1))])


class NewArguments:
    def __new__(cls, *, value):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"value": 3}


class Subclass(torch.Tensor):
    pass


class Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return NotImplemented


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        self.act = torch.nn.ReLU()
        self.again = self.fc
        self.register_buffer("mask", torch.tensor([1, 0]), persistent=False)
        self.config, self.path, self.parent = Config(), pathlib.Path("/tmp"), [self]
        self.plain = torch.arange(3.0)
        self.fc.register_forward_hook(hook)


def hook(module, inputs, output):
    return None


class Files:
    def __init__(self, folder):
        self.folder, self.results, self.bytes = folder, [], io.BytesIO()

    def path(self, name):
        return os.path.join(self.folder, name)

    def add(self, name, tensors, unsupported=None, values=()):
        listed = []
        for key, value in tensors.items():
            if isinstance(value, torch.Tensor):
                flat = value.detach().clone().contiguous().reshape(-1)
                data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
                dtype = str(value.dtype).removeprefix("torch.")
            else:
                data, dtype = value.astype(value.dtype.newbyteorder("<")).tobytes(), value.dtype.name
            self.bytes.write(data)
            listed.append({"name": key, "dtype": dtype, "shape": list(value.shape), "length": len(data)})
        self.results.append({"file": name, "tensors": listed, "unsupported": unsupported or {}, "values": sorted(values)})

    def save(self, name, value, tensors, unsupported=None, values=(), **options):
        torch.save(value, self.path(name), **options)
        self.add(name, tensors, unsupported, values)


def values():
    """Everything that people put beside their tensors."""
    generator = torch.Generator()
    return {
        "epoch": 3, "loss": 0.25, "best": None, "big": 10**30, "text": "é", "raw": b"ab", "flag": True,
        "scalar": numpy.float64(1.5), "array": numpy.arange(6.0).reshape(2, 3), "objects": numpy.array([{}, None]),
        "strings": numpy.array(["a", "bc"]), "namespace": argparse.Namespace(lr=0.1, layers=[1, 2]), "simple": types.SimpleNamespace(a=1),
        "path": pathlib.Path("folder/x"), "date": datetime.datetime(2020, 1, 2), "delta": datetime.timedelta(3), "decimal": decimal.Decimal("1.5"),
        "config": Config(), "color": Color.RED, "set": {1, 2}, "frozen": frozenset([3]), "size": torch.Size([2, 3]), "dtype": torch.float16,
        "device": torch.device("cpu"), "layout": torch.strided, "function": hook, "partial": functools.partial(hook, 1), "class": Custom,
        "instance": Custom("text"), "range": range(3), "slice": slice(1, 2), "complex": 1 + 2j, "deque": collections.deque([1, 2]),
        "counter": collections.Counter("aab"), "default": collections.defaultdict(list, a=[1]), "point": Point(1, 2),
        "random": random.getstate(), "new": NewArguments(value=3), "attributes": AttributeDict(lr=0.1), "bytearray": bytearray(b"x"),
    }, generator


def odd_values(files):
    listed, generator = values()
    weight = torch.arange(6.0).reshape(2, 3)
    read = {"scalar", "array"}
    names = [name for name, value in listed.items() if value is not None and name not in read]
    numbers = {name: numpy.asarray(listed[name]) for name in sorted(read)}
    for protocol in [1, 2, 3, 4, 5]:
        options = {"pickle_protocol": protocol}
        checkpoint = listed if protocol > 1 else {k: v for k, v in listed.items() if k != "new"}
        present = [name for name in names if name in checkpoint]
        for kind in ["zip", "legacy"]:
            files.save(f"values{protocol}.{kind}.pt", {"w": weight, **checkpoint, "last": weight[1]}, {"w": weight, "last": weight[1], **numbers}, {}, present,
                       _use_new_zipfile_serialization=kind == "zip", **options)
    # One value each: a file is not read because another value is.
    for name in names:
        files.save(f"one.{name}.pt", {"w": weight, name: listed[name]}, {"w": weight}, {}, [name])
    for name, value in numbers.items():
        files.save(f"one.{name}.pt", {"w": weight, name: listed[name]}, {"w": weight, name: value})
    files.save("generator.pt", {"g": generator}, {"g.state.2": generator.get_state()}, {}, ["g.0", "g.state.0"])

    # Instances that hold tensors.
    one, two = torch.ones(2), torch.zeros(3)
    held = {"batch": Batch(one, 3), "slotted": Slotted(two, 4), "space": argparse.Namespace(x=one, lr=0.1), "point": Point(one, 2),
            "attributes": AttributeDict(x=two), "deque": collections.deque([one, two]), "default": collections.defaultdict(list, a=[one]),
            "custom": Custom({"deep": [one]}), "reduced": Reduced(), "ordered": collections.OrderedDict(a=one), 7: one, True: two}
    files.save("held.pt", held, {
        "batch.images": one, "slotted.weight": two, "space.x": one, "point.0": one, "attributes.x": two, "deque.0": one, "deque.1": two,
        "default.a.0": one, "custom.value.deep.0": one, "reduced.0": one, "reduced.k": torch.zeros(1), "ordered.a": one, "7": one, "True": two,
    }, {}, ["batch.label", "slotted.steps", "space.lr", "point.1"])
    files.save("no_tensor.bin", argparse.Namespace(lr=0.1), {}, {}, ["no_tensor"])
    cycle = Custom(one)
    cycle.me = cycle
    files.save("cycle.pt", {"a": cycle, "w": two}, {"a.value": one, "w": two})


def modules(files):
    torch.manual_seed(1)
    net = Net()
    expected = dict(net.state_dict()) | {"mask": net.mask, "plain": net.plain}
    files.save("module.pt", net, expected)
    files.save("module_legacy.pth", net, expected, _use_new_zipfile_serialization=False)
    files.save("module_in_dict.pt", {"net": net, "epoch": 3}, {f"net.{k}": v for k, v in expected.items()}, {}, ["epoch"])

    plain = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(plain.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    plain(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    tensors = {f"state_dict.{k}": v for k, v in plain.state_dict().items()}
    for index, slots in state["state"].items():
        tensors |= {f"optimizer_states.0.state.{index}.{k}": v for k, v in slots.items()}
    # As Lightning writes it.
    files.save("lightning.ckpt", {
        "epoch": 1, "global_step": 5, "pytorch-lightning_version": "2.0", "state_dict": plain.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch": {"total": 1}}}, "callbacks": {"ModelCheckpoint": {"best": pathlib.Path("x"), "score": None}},
        "optimizer_states": [state], "lr_schedulers": [scheduler.state_dict()], "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(lr=0.1, config=Config()),
    }, tensors, {}, ["epoch", "global_step", "pytorch-lightning_version", "loops", "callbacks", "optimizer_states.0.param_groups", "lr_schedulers",
                     "hparams_name", "hyper_parameters"])
    cpu = torch.get_rng_state()
    state = numpy.random.get_state()
    files.save("rng_state.pth", {"python": random.getstate(), "numpy": state, "cpu": cpu}, {"cpu": cpu, "numpy.1": state[1]}, {},
               ["numpy.0", "numpy.2", "numpy.3", "numpy.4", "python"])


def kinds_of_tensors(files):
    weight = torch.arange(6.0).reshape(2, 3)
    quantized = torch.quantize_per_tensor(weight, 0.1, 0, torch.quint8)
    channel = torch.quantize_per_channel(weight, torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 0, torch.qint8)
    complex_ = torch.tensor([1 + 2j, 3 - 1j])
    parameter = torch.nn.Parameter(weight.clone())
    parameter.note = Config()
    marked = weight.clone().as_subclass(Subclass)
    marked.note = torch.ones(1)
    odd = {
        "coo": (weight.to_sparse(), "sparse"), "csr": (weight.to_sparse_csr(), "sparse"), "csc": (weight.to_sparse_csc(), "sparse"),
        "bsr": (torch.ones(2, 2).to_sparse_bsr((1, 1)), "sparse"), "quantized": (quantized, "quantized"), "channel": (channel, "quantized"),
        "qint32": (torch.quantize_per_tensor(weight, 0.1, 0, torch.qint32), "qint32"), "meta": (torch.empty(2, device="meta"), "meta"),
        "nested": (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"), "conj": (complex_.clone().conj(), "conjugated"),
        "neg": (torch.tensor([1 + 2j]).conj().imag, "negated"), "f4": (torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "4-bit floats"),
    }
    for name in ["bits8", "bits1x8", "bits2x4", "bits4x2", "bits16"] + [f"{s}int{n}" for s in ["", "u"] for n in range(1, 8)]:
        odd[name] = (torch.zeros(2, dtype=torch.uint8).view(getattr(torch, name)), name)
    for name in ["quint4x2", "quint2x4"]:
        odd[name] = (torch.zeros(2, dtype=torch.uint8).view(getattr(torch, name)), "quantized")
    def saves(value):
        try:
            torch.save(value, io.BytesIO())
            return True
        except KeyError:
            return False

    # PyTorch 2.13 itself cannot save these.
    assert {name for name, (value, _) in odd.items() if not saves(value)} == UNSAVED, [n for n, (v, _) in odd.items() if not saves(v)]
    odd = {name: case for name, case in odd.items() if name not in UNSAVED}
    plain = {"w": weight, "subclass": marked, "parameter": parameter, "complex": complex_, "view": weight.t()[1:], "tied": weight,
             "expanded": torch.ones(1).expand(3)}
    expected = {name: value.as_subclass(torch.Tensor) for name, value in plain.items()}
    unsupported = {name: word for name, (_, word) in odd.items()}
    every = {**plain, **{name: value for name, (value, _) in odd.items()}, "last": torch.ones(2)}
    files.save("kinds.pt", every, {**expected, "last": torch.ones(2)}, unsupported)
    for name, (value, word) in odd.items():
        files.save(f"kind.{name}.pt", {"w": weight, name: value}, {"w": weight}, {name: word})
        try:
            torch.save({"w": weight, name: value}, files.path(f"kind.{name}.legacy.pt"), _use_new_zipfile_serialization=False)
            torch.load(files.path(f"kind.{name}.legacy.pt"), weights_only=False)
        except (RuntimeError, NotImplementedError, AttributeError):
            continue
        files.add(f"kind.{name}.legacy.pt", {"w": weight}, {name: word})
    wrapper = Wrapper(weight)
    torch.save({"wrapped": wrapper, "w": weight}, files.path("wrapper.pt"))
    files.add("wrapper.pt", {"wrapped.inner": weight, "w": weight}, {"wrapped": "subclass"})


def legacy(files):
    weight = torch.arange(6.0).reshape(2, 3)
    state = collections.OrderedDict(w=weight, t=weight.t(), s=torch.tensor(7), part=weight[1, 1:], e=torch.empty(0), h=weight.half())
    every = {str(d): torch.arange(4).to(d) for d in [
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
        torch.complex64, torch.complex128]}
    for protocol in [1, 2, 3, 4, 5]:
        files.save(f"legacy{protocol}.pth", {**state, **every}, {**state, **every}, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    files.save("legacy_alone.pth", weight, {"legacy_alone": weight}, _use_new_zipfile_serialization=False)
    files.save("legacy_empty.pth", {}, {}, _use_new_zipfile_serialization=False)

    # What Python 2 and the first versions wrote: parts of storages, classes of CUDA, items of dicts as lists.
    def old(name, persistent, value, storages):
        class Storage:
            def __init__(self, identity):
                self.identity = identity

        class Pickler(pickle._Pickler):
            def persistent_id(self, value):
                return value.identity if isinstance(value, Storage) else None

        with open(files.path(name), "wb") as f:
            pickle.dump(0x1950A86A20F9469CFC6C, f, 2)
            pickle.dump(1001, f, 2)
            pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, f, 2)
            Pickler(f, 2).dump(value(lambda *identity: Storage(("storage", *identity))))
            pickle.dump(list(storages), f, 2)
            for data in storages.values():
                f.write(struct.pack("<q", data.numel()))
                f.write(data.numpy().tobytes())

    rebuild, base = torch._utils._rebuild_tensor, torch.arange(8.0)

    class Call:
        def __init__(self, function, *arguments):
            self.call = function, arguments

        def __reduce__(self):
            return self.call

    old("parts.pth", None, lambda storage: {
        "whole": Call(rebuild, storage(torch.FloatStorage, "5", "cpu", 8, None), 0, (2, 4), (4, 1)),
        "part": Call(rebuild, storage(torch.FloatStorage, "5", "cpu", 8, ("6", 2, 3)), 1, (2,), (1,)),
        "cuda": Call(rebuild, storage(torch.cuda.FloatStorage, "5", "cuda:0", 8, None), 0, (8,), (1,)),
    }, {"5": base})
    loaded = torch.load(files.path("parts.pth"), map_location="cpu", weights_only=False)
    assert torch.equal(loaded["part"], base[3:5])
    files.add("parts.pth", {"whole": base.reshape(2, 4), "part": base[3:5], "cuda": base})
    tar(files, weight)



def tar(files, weight):
    """The format of PyTorch 0.1: a tar archive, which `torch.load` still reads."""
    def member(archive, name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))

    storages, tensors = io.BytesIO(), io.BytesIO()
    pickle.dump(2, storages, 2)
    for key, kind, data in [(10, torch.FloatStorage, weight), (11, torch.LongStorage, torch.arange(3))]:
        pickle.dump((key, "cpu", kind), storages, 2)
        storages.write(struct.pack("<q", data.numel()) + data.numpy().tobytes())
    pickle.dump([(12, 10, 2, 3)], storages, 2)
    pickle.dump(3, tensors, 2)
    for key, storage, shape, stride, offset in [(20, 10, (3, 2), (1, 3), 0), (21, 11, (3,), (1,), 0), (22, 12, (2,), (1,), 1)]:
        pickle.dump((key, storage, torch.FloatTensor), tensors, 2)
        tensors.write(struct.pack("<ii", len(shape), 0) + struct.pack(f"<{len(shape)}q", *shape) + struct.pack(f"<{len(shape)}q", *stride))
        tensors.write(struct.pack("<q", offset))

    class Reference:
        def __init__(self, key):
            self.key = key

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value.key if isinstance(value, Reference) else None

    data = io.BytesIO()
    Pickler(data, 2).dump({"w": Reference("20"), "n": Reference("21"), "part": Reference("22"), "epoch": 3})
    with tarfile.open(files.path("tar.pth"), "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content in [("sys_info", b"x"), ("pickle", data.getvalue()), ("tensors", tensors.getvalue()), ("storages", storages.getvalue())]:
            member(archive, name, content)
    loaded = torch.load(files.path("tar.pth"), weights_only=False)
    assert torch.equal(loaded["w"], weight.t()) and torch.equal(loaded["part"], weight.reshape(-1)[3:5]), loaded
    files.add("tar.pth", {"w": weight.t(), "n": torch.arange(3), "part": weight.reshape(-1)[3:5]}, {}, ["epoch"])


def scripts(files):
    def traced(x):
        return x + torch.tensor([1.0, 2.0, 3.0]) + torch.ones(3, dtype=torch.float64) * 2

    module = torch.jit.trace(traced, torch.zeros(3))
    module.save(files.path("constants.pt"))
    tensors = [node.t("value") for node in module.graph.findAllNodes("prim::Constant") if node.output().type().kind() == "TensorType"]
    files.add("constants.pt", {f"CONSTANTS.c{i}": value for i, value in enumerate(tensors)})


def every_array():
    """Arrays of each dtype, byte order and order of elements."""
    found = {}
    for kind in ["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"]:
        for order in "<>":
            array = (numpy.arange(6) * (1.5 + 2j if kind[0] == "c" else 1.5)).reshape(2, 3)
            array = array.astype(order + kind) if kind != "b1" else (array.real > 3)
            found[f"{order}{kind}"] = array
            found[f"{order}{kind} F"] = numpy.asfortranarray(array)
    cube = numpy.arange(24, dtype=">i4").reshape(2, 3, 4)
    return found | {
        "zero": numpy.array(3.5), "empty": numpy.zeros((0, 3), ">f4"), "permuted": cube.transpose(1, 2, 0), "strided": cube[:, ::2, 1:], "cube F":
        numpy.asfortranarray(cube), "negative": cube[::-1], "matrix": numpy.matrix([[1.0, 2.0]]), "one": numpy.ones(1, ">f8"), "latin1":
        numpy.arange(256, dtype="u1"),
    }


def pickled_arrays(files):
    """Arrays and scalars of numpy in a file of torch.save."""
    arrays = every_array()
    scalars = {f"scalar {kind}": numpy.dtype(kind).type(3) for kind in ["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"]}
    other = {
        "objects": numpy.array([{}, None]), "strings": numpy.array(["a", "bc"]), "bytes": numpy.array([b"a"]), "masked": numpy.ma.array([1.0, 2.0]),
        "name": numpy.str_("a"), "date": numpy.datetime64("2020-01-01"), "long": numpy.longdouble(3), "record": numpy.zeros(1, [("a", "f4")])[0],
        "dtype": numpy.dtype("f4"), "tensors": numpy.array([torch.ones(1), None], dtype=object), "class": numpy.float32,
    }
    unsupported = {
        "fields": (numpy.zeros(2, dtype=[("a", "f4"), ("b", "i8")]), "structured"), "dates": (numpy.array(["2020-01-01"], "M8[D]"), "dates"),
        "deltas": (numpy.array([3], "m8[s]"), "dates"), "void": (numpy.zeros(2, "V3"), "raw bytes"), "longs": (numpy.zeros(2, numpy.longdouble), "PyTorch lacks"),
        "records": (numpy.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), "structured"), "rows": (numpy.zeros(2, dtype="(3,)f4,i4"), "structured"),
    }
    weight = torch.arange(6.0).reshape(2, 3)
    expected = {name: numpy.asarray(value) for name, value in {**arrays, **scalars}.items()}
    shared = arrays["<f4"]
    every = {"w": weight, **arrays, **scalars, **other, **{name: value for name, (value, _) in unsupported.items()}, "again": shared, "last": weight}
    for protocol in [1, 2, 3, 4, 5]:
        for kind in ["zip", "legacy"]:
            # The data of a masked array is within its state.
            files.save(f"numpy{protocol}.{kind}.pt", every, {"w": weight, **expected, "again": shared, "last": weight},
                       {name: word for name, (_, word) in unsupported.items()}, list(other),
                       _use_new_zipfile_serialization=kind == "zip", pickle_protocol=protocol)
    files.save("array_alone.pt", shared, {"array_alone": shared})
    holder = Net()
    holder.table, holder.factor = shared, numpy.float64(3)
    tensors = dict(holder.state_dict()) | {"mask": holder.mask, "plain": holder.plain, "table": shared}
    files.save("module_with_array.pt", holder, tensors)

    # Tensors of devices whose data PyTorch writes as an array.
    class Call:
        def __init__(self, function, *arguments):
            self.call = function, arguments

        def __reduce__(self):
            return self.call

    halves = torch.tensor([1.5, -2.0, 1e-38]).bfloat16()
    rebuild = torch._utils._rebuild_device_tensor_from_numpy
    files.save("device.pt", {
        "f4": Call(rebuild, shared, torch.float32, "cpu", False), "bf16": Call(rebuild, halves.float().numpy(), torch.bfloat16, "cpu", True),
        "xla": Call(torch._utils._rebuild_xla_tensor, shared, torch.float32, "xla:0", False),
        "converted": Call(rebuild, shared, torch.float64, "cpu", False),
    }, {"f4": shared, "bf16": halves, "xla": shared}, {"converted": "another device"})


def keys(files):
    """Keys of dictionaries that are not text."""
    one, two = torch.ones(2), torch.arange(3.0)
    Pair = collections.namedtuple("Pair", "x y")
    Pair.__module__, Pair.__qualname__ = __name__, "Pair"
    globals()["Pair"] = Pair
    named = {
        3: "3", -7: "-7", 10**25: "10000000000000000000000000", 2**63: "9223372036854775808", None: "None", True: "True", 0.5: "0.5", 1e30: "1e+30",
        float("inf"): "inf", b"ab'\xff": "b'ab\\'\\xff'", (): "()", (1,): "(1,)", (1, "a"): "(1, 'a')", ((1, 2), None): "((1, 2), None)",
        frozenset(["b", "a"]): "frozenset({'a', 'b'})", frozenset(): "frozenset()", torch.float16: "torch.float16", torch.device("cpu"): "cpu",
        torch.device("cuda", 1): "cuda:1", torch.Size([2, 3]): "(2, 3)", Pair(1, "z"): "Pair(1, 'z')", Color.RED: "Color(1)",
        numpy.int64(41): "41", numpy.float32(0.1): "0.1", numpy.str_("np"): "np", Frozen(1, "b"): "Frozen(a=1, b='b')", torch.nn.Linear:
        "torch.nn.modules.linear.Linear", ("layer", 0, "weight"): "('layer', 0, 'weight')", "it's": "it's", ("it's",): "('it\\'s',)",
    }
    for protocol in [1, 2, 4, 5]:
        for kind in ["zip", "legacy"]:
            files.save(f"keys{protocol}.{kind}.pt", {key: one for key in named}, {name: one for name in named.values()},
                       _use_new_zipfile_serialization=kind == "zip", pickle_protocol=protocol)
    files.save("keys_nested.pt", {"state": {0: {"a": one}, ("x", 1): [two]}}, {"state.0.a": one, "state.('x', 1).0": two})
    # A tensor as a key, as in an optimizer that is saved as a whole.
    parameter = torch.nn.Parameter(torch.ones(2))
    files.save("keys_tensor.pt", {"state": {parameter: {"m": one}, torch.nn.Parameter(two): {"m": two}}}, {"state.0.m": one, "state.1.m": two})
    # Keys of the same text.
    files.save("keys_same.pt", {1: one, "1": two, "None": one, None: two, "(1, 2)": one, (1, 2): two, "x": {0.5: one, "0.5": two}, "y": one}, {
        "[1]": one, "['1']": two, "['None']": one, "[None]": two, "['(1, 2)']": one, "[(1, 2)]": two, "['x'][0.5]": one, "['x']['0.5']": two, "y": one,
    })
    files.save("keys_dots.pt", {"a.b": one, "a": {"b": two, "c": one}, "l": [one], "l.0": two}, {
        "['a.b']": one, "['a']['b']": two, "a.c": one, "['l'][0]": one, "['l.0']": two,
    })
    odd = torch.ones(2, 2).to_sparse()
    files.save("keys_odd.pt", {1: odd, "1": two}, {"['1']": two}, {"[1]": "sparse"})


def arrays(files):
    good = numpy.arange(3.0)
    numbers = every_array()
    odd = {
        "objects": (numpy.array([{}, None]), "objects"), "strings": (numpy.array(["a", "bc"]), "strings"), "bytes": (numpy.array([b"a"]), "strings"),
        "fields": (numpy.zeros(2, dtype=[("a", "f4"), ("b", "i8")]), "structured"), "dates": (numpy.array(["2020-01-01"], "M8[D]"), "dates"),
        "deltas": (numpy.array([3], "m8[s]"), "dates"), "void": (numpy.zeros(2, "V3"), "raw bytes"),
        "long": (numpy.zeros(2, numpy.longdouble), "PyTorch lacks"),
    }
    for kind, save in [("stored", numpy.savez), ("deflated", numpy.savez_compressed)]:
        save(files.path(f"{kind}.npz"), good=good, **{name: value for name, (value, _) in odd.items()}, **numbers, last=good)
        files.add(f"{kind}.npz", {"good": good, "last": good, **numbers}, {name: word for name, (_, word) in odd.items()})
    for name, value in numbers.items():
        numpy.save(files.path(f"{name}.npy"), value)
        files.add(f"{name}.npy", {name: value})
    for name, (value, word) in odd.items():
        numpy.save(files.path(f"{name}.npy"), value)
        files.add(f"{name}.npy", {}, {name: word})


def safetensors_files(files):
    weight = torch.arange(3.0)
    save_file({"w": weight, "q": torch.zeros(2, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, files.path("f4.safetensors"))
    files.add("f4.safetensors", {"w": weight}, {"q": "4-bit floats"})


def main(cases, results, data):
    with open(cases) as f:
        files = Files(json.load(f)["folder"])
    for write in [odd_values, modules, kinds_of_tensors, legacy, scripts, arrays, pickled_arrays, keys, safetensors_files]:
        write(files)
    with open(results, "w") as f:
        json.dump(files.results, f)
    with open(data, "wb") as f:
        f.write(files.bytes.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
