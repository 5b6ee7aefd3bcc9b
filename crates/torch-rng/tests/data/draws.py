"""Records draws of PyTorch 2.13 for tests/stored.rs, reproducibly.

    python crates/torch-rng/tests/data/draws.py crates/torch-rng/tests/data/draws.json

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
    tensor = torch.zeros(case["numel"], dtype=getattr(torch, case["dtype"]))
    getattr(tensor, case["function"])(*case["arguments"])
    data = tensor.view(torch.uint8).numpy().tobytes()
    state = torch.get_rng_state().numpy().tobytes()
    return case | {"first": data[:16].hex(), "values": fnv(data), "state": fnv(state)}


def cases():
    count = 0
    for function, arguments in [("uniform_", UNIFORM), ("normal_", NORMAL)]:
        for dtype in DTYPES:
            for size in SIZES:
                # All arguments and positions are combined with all dtypes, but not with all sizes.
                yield {
                    "function": function,
                    "dtype": dtype,
                    "numel": size,
                    "arguments": arguments[count % len(arguments)],
                    "seed": [1, 0, 2**63, 2**64 - 1, 12345][count % 5],
                    "skip": [0, 1, 600, 623, 624, 625, 7000][count % 7],
                    "keep": count % 3 == 0,
                }
                count += 1


assert torch.__version__.startswith("2.13"), torch.__version__
assert "AVX" in torch.backends.cpu.get_cpu_capability()
results = ",\n".join(json.dumps(run(case)) for case in cases())
with open(sys.argv[1], "w") as file:
    command = "python crates/torch-rng/tests/data/draws.py crates/torch-rng/tests/data/draws.json"
    file.write('{"command": "' + command + '", "cases": [\n')
    file.write(results + "\n]}\n")
