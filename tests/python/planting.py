"""A recorder of PyTorch's draws, and `Case`, of which plant.py's test set consists.

The recorder notes, for each draw of a program, which tensor it filled, how, and its position in the
stream: the number of 32-bit words drawn since `manual_seed`. It finds the position by stepping a
second Mersenne Twister (numpy's) to the block of PyTorch's generator.
"""

import contextlib
import struct

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

EQUAL, NONE = "equal", "no-hypothesis"
# Two sets of tensors show these causes by themselves.
BY_FILE = ["scaled", "permuted", "exchanged", "rounded", "lapack", "last-16", "modified"]
# These require the seed, and the printed model or the list of draws.
BY_SEED = ["other-offset", "other-seed", "other-path", "randn-times-std", "other-capability",
           "trunc-normal-before-2.12"]
ALL = [EQUAL, *BY_FILE, *BY_SEED, NONE]
DTYPES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16", torch.float16: "f16",
          torch.int64: "i64"}
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


# -- comparing -----------------------------------------------------------------------------------

def bits(tensor):
    return tensor.detach().contiguous().view(BITS[tensor.element_size()])


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bool((bits(a) == bits(b)).all())


def differing(a, b):
    """Flat indices of the elements whose bits differ."""
    return (bits(a) != bits(b)).flatten().nonzero().flatten().tolist()


def ulps(a, b):
    """The largest distance in representable values."""
    def ordered(t):
        i = bits(t).to(torch.int64)
        low = -(1 << (8 * t.element_size() - 1))
        return torch.where(i < 0, low - i, i)
    return int((ordered(a) - ordered(b)).abs().max())


def noise(shape, seed=99, dtype=torch.float32):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).to(dtype)


def filled(tensor):
    """Whether all values are one constant (a single number only if it is 0)."""
    first = tensor.flatten()[0]
    return bool((tensor == first).all()) and (tensor.numel() > 1 or bool(first == 0))


# -- drawing -------------------------------------------------------------------------------------

class Words:
    """The number of words drawn from the default generator since `manual_seed(seed)`."""

    def __init__(self, seed):
        self.twister = np.random.MT19937()
        self.twister._legacy_seeding(seed & 0xFFFFFFFF)
        self.blocks = 0

    def now(self):
        blob = torch.get_rng_state().numpy().tobytes()
        left, taken = struct.unpack_from("<i", blob, 8)[0], struct.unpack_from("<Q", blob, 16)[0]
        if (left, taken) == (1, 0):
            return 0
        key = np.frombuffer(blob, "<u8", 624, 24).astype(np.uint32)
        for _ in range(10_000):
            if self.blocks and np.array_equal(self.twister.state["state"]["key"], key):
                return (self.blocks - 1) * 624 + taken
            self.twister.random_raw(624)
            self.blocks += 1
        raise AssertionError("the generator is not where its seed can have brought it")


def cached_normal():
    return bool(struct.unpack_from("<i", torch.get_rng_state().numpy().tobytes(), 5040)[0])


class Recorder(TorchDispatchMode):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.seed, self.words, self.draws, self.whole = seed, Words(seed), [], False

    def note(self, init, args, tensor, run):
        at, cached = self.words.now(), cached_normal()
        result = run()
        count = self.words.now() - at
        if count:
            tensor = result if tensor is None else tensor
            self.draws.append({
                "storage": tensor.untyped_storage().data_ptr(), "alive": tensor,
                "start": tensor.storage_offset(), "init": init, "args": args,
                "shape": list(tensor.shape), "dtype": DTYPES[tensor.dtype],
                "contiguous": tensor.is_contiguous(), "offset": at, "words": count,
                "cached": cached})
        return result

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if self.whole:
            return func(*args, **kwargs)
        in_place = name.endswith("_")
        keys = {"uniform_": ("from", "to"), "normal_": ("mean", "std")}.get(name, ())
        given = dict(zip(keys, (0.0, 1.0)))
        given.update(zip(keys, args[1:]))
        given.update((k, v) for k, v in kwargs.items() if k in keys)
        return self.note(name, {k: float(v) for k, v in given.items()},
                         args[0] if in_place else None, lambda: func(*args, **kwargs))

    @contextlib.contextmanager
    def as_one(self):
        """Records trunc_normal_ and orthogonal_ as one draw each, under their own names."""
        def whole(init, keys):
            original = getattr(nn.init, init)

            def wrapped(tensor, *values, **named):
                def run():
                    self.whole = True
                    try:
                        return original(tensor, *values, **named)
                    finally:
                        self.whole = False
                given = {**keys, **dict(zip(keys, values)), **named}
                return self.note(init, {k: float(v) for k, v in given.items()}, tensor, run)
            return original, wrapped
        patches = {
            "trunc_normal_": whole("trunc_normal_", {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0}),
            "orthogonal_": whole("orthogonal_", {"gain": 1.0})}
        try:
            for name, (_, wrapped) in patches.items():
                setattr(nn.init, name, wrapped)
            yield
        finally:
            for name, (original, _) in patches.items():
                setattr(nn.init, name, original)


class Drawn:
    """A program's tensors by name, the printed model if there is one, and its draws."""

    def __init__(self, build, seed):
        recorder = Recorder(seed)
        with torch.no_grad(), recorder.as_one(), recorder:
            made = build()
        self.seed, self.model = seed, made if isinstance(made, nn.Module) else None
        made = made.state_dict() if self.model is not None else made
        self.tensors = {k: v.detach().clone().contiguous() for k, v in made.items()}
        self.draws = self.named(recorder.draws, made)
        self.total = recorder.words.now()

    def named(self, draws, made):
        owners = {t.untyped_storage().data_ptr(): n for n, t in made.items()}
        seen, out = {}, []
        for draw in draws:
            draw["tensor"] = owners.get(draw.pop("storage"))
            draw.pop("alive")
            out.append(draw)
        for draw in reversed(out):  # a draw lasts if no later draw covers it
            name, size = draw["tensor"], int(np.prod(draw["shape"]))
            covered = seen.setdefault(name, 0) if name else 0
            draw["overwritten"] = bool(name) and (covered >= made[name].numel() or filled(made[name]))
            if name:
                seen[name] += size
        return out

    def reported(self):
        """All draws, then what PyTorch sets without drawing."""
        out, drawn = list(self.draws), {d["tensor"] for d in self.draws if not d["overwritten"]}
        for name, tensor in self.tensors.items():
            set_ = {"tensor": name, "shape": list(tensor.shape), "dtype": DTYPES[tensor.dtype],
                    "words": 0}
            if name not in drawn:
                value = tensor.flatten()[0].item()
                assert (tensor == value).all(), f"{name} is neither drawn nor filled"
                out.append({**set_, "init": "fill", "args": {"value": float(value)}})
            elif tensor.dim() == 2 and (rows := (tensor == 0).all(1).nonzero().flatten().tolist()):
                out.append({**set_, "init": "zero_rows", "args": {"rows": rows}})
        return out

    def offset(self, tensor):
        """The position of the draw that the values of `tensor` come from."""
        return next(d["offset"] for d in self.draws
                    if d["tensor"] == tensor and not d.get("overwritten"))

    def before(self, tensor):
        """Tensors drawn before `tensor`, in order (None: one or more draws that went into none)."""
        at = self.offset(tensor)
        names = [d["tensor"] for d in self.draws if d["offset"] < at]
        return [n for i, n in enumerate(names) if n or not i or names[i - 1]]

    def __getitem__(self, name):
        return self.tensors[name].clone()


# -- checking the expectations ----------------------------------------------------------------------

def redraw(draw, seed, offset):
    """The values of a draw, redrawn from a seed and a position; None where these do not determine it."""
    if draw["init"] not in ("uniform_", "normal_", "trunc_normal_", "orthogonal_") or draw["cached"] \
            or not draw["contiguous"]:
        return None
    torch.manual_seed(seed)
    torch.empty(offset).uniform_()
    tensor = torch.empty(draw["shape"], dtype={v: k for k, v in DTYPES.items()}[draw["dtype"]])
    fill = getattr(nn.init, draw["init"])
    fill(tensor, *draw["args"].values())
    return tensor


def zero_where(zeroed, made):
    """`made` with the rows zeroed that are zero in `zeroed`, as padding_idx does."""
    if made.dim() == 2:
        made[(zeroed == 0).all(1)] = 0
    return made


def final(case, tensor):
    """The draw that the reference's tensor has its values from, if it is one draw."""
    draws = [d for d in case.reference.draws if d["tensor"] == tensor and not d["overwritten"]]
    whole = len(draws) == 1 and draws[0]["shape"] == list(case.ref(tensor).shape)
    return draws[0] if whole else None


def verify(case):
    """Checks that each listed draw gives the reference's bits and that each detail undoes its cause."""
    for tensor, reference in case.reference.tensors.items():
        if (draw := final(case, tensor)) is not None:
            made = redraw(draw, case.seed, draw["offset"])
            if made is not None:
                assert same(zero_where(reference, made), reference), (case.name, tensor)
    for (tensor, _), entry in case.expected.items():
        details = {d["hypothesis"]: d for d in entry["details"]}
        if len(entry["hypotheses"]) == 1 and not case.stretch:
            for detail in details.values():
                undone(case, tensor, detail)


def undone(case, tensor, detail):
    yours, reference = case.yours[tensor], case.ref(tensor)
    kind, label = detail.get("kind"), (case.name, tensor)
    start, end = detail.get("range", [0, reference.numel()])
    inside = torch.zeros(reference.numel(), dtype=torch.bool)
    inside[start:end] = True
    flat, was = yours.flatten(), reference.flatten()
    match kind or detail["hypothesis"]:
        case "other-seed" | "other-offset":
            draw = final(case, tensor)
            made = draw and redraw(draw, detail.get("seed", case.seed),
                                   detail.get("offset", draw["offset"]))
            if made is not None:
                assert same(zero_where(yours, made), yours), label
        case "permuted":
            drawn = reference.reshape(detail.get("drawn_as", reference.shape))
            assert same(drawn.permute(detail["permutation"]).contiguous(), yours), label
            assert list(yours.shape) == detail["yours_shape"], label
        case "exchanged":
            assert same(yours, case.ref(detail["with"])), label
        case "rounded" if detail.get("side") == "reference":
            assert same(yours.to(reference.dtype), reference), label
        case "clamped":
            low, high = detail.get("min", -np.inf), detail.get("max", np.inf)
            at_bound = (yours == low) | (yours == high)
            assert at_bound.any() and not (yours < low).any() and not (yours > high).any(), label
            assert (bits(yours) == bits(reference))[~at_bound].all(), label
        case "added":
            sum_ = was + inside.to(was.dtype) * detail["constant"]
            assert torch.allclose(flat, sum_, rtol=0, atol=1e-7), label
        case "zeroed-rows":
            zeroed, other = (yours, reference)[::-1 if detail.get("side") else 1]
            kept = [i for i in range(len(zeroed)) if i not in detail["rows"]]
            assert (zeroed[detail["rows"]] == 0).all() and same(zeroed[kept], other[kept]), label
        case "filled":
            assert (yours == detail["value"]).all(), label
        case "partly-overwritten" | "last-16":
            changed = differing(yours, reference)
            assert changed and start <= changed[0] and changed[-1] < end, label
            assert len(changed) == detail.get("count", len(changed)), label
            if "value" in detail:
                assert all(flat[i] == detail["value"] for i in changed), label
            assert detail["hypothesis"] == "modified" or [start, end] == [len(flat) - 16, len(flat)]


# -- cases ---------------------------------------------------------------------------------------

class Case:
    made = []

    def __init__(self, name, planted, build, seed=1, yours=None, near_miss_of=None,
                 layers=None, stretch=False):
        """`build` is PyTorch's program, run after `manual_seed(seed)`. `yours` is a program run after
        the same seed, a `Drawn`, or None for a copy that the caller changes. `layers` is whether the
        printed model determines the draws: no init call follows the constructors."""
        assert name not in [case.name for case in Case.made], f"two cases {name}"
        self.name, self.planted, self.near_miss_of = name, planted, near_miss_of
        self.stretch, self.seed = stretch, seed
        self.reference = Drawn(build, seed)
        if callable(yours):
            yours = Drawn(yours, seed)
        self.drawn = yours
        self.yours = {k: v.clone() for k, v in (yours or self.reference).tensors.items()}
        self.layers = self.reference.model is not None if layers is None else layers
        self.expected = {}
        Case.made.append(self)

    def ref(self, name):
        return self.reference[name]

    def ways(self):
        return ["file", *(["layers"] if self.layers else []), "draws"]

    def expect(self, tensor, hypotheses, *details, allow=(), by=None):
        """Expects these hypotheses for `tensor`, and no others except those in `allow`."""
        known = [d["hypothesis"] for d in details]
        assert set(known) <= set(hypotheses) <= set(ALL) and set(allow) <= set(ALL), tensor
        assert tensor in self.ref_names(), tensor
        for way in by or self.ways():
            entry = {"tensor": tensor, "by": way, "hypotheses": hypotheses,
                     "absent": [h for h in ALL if h not in hypotheses and h not in allow],
                     "details": list(details)}
            assert (tensor, way) not in self.expected, (self.name, tensor, way)
            self.expected[tensor, way] = entry
        return self

    def ref_names(self):
        return self.reference.tensors

    def by_seed(self, tensor, hypotheses, *details, allow=()):
        """As `expect`, for a cause that two files alone do not show: from these, no hypothesis is
        required, and false ones are wrong."""
        self.expect(tensor, hypotheses, *details, allow=allow,
                    by=[w for w in self.ways() if w != "file"])
        may = [h for h in hypotheses if h in BY_SEED] + [NONE, *allow]
        may += ["rounded"] if "rounded" in hypotheses else []
        return self.expect(tensor, [], allow=may, by=["file"])

    def moved(self, tensor, *more, hypotheses=("other-offset",), allow=()):
        """Expects that `tensor` was drawn at another position in the same stream."""
        at, was = self.drawn.offset(tensor), self.reference.offset(tensor)
        assert at != was, (self.name, tensor)
        detail = {"hypothesis": "other-offset", "offset": at, "reference_offset": was,
                  "shift": at - was, "drawn_before": self.drawn.before(tensor)}
        return self.by_seed(tensor, list(hypotheses), detail, *more, allow=allow)

    def finish(self):
        for tensor, reference in self.reference.tensors.items():
            yours = self.yours[tensor]
            entries = [e for (t, _), e in self.expected.items() if t == tensor]
            if same(yours, reference):
                assert all(EQUAL in e["hypotheses"] for e in entries), f"{self.name}: {tensor} is equal"
                if not entries:
                    self.expect(tensor, [EQUAL])
            else:
                assert entries, f"{self.name}: {tensor} differs and nothing is expected of it"
                assert all(EQUAL in e["absent"] for e in entries), f"{self.name}: {tensor} differs"
        # The tool tries other seeds, so it may find the true cause from two files alone.
        for (tensor, way), entry in self.expected.items():
            if way == "file":
                true = {h for (t, _), e in self.expected.items() if t == tensor for h in e["hypotheses"]}
                entry["absent"] = [h for h in entry["absent"] if h not in true]
        assert self.yours.keys() == self.reference.tensors.keys(), self.name

    def write(self, out):
        self.finish()
        verify(self)
        folder = out / self.name
        folder.mkdir(parents=True)
        for side, tensors in (("yours", self.yours), ("reference", self.reference.tensors)):
            save_file({k: v.detach().contiguous() for k, v in tensors.items()},
                      str(folder / f"{side}.safetensors"))
        reference = {"file": f"{self.name}/reference.safetensors"}
        if self.layers:
            (folder / "net.txt").write_text(f"{self.reference.model}\n")
            reference["layers"] = f"{self.name}/net.txt"
        floats = {DTYPES[t.dtype] for t in self.reference.tensors.values()} - {"i64"}
        assert len(floats) == 1, self.name
        order = {name: i for i, name in enumerate(self.reference.tensors)}
        ways = self.ways()
        return {
            "name": self.name, "planted": self.planted, "near_miss_of": self.near_miss_of,
            "stretch": self.stretch, "yours": f"{self.name}/yours.safetensors",
            "reference": {**reference, "seed": self.seed, "dtype": floats.pop(),
                          "words": self.reference.total, "draws": self.reference.reported()},
            "expected": sorted(self.expected.values(),
                               key=lambda e: (order[e["tensor"]], ways.index(e["by"])))}
