"""Makes the stored files of this folder but `named.ot`:  python make.py

`named.ot` is tch 0.26's: `Tensor::save_multi` of `fc.weight` (arange(6) as f32, 2 x 3, transposed) and
`steps` (the i64 scalar 7).
"""

import collections
import os

import numpy
import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))

weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
state = collections.OrderedDict([("fc.weight", weight), ("fc.tied", weight.t()), ("norm.steps", torch.tensor(7))])
torch.save({"model": state, "epoch": 3, "lr": [0.1, 0.2], "half": torch.full((2,), 1.5).to(torch.float8_e5m2)}, "checkpoint.pt")
torch.save(state, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(1, 1), "module.pt")
torch.save({"x": weight.to_sparse()}, "sparse.pt")
torch.save({"x": torch.tensor([1 + 2j]).conj()}, "conjugate.pt")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2, bias=False)
        self.fc.weight.data = weight.clone()
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x):
        return self.fc(x)


torch.jit.script(Net()).save("script.pt")
arrays = {"f": numpy.asfortranarray(numpy.arange(6, dtype=numpy.int16).reshape(2, 3)), "zeros": numpy.zeros((30, 30)), "s": numpy.float16(1.5)}
numpy.savez_compressed("deflated.npz", **arrays)
numpy.savez("stored.npz", **arrays)
numpy.savez_compressed("objects.npz", good=numpy.zeros(2), bad=numpy.array([{}, None]))
