"""Interleaved timing: everybody once in each round, medians.

Each round has another order, in every run the same: what a work leaves behind, memory above all, changes what the next takes.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], object]
# What stands behind the code of `python -c`: it tells the peak, since the system's own figure for a child counts the memory of
# this process too, which it had for a moment, and the seconds that the code says it took.
_TOLD = """
import sys
_peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print(_peak, *globals().get("TOOK", ()), file=sys.stderr)
"""


@dataclass(frozen=True)
class Figure:
    """Medians of the rounds: seconds of wall clock and of CPU, and for `python -c` the peak memory in MiB."""

    wall: float
    cpu: float
    peak: float = 0.0


def median(figures: Sequence[Figure]) -> Figure:
    wall, cpu, peak = zip(*((it.wall, it.cpu, it.peak) for it in figures), strict=True)
    return Figure(statistics.median(wall), statistics.median(cpu), statistics.median(peak))


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    found = list(names)
    random.Random(seed).shuffle(found)
    return found


def race(works: Mapping[str, Work], rounds: int, *, times: int = 1, warm: bool = True) -> dict[str, Figure]:
    """In this process: each work `times` times per round, figures of one time; with `warm` the first round does not count."""
    found: dict[str, list[Figure]] = {name: [] for name in works}
    for number in range(0 if warm else 1, rounds + 1):
        for name in _shuffled(works, number):
            work = works[name]
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(times):
                result = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            del result
            if number:
                found[name].append(Figure(wall / times, cpu / times))
    return {name: median(figures) for name, figures in found.items()}


def race_processes(commands: Mapping[str, list[str]], rounds: int) -> dict[str, Figure]:
    """Whole processes, each `python ...`, with what the system says they used.

    All of them find their modules compiled, as installed ones are, whatever PYTHONDONTWRITEBYTECODE says here.
    """
    found: dict[str, list[Figure]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = compiled
        for number in range(rounds + 1):
            for name in _shuffled(commands, number):
                figure = _run(commands[name], environment)
                if number:
                    found[name].append(figure)
    return {name: median(figures) for name, figures in found.items()}


def _run(command: list[str], environment: Mapping[str, str]) -> Figure:
    tells = command[0] == "-c"
    if tells:
        command = ["-c", command[1] + _TOLD]
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    errors = child.stderr.read().decode() if child.stderr else ""
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}\n{errors}")
    if not tells:
        return Figure(wall, usage.ru_utime + usage.ru_stime)
    peak, *took = map(float, errors.splitlines()[-1].split())
    wall, cpu = took or (wall, usage.ru_utime + usage.ru_stime)
    return Figure(wall, cpu, peak / 1024)
