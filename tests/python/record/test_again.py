"""What is another in each run, or depends on the seed itself: refused where the plan depends on it, and recorded where it does not."""

import datetime
import io
import logging
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from random import Random, SystemRandom
from time import time as now

import numpy as np
import torch
from numpy.random import PCG64, Generator, RandomState, default_rng
from torch import default_generator, nn

from .proof import ROOT, prove, record, refusal

HERE = os.path.basename(__file__)


def filled(value):
    """A layer with a bias of this value, one draw, and a number that its forward pass may have."""

    def construct():
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        nn.init.constant_(model[0].bias, float(value()))
        return model

    return construct


class Again(unittest.TestCase):
    def refused(self, value, *words):
        said = refusal(filled(value))
        for word in ("0.bias", *words):
            self.assertIn(word, said)
        prove(lambda: nn.Linear(2, 2), seeds=(5,))

    def test_random_numbers_that_no_seed_sets(self):
        """Of a million values or more each: the second and the third recording may have the same by chance."""
        kept = []

        def object_kept():
            kept.append(object())
            return kept[-1]

        for value, word in (
            (lambda: int.from_bytes(os.urandom(3), "little"), "os.urandom"),
            (lambda: int.from_bytes(os.getrandom(3), "little"), "os.getrandom"),
            (lambda: secrets.randbelow(1 << 20), "secrets.randbelow"),
            (lambda: int.from_bytes(secrets.token_bytes(3), "little"), "secrets.token_bytes"),
            (lambda: random.SystemRandom().random(), "random.SystemRandom.random"),
            (lambda: SystemRandom().randint(0, 1 << 30), "random"),
            (lambda: Random().random(), "random.Random"),
            (lambda: uuid.uuid4().int % 1000003, "uuid.uuid4"),
            (lambda: uuid.uuid1().time_low % 100003, "uuid.uuid1"),
            (lambda: default_rng().random(), "getrandbits"),
            (lambda: RandomState().rand(), "getrandbits"),
            (lambda: Generator(PCG64()).random(), "getrandbits"),
            (lambda: sum(hash(object_kept()) for _ in range(100)) % 1000003, ""),
            (lambda: os.getpid(), "os.getpid"),
        ):
            with self.subTest(word):
                self.refused(value, word, HERE if word else "")

    def test_time(self):
        for value, word in (
            (time.time, "time.time"),
            (now, "time.time"),
            (lambda: int(now()), "time.time"),
            (lambda: time.time_ns() // 10**9, "time.time_ns"),
            (time.perf_counter, "time.perf_counter"),
            (time.monotonic, "time.monotonic"),
            (lambda: int(time.strftime("%S")), "time.strftime"),
            (lambda: time.localtime().tm_sec, "time.localtime"),
            (lambda: time.gmtime().tm_mday, "time.gmtime"),
            (lambda: datetime.datetime.now().day, "datetime.now"),
            (lambda: int(datetime.datetime.now(datetime.timezone.utc).timestamp()), "datetime.now"),
            (lambda: datetime.date.today().toordinal(), "today"),
        ):
            with self.subTest(word):
                self.refused(value, word, HERE)

    def test_seeds(self):
        self.refused(default_generator.initial_seed, "initial_seed", "seed itself")
        for modulus in (2, 3, 10, 1000, 65536):
            self.refused(lambda: torch.default_generator.initial_seed() % modulus, "seed itself")
        self.refused(lambda: float(default_generator.initial_seed() < 1 << 32), "seed itself")

        def seeded(seed):
            def construct():
                model = nn.Linear(3, 2)
                model.weight.data.normal_(generator=torch.Generator().manual_seed(seed()))
                return model

            return construct

        for seed in (lambda: int(now()), lambda: os.urandom(1)[0], lambda: default_generator.initial_seed() % 97):
            self.assertIn("weight depends on", refusal(seeded(seed)))
        for seed in (0, 21, 1000):
            prove(seeded(lambda: seed))

    def test_decisions(self):
        def shape():
            return nn.Linear(3, 2 + int(now()) % 7)

        def order():
            model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(40)])
            for p in set(model.parameters()):
                nn.init.normal_(p)
            return model

        def name():
            model = nn.Linear(3, 2)
            model.register_buffer(f"b{uuid.uuid4().hex}", torch.zeros(2))
            return model

        def more():
            model = nn.Linear(3, 2)
            for _ in range(os.urandom(1)[0]):
                torch.rand(1)
            return model

        def data():
            model = nn.Linear(3, 2)
            model.register_buffer("one", torch.from_numpy(np.arange(50000.0)))
            model.register_buffer("two", torch.from_numpy(default_rng().random(50000)))
            return model

        self.assertIn("shape of weight", refusal(shape))
        self.assertIn("depends on", refusal(order))
        self.assertIn("names of the tensors", refusal(name))
        self.assertIn("draws depend", refusal(more))
        self.assertIn("two depends on", refusal(data))

    def test_what_decides_nothing(self):
        def construct():
            start, log = time.time(), io.StringIO()
            logger = logging.getLogger("record-test")
            logger.addHandler(logging.StreamHandler(log))
            model = nn.Linear(3, 2)
            model.made, model.id, model.token = datetime.datetime.now(), uuid.uuid4(), secrets.token_hex()
            model.rng = default_rng()
            print(f"{time.time() - start} s, seed {default_generator.initial_seed()}, pid {os.getpid()}")
            logger.warning("made %s in %s", model.id, tempfile.gettempdir())
            return model

        prove(construct)

    def test_what_the_process_keeps(self):
        """The second recording is not after the first: tables and counters of modules are as they were."""
        kept = {}

        def construct():
            kept.setdefault("table", torch.arange(30000.0).sin())
            kept["count"] = kept.get("count", 0) + 1
            model = nn.Linear(3, kept["count"])
            model.register_buffer(f"table{kept['count']}", kept["table"])
            return model

        text = record.plan_of(construct, "model")
        self.assertIn('"table1"', text)
        self.assertEqual(kept["count"], 1)

    def test_constants_of_several_threads(self):
        def construct():
            model = nn.Linear(3, 2)
            model.register_buffer("sum", torch.arange(1000001.0).sqrt().sum() + torch.get_num_threads())
            return model

        prove(construct, seeds=())

    def test_modules_that_are_imported(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "mine.py"), "w") as file:
                file.write("import time, torch, numpy\nSEED = int(time.time())\nRNG = numpy.random.default_rng()\nFIXED = numpy.random.default_rng(3)\n"
                           "def time_of_import():\n    m = torch.nn.Linear(2, 2)\n    m.bias.data.fill_(SEED)\n    return m\n"
                           "def generator():\n    m = torch.nn.Linear(2, 2)\n    m.bias.data.fill_(RNG.random())\n    return m\n"
                           "def fixed():\n    m = torch.nn.Linear(2, 2)\n    m.bias.data.fill_(FIXED.random())\n    return m\n")
            script = os.path.join(ROOT, "python", "record.py")
            for name, code in (("time_of_import", 2), ("generator", 2), ("fixed", 0)):
                run = subprocess.run([sys.executable, script, f"mine:{name}"], cwd=folder, capture_output=True, text=True)
                self.assertEqual(run.returncode, code, run.stderr)
                self.assertEqual(code == 0, bool(run.stdout))
                if code:
                    self.assertIn("bias depends on", run.stderr)
                    self.assertEqual(run.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
