"""The layouts of `materialize -o DIR/`, read by PyTorch: every tensor is that of the constructor in one process.

Run after `cargo build --features cli`: make test-scale.
"""

import pickletools
import re
import subprocess
import unittest
import warnings
import zipfile

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from safetensors.torch import load_file, safe_open

from .models import TIED, Odd, Planned, constructed, different, materialize, plan, program

COUNTS = (1, 2, 3, 4, 7, 64)


def blank(state):
    """Tensors to read into, with other content."""
    return {name: torch.full_like(tensor, 77) for name, tensor in state.items()}


class Layouts(Planned):
    @classmethod
    def setUpClass(cls):
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        super().setUpClass()

    def read(self, folder, expected, reader):
        state = blank(expected)
        dcp.load(state, storage_reader=reader(str(folder)), no_dist=True)
        self.assertEqual(different(state, expected), [])

    def test_rows(self):
        for count in COUNTS:
            for dtype in (None, "bfloat16"):
                with self.subTest(count=count, dtype=dtype):
                    options = ("--dtype", dtype) if dtype else ()
                    expected = constructed(Odd, dtype)
                    rows = ("--layout", "rows", "--shards", count, *options)
                    folder = materialize(self.plan, self.folder / f"rows{count}{dtype}", *rows)
                    self.assertEqual(len(list(folder.glob("shard-*.safetensors"))), count)
                    self.read(folder, expected, dcp.HuggingFaceStorageReader)

    def test_whole_tensors(self):
        expected = constructed(Odd)
        once = materialize(self.plan, self.folder / "once", "--max-shard-size", "1KB")
        self.read(once, {name: tensor for name, tensor in expected.items() if name != TIED}, dcp.HuggingFaceStorageReader)
        twice = materialize(self.plan, self.folder / "twice", "--max-shard-size", "1KB", "--tied")
        self.read(twice, expected, dcp.HuggingFaceStorageReader)

    def test_rows_are_those_of_torch_chunk(self):
        expected = constructed(Odd)
        folder = materialize(self.plan, self.folder / "chunks", "--layout", "rows", "--shards", 4)
        for number, file in enumerate(sorted(folder.glob("*.safetensors"))):
            found = load_file(file)
            with safe_open(file, "pt") as opened:
                self.assertEqual(opened.metadata()["format"], "pt")
                self.assertEqual(opened.metadata()["DCP_VERSION"], "1.0")
            for name, tensor in expected.items():
                if name in ("experts", "bias") or not tensor.numel() or not tensor.dim():
                    continue
                chunks = tensor.chunk(4)
                rows = {name: chunks[number]} if number < len(chunks) else {}
                self.assertEqual(different({key: found[key] for key in found if key == name}, rows), [])

    def test_rows_are_consolidated(self):
        # PyTorch 2.13 raises for integers and booleans.
        class Floats(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = torch.nn.ModuleList(torch.nn.Linear(9, 5) for _ in range(3))

        folder = materialize(plan(Floats, self.folder / "floats.plan.json"), self.folder / "apart", "--layout", "rows",
                             "--shards", 4)
        expected = constructed(Floats)
        together = self.folder / "together"
        together.mkdir()
        consolidate_safetensors_files(str(folder), str(together), dict.fromkeys(expected, 1))
        self.assertEqual(different(load_file(*together.glob("*.safetensors")), expected), [])

    def test_dcp(self):
        for count in (None, *COUNTS):
            for dtype in (None, "bfloat16"):
                with self.subTest(count=count, dtype=dtype):
                    options = ("--dtype", dtype) if dtype else ()
                    options += ("--shards", count) if count else ("--max-shard-size", "1KB")
                    folder = materialize(self.plan, self.folder / f"dcp{count}{dtype}", "--layout", "dcp", *options)
                    expected = constructed(Odd, dtype)
                    self.read(folder, expected, dcp.FileSystemReader)
                    self.assertGreaterEqual(len(list(folder.glob("*.distcp"))), count or 4)
                    saved = self.folder / "saved.pt"
                    dcp_to_torch_save(folder, saved)
                    self.assertEqual(different(torch.load(saved, weights_only=True), expected), [])

    def test_dcp_metadata_names_pytorch_only(self):
        folder = materialize(self.plan, self.folder / "globals", "--layout", "dcp", "--shards", 3)
        metadata = (folder / ".metadata").read_bytes()
        names = {argument for opcode, argument, _ in pickletools.genops(metadata) if opcode.name == "GLOBAL"}
        module = "torch.distributed.checkpoint.metadata"
        self.assertEqual(names, {
            *(f"{module} {name}" for name in ("Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata",
                                              "MetadataIndex", "_MEM_FORMAT_ENCODING")),
            "torch.distributed.checkpoint.filesystem _StorageInfo", "torch.serialization _get_layout", "torch Size",
            "torch float32", "torch float64", "torch int64", "torch bool"})
        # It says what PyTorch says of the same tensors.
        state = constructed(Odd)
        dcp.save(state, checkpoint_id=self.folder / "theirs", no_dist=True)
        whole = materialize(self.plan, self.folder / "whole", "--layout", "dcp")
        ours, theirs = (dcp.FileSystemReader(str(path)).read_metadata() for path in (whole, self.folder / "theirs"))
        self.assertEqual(ours.state_dict_metadata, theirs.state_dict_metadata)
        self.assertEqual(ours.planner_data, theirs.planner_data)
        self.assertEqual(ours.version, theirs.version)
        self.assertEqual(ours.storage_data.keys(), theirs.storage_data.keys())

    def test_each_part_of_a_distcp_file_is_an_archive(self):
        folder = materialize(self.plan, self.folder / "archives", "--layout", "dcp", "--shards", 2)
        metadata = dcp.FileSystemReader(str(folder)).read_metadata()
        for index, place in metadata.storage_data.items():
            with (folder / place.relative_path).open("rb") as file:
                file.seek(place.offset)
                (self.folder / "part.pt").write_bytes(file.read(place.length))
            with zipfile.ZipFile(self.folder / "part.pt") as archive:
                self.assertIsNone(archive.testzip(), index)
                data = archive.getinfo("archive/data/0")
            content = (self.folder / "part.pt").read_bytes()
            names = int.from_bytes(content[data.header_offset + 26:][:2], "little")
            extra = int.from_bytes(content[data.header_offset + 28:][:2], "little")
            self.assertEqual((place.offset + data.header_offset + 30 + names + extra) % 64, 0)

    def test_a_missing_middle_file_is_refused(self):
        """PyTorch itself reads other tensors, without a word."""
        folder = self.folder / "missing"
        for part in ("0/3", "2/3"):
            materialize(self.plan, folder, "--layout", "rows", "--shards", 3, "--part", part)
        done = subprocess.run([program(), "assemble", folder], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertTrue(re.search("1 of 3 files are missing or not whole, the first is shard-00002", done.stderr), done.stderr)
        self.assertFalse(folder.exists())


if __name__ == "__main__":
    unittest.main()
