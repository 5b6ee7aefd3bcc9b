"""Records draws of PyTorch 2.13, or of an older one, for tests/stored.rs, reproducibly.

    python crates/torch-rng/tests/data/draws.py crates/torch-rng/tests/data/draws.json

The files of older versions are draws-2.0.json (normal values of float16 only), draws-2.11.json and draws-2.12.json; any version
from 2.1 to 2.11 writes the same cases.

A case seeds the default generator, skips some words, perhaps caches a normal, and fills a tensor. It
records the first bytes, and FNV-1a (64 bits) of all bytes and of the state afterwards.
"""

import json
import sys

import torch

DTYPES = ["float32", "float64", "bfloat16", "float16"]
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 623, 624, 625, 1000, 4999, 20001]
UNIFORM = [(0.0, 1.0), (-0.1, 0.1), (2.0, 2.0), (-65504.0, 0.0), (1e-8, 3e-7)]
NORMAL = [(0.0, 1.0), (-0.0, 0.02), (3.5, 0.0), (1e-8, 1e-8), (-1e4, 3e4)]

# For older versions: fewer sizes, bounds that values round to, and draws that are made of these.
OLD_SIZES = [1, 15, 16, 17, 31, 33, 625, 4999, 20001]
ROUNDED = [(1.0, 1.0 + 3 * 2.0**-23), (1.0, 1.0 + 3 * 2.0**-52), (-1000.3, 1000.7), (0.1, 0.2)]
TRUNCATED = [(0.0, 1.0, -2.0, 2.0), (0.3, 0.9, -0.25, 1.5)]
SPARSE = [(0.4, 0.01), (0.9, 1.0)]
SHAPES = [[3, 5], [16, 4], [33, 7], [40, 100]]


def fnv(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def run(case):
    torch.manual_seed(case["seed"])
    torch.empty(case["skip"]).uniform_()
    if case["keep"]:
        torch.randn(1)
    shape = case["shape"] if "shape" in case else [case["numel"]]
    tensor = torch.zeros(shape, dtype=getattr(torch, case["dtype"]))
    if case["function"] in ("uniform_", "normal_"):
        getattr(tensor, case["function"])(*case["arguments"])
    else:
        getattr(torch.nn.init, case["function"])(tensor, *case["arguments"])
    # Without NumPy, which is not installed beside every version.
    data = bytes(tensor.flatten().view(torch.uint8).tolist())
    state = bytes(torch.get_rng_state().tolist())
    return case | {"first": data[:16].hex(), "values": fnv(data), "state": fnv(state)}


def cases():
    count = 0
    draws = [("uniform_", UNIFORM, SIZES), ("normal_", NORMAL, SIZES)]
    if VERSION != "2.13":
        draws = [("uniform_", UNIFORM + ROUNDED, OLD_SIZES), ("normal_", NORMAL, OLD_SIZES)]
        draws += [("sparse_", SPARSE, SHAPES)]
    if VERSION == "2.12":
        draws += [("trunc_normal_", TRUNCATED, OLD_SIZES)]
    for function, arguments, sizes in draws:
        for dtype in DTYPES:
            # All others are those of 2.11.
            if VERSION == "2.0" and (dtype != "float16" or function == "uniform_"):
                continue
            for size in sizes:
                # All arguments and positions are combined with all dtypes, but not with all sizes.
                yield {
                    "function": function,
                    "dtype": dtype,
                    **({"shape": size} if function == "sparse_" else {"numel": size}),
                    "arguments": arguments[count % len(arguments)],
                    "seed": [1, 0, 2**63, 2**64 - 1, 12345][count % 5],
                    "skip": [0, 1, 600, 623, 624, 625, 7000][count % 7],
                    "keep": count % 3 == 0,
                }
                count += 1


MINOR = int(torch.__version__.split(".")[1])
VERSION = "2.0" if MINOR == 0 else f"2.{min(max(MINOR, 11), 13)}"
assert MINOR == 0 or "AVX" in torch.backends.cpu.get_cpu_capability()
results = ",\n".join(json.dumps(run(case)) for case in cases())
with open(sys.argv[1], "w") as file:
    command = f"python crates/torch-rng/tests/data/draws.py {sys.argv[1]}"
    file.write('{"command": "' + command + '", "cases": [\n')
    file.write(results + "\n]}\n")
