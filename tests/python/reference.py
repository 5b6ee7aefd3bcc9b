"""What PyTorch does, for tests/live: one process for all cases.

Reads cases.json, writes results.json (one entry a case: the error or null, and the lengths of its
chunks) and results.bin (the chunks: tensors as they lie in memory order of their logical
contiguous form, then generator states).
"""

import inspect
import json
import struct
import sys
import warnings

import models
import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {
    "f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16,
    "i64": torch.int64, "bool": torch.bool, "c64": torch.complex64,
}


def chunk(tensor):
    tensor = tensor.detach().contiguous()
    if tensor.numel() == 0:
        return b""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def make(dtype, shape, layout):
    """The tensor to fill, and the one that owns its memory."""
    kwargs = {"dtype": DTYPES[dtype]}
    if layout in ("contiguous", "leaf"):
        base = torch.zeros(shape, **kwargs)
        if layout == "leaf":
            base.requires_grad_(True)
        return base, base
    if layout == "transposed":
        base = torch.zeros(shape[::-1], **kwargs)
        return base.permute(*range(len(shape) - 1, -1, -1)), base
    if layout == "strided":
        base = torch.zeros([*shape[:-1], 2 * shape[-1]], **kwargs)
        return base[..., ::2], base
    if layout == "offset":
        base = torch.zeros([shape[0] + 1, *shape[1:]], **kwargs)
        return base[1:], base
    if layout == "channels_last":
        memory_format = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        base = torch.zeros(shape, **kwargs).contiguous(memory_format=memory_format)
        return base, base
    if layout == "expanded":
        base = torch.zeros([1, *shape[1:]], **kwargs)
        return base.expand(shape), base
    raise AssertionError(layout)


def run_init(case):
    torch.manual_seed(case["seed"])
    if case["warm"]:
        torch.rand(case["warm"])
        torch.randn(1)
    generator = None
    kwargs = {}
    if case["generator"] is not None:
        generator = torch.Generator()
        generator.manual_seed(case["generator"])
        kwargs["generator"] = generator
    tensor, base = make(case["dtype"], case["shape"], case["layout"])
    error = None
    try:
        getattr(nn.init, case["function"])(tensor, **case["arguments"], **kwargs)
    except Exception as e:  # the error is the result
        error = [type(e).__name__, str(e).split("\n")[0]]
    chunks = [chunk(base), chunk(torch.get_rng_state())]
    if generator is not None:
        chunks.append(chunk(generator.get_state()))
    return error, chunks


class Net(nn.Module):
    """The network of the experiment that the project grew from."""

    def __init__(self, input_size, bias):
        super().__init__()
        self.input_size = input_size
        self.fc1 = nn.Linear(input_size, 2, bias=bias)
        self.fc2 = nn.Linear(2, 4, bias=bias)
        self.fc3 = nn.Linear(4, 2, bias=bias)

    def forward(self, x):
        x = x.view(-1, self.input_size)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


def weight_init(m):
    if isinstance(m, nn.Linear):
        nn.init.xavier_normal_(m.weight)
        if m.bias is not None:
            nn.init.constant_(m.bias, 0)
    elif isinstance(m, nn.Conv2d):
        nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(m, nn.BatchNorm2d) and m.affine:
        nn.init.constant_(m.weight, 1)
        nn.init.constant_(m.bias, 0)


def weight_init2(m):
    if isinstance(m, nn.Linear):
        nn.init.orthogonal_(m.weight.data)
        if hasattr(m.bias, "data"):
            m.bias.data.fill_(0.0)
    elif isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.orthogonal_(m.weight.data, nn.init.calculate_gain("relu"))
        if hasattr(m.bias, "data"):
            m.bias.data.fill_(0.0)


VISITORS = {"weight_init": weight_init, "weight_init2": weight_init2}


def run_experiment(case):
    torch.manual_seed(case["seed"])
    size = case["input_size"]
    x = torch.randn(1, size)
    chunks = [chunk(x)]
    for visitor in (weight_init, weight_init2):
        model = Net(size, case["bias"])
        model.apply(visitor)
        chunks.append(chunk(model(x)))
        chunks += [chunk(t) for t in model.state_dict().values()]
    chunks.append(chunk(torch.get_rng_state()))
    return None, chunks


def run_layers(case):
    """Layers as PyTorch makes them, then as a visitor leaves them."""
    torch.manual_seed(case["seed"])
    torch.set_default_dtype(DTYPES[case["dtype"]])
    model = nn.ModuleDict({
        name: getattr(nn, kind)(*args, **kwargs) for name, kind, args, kwargs in case["layers"]
    })
    torch.set_default_dtype(torch.float32)
    names = list(model.state_dict())
    chunks = [chunk(t) for t in model.state_dict().values()]
    if case["visitor"] == "reset_parameters":
        for layer in model.values():
            layer.reset_parameters()
    elif case["visitor"] is not None:
        model.apply(VISITORS[case["visitor"]])
    chunks += [chunk(t) for t in model.state_dict().values()]
    chunks.append(chunk(torch.get_rng_state()))
    return None, chunks, names, [repr(layer) for layer in model.values()]


def run_twin(case):
    """A layer from an expression: its start, its outputs, and a new start at another seed."""

    def make(seed):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            return eval(case["python"], {"nn": nn, "torch": torch})
        finally:
            torch.set_default_dtype(torch.float32)

    def draw(how, shape, *rest):
        if how == "randn":
            return torch.randn(shape, dtype=dtype)
        if how == "randint":
            return torch.randint(0, *rest, shape)
        return torch.tensor(*rest).view(shape)

    dtype = DTYPES[case["dtype"]]
    m = make(case["seed"])
    chunks = [chunk(t) for t in m.state_dict().values()]
    chunks.append(chunk(torch.get_rng_state()))
    torch.manual_seed(case["seed"] + 1)
    x = [draw(*how) for how in case["inputs"]]
    outputs = eval(case["forward"], {"nn": nn, "torch": torch, "F": F, "m": m, "x": x})
    chunks += [chunk(t) for t in outputs]
    chunks.append(chunk(torch.get_rng_state()))
    again = make(case["seed"] + 2)
    chunks += [chunk(t) for t in again.state_dict().values()]
    chunks.append(chunk(torch.get_rng_state()))
    return None, chunks, list(m.state_dict()), [n for n, _ in m.named_parameters()], repr(m)


def run_visit(case):
    """The names of the modules in the order in which Module.apply calls its visitor."""
    m = eval(case["python"], {"nn": nn})
    names = {id(module): name for name, module in m.named_modules()}
    order = []
    m.apply(lambda module: order.append((names[id(module)], type(module).__name__)))
    return None, [], order


def run_model(case):
    names, tensors, state, losses = models.train(
        case["name"], case["seed"], case["steps"], case["rate"]
    )
    return None, [*map(chunk, tensors), chunk(state), chunk(losses)], names


def run_gain(case):
    """calculate_gain as an exact number."""
    try:
        return None, [struct.pack("<d", nn.init.calculate_gain(*case["arguments"]))]
    except Exception as e:  # the error is the result
        return [type(e).__name__, str(e).split("\n")[0]], []


def run_state(case):
    """A state handed over from Rust: where drawing on from it leads."""
    torch.set_rng_state(torch.tensor(case["state"], dtype=torch.uint8))
    return None, [
        chunk(torch.get_rng_state()),
        chunk(torch.randn(5)),
        chunk(torch.rand(700)),
        chunk(torch.get_rng_state()),
    ]


def run_scope(case):
    """Draws from the generator g: by their argument generator=, or in a forked stream that is g's."""

    def forked(draw):
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(g.get_state())
            try:
                return draw()
            finally:
                g.set_state(torch.get_rng_state())

    torch.manual_seed(case["seed"])
    torch.rand(3)
    g = torch.Generator().manual_seed(case["generator"])
    drawn = [
        eval(draw, {"torch": torch, "nn": nn, "F": F, "g": g, "forked": forked})
        for draw in case["draws"]
    ]
    return None, [*map(chunk, drawn), chunk(g.get_state()), chunk(torch.get_rng_state())]


def run_defaults(case):
    """The defaults of the arguments of the classes and of all lazy ones, but for device and dtype."""

    def plain(value):
        return value.__name__ if callable(value) else value

    lazy = [
        name for name, value in vars(nn).items()
        if name.startswith("Lazy") and isinstance(value, type)
    ]
    classes = {}
    for name in case["classes"] + lazy:
        made = nn.RNNBase if name in ("RNN", "LSTM", "GRU") else getattr(nn, name)
        parameters = inspect.signature(made.__init__).parameters.values()
        classes[name] = {
            p.name: plain(p.default) for p in parameters
            if p.default is not p.empty and p.name not in ("device", "dtype")
        }
    return None, [], classes


RUN = {
    "scope": run_scope,
    "defaults": run_defaults,
    "init": run_init, "experiment": run_experiment, "layers": run_layers, "twin": run_twin, "model": run_model, "visit": run_visit,
    "gain": run_gain,
    "state": run_state,
}


def main():
    cases_path, results_path, chunks_path = sys.argv[1:]
    warnings.simplefilter("ignore")
    with open(cases_path) as f:
        # JSON has no NaN and no infinities: {"float": "inf"} stands for them.
        request = json.load(f, object_hook=lambda o: float(o["float"]) if set(o) == {"float"} else o)
    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    torch.set_num_threads(request["threads"])
    results = []
    with open(chunks_path, "wb") as out:
        for case in request["cases"]:
            error, chunks, *rest = RUN[case["kind"]](case)
            for c in chunks:
                out.write(c)
            results.append({"error": error, "lengths": [len(c) for c in chunks], "rest": rest})
    with open(results_path, "w") as f:
        json.dump(results, f)


if __name__ == "__main__":
    main()
