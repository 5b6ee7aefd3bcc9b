"""The losses of a model of models.py, one a line.

    python tests/python/loss_curve.py MODEL SEED STEPS RATE
"""

import sys

import models
import torch


def main():
    name, seed, steps, rate = sys.argv[1:]
    torch.set_num_threads(int(sys.stdin.read() or torch.get_num_threads()))
    for loss in models.train(name, int(seed), int(steps), float(rate))[3].tolist():
        print(repr(loss))


main()
