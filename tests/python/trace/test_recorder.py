"""Unit tests of python/trace.py: `python -m unittest discover -s tests/python/trace -t .`"""

import ctypes
import hashlib
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch
import torch.nn as nn
import torch.nn.functional as F

import plant
import programs

tch_trace = plant.recorder()
FILE = tch_trace.__file__


def plain_hash(data):
    """The hash as docs/trace.md has it, in plain Python."""
    sha = hashlib.sha256(struct.pack("<Q", len(data)))
    if len(data) <= 8192:
        sha.update(data)
        return sha.hexdigest()[:32]
    numbers = struct.pack("<4096Q", *tch_trace.split_mix(1, 4096))
    keys = [key | 1 for key in struct.unpack("<8192I", numbers)]
    data += bytes(-len(data) % 8192)
    for start in range(0, len(data), 8192):
        for j in range(4):
            words = struct.iter_unpack("<4b", data[start + j:start + 8192 - (4 - j) % 4])
            products = (sum(byte << 8 * n for n, byte in enumerate(word)) * key for word, key in zip(words, keys[2048 * j:]))
            sha.update(struct.pack("<I", sum(products) % (1 << 32)))
    return sha.hexdigest()[:32]


def bits(t):
    return t.detach().contiguous().reshape(-1).view(torch.uint8).tolist() if t.numel() else []


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def traced(run, **options):
    """The lines of what `run` does, and what is kept beside them."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "t.trace")
        with tch_trace.record(path, **options):
            run()
        return lines(path)


def operations(found, name=None):
    return [line for line in found if "op" in line and name in (None, line["op"])]


class Hash(unittest.TestCase):
    # crates/op-trace/src/hash.rs has the same.
    EXPECTED = {
        0: "af5570f5a1810b7af78caf4bc70a660f",
        1: "a536aa3cede6ea3c1f3e0357c3c60e0f",
        8192: "9b52ac4acd902be248e8e1f30bf58b4b",
        8193: "e6e3168fb6b0c6a0daf7c0ebdbf3b05f",
        20000: "9cb42b04ee3c010fa08957f260d55998",
        16380: "6a1ff5f4934c36610c7b8fc0bbd21df4",
        600000: "92ececc9190b3d5b103622a7ec31ad0a",
    }

    @staticmethod
    def hashers():
        """Of both ways, whichever is faster here."""
        return [tch_trace.Hasher(way(tch_trace.keys_of_sums())) for way in (tch_trace.MatrixSums, tch_trace.ProductSums)]

    def test_bytes(self):
        for size, expected in self.EXPECTED.items():
            data = bytes((i * 7 + i // 251) % 256 for i in range(size))
            t = torch.frombuffer(bytearray(data or b"x"), dtype=torch.uint8)[:size]
            self.assertEqual(plain_hash(data), expected, size)
            for hasher in self.hashers():
                self.assertEqual(hasher.memory(t.data_ptr(), size)[1], expected, size)

    def test_inexact_products_are_not_used(self):
        """A CPU that rounds the products of bytes, and a version of torch that has none."""
        def rounded(part, digits, out):
            return out.copy_((part.int() @ digits.int()).clamp(-(1 << 15), (1 << 15) - 1))

        def missing(part, digits, out):
            raise RuntimeError("_int_mm is not implemented")

        for _int_mm in (rounded, missing):
            with unittest.mock.patch.object(torch, "_int_mm", _int_mm):
                self.assertIsInstance(tch_trace.fastest_sums(), tch_trace.ProductSums)

    def test_layouts(self):
        """Only the logical elements count."""
        with tempfile.TemporaryDirectory() as folder, tch_trace.record(os.path.join(folder, "t")) as recorder:
            recorder.busy = True
            for base in (torch.randn(70, 90), torch.randn(3, 5, dtype=torch.float64), torch.randint(0, 9, (300, 40)), torch.randn(40, 41).bfloat16()):
                for t in (base, base.t(), base[1:], base[:, 1:], base[::2, ::3], base[:0], base.expand(2, *base.shape)):
                    self.assertEqual(recorder.tensor(t)["hash"], plain_hash(bytes(bits(t))), (t.shape, t.stride()))
            z = torch.randn(30, 40, dtype=torch.complex64)
            self.assertEqual(recorder.tensor(z.conj())["hash"], plain_hash(bytes(bits(torch.view_as_real(z.conj().resolve_conj())))))

    def test_sign_flips_and_writes(self):
        """Changes of the highest bits, and writes that no operation makes, change the hash."""
        with tempfile.TemporaryDirectory() as folder, tch_trace.record(os.path.join(folder, "t")) as recorder:
            recorder.busy = True
            t = torch.randn(6000)
            first = recorder.tensor(t)["hash"]
            for places in ((1, 3), (0, 2), (5, 4001), (1, 2)):
                other = t.clone()
                for place in places:
                    other[place] = -other[place]
                self.assertNotEqual(recorder.tensor(other)["hash"], first)
            ctypes.memset(t.data_ptr() + 5000, 1, 1)
            self.assertEqual(recorder.tensor(t)["hash"], plain_hash(bytes(bits(t))))
            self.assertNotEqual(recorder.tensor(t)["hash"], first)

    def test_writes_to_transposed(self):
        """What is in another order in memory is hashed by its bytes and its strides, also when no operation wrote it."""
        with tempfile.TemporaryDirectory() as folder, tch_trace.record(os.path.join(folder, "t")) as recorder:
            recorder.busy = True
            base = torch.randn(60, 70)
            views = [base.t(), base.view(70, 60).t(), base.view(3, 20, 70).permute(2, 0, 1)]
            for byte in (0, 1, 2, 1):
                ctypes.memset(base.data_ptr() + 5000, byte, 1)
                for t in views:
                    self.assertEqual(recorder.tensor(t)["hash"], plain_hash(bytes(bits(t))), (byte, t.shape))

    def test_addresses(self):
        """Memory at any address has the same hash, before a write and after."""
        data = torch.randint(0, 256, (5 * tch_trace.ROW + 16,), dtype=torch.uint8)
        sizes = [tch_trace.ROW + n for n in (1, 4, tch_trace.ROW - 4, tch_trace.ROW - 3, 3 * tch_trace.ROW)]
        for hasher, size in itertools.product(self.hashers(), sizes):
            for start in range(9):
                t = data[start:start + size]
                known = hasher.memory(t.data_ptr(), size)
                self.assertEqual(known[1], plain_hash(bytes(bits(t))), (size, start))
                self.assertIs(hasher.memory(t.data_ptr(), size, known), known)
                t[start * size // 9] ^= 128
                self.assertEqual(hasher.memory(t.data_ptr(), size, known)[1], plain_hash(bytes(bits(t))), (size, start))

    def test_threads(self):
        """Two threads give the same hash, of any number of rows."""
        threads = torch.get_num_threads()
        sizes = [tch_trace.ROW * rows + 4711 for rows in (15, 16, 255, 256, 1024 + 256 + 31)]
        data = torch.randint(0, 256, (max(sizes) + 1,), dtype=torch.uint8)
        parts = [data[start:start + size] for start in (0, 1) for size in sizes]
        expected = None
        try:
            for n in (1, 2):
                torch.set_num_threads(n)
                for hasher in self.hashers():
                    found = [hasher.memory(t.data_ptr(), t.nbytes)[1] for t in parts]
                    expected = expected or found
                    self.assertEqual(found, expected, n)
        finally:
            torch.set_num_threads(threads)
        self.assertEqual(expected[0], plain_hash(bytes(parts[0].tolist())))


class NothingChanges(unittest.TestCase):
    """Traced and untraced programs end in the same bits and the same state of the generator."""

    def run_program(self, program, folder=None):
        programs.PLANTED.clear()
        run = programs.PROGRAMS[program]()
        model = next(run)
        if folder is None:
            for _ in run:
                pass
        else:
            with tch_trace.record(os.path.join(folder, f"{program}.trace"), model=model):
                for _ in run:
                    pass
        models = model.values() if isinstance(model, dict) else [model]
        state = [(name, bits(t)) for m in models for name, t in m.state_dict().items()]
        gradients = [(name, bits(p.grad)) for m in models for name, p in m.named_parameters() if p.grad is not None]
        return state, gradients, bits(torch.get_rng_state())

    def test_programs(self):
        for program in programs.PROGRAMS:
            with self.subTest(program), tempfile.TemporaryDirectory() as folder:
                self.assertEqual(self.run_program(program), self.run_program(program, folder))

    def test_same_bytes(self):
        for program in programs.PROGRAMS:
            with self.subTest(program), tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
                for folder in (a, b):
                    self.run_program(program, folder)
                for name in os.listdir(a):
                    with open(os.path.join(a, name), "rb") as x, open(os.path.join(b, name), "rb") as y:
                        self.assertEqual(x.read(), y.read(), name)

    def test_modes(self):
        """Encoder layers have other kernels in evaluation and inference mode; the recorder does not turn them off."""
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        x = torch.randn(3, 5, 16)
        for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            for training in (True, False):
                layer.train(training)

                def run():
                    torch.manual_seed(1)
                    with mode():
                        results.append(bits(layer(x)))

                results = []
                run()
                found = traced(run, model=layer)
                self.assertEqual(results[0], results[1], (mode, training))
                self.assertTrue(operations(found))


class Lines(unittest.TestCase):
    def test_header_and_end(self):
        found = traced(lambda: torch.ones(2) + 1)
        self.assertEqual((found[0]["format"], found[0]["version"], found[0]["hash"]), ("tch-init trace", 1, "rows32-sha256-128"))
        self.assertEqual(found[0]["environment"]["torch"], torch.__version__)
        self.assertEqual((found[-1]["end"], found[-1]["operations"]), ("finished", len(operations(found))))

    def test_arguments_have_names_and_defaults(self):
        [line] = operations(traced(lambda: torch.layer_norm(x, [4])), "aten::native_layer_norm") \
            if (x := torch.arange(8.0).view(2, 4)) is not None else []
        self.assertEqual(list(line["args"]), ["input", "normalized_shape", "weight", "bias", "eps"])
        self.assertEqual(line["args"]["eps"], 1e-5)
        self.assertEqual(len(line["results"]), 3)
        [line] = operations(traced(lambda: torch.add(x, x)), "aten::add")
        self.assertEqual((line["overload"], line["args"]["alpha"]), ("Tensor", 1))

    def test_statistics_on_demand(self):
        x = torch.tensor([-4.0, 0.0, 1.0, 1.0])
        relu = operations(traced(lambda: x.relu(), stats=True), "aten::relu")[0]["results"][0]
        self.assertEqual(relu["stats"], {"mean": 0.5, "std": 0.5, "zeros": 2, "absmax": 1.0})
        self.assertNotIn("stats", operations(traced(lambda: x.relu()), "aten::relu")[0]["results"][0])

    def test_infinities(self):
        [line] = operations(traced(lambda: torch.zeros(1).fill_(-float("inf"))), "aten::fill_")
        self.assertEqual(line["args"]["value"], {"float": "-inf"})
        self.assertEqual(line["results"][0]["all"], {"float": "-inf"})

    def test_views_share_storage(self):
        found = operations(traced(lambda: torch.arange(6.0).view(2, 3).t()))
        self.assertEqual(len({line["results"][0]["storage"] for line in found}), 1)
        self.assertEqual(found[-1]["results"][0]["strides"], [1, 3])

    def test_uninitialized_memory_has_no_hash(self):
        def run():
            t = torch.empty(4, 3)
            t[0] = 1
            t[1:].fill_(2)
            u = torch.empty(5)
            u * 2
            torch.add(t, 1, out=torch.empty(4, 3))
        found = operations(traced(run))
        empties = [line for line in found if line["op"].startswith("aten::empty")]
        self.assertTrue(all(line["results"][0]["uninitialized"] and "hash" not in line["results"][0] for line in empties))
        [product] = [line for line in found if line["op"] == "aten::mul"]
        self.assertNotIn("hash", product["results"][0])
        [total] = [line for line in found if line["op"] == "aten::add"]
        # Every part was filled before.
        self.assertIn("hash", total["args"]["self"])
        self.assertNotIn("hash", total["args"]["out"])
        self.assertIn("hash", total["results"][0])

    def test_draws_have_states(self):
        def run():
            torch.manual_seed(5)
            torch.rand(3)
            torch.rand(2)
        a, b = operations(traced(run), "aten::rand")
        self.assertEqual(a["generator"][0]["seed"], 5)
        self.assertEqual(a["generator"][1], b["generator"][0])
        self.assertNotEqual(b["generator"][0], b["generator"][1])

    def test_phases_steps_modules_and_lines(self):
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        model[1].eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def run():
            for _ in range(2):
                optimizer.zero_grad()
                model(torch.ones(2, 3)).sum().backward()
                optimizer.step()
        found = operations(traced(run, model=model))
        [linear, _] = [line for line in found if line["op"] == "aten::addmm"]
        self.assertEqual((linear["module"], linear["phase"], linear["step"]), ("0", "forward", 1))
        self.assertRegex(linear["at"], r"test_recorder\.py:\d+$")
        self.assertTrue([line for line in found if line.get("module") == "1" and line.get("eval")])
        backward = [line for line in found if line["op"] == "aten::mm"][0]
        self.assertEqual((backward["phase"], found[backward["forward"]]["op"]), ("backward", "aten::addmm"))
        updates = [line for line in found if line["phase"] == "optimizer"]
        self.assertEqual({line["step"] for line in updates}, {1, 2})
        self.assertEqual({line["args"]["self"]["name"] for line in updates}, {"0.weight", "0.bias", "1.weight", "1.bias"})
        self.assertTrue(all(line["args"]["other"]["name"].endswith(".grad") for line in updates))

    def test_lists_are_operations_of_each_tensor(self):
        def run():
            model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1, foreach=True)
            for step in range(3):
                optimizer.zero_grad()
                model(torch.full((2, 3), float(step))).sum().backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
            found.append([bits(p) for p in model.parameters()])
        found = []
        torch.manual_seed(1)
        run()
        torch.manual_seed(1)
        names = [line["op"] for line in operations(traced(run))]
        self.assertEqual(found[0], found[1])
        self.assertFalse([name for name in names if "_foreach" in name])
        # Of four parameters in three steps, and of the norms.
        self.assertEqual(names.count("aten::linalg_vector_norm"), 15)
        self.assertEqual(names.count("aten::addcdiv_"), 12)

    def test_steps_end_the_recording(self):
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ran = []

        def run():
            for _ in range(4):
                optimizer.zero_grad()
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                ran.append(1)
        found = traced(run, model=model, steps=2)
        self.assertEqual((len(ran), found[-1]["end"], found[-1]["steps"]), (4, "steps", 2))
        self.assertEqual({line["step"] for line in operations(found)}, {1, 2})

    def test_workers_are_not_recorded(self):
        data = torch.utils.data.TensorDataset(torch.arange(6.0).view(3, 2) * 2)

        def run():
            for batch in torch.utils.data.DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context="fork"):
                batch[0] + 1
        found = traced(run)
        self.assertEqual([line["i"] for line in operations(found)], list(range(found[-1]["operations"])))
        self.assertEqual(len(operations(found, "aten::add")), 2)

    def test_failures(self):
        def run():
            with self.assertRaises(RuntimeError):
                torch.ones(2, 3) @ torch.ones(2, 3)
        [line] = operations(traced(run), "aten::mm")
        self.assertIn("RuntimeError", line["error"])
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(ValueError), tch_trace.record(os.path.join(folder, "t")):
                torch.ones(1)
                raise ValueError
            self.assertEqual(lines(os.path.join(folder, "t"))[-1]["end"], "error: ValueError")

    def test_values_are_kept_up_to_a_size(self):
        with tempfile.TemporaryDirectory() as folder:
            for limit, kept in ((1 << 20, 2), (100, 1)):
                path = os.path.join(folder, f"{limit}.trace")
                small, large = torch.randn(20), torch.randn(2000)
                with tch_trace.record(path, max_values=limit):
                    small * 2 + 1
                    large.sum()
                end = lines(path)[-1]
                self.assertEqual(end["values"], {"kept": kept, "left_out": 2 - kept})
                with open(f"{path}.safetensors", "rb") as file:
                    size = struct.unpack("<Q", file.read(8))[0]
                    header = json.loads(file.read(size))
                    self.assertEqual(len(header), kept)
                    entry = header["float32:" + plain_hash(bytes(bits(small)))]
                    file.seek(8 + size + entry["data_offsets"][0])
                    self.assertEqual(list(file.read(80)), bits(small))

    def test_inputs_of_kept_operations(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kept.trace")
            x = torch.randn(20)
            with tch_trace.record(path, model=torch.nn.Linear(2, 2), keep=(1, 3)):
                y = x.exp()
                z = y.square()
                dropped = torch.nn.functional.dropout(z, 0.5)
                dropped.sum()
            with open(f"{path}.safetensors", "rb") as file:
                header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            # Inputs of square, then of the first operation of dropout.
            operations = [line for line in lines(path) if line.get("i") in (1, 2)]
            inputs = {f"{t['dtype']}:{t['hash']}" for line in operations for t in line["args"].values() if isinstance(t, dict) and "hash" in t}
            states = {f"uint8:{line['generator'][0]['state']}" for line in operations if "generator" in line}
            self.assertEqual(set(header), inputs | states)
            self.assertIn("float32:" + plain_hash(bytes(bits(y))), header)
            self.assertNotIn("float32:" + plain_hash(bytes(bits(x))), header)
            for keep in [(3, 1), (1,), (1.5, 2), (-1, 2)]:
                with self.assertRaises(ValueError), tch_trace.record(path, keep=keep):
                    pass


class Scripts(unittest.TestCase):
    SCRIPT = """import sys, torch
model = torch.nn.Linear(2, 2)
torch.manual_seed(0)
model.reset_parameters()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(int(sys.argv[1])):
    optimizer.zero_grad()
    model(torch.rand(3, 2)).sum().backward()
    optimizer.step()
    print("step", step, flush=True)
if len(sys.argv) > 2:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""

    def run_script(self, folder, *options, arguments=("5",)):
        script = os.path.join(folder, "train.py")
        with open(script, "w") as file:
            file.write(self.SCRIPT)
        command = [sys.executable, FILE, script, "-o", os.path.join(folder, "t.trace"), *options, "--", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def test_script(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script(folder, "--steps", "2")
            self.assertEqual((done.returncode, done.stdout), (0, "step 0\n"), done.stderr)
            found = lines(os.path.join(folder, "t.trace"))
            self.assertEqual((found[-1]["end"], found[-1]["steps"]), ("steps", 2))
            self.assertEqual({line["at"].split(":")[0] for line in operations(found)}, {"train.py"})
            self.assertNotIn(folder, json.dumps(found))
            self.assertEqual(len(self.run_script(folder, "--steps", "2", "--to-end").stdout.splitlines()), 5)

    def test_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script(folder, arguments=("2", "kill"))
            self.assertEqual(done.returncode, -signal.SIGKILL)
            found = lines(os.path.join(folder, "t.trace"))
            self.assertNotIn("end", found[-1])
            self.assertEqual({line["step"] for line in operations(found)}, {1, 2})


if __name__ == "__main__":
    unittest.main()
