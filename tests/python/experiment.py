"""Writes the figures of the experiment as PyTorch computes them.

    python tests/python/experiment.py > src/cli/reference.json
"""

import json
import struct
import sys
from pathlib import Path

import torch

from reference import Net, weight_init, weight_init2  # noqa: E402


def bits(tensor):
    values = tensor.detach().flatten().tolist()
    return list(struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values)))


def figures(seed, input_size):
    torch.manual_seed(seed)
    x = torch.randn(1, input_size)
    run = {"seed": seed, "input_size": input_size, "input": bits(x)}
    for number, visitor in (("1", weight_init), ("2", weight_init2)):
        model = Net(input_size, True)
        model.apply(visitor)
        run["output" + number] = bits(model(x))
        run["weight" + number] = bits(model.fc1.weight)
    return run


def main():
    torch.set_num_threads(1)
    runs = [figures(seed, size) for seed in (0, 1, 2, 42, -1) for size in (1, 4, 7)]
    print(json.dumps({"torch": torch.__version__.split("+")[0], "runs": runs}, indent=None,
                     separators=(",", ":")).replace('{"seed"', '\n{"seed"'))


if __name__ == "__main__":
    main()
