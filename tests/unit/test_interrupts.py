"""A process that a run started goes with a run that is killed; one that leaves by itself ends its own."""

import subprocess
import sys

START = """
import atexit, os, subprocess
from flows.interrupts import ends_with_us
child = subprocess.Popen(["sleep", "60"])
ends_with_us(child.pid)
"""


def ended(how: str) -> tuple[int, bytes]:
    """Exit code and output of a process; it has ended when nobody holds its output open, as `sleep` would."""
    code = [sys.executable, "-c", START + how]
    done = subprocess.run(code, stdout=subprocess.PIPE, timeout=30, check=False)
    return done.returncode, done.stdout


def test_a_killed_run_leaves_no_process_behind():
    assert ended("os.kill(os.getpid(), 9)") == (-9, b"")


def test_a_run_that_leaves_by_itself_is_left_alone():
    assert ended("atexit._run_exitfuncs(); child.kill(); print(child.wait())") == (0, b"-9\n")
