"""Runs scripts for the tests of Rust, each in a process of its own that has torch already: importing it takes longer than most scripts.

`fork_server.py SOCKET` prints a line when it listens, and takes connections until its input ends; then it removes the socket and its
folder. A request is a line of JSON: `script`, `arguments`, and the files `out` and `err`; the answer is the exit status in a line."""

import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback

import numpy  # noqa: F401
import torch  # noqa: F401

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def run(connection):
    """Runs the script of a request in this process, which it is the only one of, and returns its exit status."""
    request = json.loads(connection.makefile().readline())
    for path, flags, number in (os.devnull, os.O_RDONLY, 0), (request["out"], WRITE, 1), (request["err"], WRITE, 2):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [request["script"], *request["arguments"]]
    # As the interpreter does.
    sys.path.insert(0, os.path.dirname(request["script"]))
    try:
        runpy.run_path(request["script"], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    path = sys.argv[1]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                status = 1
                try:
                    status = run(connection)
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    connection.sendall(b"%d\n" % status)
                    os._exit(status)
            connection.close()
    os.remove(path)
    os.rmdir(os.path.dirname(path))


main()
