"""Writes the state_dict of a model: weights.py EXPR SEED SKIPPED PATH, where SKIPPED words are drawn first."""

import importlib
import sys

import torch
from safetensors.torch import save_file

expression, seed, skipped, path = sys.argv[1:]
library = expression.split(".")[0]
torch.manual_seed(int(seed))
torch.empty(int(skipped)).uniform_()
model = eval(expression, {library: importlib.import_module(library)})
save_file({name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}, path)
