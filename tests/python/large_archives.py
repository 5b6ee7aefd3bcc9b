"""Reads what tests/live/large_archives.rs has written: archives of more than 4 GiB, and one that begins beyond."""

import sys
import warnings
import zipfile
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp

warnings.filterwarnings("ignore", message="torch.distributed is disabled")
folder = Path(sys.argv[1])
NUMEL = {"a": 2**29 + 1, "b": 2**29 - 8}

metadata = dcp.FileSystemReader(str(folder / "apart")).read_metadata()
places = {index.fqn: place for index, place in metadata.storage_data.items()}
assert places.keys() == NUMEL.keys()
for name, numel in NUMEL.items():
    place = places[name]
    path = folder / "apart" / place.relative_path
    assert (place.offset, place.length) == (0, path.stat().st_size), place
    with zipfile.ZipFile(path) as archive:
        data = archive.getinfo("archive/data/0")
        assert data.file_size == data.compress_size == 8 * numel, data
        # Reads all, and compares the checksum.
        assert name == "b" or archive.testzip() is None
    tensor = torch.load(path, mmap=True, weights_only=True)
    assert tensor.dtype == torch.float64 and tensor.shape == (numel,), tensor.shape
    assert tensor[-2:].tolist() == [0, 1.5] and tensor[0] == 0, tensor[-2:]

together = dcp.FileSystemReader(str(folder / "together"))
places = {index.fqn: place for index, place in together.read_metadata().storage_data.items()}
assert len({place.relative_path for place in places.values()}) == 1
assert places["c"].offset > 2**32
state = {"c": torch.full((5,), 7.0, dtype=torch.float64)}
dcp.load(state, storage_reader=together, no_dist=True)
assert state["c"].tolist() == [0, 0, 0, 0, 1.5], state
