"""The order of torch.utils.data for tests/live/data_order.rs.

Reads cases.json, writes results.json (for each case the batches of all epochs, or the type of the exception) and results.bin
(for each case the states of the default generator and of the explicit one at the end).
"""

import json
import sys
import warnings

import torch
from torch.utils import data

warnings.simplefilter("ignore")


def sampler(case, generator):
    n = case["n"]
    kind = case["sampler"]
    if kind == "random":
        return data.RandomSampler(range(n), case["replacement"], case["num_samples"], generator=generator)
    if kind == "subset":
        return data.SubsetRandomSampler([3 * i for i in range(case["num_samples"])], generator=generator)
    if kind == "weighted":
        return data.WeightedRandomSampler(case["weights"], case["num_samples"], case["replacement"], generator=generator)
    if kind == "distributed":
        s = data.DistributedSampler(range(n), case["replicas"], case["rank"], case["shuffled"], case["sampler_seed"], case["drop_last_replicas"])
        s.set_epoch(case["epoch"])
        return s
    raise AssertionError(kind)


def run(case, generator):
    n = case["n"]
    if case["sampler"] == "split":
        return [s.indices for s in data.random_split(range(n), case["lengths"], *([generator] if generator else []))]
    options = {"batch_size": case["batch_size"], "drop_last": case["drop_last"], "shuffle": case["shuffle"]}
    if case["loader_generator"]:
        options["generator"] = generator
    if case["sampler"]:
        options["sampler"] = sampler(case, generator)
    # Subsets have indices beyond n.
    loader = data.DataLoader(range(10 * n + 1000), **options) if case["sampler"] else data.DataLoader(range(n), **options)
    epochs = [len(loader)]
    for _ in range(case["epochs"]):
        iterator = iter(loader)
        epochs.append(iterator._base_seed)
        for i, batch in enumerate(iterator):
            epochs.append(batch.tolist())
            if case["draw_between"]:
                torch.rand(1)
                if generator:
                    torch.rand(1, generator=generator)
            if i + 1 == case["stop"]:
                break
    return epochs


def main(cases, results, states):
    with open(cases, encoding="utf-8") as file:
        cases = json.load(file)
    out = []
    with open(states, "wb") as file:
        for case in cases:
            torch.manual_seed(case["seed"])
            generator = None
            if case["generator"] is not None:
                generator = torch.Generator()
                generator.manual_seed(case["generator"])
            try:
                out.append(run(case, generator))
            except Exception as error:  # noqa: BLE001
                out.append(type(error).__name__)
            file.write(torch.get_rng_state().numpy().tobytes())
            file.write((generator or torch.default_generator).get_state().numpy().tobytes())
    with open(results, "w", encoding="utf-8") as file:
        json.dump(out, file)


main(*sys.argv[1:])
