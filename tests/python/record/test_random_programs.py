"""Constructors made of random ops on views of a few tensors, against PyTorch bit for bit."""

import random
import unittest

import torch
from torch import nn

from .proof import prove

MAKE = [
    lambda r: torch.randn(4, 6),
    lambda r: torch.rand(4, 6, dtype=r.choice([torch.float32, torch.float64, torch.bfloat16])),
    lambda r: torch.zeros(4, 6),
    lambda r: torch.full((4, 6), r.uniform(-2, 2)),
    lambda r: torch.ones(4, 6, dtype=torch.float64),
    lambda r: torch.arange(24).view(4, 6) / r.choice([3, 7.0]),
    lambda r: torch.eye(4, 6),
    lambda r: torch.linspace(-1, 1, 24).view(4, 6),
    lambda r: torch.tensor([[0.5, -1.0, 2.0, 0.1, 0.2, 0.3]]).repeat(4, 1),
    lambda r: torch.randperm(24).view(4, 6).float(),
]

CHANGE = [
    lambda r, x, y: x.normal_(r.uniform(-1, 1), r.uniform(0, 2)),
    lambda r, x, y: x.uniform_(-1, r.uniform(0, 2)),
    lambda r, x, y: nn.init.trunc_normal_(x, std=r.choice([0.02, 1.0])),
    lambda r, x, y: nn.init.orthogonal_(x) if x.dtype in (torch.float32, torch.float64) else x,
    lambda r, x, y: nn.init.sparse_(x, 0.4),
    lambda r, x, y: x.zero_(),
    lambda r, x, y: x.fill_(r.choice([1, 0.1, -0.0])),
    lambda r, x, y: x.copy_(y),
    lambda r, x, y: x.add_(y, alpha=r.choice([1, 0.3])),
    lambda r, x, y: x.mul_(r.choice([2, 0.7])),
    lambda r, x, y: x.div_(3),
    lambda r, x, y: x.clamp_(min=-0.5, max=r.choice([None, 0.5])),
    lambda r, x, y: x.masked_fill_(y > 0, 0.25),
    lambda r, x, y: x.copy_(y.clone().neg().exp()),
    lambda r, x, y: x.copy_(torch.where(y > x, x, y)),
    lambda r, x, y: x.sub_(y.sum(0, keepdim=True)),
    lambda r, x, y: x.copy_(1 - y),
    lambda r, x, y: x.copy_(y.abs() / y.norm(dim=1, keepdim=True).clamp_min(1e-6)),
    lambda r, x, y: torch.randn(5),
]

# Of one shape, whatever the part.
PART = [
    lambda x: x,
    lambda x: x[1:3, 0:2],
    lambda x: x[0:2, 3:5],
    lambda x: x[::3, ::4],
    lambda x: x[0:2, 1:3].t(),
    lambda x: x[2:4, ::3],
]


class Model(nn.Module):
    def __init__(self, seed):
        super().__init__()
        r = random.Random(seed)
        pool = [r.choice(MAKE)(r) for _ in range(4)]
        for _ in range(r.randrange(3, 25)):
            a, b = r.sample(range(4), 2)
            part = r.choice(PART)
            other = part if part is PART[0] else r.choice(PART[1:])
            r.choice(CHANGE)(r, part(pool[a]), other(pool[b]))
            if r.random() < 0.1:
                pool[a] = r.choice(MAKE)(r)
        for i in r.sample(range(4), 2):
            self.register_buffer(f"b{i}", r.choice([pool[i], pool[i][1:3], pool[i].t()]))


class RandomPrograms(unittest.TestCase):
    def test_bits(self):
        for seed in range(400):
            with self.subTest(seed):
                prove(lambda: Model(seed), seeds=(seed,))


if __name__ == "__main__":
    unittest.main()
