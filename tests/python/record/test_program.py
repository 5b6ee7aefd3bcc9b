"""The script as a program: what it prints, which files it leaves, and what it takes."""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import unittest

from .proof import ROOT, record

SCRIPT = os.path.join(ROOT, "python", "record.py")

MODULE = """
import torch
from torch import nn

def make(width, bias=True):
    print("noise on stdout")
    return nn.Linear(width, 2, bias=bias)

def branches():
    model = nn.Linear(2, 2)
    if model.weight.sum() > 0:
        return model
    return None

def huge():
    # 70 billion parameters, some of them filled, some copied.
    layers = []
    for _ in range(80):
        layers.append(nn.ModuleList([nn.Linear(8192, 28672, bias=False) for _ in range(3)]
                                    + [nn.Linear(8192, 8192) for _ in range(2)]))
        nn.init.zeros_(layers[-1][0].weight)
        layers[-1][1].weight.data.mul_(0.5)
    return nn.ModuleList(layers)
"""


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(os.path.join(self.folder, "mine.py"), "w") as file:
            file.write(MODULE)

    def run_script(self, *args, **options):
        return subprocess.run([sys.executable, SCRIPT, *args], cwd=self.folder, capture_output=True, text=True, **options)

    def run_here(self, *args):
        """In this process: a fresh one takes seconds to import torch."""
        out, err, here, path = io.StringIO(), io.StringIO(), os.getcwd(), list(sys.path)
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = record.main(args)
        finally:
            os.chdir(here)
            sys.path[:] = path
            sys.modules.pop("mine", None)
        return code, out.getvalue(), err.getvalue()

    def test_function_with_arguments(self):
        run = self.run_script("mine:make", "--args", '{"width": 5, "bias": false}', "-o", "a.json")
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        self.assertIn("noise", run.stderr)
        with open(os.path.join(self.folder, "a.json")) as file:
            plan = json.load(file)
        self.assertEqual(plan["model"], 'mine:make --args {"width":5,"bias":false}')
        self.assertEqual(plan["storages"], [40])
        self.assertEqual(sorted(set(os.listdir(self.folder)) - {"__pycache__"}), ["a.json", "mine.py"])

    def test_expression(self):
        first = self.run_script("mine.make(3)")
        second = self.run_script("mine.make(3)", env={**os.environ, "PYTHONHASHSEED": "7"})
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(first.stdout, second.stdout)
        self.assertEqual(json.loads(first.stdout)["storages"], [24, 8])
        code, _, err = self.run_here("eval('mine').make(3)", "--import", "mine")
        self.assertEqual(code, 0, err)

    def test_errors_are_one_line(self):
        for args, words in (
            (["mine:branches"], ["mine.py:11", "branches on random values"]),
            (["mine:nothing"], ["nothing"]),
            (["nomodule:make"], [sys.executable, "has no module nomodule"]),
            (["mine.make(3)", "--import", "nomodule"], ["has no module nomodule"]),
            (["mine.make(3)", "-o", "/dev/null"], ["/dev/null", "not a regular file"]),
            (["mine.make(3)", "--config", "mine.py"], ["mine.py is not JSON"]),
            (["{}['x' * 9999]"], ["xxx [...]"]),
            (["nomodule.make()"], ["nomodule"]),
            (["mine.make("], ["mine.make("]),
            (["mine:make"], ["width"]),
            (["mine:make", "--args", "{"], ["--args"]),
            (["mine:make", "--args", "3"], ["--args"]),
            (["mine.make(3)", "--args", "[]"], ["--args"]),
            (["mine.make(3)", "--config", "none.json"], ["none.json"]),
            (["mine.make(3)", "-o", "none/a.json"], ["the folder", "none", "does not exist"]),
            (["mine.make(0/0)"], ["ZeroDivisionError"]),
            (["1"], ["int"]),
            ([], ["EXPR"]),
        ):
            with self.subTest(args):
                code, out, err = self.run_here(*args)
                self.assertEqual((code, out), (2, ""), err)
                lines = [x for x in err.splitlines() if x != "noise on stdout"]
                self.assertEqual(len(lines), 1, err)
                for word in words:
                    self.assertIn(word, lines[0])

    def test_a_failure_leaves_the_old_file(self):
        with open(os.path.join(self.folder, "a.json"), "w") as file:
            file.write("old")
        self.assertEqual(self.run_script("mine:branches", "-o", "a.json").returncode, 2)
        with open(os.path.join(self.folder, "a.json")) as file:
            self.assertEqual(file.read(), "old")

    def test_links_are_followed(self):
        path = lambda name: os.path.join(self.folder, name)  # noqa: E731
        os.mkdir(path("plans"))
        os.symlink("plans/a.json", path("link.json"))
        self.assertEqual(self.run_here("mine.make(3)", "-o", "link.json")[0], 0)
        self.assertTrue(os.path.islink(path("link.json")))
        self.assertEqual(os.listdir(path("plans")), ["a.json"])

    def test_stdout_may_be_full_or_closed(self):
        command = [sys.executable, SCRIPT, "nn.Linear(2, 2)"]
        # What is buffered is written once more when Python ends.
        for unbuffered in ("", "1"):
            options = {"env": {**os.environ, "PYTHONUNBUFFERED": unbuffered}, "stderr": subprocess.PIPE, "text": True}
            with self.subTest(unbuffered=unbuffered):
                with open("/dev/full", "w") as full:
                    run = subprocess.run(command, stdout=full, **options)
                self.assertEqual(run.returncode, 2)
                self.assertEqual(run.stderr, "record.py: stdout cannot be written: No space left on device\n")
                read, write = os.pipe()
                os.close(read)
                run = subprocess.run(command, stdout=write, **options)
                os.close(write)
                self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_seventy_billion_parameters(self):
        start = time.perf_counter()
        run = self.run_script("mine:huge", "-o", "a.json")
        seconds = time.perf_counter() - start
        self.assertEqual(run.returncode, 0, run.stderr)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        self.assertLess(peak, 2e9)
        self.assertLess(seconds, 120)
        with open(os.path.join(self.folder, "a.json")) as file:
            plan = json.load(file)
        self.assertGreater(sum(plan["storages"]), 4 * 67e9)


if __name__ == "__main__":
    unittest.main()
