"""Tests of ./setup: the real script, copied into scratch checkouts beside fake libtorch folders.

No network and no libtorch are needed. Where a test is not about cargo, the compiler or pip,
stand-ins take their place, so that a run of the script takes a tenth of a second.

    python3 -m unittest discover -s tests/python/setup
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
VERSION = "2.13.0"

FAKE_CARGO = """\
#!/bin/sh
case $1 in
    --version) echo cargo of the tests ;;
    metadata) echo '{"target_directory": "/nonexistent/target"}' ;;
    *) exit 1 ;;
esac
"""

# What pip would do, as FAKE_PIP says; every installation is noted in FAKE_PIP_CALLS.
FAKE_PIP = """\
import os, pathlib, shutil, sys, time
mode = os.environ.get("FAKE_PIP", "ok")
if sys.argv[1:] == ["--version"]:
    sys.exit("No module named pip" if mode == "absent" else 0)
with open(os.environ["FAKE_PIP_CALLS"], "a") as calls:
    print(os.getpid(), *(sys.argv[1:] if mode != "who" else [sys.executable]), file=calls)
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
(pathlib.Path(os.environ["TMPDIR"]) / "half").write_text("half")
(target / "half").mkdir(parents=True, exist_ok=True)
if mode == "full":
    sys.exit("ERROR: Could not install packages due to an OSError: "
             "[Errno 28] No space left on device")
if mode == "broken":
    sys.exit("noise\\nERROR: the wheel is broken\\nmore noise")
if mode == "dumb":
    sys.exit(0)
if mode == "hang":
    time.sleep(60)
if mode == "slow":
    time.sleep(0.5)
for name, version in (word.split("==") if "==" in word else (word, "1.0")
                      for word in sys.argv[1:]
                      if "==" in word or word in ("numpy", "safetensors")):
    if name == "torch":
        shutil.copytree(os.environ["FAKE_TORCH"], target / "torch")
    else:
        (target / name).mkdir()
        (target / name / "__init__.py").touch()
    info = target / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
"""

# The disk's free bytes, so that no test is about how full this machine's disk happens to be.
FAKE_DISK = """\
import collections, os, shutil
usage = collections.namedtuple("usage", "total used free")
shutil.disk_usage = lambda path: usage(0, 0, float(os.environ.get("FAKE_FREE", "1e12")))
"""


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def tree(folder):
    """Every path below `folder`, with the content of the files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


def alive(pid):
    """Whether the process runs; a zombie that has not been collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, what):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.01)


class SetupTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        source, needed = cls.shared / "empty.cpp", cls.shared / "libneeded.so"
        source.write_text("")
        for command in (["-o", cls.shared / "sound.so"], ["-o", needed],
                        ["-Wl,--no-as-needed", needed, "-o", cls.shared / "unsound.so"]):
            subprocess.run(["c++", "-shared", source, *command], check=True)
        needed.unlink()
        write(cls.shared / "bin" / "cargo", FAKE_CARGO, 0o755)
        write(cls.shared / "pip" / "pip" / "__init__.py", "")
        write(cls.shared / "pip" / "pip" / "__main__.py", FAKE_PIP)
        write(cls.shared / "disk" / "sitecustomize.py", FAKE_DISK)
        # Found before any PyTorch that the python3 of this machine may have, and of no use.
        write(cls.shared / "hide" / "torch" / "__init__.py", "")

    def setUp(self):
        base = Path(tempfile.mkdtemp(prefix="tch init é "))
        self.addCleanup(shutil.rmtree, base)
        self.outside = base / "outside"
        self.root = base / "checkout"
        self.root.mkdir()
        for script in ("setup", "tools/setup.py", "tools/light.py"):
            (self.root / script).parent.mkdir(exist_ok=True)
            shutil.copy(CHECKOUT / script, self.root / script)
        self.before = set(os.listdir(self.root)) | {".setup.log"}
        self.config = self.root / ".cargo" / "config.toml"
        self.calls = base / "calls"
        self.env = {
            "PATH": f"{self.shared / 'bin'}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "CXX": "true",
            "PYTHONPATH": f"{self.shared / 'pip'}:{self.shared / 'hide'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAKE_TORCH": str(self.libtorch(base / "wheel" / "torch")),
            "FAKE_PIP_CALLS": str(self.calls),
        }
        for name in ("CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def libtorch(self, folder, version=VERSION, library="sound.so"):
        """A folder in the wheel's layout, which is also an importable torch."""
        include = folder / "include" / "torch"
        write(include / "csrc/api/include/torch/torch.h", "")
        write(include / "csrc/api/include/torch/version.h", "#include <torch/headeronly/version.h>")
        write(include / "headeronly" / "version.h", f'#define TORCH_VERSION \\\n  "{version}"\n')
        write(folder / "version.py", f"__version__ = '{version}+cpu'\n")
        write(folder / "__init__.py", f"__version__ = '{version}+cpu'\n")
        write(folder / "utils" / "cpp_extension.py", "")
        (folder / "lib").mkdir()
        shutil.copy(self.shared / library, folder / "lib" / "libtorch_cpu.so")
        for name in ("libtorch.so", "libtorch_cuda.so", "libc10_cuda.so"):
            write(folder / "lib" / name, "not a library")
        return folder

    def start(self, *arguments, **env):
        env = {**self.env, **env}
        env["PYTHONPATH"] = f"{self.shared / 'disk'}:{env['PYTHONPATH']}"
        return subprocess.Popen(
            [sys.executable, self.root / "setup", *arguments], env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", cwd="/")

    def finish(self, process):
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def succeed(self, *arguments, **env):
        status, out, err = self.finish(self.start(*arguments, **env))
        self.assertEqual((status, err), (0, ""), out)
        return out

    def refuse(self, *arguments, says, **env):
        """Status 2, and one line that has all of `says`."""
        status, out, err = self.finish(self.start(*arguments, **env))
        self.assertEqual(status, 2, out + err)
        self.assertRegex(err, r"\Asetup: [^\n]+\n\Z")
        for words in says:
            self.assertIn(words, err)

    def recorded(self):
        lines = self.config.read_text().splitlines()
        self.assertEqual(lines.count("[env.LIBTORCH]"), 1)
        value = lines[lines.index("[env.LIBTORCH]") + 1]
        self.assertTrue(value.startswith('value = "') and value.endswith('"'), value)
        return value[len('value = "'):-1]

    def installations(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def assert_untouched(self):
        self.assertLessEqual(set(os.listdir(self.root)), self.before)

    # A libtorch that the user names

    def test_users_libtorch_is_recorded_and_kept(self):
        mine = str(self.libtorch(self.outside))
        self.succeed(LIBTORCH=mine)
        self.assertEqual(self.recorded(), mine)
        first, written = tree(self.root), self.config.stat().st_mtime_ns
        self.assertNotIn("recorded in", self.succeed())
        self.assertEqual((tree(self.root), self.config.stat().st_mtime_ns), (first, written))
        self.assertEqual(self.installations(), [])

    def test_wrong_version_is_refused_wherever_it_shows(self):
        for number, file, text in (
                (1, "include/torch/headeronly/version.h", '#define TORCH_VERSION \\\n  "2.12.1"\n'),
                (2, "include/torch/csrc/api/include/torch/version.h",
                 '#define TORCH_VERSION "2.12.1"\n'),
                (3, "build-version", "2.12.1+cpu\n"),
                (4, "version.py", "__version__ = '2.12.1+cu130'\n")):
            with self.subTest(file=file):
                folder = self.libtorch(self.outside / str(number))
                write(folder / file, text)
                self.refuse(LIBTORCH=str(folder), says=["libtorch 2.12.1, not 2.13.0",
                                                        str(folder / file), "unset"])
        self.assert_untouched()

    def test_zip_layout_is_accepted_and_no_version_is_not(self):
        folder = self.libtorch(self.outside)
        (folder / "version.py").unlink()
        (folder / "include/torch/headeronly/version.h").unlink()
        self.refuse(LIBTORCH=str(folder), says=["has no version"])
        write(folder / "build-version", f"{VERSION}+cpu\n")
        self.succeed(LIBTORCH=str(folder))

    def test_unusable_folders_are_refused(self):
        unsound = self.libtorch(self.outside / "unsound", library="unsound.so")
        headless = self.libtorch(self.outside / "headless")
        shutil.rmtree(headless / "include")
        self.libtorch(self.outside / "site" / "torch")
        for folder, says in ((self.outside / "nothing", "has no"),
                             (self.outside / "site", f"did you mean {self.outside}/site/torch?"),
                             (unsound, "libneeded.so: cannot open shared object file"),
                             (headless, "has no headers")):
            with self.subTest(folder=folder):
                self.refuse(LIBTORCH=str(folder), says=[says, str(folder), "unset"])
        self.refuse(LIBTORCH="outside", says=["LIBTORCH=outside", "not an absolute path"])
        self.refuse(LIBTORCH="", says=["not an absolute path"])
        self.refuse(LIBTORCH_LIB="/opt", says=["LIBTORCH_LIB", "unset"])
        self.assert_untouched()

    def test_use_pytorch_goes_before_libtorch(self):
        torch = self.libtorch(self.outside / "torch")
        paths = f"{self.outside}:{self.env['PYTHONPATH']}"
        choice = {"LIBTORCH_USE_PYTORCH": "0", "LIBTORCH": "/nonexistent"}
        self.succeed(PYTHONPATH=paths, **choice)
        self.assertEqual(self.recorded(), str(torch))
        self.refuse(**choice, says=["LIBTORCH_USE_PYTORCH", "no working PyTorch"])
        write(torch / "version.py", "__version__ = '2.12.1'\n")
        self.refuse(PYTHONPATH=paths, **choice, says=["LIBTORCH_USE_PYTORCH", "2.12.1"])

    # The order of the search

    def test_order(self):
        places = [self.libtorch(self.outside / "chosen"), self.libtorch(self.outside / "recorded"),
                  self.libtorch(self.root / ".libtorch" / "torch"),
                  self.libtorch(self.root / ".venv/lib/python3.11/site-packages/torch"),
                  self.libtorch(self.outside / "site" / "torch")]
        self.succeed(LIBTORCH=str(places[1]))
        record = self.config.read_text()
        env = {"PYTHONPATH": f"{self.shared / 'pip'}:{self.outside / 'site'}",
               "LIBTORCH": str(places[0])}
        for place in places:
            with self.subTest(place=place):
                self.config.write_text(record)
                self.succeed(**env)
                self.assertEqual(self.recorded(), str(place))
                env.pop("LIBTORCH", None)
                # Of the wrong version now, so that it is passed over.
                write(place / "version.py", "__version__ = '2.12.1'\n")
        self.assertEqual(self.installations(), [])
        self.config.write_text(record)
        out = self.succeed(**env)
        for place in places[1:]:
            self.assertIn(f"passed over {place} ", out)
        self.assertEqual(self.recorded(), str(self.root / ".libtorch" / "torch"))
        self.assertEqual(len(self.installations()), 1)

    # Fetching

    def test_fetches_once(self):
        out = self.succeed()
        self.assertIn("540 MB", out)
        self.assertEqual(self.recorded(), str(self.root / ".libtorch" / "torch"))
        self.assertEqual(set(os.listdir(self.root)), self.before | {".libtorch", ".cargo"})
        self.assertNotIn("tmp", os.listdir(self.root / ".libtorch"))
        lib = self.root / ".libtorch" / "torch" / "lib"
        # Without the CUDA half, which lacks its own libraries; libtorch.so needs that half.
        self.assertEqual(sorted(os.listdir(lib)), ["libtorch.so", "libtorch_cpu.so"])
        self.assertTrue((lib / "libtorch.so").samefile(lib / "libtorch_cpu.so"))
        call, = self.installations()
        for word in ("--no-deps", f"torch=={VERSION}", "nvidia-cuda-runtime==13.0.96",
                     "nvidia-cuda-cupti==13.0.85"):
            self.assertIn(word, call.split())
        first = tree(self.root)
        self.succeed()
        self.assertEqual(tree(self.root), first)
        self.assertEqual(len(self.installations()), 1)

    def test_no_network(self):
        real = {"PYTHONPATH": str(self.shared / "hide"), "PIP_CONFIG_FILE": os.devnull,
                "PIP_RETRIES": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
        self.refuse(**real, says=["pip cannot get them from its package index", "check the network"])
        self.assert_untouched()

    def test_pip_failures_leave_nothing(self):
        for mode, says in (("absent", ["no working pip", "python3-pip"]),
                           ("full", [f"the disk of {self.root} is full", "free some space"]),
                           ("broken", ["the wheel is broken", str(self.root / ".setup.log")])):
            for arguments in ([], ["--reference"]):
                with self.subTest(mode=mode, arguments=arguments):
                    self.refuse(*arguments, FAKE_PIP=mode, says=says)
                    self.assert_untouched()
        self.assertIn("more noise", (self.root / ".setup.log").read_text())

    def test_too_little_space_is_said_before_the_download(self):
        self.refuse(FAKE_FREE="1.5e9", says=["1.5 GB are free", ".libtorch needs 2 GB"])
        self.refuse("--reference", FAKE_FREE="1.5e9", says=["1.5 GB are free", ".venv needs 3 GB"])
        self.assertEqual(self.installations(), [])
        self.assert_untouched()

    def test_wrong_wheel_is_not_kept(self):
        wrong = str(self.libtorch(self.outside / "torch", version="2.12.1"))
        self.refuse(FAKE_TORCH=wrong, says=["2.12.1", "pip's index"])
        self.refuse("--reference", FAKE_TORCH=wrong, says=["does not work"])
        self.assert_untouched()

    # Interruptions and company

    def hanging(self, *arguments):
        """A run that is in the midst of pip, and pip's process id."""
        process = self.start(*arguments, FAKE_PIP="hang")
        wait_for(lambda: list(self.root.glob(".*.part/**/half")), "pip to write")
        return process, int(self.installations()[-1].split()[0])

    def test_signals_leave_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for arguments in ([], ["--reference"]):
                with self.subTest(number=number, arguments=arguments):
                    process, pip = self.hanging(*arguments)
                    process.send_signal(number)
                    status, _, err = self.finish(process)
                    self.assertEqual(status, 128 + number)
                    self.assertRegex(err, r"\Asetup: interrupted[^\n]+\n\Z")
                    self.assertFalse(alive(pip))
                    self.assert_untouched()

    def test_next_run_waits_for_an_orphaned_pip_and_cleans_up(self):
        process, pip = self.hanging()
        process.kill()
        self.finish(process)
        self.assertTrue(alive(pip))
        following = self.start()
        self.assertIn("waiting", following.stdout.readline())
        os.kill(pip, signal.SIGKILL)
        self.assertEqual(self.finish(following)[0], 0)
        self.assertEqual(set(os.listdir(self.root)), self.before | {".libtorch", ".cargo"})
        self.assertEqual([p.name for p in self.root.rglob("half")], ["half"])

    def test_leftovers_are_cleaned_up(self):
        for name in (".libtorch.part", ".libtorch.old", ".venv.part", ".venv.old"):
            write(self.root / name / "half", "half")
        self.succeed(LIBTORCH=str(self.libtorch(self.outside)))
        self.assertEqual(set(os.listdir(self.root)), self.before | {".cargo"})

    def test_two_runs_at_once_fetch_once(self):
        runs = [self.start(FAKE_PIP="slow") for _ in range(2)]
        outputs = [self.finish(run) for run in runs]
        self.assertEqual([(status, err) for status, _, err in outputs], [(0, "")] * 2)
        self.assertEqual(sum("waiting" in out for _, out, _ in outputs), 1)
        self.assertEqual(len(self.installations()), 1)

    # The record

    def test_users_configuration_is_kept(self):
        users = '[env]\nMINE = "1"\n\n# LIBTORCH is set below\n[net]\nretry = 3'
        write(self.config, users)
        self.succeed(LIBTORCH=str(self.libtorch(self.outside / "a")))
        after = "\n[alias]\nt = 'test'\n"
        with self.config.open("a") as file:
            file.write(after)
        for name in "bc":
            self.succeed(LIBTORCH=str(self.libtorch(self.outside / name)))
        self.assertEqual(self.recorded(), str(self.outside / "c"))
        text = self.config.read_text()
        self.assertTrue(text.startswith(users + "\n" + after), text)

    def test_configuration_that_cannot_be_written_is_refused_before_the_download(self):
        for text, says in (('[env]\nLIBTORCH = "/a"\n', "sets LIBTORCH"),
                           ('env.LIBTORCH = "/a"\n', "sets LIBTORCH"),
                           ('[env.LIBTORCH]\nvalue = "/a"\n', "sets LIBTORCH"),
                           ('env = { A = "1" }\n', "all of env"),
                           ("# >>> written by ./setup; run it again rather than editing here\n",
                            "without its counterpart")):
            with self.subTest(text=text):
                write(self.config, text)
                self.refuse(says=[str(self.config), says])
                self.assertEqual(self.config.read_text(), text)
        self.assertEqual(self.installations(), [])

    def test_cargo_follows_the_record(self):
        """With the real cargo: after a change, no profile goes on with the old folder."""
        write(self.root / "Cargo.toml", '[package]\nname = "tch-init"\nversion = "0.0.0"\n'
              'edition = "2021"\n[dependencies]\ntorch-sys = { path = "torch-sys" }\n')
        write(self.root / "src/main.rs", 'fn main() { println!("{}", torch_sys::SEEN) }\n')
        write(self.root / "torch-sys/Cargo.toml", '[package]\nname = "torch-sys"\n'
              'version = "0.0.0"\nedition = "2021"\n')
        # Like a cargo that does not track the variable, it is not run again when that changes.
        write(self.root / "torch-sys/build.rs", 'fn main() {\n'
              '    println!("cargo:rerun-if-changed=build.rs");\n'
              '    let seen = std::env::var("LIBTORCH").unwrap();\n'
              '    println!("cargo:rustc-env=SEEN={seen}");\n}\n')
        write(self.root / "torch-sys/src/lib.rs", 'pub const SEEN: &str = env!("SEEN");\n')
        write(self.config, '[env]\nMINE = "1"\n')
        env = {**self.env, "PATH": os.environ["PATH"]}

        def seen(*options, **more):
            return subprocess.run(["cargo", "run", "--quiet", "--offline", *options], cwd=self.root,
                                  env={**env, **more}, check=True, stdout=subprocess.PIPE,
                                  encoding="utf-8").stdout.strip()

        folders = [str(self.libtorch(self.outside / name)) for name in "ab"]
        self.succeed(LIBTORCH=folders[0], PATH=env["PATH"])
        self.assertEqual([seen(), seen("--release")], [folders[0]] * 2)
        self.succeed(LIBTORCH=folders[1], PATH=env["PATH"])
        self.assertEqual([seen(), seen("--release")], [folders[1]] * 2)
        subprocess.run(["cargo", "clean", "--quiet"], cwd=self.root, env=env, check=True)
        self.assertEqual(seen(LIBTORCH="/mine"), "/mine")

    # Tools

    def test_real_compiler_and_cargo_suffice(self):
        del self.env["CXX"]
        write(self.root / "Cargo.toml", '[package]\nname = "tch-init"\nversion = "0.0.0"\n')
        write(self.root / "src/lib.rs", "")
        self.succeed(LIBTORCH=str(self.libtorch(self.outside)), PATH=os.environ["PATH"])

    def test_missing_tools_are_refused(self):
        without = self.outside / "bin"
        write(without / "cargo", FAKE_CARGO, 0o755)
        write(self.outside / "none" / "file", "")
        write(self.outside / "old", "#!/bin/sh\necho error: no C++17 >&2\nexit 1\n", 0o755)
        write(self.outside / "dead" / "cargo", "#!/bin/sh\necho no toolchain >&2\nexit 1\n", 0o755)
        cxx = {"PATH": str(without), "CXX": ""}
        self.refuse(**cxx, says=["C++ compiler c++", "No such file", "apt-get install g++"])
        self.refuse(CXX="/nonexistent/g++ -O1", says=["CXX=/nonexistent/g++ -O1", "No such file"])
        old = str(self.outside / "old").replace(" ", "\\ ")
        self.refuse(CXX=old, says=["C++17", "error: no C++17", "set CXX"])
        self.refuse(PATH=str(self.outside / "none"), says=["no cargo on PATH", "https://rustup.rs"])
        self.refuse(PATH=str(self.outside / "dead"), says=["no toolchain", "Rust"])
        self.assert_untouched()

    # The reference

    def test_reference_serves_for_libtorch_too(self):
        self.succeed("--reference")
        site, = self.root.glob(".venv/lib/python3*/site-packages")
        self.assertEqual(self.recorded(), str(site / "torch"))
        # Torch alone, then what it needs of the rest.
        self.assertEqual(len(self.installations()), 2)
        self.assertIn("--no-deps", self.installations()[0])
        self.assertNotIn("--no-deps", self.installations()[1])
        self.assertTrue((site / "torch" / "lib" / "libtorch_cuda.so").exists())
        printed = subprocess.run(
            [self.root / ".venv/bin/python", "-c",
             "import torch, numpy, safetensors; print(torch.__file__)"],
            check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
        self.assertEqual(printed, str(site / "torch" / "__init__.py"))
        for script in (self.root / ".venv" / "bin").glob("activate*"):
            self.assertNotIn(".venv.part", script.read_text())
        self.config.unlink()
        for arguments in (["--reference"], [], ["--reference", "--check"]):
            self.succeed(*arguments)
        self.assertEqual(len(self.installations()), 2)

    def needs_cuda(self, symbol):
        """The wheel's libtorch_cuda.so needs a function of a library of the CUDA packages."""
        lib = Path(self.env["FAKE_TORCH"], "lib")
        write(lib / "cudart.c", f"void {symbol}(void) {{}}")
        write(lib / "user.c", f"void {symbol}(void); void use(void) {{ {symbol}(); }}")
        for command in (["cudart.c", "-Wl,-soname,libcudart.so.13", "-o", "libcudart.so.13"],
                        ["user.c", "./libcudart.so.13", "-Wl,-rpath,$ORIGIN", "-o", "libtorch_cuda.so"]):
            subprocess.run(["cc", "-shared", "-fPIC", *command], cwd=lib, check=True)
        for name in ("cudart.c", "user.c", "libcudart.so.13"):
            (lib / name).unlink()

    def test_reference_has_stubs_in_the_place_of_cuda(self):
        self.needs_cuda("cudaGetDeviceCount")
        out = self.succeed("--reference", CXX="c++")
        self.assertIn("without its CUDA packages", out)
        self.assertIn("without CUDA in", self.succeed("--reference", "--check", CXX="c++"))
        lib, = self.root.glob(".venv/lib/python3*/site-packages/torch/lib")
        code = "import ctypes, sys; ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL); " \
               "print(ctypes.CDLL(None).cudaGetDeviceCount())"
        printed = subprocess.run([sys.executable, "-c", code, lib / "libtorch_cuda.so"], check=True,
                                 stdout=subprocess.PIPE, encoding="utf-8").stdout
        self.assertEqual(printed.strip(), "100")
        # On demand with CUDA, and then it stays.
        done = len(self.installations())
        self.assertIn("has no CUDA", self.succeed("--cuda", CXX="c++"))
        self.assertEqual(len(self.installations()), done + 1)
        self.assertNotIn("--no-deps", self.installations()[-1])
        self.assertNotIn("without CUDA", self.succeed("--reference", CXX="c++"))
        self.assertEqual(len(self.installations()), done + 1)

    def test_reference_has_cuda_if_there_can_be_no_stubs(self):
        self.needs_cuda("something_else")
        out = self.succeed("--reference", CXX="c++")
        self.assertIn("cannot be used without its CUDA packages: 1 functions are in no library, such as "
                      "something_else", out)
        self.assertIn("2.4 GB", out)
        self.assertNotIn("--no-deps", self.installations()[-1])

    def test_reference_leaves_an_earlier_libtorch_in_place(self):
        self.succeed()
        self.succeed("--reference")
        self.assertEqual(self.recorded(), str(self.root / ".libtorch" / "torch"))
        self.assertEqual(len(self.installations()), 3)

    def test_reference_is_remade_if_it_is_ours(self):
        self.succeed("--reference")
        site, = self.root.glob(".venv/lib/python3*/site-packages")
        info = site / f"torch-{VERSION}.dist-info" / "METADATA"
        for damage in (lambda: info.write_text(info.read_text().replace(VERSION, "2.12.1")),
                       lambda: shutil.rmtree(site / "numpy-1.0.dist-info"),
                       lambda: (self.root / ".venv" / "bin" / "python").unlink()):
            done = len(self.installations())
            damage()
            self.succeed("--reference")
            self.assertEqual(len(self.installations()), done + 2)
        self.succeed("--reference", "--check")

    def test_failed_remake_keeps_what_was_there(self):
        self.succeed("--reference")
        shutil.rmtree(next(self.root.glob(".venv/lib/python3*/site-packages/numpy-1.0.dist-info")))
        before = tree(self.root / ".venv")
        self.refuse("--reference", FAKE_PIP="full", says=["full"])
        self.assertEqual(tree(self.root / ".venv"), before)

    def test_foreign_venv_is_refused(self):
        write(self.root / ".venv" / "mine", "mine")
        self.refuse("--reference", says=[str(self.root / ".venv"), "not made by ./setup", "move it"])
        self.assertEqual(os.listdir(self.root / ".venv"), ["mine"])
        self.assertEqual(self.installations(), [])

    def test_bad_choice_is_said_before_the_reference_is_fetched(self):
        self.refuse("--reference", LIBTORCH="/nonexistent", says=["/nonexistent"])
        self.assertEqual(self.installations(), [])

    # The libraries of models

    def test_models_are_beside_the_reference(self):
        out = self.succeed("--models")
        self.assertIn("torchvision==0.28.0, timm==1.0.31, transformers==5.23.0", out)
        self.assertEqual(set(os.listdir(self.root)), self.before | {".venv", ".models", ".cargo"})
        reference, _, models = self.installations()
        self.assertNotIn("torch==", models.replace("torchvision==", ""))
        self.assertIn("--no-deps", models.split())
        self.assertFalse((self.root / ".models" / "torch").exists())
        self.assertFalse((self.root / ".models" / "tmp").exists())
        self.assertFalse(next(self.root.glob(".venv/lib/python3*/site-packages/timm"), None))
        first = tree(self.root)
        self.succeed("--models")
        self.succeed("--models", "--check")
        self.assertEqual(tree(self.root), first)
        self.assertEqual(len(self.installations()), 3)

    def test_models_are_made_by_the_pip_of_the_references_python(self):
        self.succeed("--models", FAKE_PIP="who")
        reference, _, models = self.installations()
        self.assertNotIn(str(self.root / ".venv" / "bin" / "python"), reference)
        self.assertIn(str(self.root / ".venv" / "bin" / "python"), models)

    def test_models_are_remade_if_they_are_ours(self):
        self.succeed("--models")
        models = self.root / ".models"
        for damage in (lambda: shutil.rmtree(models / "timm-1.0.31.dist-info"),
                       lambda: shutil.rmtree(models),
                       lambda: write(models / "made-by-setup", "3.9"),
                       lambda: write(models / "timm-1.0.31.dist-info" / "METADATA",
                                     "Metadata-Version: 2.1\nName: timm\nVersion: 1.0\n")):
            done = len(self.installations())
            damage()
            self.refuse("--models", "--check", says=[str(models), "./setup --models makes it"])
            self.succeed("--models")
            self.assertEqual(len(self.installations()), done + 1)
        self.succeed("--models", "--check")

    def test_failures_leave_no_half_of_the_models(self):
        self.succeed("--reference")
        before = self.before | {".venv", ".cargo"}
        for mode, says in (("full", "is full"), ("broken", "the wheel is broken"),
                           ("dumb", "do not work with PyTorch")):
            self.refuse("--models", FAKE_PIP=mode, says=[says])
            self.assertEqual(set(os.listdir(self.root)), before)
        process, pip = self.hanging("--models")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(process)[0], 128 + signal.SIGTERM)
        self.assertFalse(alive(pip))
        self.assertEqual(set(os.listdir(self.root)), before)
        write(self.root / ".models.part" / "half", "half")
        write(self.root / ".models.old" / "half", "half")
        self.succeed()
        self.assertEqual(set(os.listdir(self.root)), before)

    def test_failed_remake_keeps_the_models(self):
        self.succeed("--models")
        shutil.rmtree(self.root / ".models" / "timm-1.0.31.dist-info")
        before = tree(self.root / ".models")
        self.refuse("--models", FAKE_PIP="full", says=["full"])
        self.assertEqual(tree(self.root / ".models"), before)

    def test_foreign_models_are_refused(self):
        write(self.root / ".models" / "mine", "mine")
        self.refuse("--models", says=[str(self.root / ".models"), "not made by ./setup", "move it"])
        self.assertEqual(os.listdir(self.root / ".models"), ["mine"])

    # --check

    def test_check_changes_nothing(self):
        mine = str(self.libtorch(self.outside))
        before = tree(self.root)
        self.refuse("--check", says=["no libtorch", "./setup fetches it"])
        self.refuse("--check", LIBTORCH=mine, says=[mine, "not recorded"])
        self.refuse("--check", "--reference", says=["no libtorch", ".venv is missing"])
        self.assertEqual(tree(self.root), before)
        self.succeed(LIBTORCH=mine)
        before = tree(self.root)
        self.assertIn(mine, self.succeed("--check"))
        self.refuse("--check", "--reference", says=[".venv is missing", "--reference makes it"])
        self.assertEqual(tree(self.root), before)
        self.assertEqual(self.installations(), [])


if __name__ == "__main__":
    unittest.main()
