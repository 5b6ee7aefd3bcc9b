"""Writes tests/data/meta_tensor.pt: a TorchScript module that returns a tensor on the device `meta`.

    .venv/bin/python tests/python/meta_tensor.py

Such a tensor has a storage whose bytes the host cannot read, as one on CUDA has, and exists without a GPU. tch cannot
create one.
"""

from pathlib import Path

import torch


class Meta(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.empty([2, 3], device="meta")


torch.jit.save(torch.jit.script(Meta()), Path(__file__).parent.parent / "data/meta_tensor.pt")
