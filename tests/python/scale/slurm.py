"""Slurm on one node, without a configuration of the machine: its daemons run until the end of a `with`."""

import contextlib
import getpass
import os
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tools.launchers import find

CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for made in sockets:
            made.bind(("127.0.0.1", 0))
        return [made.getsockname()[1] for made in sockets]


@contextlib.contextmanager
def slurm():
    """The environment in which `srun` finds it."""
    host = socket.gethostname().partition(".")[0]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(host=host, ports=free_ports(2), user=getpass.getuser(), folder=folder))
        environment = os.environ | {"SLURM_CONF": str(configuration)}

        def daemon(name, *arguments):
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            started = subprocess.Popen([find(name), *map(str, arguments)], env=environment, stdout=log, stderr=log)
            stack.callback(started.wait)
            stack.callback(started.terminate)

        # Without --force, munged refuses a folder below one that others write.
        daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.sock", f"--key-file={key}",
               f"--log-file={folder}/munge.log", f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed")
        wait(lambda: (folder / "munge.sock").exists(), folder)
        daemon("slurmctld", "-D", "-f", configuration)
        daemon("slurmd", "-D", "-f", configuration, "-N", host)
        states = [find("sinfo"), "--noheader", "--format=%t"]
        wait(lambda: subprocess.run(states, env=environment, capture_output=True, text=True).stdout.strip() == "idle", folder)
        yield environment


def wait(ready, folder):
    end = time.monotonic() + 60
    while not ready():
        logs = "".join(f"\n{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
        assert time.monotonic() < end, f"Slurm does not start{logs}"
        time.sleep(0.1)
