"""A PyTorch without its CUDA packages: what it needs of them is stubs, so that it imports and draws on the CPU.

The wheels of PyPI are built with CUDA. Their libraries name those of the CUDA packages (2 GB of download, 3.7 GB on disk), of
which a CPU computes nothing; the dynamic linker only has to find them. A stub is a library of that name with the missing
functions, all of which return an error (100, "no device"). They lie beside PyTorch's own libraries.
"""

import glob
import os
import re
import shutil
import subprocess
import tempfile

# Requirements that only a GPU needs.
GPU = re.compile(r"(nvidia|cuda|triton|pytorch-triton|intel|amd)\b", re.IGNORECASE)
# The loader and the C library, whose symbols are there without being looked up.
SYSTEM = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1")
LOADER = "/lib64/ld-linux-x86-64.so.2"
# What a missing symbol may be called; another name means that something else is missing.
EXPECTED = re.compile(r"(cu|__cuda|nccl|nvrtc|nvshmem|nvJitLink|__nvJitLink|nvtx|CUPTI|cupti|nvperf|NVPW|__nv|roctx)")


class Unusable(Exception):
    """This PyTorch cannot be made to work without the CUDA packages."""


def output(*command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unusable(f"{command[0]} does not run: {error.strerror}") from None
    if done.returncode:
        raise Unusable(f"{command[0]} fails: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def requirements(site):
    """What the installed torch requires, without what only a GPU needs."""
    found = []
    for path in glob.glob(os.path.join(site, "torch-*.dist-info", "METADATA")):
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("Requires-Dist:") and "extra ==" not in line:
                    name = line.partition(":")[2].strip()
                    if not GPU.match(name):
                        found.append(name.replace(" (", "").replace(")", "") if " (" in name else name)
    return found


def symbols(path, *options):
    """(kind, name) of the dynamic symbols of a library."""
    for line in output("nm", "-D", *options, path).splitlines():
        parts = line.split()
        if len(parts) >= 2:
            yield parts[-2], parts[-1].partition("@")[0]


def add_stubs(torch, compiler=("c++",)):
    """Adds stubs of what the libraries in the folder `torch` need and nobody has. Returns their names."""
    lib = os.path.join(torch, "lib")
    libraries = []
    for path in glob.glob(os.path.join(lib, "*.so*")) + glob.glob(os.path.join(torch, "*.so")):
        with open(path, "rb") as file:
            if file.read(4) == b"\x7fELF":
                libraries.append(path)
    needed, undefined, defined = set(), set(), set()
    for path in libraries:
        needed |= set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-dW", path)))
        for kind, name in symbols(path):
            if kind == "U":
                undefined.add(name)
            elif kind != "w":
                defined.add(name)
    known = dict(re.findall(r"\s(\S+) \(libc6,x86-64.*?\) => (\S+)", output(shutil.which("ldconfig") or "/sbin/ldconfig", "-p")))
    own = {os.path.basename(path) for path in libraries}
    missing = sorted(needed - own - set(known) - {os.path.basename(LOADER)})
    if not missing:
        return []
    for name in (needed & set(known)) | set(SYSTEM) | {os.path.basename(LOADER)}:
        path = known.get(name) or (LOADER if os.path.exists(LOADER) else None)
        if path:
            defined |= {symbol for _, symbol in symbols(path, "--defined-only")}
    stubs = sorted(name for name in undefined - defined if not re.match(r"_?Py", name))
    odd = [name for name in stubs if not EXPECTED.match(name)]
    if odd:
        raise Unusable(f"{len(odd)} functions are in no library, such as {odd[0]}")
    lines = [".text", "failing:", " mov $100,%eax", " ret", ".text_of:", '.asciz "no device"', "message:", " lea .text_of(%rip),%rax", " ret"]
    for name in stubs:
        target = "message" if re.search("ErrorString|ErrorName|GetErrorStr", name) else "failing"
        lines += [f".globl {name}", f".type {name},@function", f".set {name},{target}"]
    lines.append('.section .note.GNU-stack,"",@progbits')
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "stubs.s")
        with open(source, "w") as file:
            file.write("\n".join(lines) + "\n")
        shared = [*compiler, "-shared", "-nostdlib"]
        output(*shared, "-o", os.path.join(lib, "libtchstubs.so"), "-Wl,-soname,libtchstubs.so", source)
    for name in missing:
        # Each library of CUDA leads to the one that has the functions.
        output(*shared, "-o", os.path.join(lib, name), f"-Wl,-soname,{name}", "-Wl,--no-as-needed", f"-L{lib}", "-ltchstubs", "-Wl,-rpath,$ORIGIN")
    return missing
