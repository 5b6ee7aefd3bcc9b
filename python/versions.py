"""Which PyTorch the recorder runs under, whose bits it has, and what of it a plan can give (docs/versions.md).

The facts are in versions.json, beside this file; the program `tch-init` contains both. This module imports torch in one
function only, `self_test`, so that a version is rejected before seconds of imports.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import types

# The program hands the table over as `TABLE_TEXT`.
if "TABLE_TEXT" not in globals():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "versions.json"), encoding="utf-8") as _file:
        TABLE_TEXT = _file.read()
TABLE = json.loads(TABLE_TEXT)

HALVES = ("bfloat16", "float16")
# A release as PyPI and PyTorch's own index have it. Anything else is a build whose sources and draws are checked.
RELEASE = re.compile(r"(\d+)\.(\d+)\.\d+(\+(cpu|cu\d+|rocm[\d.]+|xpu|cpu\.cxx11\.abi|cu\d+\.with\.pypi\.cudnn))?")


class Rejected(Exception):
    """This PyTorch, or something of it, cannot be recorded: one line with the remedy."""


def numbers(text):
    """A version `X.Y` for comparison."""
    return tuple(map(int, text.split(".")[:2]))


OLDEST, NEWEST = TABLE["oldest"], TABLE["newest"]
RANGE = f"{OLDEST} to {NEWEST}"


def semantics_of(release):
    """The semantics of a plan that is recorded under a release `X.Y`."""
    return [s for s in TABLE["semantics"] if numbers(s["since"]) <= numbers(release)][-1]["name"]


# ---------------------------------------------------------------- the installed PyTorch, without importing it


def installed():
    """Version and folder of the PyTorch that `import torch` finds; None if there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    folder = os.path.dirname(spec.origin)
    try:
        with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
            found = re.search(r"(?m)^__version__\s*(?::[^=]*)?=\s*['\"]([^'\"]+)", file.read())
    except OSError:
        found = None
    if found:
        return found.group(1), folder
    try:
        return importlib.metadata.version("torch"), folder
    except importlib.metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- sources


# Fields that depend on the version of Python, or that change nothing of what a function does.
UNIMPORTANT = {"ctx", "kind", "type_comment", "type_params", "returns", "annotation", "decorator_list"}


def canonical(node):
    """A syntax tree as text, the same under every version of Python, without docstrings and annotations."""
    if isinstance(node, list):
        return "[" + ",".join(map(canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.AnnAssign):
        if node.value is None:
            return "Pass()"
        node = ast.Assign([node.target], node.value)
    if type(node).__name__ == "Index":  # until Python 3.8
        return canonical(node.value)
    fields = []
    for name in node._fields:
        value = getattr(node, name, None)
        if name in UNIMPORTANT or value is None or value == []:
            continue
        if name == "body" and isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
            value = value[1:]
        fields.append(f"{name}={canonical(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def functions_of(tree, prefix=""):
    """The functions of a module and of its classes, by dotted names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions_of(node, f"{prefix}{node.name}.")


def sources(folder):
    """The digest of each function that the recorder replaces, by `file:name`; None for those that are missing."""
    found, files = {}, {}
    for key in TABLE["functions"]:
        files.setdefault(key.partition(":")[0], []).append(key)
    for file, keys in files.items():
        try:
            with open(os.path.join(folder, *file.split("/")), "rb") as handle:
                functions = dict(functions_of(ast.parse(handle.read())))
        except (OSError, SyntaxError):
            functions = {}
        for key in keys:
            node = functions.get(key.partition(":")[2])
            found[key] = None if node is None else hashlib.sha256(canonical(node).encode()).hexdigest()[:12]
    return found


def code_of(code, path):
    """The code of a function or class in that of a module, by its dotted name."""
    for name in path:
        code = next((c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name), None)
        if code is None:
            return None
    return code


def same_code(a, b):
    if isinstance(a, types.CodeType) and isinstance(b, types.CodeType):
        names = "co_code co_names co_varnames co_freevars co_cellvars co_argcount co_flags".split()
        return all(getattr(a, n) == getattr(b, n) for n in names) and same_code(a.co_consts, b.co_consts)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_code, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def is_of_file(function, module, key):
    """Whether a function is the one that the file of its module defines."""
    if not isinstance(function, types.FunctionType) or function.__globals__ is not vars(module):
        return False
    code = code_of(compiled(module.__file__), key.partition(":")[2].split("."))
    return code is not None and same_code(function.__code__, code)


@functools.lru_cache(maxsize=None)
def compiled(path):
    """The code of a file of Python; empty if there is none."""
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec", dont_inherit=True)
    except (OSError, SyntaxError):
        return compile("", path, "exec")


# What the replaced functions call; other code in the place of one of these gives other bits.
USED = {
    "": "where empty_like empty no_grad randperm diag zeros_like allclose eye geqrf finfo cat randn",
    "Tensor": "normal_ uniform_ copy_ sub_ div_ pow_ mul_ log_ gt any new_tensor item zero_ new t_ view view_as sign diag size __setitem__ __getitem__ fill_",
    "linalg": "qr householder_product",
}


def used(torch):
    owners = {"": torch, "Tensor": torch.Tensor, "linalg": torch.linalg}
    return [getattr(owner, name, None) for prefix, owner in owners.items() for name in USED[prefix].split()]


def span(first, last):
    return first if first == last else f"{first} to {last}"


def releases_of(key, digest):
    """The releases that have this source of a function."""
    return [(row["first"], row["last"]) for row in TABLE["functions"][key]["sources"] if row["digest"] == digest]


def has(key, digest, release):
    return any(numbers(a) <= numbers(release) <= numbers(b) for a, b in releases_of(key, digest))


# ---------------------------------------------------------------- known answers


def cases():
    """(operation, dtype, path, number of elements) of every draw of the self-test."""
    for operation in TABLE["self_test"]["operations"]:
        dtypes = ("int64",) if operation in ("randperm", "random_") else ("float32", "float64", *HALVES)
        for dtype in dtypes:
            for path in ("contiguous",) if operation == "randperm" else ("contiguous", "strided"):
                for count in TABLE["self_test"]["counts"]:
                    yield operation, dtype, path, count


def answer(torch, operation, dtype, path, count):
    """The digest of one draw and of the state that it leaves."""
    init = torch.nn.init
    generator = torch.Generator().manual_seed(20260 + count)
    if operation == "randperm":
        made = torch.randperm(count, generator=generator)
    else:
        memory = torch.zeros(2 * count, dtype=getattr(torch, dtype))
        made = memory[::2] if path == "strided" else memory[:count]
        if operation == "sparse_":  # draws from the default generator
            matrix = made.view(count, 1)
            torch.default_generator.set_state(generator.get_state())
            init.sparse_(matrix, 0.25, 0.5)
            generator.set_state(torch.default_generator.get_state())
        elif operation.startswith("trunc_normal_"):
            bounds = (1.0, 2.5) if operation.endswith("tail") else (-2.0, 2.0)
            torch.default_generator.set_state(generator.get_state())
            init.trunc_normal_(made, 0.0, 1.0, *bounds)
            generator.set_state(torch.default_generator.get_state())
        else:
            name, _, arguments = operation.partition(" ")
            getattr(made, name)(*map(float, arguments.split()), generator=generator)
    digest = hashlib.sha256()
    for tensor in (made, generator.get_state()):
        copy = torch.zeros(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1))
        digest.update(bytes(copy.view(torch.uint8).tolist()))
    return digest.hexdigest()[:10]


def self_test():
    """The digest of each case, or the kind of its error."""
    import torch

    found, state = {}, torch.default_generator.get_state()
    try:
        for case in cases():
            key = " ".join(map(str, case))
            try:
                with torch.no_grad():
                    found[key] = answer(torch, *case)
            except Exception as error:
                found[key] = type(error).__name__
    finally:
        torch.default_generator.set_state(state)
    return found


def expected(key, release):
    """The digest of a case under a release."""
    rows = [row for row in TABLE["self_test"]["answers"].get(key, []) if numbers(row[0]) <= numbers(release)]
    return rows[-1][1] if rows else None


# ---------------------------------------------------------------- the decision


class Under:
    """The PyTorch that is recorded: what it is taken for, and what of it a plan can give."""

    def __init__(self, text, release, rows_of=None):
        self.text = text
        self.release = release  # X.Y, whose bits it has
        self.semantics = semantics_of(release)
        # The releases whose rows of the table hold: two for a build from between them.
        self.rows_of = rows_of or [release]
        self.hooked = set()  # functions that are recorded as one step
        self.refused = set()  # operations of the self-test whose draws are not known
        self.pending = False  # the self-test decides
        self.notes = []
        self.used = used(sys.modules["torch"]) if "torch" in sys.modules else None

    def known_function(self, key, module):
        """A function of a module of torch, if it is that of a known release: not one that was put in its place."""
        function = module
        for name in key.partition(":")[2].split("."):
            function = vars(function).get(name)
        if key not in self.hooked:
            return None
        inner = getattr(function, "__wrapped__", None)
        if inner is not None and function.__code__.co_filename == sys.modules["torch.utils._contextlib"].__file__:
            plain = inner  # decorated by no_grad
        else:
            plain = function
        if not is_of_file(plain, module, key) or self.used != used(sys.modules["torch"]):
            note = f"{key.partition(':')[2]} of PyTorch {self.text} was replaced, or a function that it calls: it is recorded as the steps that it takes"
            if note not in self.notes:
                self.notes.append(note)
            return None
        return function

    def other_bits(self, operation, dtypes, condition=lambda name: True):
        """Why an operation on these dtypes has bits that a plan cannot give; None if it can."""
        name = operation.removeprefix("aten::").partition(".")[0]
        if name in self.refused:
            return f"{name} of PyTorch {self.text} does not draw what any release does, so that a plan cannot give its bits"
        old = lambda since: any(numbers(release) < numbers(since) for release in self.rows_of)  # noqa: E731
        compared = TABLE["compared"]
        if operation.startswith("aten::") and old(compared["since"]) and name not in compared["operations"]:
            return self.remedy(f"{name} of PyTorch {self.text} has other bits than today's, or was not compared with it", compared["since"])
        for row in TABLE["rows"]:
            if row["before"] != "refused" or name not in row["operations"]:
                continue
            until = row.get("until", NEWEST)
            if not old(row["since"]) and numbers(self.release) <= numbers(until):
                continue
            found = [d for d in row["dtypes"] if d in dtypes]
            if row["dtypes"] and not found or row.get("condition") and not condition(row["condition"]):
                continue
            of = f" of {', '.join(found)}" if found else ""
            return self.remedy(f"{name}{of} has other bits in PyTorch {self.text} than in {span(row['since'], until)}", row["since"], until)
        return None

    @staticmethod
    def remedy(what, since, until=NEWEST):
        return f"{what}, and a plan cannot give them; record under PyTorch {span(since, until)}"


def known_release(text):
    """`X.Y` if this is a release that the table has."""
    match = RELEASE.fullmatch(text)
    release = f"{match[1]}.{match[2]}" if match else None
    return release if release in TABLE["releases"] else None


def decide(text, folder, assume=None):
    """What the PyTorch in `folder`, of the version `text`, is taken for; its draws are not compared yet.

    Raises `Rejected`.
    """
    digests = sources(folder)
    release = known_release(text)
    if assume is not None:
        match = re.fullmatch(r"(\d+\.\d+)(\.\d+)?", assume)
        if not match or match[1] not in TABLE["releases"]:
            raise Rejected(f"--assume-pytorch {assume}: name a release from {RANGE}")
        under = Under(text, match[1])
    elif release is not None:
        under = Under(text, release)
    else:
        match = re.match(r"(\d+)\.(\d+)", text)
        nominal = (int(match[1]), int(match[2])) if match else None
        if nominal is not None and nominal < numbers(OLDEST):
            raise Rejected(f"this is PyTorch {text} ({folder}), and plans are recorded under {RANGE}: install one of these, or name a Python that has one")
        under = unknown(text, folder, digests, nominal)
    for key, digest in digests.items():
        function = TABLE["functions"][key]
        if digest is None or numbers(under.release) < numbers(function["since"]):
            continue
        if has(key, digest, under.release) or any(numbers(a) >= numbers(function["since"]) for a, _ in releases_of(key, digest)):
            under.hooked.add(key)
        else:
            name = key.partition(":")[2]
            under.notes.append(f"{name} of PyTorch {text} is not that of any release: it is recorded as the steps that it takes")
    return under


def unknown(text, folder, digests, nominal):
    """A build that is no release of the table: its sources must be those of one."""
    known = TABLE["releases"]
    odd = [key for key, digest in digests.items() if digest is None or not releases_of(key, digest)]
    remedy = f"record under a release from {RANGE}, or say --assume-pytorch X.Y if you know whose bits it has"
    if odd:
        names = ", ".join(key.partition(":")[2] for key in odd)
        raise Rejected(f"this is PyTorch {text} ({folder}), which is none of the releases {RANGE}, and its {names} {'is' if len(odd) == 1 else 'are'} not that of any: {remedy}")
    fitting = [r for r in known if all(has(key, digest, r) for key, digest in digests.items())]
    if not fitting:
        spans = "; ".join(f"{key.partition(':')[2]} is that of {' and '.join(span(a, b) for a, b in releases_of(key, digest))}" for key, digest in digests.items())
        raise Rejected(f"this is PyTorch {text} ({folder}), whose functions are those of different releases ({spans}): {remedy}")
    under = Under(text, fitting[-1])
    under.pending, under.fitting, under.nominal = True, fitting, nominal
    return under


def confirm(under):
    """Compares the draws of a build that is no release with those of the releases that its sources fit. Needs torch."""
    if not under.pending:
        return under
    found = self_test()
    refusable = set(TABLE["self_test"]["refusable"])
    operation = lambda key: key.rsplit(" ", 3)[0]  # noqa: E731
    wrong = {r: [key for key, digest in found.items() if operation(key) not in refusable and digest != expected(key, r)] for r in under.fitting}
    best = min(reversed(under.fitting), key=lambda r: len(wrong[r]))
    if wrong[best]:
        import torch

        kinds = sorted({" of ".join(key.rsplit(" ", 3)[:2]) for key in wrong[best]})
        shown = ", ".join(kinds[:6]) + (f" and {len(kinds) - 6} more" if len(kinds) > 6 else "")
        capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX")()
        cause = "" if capability.startswith("AVX") else f" (its kernels are those of {capability}, which draw other bits than AVX2; with those it might be known)"
        raise Rejected(
            f"this is PyTorch {under.text}, which is none of the releases {RANGE}, and it does not draw what {best} draws: {len(wrong[best])} of"
            f" {len(found)} known answers differ ({shown}){cause}: record under a release from {RANGE}, or say --assume-pytorch X.Y if you know whose bits it has"
        )
    same = [r for r in under.fitting if not wrong[r]]
    nominal = ".".join(map(str, under.nominal)) if under.nominal else None
    chosen = nominal if nominal in same else same[-1]
    # A build from before a release may lack what is new in that.
    before = [r for r in TABLE["releases"] if numbers(r) < numbers(chosen)][-1:] if nominal == chosen else []
    decided = Under(under.text, chosen, [*before, chosen])
    decided.hooked, decided.notes = under.hooked, under.notes
    decided.refused = {operation(key).partition(" ")[0] for key, digest in found.items() if operation(key) in refusable and digest != expected(key, chosen)}
    decided.notes.append(
        f"PyTorch {under.text} is none of the releases {RANGE}; its initialization functions and {len(found)} known answers are those of {span(same[0], same[-1])}, so it is taken for {chosen}"
    )
    return decided


def assumed(argv):
    """The value of --assume-pytorch, before the arguments are parsed."""
    argv = argv[: argv.index("--")] if "--" in argv else argv
    for i, word in enumerate(argv):
        if word == "--assume-pytorch" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith("--assume-pytorch="):
            return word.partition("=")[2]
    return None


def before_import(argv):
    """The decision as far as it can be made without torch. Raises `Rejected`."""
    found = installed()
    if found is None:
        raise Rejected(f"{sys.executable} has no PyTorch; name a Python that has it")
    return decide(*found, assumed(argv))


def doctor():
    """What `tch-init doctor` asks: one line of JSON."""
    found = installed()
    report = {"python": sys.executable, "version": found and found[0]}
    try:
        if found is None:
            raise Rejected(f"{sys.executable} has no PyTorch")
        under = confirm(decide(*found))
        report.update(accepted=True, release=under.release, semantics=under.semantics, notes=under.notes)
    except Rejected as error:
        report.update(accepted=False, why=str(error))
    print(json.dumps(report))
