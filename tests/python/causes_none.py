"""Tensors that are equal, and tensors that no hypothesis explains."""


import numpy as np
import torch
from planting import NONE, Case, Drawn, differing, same
from programs import BF16, F16, F64, ConvNet, Mlp, Projections, Tagger, one
from torch import nn


def clean():
    for name, planted, build, seed in (
            ("mlp", "two Linear layers", Mlp, 1),
            ("mlp-f64", "two Linear layers in f64", lambda: Mlp(dtype=F64), 2),
            ("mlp-bf16", "two Linear layers in bf16", lambda: Mlp(dtype=BF16), 3),
            ("mlp-f16", "two Linear layers in f16", lambda: Mlp(dtype=F16), 4),
            ("conv-net", "Conv2d, BatchNorm2d, ConvTranspose2d", ConvNet, 5),
            ("tagger", "Embedding, LSTM, Linear", Tagger, 6),
            ("projections", "four layers of one shape", Projections, 42),
            ("attention", "MultiheadAttention: out_proj drawn first", lambda: nn.MultiheadAttention(16, 4),
             0),
            ("gru", "a GRU of two layers in both directions",
             lambda: nn.GRU(5, 4, num_layers=2, bidirectional=True), 7),
            ("orthogonal", "orthogonal_, small enough for one thread", one("w", (16, 16),
             nn.init.orthogonal_), 1),
            ("trunc-normal", "trunc_normal_ of 2.13",
             one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02, -0.04, 0.04)), 1),
            ("batch-norm", "two BatchNorm layers: equal constants are not exchanged",
             lambda: nn.Sequential(nn.BatchNorm1d(12), nn.BatchNorm1d(12)), 1)):
        Case(f"clean-{name}", planted, build, seed)

    def twin(name, planted, build, yours, seed=1, near_miss_of=None):
        case = Case(f"clean-{name}", planted, build, seed, yours=yours, near_miss_of=near_miss_of)
        assert all(same(case.yours[t], case.ref(t)) for t in case.yours), name
    normal = one("w", (6, 32), lambda t: t.normal_(0, 0.02))
    twin("seed-low-bits", "seed 2^32 + 7: only the low 32 bits count", Mlp, Drawn(Mlp, 2 ** 32 + 7), 7,
         "other-seed")
    twin("rows-of-32", "rows of 32 filled one at a time: whole blocks, the same stream", normal,
         lambda: {"w": torch.stack([torch.empty(32).normal_(0, 0.02) for _ in range(6)])},
         near_miss_of="other-path")
    twin("randn-times-std", "torch.randn * std, mean 0, 192 elements: the same bits", normal,
         lambda: {"w": torch.randn(6, 32) * 0.02}, near_miss_of="randn-times-std")
    twin("two-small-normals", "5 normals, then 7: the second begins with a cached one",
         lambda: {"a": torch.empty(5).normal_(), "b": torch.empty(7).normal_()},
         lambda: {"a": torch.empty(5).normal_(), "b": torch.empty(7).normal_()})
    twin("channels-last", "a Conv2d moved to channels_last after its draws", lambda: nn.Conv2d(3, 8, 3),
         lambda: nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last), near_miss_of="permuted")

    half = Drawn(Mlp, 1)
    half.tensors = {name: tensor.half() for name, tensor in half.tensors.items()}
    twin("model-half", "drawn in f32, then model.half(), for a model made in f16: the same bits",
         lambda: Mlp(dtype=F16), half, near_miss_of="rounded")

    def two_threads(t):
        torch.set_num_threads(2)
        nn.init.orthogonal_(t)
        torch.set_num_threads(1)
    twin("orthogonal-threads", "orthogonal_ of 16 x 16 with two threads: the same bits",
         one("w", (16, 16), nn.init.orthogonal_), one("w", (16, 16), two_threads), near_miss_of="lapack")


def unexplained():
    def none(name, planted, build, change, hypotheses=(NONE,), allow=(), **more):
        case = Case(f"none-{name}", planted, build, **more)
        values = change(case.reference)
        for tensor, value in values.items():
            case.yours[tensor] = value
            assert differing(value, case.ref(tensor)) if value.shape == case.ref(tensor).shape else True
            case.expect(tensor, list(hypotheses), allow=allow)
    rng = np.random.default_rng(12)

    def numpy_like(scale, kind="normal"):
        def change(ref):
            return {k: torch.from_numpy(getattr(rng, kind)(size=tuple(v.shape))).to(v.dtype) * scale
                    for k, v in ref.tensors.items()}
        return change
    none("numpy-normal", "numpy's default_rng", Mlp, numpy_like(0.1))
    none("numpy-normal-bf16", "numpy's default_rng, in bf16", lambda: Mlp(dtype=BF16), numpy_like(0.1))
    none("numpy-laplace-f64", "Laplace's distribution", lambda: Mlp(dtype=F64), numpy_like(0.1, "laplace"))
    none("numpy-conv", "numpy's default_rng for a ConvTranspose2d", lambda: nn.ConvTranspose2d(6, 4, 3),
         numpy_like(0.1))
    none("other-distribution", "uniform where normal was meant, from the same words",
         one("w", (30, 20), lambda t: t.normal_(0, 0.02)),
         lambda _: Drawn(one("w", (30, 20), lambda t: t.uniform_(-0.03, 0.03)), 1).tensors,
         hypotheses=(), allow=(NONE,))

    def trained(steps, optimizer):
        def change(ref):
            torch.manual_seed(1)
            net = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 3))
            x, y = torch.sin(torch.arange(80.0)).view(8, 10), torch.cos(torch.arange(24.0)).view(8, 3)
            optim = optimizer(net.parameters())
            for _ in range(steps):
                optim.zero_grad()
                (net(x) - y).square().mean().backward()
                optim.step()
            names = {"0.weight": "fc1.weight", "0.bias": "fc1.bias", "2.weight": "fc2.weight",
                     "2.bias": "fc2.bias"}
            return {names[k]: v.detach().clone() for k, v in net.state_dict().items()}
        return change
    none("sgd", "20 steps of SGD", Mlp, trained(20, lambda p: torch.optim.SGD(p, 0.05)))
    none("adam", "5 steps of Adam", Mlp, trained(5, lambda p: torch.optim.Adam(p, 1e-3)))
    none("lora", "a product of rank 1 added",
         lambda: nn.Linear(24, 16, bias=False),
         lambda r: {"weight": r["weight"] + 0.05 * torch.outer(torch.sin(torch.arange(16.0)),
                                                               torch.cos(torch.arange(24.0)))})
    none("averaged", "the mean of two seeds (an ensemble)", lambda: nn.Linear(24, 16, bias=False),
         lambda r: {"weight": (r["weight"] + Drawn(lambda: nn.Linear(24, 16, bias=False), 2)["weight"])
                    / 2})
    none("normalized-rows", "rows normalized to length 1", lambda: nn.Linear(24, 16, bias=False),
         lambda r: {"weight": r["weight"] / r["weight"].norm(dim=1, keepdim=True)})
    none("other-shape", "another layer altogether: (16, 30) for (16, 24)",
         lambda: nn.Linear(24, 16, bias=False),
         lambda r: {"weight": torch.from_numpy(rng.normal(size=(16, 30))).float() * 0.1})


def plant():
    clean()
    unexplained()
