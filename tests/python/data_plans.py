"""Plans of a table of constructors, and what these make at other seeds: data_plans.py data|constructors FOLDER SEED...

Writes NAME.plan.json and its data, and for each seed NAME.SEED.bin, the bytes of every tensor and of the generator's state
in turn, and their lengths as NAME.SEED.json.
"""

import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.python.record.constructors import CONSTRUCTORS  # noqa: E402
from tests.python.record.data_models import MODELS, UNSET, quiet  # noqa: E402
from tests.python.record.proof import bits, record  # noqa: E402


def main():
    quiet()
    models = {"data": MODELS, "constructors": CONSTRUCTORS}[sys.argv[1]]
    folder = pathlib.Path(sys.argv[2])
    torch.set_num_threads(1)
    for number, (name, construct) in enumerate(models.items()):
        path = folder / f"{number}.plan.json"
        text, parts = record.plan_and_data(construct, name, f"{number}.plan.safetensors")
        record.write(text, parts, str(path))
        for seed in map(int, sys.argv[3:]):
            torch.manual_seed(seed)
            model = construct()
            state = bytes(torch.get_rng_state().numpy())
            named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
            chunks = [bits(tensor)[2] for _, tensor in named] + [state]
            rows = [[key, len(chunk), key in UNSET.get(name, ())] for (key, _), chunk in zip(named, chunks)]
            (folder / f"{number}.{seed}.bin").write_bytes(b"".join(chunks))
            (folder / f"{number}.{seed}.json").write_text(json.dumps([name, rows]))


main()
