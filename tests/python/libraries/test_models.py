"""Models of torchvision, timm, transformers and torch.nn, from the program and from Python, bit for bit.

`make test-models` runs it: it needs the libraries (`./setup --models`) and the program (`cargo build`).
"""

import concurrent.futures
import multiprocessing
import os
import tempfile
import time
import unittest

import torch

from .models import BY_PROGRAM, models
from .proof import program, prove

# The processes share what is imported before.
FORK = multiprocessing.get_context("fork")


def job(case, tch_init, folder):
    """One model in a process of its own: PyTorch's stream is the process's."""
    torch.set_num_threads(1)
    name, expression, options = case
    start = time.perf_counter()
    size = prove(tch_init, folder, name, expression, options, name in BY_PROGRAM)
    return f"{name}: a plan of {size} bytes, {time.perf_counter() - start:.1f} s", size


class Models(unittest.TestCase):
    def test_bits(self):
        import timm, torchvision, transformers  # noqa: E401, F401

        workers = min(os.cpu_count() or 1, 4)
        tch_init, sizes = program(), {}
        with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(workers, FORK) as pool:
            jobs = {case[0]: pool.submit(job, case, tch_init, folder) for case in models()}
            for name, done in jobs.items():
                with self.subTest(name):
                    said, sizes[name] = done.result()
                    print(said, flush=True)
        self.assertEqual(len(sizes), 18)
        self.assertLess(sizes["resnet50"], 40_000)


if __name__ == "__main__":
    unittest.main()
