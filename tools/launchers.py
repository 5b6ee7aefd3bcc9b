#!/usr/bin/env python3
"""Find Open MPI, MPICH and Slurm, or install Debian's packages of them.

`make test-scale` runs it. What is missing and cannot be installed is an error: the tests do not pass without it.
"""

import os
import shutil
import subprocess
import sys

# Programs, and the packages that have them.
PACKAGES = {
    "mpirun.openmpi": "openmpi-bin", "mpiexec.mpich": "mpich", "srun": "slurm-client", "slurmctld": "slurmctld",
    "slurmd": "slurmd", "munged": "munge",
}


def find(program):
    """The path of a program; None if there is none. Those of the system are not on the PATH of every user."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def run(*command):
    """Runs a command, and returns its last message if it fails."""
    try:
        done = subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return None if done.returncode == 0 else (done.stdout.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def main():
    missing = [program for program in PACKAGES if not find(program)]
    if missing:
        install = ["apt-get", "install", "-y", "--no-install-recommends", *dict.fromkeys(PACKAGES[name] for name in missing)]
        print(f"launchers: {' '.join(install)}", flush=True)
        # The lists may be old, or not there yet.
        failed = run(*install) and (run("apt-get", "update") or run(*install))
        missing = [program for program in PACKAGES if not find(program)]
        if missing:
            sys.exit(f"launchers: no {', '.join(missing)}, and apt-get cannot install them ({failed}): install Debian's packages "
                     f"{' '.join(dict.fromkeys(PACKAGES.values()))}, or the same programs, and run it again")
    print("launchers: " + ", ".join(filter(None, map(find, PACKAGES))))


if __name__ == "__main__":
    main()
