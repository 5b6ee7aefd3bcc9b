"""Executes a plan (docs/plan.md) on PyTorch itself, one step after the other: the proof of a plan without any of Rust."""

import base64
import hashlib
import json

import safetensors.torch
import torch

FUNCTIONS = {
    "add": lambda a, b, alpha: torch.add(a, b, alpha=alpha),
    "sub": lambda a, b, alpha: torch.sub(a, b, alpha=alpha),
    "rsub": lambda a, b, alpha: torch.rsub(a, b, alpha=alpha),
    "div": lambda a, b, mode: torch.div(a, b, rounding_mode=mode),
    "sum": lambda x, dims, keepdim: torch.ops.aten.sum.dim_IntList(x, dims, keepdim),
    "norm": lambda x, p, dims, keepdim: torch.ops.aten.norm.ScalarOpt_dim(x, p, dims or [], keepdim),
    "linalg_vector_norm": lambda x, order, dims, keepdim: torch.linalg.vector_norm(x, order, dims, keepdim),
    "constant_pad_nd": lambda x, pad, value: torch.constant_pad_nd(x, pad, value),
    "clamp": torch.clamp,
    "where": torch.where,
    "masked_fill": lambda x, mask, value: x.masked_fill(mask, value),
    "cat": torch.cat,
    "stack": torch.stack,
    "copy_": lambda x: x,
}
for _name in (
    "mul pow neg abs sign reciprocal exp expm1 log sin cos erfinv bitwise_not eq ne lt le gt ge mv"
).split():
    FUNCTIONS[_name] = getattr(torch, _name)

INIT = {name: getattr(torch.nn.init, name) for name in ("trunc_normal_", "orthogonal_", "sparse_", "dirac_")}
KEYS = "format version pytorch semantics model data storages views steps parameters buffers".split()


class Streams:
    """The default generator is moved to the position of the stream in use."""

    def __init__(self):
        self.current, self.others = 0, {}

    def get(self, stream):
        return torch.get_rng_state() if stream == self.current else self.others[stream]

    def put(self, stream, state):
        if stream == self.current:
            torch.set_rng_state(state)
        else:
            self.others[stream] = state

    def change(self, op, stream, value=None):
        if op == "manual_seed":
            self.put(stream, torch.Generator().manual_seed(value).get_state())
        elif op == "copy_state":
            self.put(stream, self.get(value))
        elif stream != self.current:
            self.others[self.current] = torch.get_rng_state()
            self.current = stream
            torch.set_rng_state(self.others.pop(stream))


def call(name, outs, args):
    """Calls an operator by its schema."""
    name, _, overload = name.removeprefix("aten::").partition(".")
    function = getattr(getattr(torch.ops.aten, name), overload or "default")
    in_place = name.endswith("_") and function._schema.is_mutable
    args = [*outs, *args] if in_place else args
    positional, keywords = [], {}
    for value, a in zip(args, function._schema.arguments):
        if a.name == "dtype" and value is not None:
            value = getattr(torch, value)
        if a.kwarg_only:
            keywords[a.name] = value
        else:
            positional.append(value)
    if function is torch.ops.aten.mkldnn_rnn_layer.default:
        # The plan says whether gradients were recorded, which selects the kernel.
        with torch.set_grad_enabled(positional[-1]):
            result = (*function(*positional[:-1], False)[:3], None)
    else:
        result = function(*positional, **keywords)
    if not in_place:
        results = [] if result is None else [result] if isinstance(result, torch.Tensor) else result
        results = [torch.empty(0, dtype=torch.uint8) if x is None else x for x in results]
        assert [x.shape for x in results] == [x.shape for x in outs], (name, results, outs)
        for out, x in zip(outs, [x.clone() for x in results]):
            out.copy_(x)


class Plan:
    """A plan that was read, strictly."""

    def __init__(self, text, data=b""):
        self.plan = json.loads(text)
        assert list(self.plan) == [key for key in KEYS if key != "data" or data], list(self.plan)
        assert self.plan["format"] == "tch-init plan" and self.plan["version"] in (1, 2)
        self.data = {}
        if data:
            name, nbytes, sha256 = self.plan["data"]
            assert nbytes == len(data) and sha256 == hashlib.sha256(data).hexdigest()
            self.data = safetensors.torch.load(data)

    def replay(self, seed):
        """Parameters and buffers by name, after `manual_seed(seed)`; the generator is left where the plan leaves it."""
        torch.manual_seed(seed)
        streams = Streams()
        storages = [torch.zeros(n, dtype=torch.uint8).untyped_storage() for n in self.plan["storages"]]

        def view(index):
            storage, dtype, shape, *rest = self.plan["views"][index]
            offset = rest[0] if rest else 0
            result = torch.empty(0, dtype=getattr(torch, dtype))
            if len(rest) == 2:
                assert not torch.empty_strided(shape, rest[1], device="meta").is_contiguous()
                return result.set_(storages[storage], offset, shape, rest[1])
            return result.set_(storages[storage], offset, shape)

        def argument(x):
            if isinstance(x, dict):
                assert list(x) == ["view"]
                return view(x["view"])
            if isinstance(x, list):
                return [argument(y) for y in x]
            return float(x) if x in ("inf", "-inf", "nan") else x

        with torch.no_grad():
            for op, out, *args in self.plan["steps"]:
                if op == "data":
                    target, source = view(out), self.data[args[0]]
                    assert target.shape == source.shape and target.dtype == source.dtype and target.is_contiguous()
                    target.copy_(source)
                    continue
                if op in ("manual_seed", "copy_state", "use_stream"):
                    streams.change(op, out, *args)
                    continue
                if op.startswith("aten::"):
                    call(op, [view(x) for x in out], [argument(x) for x in args])
                    continue
                if op == "const":
                    raw = torch.frombuffer(bytearray(base64.b64decode(args[0])), dtype=torch.uint8)
                    target = view(out)
                    target.copy_(raw.view(target.dtype).view(target.shape))
                    continue
                self.step(op, view(out), [argument(x) for x in args])
            streams.change("use_stream", 0)
        return {row[0]: view(row[1]) for section in ("parameters", "buffers") for row in self.plan[section]}

    def step(self, op, out, args):
        if op in ("uniform_", "normal_", "fill_"):
            getattr(out, op)(*args)
        elif op in INIT:
            INIT[op](out, *args)
        elif op == "randperm":
            out.copy_(torch.randperm(*out.shape))
        elif op == "arange":
            out.copy_(torch.arange(*args, dtype=out.dtype))
        elif op == "eye":
            out.copy_(torch.eye(*out.shape, dtype=out.dtype))
        else:
            result = FUNCTIONS[op](*args)
            assert result.shape == out.shape, (op, result.shape, out.shape)
            # All of the result before any of `out` is written.
            out.copy_(result.clone())
