"""torchrun, Open MPI, MPICH and Slurm run the program: the files are those of one process.

`tools/launchers.py` installs what is missing. Run after `cargo build --features cli`: make test-scale.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import time
import unittest

from tools.launchers import find

from .models import SEED, Planned, materialize, program
from .slurm import slurm

LAYOUTS = (("--max-shard-size", "1KB"), ("--layout", "rows", "--shards", "5"), ("--layout", "dcp", "--shards", "5"))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def sums(folder):
    """The SHA-256 of each file, which SHA256SUMS says too."""
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    said = (line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert {name: sum for sum, name in said}.items() <= found.items()
    return found


def outer_environment():
    """Without what a launcher of these tests may have set."""
    prefixes = ("OMPI_", "PMI_", "SLURM_", "TORCHELASTIC_")
    names = {"RANK", "WORLD_SIZE", "LOCAL_RANK"}
    return {name: value for name, value in os.environ.items() if name not in names and not name.startswith(prefixes)}


class Launchers(Planned):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.expected = [sums(materialize(cls.plan, cls.folder / f"one{i}", *options)) for i, options in enumerate(LAYOUTS)]

    def launch(self, launcher, variable, environment=None):
        """Each number of processes makes one of the layouts."""
        for number, count in enumerate((1, 2, 3, 5)):
            layout = (number + len(variable)) % len(LAYOUTS)
            with self.subTest(count=count, layout=LAYOUTS[layout]):
                folder = self.folder / f"{variable}{count}"
                command = [program(), "materialize", self.plan, "--seed", SEED, "-o", f"{folder}/", *LAYOUTS[layout]]
                done = subprocess.run([*launcher(count), *map(str, command)], env=environment or outer_environment(),
                                      capture_output=True, text=True, timeout=100)
                self.assertEqual(done.returncode, 0, done.stderr)
                for part in range(count):
                    self.assertIn(f"part {part}/{count} ({variable}) made", done.stdout)
                self.assertEqual(sums(folder), self.expected[layout])

    def test_torchrun(self):
        self.launch(lambda count: [*TORCHRUN, f"--nproc-per-node={count}", "--no-python"], "RANK")

    def test_open_mpi(self):
        options = ["--allow-run-as-root", "--oversubscribe"]
        self.launch(lambda count: [find("mpirun.openmpi"), *options, "-np", str(count)], "OMPI_COMM_WORLD_RANK")

    def test_mpich(self):
        self.launch(lambda count: [find("mpiexec.mpich"), "-n", str(count)], "PMI_RANK")

    def test_srun(self):
        with slurm() as environment:
            names = outer_environment().keys() | {"SLURM_CONF"}
            environment = {name: value for name, value in environment.items() if name in names}
            self.launch(lambda count: [find("srun"), "-n", str(count)], "SLURM_PROCID", environment)

    def test_slurm_requeues(self):
        """A job is stopped and queued again while one process has yet to start and others have written their files."""
        folder, partial = self.folder / "requeued", self.folder / "requeued.partial"
        log = self.folder / "requeued.log"
        make = [program(), "materialize", self.plan, "--seed", SEED, "-o", f"{folder}/", *LAYOUTS[1]]
        make = shlex.join(map(str, make))
        script = self.folder / "job.sh"
        script.write_text('#!/bin/sh\n'
                          'echo "restart ${SLURM_RESTART_COUNT:-0}"\n'
                          f'[ -n "$SLURM_RESTART_COUNT" ] && exec {find("srun")} -n 2 {make}\n'
                          f"exec {find('srun')} -n 3 sh -c '[ $SLURM_PROCID = 1 ] && sleep 600; exec \"$@\"' sh {make}\n")
        with slurm() as environment:
            def run(*command):
                done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=100)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout.strip()

            options = ["--parsable", "--requeue", "--ntasks=3", f"--output={log}", "--open-mode=append"]
            job = run(find("sbatch"), *options, script)
            try:
                # Three of five files: what processes 0 and 2 have.
                self.wait(lambda: len(list(partial.glob("*.sha256"))) >= 3, log)
                before = {path.name: path.stat().st_mtime_ns for path in partial.glob("shard-*.safetensors")}
                run(find("scontrol"), "requeue", job)
                # Slurm waits two minutes by default.
                self.wait(lambda: "PENDING" in run(find("scontrol"), "show", "job", job), log)
                run(find("scontrol"), "update", f"JobId={job}", "StartTime=now")
                self.wait(folder.exists, log)
                self.wait(lambda: "COMPLETED" in run(find("scontrol"), "show", "job", job), log)
            finally:
                # Processes outlive their job's step if the daemons end first.
                subprocess.run([find("scancel"), job], env=environment, check=False)
        said = log.read_text()
        self.assertIn("restart 1", said)
        self.assertIn("part 1/2 (SLURM_PROCID) made", said)
        self.assertEqual(sums(folder), self.expected[1])
        after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        self.assertEqual(before, {name: after[name] for name in before})

    def wait(self, ready, log):
        end = time.monotonic() + 60
        while not ready():
            self.assertLess(time.monotonic(), end, log.read_text() if log.exists() else "the job did not start")
            time.sleep(0.1)

    def test_torchrun_restarts(self):
        """The first time, one process is killed, and torchrun starts all of them again."""
        folder = self.folder / "restarted"
        script = self.folder / "killed_once.sh"
        script.write_text('#!/bin/sh\n'
                          'if [ "$TORCHELASTIC_RESTART_COUNT" = 0 ] && [ "$RANK" = 1 ]; then kill -9 $$; fi\n'
                          'echo "restart $TORCHELASTIC_RESTART_COUNT"\nexec "$@"\n')
        script.chmod(0o755)
        command = [*TORCHRUN, "--nproc-per-node=2", "--max-restarts=1", "--no-python", script, program(), "materialize", self.plan,
                   "--seed", SEED, "-o", f"{folder}/", *LAYOUTS[0]]
        done = subprocess.run(list(map(str, command)), env=outer_environment(), capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("restart 1", done.stdout)
        self.assertEqual(sums(folder), self.expected[0])


if __name__ == "__main__":
    unittest.main()
