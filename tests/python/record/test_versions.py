"""Which PyTorch is accepted, as what, and what of it is recorded in another way."""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import torch
from torch import nn

from .proof import ROOT, prove, record, refusal, steps

versions = record.versions
HERE = os.path.dirname(torch.__file__)
FILES = sorted({key.partition(":")[0] for key in versions.TABLE["functions"]})
TRUNC = "nn/init.py:_no_grad_trunc_normal_"


class Folder:
    """A copy of the files of PyTorch that are hashed, which a test may change."""

    def __init__(self, case):
        temporary = tempfile.TemporaryDirectory()
        case.addCleanup(temporary.cleanup)
        self.site = temporary.name
        self.path = os.path.join(self.site, "torch")
        for file in FILES:
            os.makedirs(os.path.dirname(os.path.join(self.path, file)), exist_ok=True)
            shutil.copy(os.path.join(HERE, file), os.path.join(self.path, file))

    def change(self, file, old, new):
        path = os.path.join(self.path, file)
        with open(path) as handle:
            text = handle.read()
        assert old in text, old
        with open(path, "w") as handle:
            handle.write(text.replace(old, new))

    def program(self, version, *args):
        """Runs the recorder with this folder as its PyTorch, which cannot be imported."""
        for name, text in (("__init__", "raise SystemExit('imported')"), ("version", f"__version__ = '{version}'")):
            with open(os.path.join(self.path, f"{name}.py"), "w") as handle:
                handle.write(text)
        script = os.path.join(ROOT, "python", "record.py")
        return subprocess.run([sys.executable, "-S", script, "torch.nn.Linear(2, 2)", *args], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": self.site})


class Sources(unittest.TestCase):
    def digest(self, text):
        return versions.canonical(ast.parse(text).body[0])

    def test_what_changes_nothing_is_not_seen(self):
        plain = self.digest("def f(x, y=1):\n    z = x + 1.0\n    return z if y else 'a'")
        for other in (
            "def f(x: int, y: 'str' = 1) -> float:\n    '''A docstring.'''\n    z = x + 1.\n    return (z if y else \"a\")",
            "@decorated\ndef f(x, y=1):\n    # a comment\n    z: float = (x + 1.0)\n    return z if y else 'a'",
        ):
            self.assertEqual(plain, self.digest(other))

    def test_what_changes_something_is(self):
        plain = self.digest("def f(x, y=1):\n    return x + 1.0")
        for other in (
            "def f(x, y=2):\n    return x + 1.0",
            "def f(x, y=1):\n    return x + 1",
            "def f(x, y=1):\n    return x - 1.0",
            "def f(y, x=1):\n    return x + 1.0",
            "def f(x, y=1):\n    pass\n    return x + 1.0",
        ):
            self.assertNotEqual(plain, self.digest(other))

    def test_every_release_has_every_function(self):
        for key, function in versions.TABLE["functions"].items():
            for release in versions.TABLE["releases"]:
                rows = [r for r in function["sources"] if versions.numbers(r["first"]) <= versions.numbers(release) <= versions.numbers(r["last"])]
                self.assertEqual(len(rows), 1, f"{key} of {release}")


class Decisions(unittest.TestCase):
    def decided(self, text, folder=HERE, assume=None):
        return versions.confirm(versions.decide(text, folder, assume))

    def test_releases(self):
        for text, release, semantics in (("2.13.0", "2.13", "2.13"), ("2.15.0+cu132", "2.15", "2.13"), ("2.14.1+cpu", "2.14", "2.13"), ("2.12.1", "2.12", "2.12")):
            under = self.decided(text)
            self.assertEqual((under.release, under.semantics, under.notes), (release, semantics, []))
            self.assertEqual(under.hooked, set(versions.TABLE["functions"]))

    def test_too_old_or_nonsense(self):
        for text in ("1.13.1", "0.4"):
            with self.assertRaisesRegex(versions.Rejected, f"{text}.*2.0 to 2.15.*install"):
                versions.decide(text, HERE)
        with self.assertRaisesRegex(versions.Rejected, "--assume-pytorch 2.99"):
            versions.decide("2.13.0", HERE, "2.99")

    def test_builds_that_are_no_release_are_compared(self):
        for text in ("2.13.0.dev20260301+cpu", "2.13.0a0+7e1f2c3.nv26.05", "2.16.0", "2.13.0+git1234", "2.13.0rc1", "unknown"):
            under = self.decided(text)
            self.assertEqual(under.semantics, "2.13", text)
            self.assertIn("known answers are those of 2.13 to 2.15", under.notes[0])
            self.assertEqual(under.hooked, set(versions.TABLE["functions"]))
        # What came with 2.13 may be missing in a build from before it.
        self.assertEqual(self.decided("2.13.0a0+7e1f2c3.nv26.05").rows_of, ["2.12", "2.13"])

    def test_other_draws(self):
        # A nightly of 2.13 from before the change: halves as in 2.12.
        older = {key: versions.expected(key, "2.12") for key in versions.TABLE["self_test"]["answers"]}
        with mock.patch.object(versions, "self_test", lambda: older):
            self.assertEqual(self.decided("2.13.0.dev20260101+cpu").semantics, "2.12")
        none = {**older, "normal_ 0 1 float32 contiguous 16": "0", "uniform_ 0 1 bfloat16 strided 1": "0"}
        with mock.patch.object(versions, "self_test", lambda: none):
            with self.assertRaisesRegex(versions.Rejected, r"2\.16\.0.*2 of \d+ known answers differ \(normal_ 0 1 of float32, uniform_ 0 1 of bfloat16\).*--assume-pytorch"):
                self.decided("2.16.0")
            self.assertEqual(self.decided("2.16.0", assume="2.15").semantics, "2.13")
        # A draw that has no one-step row is refused alone.
        some = {key: versions.expected(key, "2.15") for key in older}
        some["exponential_ 1.5 float64 contiguous 1"] = "0"
        with mock.patch.object(versions, "self_test", lambda: some):
            under = self.decided("2.16.0")
            self.assertIn("does not draw what any release does", under.other_bits("aten::exponential_", ["float64"]))
            self.assertIsNone(under.other_bits("uniform_", ["float64"]))

    def test_the_self_test_is_quick_and_moves_no_generator(self):
        torch.manual_seed(5)
        before, start = torch.get_rng_state(), time.thread_time()
        found = versions.self_test()
        self.assertLess(time.thread_time() - start, 1)
        self.assertTrue(torch.equal(before, torch.get_rng_state()))
        self.assertEqual(found, {key: versions.expected(key, "2.13") for key in versions.TABLE["self_test"]["answers"]})
        self.assertGreater(len(found), 300)

    def test_patched_files(self):
        folder = Folder(self)
        folder.change("nn/init.py", "if p > 0.3:", "if p > 0.4:")
        with self.assertRaisesRegex(versions.Rejected, "2.16.0.*_no_grad_trunc_normal_ is not that of any"):
            versions.decide("2.16.0", folder.path)
        for under in (versions.decide("2.13.0", folder.path), versions.decide("2.16.0", folder.path, "2.15")):
            self.assertNotIn(TRUNC, under.hooked)
            self.assertIn("nn/init.py:orthogonal_", under.hooked)
            self.assertIn("_no_grad_trunc_normal_", under.notes[0])

    def test_bits_that_a_plan_cannot_give(self):
        for release, operation, dtypes, since in (
            ("2.7", "linalg_vector_norm", ["float32"], "2.8"),
            ("2.4", "orthogonal_", ["float64"], "2.5"),
            ("2.5", "mv", ["bfloat16"], "2.6"),
            ("2.6", "aten::exponential_", ["float32"], "2.7"),
        ):
            under = versions.Under(release + ".0", release)
            why = under.other_bits(operation, dtypes)
            self.assertIn(operation.removeprefix("aten::"), why)
            self.assertIn(f"record under PyTorch {since} to {versions.NEWEST}", why)
            self.assertIsNone(versions.Under("x", since).other_bits(operation, dtypes))
            self.assertIsNone(under.other_bits(operation, ["int64"]) if operation != "aten::exponential_" else None)

    def test_refusals_name_the_line(self):
        under = versions.Under("2.4.0", "2.4")
        with mock.patch.dict(record.decided, {None: under}):
            self.assertRegex(refusal(lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(30, 20)))), r"(norm|original0).*other bits in PyTorch 2.4.0.*2.8")
            self.assertRegex(refusal(lambda: self.drawn("exponential_")), r"test_versions.py:\d+: exponential_.*2.7")

    def drawn(self, name):
        model = nn.Linear(3, 3)
        getattr(model.weight.data, name)()
        return model


class Patches(unittest.TestCase):
    """Functions that somebody has replaced are recorded as what they do."""

    def ops(self, construct):
        record.decided.clear()
        self.addCleanup(record.decided.clear)
        record.under()  # as the program: before the modules of the user
        return [row[0] for row in steps(prove(construct, seeds=(5,)))]

    def layer(self):
        model = nn.Linear(30, 20)
        nn.init.trunc_normal_(model.weight, std=0.02)
        nn.init.orthogonal_(model.weight.data[:4])
        return model

    def test_nothing_is_patched(self):
        self.assertEqual(self.ops(self.layer), ["uniform_", "uniform_", "trunc_normal_", "orthogonal_"])

    def test_a_monkey_patch(self):
        def mine(tensor, mean, std, a, b, generator=None):
            with torch.no_grad():
                return tensor.uniform_(-1, 1, generator=generator).mul_(std)

        with mock.patch.object(nn.init, "_no_grad_trunc_normal_", mine):
            self.assertEqual(self.ops(self.layer), ["uniform_", "uniform_", "uniform_", "mul", "orthogonal_"])
        with mock.patch.object(nn.init, "trunc_normal_", lambda x, std: mine(x, 0, std, 0, 0)):
            self.assertEqual(self.ops(self.layer), ["uniform_", "uniform_", "uniform_", "mul", "orthogonal_"])

    def test_other_code_in_the_same_function(self):
        function = nn.init._no_grad_trunc_normal_
        code = function.__code__

        def other(tensor, mean, std, a, b, generator=None):
            return tensor.data.zero_()

        function.__code__ = other.__code__
        try:
            self.assertEqual(self.ops(self.layer), ["uniform_", "uniform_", "fill_", "orthogonal_"])
        finally:
            function.__code__ = code

    def test_a_draw_that_they_call(self):
        plain = torch.Tensor.normal_

        def construct():
            model = nn.Linear(4, 4)
            nn.init.sparse_(model.weight, 0.5)
            return model

        def normal_(self, *args, **kwargs):
            return plain(self, *args, **kwargs).mul_(2)

        record.decided.clear()
        self.addCleanup(record.decided.clear)
        record.under()
        with mock.patch.object(torch.Tensor, "normal_", normal_, create=True):
            text = record.plan_of(construct, "model")
        self.assertIn("mul", [row[0] for row in steps(text)])
        self.assertNotIn("sparse_", [row[0] for row in steps(text)])


class Program(unittest.TestCase):
    def test_rejected_before_any_import(self):
        folder = Folder(self)
        for version, words in (("1.13.1", "install"), ("2.16.0", None)):
            start = time.perf_counter()
            run = folder.program(version)
            if words is None:  # its functions are known: torch is imported for the draws
                self.assertIn("imported", run.stderr)
                continue
            self.assertLess(time.perf_counter() - start, 3)
            self.assertEqual((run.returncode, run.stdout, len(run.stderr.splitlines())), (2, "", 1), run.stderr)
            for word in (version, words, "record.py: "):
                self.assertIn(word, run.stderr)
        folder.change("nn/init.py", "if p > 0.3:", "if p > 0.4:")
        run = folder.program("2.16.0")
        self.assertEqual((run.returncode, len(run.stderr.splitlines())), (2, 1))
        self.assertIn("_no_grad_trunc_normal_", run.stderr)
        self.assertIn("imported", folder.program("2.16.0", "--assume-pytorch", "2.15").stderr)
        run = folder.program("2.13.0", "--assume-pytorch=3")
        self.assertIn("--assume-pytorch 3: name a release from", run.stderr)

    def test_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            script = shutil.copy(os.path.join(ROOT, "python", "record.py"), folder)
            run = subprocess.run([sys.executable, script, "torch.nn.Linear(2, 2)"], capture_output=True, text=True)
        self.assertEqual((run.returncode, len(run.stderr.splitlines())), (2, 1))
        self.assertIn("needs versions.py and versions.json beside it", run.stderr)


if __name__ == "__main__":
    unittest.main()
