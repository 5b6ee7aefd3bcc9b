"""Proof of a plan: recorded once, replayed at other seeds, and compared with PyTorch bit for bit."""

import json
import os
import sys

import torch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "python"))

import record  # noqa: E402

from .replay import Plan  # noqa: E402

SEEDS = (1, 2**32 + 77)


def bits(tensor):
    """The elements as bytes, in logical order."""
    tensor = tensor.detach().contiguous()
    return tensor.dtype, tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def prove(construct, label="model", seeds=SEEDS, unset=()):
    """Fails unless the plan gives PyTorch's parameters, buffers and generator at each seed. Returns the plan's text."""
    torch.manual_seed(4711)
    text, data = record.plan_and_data(construct, label)
    plan = Plan(text, b"".join(data))
    rows = plan.plan["parameters"] + plan.plan["buffers"]
    found = {row[0] for row in rows if row[2:] and row[2].get("unset")}
    assert found == set(unset), f"uninitialized: {sorted(found)}"
    for seed in seeds:
        torch.manual_seed(seed)
        model = construct()
        state = torch.get_rng_state()
        named = lambda method: list(method(remove_duplicate=False))  # noqa: E731
        expected = named(model.named_parameters) + named(model.named_buffers)
        replayed = plan.replay(seed)
        assert bits(torch.get_rng_state()) == bits(state), f"seed {seed}: the generator state differs"
        assert [name for name, _ in expected] == list(replayed), "names"
        for name, tensor in expected:
            if name not in found:
                assert bits(tensor) == bits(replayed[name]), f"seed {seed}: {name} differs"
        frozen = {row[0] for row in plan.plan["parameters"] if row[2:] and row[2].get("requires_grad") is False}
        assert frozen == {n for n, p in named(model.named_parameters) if not p.requires_grad}, "requires_grad"
        persistent = {row[0] for row in rows if not (row[2:] and row[2].get("persistent") is False)}
        assert persistent == set(model.state_dict()), "state_dict"
        shared = lambda tensors: sorted(  # noqa: E731
            (a, b) for a, x in tensors for b, y in tensors
            if a < b and x.numel() and x.untyped_storage()._cdata == y.untyped_storage()._cdata
        ) if len(tensors) < 400 else None
        assert shared(expected) == shared(list(replayed.items())), "tied tensors"
    return text


def refusal(construct):
    """The one line with which recording is refused."""
    try:
        record.plan_of(construct, "model")
    except record.Refused as error:
        assert "\n" not in str(error)
        return str(error)
    raise AssertionError("recorded, though it must be refused")


def steps(text):
    return json.loads(text)["steps"]
