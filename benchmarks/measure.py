"""Interleaved timing: everybody in turn, round after round, medians, ratios against refser."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]
# The system's own figure for a child counts this process's memory too, which it had for a moment.
_PEAK = "import sys; print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"


@dataclass(frozen=True)
class Figure:
    """Medians of the rounds: seconds of wall clock and of CPU, and for whole processes the peak memory in MiB."""

    wall: float
    cpu: float
    peak: float = 0.0


def race(works: Mapping[str, Work], rounds: int) -> dict[str, Figure]:
    """In this process: after one round that does not count, each work once per round."""
    walls: dict[str, list[float]] = {name: [] for name in works}
    cpus: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            result = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            del result
            if number:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return {name: Figure(statistics.median(walls[name]), statistics.median(cpus[name])) for name in works}


def race_processes(commands: Mapping[str, list[str]], rounds: int) -> dict[str, Figure]:
    """Whole processes, each `python ...`, with what the system says they used."""
    found: dict[str, list[Figure]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            if command[0] == "-c":
                command = ["-c", f"{command[1]}\n{_PEAK}"]
            start = time.perf_counter()
            child = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - start
            errors = child.stderr.read().decode() if child.stderr else ""
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise SystemExit(f"{name}: {' '.join(command)[:200]}\n{errors}")
            if number:
                peak = float(errors.split()[-1]) / 1024 if command[0] == "-c" else 0.0
                found[name].append(Figure(wall, usage.ru_utime + usage.ru_stime, peak))
    return {
        name: Figure(*(statistics.median(values) for values in zip(*((f.wall, f.cpu, f.peak) for f in figures), strict=True)))
        for name, figures in found.items()
    }
