"""Pairs of tensors and what torch.testing.assert_close says of them.

    python assert_close.py OUT_DIR

Writes a.safetensors, b.safetensors and verdicts.json: for each pair its name, the arguments, whether
it passed, and the figures of the message.
"""

import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.testing import assert_close

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
EIGHTS = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
COMPLEX = [torch.complex64]
TOLERANCES = {torch.float16: (1e-3, 1e-5), torch.bfloat16: (1.6e-2, 1e-5), torch.float32: (1.3e-6, 1e-5),
              torch.float64: (1e-7, 1e-7)}

A, B, VERDICTS = {}, {}, []


def add(a, b, **arguments):
    name = f"{len(VERDICTS):04}"
    verdict = {"name": name, "arguments": arguments, "same": True}
    try:
        assert_close(a, b, **arguments)
    except AssertionError as error:
        message = str(error)
        verdict["same"] = False
        for key, pattern in [("mismatched", r"Mismatched elements: (\d+) /"),
                             ("absolute", r"Greatest absolute difference: (\S+)"),
                             ("relative", r"Greatest relative difference: (\S+)")]:
            found = re.search(pattern, message)
            verdict[key] = found and found[1]
        verdict["index"] = [[int(i) for i in found.split(",") if i.strip()]
                            for found in re.findall(r"at index \(([^)]*)\)", message)]
    A[name], B[name] = a.clone().contiguous(), b.clone().contiguous()
    VERDICTS.append(verdict)


def values(dtype, shape):
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    if not dtype.is_floating_point and not dtype.is_complex:
        return torch.randint(0, 100, shape).to(dtype)
    if dtype in EIGHTS:
        return torch.randn(shape).to(dtype)
    return torch.randn(shape, dtype=dtype)


def noisy(a, scale):
    if a.dtype in EIGHTS or not (a.dtype.is_floating_point or a.dtype.is_complex):
        return a.clone()
    wide = torch.complex128 if a.dtype.is_complex else torch.float64
    return (a.to(wide) * (1 + scale * torch.randn(a.shape, dtype=torch.float64))).to(a.dtype)


def special(a, kind):
    b = a.clone().flatten()
    if a.dtype in EIGHTS:
        wide = b.float()
    elif a.dtype.is_floating_point:
        wide = b
    else:
        return a
    place = int(torch.randint(0, b.numel(), ()))
    wide[place] = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "0": 0.0, "-0": -0.0,
                   "tiny": torch.finfo(a.dtype).smallest_normal / 4}[kind]
    return wide.to(a.dtype).reshape(a.shape)


def main(out):
    torch.manual_seed(0)
    for dtype in FLOATS + EIGHTS + INTEGERS + COMPLEX:
        for shape in [(), (1,), (7,), (3, 5), (2, 3, 4), (0,)]:
            a = values(dtype, shape)
            add(a, a.clone())
            for scale in [1e-9, 1e-7, 3e-6, 1e-3, 1e-1]:
                add(a, noisy(a, scale))
            other = values(dtype, shape)
            add(a, other)
    for dtype in FLOATS:
        rtol, atol = TOLERANCES[dtype]
        for a in [1.0, 3.0, 1e-3, 1e3, 0.0, 5e-6, 1.7]:
            b = torch.full((4,), a, dtype=dtype)
            edge = (atol + rtol * b.double().abs()).to(dtype)
            for steps in range(-2, 3):
                moved = edge
                for _ in range(abs(steps)):
                    toward = float("inf") if steps > 0 else float("-inf")
                    moved = torch.nextafter(moved, torch.full_like(moved, toward))
                add(b + moved, b)
                add(b - moved, b)
        for kinds in [("nan", "nan"), ("nan", "1"), ("inf", "inf"), ("inf", "-inf"), ("0", "-0"), ("tiny", "0"),
                      ("tiny", "tiny"), ("inf", "nan")]:
            for equal_nan in [False, True]:
                a, b = (torch.tensor([1.0, float({"tiny": torch.finfo(dtype).tiny / 4}.get(kind, kind))], dtype=dtype)
                        for kind in kinds)
                add(a, b, equal_nan=equal_nan)
                add(a, b, equal_nan=equal_nan, rtol=0.0, atol=0.0)
    for dtype in FLOATS + EIGHTS:
        for kind in ["nan", "inf", "-inf", "0", "-0", "tiny"]:
            a = values(dtype, (4, 5))
            add(special(a, kind), a)
            add(a, special(a, kind), equal_nan=True)
    for x in FLOATS + [torch.int32, torch.int64, torch.bool]:
        for y in FLOATS + [torch.int32, torch.uint8]:
            if x != y:
                a = values(torch.float64, (3, 4)).mul(4).to(x)
                add(a, a.to(y))
                add(a, a.to(y), check_dtype=False)
                add(a, a.double().add(0.01).to(y), check_dtype=False)
    for dtype in FLOATS + INTEGERS[1:] + COMPLEX:
        for rtol, atol in [(0.1, 0.0), (0.0, 0.1), (0.0, 2.0), (1e-3, 1e-3)]:
            a = values(dtype, (5, 6))
            add(a, (a.to(torch.complex128 if dtype.is_complex else torch.float64) + 0.1).to(dtype), rtol=rtol, atol=atol)
            add(a, values(dtype, (5, 6)), rtol=rtol, atol=atol)
    add(torch.zeros(2, 3), torch.zeros(3, 2))
    add(torch.zeros(2, 3), torch.zeros(6))
    save_file(A, out / "a.safetensors")
    save_file(B, out / "b.safetensors")
    (out / "verdicts.json").write_text(json.dumps(VERDICTS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
