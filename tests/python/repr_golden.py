"""What PyTorch prints, for tests/repr.rs.

    python tests/python/repr_golden.py golden tests/data/repr_golden.json
        writes the stored cases; the same bytes each time
    python tests/python/repr_golden.py live FOLDER
        reads FOLDER/cases.json and FOLDER/data.bin, writes FOLDER/expected.json

A case is a dtype, a shape, the bytes of a few elements that are repeated until the shape is full,
operations to apply in order, and print options that differ from the defaults.
"""

import json
import math
import random
import struct
import sys

import torch

COMMAND = "python tests/python/repr_golden.py golden tests/data/repr_golden.json"


def build(case, data):
    dtype = getattr(torch, case["dtype"])
    shape = case["shape"]
    count = math.prod(shape)
    size = torch.empty(0, dtype=dtype).element_size()
    if count == 0:
        tensor = torch.empty(shape, dtype=dtype)
    else:
        data = (data * (count * size // len(data) + 1))[: count * size]
        tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype).reshape(shape)
    for name, *arguments in case["ops"]:
        tensor = apply(tensor, name, arguments)
    return tensor


def apply(tensor, name, arguments):
    match name:
        case "transpose" | "narrow":
            return getattr(tensor, name)(*arguments)
        case "expand":
            return tensor.expand(arguments)
        case "conj":
            return tensor.conj()
        case "real" | "imag":
            return getattr(tensor, name)
        case "sparse_coo":
            return tensor.to_sparse()
        case "sparse_hybrid":
            return tensor.to_sparse(1)
        case "sparse_csr" | "sparse_csc":
            return getattr(tensor, "to_" + name)()
        case "sparse_bsr" | "sparse_bsc":
            return getattr(tensor, "to_" + name)(tuple(arguments))
        case "zerotensor":
            return torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype)
        case "requires_grad":
            return tensor.requires_grad_()
        case "view_as":
            return tensor.view_as(tensor)
        case "parameter":
            return torch.nn.Parameter(tensor)
    raise ValueError(name)


def expected(case, data):
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**case["options"])
    return str(build(case, data))


# The stored cases.

FLOATS = [
    "float32", "float64", "float16", "bfloat16",
    "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz",
]  # fmt: skip
COMPLEX = ["complex64", "complex128", "complex32"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "bool", "uint16", "uint32", "uint64"]
SHAPES = [
    [], [1], [2], [7], [30], [2, 3], [3, 1], [1, 5], [4, 12], [2, 2, 2], [1, 3, 2], [2, 1, 2, 3],
    [1, 2, 1, 2, 2], [2, 0], [0], [0, 3], [3, 0, 2],
]  # fmt: skip
LARGE = [
    [1001], [5000], [40, 30], [7, 200], [200, 7], [6, 6, 40], [12, 8, 11], [3, 20, 20],
    [2, 9, 1, 60], [10, 1, 9, 2, 7], [7, 1, 150, 1], [1500, 1], [1, 1500], [300, 2, 2],
]  # fmt: skip
SPECIAL = [
    "nan", "inf", "-inf", "0.0", "-0.0", "1.0", "-1.0", "0.5", "1e-5", "1e-4", "1e8", "1e9",
    "5e-324", "1e-40", "3.4e38", "123456.0", "0.03125", "2.5", "1000.0", "1001.0", "-999.5",
]  # fmt: skip


def number(rng, values):
    match values:
        case "plain":
            return rng.gauss(0, 1)
        case "whole":
            return float(rng.randint(-1200, 1200))
        case "wide":
            return rng.choice([-1, 1]) * 10 ** rng.uniform(-6, 9)
        case "ties":
            return rng.randint(-4000, 4000) / 2 ** rng.randint(1, 12)
        case "tiny":
            return rng.gauss(0, 1) * 10 ** rng.uniform(-44, -36)
        case "zero":
            return rng.choice([0.0, -0.0])
        case "nowhere":
            return rng.choice([math.nan, math.inf, -math.inf, 0.0, -0.0])
        case "special":
            return float(rng.choice(SPECIAL))
        case "edge":
            return rng.choice([1e-4, 9.9999e-5, 1e8, 1e8 + 8, 1.0, 1000.0, 1001.0, 0.1, 100.0])
    raise ValueError(values)


VALUES = ["plain", "whole", "wide", "ties", "tiny", "zero", "nowhere", "special", "edge"]


def elements(rng, dtype, values, count):
    """The bytes of `count` elements."""
    if count == 0:
        return b""
    if dtype in INTEGERS:
        size = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
        if dtype == "bool":
            return bytes(rng.randint(0, 1) for _ in range(count))
        whole = []
        for _ in range(count):
            bits = rng.getrandbits(8 * size)
            # Small ones of either sign, and any bits.
            small = rng.randint(-9, 99) % 2 ** (8 * size)
            whole.append(rng.choice([small, small, bits]) if values == "wide" else small)
        return b"".join(value.to_bytes(size, "little") for value in whole)
    if dtype in COMPLEX:
        part = {"complex64": "float32", "complex128": "float64", "complex32": "float16"}[dtype]
        return elements(rng, part, values, 2 * count)
    doubles = b"".join(struct.pack("<d", number(rng, values)) for _ in range(count))
    tensor = torch.frombuffer(bytearray(doubles), dtype=torch.float64)
    return bytes(tensor.to(getattr(torch, dtype)).view(torch.uint8).tolist())


def options(rng):
    chosen = {
        "precision": rng.choice([0, 1, 2, 4, 6, 10, 17]),
        "threshold": rng.choice([0, 5, 20, 1000]),
        "edgeitems": rng.choice([0, 1, 2, 3, 5]),
        "linewidth": rng.choice([0, 10, 40, 79, 80, 120]),
        "sci_mode": rng.choice([None, True, False]),
    }
    return dict(rng.sample(sorted(chosen.items()), rng.randint(1, 5)))


def stored_cases():
    rng = random.Random(20260713)
    dtypes = FLOATS + COMPLEX + INTEGERS

    def case(dtype, shape, values="plain", ops=(), options=None):
        count = min(math.prod(shape), rng.randint(11, 23))
        return {
            "dtype": dtype,
            "shape": shape,
            "bytes": elements(rng, dtype, values, count).hex(),
            "ops": [list(op) for op in ops],
            "options": options or {},
        }

    # Every element type in every state, and every shape in a few types.
    for dtype in dtypes:
        for shape in ([], [5], [3, 9], [0, 2]):
            yield case(dtype, shape, rng.choice(["plain", "wide"]))
        yield case(dtype, rng.choice(LARGE), "wide")
    for shape in SHAPES + LARGE:
        for dtype in ("float32", "int64", rng.choice(COMPLEX), rng.choice(dtypes)):
            yield case(dtype, shape)
    yield case("float32", [1000])
    yield case("bool", [1000])
    for values in VALUES:
        for dtype in FLOATS + COMPLEX:
            yield case(dtype, rng.choice([[], [6], [11], [4, 5], [2, 3, 2]]), values)
    # Each special value alone and beside one plain number.
    for value in SPECIAL:
        for beside in ([], [1.5]):
            one = case("float64", [1 + len(beside)])
            one["bytes"] = struct.pack(f"<{1 + len(beside)}d", float(value), *beside).hex()
            yield one
    # On either side of each limit, and a NaN with a sign.
    for values in (
        [1.5, 1500.0], [1.5, 1500.1], [-1.0, 1000.0], [1.0, -1001.0], [0.25, -250.0, 0.0],
        [1e8, 3e5], [1e8 + 1, 3e5], [1e-4, 1e-2], [0.99999e-4, 1e-2], [-math.nan, 1.0],
    ):  # fmt: skip
        one = case("float64", [len(values)])
        one["bytes"] = struct.pack(f"<{len(values)}d", *values).hex()
        yield one
    for _ in range(60):
        shape = rng.choice(SHAPES + LARGE)
        yield case(rng.choice(dtypes), shape, rng.choice(VALUES), (), options(rng))
    # Suffixes, alone and where they no longer fit the line.
    for dtype in ("float32", "float64", "bfloat16", "complex64"):
        for shape in ([], [6], [7], [8], [3, 4], [0], [0, 4]):
            grad = [["requires_grad"]]
            for ops in (grad, grad + [["view_as"]], [["parameter"]]):
                yield case(dtype, shape, "plain", ops)
    for linewidth in range(10, 60, 2):
        cut = {"linewidth": linewidth, "edgeitems": 0}
        yield case("float64", [3, 2], "whole", [["requires_grad"]], cut)
    # Views.
    for dtype in ("float32", "int16", "bool", "complex64", "float8_e5m2"):
        yield case(dtype, [3, 5], "plain", [["transpose", 0, 1]])
        yield case(dtype, [40, 50], "plain", [["transpose", 0, 1]])
        yield case(dtype, [9, 8], "plain", [["narrow", 1, 2, 3]])
        yield case(dtype, [3, 1], "plain", [["expand", 3, 4]])
        yield case(dtype, [1, 3], "plain", [["expand", 1000000, 3]])
        yield case(dtype, [1], "plain", [["expand", 1000, 1000, 1000]])
    for dtype in COMPLEX:
        for shape in ([], [4], [30, 40]):
            yield case(dtype, shape, "plain", [["conj"]])
            yield case(dtype, shape, "plain", [["conj"], ["imag"]])
            yield case(dtype, shape, "plain", [["imag"]])
            yield case(dtype, shape, "plain", [["conj"], ["real"]])
    # Other layouts.
    for dtype in ("float32", "float64", "int32", "complex64"):
        yield case(dtype, [3, 4], "whole", [["sparse_coo"]])
        yield case(dtype, [40, 40], "whole", [["sparse_coo"]])
        yield case(dtype, [4, 0], "whole", [["sparse_coo"]])
        yield case(dtype, [3, 4], "whole", [["sparse_hybrid"]])
        yield case(dtype, [3, 4], "whole", [["sparse_csr"]])
        yield case(dtype, [3, 4], "whole", [["sparse_csc"]])
        yield case(dtype, [4, 6], "whole", [["sparse_bsr", 2, 3]])
        yield case(dtype, [4, 6], "whole", [["sparse_bsc", 2, 3]])
        yield case(dtype, [2, 3], "whole", [["zerotensor"]])
        yield case(dtype, [50, 30], "whole", [["zerotensor"]])
    yield case("float32", [3, 4], "plain", [["sparse_coo"], ["requires_grad"]])


def write_golden(path):
    lines = []
    for case in stored_cases():
        case["expected"] = expected(case, bytes.fromhex(case["bytes"]))
        lines.append(json.dumps(case, sort_keys=True))
    with open(path, "w", newline="\n") as file:
        file.write("{\n")
        file.write(f' "command": {json.dumps(COMMAND)},\n')
        file.write(f' "torch": {json.dumps(torch.__version__.split("+")[0])},\n')
        file.write(' "cases": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")


def answer(folder):
    with open(f"{folder}/cases.json") as file:
        cases = json.load(file)
    with open(f"{folder}/data.bin", "rb") as file:
        texts = [expected(case, file.read(case["length"])) for case in cases]
    with open(f"{folder}/expected.json", "w") as file:
        json.dump({"torch": torch.__version__, "texts": texts}, file)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["golden", path]:
            write_golden(path)
        case ["live", folder]:
            answer(folder)
        case _:
            sys.exit(__doc__)
