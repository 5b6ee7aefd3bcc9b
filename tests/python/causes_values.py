"""Causes that the values show by themselves: scale, axes, exchange."""

import math

import numpy as np
import torch
from planting import NONE, Case, Drawn, noise, same, ulps
from programs import BF16, F16, F64, SQRT6, Mlp, Projections, one, tch_linear, undrawn
from torch import nn


def scaled_detail(case, tensor, constant, named):
    """Checks the planted constant and returns it."""
    yours, reference = case.yours[tensor], case.ref(tensor)
    product = (reference.double() * constant).to(yours.dtype)
    assert yours.numel() and ulps(yours, product) <= 2, (case.name, tensor, ulps(yours, product))
    return {"hypothesis": "scaled", "constant": constant, "named": named}


def scaled():
    def scaled_case(name, planted, build, yours, constant, named, tensor="w", layers=None, **more):
        case = Case(name, planted, build, yours=yours, layers=layers, **more)
        case.expect(tensor, ["scaled"], scaled_detail(case, tensor, constant, named))
        return case

    def linear_wide(bias=True):
        def build():
            out = {}
            tch_linear(out, "", nn.Linear(24, 16, bias=bias, device="meta"))
            return out
        return build
    scaled_case("scaled-tch-linear-no-bias", "tch's Linear default: ReLU's gain, bound sqrt(6) larger",
                lambda: nn.Linear(24, 16, bias=False), linear_wide(False), SQRT6, "sqrt(6)", "weight")

    case = Case("scaled-tch-linear", "tch's Linear default: bound sqrt(6) larger, bias drawn first",
                lambda: nn.Linear(24, 16), yours=linear_wide())
    shifted = one("w", (16, 24), lambda t: t.uniform_(-1 / math.sqrt(24), 1 / math.sqrt(24)),
                  before=lambda: torch.empty(16).uniform_())
    assert ulps(case.yours["weight"], Drawn(shifted, 1)["w"] * SQRT6) <= 2
    sqrt6 = {"hypothesis": "scaled", "constant": SQRT6, "named": "sqrt(6)"}
    case.moved("weight", sqrt6, hypotheses=("scaled", "other-offset")).moved("bias")

    def tch_mlp():
        out, net = {}, undrawn((10, 20, 20, 3))
        for name in ("fc1", "fc2", "fc3"):
            tch_linear(out, f"{name}.", getattr(net, name))
        return out
    case = Case("scaled-tch-mlp", "three Linear layers with tch's defaults",
                lambda: Mlp((10, 20, 20, 3)), seed=3, yours=tch_mlp)
    for layer in ("fc1", "fc2", "fc3"):
        case.moved(f"{layer}.weight", sqrt6, hypotheses=("scaled", "other-offset"))
        case.moved(f"{layer}.bias")

    def tch_convs():
        first = torch.empty(8, 3, 3, 3).uniform_(-math.sqrt(6 / 27), math.sqrt(6 / 27))
        second = torch.empty(4, 8, 3, 3).uniform_(-math.sqrt(6 / 72), math.sqrt(6 / 72))
        return {"0.weight": first, "0.bias": torch.zeros(8), "1.weight": second,
                "1.bias": torch.zeros(4)}
    case = Case("scaled-tch-convs", "tch's Conv default: bound sqrt(6) larger, biases zero, not drawn",
                lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), yours=tch_convs)
    case.expect("0.weight", ["scaled"], scaled_detail(case, "0.weight", SQRT6, "sqrt(6)"))
    case.moved("1.weight", sqrt6, hypotheses=("scaled", "other-offset"))
    for name in ("0.bias", "1.bias"):
        case.expect(name, ["modified"], {"hypothesis": "modified", "kind": "filled", "value": 0.0})

    xu, xn = nn.init.xavier_uniform_, nn.init.xavier_normal_
    ku, kn = nn.init.kaiming_uniform_, nn.init.kaiming_normal_
    scaled_case("scaled-gain-relu-xavier-uniform", "ReLU's gain where none was asked for",
                one("w", (30, 20), xu), one("w", (30, 20), lambda t: xu(t, math.sqrt(2))),
                math.sqrt(2), "sqrt(2)")
    scaled_case("scaled-gain-tanh-xavier-normal-f64", "gain forgotten: tanh's 5/3 was asked for",
                one("w", (30, 20), lambda t: xn(t, 5 / 3), F64), one("w", (30, 20), xn, F64),
                3 / 5, "3/5")
    scaled_case("scaled-gain-tanh-xavier-uniform", "tanh's gain where none was asked for",
                one("w", (17, 20), xu), one("w", (17, 20), lambda t: xu(t, 5 / 3)), 5 / 3, "5/3")
    scaled_case("scaled-gain-leaky-relu", "leaky ReLU's slope 0.2 where ReLU was asked for",
                one("w", (30, 20), lambda t: kn(t, nonlinearity="relu")),
                one("w", (30, 20), lambda t: kn(t, a=0.2)), 1 / math.sqrt(1.04), "1/sqrt(1+0.2^2)")
    scaled_case("scaled-kaiming-default-slope", "kaiming_uniform_ with a=0 where Linear has a=sqrt(5)",
                lambda: nn.Conv2d(4, 6, 3, bias=False),
                one("weight", (6, 4, 3, 3), lambda t: ku(t, a=0.0)), SQRT6, "sqrt(6)", "weight")
    ratio = math.sqrt(4 * 9 / (16 * 9))
    scaled_case("scaled-fan-out-conv", "fan_out where fan_in was meant",
                one("w", (16, 4, 3, 3), lambda t: kn(t, nonlinearity="relu")),
                one("w", (16, 4, 3, 3), lambda t: kn(t, mode="fan_out", nonlinearity="relu")),
                ratio, "sqrt(fan_in/fan_out)")
    scaled_case("scaled-fan-in-linear-f16", "fan_in where fan_out was meant",
                one("w", (40, 16), lambda t: kn(t, mode="fan_out"), F16),
                one("w", (40, 16), lambda t: kn(t), F16), math.sqrt(40 / 16), "sqrt(fan_out/fan_in)")
    # ConvTranspose2d(16, 4, 3): PyTorch's fan_in is size(1) * 3 * 3 = 36, not 16 * 3 * 3
    bound = 1 / math.sqrt(16 * 9)
    case = scaled_case(
        "scaled-fan-conv-transpose", "ConvTranspose's fan_in taken as that of a Conv",
        lambda: nn.ConvTranspose2d(16, 4, 3),
        lambda: {"weight": torch.empty(16, 4, 3, 3).uniform_(-bound, bound),
                 "bias": torch.empty(4).uniform_(-bound, bound)},
        0.5, "sqrt(fan_in/fan_out)", "weight")
    case.expect("bias", ["scaled"], scaled_detail(case, "bias", 0.5, None))
    std = math.sqrt(2 / 50)
    scaled_case("scaled-bound-is-std", "the standard deviation taken as the uniform bound",
                one("w", (30, 20), xu), one("w", (30, 20), lambda t: t.uniform_(-std, std)),
                1 / math.sqrt(3), "1/sqrt(3)")
    scaled_case("scaled-kaiming-bf16", "ReLU's gain forgotten",
                one("w", (24, 20), lambda t: kn(t, nonlinearity="relu"), BF16),
                one("w", (24, 20), lambda t: kn(t, nonlinearity="linear"), BF16),
                1 / math.sqrt(2), "1/sqrt(2)")
    scaled_case("scaled-gpt2-residual", "GPT-2's 1/sqrt(2*12) on a residual projection",
                one("w", (24, 24), lambda t: t.normal_(0, 0.02)),
                one("w", (24, 24), lambda t: t.normal_(0, 0.02 / math.sqrt(24))),
                1 / math.sqrt(24), None)
    scaled_case("scaled-embedding-std", "an Embedding with GPT's std 0.02 where PyTorch has 1",
                lambda: nn.Embedding(20, 12), one("weight", (20, 12), lambda t: t.normal_(0, 0.02)),
                0.02, None, "weight")
    cut = 0.87962566103423978
    scaled_case("scaled-trunc-normal-variance", "JAX's correction of a truncated normal's variance",
                one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02, -0.04, 0.04)),
                one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02 / cut, -0.04 / cut,
                                                                   0.04 / cut)),
                1 / cut, None)
    case = Case("scaled-negated", "the sign of a weight turned (cross-correlation for convolution)",
                lambda: nn.Linear(12, 9))
    case.yours["weight"] = -case.ref("weight")
    case.expect("weight", ["scaled"], scaled_detail(case, "weight", -1.0, "-1"))
    case = Case("scaled-weight-decay", "one step of decoupled weight decay, lr 0.1 and decay 0.01",
                lambda: nn.Linear(12, 9))
    for name in ("weight", "bias"):
        case.yours[name] = case.ref(name) * (1 - 0.1 * 0.01)
        case.expect(name, ["scaled"], scaled_detail(case, name, 0.999, None))
    case = Case("scaled-and-other-seed", "tch's bound and another seed at once", seed=1,
                build=lambda: nn.Linear(24, 16, bias=False), yours=Drawn(linear_wide(False), 42))
    case.by_seed("weight", ["scaled", "other-seed"], sqrt6, {"hypothesis": "other-seed", "seed": 42})
    case = Case("scaled-and-shifted", "torch.rand where uniform_(-b, b) was meant", stretch=True,
                build=lambda: nn.Linear(24, 16, bias=False),
                yours=one("weight", (16, 24), lambda t: t.uniform_(0, 1)))
    undone = (case.yours["weight"] - 0.5) * 2 / math.sqrt(24)
    assert torch.allclose(undone, case.ref("weight"), rtol=0, atol=1e-7)
    case.expect("weight", ["scaled", "modified"], {"hypothesis": "modified", "kind": "added",
                                                   "constant": 0.5},
                {"hypothesis": "scaled", "constant": math.sqrt(24) / 2, "named": None})

    def near(name, planted, change, build=lambda: nn.Linear(24, 16, bias=False), hypotheses=(NONE,),
             allow=()):
        case = Case(name, planted, build, near_miss_of="scaled")
        case.yours["weight"] = change(case.ref("weight"))
        case.expect("weight", list(hypotheses), allow=allow)
        return case
    near("near-scaled-noise", "sqrt(6), and noise of 1e-3",
         lambda w: w * SQRT6 * (1 + 1e-3 * noise(w.shape)))
    near("near-scaled-small-noise", "sqrt(6), and noise of 1e-5",
         lambda w: w * SQRT6 * (1 + 1e-5 * noise(w.shape)))
    near("near-scaled-rows", "every row by its own factor, as weight norm does",
         lambda w: w * torch.linspace(0.5, 2, 16)[:, None])
    near("near-scaled-half", "one half of the elements doubled",
         lambda w: torch.cat([w[:8] * 2, w[8:]]), hypotheses=(), allow=("modified", NONE))
    near("near-scaled-one-element", "a single element: any number is a multiple of any other",
         lambda w: torch.full_like(w, 0.3517), build=lambda: nn.Linear(1, 1, bias=False),
         hypotheses=(), allow=("modified", NONE))
    near("near-scaled-eye", "the identity added, as for a residual layer",
         lambda w: w + torch.eye(16), build=lambda: nn.Linear(16, 16, bias=False),
         hypotheses=(), allow=("modified", NONE))


def permuted():
    def axes(name, planted, build, permutation, tensor="weight", **more):
        case = Case(name, planted, build, **more)
        case.yours[tensor] = case.ref(tensor).permute(permutation).contiguous()
        return case.expect(tensor, ["permuted"], {
            "hypothesis": "permuted", "permutation": permutation,
            "yours_shape": list(case.yours[tensor].shape)})
    axes("permuted-linear", "weight stored (in, out) as JAX and TensorFlow do",
         lambda: nn.Linear(12, 9), [1, 0])
    axes("permuted-linear-bf16", "the same in bf16", lambda: nn.Linear(12, 9, dtype=BF16), [1, 0])
    axes("permuted-square", "a square weight transposed: the shape does not tell",
         lambda: nn.Linear(16, 16), [1, 0])
    axes("permuted-conv-hwio", "kernels stored HWIO", lambda: nn.Conv2d(3, 8, (3, 5)), [2, 3, 1, 0])
    axes("permuted-conv-ohwi", "kernels stored OHWI", lambda: nn.Conv2d(3, 8, 3), [0, 2, 3, 1])
    axes("permuted-conv1d-wio", "kernels stored WIO", lambda: nn.Conv1d(4, 6, 5), [2, 1, 0])
    axes("permuted-conv-transpose", "ConvTranspose stored as a Conv is, (out, in, h, w)",
         lambda: nn.ConvTranspose2d(6, 4, 3), [1, 0, 2, 3])
    axes("permuted-kernel-hw", "height and width exchanged in a square kernel",
         lambda: nn.Conv2d(3, 8, 3), [0, 1, 3, 2])
    axes("permuted-embedding-f64", "an Embedding transposed", lambda: nn.Embedding(12, 5, dtype=F64),
         [1, 0])

    case = Case("permuted-scaled", "weight stored (in, out), with tch's bound",
                lambda: nn.Linear(24, 16, bias=False))
    bound = SQRT6 / math.sqrt(24)
    case.yours["weight"] = Drawn(one("w", (16, 24), lambda t: t.uniform_(-bound, bound)),
                                 1)["w"].t().contiguous()
    case.expect("weight", ["permuted", "scaled"],
                {"hypothesis": "permuted", "permutation": [1, 0], "yours_shape": [24, 16]},
                {"hypothesis": "scaled", "constant": SQRT6, "named": "sqrt(6)"})

    case = Case("permuted-drawn-in-out", "drawn as (in, out), then transposed to (out, in)",
                lambda: nn.Linear(12, 9))
    case.yours["weight"] = case.ref("weight").reshape(12, 9).t().contiguous()
    case.expect("weight", ["permuted"], {"hypothesis": "permuted", "permutation": [1, 0],
                                         "drawn_as": [12, 9], "yours_shape": [9, 12]})

    case = Case("permuted-lstm-gates", "gates stored i f o g where PyTorch has i f g o", stretch=True,
                build=lambda: nn.LSTM(7, 6))
    for name in case.reference.tensors:
        i, f, g, o = case.ref(name).chunk(4)
        case.yours[name] = torch.cat([i, f, o, g])
        case.expect(name, ["permuted"], {"hypothesis": "permuted", "axis": 0, "blocks": [0, 1, 3, 2]})
    case = Case("permuted-qkv-blocks", "in_proj_weight as k, q, v", stretch=True,
                build=lambda: nn.MultiheadAttention(16, 4))
    q, k, v = case.ref("in_proj_weight").chunk(3)
    case.yours["in_proj_weight"] = torch.cat([k, q, v])
    case.expect("in_proj_weight", ["permuted"],
                {"hypothesis": "permuted", "axis": 0, "blocks": [1, 0, 2]})
    case = Case("permuted-flipped-kernel", "kernels turned by 180 degrees: a true convolution",
                lambda: nn.Conv2d(3, 8, 3), stretch=True)
    case.yours["weight"] = case.ref("weight").flip(2, 3)
    case.expect("weight", ["permuted"], {"hypothesis": "permuted", "flipped": [2, 3]})

    def near(name, planted, change, build, hypotheses=(NONE,), allow=()):
        case = Case(name, planted, build, near_miss_of="permuted")
        case.yours["weight"] = change(case.ref("weight")).contiguous()
        case.expect("weight", list(hypotheses), allow=allow)

    def one_off(w):
        w = w.t().contiguous()
        w[3, 5] *= 1.5
        return w
    near("near-permuted-one-off", "transposed, but one element is another",
         one_off, lambda: nn.Linear(16, 16), hypotheses=(), allow=(NONE, "modified"))
    near("near-permuted-reshaped", "reshaped to (in, out), not transposed",
         lambda w: w.reshape(12, 9), lambda: nn.Linear(12, 9), hypotheses=(), allow=(NONE,))
    near("near-permuted-shuffled", "the same elements in a random order",
         lambda w: w.flatten()[torch.from_numpy(np.random.RandomState(5).permutation(108))].view(9, 12),
         lambda: nn.Linear(12, 9))


def exchanged():
    def swap(name, planted, build, a, b, **more):
        case = Case(name, planted, build, **more)
        case.yours[a], case.yours[b] = case.yours[b], case.yours[a]
        for this, other in ((a, b), (b, a)):
            assert same(case.yours[this], case.ref(other))
            case.expect(this, ["exchanged"], {"hypothesis": "exchanged", "with": other},
                        allow=("other-offset",))
    swap("exchanged-q-k", "q_proj and k_proj exchanged", Projections, "q_proj.weight", "k_proj.weight")
    swap("exchanged-q-k-f16", "the same in f16", lambda: Projections(F16), "q_proj.weight",
         "k_proj.weight")
    swap("exchanged-layers", "two hidden layers exchanged", lambda: Mlp((8, 12, 12, 12)),
         "fc2.weight", "fc3.weight")
    swap("exchanged-biases", "two biases exchanged", lambda: Mlp((8, 12, 12)), "fc1.bias", "fc2.bias")
    swap("exchanged-lstm", "weight_ih and weight_hh exchanged", lambda: nn.LSTM(6, 6),
         "weight_ih_l0", "weight_hh_l0")
    case = Case("exchanged-fc1-fc2", "weight and bias of two layers exchanged", lambda: Mlp((12, 12, 12)))
    for part in ("weight", "bias"):
        for this, other in (("fc1", "fc2"), ("fc2", "fc1")):
            case.yours[f"{this}.{part}"] = case.ref(f"{other}.{part}")
            case.expect(f"{this}.{part}", ["exchanged"],
                        {"hypothesis": "exchanged", "with": f"{other}.{part}"}, allow=("other-offset",))
    case = Case("exchanged-cycle", "q, k, v moved on by one", Projections, stretch=True)
    for this, other in (("q", "k"), ("k", "v"), ("v", "q")):
        case.yours[f"{this}_proj.weight"] = case.ref(f"{other}_proj.weight")
        case.expect(f"{this}_proj.weight", ["exchanged"],
                    {"hypothesis": "exchanged", "with": f"{other}_proj.weight"}, allow=("other-offset",))

    case = Case("near-exchanged-copied", "k_proj copied into q_proj, k_proj itself right", Projections,
                near_miss_of="exchanged")
    case.yours["q_proj.weight"] = case.ref("k_proj.weight")
    case.expect("q_proj.weight", [], allow=("other-offset", NONE))
    case = Case("near-exchanged-noise", "q and k exchanged, after some training", Projections,
                near_miss_of="exchanged")
    for this, other in (("q", "k"), ("k", "q")):
        w = case.ref(f"{other}_proj.weight")
        case.yours[f"{this}_proj.weight"] = w + 1e-4 * noise(w.shape)
        case.expect(f"{this}_proj.weight", [NONE])


def plant():
    for group in (scaled, permuted, exchanged):
        group()
