"""What torch.optim does, for tests/live/optim.rs: one process for all cases. Files as those of reference.py."""

import json
import pathlib
import sys
import warnings

import safetensors.torch
import torch
from reference import DTYPES, chunk

WATCHED = (1, 2, 10)


def parameters(case):
    made = []
    for i, shape in enumerate(case["shapes"]):
        dtype = DTYPES[case["dtypes"][i]]
        values = torch.randn(shape, dtype=dtype if dtype.is_complex else torch.float64).to(dtype)
        if i in case["transposed"]:
            values = values.t()
        made.append(values.detach().requires_grad_())
    return made


def backward(case, step, i, p):
    """Gives a parameter its gradient of this step."""
    if (step + 2 * i) % 7 == 3:
        return
    if i in case["sparse"]:
        indices = torch.randint(0, p.shape[0], [5])
        rows = torch.nn.functional.embedding(indices, p, sparse=True)
        g = torch.randn(rows.shape, dtype=torch.float64).to(p.dtype)
        (rows * g).sum().backward()
        return
    scale = [1.0, 1e-3, 30.0, 1e-6][(step + i) % 4]
    if p.is_complex():
        g = torch.randn(p.shape, dtype=p.dtype) * scale
        (p * g).sum().real.backward()
        return
    g = torch.randn(p.shape, dtype=torch.float64) * scale
    if i % 2 == 1:
        g = g.relu()
    if case["special"]:
        nan = torch.tensor(float("nan"), dtype=torch.float64)
        if step % 4 == 1:
            g[11::911] = nan
            g[13::2003] = float("inf")
        elif step % 4 == 2:
            g[11::1822] = -nan
            g[15::4001] = -float("inf")
    (p * g.to(p.dtype)).sum().backward()


def state_of(opt):
    dict = opt.state_dict()
    entries = [(k, name, t) for k, state in dict["state"].items() for name, t in state.items()]
    return sorted(entries, key=lambda entry: entry[:2])


def options_of(options):
    """The options as Python takes them; a text is a number that JSON may lack."""
    def value(v):
        return tuple(map(value, v)) if isinstance(v, list) else float(v) if isinstance(v, str) else v
    return {k: value(v) for k, v in options.items()}


def train(case, steps, **more):
    torch.manual_seed(case["seed"])
    params = parameters(case)
    groups = [
        {"params": [params[i] for i in indices], **options_of(options)}
        for indices, options in case["groups"]
    ]
    late = groups.pop() if case["late"] else None
    opt = getattr(torch.optim, case["optimizer"])(groups, **options_of(case["options"]), **more)
    chunks = []
    for step in range(1, steps + 1):
        if late is not None and step == 3:
            opt.add_param_group(late)
        opt.zero_grad()
        for i, p in enumerate(params):
            backward(case, step, i, p)
        opt.step()
        if step in WATCHED or step == steps:
            chunks += [chunk(p) for p in params]
    state = state_of(opt)
    chunks += [chunk(t.to_dense() if t.is_sparse else t) for _, _, t in state]
    return chunks, [[k, name] for k, name, _ in state]


def variants(case):
    """Whether other implementations have the same bits; null if there is none."""
    usual = train(case, 12)
    same = []
    for more in ({"foreach": True}, {"fused": True}):
        try:
            same.append(train(case, 12, **more) == usual)
        except (RuntimeError, TypeError):
            same.append(None)
    return same


def load_function():
    """The function of docs/training.md that reads a state of Rust."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "training.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    scope = {}
    exec(code, scope)
    return scope["load_optimizer_state"]


def exchange(case):
    """Hands a state over to Rust in the middle of training, and goes on from one of Rust."""
    folder = pathlib.Path(case["exchange"])

    def make():
        torch.manual_seed(case["seed"])
        params = parameters(case)
        groups = [{"params": [params[i] for i in indices]} for indices, _ in case["groups"]]
        return params, getattr(torch.optim, case["optimizer"])(groups, **options_of(case["options"]))

    def train(params, opt, steps):
        for step in steps:
            torch.manual_seed(step)
            opt.zero_grad()
            for i, p in enumerate(params):
                backward(case, step, i, p)
            opt.step()

    params, opt = make()
    train(params, opt, range(1, 11))
    torch.save({"step": 10, "train": {"optimizer": opt.state_dict()}}, folder / "python.pt")
    chunks = [chunk(p) for p in params]
    train(params, opt, range(11, 21))
    chunks += [chunk(p) for p in params]

    params, opt = make()
    given = safetensors.torch.load_file(folder / "params.safetensors")
    with torch.no_grad():
        for i, p in enumerate(params):
            p.copy_(given[str(i)])
    opt.load_state_dict(load_function()(folder / "rust.safetensors"))
    train(params, opt, range(11, 21))
    return chunks + [chunk(p) for p in params]


def run(case):
    if "exchange" in case:
        return {"error": None, "lengths": exchange(case), "rest": []}
    error, chunks, rest = None, [], []
    try:
        chunks, names = train(case, case["steps"])
        rest = [names]
        if case["variants"]:
            rest += variants(case)
    except Exception as e:  # the error is the result
        error = [type(e).__name__, str(e).split("\n")[0]]
    return {"error": error, "lengths": chunks, "rest": rest}


def main():
    cases, results, data = sys.argv[1:]
    with open(cases) as file:
        request = json.load(file)
    torch.set_num_threads(request["threads"])
    warnings.simplefilter("ignore")
    answers = [run(case) for case in request["cases"]]
    with open(data, "wb") as file:
        for answer in answers:
            file.writelines(answer["lengths"])
            answer["lengths"] = [len(c) for c in answer["lengths"]]
    with open(results, "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    main()
