"""Training runs for tests/live/training.rs, of the models in trace/ports.py, from a seed alone.

Reads cases.json (the number of threads and of steps), writes results.json (for each run its name, the losses as the bits of f32 and the
names of the parameters) and results.bin (the parameters, then the state of the generator, of each run).
"""

import json
import struct
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent / "trace"))
import ports  # noqa: E402


def mlp(steps):
    """Shuffled batches, dropout, SGD."""
    model = ports.Mlp()
    data = TensorDataset(torch.randn(50, 20), torch.randint(0, 10, (50,)))
    loader = DataLoader(data, batch_size=16, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    while len(losses) < steps:
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss)
    return losses, [model]


def tagger(steps):
    """Adam."""
    model = ports.Tagger()
    x, y = torch.randint(0, 50, (3, 6)), torch.randint(0, 7, (18,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return losses, [model]


def gpt(steps):
    """AdamW, warm-up, a cosine schedule, clipping."""
    model = ports.Gpt()
    tokens = torch.randint(0, 40, (200,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warm_up, cosine = LinearLR(optimizer, start_factor=0.1, total_iters=10), CosineAnnealingLR(optimizer, T_max=steps - 10)
    scheduler = SequentialLR(optimizer, [warm_up, cosine], milestones=[10])
    losses = []
    for _ in range(steps):
        at = torch.randint(0, 187, (3,)).tolist()
        x, y = (torch.stack([tokens[i + shift:i + shift + 12] for i in at]) for shift in (0, 1))
        loss = F.cross_entropy(model(x), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss)
    return losses, [model]


def dcgan(steps):
    """Two Adams."""
    generator, discriminator = ports.Generator(), ports.Discriminator()
    real = torch.randn(4, 1, 8, 8)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    losses = []
    for _ in range(steps):
        fake = generator(torch.randn(4, 8, 1, 1))
        loss = F.binary_cross_entropy_with_logits(discriminator(real), torch.ones(4))
        loss = loss + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), torch.zeros(4))
        optimizer_d.zero_grad()
        loss.backward()
        optimizer_d.step()
        losses.append(loss)
        loss = F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(4))
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
        losses.append(loss)
    return losses, [generator, discriminator]


def main(cases, results, out):
    with open(cases, encoding="utf-8") as file:
        cases = json.load(file)
    torch.set_num_threads(cases["threads"])
    runs = []
    with open(out, "wb") as file:
        for run in (mlp, tagger, gpt, dcgan):
            torch.manual_seed(1)
            losses, models = run(cases["steps"])
            parameters = [(f"{i}.{name}", p) for i, model in enumerate(models) for name, p in model.named_parameters()]
            bits = [struct.unpack("<I", struct.pack("<f", loss.item()))[0] for loss in losses]
            runs.append({"name": run.__name__, "losses": bits, "parameters": [[name, 4 * p.numel()] for name, p in parameters]})
            for _, p in parameters:
                file.write(p.detach().contiguous().numpy().tobytes())
            file.write(torch.get_rng_state().numpy().tobytes())
    with open(results, "w", encoding="utf-8") as file:
        json.dump(runs, file)


main(*sys.argv[1:])
