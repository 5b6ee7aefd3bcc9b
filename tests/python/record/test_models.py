"""Plans of models of torch.nn against PyTorch, bit for bit."""

import copy
import math
import unittest

import torch
from torch import nn
from torch.nn.utils import parametrizations

from .proof import prove, refusal, steps


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.part = nn.Parameter(self.embedding.weight.data[2:4].t(), requires_grad=False)


class Rotary(nn.Module):
    def __init__(self, dim=16, length=40):
        super().__init__()
        inverse = 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inverse", inverse, persistent=False)
        angles = torch.arange(length)[:, None] * inverse[None, :]
        table = torch.zeros(length, dim)
        table[:, 0::2] = torch.sin(angles)
        table[:, 1::2] = torch.cos(angles)
        self.register_buffer("table", table)
        self.register_buffer("ids", torch.arange(length).expand((1, -1)))
        self.register_buffer("constant", torch.tensor([0.1, math.inf, -0.0, math.nan]))
        self.register_buffer("mask", torch.tril(torch.ones(9, 9, dtype=torch.bool)))
        self.linear = nn.Linear(dim, 3)


class Writes(nn.Module):
    """Every way to write that constructors know."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.empty(6, 5))
        with torch.no_grad():
            self.a.t_().normal_(0.5, 2).t_()
            self.a[1:3].zero_()
            self.a[:, ::2].uniform_(-3, 3)
            self.a[0] += 1.5
        self.b = nn.Parameter(torch.randn(7, 3) * 0.02)
        self.b.data.mul_(2).add_(self.b.data.abs(), alpha=0.25).clamp_(-0.1, 0.1)
        self.c = nn.Parameter(torch.zeros(5))
        self.c.data[2] = 7
        self.c.data[3:] = torch.rand(2)
        self.d = nn.Parameter(torch.cat([torch.ones(2, 3), torch.randn(1, 3)]), requires_grad=False)
        self.e = nn.Parameter(torch.rand(20).log().neg().half())
        self.f = nn.Parameter(torch.randn(2, 3).repeat(2, 1, 2))
        self.g = nn.Parameter(torch.where(torch.rand(30) > 0.5, torch.ones(30), 0.25))
        self.h = nn.Parameter(torch.full((3, 4), 1e-30).t())
        self.i = nn.Parameter(torch.stack([torch.randn(4), torch.arange(4) / 3]))
        self.register_buffer("permutation", torch.randperm(50))
        torch.randn(33)  # drawn, and nobody's
        self.register_buffer("none", None)
        self.empty = nn.Parameter(torch.randn(0, 3))


class Inits(nn.Module):
    def __init__(self):
        super().__init__()
        for name, shape in {"t": (40, 50), "u": (30, 7), "o": (12, 5), "s": (9, 8), "d": (6, 3, 3), "e": (4, 7), "v": (3, 300)}.items():
            setattr(self, name, nn.Parameter(torch.empty(*shape)))
        nn.init.trunc_normal_(self.t, std=0.02)
        nn.init.trunc_normal_(self.u, mean=3.0, a=1, b=1.5)
        nn.init.orthogonal_(self.o, gain=nn.init.calculate_gain("relu"))
        nn.init.sparse_(self.s, 0.3)
        nn.init.dirac_(self.d, groups=2)
        nn.init.eye_(self.e)
        nn.init.trunc_normal_(self.v.t(), std=2)
        nn.init.kaiming_normal_(self.t[:20], nonlinearity="relu")


imported_by_name = nn.init.trunc_normal_


class Copied(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5))
        layer.register_buffer("noise", torch.randn(4))
        layer.register_buffer("view", layer.noise[1:])
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(3))
        imported_by_name(self.layers[1][0].weight, std=0.5)
        self.double()


MODELS = {
    "linear": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2, bias=False)),
    "conv": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose1d(4, 6, 2), nn.PReLU()),
    "channels_last": lambda: nn.Sequential(nn.Conv2d(3, 8, 3)).to(memory_format=torch.channels_last),
    "embedding": lambda: nn.Sequential(nn.Embedding(10, 3, padding_idx=2), nn.EmbeddingBag(5, 4)),
    "lstm": lambda: nn.LSTM(5, 7, num_layers=2, bidirectional=True),
    "gru": lambda: nn.GRU(5, 7, num_layers=2),
    "transformer": lambda: nn.Transformer(16, 4, 2, 2, 32),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(5, 4)),
    "old_weight_norm": lambda: torch.nn.utils.weight_norm(nn.Linear(5, 4)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(5, 4)),
    "bfloat16": lambda: nn.Linear(30, 40, dtype=torch.bfloat16),
    "half": lambda: nn.Linear(30, 40).half(),
    "tied": Tied,
    "rotary": Rotary,
    "writes": Writes,
    "inits": Inits,
    "copied": Copied,
}


class Models(unittest.TestCase):
    def test_bits(self):
        for name, construct in MODELS.items():
            with self.subTest(name):
                prove(construct)

    def test_same_bytes(self):
        for name, construct in MODELS.items():
            with self.subTest(name):
                self.assertEqual(prove(construct, seeds=()), prove(construct, seeds=()))

    def test_large_tensors(self):
        # Above the size from which nothing is executed.
        def construct():
            model = nn.Linear(1100, 1000)
            nn.init.zeros_(model.weight)
            with torch.no_grad():
                model.weight[3:5].normal_()
                model.weight.add_(torch.eye(1000, 1100))
            model.register_buffer("ones", torch.ones(1100, 1000).t())
            return model

        self.assertLess(len(prove(construct, seeds=(3,))), 2000)

    def test_uninitialized(self):
        def construct():
            model = nn.Linear(3, 3)
            model.cache = nn.Parameter(torch.empty(4, 4))
            model.cache.data[:, 1].fill_(2.0)
            model.register_buffer("copied", copy.deepcopy(torch.empty(3)))
            full = torch.empty(4, 4)
            full[:, 0::2] = 1
            full[:, 1::2] = 2
            model.register_buffer("full", full)
            return model

        prove(construct, unset=("cache", "copied"))

    def test_overwritten_fills_are_left_out(self):
        text = prove(lambda: nn.BatchNorm1d(3))
        self.assertEqual(len(steps(text)), 5)

    def test_dead_draws_stay(self):
        def construct():
            model = nn.Linear(3, 3)
            nn.init.zeros_(model.weight)
            return model

        self.assertEqual([row[0] for row in steps(prove(construct))], ["uniform_", "uniform_", "fill_"])


if __name__ == "__main__":
    unittest.main()
