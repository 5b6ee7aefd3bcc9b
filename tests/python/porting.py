"""What PyTorch does where tch does otherwise, for tests/live/porting.rs. Files as those of reference.py."""

import json
import sys

import torch
import torch.nn.functional as F
from reference import chunk
from torch import nn


def adam():
    w = torch.randn(200).requires_grad_()
    opt = torch.optim.Adam([w], lr=0.1)
    seen = []
    for _ in range(3):
        opt.zero_grad()
        (w * torch.randn(200)).sum().backward()
        opt.step()
        seen.append(w.detach().clone())
    return [seen[0], seen[2]]


def clip_grad_norm():
    clipped = []
    for scale in [0.01, 1.0, 3.0, 20.0, 700.0]:
        w = torch.randn(50).requires_grad_()
        (w * torch.randn(50) * scale).sum().backward()
        nn.utils.clip_grad_norm_([w], 1.0)
        clipped.append(w.grad)
    return [torch.cat(clipped)]


def parameters():
    norms = []
    for _ in range(30):
        model = nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 7), nn.Linear(7, 6))
        model(torch.randn(5, 9)).square().mean().backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    return [torch.stack(norms)]


def avg_pool2d():
    return [F.avg_pool2d(torch.randn(1, 2, 6, 6), 2)]


def evaluation():
    m = nn.LSTM(3, 5, 2, dropout=0.5, batch_first=True).eval()
    return [m(torch.randn(2, 4, 3))[0]]


def batch_first():
    return [nn.LSTM(3, 5)(torch.randn(4, 4, 3))[0]]


def cross_entropy():
    logits = torch.randn(6, 5, dtype=torch.float64)
    images = torch.randn(2, 5, 3, 3)
    of_logits = F.cross_entropy(logits, torch.randint(0, 5, (6,)))
    return [of_logits, F.cross_entropy(images, torch.randint(0, 5, (2, 3, 3)))]


def leaky_relu():
    x = torch.randn(50).requires_grad_()
    y = F.leaky_relu(x, 0.2)
    (y * torch.randn(50)).sum().backward()
    return [y, x.grad]


def shuffle():
    loader = torch.utils.data.DataLoader(range(10), batch_size=3, shuffle=True)
    return [torch.cat(list(loader)), torch.randn(3)]


def main():
    cases, results, data = sys.argv[1:]
    with open(cases) as file:
        request = json.load(file)
    torch.set_num_threads(request["threads"])
    answers = []
    with open(data, "wb") as file:
        for name in request["cases"]:
            torch.manual_seed(3)
            chunks = [chunk(t) for t in globals()[name]()]
            file.writelines(chunks)
            answers.append({"error": None, "lengths": [len(c) for c in chunks], "rest": []})
    with open(results, "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    main()
