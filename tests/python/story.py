"""Writes the weights of three wrong ports and of PyTorch, for docs/porting.md, and the two bare files of the README.

    python tests/python/story.py OUT_DIR        (torch 2.13, safetensors)

`pytorch.safetensors` and `net.txt` are what PyTorch makes and prints after `manual_seed(42)`. Each port
differs from it by one mistake: `scale` has tch's gain in its weights, `order` draws each bias before its
weight, `transpose` stores the weights as (in, out).
"""

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

SEED = 42


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)


def port(order=("weight", "bias"), gain=1.0):
    """The same net without torch.nn: each tensor is drawn explicitly."""
    torch.manual_seed(SEED)
    tensors = {}
    for name, fan_in, fan_out in (("fc1", 784, 128), ("fc2", 128, 10)):
        bound = 1 / math.sqrt(fan_in)
        for part in order:
            shape, factor = ((fan_out, fan_in), gain) if part == "weight" else ((fan_out,), 1.0)
            tensors[f"{name}.{part}"] = torch.empty(shape).uniform_(-factor * bound, factor * bound)
    return tensors


def main(out):
    torch.manual_seed(SEED)
    net = Net()
    right = {name: tensor.detach() for name, tensor in net.state_dict().items()}
    drawn = port()
    assert all(torch.equal(drawn[name], tensor) for name, tensor in right.items())

    ports = {"scale": port(gain=math.sqrt(6)), "order": port(order=("bias", "weight")),
             "transpose": {n: t.t().contiguous() if t.dim() == 2 else t for n, t in right.items()}}
    out.mkdir(parents=True, exist_ok=True)
    (out / "net.txt").write_text(f"{net}\n")
    save_file(right, str(out / "pytorch.safetensors"))
    for name, tensors in ports.items():
        wrong = [n for n, t in tensors.items() if not torch.equal(t, right[n])]
        assert wrong == {"order": ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]}.get(
            name, ["fc1.weight", "fc2.weight"]), (name, wrong)
        save_file(tensors, str(out / f"{name}.safetensors"))
        print(f"{name}.safetensors: {', '.join(wrong)} differ")
    # Two bare files of an uncommon seed. Only ours draws five numbers before its weights.
    for name, draws in (("python", 0), ("ours", 5)):
        torch.manual_seed(3141592653)
        torch.randn(draws)
        save_file(Net().state_dict(), str(out / f"{name}.safetensors"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: story.py OUT_DIR")
    main(Path(sys.argv[1]))
