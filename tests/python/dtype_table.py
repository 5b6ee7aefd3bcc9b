"""What PyTorch does with a tensor of every dtype: prints it, and saves it in every format.

    python dtype_table.py cases.json results.json results.bin

`cases.json` names a folder to write to. `results.json` has, for each dtype, what PyTorch prints of a few
bytes in several shapes (null if it raises), and the files that have it, with the shape in them.
"""

import io
import json
import math
import os
import sys
import warnings

import numpy
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
SHAPES = [[6], [2, 3], [], [0], [0, 3], [40, 50], [3, 1]]


def bytes_of(dtype, count):
    """Every byte at least once in the large shape; a bool is 0 or 1."""
    data = (torch.arange(count * dtype.itemsize) * 37 + 120).to(torch.uint8)
    return data % 2 if dtype == torch.bool else data


def tensor(dtype, shape):
    count = math.prod(shape)
    return bytes_of(dtype, max(count, 1)).view(dtype)[:count].reshape(shape)


def printed(dtype, shape):
    try:
        return str(tensor(dtype, shape))
    except (NotImplementedError, RuntimeError):
        return None


def save_script(value, path):
    module = torch.nn.Module()
    module.register_buffer("x", value)
    module.register_buffer("w", torch.ones(2))
    torch.jit.script(module).save(path)


SAVE = {
    "pt": lambda value, path: torch.save({"x": value, "w": torch.ones(2)}, path),
    "legacy.pt": lambda value, path: torch.save({"x": value, "w": torch.ones(2)}, path, _use_new_zipfile_serialization=False),
    "ts": save_script,
    "safetensors": lambda value, path: save_file({"x": value, "w": torch.ones(2)}, path),
    "npz": lambda value, path: numpy.savez(path, x=value.numpy(), w=numpy.ones(2, numpy.float32)),
    "npy": lambda value, path: numpy.save(path, value.numpy()),
}


def main(cases, results, data):
    with open(cases) as f:
        folder = json.load(f)["folder"]
    dtypes = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)
    rows = []
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        files = {}
        for extension, save in SAVE.items():
            path = os.path.join(folder, name, f"x.{extension}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                save(tensor(dtype, [2, 3]), path)
            except Exception:
                if os.path.exists(path):
                    os.remove(path)
                continue
            files[extension] = path
        rows.append({"dtype": name, "size": dtype.itemsize, "printed": [printed(dtype, shape) for shape in SHAPES], "files": files,
                     "bytes": tensor(dtype, [2, 3]).view(torch.uint8).reshape(-1).tolist()})
    with open(results, "w") as f:
        json.dump({"shapes": SHAPES, "rows": rows}, f)
    open(data, "wb").close()


main(*sys.argv[1:])
