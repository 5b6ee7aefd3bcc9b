"""What cannot be recorded: one line that names the place, and no plan."""

import contextlib
import io
import os
import random
import unittest

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

from .proof import prove, record, refusal, steps

by_name = random.random
HERE = os.path.basename(__file__)


def model_of(write):
    def construct():
        model = nn.Linear(3, 3)
        write(model)
        return model

    return construct


def buffer_of(make):
    return model_of(lambda model: model.register_buffer("extra", make(model.weight.data)))


class Refusals(unittest.TestCase):
    def refused(self, construct, *words, place=True):
        line = refusal(construct)
        for word in (*words, *([HERE] if place else [])):
            self.assertIn(word, line)
        # Everything is as before: the same process records on.
        prove(lambda: nn.Linear(2, 2), seeds=(5,))

    def test_branches(self):
        for read in (
            lambda w: w.sum().item(),
            lambda w: bool((w > 0).any()),
            lambda w: w.tolist(),
            lambda w: w.numpy(),
            lambda w: np.asarray(w),
            lambda w: float(w[0, 0]),
            lambda w: torch.equal(w, w),
            lambda w: w[w > 0],
            lambda w: w.nonzero(),
            lambda w: torch.allclose(w, w),
            lambda w: str(w),
            lambda w: [x for x in w if x[0] > 0],
        ):
            self.refused(buffer_of(lambda w: torch.tensor(float(bool(read(w) is not None)))), "branches on random values")

    def test_a_swallowed_error_is_one_all_the_same(self):
        def construct():
            model = nn.Linear(3, 3)
            try:
                if model.weight.sum() > 0:
                    nn.init.zeros_(model.bias)
            except BaseException:
                nn.init.ones_(model.bias)
            return model

        self.refused(construct, "branches on random values")

    def test_other_generators(self):
        self.refused(model_of(lambda m: m.bias.data.fill_(random.random())), "random")
        self.refused(model_of(lambda m: m.bias.data.fill_(np.random.rand())), "numpy.random")
        self.refused(model_of(lambda m: np.random.shuffle(np.arange(3))), "numpy.random")
        self.refused(model_of(lambda m: m.bias.data.fill_(by_name())), "random", place=False)
        self.refused(model_of(lambda m: np.random.default_rng()), "numpy.random")
        generator = lambda: torch.Generator().manual_seed(1)  # noqa: E731
        self.refused(model_of(lambda m: nn.init.normal_(m.weight, generator=generator())), "explicit generator")
        self.refused(model_of(lambda m: nn.init.trunc_normal_(m.weight, generator=generator())), "explicit generator")
        self.refused(buffer_of(lambda w: torch.randn(3, generator=generator())), "explicit generator")

    def test_the_generator_itself(self):
        self.refused(model_of(lambda m: torch.manual_seed(3)), "manual_seed")
        self.refused(model_of(lambda m: torch.get_rng_state()), "get_rng_state")
        self.refused(model_of(lambda m: torch.default_generator.manual_seed(3)), "generator moved", place=False)

    def test_ops(self):
        self.refused(buffer_of(lambda w: torch.tanh(w)), "extra", "aten::tanh", "vocabulary")
        self.refused(model_of(lambda m: m.weight.data.exponential_()), "exponential_")
        self.refused(buffer_of(lambda w: torch.bernoulli(torch.full((3,), 0.5))), "bernoulli")
        # Nobody reads it, and it draws nothing: no reason to refuse.
        prove(model_of(lambda m: torch.tanh(m.weight)), seeds=(5,))

    def test_tensors(self):
        self.refused(buffer_of(lambda w: torch.zeros(3, device="meta")), "extra", "meta", place=False)
        self.refused(buffer_of(lambda w: torch.zeros(3, dtype=torch.uint8).view(torch.bits8)), "extra", "bits8", place=False)
        self.refused(lambda: nn.LazyLinear(3), "weight", "lazy", place=False)
        self.refused(lambda: 7, "int", place=False)
        self.refused(model_of(lambda m: m.weight.data.untyped_storage().fill_(0)), "storage")

    def test_writes_through_numpy(self):
        def construct():
            model = nn.Linear(3, 3)
            model.register_buffer("table", torch.zeros(3))
            model.table.numpy()[1] = 2
            return model

        with self.assertRaises(ValueError):
            record.plan_of(construct, "model")

    def test_partly_overwritten_constants(self):
        def make(w):
            table = torch.from_numpy(np.array([1.0, 2.0, 3.0]))
            table[1] = 7.0
            return table

        prove(buffer_of(make), seeds=(5,))

    def test_values_that_are_no_draws_may_be_read(self):
        def construct():
            rates = [x.item() for x in torch.linspace(0, 0.1, 3)]
            model = nn.Linear(3, 3)
            nn.init.constant_(model.bias, rates[1])
            if (model.bias == rates[1]).all():
                nn.init.ones_(model.weight)
            if model.weight.sum() == 9:
                model.bias.data.mul_(2)
            return model

        prove(construct, seeds=(5,))

    def test_bad_arguments_are_pytorchs_complaints(self):
        for write in (
            lambda m: nn.init.normal_(m.weight, std=-1.0),
            lambda m: nn.init.uniform_(m.weight, 1.0, 0.0),
            lambda m: nn.init.orthogonal_(m.bias),
            lambda m: nn.init.sparse_(m.bias, 0.1),
            lambda m: nn.init.dirac_(m.weight),
            lambda m: m.weight.data.add_(torch.ones(7)),
        ):
            with self.assertRaises(Exception) as real:
                model_of(write)()
            with self.assertRaises(type(real.exception)):
                record.plan_of(model_of(write), "model")

    def test_no_copy_to_itself(self):
        text = prove(model_of(lambda m: m.bias.data[0:1].__iadd__(1)), seeds=(5,))
        self.assertEqual([row[0] for row in steps(text)], ["uniform_", "uniform_", "add"])
        def construct():
            model = nn.Linear(3, 3)
            model.bias.data[0] += 1
            return model
        self.assertNotIn("copy_", [row[0] for row in steps(prove(construct, seeds=(5,)))])


if __name__ == "__main__":
    unittest.main()
