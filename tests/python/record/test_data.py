"""Data that is neither drawn nor computed, uninitialized memory, lazy modules, dtypes of every kind: bits and bytes."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import unittest

import numpy
import safetensors.torch
import torch
from torch import nn

from .data_models import MODELS, UNSET, buffer, quiet
from .proof import prove, record, refusal

HERE = os.path.basename(__file__)


class DataAndDtypes(unittest.TestCase):
    def setUp(self):
        quiet()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_bits(self):
        for name, construct in MODELS.items():
            with self.subTest(name):
                text = prove(construct, name, seeds=(5,), unset=UNSET.get(name, ()))
                again, _ = record.plan_and_data(construct, name)
                self.assertEqual(again, text, "another plan of the same model")

    def test_what_needs_no_file(self):
        for name, has_data in (("exactly as much as a plan holds", False), ("more by one", True)):
            text, parts = record.plan_and_data(MODELS[name], name, "there.safetensors")
            self.assertEqual((bool(parts), '"data": ["there.safetensors",' in text), (has_data, has_data))

    def test_equal_data_is_stored_once(self):
        _, parts = record.plan_and_data(MODELS["reused arrays"], "model")
        tensors = safetensors.torch.load(b"".join(parts))
        self.assertEqual(len(tensors), 4)

    def run_here(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = record.main(args)
        return code, out.getvalue(), err.getvalue()

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_files(self):
        expression = "nn.ParameterList([torch.tensor([float(i) for i in range(20000)])])"
        for plan, data in (("a.plan.json", "a.plan.safetensors"), ("b.json", "b.plan.safetensors"), ("c", "c.plan.safetensors"),
                           (".json", ".json.plan.safetensors"), ("x.safetensors", "x.safetensors.plan.safetensors")):
            code, _, err = self.run_here(expression, "-o", self.path(plan))
            self.assertEqual((code, err), (0, ""))
            with open(self.path(plan)) as file:
                row = json.load(file)["data"]
            with open(self.path(data), "rb") as file:
                content = file.read()
            self.assertEqual(row, [data, len(content), hashlib.sha256(content).hexdigest()])
            self.assertEqual(sorted(os.listdir(self.folder)), sorted([plan, data]))
            # Again: the same bytes.
            self.assertEqual(self.run_here(expression, "-o", self.path(plan))[0], 0)
            with open(self.path(data), "rb") as file:
                self.assertEqual(file.read(), content)
            os.remove(self.path(plan))
            os.remove(self.path(data))

    def test_stdout_has_no_place_for_data(self):
        code, out, err = self.run_here("nn.ParameterList([torch.tensor([float(i) for i in range(20000)])])")
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(err.count("\n"), 1)
        self.assertIn("name the plan with -o", err)

    def test_a_failure_leaves_the_old_files(self):
        expression = "nn.ParameterList([torch.tensor([float(i) for i in range(20000)])])"
        os.mkdir(self.path("a.plan.safetensors"))
        with open(self.path("a.plan.json"), "w") as file:
            file.write("old")
        code, _, err = self.run_here(expression, "-o", self.path("a.plan.json"))
        self.assertEqual(code, 2)
        self.assertIn("a.plan.safetensors", err)
        self.assertEqual(err.count("\n"), 1)
        with open(self.path("a.plan.json")) as file:
            self.assertEqual(file.read(), "old")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.plan.json", "a.plan.safetensors"])

    def test_uninitialized_memory_is_not_computed_with(self):
        for make in (
            lambda m: torch.empty(5) + 1,
            lambda m: torch.empty(5).tanh(),
            lambda m: torch.Tensor(5).cumsum(0),
            lambda m: torch.full((2,), torch.empty(3)[1].item()),
            lambda m: m.weight.data.new(3).mul_(2),
            lambda m: torch.empty(6).index_fill_(0, torch.tensor([1]), 2.0).cosh(),
        ):
            line = refusal(buffer(make))
            self.assertIn("reads uninitialized memory", line)
            self.assertIn(HERE, line)
        # The result is never read.
        prove(buffer(lambda m: torch.ones(3) if (torch.empty(5) + 1).shape else None), seeds=(5,))

    def test_arrays_that_change_unseen(self):
        def construct(write):
            def make(m):
                array = numpy.zeros(30_000)
                table = torch.from_numpy(array)
                m.register_buffer("doubled", table * 2)
                write(m, array, table)
                m.register_buffer("tripled", table * 3)
                return table

            return buffer(make)

        for write in (
            lambda m, array, table: array.fill(3),
            lambda m, array, table: (array.fill(3), table.add_(1)),
            lambda m, array, table: (table.add_(1), array.fill(3)),
            lambda m, array, table: (table[3:5].fill_(1), array.__setitem__(7, 2)),
            lambda m, array, table: (array.__setitem__(7, 2), table[3:5].fill_(1)),
            lambda m, array, table: (array.__setitem__(7, 2), table[3:5].normal_()),
            lambda m, array, table: table.add_(1),
        ):
            prove(construct(write), seeds=(5,))
        line = refusal(construct(lambda m, array, table: (table[3:5].normal_(), array.__setitem__(7, 2))))
        self.assertIn("changed unseen", line)

    def test_uninitialized_memory_is_not_read(self):
        for read in (lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.sum().item(), lambda x: bool((x == x).all())):
            self.assertIn("reads uninitialized memory", refusal(buffer(lambda m: torch.ones(1) if read(torch.empty(3)) is not None else None)))

    def test_lazy_without_a_forward(self):
        self.assertIn("lazy", refusal(lambda: nn.LazyLinear(3)))

    def test_conjugate_views(self):
        self.assertIn("conj", refusal(buffer(lambda m: torch.randn(3, dtype=torch.cfloat).conj())))


if __name__ == "__main__":
    unittest.main()
