"""Writes files of tensors in every format, and says what is in them.

    python write.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` has, for each file, its path, its format, and
the name, dtype, shape and number of bytes of every tensor in order; `results.bin` has the bytes of
all of them in logical order. Nothing here looks at how the files are read.
"""

import collections
import io
import json
import os
import sys
import warnings
import zipfile

import numpy
import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32,
    torch.uint64, torch.int64, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2,
    torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float16, torch.bfloat16, torch.float32,
    torch.float64, torch.complex32, torch.complex64, torch.complex128,
]
SHAPES = {"matrix": (3, 5), "scalar": (), "none": (0,), "no_rows": (4, 0, 2), "cube": (2, 3, 4)}
random = numpy.random.RandomState(1)


def tensor(dtype, shape):
    """Any bits: NaN with payloads, subnormals, signed zeros."""
    count = int(numpy.prod(shape))
    if dtype == torch.bool:
        return torch.from_numpy(random.randint(0, 2, shape).astype(bool)).reshape(shape)
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    data = numpy.frombuffer(random.bytes(count * dtype.itemsize), numpy.uint8)
    return torch.from_numpy(data.copy()).view(dtype).reshape(shape)


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def every_tensor(dtypes):
    return {f"{name_of(d)}.{name}": tensor(d, shape) for d in dtypes for name, shape in SHAPES.items()}


def raw(value):
    """The bytes in logical order."""
    if isinstance(value, numpy.ndarray):
        return value.tobytes(order="C")
    value = value.detach().contiguous().reshape(-1)
    return value.view(torch.uint8).numpy().tobytes() if value.numel() else b""


class Files:
    def __init__(self, folder):
        self.folder, self.results, self.bytes = folder, [], io.BytesIO()

    def path(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def add(self, name, format, tensors, ordered=True):
        listed = []
        for key, value in tensors.items():
            data = raw(value)
            self.bytes.write(data)
            dtype = value.dtype.name if isinstance(value, numpy.ndarray) else name_of(value.dtype)
            listed.append({"name": key, "dtype": dtype, "shape": list(value.shape), "length": len(data)})
        self.results.append({"file": name, "format": format, "ordered": ordered, "tensors": listed})


def flatten(value, prefix=""):
    """Dotted names: keys of dicts, numbers of lists and tuples."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = {}
    for key, item in items:
        found |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def safetensors_files(files):
    def saved(dtype):
        try:
            save_file({"x": tensor(dtype, (2,))}, files.path("probe.safetensors"))
            return True
        except (KeyError, ValueError, TypeError, RuntimeError):
            return False

    dtypes = [d for d in DTYPES if saved(d)]
    assert set(DTYPES) - set(dtypes) == {torch.complex32, torch.complex128}, dtypes
    os.remove(files.path("probe.safetensors"))
    path = files.path("dtypes.safetensors")
    save_file(every_tensor(dtypes), path, metadata={"format": "pt", "of": "write.py"})
    loaded = load_file(path)
    # load_file's order is by offset, and by chance among tensors without bytes: there the header's.
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    del header["__metadata__"]
    names = sorted(header, key=lambda name: header[name]["data_offsets"])
    assert [n for n in names if loaded[n].numel()] == [n for n in loaded if loaded[n].numel()]
    files.add("dtypes.safetensors", "safetensors", {name: loaded[name] for name in names})
    save_file({}, files.path("empty.safetensors"))
    files.add("empty.safetensors", "safetensors", {})

    # An index as Hugging Face writes it: names sorted, shards beside it.
    shards = {"model-00001-of-00002.safetensors": ["b.weight", "a.weight"], "model-00002-of-00002.safetensors": ["c", "ä"]}
    tensors = {name: tensor(torch.float32, (7, 2)) for names in shards.values() for name in names}
    for shard, names in shards.items():
        save_file({name: tensors[name] for name in names}, files.path(f"sharded/{shard}"))
    weight_map = {name: shard for name in sorted(tensors) for shard in shards if name in shards[shard]}
    with open(files.path("sharded/model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 224}, "weight_map": weight_map}, f, indent=2)
    with open(files.path("sharded/config.json"), "w") as f:
        json.dump({"hidden_size": 7}, f)
    listed = {name: tensors[name] for name in weight_map}
    files.add("sharded/model.safetensors.index.json", "index", listed)
    files.add("sharded", "index", listed)


def numpy_files(files):
    names = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
             "float16", "float32", "float64", "complex64", "complex128"]
    arrays = {}
    for dtype in names:
        for name, shape in SHAPES.items():
            arrays[f"{dtype}.{name}"] = tensor(getattr(torch, dtype), shape).numpy()
        arrays[f"{dtype}.fortran"] = numpy.asfortranarray(tensor(getattr(torch, dtype), (3, 4, 5)).numpy())
        arrays[f"{dtype}.sliced"] = tensor(getattr(torch, dtype), (6, 4)).numpy()[::2, 1:]
        assert arrays[f"{dtype}.fortran"].flags.f_contiguous
    numpy.savez(files.path("stored.npz"), **arrays)
    files.add("stored.npz", "npz", arrays)
    numpy.savez_compressed(files.path("deflated.npz"), **arrays)
    files.add("deflated.npz", "npz", arrays)
    # Larger than any buffer, and so regular that deflate reaches its greatest ratio.
    large = {"zeros": numpy.zeros((1000, 1000), numpy.float32), "count": numpy.arange(300_000)}
    numpy.savez_compressed(files.path("large.npz"), **large)
    files.add("large.npz", "npz", large)
    numpy.savez(files.path("empty.npz"))
    files.add("empty.npz", "npz", {})
    for name in ["float32.fortran", "int64.scalar", "bool.no_rows", "complex64.cube"]:
        numpy.save(files.path(f"arrays/{name}.npy"), arrays[name])
        files.add(f"arrays/{name}.npy", "npy", {name: arrays[name]})
    files.add("arrays", "directory", {
        name: arrays[name] for name in sorted(["float32.fortran", "int64.scalar", "bool.no_rows", "complex64.cube"])})
    for version in [(1, 0), (2, 0), (3, 0)]:
        name = f"version{version[0]}"
        with open(files.path(f"{name}.npy"), "wb") as f:
            numpy.lib.format.write_array(f, arrays["float32.matrix"], version=version)
        files.add(f"{name}.npy", "npy", {name: arrays["float32.matrix"]})


def torch_save(files, name, value, **options):
    torch.save(value, files.path(name), **options)
    loaded = torch.load(files.path(name), weights_only=False)
    files.add(name, "torch.save", flatten(loaded))


def views():
    base = tensor(torch.float32, (6, 8))
    parameter = torch.nn.Parameter(tensor(torch.float64, (3,)))
    marked = tensor(torch.float32, (2,))
    marked.marked = "an attribute of the tensor"
    return collections.OrderedDict(
        base=base, transposed=base.t(), permuted=tensor(torch.int16, (2, 3, 4)).permute(2, 0, 1),
        expanded=tensor(torch.bfloat16, (1, 3)).expand(4, 3), scalar_expanded=tensor(torch.uint8, ()).expand(2, 2),
        sliced=base[1:5:2, 2:7], column=base[:, 3], alone=base[2, 5], tied=base, parameter=parameter, tied_parameter=parameter,
        overlapping=base.as_strided((4, 3), (2, 1), 5), marked=marked, columns_of_no_rows=torch.empty(0, 4)[:, 2:])


def torch_files(files):
    every = every_tensor(DTYPES)
    torch_save(files, "dtypes.pt", every)
    for protocol in [3, 4, 5]:
        torch_save(files, f"protocol{protocol}.pt", every | views() | {"text": "é" * 300, "bytes": b"\x00" * 300, "set": {1, 2}},
                   pickle_protocol=protocol)
    torch_save(files, "views.pth", views())
    torch_save(files, "alone.pt", {"alone": every["float32.matrix"]})
    torch.save(every["float32.matrix"], files.path("whole.pt"))
    files.add("whole.pt", "torch.save", {"whole": every["float32.matrix"]})
    torch.save([every["int8.cube"], (every["bool.matrix"], 3)], files.path("list.bin"))
    files.add("list.bin", "torch.save", {"0": every["int8.cube"], "1.0": every["bool.matrix"]})

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    torch_save(files, "state_dict.pth", net.state_dict())
    torch_save(files, "checkpoint.bin", {
        "epoch": 3, "loss": 0.25, "done": False, "none": None, "big": 10**30, "negative": -(2**40), "shape": torch.Size([2, 3]),
        "device": torch.device("cpu"), "dtype": torch.float16, "complex": 1 + 2j, "bytes": b"bytes", "counter": collections.Counter("aab"),
        "array": bytearray(b"ab"), "model": net.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(),
        "parameters": list(net.parameters()), "tuple": (tensor(torch.int8, (2,)), ("nested", tensor(torch.int8, (3,)))),
        7: tensor(torch.int8, (4,)),
    })


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(tensor(torch.float16, (2, 3)))
        self.register_buffer("steps", torch.tensor(5))

    def forward(self, x):
        return x


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.again = Inner(), Inner()
        self.bias = torch.nn.Parameter(tensor(torch.bfloat16, (4,)))
        self.register_buffer("transposed", tensor(torch.int32, (3, 2)).t())
        self.plain = tensor(torch.float64, (2,))
        self.several = [tensor(torch.float32, (2,)), tensor(torch.float32, (1, 1))]
        self.by_name = {"x": tensor(torch.int64, (2,))}
        self.pair = (tensor(torch.uint8, (3,)), 4)
        self.numbers, self.text, self.nothing, self.device = [1, 2], "text", None, torch.device("cpu")

    def forward(self, x):
        y = x + self.plain[0] + self.several[0][0] + self.by_name["x"][0] + self.pair[0][0] + len(self.text) + self.numbers[0]
        return self.inner(y) + torch.tensor([1.0, 2.0])


def script_files(files):
    module = Outer()
    extra = {"plain": module.plain, "several.0": module.several[0], "several.1": module.several[1],
             "by_name.x": module.by_name["x"], "pair.0": module.pair[0]}
    torch.jit.script(module).save(files.path("script.pt"))
    expected = dict(torch.jit.load(files.path("script.pt")).state_dict()) | extra
    files.add("script.pt", "TorchScript", expected, ordered=False)

    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU())
    torch.jit.trace(net.eval(), torch.zeros(1, 1, 4, 4)).save(files.path("traced.pt"))
    files.add("traced.pt", "TorchScript", dict(torch.jit.load(files.path("traced.pt")).state_dict()), ordered=False)

    class Every(torch.nn.Module):
        def __init__(self, tensors):
            super().__init__()
            for name, value in tensors.items():
                self.register_buffer(name.replace(".", "_"), value)

        def forward(self, x):
            return x

    module = Every(every_tensor(DTYPES))
    torch.jit.script(module).save(files.path("dtypes.ts"))
    files.add("dtypes.ts", "TorchScript", module.state_dict(), ordered=False)


def main(cases, results, data):
    with open(cases) as f:
        files = Files(json.load(f)["folder"])
    safetensors_files(files)
    numpy_files(files)
    torch_files(files)
    script_files(files)
    with open(results, "w") as f:
        json.dump(files.results, f)
    with open(data, "wb") as f:
        f.write(files.bytes.getvalue())


main(*sys.argv[1:])
