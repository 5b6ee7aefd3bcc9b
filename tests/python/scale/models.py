"""The models of these tests, their plans, and how a folder is made and compared."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import torch
from torch import nn

from ..libraries.proof import program, same
from ..record.proof import record

SEED = 7


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width + 1)
        self.down = nn.Linear(3 * width + 1, width, bias=False)


class Odd(nn.Module):
    """Tied weights, rows that no number of files divides, fewer rows than files, a scalar, an empty tensor, other dtypes."""

    def __init__(self, width=10):
        super().__init__()
        self.embedding = nn.Embedding(13, width, padding_idx=2)
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.experts = nn.Parameter(torch.empty(3, 8, 5))
        nn.init.trunc_normal_(self.experts, std=0.02)
        self.bias = nn.Parameter(torch.empty(2).uniform_())
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.nothing = nn.Parameter(torch.zeros(0, 5))
        self.head = nn.Linear(width, 13, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("table", torch.arange(40))
        self.register_buffer("mask", torch.ones(5, 5, dtype=torch.bool).tril())
        self.register_buffer("angles", torch.rand(6, dtype=torch.float64))
        self.register_buffer("unsaved", torch.rand(4), persistent=False)


TIED = "head.weight"


def plan(construct, path):
    """Records the plan of a model."""
    path.write_text(record.plan_of(construct, "model"), encoding="utf-8")
    return path


class Planned(unittest.TestCase):
    """Tests with a folder and the plan of a model."""

    MODEL = Odd

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.plan = plan(cls.MODEL, cls.folder / "plan.json")


def constructed(construct, dtype=None, seed=SEED):
    """The state_dict of the constructor in this process."""
    torch.manual_seed(seed)
    model = construct()
    return (model.to(getattr(torch, dtype)) if dtype else model).state_dict()


def materialize(plan, folder, *options, seed=SEED):
    command = [program(), "materialize", plan, "--seed", seed, "-o", f"{folder}/", *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def different(found, expected):
    """The names whose bits differ, or are missing on one side."""
    return sorted(found.keys() ^ expected.keys()) + sorted(
        name for name in found.keys() & expected.keys() if not same(found[name], expected[name]))
