"""Writes files of tensors, and where they were drawn.

    python located.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` has, for each file, what is known of each of its tensors: seed and word (`null` where
only the seed is known), the number of changed elements, and whether it is transposed; or the name of another place.
"""

import json
import os
import sys

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

cases_path, results_path, values_path = sys.argv[1:]
with open(cases_path) as file:
    folder = json.load(file)["folder"]
open(values_path, "wb").close()
files = []


def skip(words):
    torch.empty(words).uniform_()


def drawn(seed, word=None, changed=0, transposed=False):
    return {"seed": seed, "word": word, "changed": changed, "transposed": transposed}


def write(name, tensors, places):
    path = os.path.join(folder, name)
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, path)
    files.append({"file": path, "places": places})


# Layers with something thrown away between them, far from the seed.
seed = 4042322160
torch.manual_seed(seed)
skip(1_000_003)
first = nn.Linear(784, 20)
torch.rand(3)
net = nn.Sequential(first, nn.BatchNorm1d(20), nn.Linear(20, 1))
at = 1_000_003
write(
    "net.safetensors",
    net.state_dict(),
    {
        "0.weight": drawn(seed, at),
        "0.bias": drawn(seed, at + 15_680),
        "2.weight": drawn(seed, at + 15_703),
        "2.bias": drawn(seed, at + 15_723),
        "1.weight": "constant",
        "1.bias": "constant",
        "1.running_mean": "constant",
        "1.running_var": "constant",
        "1.num_batches_tracked": "not-drawn",
    },
)

# Many kinds of layers.
torch.manual_seed(3)
layers = nn.ModuleDict(
    {
        "embedding": nn.Embedding(100, 32, padding_idx=0),
        "conv": nn.Conv2d(3, 16, 7),
        "lstm": nn.LSTM(20, 16),
        "attention": nn.TransformerEncoderLayer(32, 4, 64),
    }
)
tensors = layers.state_dict()
places = {name: drawn(3) for name, tensor in tensors.items() if tensor.float().std() > 0}
# The padding row is set to zero after the draw.
places["embedding.weight"] = drawn(3, 0, changed=32)
write("layers.safetensors", tensors, places)

# Two seeds, a standard deviation of GPT-2, a bound of no layer, 16 bits, one element in a hundred changed, and a transposed one.
torch.manual_seed(7)
tensors = {"proj": torch.empty(60, 64).normal_(0, 0.02 / 24**0.5)}
torch.manual_seed(2**32 - 1)
skip(5)
tensors["bound"] = torch.empty(40, 50).uniform_(-0.12345, 0.12345)
tensors["half"] = torch.empty(40, 64, dtype=torch.bfloat16).normal_(0, 0.02)
changed = nn.Linear(100, 100).weight.detach().clone()
changed.view(-1)[::100] += 1e-3
tensors["changed"] = changed
tensors["transposed"] = nn.Linear(50, 40, bias=False).weight.t()
top = 2**32 - 1
write(
    "several.safetensors",
    tensors,
    {
        "proj": drawn(7, 0),
        "bound": drawn(top, 5),
        "half": drawn(top, 2005),
        "changed": drawn(top, 4565, changed=100),
        "transposed": drawn(top, 14_665, transposed=True),
    },
)

# None of these shows a seed alone. Attention draws its projections after its output, whose bias it sets to zero.
seed = 1357924680
torch.manual_seed(seed)
skip(31)
blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 12) for _ in range(6))
places = {}
for block in range(6):
    for name, word in {
        "self_attn.out_proj.weight": 0,
        "self_attn.in_proj_weight": 72,
        "linear1.weight": 264,
        "linear1.bias": 360,
        "linear2.weight": 372,
        "linear2.bias": 468,
    }.items():
        places[f"{block}.{name}"] = drawn(seed, 31 + 476 * block + word)
    places[f"{block}.self_attn.out_proj.bias"] = "constant"
write("attention.safetensors", blocks.state_dict(), places)

# Nothing that is drawn, or not by this generator.
torch.manual_seed(1)
model = nn.Linear(60, 50)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(16, 60)).square().mean().backward()
    optimizer.step()
numpy.random.seed(3)
rng = numpy.random.default_rng(0)
bits = rng.integers(0, 2**24, 3000).astype(numpy.float32)
other = {
    "trained": model.weight,
    "numpy_legacy": torch.tensor(numpy.random.rand(3000).astype(numpy.float32)),
    "numpy_uniform": torch.tensor(rng.uniform(-0.1, 0.1, 3000).astype(numpy.float32)),
    "numpy_normal": torch.tensor(rng.normal(0, 0.02, 3200).astype(numpy.float32)),
    "grid": torch.tensor(bits * numpy.float32(2**-24)),
    "integers": torch.arange(3000),
}
write(
    "none.safetensors",
    other,
    {
        "trained": "no-draw",
        "numpy_legacy": "no-draw",
        "numpy_uniform": "no-draw",
        "numpy_normal": "no-draw",
        "grid": "other-generator",
        "integers": "not-drawn",
    },
)

# Two shards: the weight that shows the seed is not in the same as the others.
torch.manual_seed(77)
first, second = nn.Linear(50, 40), nn.Linear(20, 10)
shards = os.path.join(folder, "shards")
os.mkdir(shards)
parts = {
    "model-00001-of-00002.safetensors": {"fc1.weight": first.weight, "fc2.bias": second.bias},
    "model-00002-of-00002.safetensors": {"fc1.bias": first.bias, "fc2.weight": second.weight},
}
for name, part in parts.items():
    save_file({key: tensor.detach() for key, tensor in part.items()}, os.path.join(shards, name))
with open(os.path.join(shards, "model.safetensors.index.json"), "w") as file:
    json.dump({"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}, file)

with open(results_path, "w") as file:
    json.dump(files, file)
