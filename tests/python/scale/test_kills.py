"""Processes that are killed at any moment, or run out of disk: what is there is whole, and is gone on with.

Run after `cargo build --features cli`: make test-scale.
"""

import hashlib
import random
import resource
import shutil
import signal
import subprocess
import time
import unittest

from torch import nn

from .models import SEED, Planned, materialize, program

LAYOUTS = (("--max-shard-size", "500KB"), ("--layout", "rows", "--shards", "9"), ("--layout", "dcp", "--shards", "9"))
KILLS = 100


class Wide(nn.Module):
    """Enough for a process to be killed while it writes: 5 MB."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(300, 400) for _ in range(10))


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Kills(Planned):
    MODEL = Wide

    def start(self, folder, layout, part, **options):
        command = [program(), "materialize", self.plan, "--seed", SEED, "-o", f"{folder}/", "--part", part, *layout]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def test_killed_at_any_moment(self):
        numbers = random.Random(4)
        expected, longest = {}, {}
        for number, layout in enumerate(LAYOUTS):
            start = time.monotonic()
            expected[layout] = content(materialize(self.plan, self.folder / f"expected{number}", *layout))
            longest[layout] = time.monotonic() - start
        killed = {signal.SIGTERM: 0, signal.SIGKILL: 0}
        completed, half_written, tidied = 0, 0, 0
        folder, partial = self.folder / "killed", self.folder / "killed.partial"
        while sum(killed.values()) < KILLS or completed < 3:
            layout = LAYOUTS[completed % 3]
            # As another launch with another number of processes.
            count = numbers.choice((1, 2, 3))
            processes = [self.start(folder, layout, f"{part}/{count}") for part in range(count)]
            if sum(killed.values()) < KILLS:
                time.sleep(numbers.uniform(0, 0.8 * longest[layout]))
                number = numbers.choice(list(killed))
                for process in processes:
                    process.send_signal(number)
            for process in processes:
                said = process.communicate()[1]
                if process.returncode == 0:
                    continue
                self.assertIn(-process.returncode, killed, said)
                killed[signal.Signals(-process.returncode)] += 1
            if folder.exists():
                # A process may have been killed after the rename, before it removed the sums of the files.
                if len(content(folder)) > len(expected[layout]):
                    materialize(self.plan, folder, *layout)
                    tidied += 1
                self.assertTrue(content(folder) == expected[layout], layout)
                self.assertFalse(partial.exists())
                shutil.rmtree(folder)
                completed += 1
                continue
            for file in partial.iterdir() if partial.exists() else ():
                half_written += file.suffix == ".tmp"
                if file.suffix == ".sha256":
                    whole = file.with_suffix("").read_bytes()
                    self.assertEqual(file.read_text(), f"{hashlib.sha256(whole).hexdigest()} {len(whole)}\n")
        print(f"\n{killed[signal.SIGTERM]} SIGTERM, {killed[signal.SIGKILL]} SIGKILL; {half_written} files half written, "
              f"{completed} folders complete, {tidied} of them tidied later", flush=True)
        self.assertGreater(half_written, 10)
        self.assertGreater(min(killed.values()), 10)

    def test_a_full_disk(self):
        """As the limit of a process, which is an error of `write` as a full disk is."""
        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        for number, layout in enumerate(LAYOUTS):
            with self.subTest(layout=layout):
                folder = self.folder / f"full{number}"
                process = self.start(folder, layout, "0/1", preexec_fn=limited)
                _, said = process.communicate()
                self.assertEqual(process.returncode, 2, said)
                last = said.strip().splitlines()[-1]
                self.assertRegex(last, r"^tch-init: .*full\d\.partial/[^:]*: cannot be written: File too large \(os error 27\)$")
                left = content(folder.with_name(f"{folder.name}.partial"))
                self.assertEqual([name for name in left if name.endswith(".tmp")], [])
                once = self.folder / f"once{number}"
                self.assertEqual(content(materialize(self.plan, folder, *layout)), content(materialize(self.plan, once, *layout)))


if __name__ == "__main__":
    unittest.main()
