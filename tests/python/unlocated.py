"""Writes files of tensors that PyTorch's CPU generator did not draw, or that were changed all over since.

    python unlocated.py cases.json results.json results.bin

`cases.json` names a folder, and the number of files of 100 tensors. `results.json` has the paths, and the kind of each tensor.
"""

import json
import os
import sys

import numpy
import torch
from safetensors.torch import save_file

cases_path, results_path, values_path = sys.argv[1:]
with open(cases_path) as file:
    cases = json.load(file)
open(values_path, "wb").close()


def trained(shape, random):
    """Drawn by PyTorch, then as far away as some steps of Adam."""
    weight = torch.empty(shape).uniform_(-0.05, 0.05) if random.random() < 0.5 else torch.empty(shape).normal_(0, 0.02)
    steps = torch.from_numpy(random.standard_normal(shape, dtype=numpy.float32))
    return weight + 1e-4 * steps


def decayed(shape, random):
    # By so much that it shows in nearly all values of bfloat16, too: those that are as they were drawn are found.
    weight = torch.empty(shape).normal_(0, 0.02)
    return weight * (0.98 - 0.01 * float(random.random()))


def legacy(draw):
    def made(shape, random):
        numpy.random.seed(int(random.integers(2**32)))
        return torch.from_numpy(numpy.asarray(draw(shape), dtype=numpy.float32))

    return made


def generator(bits, draw):
    def made(shape, random):
        return torch.from_numpy(numpy.asarray(draw(numpy.random.Generator(bits(int(random.integers(2**32)))), shape), dtype=numpy.float32))

    return made


def single(random, shape):
    return random.random(shape, dtype=numpy.float32)


def scaled(random, shape):
    return (single(random, shape) * numpy.float32(0.2) - numpy.float32(0.1)).astype(numpy.float32)


def double(random, shape):
    return random.uniform(-0.05, 0.05, shape)


def normal(random, shape):
    return random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)


def constant(shape, random):
    return torch.full(shape, float(random.standard_normal()))


def grid(shape, random):
    return torch.from_numpy(random.integers(0, 2**24, shape).astype(numpy.float32) * numpy.float32(2**-24))


kinds = {
    "trained": trained,
    "decayed": decayed,
    "constant": constant,
    "grid": grid,
    "legacy rand": legacy(lambda shape: numpy.random.rand(*shape)),
    "legacy uniform": legacy(lambda shape: numpy.random.uniform(-0.1, 0.1, shape)),
    "legacy randn": legacy(lambda shape: 0.02 * numpy.random.randn(*shape)),
}
for bits in (numpy.random.PCG64, numpy.random.MT19937, numpy.random.Philox, numpy.random.SFC64):
    for draw in (single, scaled, double, normal):
        kinds[f"{bits.__name__} {draw.__name__}"] = generator(bits, draw)

random = numpy.random.default_rng(7)
torch.manual_seed(7)
names = list(kinds)
files = []
for number in range(cases["files"]):
    tensors = {}
    for index in range(100):
        kind = names[(100 * number + index) % len(names)]
        shape = (int(random.integers(8, 64)), int(random.integers(4, 128)))
        tensor = kinds[kind](shape, random)
        dtype = (torch.float32, torch.float32, torch.bfloat16, torch.float16)[int(random.integers(4))]
        tensors[f"{index} {kind}"] = tensor.to(dtype).contiguous()
    path = os.path.join(cases["folder"], f"{number}.safetensors")
    save_file(tensors, path)
    files.append(path)

with open(results_path, "w") as file:
    json.dump(files, file)
