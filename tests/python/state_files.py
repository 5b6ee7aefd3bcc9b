"""Writes the state of the CPU generator in the files in which people keep it.

    python state_files.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` lists the files and what a reader must say of those
without a single state; `results.bin` has the state.
"""

import json
import os
import random
import sys

import numpy
import torch
from safetensors.torch import save_file


def main(cases, results, data):
    with open(cases) as f:
        folder = json.load(f)["folder"]
    torch.manual_seed(7)
    torch.rand(5)
    state = torch.get_rng_state()
    other = torch.Generator().manual_seed(3).get_state()
    weight = torch.ones(2)
    path = lambda name: os.path.join(folder, name)
    with open(path("raw.bin"), "wb") as f:
        f.write(state.numpy().tobytes())
    numpy.save(path("state.npy"), state.numpy())
    numpy.savez(path("state.npz"), state.numpy())
    save_file({"s": state}, path("state.safetensors"))
    saved = {
        "state.pt": state, "trainer.pth": {"python": random.getstate(), "numpy": numpy.random.get_state(), "cpu": state, "cuda": other[:16].clone()},
        "checkpoint.pt": {"model": {"w": weight}, "rng_state": state, "epoch": 3}, "torch.pt": {"torch_rng_state": state, "w": weight},
        "nested.pt": {"train": {"state": {"cpu_rng_state": state}}, "generator_state": other}, "list.pt": [state], "any.pt": {"whatever": state},
        "shallow.pt": {"a": {"rng_state": other}, "rng_state": state}, "generator.pt": torch.Generator().set_state(state),
        "accelerate.pkl": {"step": 3, "torch_manual_seed": state, "random_state": random.getstate()},
    }
    for name, value in saved.items():
        torch.save(value, path(name))
    torch.save(state, path("legacy.pt"), _use_new_zipfile_serialization=False)
    good = ["raw.bin", "state.npy", "state.npz", "state.safetensors", "legacy.pt", *saved]
    torch.save({"w": weight}, path("none.pt"))
    torch.save({"a": state, "b": other}, path("two.pt"))
    with open(path("text.txt"), "w") as f:
        f.write("hello")
    bad = {"none.pt": "has no state of a CPU generator", "two.pt": "several states of generators (a, b)", "text.txt": "not the state of a CPU generator"}
    with open(results, "w") as f:
        json.dump({"good": good, "bad": bad}, f)
    with open(data, "wb") as f:
        f.write(state.numpy().tobytes())


main(*sys.argv[1:])
