"""Constructs models with PyTorch: reference.py cases.json results.json results.bin"""

import json
import pathlib
import sys

import torch


def chunks(case):
    torch.manual_seed(case["seed"])
    for _ in range(case["warm"]):
        torch.randn(1)
    model = eval(case["model"], {"torch": torch})
    state = torch.get_rng_state()
    names, tensors = [], []
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        names.append(name)
        flat = tensor.detach().contiguous().reshape(-1)
        tensors.append(bytes(flat.view(torch.uint8).numpy()))
    return names, [*tensors, bytes(state.numpy())]


def main():
    cases, results, data = map(pathlib.Path, sys.argv[1:])
    request = json.loads(cases.read_text())
    torch.set_num_threads(request["threads"])
    written = []
    with data.open("wb") as file:
        for case in request["cases"]:
            names, parts = chunks(case)
            for part in parts:
                file.write(part)
            lengths = [len(part) for part in parts]
            written.append({"error": None, "lengths": lengths, "rest": names})
    results.write_text(json.dumps(written))


main()
