"""Models of torch.nn and of the usual ways to initialize, as every PyTorch from 2.0 can construct them."""

import copy
import math

import torch
from torch import nn

init = nn.init


def applied(model, visit):
    return model.apply(visit)


class Block(nn.Module):
    """A block of a vision transformer."""

    def __init__(self, dim=24, heads=3, **options):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, **options)
        self.attention = nn.MultiheadAttention(dim, heads, **options)
        self.norm2 = nn.LayerNorm(dim, **options)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim, **options), nn.GELU(), nn.Linear(4 * dim, dim, **options))
        self.gamma = nn.Parameter(1e-5 * torch.ones(dim, **options))


class Vision(nn.Module):
    def __init__(self, std=0.02, **options):
        super().__init__()
        self.patch = nn.Conv2d(3, 24, 4, 4, **options)
        self.token = nn.Parameter(torch.zeros(1, 1, 24, **options))
        self.position = nn.Parameter(torch.randn(1, 17, 24, **options) * 0.02)
        rates = [x.item() for x in torch.linspace(0, 0.1, 3)]
        self.blocks = nn.ModuleList(Block(**options) for _ in rates)
        self.head = nn.Linear(24, 10, **options)
        init.trunc_normal_(self.position, std=std)
        init.trunc_normal_(self.token, std=std)
        self.apply(self.visit)

    def visit(self, module):
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)


class Residual(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Conv2d(channels, channels, 3, bias=False), nn.BatchNorm2d(channels)) for _ in range(4)))
        self.fc = nn.Linear(channels, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                init.constant_(m.weight, 1)
                init.constant_(m.bias, 0)


class Language(nn.Module):
    """A decoder with tied embeddings, scaled residual projections and a mask."""

    def __init__(self, **options):
        super().__init__()
        self.embedding = nn.Embedding(101, 32, padding_idx=0, **options)
        self.position = nn.Embedding(16, 32, **options)
        self.layers = nn.ModuleList(nn.ModuleDict({"qkv": nn.Linear(32, 96, **options), "proj": nn.Linear(32, 32, **options)}) for _ in range(2))
        self.head = nn.Linear(32, 101, bias=False, **options)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.tril(torch.ones(16, 16)).view(1, 1, 16, 16))
        for name, p in self.named_parameters():
            if p.dim() > 1:
                init.normal_(p, 0.0, 0.02 / math.sqrt(4) if name.endswith("proj.weight") else 0.02)


class Rotary(nn.Module):
    def __init__(self):
        super().__init__()
        inverse = 1.0 / (10000 ** (torch.arange(0, 16, 2).float() / 16))
        self.register_buffer("inverse", inverse, persistent=False)
        self.register_buffer("ids", torch.arange(40).expand((1, -1)))
        self.linear = nn.Linear(16, 3)


class Writes(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.empty(6, 5))
        with torch.no_grad():
            self.a.t_().normal_(0.5, 2).t_()
            self.a[:, ::2].uniform_(-3, 3)
            self.a[0] += 1.5
        self.b = nn.Parameter(torch.randn(7, 3) * 0.02)
        self.b.data.mul_(2).add_(self.b.data.abs(), alpha=0.25).clamp_(-0.1, 0.1)
        self.c = nn.Parameter(torch.cat([torch.ones(2, 3), torch.randn(1, 3)]), requires_grad=False)
        self.d = nn.Parameter(torch.rand(20).neg())
        self.register_buffer("permutation", torch.randperm(50))
        torch.randn(33)  # drawn, and nobody's


class Inits(nn.Module):
    """Every function of torch.nn.init."""

    def __init__(self, **options):
        super().__init__()
        make = lambda *shape: nn.Parameter(torch.empty(*shape, **options))  # noqa: E731
        for name in ("uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_", "zeros_", "ones_", "orthogonal_", "eye_"):
            setattr(self, name, make(12, 17))
            getattr(init, name)(getattr(self, name))
        self.constant = make(5)
        init.constant_(self.constant, 0.3)
        self.dirac = make(6, 3, 3)
        init.dirac_(self.dirac, groups=2)
        self.sparse = make(9, 8)
        init.sparse_(self.sparse, 0.3)
        self.tail = make(40, 5)
        init.trunc_normal_(self.tail, mean=3.0, a=1, b=1.5)


class Truncated(nn.Module):
    def __init__(self, **options):
        super().__init__()
        for i, arguments in enumerate(({}, {"std": 0.02}, {"mean": 1.0, "std": 2.0, "a": -1.0, "b": 0.5}, {"a": 0.0, "b": 0.1}, {"mean": 9.0})):
            p = nn.Parameter(torch.empty(30, 11, **options))
            init.trunc_normal_(p, **arguments)
            self.register_parameter(f"p{i}", p)
            q = torch.empty(8, 5, **options)
            init.trunc_normal_(q.t(), **arguments)
            self.register_buffer(f"q{i}", q)


class Generators(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        generator = torch.Generator().manual_seed(77)
        self.a = nn.Parameter(torch.rand(5, 4, generator=generator))
        self.b = nn.Parameter(torch.randn(40))
        self.a.data[1:].normal_(generator=generator)


def gan(module):
    if "Conv" in type(module).__name__:
        init.normal_(module.weight.data, 0.0, 0.02)
    elif "BatchNorm" in type(module).__name__:
        init.normal_(module.weight.data, 1.0, 0.02)
        init.constant_(module.bias.data, 0)


def copied():
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def recurrent():
    model = nn.LSTM(7, 9, 2, bidirectional=True)
    for name, p in model.named_parameters():
        if "weight_hh" in name:
            init.orthogonal_(p)
        elif "weight_ih" in name:
            init.xavier_uniform_(p)
        else:
            init.zeros_(p)
            p.data[9:18].fill_(1.0)
    return model


def lazy():
    model = nn.Sequential(nn.LazyConv2d(5, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4))
    with torch.no_grad():
        model(torch.zeros(2, 3, 8, 8))
    return model


def dropped():
    model = nn.Linear(9, 9)
    model.register_buffer("kept", nn.functional.dropout(torch.ones(50), 0.3))
    return model


def drawn(name, *arguments):
    def construct():
        model = nn.Linear(3, 3)
        getattr(model.weight.data, name)(*arguments)
        return model

    return construct


parametrizations = nn.utils.parametrizations
BF16, F16, F64 = {"dtype": torch.bfloat16}, {"dtype": torch.float16}, {"dtype": torch.float64}

MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
    "conv": lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv3d(4, 6, 2), nn.ConvTranspose2d(4, 6, 2), nn.PReLU()),
    "norms": lambda: nn.Sequential(nn.BatchNorm2d(8), nn.LayerNorm((4, 5)), nn.GroupNorm(2, 8), nn.InstanceNorm1d(4, affine=True)),
    "embedding": lambda: nn.Sequential(nn.Embedding(10, 3, padding_idx=2), nn.EmbeddingBag(5, 4), nn.Bilinear(3, 4, 5)),
    "lstm": lambda: nn.LSTM(5, 7, num_layers=2, bidirectional=True),
    "lstm projected": lambda: nn.LSTM(5, 7, proj_size=3),
    "gru": lambda: nn.GRU(5, 7, num_layers=2),
    "rnn cells": lambda: nn.Sequential(nn.RNNCell(4, 5), nn.LSTMCell(4, 5), nn.GRUCell(4, 5)),
    "attention": lambda: nn.MultiheadAttention(16, 4, kdim=8, vdim=6, add_bias_kv=True),
    "transformer": lambda: nn.Transformer(16, 4, 2, 2, 32, batch_first=True),
    "encoder": copied,
    "vision transformer": Vision,
    "residual network": Residual,
    "language model": Language,
    "rotary": Rotary,
    "writes": Writes,
    "inits": Inits,
    "truncated": Truncated,
    "generators": Generators,
    "gan": lambda: applied(nn.Sequential(nn.ConvTranspose2d(10, 8, 4), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 4)), gan),
    "recurrent recipe": recurrent,
    "lazy": lazy,
    "adaptive softmax": lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 30, [5, 12]),
    "channels last": lambda: Residual().to(memory_format=torch.channels_last),
    "deep copies": lambda: nn.ModuleList(copy.deepcopy(nn.Linear(4, 4)) for _ in range(3)),
    "double": lambda: Vision(**F64),
    "to double": lambda: Language().double(),
    "cast to half": lambda: Residual().half(),
    "cast to bfloat16": lambda: Language().bfloat16(),
    "large": lambda: nn.Sequential(nn.Linear(1100, 1000), nn.Embedding(2000, 300)),
    "mlp bfloat16": lambda: nn.Sequential(nn.Linear(78, 128, **BF16), nn.ReLU(), nn.Linear(128, 10, **BF16)),
    "mlp float16": lambda: nn.Sequential(nn.Linear(78, 128, **F16), nn.ReLU(), nn.Linear(128, 10, **F16)),
    "language bfloat16": lambda: Language(**BF16),
    "language float16": lambda: Language(**F16),
    "truncated bfloat16": lambda: Truncated(**BF16),
    "truncated float16": lambda: Truncated(**F16),
    "truncated double": lambda: Truncated(**F64),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "orthogonal double": lambda: applied(nn.Linear(12, 7, **F64), lambda m: init.orthogonal_(m.weight)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(50, 40)),
    "weight norm": lambda: nn.utils.weight_norm(nn.Linear(50, 40)),
    "dropout": dropped,
    "exponential": drawn("exponential_"),
    "bernoulli": drawn("bernoulli_", 0.3),
    "cauchy": drawn("cauchy_"),
    "wide integers": drawn("random_", 0, 1 << 40),
    "integers": drawn("random_", 0, 1000),
}
