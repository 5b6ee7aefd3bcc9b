"""Builds with another version of tch and the libtorch that it is written for, and tests that the draws are that libtorch's.

    make test-tch [TCH=0.24.0]

Everything lies in target/tch-VERSION: a copy of the tracked files, in which Cargo.lock names that tch, a PyTorch without CUDA, and
cargo's output.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.python.versions import matrix  # noqa: E402

# As build.rs has them: (libtorch, tch).
PAIRS = re.findall(r'\("([\d.]+)", "([\d.]+)"\)', (ROOT / "build.rs").read_text())
LIBTORCH = {f"{tch}.0": libtorch for libtorch, tch in PAIRS}


def main():
    tch = sys.argv[1] if len(sys.argv) > 1 else "0.24.0"
    if tch not in LIBTORCH:
        sys.exit(f"{tch}: name one of {', '.join(LIBTORCH)}")
    folder = Path(matrix.TARGET) / f"tch-{tch}"
    site, source = folder / "site", folder / "source"
    if not (site / "torch" / "lib").is_dir():
        shutil.rmtree(site, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            print(f"libtorch {matrix.install(LIBTORCH[tch], str(site))} in {site}", flush=True)
        except matrix.Failed as error:
            sys.exit(str(error))
    shutil.rmtree(source, ignore_errors=True)
    for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT).decode().split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    environment = {**os.environ, "LIBTORCH": str(site / "torch"), "CARGO_TARGET_DIR": str(folder / "cargo")}
    for command in (
        ["update", "-q", "-p", "tch", "--precise", tch],
        ["update", "-q", "-p", "torch-sys", "--precise", tch],
        ["test", "--features", "cli", "--test", "process", "--", "semantics", "engine::init"],
        ["run", "-q", "--features", "cli", "--", "doctor"],
    ):
        print("cargo", *command, flush=True)
        done = subprocess.run(["cargo", *command], cwd=source, env=environment)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
