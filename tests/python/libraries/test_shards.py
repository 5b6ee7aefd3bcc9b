"""The files of a folder are those into which huggingface_hub splits a state_dict.

Run after `cargo build --features cli`, with huggingface_hub in PYTHONPATH: make test-models.
"""

import json
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from huggingface_hub.serialization._base import split_state_dict_into_shards_factory

PROGRAM = Path(__file__).parents[3] / "target/debug/tch-init"


def plan(sizes):
    """A plan of tensors of so many bytes, which nothing writes, the first one under a second name."""
    return {"format": "tch-init plan", "version": 1, "pytorch": "2.13.0", "semantics": "2.13", "model": "sizes",
            "storages": sizes, "views": [[i, "uint8", [size]] for i, size in enumerate(sizes)],
            "steps": [], "parameters": [[f"t{i}", i] for i in range(len(sizes))] + [["tied", 0]], "buffers": []}


class Shards(unittest.TestCase):
    def test_files_are_those_of_huggingface_hub(self):
        numbers = random.Random(1)
        for case in range(20):
            sizes = [numbers.choice([numbers.randint(1, 40), numbers.randint(1, 4000)]) for _ in range(numbers.randint(1, 30))]
            limit = numbers.choice([500, 1000, 3000, 100000])
            state = {f"t{i}": (i, size) for i, size in enumerate(sizes)} | {"tied": (0, sizes[0])}
            split = split_state_dict_into_shards_factory(
                state, get_storage_size=lambda t: t[1], get_storage_id=lambda t: t[0],
                filename_pattern="model{suffix}.safetensors", max_shard_size=limit)
            expected = {file: sorted(set(names) - {"tied"}) for file, names in split.filename_to_tensors.items()}
            with self.subTest(case=case, sizes=sizes, limit=limit), tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                (folder / "a.plan.json").write_text(json.dumps(plan(sizes)))
                subprocess.run([PROGRAM, "materialize", folder / "a.plan.json", "--seed", "1", "--max-shard-size",
                                str(limit), "--part", "0/1", "-o", f"{folder}/out/"], check=True, capture_output=True)
                found = {}
                for file in (folder / "out").glob("*.safetensors"):
                    content = file.read_bytes()
                    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
                    found[file.name] = sorted(name for name in header if name != "__metadata__")
                self.assertEqual(found, expected)
                index = folder / "out" / "model.safetensors.index.json"
                self.assertEqual(index.exists(), split.is_sharded)
                if split.is_sharded:
                    map = {name: file for name, file in split.tensor_to_filename.items() if name != "tied"}
                    self.assertEqual(json.loads(index.read_text()), {
                        "metadata": {"total_parameters": sum(sizes), "total_size": sum(sizes)}, "weight_map": map})
                    self.assertEqual(index.read_text(), json.dumps(json.loads(index.read_text()), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    unittest.main()
