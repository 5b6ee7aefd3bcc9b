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
        self.refused(model_of(lambda m: (random.seed(), random.random())), "random")
        self.refused(model_of(lambda m: (np.random.seed(None), np.random.rand())), "numpy.random")

    def test_seeds_that_the_plan_does_not_know(self):
        self.refused(model_of(lambda m: torch.seed()), "torch.seed")
        self.refused(model_of(lambda m: torch.Generator().seed()), "Generator.seed")
        self.refused(model_of(lambda m: torch.initial_seed()), "torch.initial_seed")

        def derived(m):
            torch.manual_seed(torch.default_generator.initial_seed() + 1)
            m.weight.data.normal_()

        self.refused(model_of(derived), "seed of the default generator")

    def test_generators_that_moved_unseen(self):
        earlier = torch.Generator().manual_seed(1)
        torch.rand(3, generator=earlier)
        self.refused(model_of(lambda m: m.weight.data.normal_(generator=earlier)), "moved in a way that was not recorded")

        def unseen(m):
            # Not as an op of aten: a state that no draw of the constructor left.
            state = torch.Generator().manual_seed(3).get_state()
            with torch.utils._python_dispatch._disable_current_modes():
                other = torch.Generator()
                other.set_state(state)
                torch.rand(2, generator=other)
            m.weight.data.normal_(generator=other)

        self.refused(model_of(unseen), "moved in a way that was not recorded")

    def test_states_as_values(self):
        self.refused(buffer_of(lambda w: torch.get_rng_state()), "state of a generator", place=False)
        self.refused(buffer_of(lambda w: torch.default_generator.get_state()), "state of a generator", place=False)
        self.refused(buffer_of(lambda w: torch.get_rng_state().sum().item() * w), "branches on random values")

    def test_ops(self):
        self.refused(buffer_of(lambda w: torch.linalg.lstsq(w, w).solution), "gelsy", "uninitialized", "gelsd")
        self.refused(buffer_of(lambda w: torch.special.zeta(w, w)), "extra", "aten::special_zeta", "vocabulary")
        self.refused(buffer_of(lambda w: torch.binomial(torch.full((3,), 5.0), torch.full((3,), 0.5))), "binomial")
        # Nobody reads it, and it draws nothing: no reason to refuse.
        prove(model_of(lambda m: torch.special.zeta(m.weight, m.weight)), seeds=(5,))

    def test_sizes_that_depend_on_draws(self):
        for select in (
            lambda w: w[w > 0],
            lambda w: w.masked_select(w > 0),
            lambda w: w.unique(),
            lambda w: w.repeat_interleave(torch.randint(1, 3, (3,)), dim=0),
            lambda w: torch.bincount(torch.randint(0, 3, (9,))),
        ):
            self.refused(buffer_of(select), "branches on random values")

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

        prove(construct, seeds=(5,))

        def late():
            model = nn.Linear(3, 3)
            table = torch.zeros(3)
            array = table.numpy()
            table.normal_()
            array[1] = 2
            model.register_buffer("table", table)
            return model

        self.refused(late, "numpy", place=False)

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
