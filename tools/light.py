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
    """(kind, name, version) of the dynamic symbols of a library."""
    for line in output("nm", "-D", *options, path).splitlines():
        parts = line.split()
        if len(parts) >= 2:
            name, _, version = parts[-1].partition("@")
            yield parts[-2], name, version.lstrip("@")


def needed_versions(path):
    """The library of each version of symbols that a library needs."""
    found, file = {}, None
    for line in output("readelf", "-VW", path).splitlines():
        match = re.search(r"\bFile: (\S+)", line)
        file = match.group(1) if match else file
        match = re.search(r"\bName: (\S+)\s+Flags:", line)
        if match and file:
            found[match.group(1)] = file
    return found


def assembly(names):
    """The functions of a stub: all return an error, those that name an error return a text."""
    lines = [".text", "failing:", " mov $100,%eax", " ret", "text:", '.asciz "no device"', "message:", " lea text(%rip),%rax", " ret"]
    for name in names:
        target = "message" if re.search("ErrorString|ErrorName|GetErrorStr", name) else "failing"
        lines += [f".globl {name}", f".type {name},@function", f".set {name},{target}"]
    return "\n".join([*lines, '.section .note.GNU-stack,"",@progbits']) + "\n"


def add_stubs(torch, compiler=("c++",)):
    """Adds stubs of what the libraries in the folder `torch` need and nobody has. Returns their names."""
    lib = os.path.join(torch, "lib")
    libraries = []
    for path in glob.glob(os.path.join(lib, "*.so*")) + glob.glob(os.path.join(torch, "*.so")):
        with open(path, "rb") as file:
            if file.read(4) == b"\x7fELF":
                libraries.append(path)
    needed, undefined, defined, files = set(), set(), set(), {}
    for path in libraries:
        needed |= set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-dW", path)))
        files.update(needed_versions(path))
        for kind, name, version in symbols(path):
            if kind == "U":
                undefined.add((name, version))
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
            defined |= {symbol for _, symbol, _ in symbols(path, "--defined-only")}
    stubs = sorted((n, v) for n, v in undefined if n not in defined and not re.match(r"_?Py", n))
    odd = [name for name, _ in stubs if not EXPECTED.match(name)]
    if odd:
        raise Unusable(f"{len(odd)} functions are in no library, such as {odd[0]}")
    # A symbol with a version is looked up in one library, which has to have that version; others may be anywhere.
    parts = {}
    for name, version in stubs:
        library = files.get(version) if version else None
        parts.setdefault(library if library in missing else None, {}).setdefault(version, []).append(name)
    shared = [*compiler, "-shared", "-nostdlib"]
    with tempfile.TemporaryDirectory() as folder:

        def make(library, versions, *options):
            source, script = os.path.join(folder, "stubs.s"), os.path.join(folder, "versions")
            with open(source, "w") as file:
                file.write(assembly(sorted({name for names in versions.values() for name in names})))
            nodes = {version: names for version, names in versions.items() if version}
            if nodes:
                with open(script, "w") as file:
                    for version, names in nodes.items():
                        file.write(f"{version} {{ global: {' '.join(name + ';' for name in names)} }};\n")
                options = (*options, f"-Wl,--version-script={script}")
            output(*shared, "-o", os.path.join(lib, library), f"-Wl,-soname,{library}", source, *options)

        make("libtchstubs.so", {"": [name for names in parts.get(None, {}).values() for name in names]})
        for library in missing:
            # It leads to the library of the functions that have no version.
            make(library, parts.get(library, {}), "-Wl,--no-as-needed", f"-L{lib}", "-ltchstubs", "-Wl,-rpath,$ORIGIN")
    return missing
