"""Writes layers as PyTorch draws and prints them: what `explain --layers` reads.

    python tests/python/printed.py OUT_DIR        (torch 2.13, safetensors)

For each case `N.txt` is what `print(model)` prints and `N.safetensors` the `state_dict` after
`manual_seed(N)`; `cases.json` lists the expressions.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

CASES = [
    "nn.LayerNorm(5, bias=False)",
    "nn.LayerNorm((2, 3), elementwise_affine=False)",
    "nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4, bias=False), nn.Linear(4, 2))",
    "nn.ConvTranspose2d(3, 4, (2, 3))",
    "nn.TransformerEncoderLayer(16, 4, 24)",
    "nn.TransformerEncoderLayer(16, 4, 24, activation='gelu', norm_first=True, bias=False)",
    "nn.TransformerDecoderLayer(16, 4, 24)",
    "nn.TransformerDecoderLayer(16, 4, 24, bias=False)",
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24), 3)",
    "nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24), 2, nn.LayerNorm(16, bias=False))",
    "nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 24), 2, nn.LayerNorm(16))",
    "nn.Transformer(16, 4, 2, 3, 24)",
    "nn.Transformer(16, 4, 1, 1, 24, bias=False)",
    "nn.AdaptiveLogSoftmaxWithLoss(16, 100, [10, 40])",
    "nn.AdaptiveLogSoftmaxWithLoss(24, 60, [10, 30, 50], div_value=2.0, head_bias=True)",
    "nn.LinearCrossEntropyLoss(6, 4)",
    "nn.LinearCrossEntropyLoss(6, 4, bias=True)",
]
# The positions of all later draws depend on every layer before.
CASES.append("nn.Sequential(" + ", ".join(c for case in CASES for c in (case, "nn.Linear(3, 5)")) + ")")


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(CASES):
        torch.manual_seed(number)
        model = eval(case)
        (out / f"{number}.txt").write_text(f"{model}\n")
        save_file({name: t.detach().clone() for name, t in model.state_dict().items()},
                  str(out / f"{number}.safetensors"))
    (out / "cases.json").write_text(json.dumps(CASES))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: printed.py OUT_DIR")
    main(Path(sys.argv[1]))
