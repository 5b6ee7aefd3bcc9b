"""Records initializations of PyTorch 2.0, 2.11 and 2.12 for tests/process/semantics.rs, reproducibly. It needs torch only.

    python2.0-torch tests/data/semantics.py 2.0 tests/data/semantics-2.0.json
    python2.11-torch tests/data/semantics.py 2.11 tests/data/semantics-2.11.json
    python2.12-torch tests/data/semantics.py 2.12 tests/data/semantics-2.12.json

The second argument is the expected version. A row is a function of torch.nn.init, its arguments, the dtype, the layout
and shape of the tensor, and FNV-1a (64 bits) of its elements in row-major order and of the generator's state
afterwards. The seed is the number of the row.
"""

import json
import sys
import warnings

import torch

warnings.simplefilter("ignore")
CALLS = [
    ("uniform_", [0.0, 1.0]),
    ("uniform_", [1.0, 1.0000003]),
    ("uniform_", [-1000.3, 1000.7]),
    ("normal_", [0.0, 1.0]),
    ("normal_", [0.3, 0.02]),
    ("xavier_uniform_", []),
    ("kaiming_normal_", []),
    ("sparse_", [0.4, 0.3]),
    ("trunc_normal_", [0.0, 0.02, -2.0, 2.0]),
    ("trunc_normal_", [0.3, 0.9, -0.25, 1.5]),
    ("trunc_normal_", [0.0, 1.0, 1.5, 4.0]),
    ("orthogonal_", [1.5]),
]
LAYOUTS = {
    "contiguous": lambda r, c, dtype: torch.zeros(r, c, dtype=dtype),
    "transposed": lambda r, c, dtype: torch.zeros(c, r, dtype=dtype).t(),
    "sliced": lambda r, c, dtype: torch.zeros(r, 2 * c, dtype=dtype)[:, ::2],
}


def fnv(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def rows():
    seed = 0
    for function, args in CALLS:
        for dtype in ["float32", "float64", "bfloat16", "float16"]:
            if function == "orthogonal_" and dtype in ("bfloat16", "float16"):
                continue  # PyTorch rejects them.
            if sys.argv[1] == "2.0" and function == "trunc_normal_" and dtype == "float16":
                continue  # PyTorch 2.0 has no erfinv of them.
            for layout, make in LAYOUTS.items():
                for shape in [3, 5], [17, 9]:
                    tensor = make(*shape, getattr(torch, dtype))
                    torch.manual_seed(seed)
                    getattr(torch.nn.init, function)(tensor, *args)
                    data = bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())
                    state = bytes(torch.get_rng_state().tolist())
                    yield [function, args, dtype, layout, shape, fnv(data), fnv(state)]
                    seed += 1


assert torch.__version__.startswith(sys.argv[1] + "."), torch.__version__
# 2.0 does not say it.
assert sys.argv[1] == "2.0" or "AVX" in torch.backends.cpu.get_cpu_capability()
with open(sys.argv[2], "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows()) + "\n]\n")
