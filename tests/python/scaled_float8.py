"""Writes scaled checkpoints of one-byte floats and what they were made of.

    python scaled_float8.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` has, for each file, the file of the unscaled model, the name of the weight and
of its scale, which elements have one scale, and whether the product is the unscaled weight bit for bit.
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file


def blocks(tensor, block):
    """The scales of the blocks of a matrix, repeated to its shape."""
    scale = tensor
    for dim, size in enumerate(block):
        scale = scale.repeat_interleave(size, dim)
    return scale


def quantize(weight, dtype, shape, block, scale_dtype):
    """As the libraries do: the greatest magnitude of a block becomes the greatest number of the dtype."""
    full = torch.nn.functional.pad(weight, (0, -weight.shape[1] % block[1], 0, -weight.shape[0] % block[0]))
    parts = full.reshape(full.shape[0] // block[0], block[0], full.shape[1] // block[1], block[1])
    scale = (parts.abs().amax((1, 3)) / torch.finfo(dtype).max).to(scale_dtype)
    repeated = blocks(scale.float(), block)[: weight.shape[0], : weight.shape[1]]
    limit = torch.finfo(dtype).max
    return (weight / repeated).clamp(-limit, limit).to(dtype), scale.reshape(shape), repeated


def main(cases, results, data):
    with open(cases) as f:
        folder = json.load(f)["folder"]
    torch.manual_seed(1)
    model = torch.nn.Linear(200, 300)
    weight, bias = model.weight.detach(), model.bias.detach()
    found = []
    e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
    for i, (dtype, name, shape, block, scale_dtype, layout) in enumerate([
        (e4m3, "fc.weight_scale", [], (300, 200), torch.float32, "one scale"),
        (e4m3, "fc.weight_scale", [1], (300, 200), torch.bfloat16, "one scale"),
        (e4m3, "fc.scale_weight", [], (300, 200), torch.float32, "one scale"),
        (e5m2, "fc.weight_scale", [300, 1], (1, 200), torch.float32, "one scale per row"),
        (e4m3, "fc.weight_scale", [300], (1, 200), torch.float32, "one scale per row"),
        (e4m3, "fc.weight_scale_inv", [3, 2], (128, 128), torch.float32, "one scale per block of [128, 128]"),
        (torch.float8_e4m3fnuz, "fc.weight_scale_inv", [3, 2], (128, 128), torch.bfloat16, "one scale per block of [128, 128]"),
    ]):
        # Each takes a few runs of the program.
        for original in [torch.float32] + [torch.bfloat16] * (i in (0, 4, 5)) + [torch.float16] * (i == 1):
            quantized, scale, repeated = quantize(weight.to(original).float(), dtype, shape, block, scale_dtype)
            unscaled = {
                "original": weight.to(original),
                "product": (quantized.float() * repeated).to(original),
                "rounded": quantized.to(original) * repeated.to(original),
            }
            yours = f"scaled{i}.{original}.safetensors"
            save_file({"fc.weight": quantized, name: scale, "fc.bias": bias.to(original)}, os.path.join(folder, yours))
            for kind, value in unscaled.items():
                reference = f"{kind}{i}.{original}.safetensors"
                save_file({"fc.weight": value.contiguous(), "fc.bias": bias.to(original)}, os.path.join(folder, reference))
                found.append({"scaled": yours, "unscaled": reference, "weight": "fc.weight", "scale": name, "layout": layout, "exact": kind != "original"})
    with open(results, "w") as f:
        json.dump(found, f)
    open(data, "wb").close()


if __name__ == "__main__":
    main(*sys.argv[1:])
