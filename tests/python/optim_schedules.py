"""What torch.optim.lr_scheduler and torch.nn.utils.clip_grad do, for tests/live/optim_schedules.rs. Files as those of reference.py."""

import json
import math
import struct
import sys
import warnings

import torch
from reference import DTYPES, chunk
from torch.nn import utils
from torch.optim import lr_scheduler

LAMBDAS = {"inverse": lambda step: 1.0 / (1.0 + 0.1 * step), "wave": lambda step: 1.0 + 0.5 * math.sin(step)}


def make(opt, spec):
    name, options = spec
    options = dict(options)
    if name == "SequentialLR":
        return lr_scheduler.SequentialLR(opt, [make(opt, s) for s in options["schedulers"]], options["milestones"])
    if name in ("LambdaLR", "MultiplicativeLR"):
        options = {"lr_lambda": LAMBDAS[options["lr_lambda"]]}
    if name == "MultiStepLR":
        options["milestones"] = list(options["milestones"])
    return getattr(lr_scheduler, name)(opt, **options)


def schedules(case):
    params = [torch.zeros(2, requires_grad=True) for _ in case["lrs"]]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, case["lrs"])]
    opt = getattr(torch.optim, case["optimizer"])(groups)
    made = [make(opt, spec) for spec in case["schedules"]]
    values = []

    def watch():
        for group in opt.param_groups:
            values.append(group["lr"])
            values.append(group["momentum"] if "momentum" in group else group.get("betas", [0.0])[0])
        for scheduler in made:
            values.extend(scheduler.get_last_lr())

    error = None
    try:
        watch()
        for _ in range(case["steps"]):
            opt.step()
            for scheduler in made:
                scheduler.step()
            watch()
    except Exception as e:
        error = [type(e).__name__, str(e).split("\n")[0]]
    return error, [struct.pack(f"<{len(values)}d", *values)]


def clip(case):
    torch.manual_seed(case["seed"])
    params = []
    for i, (shape, dtype) in enumerate(zip(case["shapes"], case["dtypes"])):
        p = torch.zeros(shape, dtype=DTYPES[dtype], requires_grad=True)
        params.append(p)
        if i not in case["without"]:
            g = torch.randn(shape, dtype=torch.float64) * case["scale"]
            (p * g.to(p.dtype)).sum().backward()
    chunks = []
    if case["value"] is not None:
        utils.clip_grad_value_(params, case["value"])
    else:
        norm = utils.clip_grad_norm_(params, case["max_norm"], float(case["norm_type"]), case["error_if_nonfinite"])
        chunks.append(chunk(norm))
    return None, chunks + [chunk(p.grad) for p in params if p.grad is not None]


def run(case):
    error, chunks = None, []
    try:
        error, chunks = (schedules if "schedules" in case else clip)(case)
    except Exception as e:  # the error is the result
        error = [type(e).__name__, str(e).split("\n")[0]]
    return {"error": error, "lengths": chunks, "rest": []}


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
