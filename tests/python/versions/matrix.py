"""Records and materializes models and single draws under other versions of PyTorch, each installed alone and deleted after.

    make test-versions [VERSIONS="2.15.0 2.0.1"]
    python -m tests.python.versions.matrix [--write] [VERSION ...]    --write: the table in docs/versions.md
    python -m tests.python.versions.matrix --learn VERSION ...        what a new release draws, for python/versions.json

A version is a release, `newest` (of the package index), or `rotating` (one of the older ones, by the date).
"""

import argparse
import collections
import datetime
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "python")]
import light  # noqa: E402
import versions  # noqa: E402

VERSIONS = ["2.0.1", "2.1.2", "2.2.2", "2.3.1", "2.4.1", "2.5.1", "2.6.0", "2.7.1", "2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0",
            "2.14.0", "2.15.0", "newest"]
ROTATING = [v for v in VERSIONS if v != "newest"]
PAGE = os.path.join(ROOT, "docs", "versions.md")
BEGIN, END = "<!-- the results of make test-versions -->", "<!-- end of the results -->"
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
PROGRAM = os.path.join(TARGET, "debug", "tch-init")
CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")

# What may be refused, said here once more in other words than in the table of the recorder: (what, before which release).
REFUSED_MODELS = {
    "orthogonal double": "2.5", "weight norm": "2.8", "spectral norm": "2.8", "dropout": "2.7",
    "exponential": "2.7", "bernoulli": "2.7", "wide integers": "2.7", "truncated float16": "2.1",
    # Its forward is a batch normalization, which was not compared; and before 2.5 no uninitialized buffer can be made while recording.
    "lazy": "2.8",
}


def may_be_refused(name, release):
    """Whether an outcome is one of the known refusals; all of these must be refused."""
    kind, _, rest = name.partition(" ")
    before = lambda since: since is not None and versions.numbers(release) < versions.numbers(since)  # noqa: E731
    if kind == "model":
        return before(REFUSED_MODELS.get(rest))
    if kind == "draws":
        return False
    function, dtype = rest.split(" ")[:2]
    if function == "orthogonal_":
        return dtype == "float64" and before("2.5")
    if function == "trunc_normal_":
        return dtype == "float16" and before("2.1")
    return False


class Failed(Exception):
    """One line: what went wrong under a version."""


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        errors = [line for line in lines if line.startswith("ERROR")]
        raise Failed(f"{os.path.basename(str(command[0]))} {' '.join(map(str, command[1:4]))} ... fails: {(errors or lines)[-1]}")
    return done.stdout


def python_with_pip():
    for python in (sys.executable, getattr(sys, "_base_executable", sys.executable), shutil.which("python3")):
        if python and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return python
    raise Failed(f"{sys.executable} has no pip: install it")


def install(version, site):
    """Installs a PyTorch without CUDA packages into the folder `site`, and returns its version."""
    pip = [python_with_pip(), "-m", "pip", "install", "-q", "--no-cache-dir", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:",
           "--target", site, "--python-version", "%d.%d" % sys.version_info[:2]]
    environment = {**os.environ, "TMPDIR": os.path.dirname(site), "PIP_ROOT_USER_ACTION": "ignore"}
    run([*pip, "--no-deps", "torch" if version == "newest" else f"torch=={version}"], env=environment)
    found = os.path.basename(glob.glob(os.path.join(site, "torch-*.dist-info"))[0])[len("torch-") : -len(".dist-info")]
    numpy = "numpy<2" if versions.numbers(found) < (2, 3) else "numpy"
    run([*pip, numpy, *light.requirements(site)], env=environment)
    light.add_stubs(os.path.join(site, "torch"))
    return found.partition("+")[0]


def child(site, *arguments):
    # Without the packages of this Python, which may be another PyTorch.
    return run([sys.executable, "-S", CHILD, *arguments], env={**os.environ, "PYTHONPATH": site, "PYTHONDONTWRITEBYTECODE": "1"})


def tensors(path):
    """The digests of the tensors of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        found = {}
        for name, row in header.items():
            if name != "__metadata__":
                first, end = row["data_offsets"]
                file.seek(start + first)
                found[name] = hashlib.sha256(file.read(end - first)).hexdigest()[:16]
        return found


def compare(folder, number, plan):
    """The names that differ between the plan's tensors and those that the version constructed."""
    made, state = os.path.join(folder, "made.safetensors"), os.path.join(folder, "state")
    run([PROGRAM, "materialize", os.path.join(folder, f"{number}.plan.json"), "--seed", str(2**32 + 77), "-o", made, "--non-persistent", "--state-out", state])
    found = tensors(made)
    wrong = [name for name in plan["tensors"] if found.get(name) != plan["tensors"][name]]
    wrong += [f"{name} (unexpected)" for name in found if name not in plan["tensors"]]
    with open(state, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest()[:16] != plan["state"]:
            wrong.append("the state of the generator")
    return wrong


class Result:
    """What came out under one version."""

    def __init__(self, version):
        self.version, self.problems = version, []
        self.count = collections.Counter()

    def row(self):
        c = self.count
        cells = [f"{c[kind, 'equal']} of {c[kind, 'all']}" + "".join(f", {c[kind, x]} {x}" for x in ("refused", "raised") if c[kind, x]) for kind in ("model", "draw")]
        release = ".".join(self.version.split(".")[:2])
        shown = versions.semantics_of(release) if release in versions.TABLE["releases"] else "?"
        return f"| {self.version} | {shown} | {cells[0]} | {cells[1]} |"


def prove(site, version, folder):
    result = Result(version)
    release = ".".join(version.split(".")[:2])
    child(site, folder)
    with open(os.path.join(folder, "expected.json")) as file:
        expected = json.load(file)
    if expected["version"].partition("+")[0] != version:
        raise Failed(f"the PyTorch that ran is {expected['version']}, not {version}")
    differing = {}
    for number, plan in enumerate(expected["plans"]):
        try:
            wrong = compare(folder, number, plan)
        except Failed as error:
            wrong = [str(error)]
        if wrong:
            differing[plan["name"]] = wrong
            result.problems.append(f"{plan['name']}: {len(wrong)} differ: {', '.join(wrong[:4])}")
    for name, outcome, why in expected["outcomes"]:
        kind = name.partition(" ")[0]
        if outcome == "failed" and may_be_refused(name, release):
            outcome = "refused"
        if outcome in ("failed", "refused") and not may_be_refused(name, release):
            result.problems.append(f"{name}: {outcome}: {why}")
        if outcome == "recorded" and may_be_refused(name, release):
            result.problems.append(f"{name}: recorded, though it is among the refusals")
        if kind == "draws":
            continue
        group = " ".join(["draws", *name.split(" ")[1:3]]) if kind == "draw" else name
        result.count[kind, "all"] += 1
        if outcome == "recorded":
            outcome = "different" if group in differing else "equal"
        result.count[kind, outcome] += 1
    library(site, release, folder, result)
    return result


def library(site, release, folder, result):
    """Runs the program with the libtorch of this version in the place of its own: equal, or one clear line."""
    environment = {**os.environ, "LD_LIBRARY_PATH": os.path.join(site, "torch", "lib")}
    made = os.path.join(folder, "other.safetensors")
    plan = os.path.join(ROOT, "tests", "data", "linear.plan.json")
    done = subprocess.run([PROGRAM, "materialize", plan, "--seed", "1", "-o", made], env=environment, capture_output=True, text=True)
    # The system's loader says that the stubs have no versions.
    said = [line for line in done.stderr.splitlines() if "no version information" not in line]
    if versions.numbers("2.13") <= versions.numbers(release) <= versions.numbers("2.15"):
        run([PROGRAM, "materialize", plan, "--seed", "1", "-o", f"{made}.own"])
        if done.returncode or tensors(made) != tensors(f"{made}.own"):
            result.problems.append(f"the program with this libtorch: {' '.join(said)[:300] or 'other bits'}")
    elif done.returncode != 2 or len(said) != 1 or "tch-init was built against" not in said[0]:
        result.problems.append(f"the program with this libtorch: exit status {done.returncode}, {' '.join(said)[:300]}")


def write(results):
    """The table of the results, with its date, in the page of the documentation."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "\n".join(r.row() for r in results)
    today = datetime.date.today().isoformat()
    table = f"\n{today}, on Linux x86-64:\n\n| PyTorch | semantics | models equal | draws equal |\n|---|---|---|---|\n{rows}\n\n"
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + table + END + after)


# ---------------------------------------------------------------- a new release


def text_of(table):
    """The table as versions.json has it: a row a line."""
    rows = lambda items: ",\n".join(json.dumps(x) for x in items)  # noqa: E731
    pairs = lambda items: ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in items)  # noqa: E731
    parts = []
    for key, value in table.items():
        if key in ("rows", "semantics"):
            parts.append(f'"{key}": [\n{rows(value)}\n]')
        elif key == "functions":
            parts.append(f'"{key}": {{\n{pairs(value.items())}\n}}')
        elif key == "self_test":
            head = pairs((k, v) for k, v in value.items() if k != "answers")
            parts.append(f'"{key}": {{\n{head},\n"answers": {{\n{pairs(value["answers"].items())}\n}}\n}}')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def learned(table, found):
    """Adds what a release has to the table; `found` is what `child.py --learn` printed, by releases."""
    order = sorted({*table["releases"], *found}, key=versions.numbers)

    def digest_of(key, release):
        if release in found:
            return found[release]["digests"].get(key)
        return next((r["digest"] for r in table["functions"][key]["sources"] if versions.numbers(r["first"]) <= versions.numbers(release) <= versions.numbers(r["last"])), None)

    for key, function in table["functions"].items():
        sources = []
        for release in order:
            digest = digest_of(key, release)
            if digest is not None and sources and sources[-1]["digest"] == digest:
                sources[-1]["last"] = release
            elif digest is not None:
                sources.append({"first": release, "last": release, "digest": digest})
        function["sources"] = sources
    answers = {}
    for key in map(lambda case: " ".join(map(str, case)), versions.cases()):
        rows = []
        for release in order:
            digest = found[release]["answers"][key] if release in found else versions.expected(key, release)
            if digest is not None and (not rows or rows[-1][1] != digest):
                rows.append([release, digest])
        answers[key] = rows
    table["self_test"]["answers"] = answers
    table["releases"], table["newest"] = order, order[-1]


# ---------------------------------------------------------------- the program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--write", action="store_true", help="write the table of docs/versions.md")
    parser.add_argument("--learn", action="store_true", help="add the functions and draws of these releases to python/versions.json")
    parser.add_argument("--site", help="use the PyTorch that is already in this folder")
    options = parser.parse_args()
    chosen = options.versions or (VERSIONS if not options.learn else [])
    results, problems, found = [], 0, {}
    for version in chosen:
        if version == "rotating":
            version = ROTATING[datetime.date.today().toordinal() % len(ROTATING)]
            print(f"rotating: {version} today", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tch-init-versions-") as folder:
            site = options.site or os.path.join(folder, "site")
            try:
                if options.site:
                    installed = version
                else:
                    installed = install(version, site)
                if options.learn:
                    found[".".join(installed.split(".")[:2])] = json.loads(child(site, "--learn"))
                    continue
                if any(r.version == installed for r in results):
                    print(f"{version}: it is {installed}, which was tried", flush=True)
                    continue
                plans = os.path.join(folder, "plans")
                os.mkdir(plans)
                result = prove(site, installed, plans)
            except (Failed, light.Unusable) as error:
                print(f"{version}: {error}", file=sys.stderr)
                problems += 1
                continue
        results.append(result)
        problems += len(result.problems)
        print(f"{result.row()} {time.monotonic() - start:.0f} s", flush=True)
        for problem in result.problems[:40]:
            print(f"    {problem}", flush=True)
    if options.learn and not problems:
        learned(versions.TABLE, found)
        with open(os.path.join(ROOT, "python", "versions.json"), "w", encoding="utf-8") as file:
            file.write(text_of(versions.TABLE))
    if options.write and not problems:
        write(results)
    if problems:
        print(f"{problems} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
