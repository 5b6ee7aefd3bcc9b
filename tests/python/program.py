"""The program of the experiment, with what it prints.

    python tests/python/program.py SEED INPUT_SIZE
"""

import sys

import torch
from reference import Net, weight_init, weight_init2


def main():
    seed, size = map(int, sys.argv[1:])
    torch.manual_seed(seed)
    x = torch.randn(1, size)
    model = Net(size, True)
    print("网络结构: \n", model)
    print("输入: \n", x)
    for number, visitor in ((1, weight_init), (2, weight_init2)):
        if number == 2:
            model = Net(size, True)
        model.apply(visitor)
        y = model(x)
        print(f"输出{number}: \n", y.data)
        print(f"权重{number}: \n", model.fc1.weight.data)


main()
