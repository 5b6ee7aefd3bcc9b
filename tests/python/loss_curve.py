"""The losses of the GPT of examples/loss_curves.rs, one a line.

    python tests/python/loss_curve.py SEED STEPS WARM_UP
"""

import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

WIDTH, HEADS, VOCABULARY, SEQUENCES, LENGTH = 64, 4, 128, 8, 32
TEXT = Path(__file__).resolve().parents[2] / "LICENSE-APACHE"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        q, k, v = (
            part.view(SEQUENCES, LENGTH, HEADS, -1).transpose(1, 2)
            for part in self.attention(self.norm1(x)).split(WIDTH, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.projection(y.transpose(1, 2).reshape(SEQUENCES, LENGTH, WIDTH)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions(torch.arange(LENGTH)))))


def main(seed, steps, warm_up):
    torch.set_num_threads(int(sys.stdin.read() or torch.get_num_threads()))
    torch.manual_seed(seed)
    model = Gpt()
    text = torch.tensor(list(TEXT.read_bytes()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedules = [LinearLR(optimizer, start_factor=0.1, total_iters=warm_up), CosineAnnealingLR(optimizer, T_max=steps - warm_up)]
    scheduler = SequentialLR(optimizer, schedules, milestones=[warm_up])
    for _ in range(steps):
        at = torch.randint(len(text) - LENGTH, (SEQUENCES, 1)) + torch.arange(LENGTH)
        loss = F.cross_entropy(model(text[at]).flatten(0, 1), text[at + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        print(repr(loss.item()))


main(*map(int, sys.argv[1:]))
