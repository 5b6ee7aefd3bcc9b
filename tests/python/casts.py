"""A model cast to other dtypes, and made in them, for tests/live/casts.rs.

Writes to the folder of its argument: print.txt, made_{dtype}.safetensors and cast_{dtype}.safetensors
for floating-point dtypes, back_{dtype}.safetensors for casts there and back, and ints.safetensors.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn

FLOAT8 = [
    torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]
HALF = [torch.bfloat16, torch.float16]


def make(dtype):
    torch.manual_seed(42)
    torch.set_default_dtype(dtype)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Embedding(10, 6), nn.LayerNorm(6),
        nn.Linear(6, 33), nn.PReLU(), nn.LSTM(5, 4), nn.Linear(33, 12),
    )
    torch.set_default_dtype(torch.float32)
    return model


def name(dtype):
    return str(dtype).removeprefix("torch.")


def main():
    out = pathlib.Path(sys.argv[1])

    def save(file, tensors):
        save_file({k: v.contiguous() for k, v in tensors.items()}, out / f"{file}.safetensors")

    def floats(change):
        state = make(torch.float32).state_dict()
        return {k: change(v) if v.is_floating_point() else v for k, v in state.items()}

    (out / "print.txt").write_text(repr(make(torch.float32)))
    for dtype in [torch.float32, torch.float64, *HALF]:
        save(f"made_{name(dtype)}", make(dtype).state_dict())
        save(f"cast_{name(dtype)}", make(torch.float32).to(dtype).state_dict())
    for dtype in FLOAT8:
        save(f"cast_{name(dtype)}", floats(lambda t: t.to(dtype)))
    for dtype in FLOAT8 + HALF:
        save(f"back_{name(dtype)}", floats(lambda t: t.to(dtype).float()))
    for dtype in HALF:
        made = make(dtype).state_dict()
        save(f"widened_{name(dtype)}", {k: v.float() if v.is_floating_point() else v for k, v in made.items()})
    save("ints", floats(lambda t: (t * 100).to(torch.int64)))
    save("hundred", floats(lambda t: t * 100))


main()
