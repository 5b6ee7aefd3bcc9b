"""Causes that come after the draws: rounding, and changes of some or all elements."""

import math

import torch
from planting import NONE, Case, Drawn, bits, differing, noise, same
from programs import BF16, F16, F64, ConvNet, Mlp, Tagger, one
from torch import nn


def rounded():
    def through(name, planted, build, dtype, label, back=True, **more):
        case = Case(name, planted, build, **more)
        for tensor in case.reference.tensors:
            ref = case.ref(tensor)
            if not ref.is_floating_point() or same(ref, ref.to(dtype).to(ref.dtype)) and back:
                continue
            case.yours[tensor] = ref.to(dtype).to(ref.dtype) if back else ref.to(dtype)
            case.expect(tensor, ["rounded"], {"hypothesis": "rounded", "through": label})
        return case
    through("rounded-bf16", "trained in bf16, loaded as f32", Mlp, BF16, "bf16")
    through("rounded-f16", "model.half().float()", Mlp, F16, "f16")
    through("rounded-half-lstm", "model.half().float()", lambda: nn.LSTM(7, 6), F16, "f16")
    through("rounded-saved-bf16", "saved as bf16", Mlp, BF16, "bf16", back=False)
    through("rounded-saved-f16", "saved as f16", lambda: nn.Conv2d(3, 8, 3), F16, "f16", back=False)
    through("rounded-f64-to-f32-file", "an f64 model saved through f32", lambda: Mlp(dtype=F64),
            torch.float32, "f32")
    through("rounded-embedding-bf16", "an Embedding through bf16", lambda: nn.Embedding(13, 9), BF16,
            "bf16")

    for name, planted, dtype, drawn_in, label in (
            ("f64-drawn", "drawn in f64 (two words an element), then cast to f32", None, F64, "f64"),
            ("double", "drawn in f32, then model.double(), for a model made in f64", F64, None, "f32"),
            ("model-bfloat16", "drawn in f32, then model.bfloat16(), for a model made in bf16: the one "
             "element that rounds to the upper bound stays there", BF16, None, "f32")):
        case = Case(f"rounded-{name}", planted, lambda: Mlp(dtype=dtype))
        drawn = Drawn(lambda: Mlp(dtype=drawn_in), 1)
        for tensor in drawn.tensors:
            case.yours[tensor] = drawn[tensor].to(case.ref(tensor).dtype)
            if not same(case.yours[tensor], case.ref(tensor)):
                case.by_seed(tensor, ["rounded"], {"hypothesis": "rounded", "through": label},
                             allow=("other-offset", *(["modified"] if dtype is BF16 else [])))

    def powers(dtype=None):
        return nn.ModuleList([nn.Linear(16, 9, dtype=dtype), nn.Embedding(8, 6, dtype=dtype)])
    case = Case("rounded-reference-bf16", "PyTorch's model was made in bf16, yours was never rounded",
                lambda: powers(BF16))
    drawn = Drawn(powers, 1)
    for tensor in drawn.tensors:
        case.yours[tensor] = drawn[tensor]
        assert same(drawn[tensor].to(BF16), case.ref(tensor)), tensor
        case.expect(tensor, ["rounded"], {"hypothesis": "rounded", "through": "bf16",
                                          "side": "reference"})
    case = Case("rounded-bf16-truncated", "to bf16 by dropping the low 16 bits, not to nearest",
                Mlp, stretch=True)
    for tensor in case.reference.tensors:
        case.yours[tensor] = (bits(case.ref(tensor)) & -65536).view(torch.float32)
        case.expect(tensor, ["rounded"], {"hypothesis": "rounded", "through": "bf16",
                                          "mode": "toward-zero"})

    def near(name, planted, change):
        case = Case(name, planted, lambda: nn.Linear(24, 16, bias=False), near_miss_of="rounded")
        case.yours["weight"] = change(case.ref("weight"))
        case.expect("weight", [NONE])
    near("near-rounded-int8", "quantised to a grid of 255 steps",
         lambda w: torch.round(w / (w.abs().max() / 127)) * (w.abs().max() / 127))
    near("near-rounded-noise", "noise as large as bf16's rounding",
         lambda w: w * (1 + 2.0 ** -9 * noise(w.shape).clamp(-1, 1)))

    near("near-rounded-other-values", "all are bf16 numbers, but not those nearest",
         lambda w: (w * (1 + 0.01 * noise(w.shape))).to(BF16).float())


def modified():
    def change(name, planted, build, tensor, change, allow=(), **detail):
        case = Case(name, planted, build, near_miss_of=detail.pop("near", None),
                    stretch=detail.pop("stretch", False))
        case.yours[tensor] = change(case.ref(tensor).clone())
        if detail:
            case.expect(tensor, ["modified"], {"hypothesis": "modified", **detail}, allow=allow)
        elif not same(case.yours[tensor], case.ref(tensor)):
            case.expect(tensor, [] if allow else [NONE], allow=allow)
        return case

    def rows(i, value):
        def apply(w):
            w[i] = value
            return w
        return apply
    change("modified-clamped-embedding", "normal values clamped to two standard deviations",
           lambda: nn.Embedding(30, 12), "weight", lambda w: w.clamp(-2, 2), kind="clamped", min=-2.0,
           max=2.0)
    change("modified-clamped-f16", "the same for xavier_normal_ in f16",
           one("w", (30, 20), nn.init.xavier_normal_, F16), "w", lambda w: w.clamp(-0.4, 0.4),
           kind="clamped", min=float(torch.tensor(-0.4, dtype=F16)),
           max=float(torch.tensor(0.4, dtype=F16)))
    change("modified-clamped-above", "clamped from above only", lambda: nn.Linear(24, 16), "weight",
           lambda w: w.clamp(max=0.125), kind="clamped", max=0.125)
    change("modified-clamped-trunc-normal", "normal_ clamped where trunc_normal_ draws again",
           one("w", (30, 20), lambda t: nn.init.trunc_normal_(t, 0, 0.02, -0.04, 0.04)), "w",
           lambda w: Drawn(one("w", (30, 20), lambda t: t.normal_(0, 0.02).clamp_(-0.04, 0.04)),
                           1)["w"], kind="clamped", min=float(torch.tensor(-0.04)),
           max=float(torch.tensor(0.04)))
    hidden = 6
    change("modified-forget-gate", "1 added to the forget gate's bias",
           lambda: nn.LSTM(7, hidden), "bias_ih_l0",
           lambda b: torch.cat([b[:6], b[6:12] + 1, b[12:]]), kind="added", constant=1.0,
           range=[hidden, 2 * hidden])
    change("modified-forget-gate-set", "the forget gate's bias set to 1 (not added)",
           lambda: nn.LSTM(7, hidden), "bias_ih_l0",
           lambda b: torch.cat([b[:6], torch.ones(6), b[12:]]), kind="partly-overwritten",
           range=[hidden, 2 * hidden], value=1.0)
    change("modified-added-all", "0.5 added to the whole bias", lambda: nn.Linear(12, 40), "bias",
           lambda b: b + 0.5, kind="added", constant=0.5)
    change("modified-added-f64", "0.25 added to a weight in f64", lambda: nn.Linear(12, 9, dtype=F64),
           "weight", lambda w: w + 0.25, kind="added", constant=0.25)
    change("modified-padding-row", "the row of padding_idx zeroed, which PyTorch was not asked to",
           lambda: nn.Embedding(11, 7), "weight", rows(0, 0.0), kind="zeroed-rows", rows=[0])
    change("modified-rows-bf16", "two rows zeroed", lambda: nn.Embedding(11, 7, dtype=BF16), "weight",
           rows([2, 10], 0.0), kind="zeroed-rows", rows=[2, 10])
    case = Case("modified-padding-row-missing", "padding_idx forgotten: row 0 was drawn and stayed",
                Tagger, yours=lambda: Tagger(padding_idx=None))
    assert differing(case.yours["embedding.weight"], case.ref("embedding.weight")) == list(range(7))
    case.expect("embedding.weight", ["modified"], {"hypothesis": "modified", "kind": "zeroed-rows",
                                                   "rows": [0], "side": "reference"})
    change("modified-middle-constant", "20 elements in the middle overwritten by 0.5",
           lambda: nn.Linear(24, 16), "weight",
           lambda w: torch.cat([w.flatten()[:100], torch.full((20,), 0.5),
                                w.flatten()[120:]]).view(16, 24),
           kind="partly-overwritten", range=[100, 120], value=0.5)
    change("modified-middle-random", "20 elements in the middle overwritten by other numbers",
           lambda: nn.Linear(24, 16), "weight",
           lambda w: torch.cat([w.flatten()[:100], 0.1 * noise(20), w.flatten()[120:]]).view(16, 24),
           kind="partly-overwritten", range=[100, 120])
    change("modified-one-nan", "one element became NaN", lambda: nn.Linear(24, 16), "weight",
           rows((3, 5), math.nan), kind="partly-overwritten", range=[77, 78])
    change("modified-pruned", "every third element pruned to zero", lambda: nn.Linear(24, 16), "weight",
           lambda w: w * (torch.arange(384).view(16, 24) % 3 != 0), kind="partly-overwritten",
           value=0.0, count=128)
    change("modified-bias-filled", "a bias filled with zeros, as most ports do",
           lambda: nn.Linear(12, 9), "bias", torch.zeros_like, kind="filled", value=0.0)
    case = Case("modified-lstm-biases-filled", "tch's LSTM default: biases zero", lambda: nn.LSTM(7, 6))
    for name in ("bias_ih_l0", "bias_hh_l0"):
        case.yours[name] = torch.zeros(24)
        case.expect(name, ["modified"], {"hypothesis": "modified", "kind": "filled", "value": 0.0})
    change("modified-batch-norm-filled", "BatchNorm's weight filled with 0.5 where PyTorch has 1",
           ConvNet, "bn1.weight", lambda w: w * 0.5, allow=("scaled",), kind="filled", value=0.5)
    case = Case("modified-batch-norm-drawn", "tch's BatchNorm default: the weight drawn from uniform(0, 1)",
                lambda: nn.Sequential(nn.BatchNorm2d(40)))
    case.yours["0.weight"] = Drawn(one("w", (40,), lambda t: t.uniform_(0, 1)), 1)["w"]
    case.expect("0.weight", [], allow=(NONE, "modified"))
    case = Case("modified-negative-zeros", "a zero bias with the sign of its zeros turned",
                lambda: nn.MultiheadAttention(16, 4))
    case.yours["in_proj_bias"] = -case.ref("in_proj_bias")
    case.expect("in_proj_bias", [], allow=("scaled", "modified", NONE))

    change("near-modified-clamped-by-nothing", "clamped to bounds that no element passes",
           lambda: nn.Linear(24, 16), "weight", lambda w: w.clamp(-0.5, 0.5), near="modified")
    change("near-modified-added-noise", "0.5 added, and noise of 1e-3", lambda: nn.Linear(12, 40),
           "weight", lambda w: w + 0.5 + 1e-3 * noise(w.shape), near="modified")
    change("near-modified-soft-clamp", "tanh squashed the values: nothing stands at a bound",
           lambda: nn.Linear(24, 16), "weight", lambda w: 0.2 * torch.tanh(w / 0.2), near="modified")
    case = Case("near-modified-zero-row", "padding_idx's row zeroed twice: PyTorch zeroed it already",
                Tagger, near_miss_of="modified")
    case.yours["embedding.weight"][0] = 0.0


def plant():
    for group in (rounded, modified):
        group()
