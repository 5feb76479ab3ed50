"""System calls of a daemon that fail, by C{strace}."""

import shutil
import subprocess
import time
from pathlib import Path
from unittest import SkipTest

from .daemon import Daemon

_PATIENCE = 20.0


def check_strace() -> None:
    """Check that calls can be made to fail.

    @raise SkipTest: if not.
    """
    if shutil.which("strace") is None:
        raise SkipTest("strace is not installed")
    inject = ["strace", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=1..2", "true"]
    if subprocess.run(inject, check=False, capture_output=True).returncode:
        raise SkipTest("ptrace is not permitted, or strace is too old")


def fail(daemon: Daemon, call: str, path: Path, when: str) -> "subprocess.Popen[bytes]":
    """Make a system call of the daemon on this file fail with EIO, from now on.

    @param when: which calls fail, in the syntax of C{strace}: C{3}, C{3..5} or C{3+}.
    """
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={when}"]
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", *inject, "-P", str(path), "-p", str(daemon.pid)]
    )
    threads = Path(f"/proc/{daemon.pid}/task")
    deadline = time.monotonic() + _PATIENCE
    while any("TracerPid:\t0\n" in (thread / "status").read_text() for thread in threads.iterdir()):
        if strace.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("strace did not attach")
        time.sleep(0.01)
    return strace
