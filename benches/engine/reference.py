"""The same as benches/engine in Python's PyTorch: prints nanoseconds.

    reference.py FUNCTION DTYPE THREADS     the median of filling 2^24 elements
    reference.py adamw default|foreach|fused THREADS   the median of steps of AdamW on parameters of GPT-2's shape
    reference.py resnet18 recorded|unrecorded THREADS  the median of a forward and backward pass
    reference.py model warm|fresh THREADS   one initialization of a model of GPT-2's shape
"""

import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import init

FILLS = {
    "uniform_": lambda t: init.uniform_(t, -0.1, 0.1),
    "normal_": lambda t: init.normal_(t, 0.0, 0.02),
    "trunc_normal_": lambda t: init.trunc_normal_(t),
    "xavier_uniform_": lambda t: init.xavier_uniform_(t),
    "kaiming_normal_": lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
}


def timed(call):
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def fill(name, dtype):
    tensor = torch.zeros(4096, 4096, dtype=getattr(torch, dtype))
    FILLS[name](tensor)
    return statistics.median(timed(lambda: FILLS[name](tensor)) for _ in range(3))


def initialize(embeddings, layers):
    for embedding in embeddings:
        init.normal_(embedding)
    for weight, bias in layers:
        init.kaiming_uniform_(weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(weight.shape[1])
        init.uniform_(bias, -bound, bound)
    for embedding in embeddings:
        init.normal_(embedding, 0.0, 0.02)
    for weight, bias in layers:
        init.normal_(weight, 0.0, 0.02)
        init.zeros_(bias)


def model(memory):
    init.normal_(torch.zeros(1 << 20))
    embeddings = [torch.empty(50257, 768), torch.empty(1024, 768)]
    shapes = [(2304, 768), (768, 768), (3072, 768), (768, 3072)] * 12
    layers = [(torch.empty(shape), torch.empty(shape[0])) for shape in shapes]
    if memory == "warm":
        initialize(embeddings, layers)
    return timed(lambda: initialize(embeddings, layers))


def adamw(variant):
    shapes = [(50257, 768), (1024, 768)]
    for _ in range(12):
        for out, inner in [(2304, 768), (768, 768), (3072, 768), (768, 3072)]:
            shapes += [(out, inner), (out,)]
        shapes += [(768,)] * 4
    shapes += [(768,)] * 2
    params = [(torch.randn(shape) * 0.02).requires_grad_() for shape in shapes]
    for p in params:
        p.grad = torch.randn(p.shape) * 1e-3
    more = {} if variant == "default" else {variant: True}
    opt = torch.optim.AdamW(params, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, **more)
    opt.step()
    return statistics.median(timed(opt.step) for _ in range(7))


def resnet18(what):
    from torchvision.models import resnet18

    model = resnet18()
    images, labels = torch.randn(8, 3, 224, 224), torch.randint(1000, (8,))
    step = lambda: torch.nn.functional.cross_entropy(model(images), labels).backward()

    def zeroed():
        model.zero_grad()
        return timed(step)

    with torch.enable_grad():
        step()
        if what == "unrecorded":
            return statistics.median(zeroed() for _ in range(7))
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
        import trace as tch_trace

        times = []
        for _ in range(7):
            with tempfile.TemporaryDirectory() as folder, tch_trace.record(f"{folder}/trace", model=model):
                times.append(zeroed())
        return statistics.median(times)


def run(what, argument):
    if what == "model":
        return model(argument)
    if what == "resnet18":
        return resnet18(argument)
    return adamw(argument) if what == "adamw" else fill(what, argument)


torch.set_num_threads(int(sys.argv[3]))
with torch.no_grad():
    print(run(*sys.argv[1:3]))
