"""Records weights of PyTorch 2.11 and 2.12 for tests/explain_versions.rs, reproducibly. It needs torch only.

    python2.11-torch tests/data/old_weights.py 2.11 tests/data/old_weights-2.11.json
    python2.12-torch tests/data/old_weights.py 2.12 tests/data/old_weights-2.12.json

The second argument is the expected version. A row is a draw, its arguments, the dtype and shape of the tensor, the
number of words drawn before, and its bytes. The seed is 5.
"""

import json
import sys
import warnings

import torch

warnings.simplefilter("ignore")
DRAWS = [
    ("uniform_", [-(12**-0.5), 12**-0.5], ["bfloat16", "float16"]),
    ("normal_", [0.0, 0.02], ["bfloat16", "float16"]),
    ("normal_", [0.0, 1.0], ["bfloat16", "float16"]),
    ("trunc_normal_", [0.0, 1.0, -2.0, 2.0], ["float32", "bfloat16", "float16"]),
    ("trunc_normal_", [0.0, 0.02, -0.04, 0.04], ["bfloat16", "float16"]),
]


def rows():
    for draw, args, dtypes in DRAWS:
        for dtype in dtypes:
            for shape in [20, 12], [7, 11]:
                for before in 0, 100:
                    torch.manual_seed(5)
                    torch.empty(before).uniform_()
                    tensor = torch.empty(shape, dtype=getattr(torch, dtype))
                    if draw == "trunc_normal_":
                        torch.nn.init.trunc_normal_(tensor, *args)
                    else:
                        getattr(tensor, draw)(*args)
                    data = bytes(tensor.flatten().view(torch.uint8).tolist())
                    yield [draw, args, dtype, shape, before, data.hex()]


assert torch.__version__.startswith(sys.argv[1] + "."), torch.__version__
assert "AVX" in torch.backends.cpu.get_cpu_capability()
with open(sys.argv[2], "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows()) + "\n]\n")
