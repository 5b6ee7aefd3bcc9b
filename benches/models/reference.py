"""Prints the nanoseconds that Python takes to construct a model, and to save it if a file is given:
reference.py EXPR THREADS [FILE].
"""

import importlib
import sys
import time

import torch

expression, threads, *file = sys.argv[1:]
library = expression.split(".")[0]
scope = {library: importlib.import_module(library)}
if library == "torchvision":
    importlib.import_module("torchvision.models")
else:
    # Loads what transformers imports at first use.
    getattr(scope[library], expression.split(".")[1].split("(")[0])
torch.set_num_threads(int(threads))
# Work done once per process is not part of it.
torch.nn.init.normal_(torch.zeros(1 << 20))
torch.nn.init.uniform_(torch.zeros(1 << 20))
torch.manual_seed(1)
start = time.perf_counter_ns()
model = eval(expression, scope)
if file:
    torch.save(model.state_dict(), *file)
print(time.perf_counter_ns() - start)
