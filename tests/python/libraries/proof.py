"""A model against its plan: recorded once, materialised by the program at several seeds, compared with PyTorch."""

import importlib
import json
import os
import subprocess
import sys
import warnings

import torch
from safetensors import safe_open

from ..record.proof import record

# Threads never change a bit; the last seed is above what Python's ints of 63 bits hold.
RUNS = ((1, 1), (12345678901, 2), (2**63 + 5, 2))


def program():
    """`tch-init`, as `cargo build` makes it."""
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, capture_output=True)
    return os.path.join(json.loads(metadata.stdout)["target_directory"], "debug", "tch-init")


def constructor(expression, options):
    """What Python makes of the same words."""
    module, colon, name = expression.partition(":")
    if colon:
        target = getattr(importlib.import_module(module), name)
        if "config" in options:
            return lambda: target(target.config_class(**options["config"]))
        return lambda: target(*options.get("args", ()))
    library = expression.split(".")[0]
    scope = {"torch": torch, "nn": torch.nn}
    if library not in scope:
        importlib.import_module(".".join(expression.split(".")[:-1]))
        scope[library] = importlib.import_module(library)
    return lambda: eval(expression, scope)


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command[1]}: {done.stderr}"


def bits(tensor):
    """dtype, shape, and the elements as bytes."""
    flat = tensor.detach().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), flat.view(torch.uint8) if flat.numel() else flat


def same(ours, theirs):
    (dtype, shape, ours), (other_dtype, other_shape, theirs) = bits(ours), bits(theirs)
    return dtype == other_dtype and shape == other_shape and torch.equal(ours, theirs)


def ties(tensors):
    """Sets of names that share memory; `tensors` has names and what is equal for one memory."""
    groups = {}
    for name, memory in tensors:
        groups.setdefault(memory, []).append(name)
    return sorted(names for names in groups.values() if len(names) > 1)


def named(model):
    every = {"remove_duplicate": False}
    return [*model.named_parameters(**every)], [*model.named_buffers(**every)]


def check_names(plan, model):
    """Names, their order, which are tied, frozen, and no part of a state_dict. Those that PyTorch leaves unset."""
    parameters, buffers = named(model)
    rows = plan["parameters"] + plan["buffers"]
    assert [row[0] for row in rows] == [name for name, _ in parameters + buffers], "names"
    options = {row[0]: row[2] if row[2:] else {} for row in rows}
    assert {name for name, o in options.items() if "requires_grad" in o} == {
        name for name, tensor in parameters if not tensor.requires_grad}, "requires_grad"
    assert {name for name, o in options.items() if "persistent" not in o} == set(model.state_dict()), "state_dict"
    storages = [(row[0], plan["views"][row[1]][0]) for row in rows]
    memories = [(name, tensor.untyped_storage()._cdata) for name, tensor in parameters + buffers]
    assert ties(storages) == ties(memories), "tied tensors"
    return {name for name, o in options.items() if "unset" in o}


def prove(tch_init, folder, name, expression, options, by_program, runs=RUNS):
    """Raises AssertionError unless every bit is PyTorch's. Returns the plan's bytes."""
    path = lambda end: os.path.join(folder, f"{name}.{end}")  # noqa: E731
    arguments = []
    if "config" in options:
        with open(path("config.json"), "w") as file:
            json.dump(options["config"], file)
        arguments = ["--config", path("config.json")]
    elif "args" in options:
        arguments = ["--args", json.dumps(options["args"])]
    plan, weights, state = path("plan.json"), path("safetensors"), path("state")
    # The script that the program carries, in this process: in one of its own it takes seconds to import the library.
    assert record.main([expression, *arguments, "-o", plan]) == 0, name
    with open(plan) as file:
        text = file.read()
    if by_program:
        run(tch_init, "record", "--python", sys.executable, expression, *arguments, "-o", plan)
        with open(plan) as file:
            assert file.read() == text, f"{name}: the program's plan is another"
    construct = constructor(expression, options)
    for seed, threads in runs:
        run(tch_init, "materialize", plan, "--seed", seed, "-o", weights, "--state-out", state,
            "--threads", threads, "--non-persistent")
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = construct()
        after = bytes(torch.get_rng_state().numpy())
        with open(state, "rb") as file:
            assert file.read() == after, f"{name}, seed {seed}: the generator stands elsewhere"
        unset = check_names(json.loads(text), model)
        tensors = dict(sum(named(model), []))
        with safe_open(weights, "pt") as file:
            assert set(file.keys()) == set(tensors), f"{name}: {set(file.keys()) ^ set(tensors)}"
            wrong = [key for key, tensor in tensors.items() if key not in unset and not same(file.get_tensor(key), tensor)]
        assert not wrong, f"{name}, seed {seed}: {len(wrong)} of {len(tensors)} differ, {wrong[:5]}"
        os.remove(weights)
    return len(text)
