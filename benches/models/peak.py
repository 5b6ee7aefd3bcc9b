"""Runs a program, and prints the nanoseconds that it took and the most bytes that it had in memory: peak.py PROGRAM ARGUMENT...

The bytes include the pages of files that it has mapped, as Linux counts them. Exit code 1 is a difference that was found.
"""

import resource
import subprocess
import sys
import time

start = time.perf_counter_ns()
run = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=False)
taken = time.perf_counter_ns() - start
if run.returncode not in (0, 1):
    sys.exit(run.returncode)
print(taken, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(run.stdout.decode(), end="")
