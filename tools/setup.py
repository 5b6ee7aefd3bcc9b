#!/usr/bin/env python3
"""Find or fetch libtorch 2.13.0 and record it, so that plain cargo commands work.

The folder is looked for in this order: LIBTORCH_USE_PYTORCH and LIBTORCH, as torch-sys reads them;
what an earlier run recorded or fetched; the PyTorch of this python3. Otherwise it is fetched from
PyPI into .libtorch. It is recorded in .cargo/config.toml, where a variable of the environment still takes precedence.
"""

import argparse
import fcntl
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import light  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FETCHED = ROOT / ".libtorch"
REFERENCE = ROOT / ".venv"
MODELS = ROOT / ".models"
CONFIG = ROOT / ".cargo" / "config.toml"
# Holds pip's output, and doubles as the lock between two runs.
LOG = ROOT / ".setup.log"
# Marks a .venv or .models that setup made and may replace.
MARKER = "made-by-setup"

VERSION = "2.13.0"
# libtorch_cpu.so of this wheel is linked against libcudart and libcupti, with or without a GPU.
WHEELS = [f"torch=={VERSION}", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
REFERENCE_WHEELS = [f"torch=={VERSION}", "numpy", "safetensors"]
# What the marker of a reference without CUDA says.
WITHOUT_CUDA = "without CUDA"
# The packages that `import torchvision, timm, transformers` needs in addition to the reference, and accelerate, without
# which transformers places no model on several processes. They are installed without dependencies, since pip would
# install another torch.
MODELS_WHEELS = [
    "torchvision==0.28.0", "timm==1.0.31", "transformers==5.23.0",
    "accelerate==1.15.0", "anyio==4.16.0", "h11==0.16.0", "httpcore2==2.16.2", "httpx2==2.16.2",
    "huggingface_hub==2.4.0", "idna==3.20", "packaging==26.3", "pillow==13.0.0", "pyyaml==6.0.3",
    "psutil==7.2.2", "regex==2026.11.15", "tokenizers==0.23.3", "tqdm==4.70.1", "truststore==0.10.5",
]
# Free space needed, in GB: the measured peak of wheels and unpacked files, and a margin. pip's cache, which may be on the
# same disk, is not used if there is no space for it.
LIBTORCH_SPACE, LIGHT_SPACE, REFERENCE_SPACE, MODELS_SPACE, CACHE_SPACE = 2, 3, 8, 1, 3

BEGIN = "# >>> written by ./setup; run it again rather than editing here"
END = "# <<< written by ./setup"


class Fail(Exception):
    """An error in one line: what is wrong, where, and what to do."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM. Not an Exception, so that only clean-up code handles it."""


def say(text):
    print(text, flush=True)


def run(command, cwd=ROOT):
    """Runs a command. Returns its exit status, its standard output, and the last line of its messages."""
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, encoding="utf-8",
                              errors="replace", stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        return 127, "", error.strerror
    words = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}")
    return done.returncode, done.stdout.strip(), words.splitlines()[-1]


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def check_tools():
    machine = f"{sys.platform} {platform.machine()}"
    if machine != "linux x86_64":
        raise Fail(f"this machine is {machine}: tch-init is built on Linux x86-64 only")
    if not shutil.which("cargo"):
        raise Fail("no cargo on PATH: install Rust from https://rustup.rs, or add its bin folder "
                   "(usually ~/.cargo/bin) to PATH")
    status, cargo, words = run(["cargo", "--version"])
    if status != 0:
        raise Fail(f"`cargo --version` fails ({words}): repair the Rust installation")
    return f"{cargo}; C++17: {check_compiler()}"


def check_compiler():
    """Builds a program with the compiler that torch-sys will use."""
    # In the order of the cc crate, whose default is c++.
    names = ("CXX_x86_64-unknown-linux-gnu", "CXX_x86_64_unknown_linux_gnu", "HOST_CXX", "CXX")
    name = next((name for name in names if os.environ.get(name, "").strip()), None)
    command = shlex.split(os.environ[name]) if name else ["c++"]
    shown = f"{name}={os.environ[name]}" if name else "c++"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.cpp")
        source.write_text("#include <optional>\n#include <string>\n"
                          "int main() { if (std::optional<int> x = 0; x) return *x; }\n")
        status, _, words = run(command + ["-std=c++17", source, "-o", source.with_suffix(""),
                                          "-lgomp"])
    if status != 0:
        raise Fail(f"the C++ compiler {shown} cannot build a C++17 program with -lgomp ({words}): "
                   f"install one (Debian, Ubuntu: apt-get install g++), or set CXX to another")
    return shown


def defect(folder):
    """Why `folder` is not a usable libtorch VERSION; None if it is.

    torch-sys checks the version only in the layout of the zip, so it would link any libtorch.
    """
    include, library = Path(folder, "include"), Path(folder, "lib", "libtorch_cpu.so")
    if not library.exists():
        inner = [f" (did you mean {folder}/{name}?)" for name in ("torch", "libtorch")
                 if Path(folder, name).is_dir()]
        return f"has no {library}" + "".join(inner)
    if not (include / "torch/csrc/api/include/torch/torch.h").exists():
        return f"has no headers in {include}"
    macro = r'#define TORCH_VERSION\s+(?:\\\s+)?"([^"+]+)'
    found = None
    for file, pattern in ((include / "torch/headeronly/version.h", macro),
                          (include / "torch/csrc/api/include/torch/version.h", macro),
                          (Path(folder, "build-version"), r"\s*([^\s+]+)"),
                          (Path(folder, "version.py"), r"(?m)^__version__ = '([^'+]+)")):
        match = file.exists() and re.search(pattern, file.read_text(errors="replace"))
        if match:
            found = match.group(1)
            if found != VERSION:
                return f"is libtorch {found}, not {VERSION} ({file})"
    if not found:
        return f"has no version in {include / 'torch/headeronly/version.h'}"
    status, _, words = run([sys.executable, "-I", "-c",
                            "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library])
    if status != 0:
        return f"has a {library.name} that cannot be loaded ({words})"
    return None


def users_choice():
    """The folder that LIBTORCH_USE_PYTORCH or LIBTORCH select; None if neither is set."""
    env = os.environ
    if "LIBTORCH_USE_PYTORCH" in env:
        # torch-sys prefers it over LIBTORCH, whatever its value, and runs this interpreter.
        python = "python" if "VIRTUAL_ENV" in env else "python3"
        status, out, words = run([python, "-c", "import os, torch, torch.utils.cpp_extension\n"
                                  "print(os.path.dirname(torch.__file__))"], cwd="/")
        if status != 0:
            raise Fail(f"LIBTORCH_USE_PYTORCH is set and {python} has no working PyTorch ({words}):"
                       f" activate the environment that has PyTorch {VERSION}, or unset it")
        name, folder = f"LIBTORCH_USE_PYTORCH ({python})", out.splitlines()[-1]
    else:
        for name in ("LIBTORCH_INCLUDE", "LIBTORCH_LIB"):
            if name in env:
                raise Fail(f"{name} is set, which ./setup does not follow: unset it, and set "
                           f"LIBTORCH to a folder that has both include and lib")
        if "LIBTORCH" not in env:
            return None
        name, folder = "LIBTORCH", env["LIBTORCH"]
        if not os.path.isabs(folder):
            raise Fail(f"LIBTORCH={folder} is not an absolute path, and torch-sys is built in "
                       f"another folder: set it to the full path, or unset it")
    wrong = defect(folder)
    if wrong:
        raise Fail(f"{name}: {folder} {wrong}: choose a libtorch {VERSION}, or unset the variable "
                   f"and let ./setup find or fetch one")
    return folder


def search(recorded):
    """The first usable libtorch, as (folder, origin), or None."""
    folder = users_choice()
    if folder:
        return folder, "the environment's choice"
    candidates = {recorded: "recorded earlier"} if recorded else {}
    candidates.setdefault(str(FETCHED / "torch"), "fetched earlier")
    for inner in REFERENCE.glob("lib/python3*/site-packages/torch"):
        candidates.setdefault(str(inner), "the reference's")
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin:
        candidates.setdefault(os.path.dirname(spec.origin), "this python3's PyTorch")
    for folder, origin in candidates.items():
        if Path(folder).exists():
            wrong = defect(folder)
            if not wrong:
                return folder, origin
            say(f"passed over {folder} ({origin}): it {wrong}")
    return None


def read_config():
    """The user's part of CONFIG, and the folder recorded in the part of setup, if any."""
    text = CONFIG.read_text(encoding="utf-8") if CONFIG.exists() else ""
    before, begin, rest = text.partition(BEGIN + "\n")
    block, end, after = rest.partition(END + "\n")
    if begin and not end:
        raise Fail(f"{CONFIG} has the line '{BEGIN}' without its counterpart '{END}': delete what "
                   f"./setup wrote there, then run it again")
    own = r"(?m)^\s*(env\s*=|(\[?\s*env\s*\.\s*)?[\"']?LIBTORCH[\"']?\s*[\].=])"
    if re.search(own, before + after):
        raise Fail(f"{CONFIG} sets LIBTORCH or all of env itself: delete that line, then run "
                   f"LIBTORCH=<the folder> ./setup to have it recorded")
    value = re.search(r'^value = (".*")$', block, re.MULTILINE)
    return before + after, json.loads(value.group(1)) if value else None


def drop_builds():
    """Makes cargo rebuild torch-sys.

    Older versions of cargo do not notice a changed variable in the configuration, and would continue to link
    the old folder.
    """
    status, out, words = run(["cargo", "metadata", "--no-deps", "--format-version", "1"])
    if status != 0:
        raise Fail(f"`cargo metadata` fails in {ROOT} ({words}): fix Cargo.toml")
    folders = {json.loads(out).get(key) for key in ("target_directory", "build_directory")} - {None}

    def builds():
        return {build.parent.parent.relative_to(folder) for folder in folders
                for place in ("*/build", "*/*/build")
                for build in Path(folder).glob(place + "/torch-sys*")}

    for place in sorted(builds()):
        profile = {"debug": "dev"}.get(place.name, place.name)
        target = ["--target", place.parts[0]] if len(place.parts) == 2 else []
        _, _, words = run(["cargo", "clean", "-p", "torch-sys", "--profile", profile] + target)
    if builds():
        raise Fail(f"libtorch changed, and `cargo clean -p torch-sys` cannot remove what was built "
                   f"with the old one ({words}): run cargo clean, then ./setup again")


def record(folder):
    users, recorded = read_config()
    if recorded == folder:
        return
    drop_builds()
    # A sub-table, since the user may already have a table [env].
    block = f"[env.LIBTORCH]\nvalue = {json.dumps(folder, ensure_ascii=False)}\n"
    if users and not users.endswith("\n"):
        users += "\n"
    CONFIG.parent.mkdir(exist_ok=True)
    part = CONFIG.with_name(CONFIG.name + ".part")
    try:
        part.write_text(f"{users}{BEGIN}\n{block}{END}\n", encoding="utf-8")
        part.replace(CONFIG)
    finally:
        remove(part)
    say(f"recorded in {CONFIG}: cargo build, run and test use it from now on")


def python_with_pip():
    # A virtual environment may lack pip, as .venv does, while its base Python has it.
    for python in (sys.executable, getattr(sys, "_base_executable", sys.executable)):
        status, _, words = run([python, "-m", "pip", "--version"])
        if status == 0:
            return python
    raise Fail(f"{python} has no working pip ({words}): install pip (Debian, Ubuntu: "
               f"apt-get install python3-pip), or set LIBTORCH to a libtorch {VERSION}")


def pip_reason(log):
    """Condenses pip's output to one line that says what to do."""
    errors = re.findall(r"^ERROR: (.*)", log, re.MULTILINE)
    last = errors[-1] if errors else (log.strip().splitlines() or ["no output"])[-1]
    if re.search(r"No space left on device|Disk quota exceeded", log):
        return f"the disk of {ROOT} is full: free some space, then run ./setup again"
    if re.search(r"from versions: none|Max retries exceeded|Read timed out", log):
        broken = re.findall(r"connection broken by .*?(?:\] |: |\(['\"])([^:'\"]*)['\"]\)", log)
        return (f"pip cannot get them from its package index ({(broken or [last[:200]])[-1]}): "
                f"check the network and pip's settings, or set LIBTORCH to a libtorch {VERSION}")
    return f"pip fails ({last[:300]}): see {LOG}, fix it, then run ./setup again"


def pip_install(pip, requirements, target, scratch, lock, options=()):
    # pip stages everything in TMPDIR. In `scratch`, on the same disk, installing is a rename.
    temporary = scratch / "tmp"
    temporary.mkdir()
    env = dict(os.environ, TMPDIR=str(temporary), PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0",
               PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    terminal = sys.stdout.isatty()
    command = pip + ["install", "--target", str(target), "--no-compile",
               "--only-binary=:all:", "--progress-bar", "on" if terminal else "off"]
    lock.truncate(0)
    # pip holds the lock too, as it writes to the file: if this script is killed, the next run waits for pip.
    child = subprocess.Popen(command + list(options) + requirements, cwd=ROOT, env=env,
                             stdin=subprocess.DEVNULL, stdout=None if terminal else lock,
                             stderr=lock)
    try:
        status = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    remove(temporary)
    if status != 0:
        lock.seek(0)
        raise Fail(pip_reason(lock.read().decode("utf-8", "replace")))


def halves(destination):
    return [destination.with_name(destination.name + end) for end in (".part", ".old")]


def put(destination, space, fill):
    """Fills a new folder and renames it to `destination`. Nothing incomplete is left after a failure."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < space:
        raise Fail(f"{free:.1f} GB are free on the disk of {ROOT}, {destination} needs "
                   f"{space} GB: free some space, or move the checkout to a larger disk")
    part, old = halves(destination)
    try:
        part.mkdir()
        fill(part, [] if free > space + CACHE_SPACE else ["--no-cache-dir"])
        if destination.exists():
            destination.rename(old)
        part.rename(destination)
    finally:
        remove(part)
        remove(old)


def keep_cpu_half(lib):
    """Removes the CUDA half of the wheel, which cannot be loaded without the omitted packages.

    torch-sys would link it, and GNU ld refuses a library whose dependencies are missing. libtorch.so depends on both
    halves, so the CPU half replaces it.
    """
    for pattern in ("libtorch_cuda*", "libc10_cuda*", "libtorch_nvshmem*", "libcaffe2_nvrtc*"):
        for path in lib.glob(pattern):
            path.unlink()
    (lib / "libtorch.so").unlink()
    (lib / "libtorch.so").symlink_to("libtorch_cpu.so")


def pypi_has_wheel():
    return (sys.implementation.name == "cpython"
            and (3, 10) <= sys.version_info[:2] <= (3, 14))


def fetch_libtorch(lock):
    python = python_with_pip()
    say(f"libtorch {VERSION}: none found; fetching it from PyPI into {FETCHED} "
        f"(540 MB, 0.6 GB on disk)")

    def fill(part, options):
        options = options + ["--no-deps"]
        if not pypi_has_wheel():
            # Any wheel works, since no Python imports it.
            options += ["--implementation", "cp", "--python-version", "3.12", "--abi", "cp312",
                        "--ignore-requires-python"]
        pip_install([python, "-m", "pip"], WHEELS, part, part, lock, options)
        keep_cpu_half(part / "torch" / "lib")
        wrong = defect(part / "torch")
        if wrong:
            raise Fail(f"the torch that pip installed {wrong}: check which packages pip's index "
                       f"offers (pip config list), or set LIBTORCH to a libtorch {VERSION}")

    put(FETCHED, LIBTORCH_SPACE, fill)
    return str(FETCHED / "torch")


def reference_defect():
    """Why .venv is not the reference; None if it is."""
    if not REFERENCE.exists():
        return "is missing"
    names = [wheel.partition("==")[0] for wheel in REFERENCE_WHEELS]
    status, out, words = run([REFERENCE / "bin" / "python", "-I", "-c", "import sys\n"
                              "from importlib.metadata import version\n"
                              "print(*map(version, sys.argv[1:]))"] + names)
    if status != 0:
        return f"is incomplete ({words})"
    found = out.split()[0].partition("+")[0]
    return None if found == VERSION else f"has PyTorch {found}, not {VERSION}"


def refuse_foreign(folder, wrong, wheels):
    if folder.exists() and not (folder / MARKER).exists():
        raise Fail(f"{folder} {wrong}, and was not made by ./setup: move it away, or install "
                   f"{' '.join(wheels)} in it")


def has_gpu():
    return Path("/proc/driver/nvidia/version").exists()


def reference_kind():
    """What the reference is, for the user."""
    marker = REFERENCE / MARKER
    kind = marker.read_text(encoding="utf-8").strip() if marker.exists() else ""
    return f"PyTorch {VERSION}{' ' + kind if kind else ''} in {REFERENCE}"


def make_reference(lock, cuda):
    wrong = reference_defect()
    if not wrong and cuda and reference_kind().endswith(f"{WITHOUT_CUDA} in {REFERENCE}"):
        wrong = "has no CUDA"
    if not wrong:
        return
    # Problems are reported before the download.
    users_choice()
    refuse_foreign(REFERENCE, wrong, REFERENCE_WHEELS)
    python = python_with_pip()
    if not pypi_has_wheel():
        raise Fail(f"PyTorch {VERSION} has no wheel for {platform.python_implementation()} "
                   f"{platform.python_version()}: run ./setup with a CPython of 3.10 to 3.14, "
                   f"as in python3.12 ./setup --reference")
    # Without pip, since a plain python3 of Debian lacks ensurepip.
    venv = [python, "-m", "venv", "--without-pip"]

    def fill(part, options, with_cuda):
        status, _, words = run(venv + [part])
        if status != 0:
            raise Fail(f"`{shlex.join(venv)}` fails ({words}): install Python's venv module "
                       f"(Debian, Ubuntu: apt-get install python3-venv)")
        inner = part / "bin" / "python"
        _, site, _ = run([inner, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])

        def install(wheels, more=()):
            pip_install([python, "-m", "pip"], wheels, site, part, lock, [*options, *more])

        if with_cuda:
            install(REFERENCE_WHEELS)
        else:
            torch, *others = REFERENCE_WHEELS
            install([torch], ["--no-deps"])
            install([*others, *light.requirements(site)])
            light.add_stubs(str(Path(site, "torch")), shlex.split(os.environ.get("CXX") or "c++"))
        status, out, words = run([inner, "-I", "-c",
                                  "import torch, numpy, safetensors; print(torch.__version__)"])
        if status != 0 or out.partition("+")[0] != VERSION:
            if not with_cuda:
                raise light.Unusable(f"it cannot be imported ({words})")
            raise Fail(f"the PyTorch that pip installed does not work ({words}): check which "
                       f"packages pip's index offers (pip config list)")
        (part / MARKER).write_text("" if with_cuda else WITHOUT_CUDA, encoding="utf-8")

    def make(with_cuda):
        size = "2.4 GB, 4.8 GB on disk" if with_cuda else \
            "without its CUDA packages: 0.6 GB, 1.3 GB on disk"
        say(f"reference: {REFERENCE} {wrong}; making it with PyTorch {VERSION} from PyPI ({size})")
        put(REFERENCE, REFERENCE_SPACE if with_cuda else LIGHT_SPACE,
            lambda part, options: fill(part, options, with_cuda))

    if cuda or has_gpu():
        make(True)
    else:
        try:
            make(False)
        except light.Unusable as error:
            say(f"reference: PyTorch cannot be used without its CUDA packages: {error}")
            make(True)
    # Again, since the activation scripts contain the path of the folder.
    run(venv + [REFERENCE])


def models_defect():
    """Why .models cannot be used with the reference; None if it can."""
    if not MODELS.exists():
        return "is missing"
    found = {re.sub("[-_.]+", "_", made.metadata["Name"] or "").lower(): made.version
             for made in importlib.metadata.distributions(path=[str(MODELS)])}
    for name, _, version in (wheel.partition("==") for wheel in MODELS_WHEELS):
        if found.get(name) != version:
            return f"has {name} {found.get(name)}, not {version}" if name in found \
                else f"is incomplete (no {name})"
    marker, python = MODELS / MARKER, reference_python()
    if python and marker.exists() and marker.read_text(encoding="utf-8") != python:
        return f"is not for the Python {python} of {REFERENCE}"
    return None


def reference_python():
    """The version of the reference's Python, such as 3.12, for which wheels are compiled; empty if it does not run."""
    return run([REFERENCE / "bin" / "python", "-I", "-c",
                "import sys; print('%d.%d' % sys.version_info[:2])"])[1]


def make_models(lock):
    wrong = models_defect()
    if not wrong:
        return
    refuse_foreign(MODELS, wrong, MODELS_WHEELS)
    version = reference_python()
    if version == "3.10":
        raise Fail(f"transformers has no wheel for the Python 3.10 of {REFERENCE}: delete that and "
                   f"run ./setup --models with a CPython of 3.11 to 3.14")
    status, pip, words = run([python_with_pip(), "-c",
                              "import os, pip; print(os.path.dirname(pip.__file__))"])
    if status != 0:
        raise Fail(f"pip cannot be found ({words}): repair the Python installation")
    say(f"models: {MODELS} {wrong}; making it with torchvision, timm and transformers from PyPI "
        f"(60 MB, 0.2 GB on disk)")
    python = REFERENCE / "bin" / "python"

    def fill(part, options):
        # The reference has no pip, so it runs the pip of another Python, which selects wheels for the reference.
        pip_install([str(python), pip], MODELS_WHEELS, part, part, lock, options + ["--no-deps"])
        status, out, words = run([python, "-I", "-c",
                                  "import sys; sys.path.insert(0, sys.argv[1])\n"
                                  "import torch, torchvision, timm, transformers\n"
                                  "print(torch.__version__)", part])
        if status != 0 or out.partition("+")[0] != VERSION:
            raise Fail(f"the installed packages do not work with PyTorch {VERSION} ({words}): check "
                       f"which packages pip's index offers (pip config list)")
        (part / MARKER).write_text(version, encoding="utf-8")

    put(MODELS, MODELS_SPACE, fill)


def set_up(reference, models, cuda):
    check_tools()
    read_config()
    with LOG.open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another ./setup that is running")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for path in halves(FETCHED) + halves(REFERENCE) + halves(MODELS):
            remove(path)
        _, recorded = read_config()
        if reference:
            # It contains a libtorch, so no other is fetched on a fresh machine.
            make_reference(lock, cuda)
        folder, origin = search(recorded) or (fetch_libtorch(lock), "fetched")
        say(f"libtorch {VERSION}: {folder} ({origin})")
        record(folder)
        if reference:
            say(f"reference: {reference_kind()}")
        if models:
            make_models(lock)
            say(f"models: {', '.join(MODELS_WHEELS[:3])} in {MODELS}")


def check(reference, models, _):
    """Prints what is installed; fails with a list of what is missing."""
    missing = []
    say(f"tools: {check_tools()}")
    _, recorded = read_config()
    found = search(recorded)
    if not found:
        missing.append(f"no libtorch {VERSION}: ./setup fetches it (540 MB)")
    elif found[0] != recorded:
        missing.append(f"{found[0]} ({found[1]}) is not recorded in {CONFIG}: "
                       f"./setup records it")
    else:
        say(f"libtorch {VERSION}: {found[0]} ({found[1]})")
    wrong = reference and reference_defect()
    if wrong:
        missing.append(f"{REFERENCE} {wrong}: ./setup --reference makes it (0.6 GB)")
    elif reference:
        say(f"reference: {reference_kind()}")
    wrong = models and models_defect()
    if wrong:
        missing.append(f"{MODELS} {wrong}: ./setup --models makes it (60 MB)")
    elif models:
        say(f"models: {', '.join(MODELS_WHEELS[:3])} in {MODELS}")
    if missing:
        raise Fail("; ".join(missing))


def main():
    parser = argparse.ArgumentParser(prog="setup", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", action="store_true",
                        help="also make .venv, the PyTorch that the live parity tests run, without "
                             "CUDA packages on a machine without an NVIDIA GPU")
    parser.add_argument("--cuda", action="store_true",
                        help="make the reference with its CUDA packages in any case (2.4 GB)")
    parser.add_argument("--models", action="store_true",
                        help="also make .models, the libraries whose models the longer tests "
                             "record (and --reference)")
    parser.add_argument("--check", action="store_true",
                        help="only report what is installed and what is missing")
    arguments = parser.parse_args()

    def interrupt(number, _):
        # A second signal must not interrupt the clean-up.
        for signum in signals:
            signal.signal(signum, signal.SIG_IGN)
        raise Interrupted(number)

    signals = (signal.SIGINT, signal.SIGTERM)
    for signum in signals:
        signal.signal(signum, interrupt)
    try:
        (check if arguments.check else set_up)(
            arguments.reference or arguments.models or arguments.cuda, arguments.models,
            arguments.cuda)
    except (Fail, OSError, UnicodeError) as error:
        print("setup:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except Interrupted as stop:
        print("setup: interrupted; nothing incomplete is left, run ./setup again", file=sys.stderr)
        return 128 + stop.args[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
