"""Models and wrong programs that several cases share."""

import math

import torch
from torch import nn

F64, BF16, F16 = torch.float64, torch.bfloat16, torch.float16
SQRT6 = 2.449489742783178


class Mlp(nn.Module):
    def __init__(self, sizes=(10, 20, 3), bias=True, dtype=None):
        super().__init__()
        for i, (a, b) in enumerate(zip(sizes, sizes[1:]), 1):
            setattr(self, f"fc{i}", nn.Linear(a, b, bias=bias, dtype=dtype))


def undrawn(sizes=(10, 20, 3)):
    """An Mlp whose constructor draws nothing."""
    with torch.device("meta"):
        return Mlp(sizes).to_empty(device="cpu")


class Projections(nn.Module):
    """One attention block's projections, all of one shape."""

    def __init__(self, dtype=None):
        super().__init__()
        self.q_proj = nn.Linear(16, 16, dtype=dtype)
        self.k_proj = nn.Linear(16, 16, dtype=dtype)
        self.v_proj = nn.Linear(16, 16, dtype=dtype)
        self.out_proj = nn.Linear(16, 16, dtype=dtype)


class ConvNet(nn.Module):
    def __init__(self, dtype=None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, dtype=dtype)
        self.bn1 = nn.BatchNorm2d(8, dtype=dtype)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, bias=False, dtype=dtype)
        self.bn2 = nn.BatchNorm2d(12, dtype=dtype)
        self.up = nn.ConvTranspose2d(12, 4, 2, stride=2, dtype=dtype)


class Tagger(nn.Module):
    def __init__(self, dtype=None, padding_idx=0):
        super().__init__()
        self.embedding = nn.Embedding(11, 7, padding_idx=padding_idx, dtype=dtype)
        self.lstm = nn.LSTM(7, 6, dtype=dtype)
        self.out = nn.Linear(6, 5, dtype=dtype)


def one(name, shape, init, dtype=None, before=None):
    """A program that makes one tensor and fills it by `init`, perhaps after other draws."""
    def build():
        if before:
            before()
        tensor = torch.empty(shape, dtype=dtype)
        # by name, at the time of the call: the recorder stands in for some
        fill = init if init.__module__ != "torch.nn.init" else getattr(nn.init, init.__name__)
        fill(tensor)
        return {name: tensor}
    return build


def after(draw, build):
    def program():
        draw()
        return build()
    return program


def tch_linear(into, name, linear):
    """tch's default for a Linear: the bias first, and a weight with ReLU's gain."""
    bound = 1 / math.sqrt(linear.in_features)
    if linear.bias is not None:
        into[f"{name}bias"] = torch.empty(linear.out_features).uniform_(-bound, bound)
    into[f"{name}weight"] = torch.empty(linear.weight.shape).uniform_(-SQRT6 * bound, SQRT6 * bound)


def bias_first(into, name, shape, bound):
    into[f"{name}bias"] = torch.empty(shape[0]).uniform_(-bound, bound)
    into[f"{name}weight"] = torch.empty(shape).uniform_(-bound, bound)


def old_trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """The algorithm of PyTorch before 2.12: the inverse of the distribution function."""
    def cdf(x):
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0
    low, high = cdf((a - mean) / std), cdf((b - mean) / std)
    tensor.uniform_(2 * low - 1, 2 * high - 1).erfinv_()
    return tensor.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)


# Run by `plant.py --build` in another process, where other environment variables apply.
ELSEWHERE = {
    "mlp": Mlp,
    "conv": lambda: nn.Conv2d(4, 8, 3),
    "mlp-f64": lambda: Mlp(dtype=F64),
    "embedding": lambda: nn.Embedding(20, 12),
    "normal-mean": one("w", (9, 21), lambda t: t.normal_(0.3, 0.7)),
    "orthogonal-16": one("w", (16, 16), lambda t: nn.init.orthogonal_(t)),
}
