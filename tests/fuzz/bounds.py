"""How much time and memory a mutant may take."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SLOW = 2  # seconds of CPU for one mutant
GROWTH = 100 << 20  # bytes by which one mutant may raise the peak of memory
SPACE = 256 << 20  # bytes of addresses that the child may take beyond what its imports took


def bounded() -> None:
    """From now on, this process cannot grow by more than `SPACE`."""
    import resource

    status = Path("/proc/self/statm")
    if status.exists():  # elsewhere addresses cannot be bounded, and the peak that `watched` sees has to do
        now = int(status.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))


class Slow(BaseException):
    """Not an `Exception`, so that nobody takes it for a bad file."""


def last_line(script: str, seconds: float, seed: int) -> str:
    """What a script says last, run as `script child SECONDS SEED`; before, it says the number of each mutant it begins with."""
    command = [sys.executable, script, "child", str(seconds), str(seed)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"mutant {(error.stdout or b'').decode().split()[-1:]}: hangs")
    *_, last = done.stdout.splitlines() or [""]
    assert done.returncode == 0, f"mutant {last}: exit status {done.returncode}\n{done.stderr}"
    return last


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Bounded CPU time and memory."""
    import resource

    def ring(*_: object) -> None:
        raise Slow(f"over {SLOW} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < GROWTH, f"{grown:,} bytes more memory"
