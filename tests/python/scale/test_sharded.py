"""FSDP2 models on several processes, loaded from what `materialize` made: every local shard has the rows of the
single-process constructor.

Run after `cargo build --features cli`, with transformers in PYTHONPATH: make test-scale.
"""

import json
import multiprocessing
import os
import tempfile
import traceback
import unittest
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from ..libraries.proof import same
from .models import Block, Planned, constructed, materialize, plan

# The processes share what is imported before.
FORK = multiprocessing.get_context("fork")
RANKS = (1, 2, 3, 4)
HF, DCP = dcp.HuggingFaceStorageReader, dcp.FileSystemReader
# Folders, how they are made, and what reads them. FSDP2 wants each name of a tied weight.
FOLDERS = {
    "hf": (("--max-shard-size", "4KB", "--tied"), HF),
    "rows3": (("--layout", "rows", "--shards", 3), HF),
    "rows8": (("--layout", "rows", "--shards", 8), HF),
    "dcp": (("--layout", "dcp", "--max-shard-size", "4KB"), DCP),
    "dcp3": (("--layout", "dcp", "--shards", 3), DCP),
    "dcp8": (("--layout", "dcp", "--shards", 8), DCP),
}


class Model(nn.Module):
    """What FSDP2 takes: no scalar, no empty parameter."""

    def __init__(self, width=10):
        super().__init__()
        self.embedding = nn.Embedding(13, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.experts = nn.Parameter(torch.empty(3, 8, 5).normal_())
        self.head = nn.Linear(width, 13, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("table", torch.arange(40))


def llama_config():
    from transformers import LlamaConfig
    return LlamaConfig(vocab_size=131, hidden_size=24, intermediate_size=50, num_hidden_layers=2, num_attention_heads=4,
                       num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True)


def llama():
    from transformers import LlamaForCausalLM
    return LlamaForCausalLM(llama_config())


def different(state, expected, rank, count):
    """The names whose local shard is not what `torch.chunk` gives this process."""
    wrong = sorted(state.keys() ^ expected.keys())
    for name in state.keys() & expected.keys():
        found, whole = state[name], expected[name]
        if isinstance(found, DTensor):
            chunks = whole.chunk(count)
            whole = chunks[rank] if rank < len(chunks) else whole[:0]
            found = found.to_local()
        elif count > 1 and whole.is_floating_point():
            wrong.append(f"{name} is not sharded")
        if not same(found, whole):
            wrong.append(name)
    return wrong


def load_with_dcp(folder, rank, count, reader, expected):
    torch.manual_seed(1000 + rank)
    model = Model()
    mesh = init_device_mesh("cpu", (count,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    state = model.state_dict()
    with torch.no_grad():
        for tensor in state.values():
            (tensor.to_local() if isinstance(tensor, DTensor) else tensor).fill_(77)
    dcp.load(state, storage_reader=reader(str(folder)))
    model.load_state_dict(state)
    return different(model.state_dict(), expected, rank, count)


def load_with_transformers(folder, rank, count, expected):
    from transformers import LlamaForCausalLM
    torch.manual_seed(1000 + rank)
    options = {"distributed_config": {"fsdp_size": count}} if count > 1 else {}
    return different(LlamaForCausalLM.from_pretrained(folder, **options).state_dict(), expected, rank, count)


def process(rank, count, store, answers, load, *arguments):
    """One of the processes."""
    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count))
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
        answers.put((rank, load(arguments[0], rank, count, *arguments[1:])))
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        answers.put((rank, [traceback.format_exc()]))


def on_processes(count, load, *arguments):
    """What differs, by rank."""
    answers = FORK.SimpleQueue()
    with tempfile.TemporaryDirectory() as store:
        target = (count, f"{store}/store", answers, load, *arguments)
        processes = [FORK.Process(target=process, args=(rank, *target)) for rank in range(count)]
        for started in processes:
            started.start()
        found = dict(answers.get() for _ in processes)
        for started in processes:
            started.join()
    return {rank: wrong for rank, wrong in found.items() if wrong}


class Sharded(Planned):
    MODEL = Model
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # Names of machines need no resolver.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        super().setUpClass()

    def test_torch_distributed_checkpoint(self):
        expected = constructed(Model)
        for name, (options, reader) in FOLDERS.items():
            folder = materialize(self.plan, self.folder / name, *options)
            for count in RANKS:
                with self.subTest(folder=name, count=count):
                    self.assertEqual(on_processes(count, load_with_dcp, folder, reader, expected), {})

    def test_transformers(self):
        expected = constructed(llama)
        model = plan(llama, self.folder / "llama.plan.json")
        for name, options in {"hf": ("--max-shard-size", "20KB"), "rows": ("--layout", "rows", "--shards", 3)}.items():
            folder = materialize(model, self.folder / f"llama-{name}", *options)
            (folder / "config.json").write_text(json.dumps(llama_config().to_dict() | {"architectures": ["LlamaForCausalLM"]}))
            for count in RANKS:
                with self.subTest(folder=name, count=count):
                    self.assertEqual(on_processes(count, load_with_transformers, folder, expected), {})

    def test_another_seed_is_seen(self):
        folder = materialize(self.plan, self.folder / "seed", "--layout", "dcp", "--shards", 2)
        wrong = on_processes(2, load_with_dcp, folder, DCP, constructed(Model, seed=8))
        self.assertEqual({rank: sorted(names) for rank, names in wrong.items()}, {rank: [
            "blocks.0.down.weight", "blocks.0.up.bias", "blocks.0.up.weight", "blocks.1.down.weight", "blocks.1.up.bias",
            "blocks.1.up.weight", "embedding.weight", "experts", "head.weight"] for rank in range(2)})


if __name__ == "__main__":
    unittest.main()
