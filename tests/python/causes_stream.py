"""Causes that only the stream shows: position, seed, path, kernel, algorithm."""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from planting import NONE, Case, Drawn, differing, noise, same, ulps
from programs import (BF16, ELSEWHERE, F16, F64, ConvNet, Mlp, Tagger, after, bias_first,
                      old_trunc_normal_, one, undrawn)
from safetensors.torch import load_file
from torch import nn

PLANT = Path(__file__).parent / "plant.py"


def elsewhere(key, seed, **environment):
    """The tensors of a program of ELSEWHERE, run in a process with another environment."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "made.safetensors"
        subprocess.run([sys.executable, str(PLANT), "--build", key, str(seed), str(file)], check=True,
                       env={**os.environ, **environment})
        return load_file(str(file))


def offsets():
    def all_moved(case):
        """Expects another position, and no other cause, for each tensor that differs."""
        for tensor in case.reference.tensors:
            if not same(case.yours[tensor], case.ref(tensor)):
                case.moved(tensor)
        return case

    def bias_first_mlp(sizes):
        def build():
            out = {}
            for i, (a, b) in enumerate(zip(sizes, sizes[1:]), 1):
                bias_first(out, f"fc{i}.", (b, a), 1 / math.sqrt(a))
            return out
        return build

    def bias_first_linear():
        out = {}
        bias_first(out, "", (16, 24), 1 / math.sqrt(24))
        return out
    all_moved(Case("offset-bias-first", "the bias drawn before the weight", lambda: nn.Linear(24, 16),
                   yours=bias_first_linear))
    case = all_moved(Case("offset-bias-first-mlp", "the bias drawn before the weight, in two layers", Mlp,
                          seed=7, yours=bias_first_mlp((10, 20, 3))))
    assert case.drawn.total == case.reference.total

    def late_first():
        net = undrawn()
        net.fc2.reset_parameters()
        net.fc1.reset_parameters()
        return net
    all_moved(Case("offset-construction-order", "fc2 constructed before fc1", Mlp, yours=late_first))

    def biases_last():
        net = undrawn()
        for layer in (net.fc1, net.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5))
        for layer, fan in ((net.fc1, 10), (net.fc2, 20)):
            nn.init.uniform_(layer.bias, -1 / math.sqrt(fan), 1 / math.sqrt(fan))
        return net
    all_moved(Case("offset-biases-last", "all weights first, then all biases", Mlp, yours=biases_last))

    def extra(name, planted, draw, build=Mlp, **more):
        return all_moved(Case(f"offset-after-{name}", f"{planted} before the model was made", build,
                              yours=after(draw, build), **more))
    extra("dropout", "dropout on 100 elements",
          lambda: nn.functional.dropout(torch.ones(100), 0.5, training=True))
    extra("randn", "torch.randn(1, 10), ten normals by the serial path,", lambda: torch.randn(1, 10))
    extra("randn-64", "torch.randn(64)", lambda: torch.randn(64), ConvNet)
    extra("randperm", "torch.randperm(50)", lambda: torch.randperm(50))
    extra("data-loader", "a DataLoader's base seed",
          lambda: torch.empty((), dtype=torch.int64).random_(), Tagger)
    extra("another-model", "another model (a discriminator)", lambda: nn.Linear(31, 7))
    extra("one-word", "one number", lambda: torch.rand(1), lambda: Mlp(dtype=F64))
    extra("rand-f16", "torch.rand(33)", lambda: torch.rand(33), lambda: nn.Conv2d(3, 8, 3, dtype=F16))
    extra("normal-bf16", "torch.rand(5)", lambda: torch.rand(5), lambda: nn.Embedding(13, 9, dtype=BF16))
    extra("far", "10,000 numbers", lambda: torch.rand(10_000), lambda: nn.LSTM(7, 6))
    extra("very-far", "1,000,003 numbers", lambda: torch.rand(1_000_003), stretch=True)

    def xavier(net):
        for layer in (net.fc1, net.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        return net

    def no_default_draws():
        net = undrawn()
        return xavier(net)
    case = Case("offset-defaults-not-drawn", "xavier_uniform_ without the constructor's draws before it",
                lambda: xavier(Mlp()), yours=Drawn(no_default_draws, 1), layers=False)
    case.drawn = Drawn(lambda: {"fc1.weight": nn.init.xavier_uniform_(torch.empty(20, 10)),
                                "fc2.weight": nn.init.xavier_uniform_(torch.empty(3, 20))}, 1)
    assert all(same(case.drawn[t], case.yours[t]) for t in case.drawn.tensors)
    all_moved(case)

    case = Case("offset-attention-in-order", "in_proj drawn before out_proj",
                lambda: nn.MultiheadAttention(16, 4),
                yours=lambda: {"in_proj_weight": nn.init.xavier_uniform_(torch.empty(48, 16)),
                               "in_proj_bias": torch.zeros(48),
                               "out_proj.weight": torch.empty(16, 16).uniform_(-0.25, 0.25),
                               "out_proj.bias": torch.zeros(16)})
    all_moved(case)

    def two(dtype=None):
        return lambda: nn.ModuleList([nn.Embedding(9, 5, dtype=dtype), nn.Embedding(7, 6, dtype=dtype)])

    def remainder_drawn():
        first, _ = torch.empty(45, dtype=BF16), torch.empty(0)
        first.normal_()
        torch.rand(45 % 16)
        return {"0.weight": first.view(9, 5), "1.weight": torch.empty(7, 6, dtype=BF16).normal_()}
    all_moved(Case("offset-bf16-remainder", "45 bf16 normals taken to use 45 % 16 words more, as f32 does",
                   two(BF16), yours=remainder_drawn))

    def near(name, planted, build, change, tensor="weight", hypotheses=(NONE,), allow=()):
        case = Case(name, planted, build, near_miss_of="other-offset")
        case.yours[tensor] = change(case.ref(tensor))
        case.expect(tensor, list(hypotheses), allow=allow)
    moved = Drawn(after(lambda: torch.rand(16), lambda: nn.Linear(24, 16, bias=False)), 1)["weight"]
    near("near-offset-noise", "drawn 16 words later, and noise of 1e-4",
         lambda: nn.Linear(24, 16, bias=False), lambda w: moved * (1 + 1e-4 * noise(w.shape)))
    near("near-offset-alternating", "even rows from 16 words later, odd rows from a third place",
         lambda: nn.Linear(24, 16, bias=False),
         lambda w: torch.stack([moved[i] if i % 2 == 0 else 0.2 * torch.sin(torch.arange(24.) + i)
                                for i in range(16)]), hypotheses=(), allow=("modified", NONE))
    near("near-offset-two-elements", "two numbers that are not a draw", lambda: nn.Linear(24, 2),
         lambda b: torch.tensor([0.123456, -0.0654321]), "bias")
    near("near-offset-one-element", "one number that is not a draw: a long enough search finds any",
         lambda: nn.Linear(24, 1), lambda b: torch.tensor([0.101]), "bias", hypotheses=(),
         allow=(NONE, "modified"))


def seeds():
    def other(seed, yours, build=Mlp, planted=None, **more):
        case = Case(f"seed-{yours}-for-{seed}", planted or f"seed {yours} where {seed} was meant", build,
                    seed=seed, yours=Drawn(build, yours), **more)
        for tensor in case.reference.tensors:
            if not same(case.yours[tensor], case.ref(tensor)):
                case.by_seed(tensor, ["other-seed"], {"hypothesis": "other-seed", "seed": yours})
        return case
    other(1, 0)
    other(0, 1, ConvNet)
    other(1, 42, Tagger)
    other(42, 1234, lambda: Mlp(dtype=F64))
    other(42, 3407, lambda: Mlp(dtype=BF16))
    other(1234, 1237, planted="manual_seed(seed + rank), rank 3")
    other(7, 2024, lambda: nn.Conv1d(4, 6, 5, dtype=F16))
    other(5, 6, one("w", (30, 20), lambda t: t.normal_(0, 0.02)))
    other(1, 2, one("w", (16, 16), nn.init.orthogonal_))
    other(1, 3, one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02, -0.04, 0.04)))

    case = Case("seed-and-offset", "seed 42 for 1, and torch.randn(64) before", Mlp, stretch=True,
                yours=Drawn(after(lambda: torch.randn(64), Mlp), 42))
    for tensor in case.reference.tensors:
        case.moved(tensor, {"hypothesis": "other-seed", "seed": 42},
                   hypotheses=("other-seed", "other-offset"))

    def near(name, planted, build, values, hypotheses=(NONE,), allow=()):
        case = Case(name, planted, build, near_miss_of="other-seed")
        for tensor, value in values.items():
            case.yours[tensor] = value
            case.expect(tensor, list(hypotheses), allow=allow)
    near("near-seed-noise", "seed 42, and noise of 1e-4", Mlp,
         {k: v + 1e-4 * noise(v.shape) for k, v in Drawn(Mlp, 42).tensors.items()})
    near("near-seed-unguessable", "a seed that no one would guess, 0x9E3779B97F4A7C15", Mlp,
         Drawn(Mlp, 0x9E3779B97F4A7C15).tensors, hypotheses=(), allow=("other-seed", NONE))
    numpy = np.random.RandomState(1)
    near("near-seed-numpy-uniform", "numpy's uniform with the same seed: the same twister, other bits",
         lambda: nn.Linear(24, 16, bias=False),
         {"weight": torch.from_numpy(numpy.uniform(-1, 1, (16, 24)) / math.sqrt(24)).float()})


def paths():
    def path(name, planted, reference, yours, detail, **more):
        case = Case(f"path-{name}", planted, reference, yours=yours, **more)
        at = case.drawn and case.drawn.draws[0]["offset"]
        assert at in (0, None)
        assert differing(case.yours["w"], case.ref("w"))
        if detail["yours"] == "serial":
            serially = one_by_one(case.ref("w").shape, 0.02, case.ref("w").dtype)
            assert same(case.yours["w"], Drawn(serially, 1)["w"]), name
        return case.by_seed("w", ["other-path"], {"hypothesis": "other-path", **detail})
    block, serial = ({"yours": "block", "reference": "serial"}, {"yours": "serial", "reference": "block"})

    def cut(count, shape, std=0.02, dtype=None):
        return lambda: {"w": torch.empty(count, dtype=dtype).normal_(0, std)[:math.prod(shape)]
                        .view(shape).clone()}
    small = lambda shape, dtype=None: one("w", shape, lambda t: t.normal_(0, 0.02), dtype)  # noqa: E731
    path("block-8", "8 normals by the block path (the first of a block of 16)", small((2, 4)),
         cut(16, (2, 4)), block)
    path("block-15", "15 normals by the block path", small((3, 5)), cut(16, (3, 5)), block)
    path("block-15-f64", "15 normals by the block path in f64", small((3, 5), F64),
         cut(16, (3, 5), dtype=F64), block)
    path("block-12-bf16", "12 normals by the block path in bf16", small((12,), BF16),
         cut(16, (12,), dtype=BF16), block)
    path("block-12-f16", "12 normals by the block path in f16", small((12,), F16),
         cut(16, (12,), dtype=F16), block)

    def one_by_one(shape, std, dtype=None):
        def build():
            w = torch.empty(shape, dtype=dtype)
            for i in range(w.numel()):
                w.view(-1)[i:i + 1].normal_(0, std)
            return {"w": w}
        return build
    path("rows-of-8", "rows of 8 filled one at a time: each is small",
         small((6, 8)), lambda: {"w": torch.stack([torch.empty(8).normal_(0, 0.02) for _ in range(6)])},
         serial)
    path("one-by-one", "elements filled one at a time", small((5, 7)), one_by_one((5, 7), 0.02), serial)
    path("one-by-one-f64", "elements filled one at a time in f64", small((5, 8), F64),
         one_by_one((5, 8), 0.02, F64), serial)

    def strided():
        wide = torch.empty(6, 16)
        wide[:, ::2].normal_(0, 0.02)
        return {"w": wide[:, ::2].contiguous()}
    path("strided", "a view with strides filled, not a contiguous tensor", small((6, 8)), strided, serial)
    case = Case("path-transposed-fill", "a transposed view filled: the serial path, in memory order",
                small((8, 6)), yours=lambda: {"w": torch.empty(6, 8).t().normal_(0, 0.02).contiguous()})
    serially = Drawn(one_by_one((6, 8), 0.02), 1)["w"]
    assert same(case.yours["w"], serially.t().contiguous())
    case.by_seed("w", ["other-path", "permuted"], {"hypothesis": "other-path", **serial},
                 {"hypothesis": "permuted", "permutation": [1, 0], "drawn_as": [6, 8],
                  "yours_shape": [8, 6]})

    case = Case("near-path-noise", "8 normals by the block path, and noise of 1e-3 std", small((2, 4)),
                near_miss_of="other-path")
    case.yours["w"] = Drawn(cut(16, (2, 4)), 1)["w"] + 2e-5 * noise((2, 4))
    case.expect("w", [NONE])
    case = Case("near-path-numpy", "numpy's normals (the polar method) with the same seed", small((6, 8)),
                near_miss_of="other-path")
    case.yours["w"] = torch.from_numpy(np.random.RandomState(1).normal(0, 0.02, (6, 8))).float()
    case.expect("w", [NONE])


def randn():
    def times(name, planted, shape, mean, std, dtype=None):
        case = Case(f"randn-{name}", planted, one("w", shape, lambda t: t.normal_(mean, std), dtype),
                    yours=lambda: {"w": torch.randn(shape, dtype=dtype) * std + (mean or 0)
                                   if mean else torch.randn(shape, dtype=dtype) * std})
        assert case.reference.total == case.drawn.total
        assert differing(case.yours["w"], case.ref("w")), name
        case.by_seed("w", ["randn-times-std"], {"hypothesis": "randn-times-std", "mean": mean, "std": std})
    times("small", "torch.randn(8) * std", (8,), 0.0, 0.57735)
    times("small-matrix", "torch.randn(3, 5) * std", (3, 5), 0.0, 0.02)
    times("mean", "torch.randn(40) * std + mean", (40,), 0.5, 0.57735)
    times("mean-matrix", "torch.randn(30, 20) * std + mean", (30, 20), 1.0, 0.3)
    times("bf16", "torch.randn(20, 10) * std in bf16: rounded twice", (20, 10), 0.0, 0.02, BF16)
    times("f16", "torch.randn(20, 10) * std in f16: rounded twice", (20, 10), 0.0, 0.02, F16)
    times("mean-f64", "torch.randn(40) * std + mean in f64", (40,), 0.5, 0.57735, F64)

    case = Case("near-randn-last-place", "normal_, with random changes of the last place",
                one("w", (8,), lambda t: t.normal_(0, 0.57735)), near_miss_of="randn-times-std")
    step = torch.tensor([1, 0, -1, 1, 1, 0, -1, -1], dtype=torch.int32)
    case.yours["w"] = (case.ref("w").view(torch.int32) + step).view(torch.float32)
    assert ulps(case.yours["w"], case.ref("w")) == 1
    case.expect("w", [], allow=("modified", NONE))


def capability():
    def default(name, planted, key, **more):
        case = Case(f"capability-{name}", planted, ELSEWHERE[key], **more)
        made = elsewhere(key, case.seed, ATEN_CPU_CAPABILITY="default")
        assert made.keys() == case.yours.keys()
        count = 0
        for tensor, value in made.items():
            if not same(value, case.ref(tensor)):
                case.yours[tensor], count = value, count + 1
                case.by_seed(tensor, ["other-capability"],
                             {"hypothesis": "other-capability", "capability": "DEFAULT"})
        assert count, name
    default("mlp", "ATEN_CPU_CAPABILITY=default: no FMA in uniform_", "mlp")
    default("mlp-f64", "the same in f64", "mlp-f64")
    default("conv", "the same for a Conv2d", "conv", seed=4)
    default("embedding", "the same for normal_: libm's functions, no FMA", "embedding")
    default("normal-mean", "the same for normal_ with a mean", "normal-mean")
    case = Case("near-capability-last-place", "uniform_, with random changes of the last place",
                lambda: nn.Linear(24, 16, bias=False), near_miss_of="other-capability")
    step = torch.from_numpy(np.random.RandomState(3).randint(-1, 2, (16, 24)).astype(np.int32))
    case.yours["weight"] = (case.ref("weight").view(torch.int32) + step).view(torch.float32)
    case.expect("weight", [NONE])


def lapack():
    def close(case, detail):
        y, r = case.yours["w"].flatten(1), case.ref("w").flatten(1)
        assert differing(y, r) and float((y - r).abs().max()) < 1e-5
        case.expect("w", ["lapack"], by=["file"])
        case.expect("w", ["lapack"], {"hypothesis": "lapack", **detail}, by=["draws"])

    def threads(name, shape, gain=1.0):
        build = one("w", shape, lambda t: nn.init.orthogonal_(t, gain))
        case = Case(f"lapack-{name}", "orthogonal_ with another number of threads", build)
        for count in (2, 4, 8):
            torch.set_num_threads(count)
            case.yours = Drawn(build, 1).tensors
            torch.set_num_threads(1)
            if differing(case.yours["w"], case.ref("w")):
                return close(case, {"threads": count, "reference_threads": 1})
        raise AssertionError(f"{name}: the number of threads changes nothing on this machine")
    threads("64", (64, 64))
    threads("wide", (100, 300))
    threads("conv", (96, 16, 3, 3), math.sqrt(2))
    case = Case("lapack-mkl-cbwr", "orthogonal_ with other kernels, by MKL_CBWR", ELSEWHERE["orthogonal-16"])
    # Which of them are other kernels depends on the CPU.
    for kernels in ("COMPATIBILITY", "AVX", "AVX2"):
        case.yours = elsewhere("orthogonal-16", 1, MKL_CBWR=kernels)
        if differing(case.yours["w"], case.ref("w")):
            break
    close(case, {"threads": None, "reference_threads": 1})

    build = one("w", (64, 64), nn.init.orthogonal_)
    case = Case("near-lapack-noise", "orthogonal_, and noise of 1e-3: no longer orthogonal", build,
                near_miss_of="lapack")
    case.yours["w"] += 1e-3 * noise((64, 64))
    case.expect("w", [NONE])
    case = Case("near-lapack-no-signs", "orthogonal_ without the signs of R's diagonal", build,
                near_miss_of="lapack")
    torch.manual_seed(1)
    q, r = torch.linalg.qr(torch.empty(64, 64).normal_())
    case.yours["w"] = q.contiguous()
    assert 0 < int((torch.diag(r) < 0).sum()) < 64
    case.expect("w", [], allow=("modified", NONE))
    case = Case("near-lapack-not-orthogonal", "a Linear with noise as small as LAPACK's",
                lambda: nn.Linear(24, 16, bias=False), near_miss_of="lapack")
    case.yours["weight"] = case.ref("weight") + 1e-7 * noise((16, 24))
    case.expect("weight", [NONE])


def trunc_normal():
    def old(name, shape, mean, std, a, b, dtype=None):
        case = Case(f"trunc-normal-{name}", "the algorithm of PyTorch before 2.12",
                    one("w", shape, lambda t: nn.init.trunc_normal_(t, mean, std, a, b), dtype),
                    yours=one("w", shape, lambda t: old_trunc_normal_(t, mean, std, a, b), dtype))
        case.by_seed("w", ["trunc-normal-before-2.12"], {
            "hypothesis": "trunc-normal-before-2.12", "mean": mean, "std": std, "a": a, "b": b})
    old("vit", (30, 20), 0.0, 0.02, -2.0, 2.0)
    old("two-std", (30, 20), 0.0, 0.02, -0.04, 0.04)
    old("default", (11, 13), 0.0, 1.0, -2.0, 2.0)
    old("mean-f64", (11, 13), 0.5, 0.3, 0.0, 1.0, F64)
    old("tail", (20, 20), 0.0, 1.0, 1.5, 3.0)
    old("bf16", (20, 20), 0.0, 1.0, -2.0, 2.0, BF16)

    build = one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02, -0.04, 0.04))
    case = Case("near-trunc-normal-noise", "the old algorithm, and noise of 1e-4", build,
                near_miss_of="trunc-normal-before-2.12")
    case.yours["w"] = Drawn(one("w", (30, 20), lambda t: old_trunc_normal_(t, 0, 0.02, -0.04, 0.04)),
                            1)["w"] * (1 + 1e-4 * noise((30, 20)))
    case.expect("w", [NONE])

    def rejected_alone(t):
        t.normal_(0, 0.02)
        for i in range(t.numel()):
            while abs(float(t.view(-1)[i])) > 0.04:
                t.view(-1)[i:i + 1].normal_(0, 0.02)
    case = Case("near-trunc-normal-one-by-one", "rejected elements drawn again one at a time", build,
                near_miss_of="trunc-normal-before-2.12")
    case.yours = Drawn(one("w", (30, 20), rejected_alone), 1).tensors
    assert 0 < len(differing(case.yours["w"], case.ref("w"))) < 60
    case.expect("w", [], allow=("modified", NONE))


def last_16():
    def no_redraw(count, std=1.0, dtype=None):
        """A port's normal_, which pads the last block; PyTorch redraws the last 16 elements."""
        return torch.empty(-(-count // 16) * 16, dtype=dtype).normal_(0, std)[:count]

    def tail(name, shape, std, dtype=None):
        count = math.prod(shape)
        case = Case(f"last-16-{name}", f"{count} normals, the last 16 not drawn again",
                    one("w", shape, lambda t: t.normal_(0, std), dtype))
        case.yours["w"] = Drawn(lambda: {"w": no_redraw(count, std, dtype).view(shape)}, 1)["w"]
        changed = differing(case.yours["w"], case.ref("w"))
        assert changed and changed[0] >= count - 16
        case.expect("w", ["last-16"], {"hypothesis": "last-16", "range": [count - 16, count]})
    tail("40", (5, 8), 0.02)
    tail("f64", (5, 5), 0.3, F64)
    tail("600", (25, 25), 1.0)
    tail("bf16", (9, 5), 1.0, BF16)

    def two():
        return nn.ModuleList([nn.Embedding(9, 5), nn.Embedding(10, 8)])

    def two_without():
        first = no_redraw(45)
        return {"0.weight": first.view(9, 5), "1.weight": torch.empty(10, 8).normal_()}
    case = Case("last-16-two-embeddings", "two Embeddings, the last 16 of the first not drawn again: the "
                "second begins 13 words early", two, yours=two_without)
    case.expect("0.weight", ["last-16"], {"hypothesis": "last-16", "range": [29, 45]})
    case.moved("1.weight")

    def near(name, planted, shape, change, init=lambda t: t.normal_(), detail=None):
        case = Case(name, planted, one("w", shape, init), near_miss_of="last-16")
        case.yours["w"] = change(case.ref("w").flatten()).view(shape)
        case.expect("w", ["modified"], {"hypothesis": "modified", "kind": "partly-overwritten", **detail})
    near("near-last-16-last-20", "the last 20 of 90 elements differ", (9, 10),
         lambda w: torch.cat([w[:70], noise(20)]), detail={"range": [70, 90]})
    near("near-last-16-whole-blocks", "the last 16 of 96 elements differ: PyTorch draws none again there",
         (6, 16), lambda w: torch.cat([w[:80], noise(16)]), detail={"range": [80, 96]})
    near("near-last-16-uniform", "the last 16 of 90 uniform elements differ: uniform_ has no blocks",
         (9, 10), lambda w: torch.cat([w[:74], noise(16)]), lambda t: t.uniform_(-1, 1),
         detail={"range": [74, 90]})


def plant():
    for group in (offsets, seeds, paths, randn, capability, lapack, trunc_normal, last_16):
        group()
