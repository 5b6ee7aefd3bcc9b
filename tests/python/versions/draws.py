"""Single draws: every function of torch.nn.init, dtype, shape, path and argument."""

import torch
from torch.nn import init

DTYPES = ("float32", "float64", "bfloat16", "float16")
SHAPES = ((3, 2), (3, 5), (4, 4), (1, 17), (5, 8), (7, 9), (16, 16), (33, 31), (130, 70))
ARGUMENTS = {
    "uniform_": ({}, {"a": -0.1, "b": 0.3}, {"a": 100.0, "b": 101.0}, {"a": 0.5, "b": 0.5000001}),
    "normal_": ({}, {"mean": 0.5, "std": 0.02}, {"mean": -3.0, "std": 0.0}, {"std": 1e-6}),
    "trunc_normal_": ({}, {"std": 0.02}, {"mean": 1.0, "std": 2.0, "a": -1.0, "b": 0.5}, {"a": 1.0, "b": 1.5}),
    "xavier_uniform_": ({}, {"gain": 1.7}),
    "xavier_normal_": ({}, {"gain": 0.3}),
    "kaiming_uniform_": ({}, {"a": 5**0.5}, {"mode": "fan_out", "nonlinearity": "relu"}),
    "kaiming_normal_": ({}, {"mode": "fan_out", "nonlinearity": "relu"}),
    "orthogonal_": ({}, {"gain": 2.0}),
    "sparse_": ({"sparsity": 0.3}, {"sparsity": 0.9, "std": 1.0}),
    "eye_": ({},),
    "constant_": ({"val": 0.3},),
}


def contiguous(shape, dtype):
    return torch.zeros(shape, dtype=dtype)


def transposed(shape, dtype):
    return torch.zeros(shape[::-1], dtype=dtype).t()


def part(shape, dtype):
    return torch.zeros(shape[0] + 1, shape[1] + 3, dtype=dtype)[1:, 1:-2]


PATHS = {"contiguous": contiguous, "transposed": transposed, "part": part}


def draws():
    """(function, dtype, [(path, shape, arguments)]): about 2,100 in all."""
    for function, choices in ARGUMENTS.items():
        for dtype in DTYPES:
            yield function, dtype, [(path, shape, arguments) for arguments in choices for path in PATHS for shape in SHAPES]


class Drawn(torch.nn.Module):
    def __init__(self, function, dtype, cases):
        super().__init__()
        for i, (path, shape, arguments) in enumerate(cases):
            tensor = PATHS[path](shape, getattr(torch, dtype))
            getattr(init, function)(tensor, **arguments)
            self.register_buffer(f"t{i}", tensor)
