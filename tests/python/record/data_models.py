"""Models with data that is neither drawn nor computed, uninitialized memory, lazy modules, and dtypes of every kind.

`MODELS` has the constructor of each by name, `UNSET` the tensors that PyTorch leaves uninitialized.
"""

import io
import warnings

import numpy
import torch
from torch import nn
from torch.nn.utils import skip_init

OUTSIDE = torch.arange(30_000.0).sin()


def sinusoidal(length, width):
    """As most copies of it are written: in numpy."""
    angles = numpy.arange(length)[:, None] / 10000 ** (2 * (numpy.arange(width) // 2) / width)
    angles[:, 0::2], angles[:, 1::2] = numpy.sin(angles[:, 0::2]), numpy.cos(angles[:, 1::2])
    return angles


def freqs_cis(length, width):
    """As llama's."""
    freqs = 1.0 / 10000.0 ** (torch.arange(0, width, 2).float() / width)
    freqs = torch.outer(torch.arange(length).float(), freqs)
    return torch.polar(torch.ones_like(freqs), freqs)


def loaded():
    file = io.BytesIO()
    torch.save({"table": OUTSIDE}, file)
    file.seek(0)
    return torch.load(file)["table"]


def buffer(make):
    """A drawn layer with a buffer, and a layer that is drawn after it."""

    def construct():
        model = nn.Linear(3, 2)
        model.register_buffer("extra", make(model))
        model.after = nn.Linear(2, 2)
        return model

    return construct


class Reused(nn.Module):
    """Tables from one array that numpy writes again, and one that PyTorch changes in place."""

    def __init__(self):
        super().__init__()
        array = numpy.zeros((200, 100))
        for i in range(3):
            array[:] = numpy.arange(20_000).reshape(200, 100) + i
            table = torch.empty(200, 100)
            table.copy_(torch.from_numpy(array))
            self.register_buffer(f"table{i}", table)
        ramp = torch.tensor(list(range(20_000)))
        self.register_buffer("before", ramp.clone())
        ramp[7] = 1
        self.register_buffer("after", ramp)
        # The same bytes a second time.
        self.register_buffer("again", torch.from_numpy(array.copy()).float())


class Pretrained(nn.Module):
    def __init__(self):
        super().__init__()
        matrix = torch.from_numpy(numpy.random.RandomState(3).standard_normal((700, 50)))
        self.embedding = nn.Embedding.from_pretrained(matrix.float(), freeze=False, padding_idx=0)
        self.frozen = nn.Embedding.from_pretrained(matrix)
        self.transposed = nn.Parameter(matrix.t())
        self.part = nn.Parameter(matrix[100:600, 10:40])
        self.head = nn.Linear(50, 2)


class Lazy(nn.Module):
    """Every way to materialise: a dummy forward, of the whole or of parts, in training or not."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.LazyConv2d(4, 3), nn.GELU(), nn.Flatten())
        self.head = nn.LazyLinear(3)
        self.norm = nn.LazyBatchNorm1d()
        self.up = nn.LazyConvTranspose1d(2, 3)
        self.head(self.features(torch.zeros(1, 3, 16, 16)))
        self.norm(torch.ones(4, 5))
        with torch.no_grad():
            self.up(torch.ones(2, 3, 4))


class Custom(nn.modules.lazy.LazyModuleMixin, nn.Linear):
    cls_to_become = nn.Linear

    def __init__(self):
        super().__init__(0, 0)
        self.weight = nn.UninitializedParameter()
        self.bias = nn.UninitializedParameter(dtype=torch.float64)
        self.extra = nn.UninitializedBuffer()

    def reset_parameters(self):
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, x):
        self.in_features = x.shape[-1]
        with torch.no_grad():
            self.weight.materialize((4, x.shape[-1]))
            self.bias.materialize((4,), dtype=torch.float32)
            self.extra.materialize((2,))
            self.extra.zero_()
            self.reset_parameters()


def custom():
    model = Custom()
    model(torch.zeros(2, 5))
    return model


class Dummy(nn.Module):
    """A forward of zeros over drawn weights, whose shape decides the next layer."""

    def __init__(self, x, *features):
        super().__init__()
        self.features = nn.Sequential(*features)
        with torch.no_grad():
            y = self.features(x)
        self.head = nn.Linear(y.flatten(1).shape[1], 2)


def vit_like():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    return Dummy(torch.ones(1, 5, 16), layer, nn.LayerNorm(16))


def recurrent():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 6, num_layers=2, bidirectional=True)

        def forward(self, x):
            return self.rnn(x)[0]

    return Dummy(torch.zeros(3, 2, 4), First(), nn.AdaptiveAvgPool1d(2), nn.Softmax(-1))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4, dtype=torch.complex64)
        self.conv = nn.Conv2d(2, 3, 3, dtype=torch.complex128)
        self.spectrum = nn.Parameter(torch.randn(30, 20, dtype=torch.cfloat) * 0.02)
        self.turned = nn.Parameter(0.5 * torch.rand(4, dtype=torch.cdouble) * 1j)
        self.real = nn.Parameter(torch.view_as_real(torch.randn(7, dtype=torch.cfloat)))
        self.imaginary = nn.Parameter(torch.randn(7, dtype=torch.cfloat).imag)
        self.cast = nn.Parameter(self.linear.weight.data.to(torch.complex128))
        self.of_real = nn.Parameter(self.real.data.to(torch.cfloat))
        self.transposed = nn.Parameter(torch.empty(6, 5, dtype=torch.cfloat).t().normal_(0.5, 3.0))
        self.small = nn.Parameter(torch.zeros(3, dtype=torch.cfloat).uniform_(-1, 2))
        for name, value in {"zeros": torch.zeros(300, 300, dtype=torch.cfloat), "filled": torch.full((2, 3), 1 + 2j),
                            "many": torch.full((1000, 1200), 3 - 1j), "freqs": freqs_cis(30, 8),
                            "large": freqs_cis(300, 80), "wide": freqs_cis(300, 80).to(torch.cdouble),
                            "halves": torch.tensor([1 + 2j, 3.5], dtype=torch.complex32),
                            "nothing": torch.zeros(0, dtype=torch.cfloat)}.items():
            self.register_buffer(name, value)


class Dtypes(nn.Module):
    """Constants, fills, copies and casts in the dtypes that few models have."""

    def __init__(self):
        super().__init__()
        weight = nn.Linear(40, 30).weight.data
        self.weight = nn.Parameter(weight)
        for name in "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz".split():
            dtype = getattr(torch, name)
            self.register_buffer(name, weight.to(dtype))
            self.register_buffer(f"{name}_zeros", torch.zeros(5, dtype=dtype))
            self.register_buffer(f"{name}_ones", torch.ones(3000, 2000, dtype=dtype))
            self.register_buffer(f"{name}_constants", torch.tensor([0.1, -2.0, 3e30, float("nan")]).to(dtype))
            self.register_buffer(f"{name}_back", weight.to(dtype).float())
        self.register_buffer("scale", torch.full((3,), 4.0).to(torch.float8_e8m0fnu))
        self.register_buffer("scales", torch.tensor([1.0, 2.0, 0.25]).to(torch.float8_e8m0fnu))
        for name, dtype in {"u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64}.items():
            self.register_buffer(name, torch.tensor([1, 2, 40_000], dtype=dtype))
            self.register_buffer(f"{name}_zeros", torch.zeros(4, dtype=dtype))
            self.register_buffer(f"{name}_range", torch.arange(20_000).to(dtype))
            self.register_buffer(f"{name}_copied", torch.arange(40_000)[::4].to(dtype).view(100, 100).t().clone())
        self.register_buffer("largest", torch.tensor([2**64 - 1, 2**63], dtype=torch.uint64))
        self.register_buffer("mask", torch.zeros(500, 500, dtype=torch.bool).fill_diagonal_(True))


MODELS = {
    "sinusoidal in numpy": buffer(lambda m: torch.from_numpy(sinusoidal(300, 64)).float()),
    "a table of float64": buffer(lambda m: torch.tensor(sinusoidal(300, 64))),
    "freqs_cis": buffer(lambda m: freqs_cis(400, 96)),
    "pretrained": Pretrained,
    "outside": buffer(lambda m: OUTSIDE),
    "a copy of outside": buffer(lambda m: OUTSIDE.clone()[::2]),
    "outside times drawn": buffer(lambda m: OUTSIDE[:20_000] * m.weight.data[0, 0]),
    "a file": buffer(lambda m: loaded()),
    "a list": buffer(lambda m: torch.tensor(list(range(20_000)))),
    "exactly as much as a plan holds": buffer(lambda m: torch.tensor([float(i) for i in range(1 << 14)])),
    "more by one": buffer(lambda m: torch.tensor([float(i) for i in range((1 << 14) + 1)])),
    "large": buffer(lambda m: torch.linspace(0, 1, 2_000_000)),
    "bytes": buffer(lambda m: torch.from_numpy(numpy.arange(100_001).astype(numpy.uint8))),
    "reused arrays": Reused,
    "lazy": Lazy,
    "custom lazy": custom,
    "a dummy forward": lambda: Dummy(torch.zeros(1, 3, 20, 20), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3)),
    "a dummy forward of a transformer": vit_like,
    "a dummy forward of an LSTM": recurrent,
    "complex": Complex,
    "dtypes": Dtypes,
    "parts of complex numbers": buffer(lambda m: torch.complex(torch.randn(4, 3), torch.rand(3))),
    "a lazy module of another dtype": lambda: forwarded(nn.LazyLinear(3).to(torch.float64), torch.zeros(2, 4, dtype=torch.float64)),
    "a lazy module of several": lambda: forwarded(nn.Sequential(nn.LazyConv3d(2, 2), nn.LazyBatchNorm3d(), nn.Flatten(), nn.LazyLinear(3)).eval(),
                                                 torch.zeros(1, 2, 4, 4, 4)),
    "skip_init": lambda: skip_init(nn.Linear, 3, 4),
    "to_empty": lambda: nn.Sequential(nn.Linear(3, 4, device="meta").to_empty(device="cpu"), nn.Linear(4, 2)),
    "reset after to_empty": lambda: reset(nn.Linear(3, 4, device="meta").to_empty(device="cpu")),
    "empty_like of meta": buffer(lambda m: torch.empty_like(torch.empty(5, device="meta"), device="cpu")),
    "zeros_like of meta": buffer(lambda m: torch.zeros_like(torch.empty(5, device="meta"), device="cpu")),
    "rand_like of meta": buffer(lambda m: torch.rand_like(torch.empty(5, device="meta"), device="cpu")),
    "empty": buffer(lambda m: torch.empty(5)),
    "a large empty": buffer(lambda m: torch.empty(500, 600)),
    "empty_strided": buffer(lambda m: torch.empty_strided((2, 3), (1, 2))),
    "torch.Tensor": buffer(lambda m: torch.Tensor(3, 40)),
    "torch.Tensor of a list": buffer(lambda m: torch.Tensor([3, 40])),
    "torch.FloatTensor": buffer(lambda m: torch.FloatTensor(300)),
    "torch.LongTensor": buffer(lambda m: torch.LongTensor(3, 2)),
    "new": buffer(lambda m: m.weight.data.new(4, 2)),
    "new_empty": buffer(lambda m: m.weight.new_empty(4)),
    "materialize": lambda: nn.ParameterList([materialized(nn.UninitializedParameter())]),
    "resize_": buffer(lambda m: torch.ones(2).resize_(5)),
    "a copy of empty": buffer(lambda m: torch.empty(70).clone()),
    "filled in part": buffer(lambda m: partly(torch.empty(6))),
    "a copy of what is filled in part": buffer(lambda m: partly(torch.empty(6)).clone()),
    "filled by columns": buffer(lambda m: by_columns(torch.empty(40, 6)).tanh()),
    "what is filled of it": buffer(lambda m: partly(torch.empty(6))[:2].exp()),
}

UNSET = {
    "skip_init": ("weight", "bias"), "to_empty": ("0.weight", "0.bias"), "materialize": ("0",),
    **dict.fromkeys(["empty_like of meta", "empty", "a large empty", "empty_strided", "torch.Tensor", "torch.FloatTensor",
                     "torch.LongTensor", "new", "new_empty", "resize_", "a copy of empty", "filled in part",
                     "a copy of what is filled in part"], ("extra",)),
}


def forwarded(module, x):
    module(x)
    return module


def reset(layer):
    layer.reset_parameters()
    return layer


def materialized(parameter):
    parameter.materialize((2, 3))
    return parameter


def partly(tensor):
    tensor[:2] = 1.5
    return tensor


def by_columns(tensor):
    for i in range(tensor.shape[1]):
        tensor[:, i] = i
    return tensor


def quiet():
    """Without the warnings of complex modules and empty lazy modules."""
    warnings.filterwarnings("ignore", message=".*(omplex|azy).*")
