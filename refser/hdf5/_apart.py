"""The tree of an HDF5 file through libhdf5 in a process of its own: what crashes there is a problem of the file here.

Spec: spec/hdf5-holes.md (H5-094 to H5-096), spec/limits.md (LI-013 to LI-015).  The other side is _child.

Over its stdin it gets a line of JSON, how and what to read, and later the path of an array on each line.  Over its stdout come
lines of JSON: lists that say first what they are.  "read", offset, length: it gets so many bytes of the file.  "group",
"array", "faulty", "fault", "remark", "end" tell the tree; "values" and a length: the bytes of an array follow; "error" and
"memory" are instead of either.  Nothing that comes is believed: it is checked as a file is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Timer
from typing import IO, Any, NoReturn

from refser.errors import LimitError, Problem, RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import _said
from refser.hdf5._image import Faults
from refser.hdf5._said import Nonsense, Said
from refser.hdf5._tree import Group
from refser.limits import RAISE, Limits
from refser.source import Source

_PROGRAM = os.path.join(os.path.dirname(__file__), "_child.py")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # where refser is
_BYTES_PER_SECOND = 4 << 20  # a large file may take longer
_WAITING = 4, 30  # seconds on the clock for each of CPU time, and beside them
_TEXT_MIN, _TEXT_PER_BYTE = 64 << 20, 64  # bytes of text that may come
_REQUEST_MAX = 100  # bytes of a line that asks for others
_RESTARTS_MAX = 16


def read_tree(source: Source, *, limits: Limits, refuse: Callable[[RefserError], None] | None = None) -> Group:
    faults = Faults(keep=refuse is not None)
    try:
        return _Process(source, limits, faults).tree()
    finally:
        faults.hand_over(refuse)


class _Process:
    """One file and the process that reads it; another one after a crash, where arrays are still wanted."""

    def __init__(self, source: Source, limits: Limits, faults: Faults) -> None:
        self._source, self._limits, self._faults = source, limits, faults
        self._seconds = limits.libhdf5_seconds + source.size // _BYTES_PER_SECOND
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = self._taken = 0
        self._stop: Callable[[], object] = lambda: None
        self._late: list[bool] = []  # whether its time was up
        self._at = source.name  # what it is busy with
        self._held: tuple[str, bytes] = "", b""  # an array that somebody reads block by block

    def tree(self) -> Group:
        self._start()
        said = self._tell()
        if not said.apart:
            self._stop()
        return said.root(lambda path, length: _Values(self, path, length))

    def values(self, path: str, length: int, *, keep: bool) -> bytes:
        """All bytes of an array.  With `keep` they are at hand when they are asked for next."""
        with self._lock:
            data = self._held[1] if self._held[0] == path else self._values(path, length)
            self._held = (path, data) if keep else ("", b"")
            return data

    def _values(self, path: str, length: int) -> bytes:
        fresh = self._process is None
        if fresh:
            self._start()
            self._tell()  # again: it reads only what it has told
        self._at = f"{self._source.name}:/{path}"
        try:
            return self._ask(path, length)
        except UnsafeError:
            if fresh or self._process is not None:
                raise
        finally:
            self._at = self._source.name
        return self._values(path, length)  # the one before was stopped, for all that it had done

    def _ask(self, path: str, length: int) -> bytes:
        with self._clock():
            self._send(json.dumps(path).encode("ascii") + b"\n")
            message = self._next(_TEXT_MIN)
            if message[0] == "error":
                raise _said.error(message[1:])
            if message != ["values", length]:
                self._nonsense(f"{str(message)[:80]} where {length:,} bytes were asked for")
            data = self._out.read(length)
            if len(data) < length:
                self._ended()
            return data

    def _tell(self) -> Said:
        """The tree, as it is told."""
        said = Said(self._source, self._limits, self._faults)
        left = _TEXT_MIN + _TEXT_PER_BYTE * self._source.size
        with self._clock():
            while not said.ended:
                message = self._next(left)
                left -= self._taken
                try:
                    said.hear(message)
                except Nonsense as nonsense:
                    self._nonsense(str(nonsense))
        return said

    def _start(self) -> None:
        self._starts += 1
        limits, size = self._limits, self._source.size
        if self._starts > _RESTARTS_MAX:
            message = f"libhdf5 has ended {_RESTARTS_MAX} times over this file"
            raise UnsafeError(Problem(code="H5-094", message=message, at=self._source.name))
        fields = {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
        how = {
            "limits": fields,
            "seconds": self._seconds,
            "bytes": limits.libhdf5_bytes + size,  # it has addresses for the file too
            "path": [*(os.path.abspath(entry) for entry in sys.path if entry), _ROOT],
            "name": self._source.name,
            "size": size,
            "keep": self._faults.keep,
        }
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}  # no plugins
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise self._not_started(str(error)) from error
        self._process, self._late = process, []
        self._stop = weakref.finalize(self, _end, process)
        with self._clock():
            assert process.stdin is not None
            with suppress(OSError):  # it has ended already
                process.stdin.write(json.dumps(how).encode("ascii") + b"\n")
                process.stdin.flush()
            if self._out.readline(_REQUEST_MAX) != b'["ready"]\n':
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                self._stop()
                raise self._not_started(f"it ended with status {process.returncode}")

    def _not_started(self, why: str) -> RefserError:
        self._process = None
        message = f"libhdf5 cannot be run in a process of its own: {why}"
        return UnsupportedError(Problem(code="LI-013", message=message, at=self._source.name))

    @property
    def _out(self) -> IO[bytes]:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, *pieces: bytes | memoryview) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            for piece in pieces:
                self._process.stdin.write(piece)
            self._process.stdin.flush()
        except OSError:
            self._ended()

    def _next(self, most: int) -> list[Any]:
        """The next line that is not a request for bytes of the file; those are answered."""
        while True:
            line = self._out.readline(most)
            self._taken = len(line)
            if not line:
                self._ended()
            try:
                message = json.loads(line) if line.endswith(b"\n") else None
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, list) or not message:
                self._nonsense(f"{line[:80]!r}")
            if message == ["memory"]:
                self._stop()
                self._process = None
                text = f"libhdf5 takes over {self._limits.libhdf5_bytes:,} bytes of memory"
                hint = RAISE.format("libhdf5_bytes")
                raise LimitError(Problem(code="LI-015", message=text, at=self._at, hint=hint))
            if message[0] != "read":
                return message
            if len(line) > _REQUEST_MAX or [type(value) for value in message[1:]] != [int, int]:
                self._nonsense(f"{line[:80]!r}")
            offset, length = message[1:]
            if offset < 0 or length < 0 or offset + length > self._source.size:
                self._nonsense(f"bytes {offset:,} to {offset + length:,} of {self._source.size:,} are asked for")
            self._source.keep(offset, length)
            self._send(self._source.view(offset, length))

    def _clock(self) -> _Clock:
        assert self._process is not None
        return _Clock(self._process, self._late, _WAITING[0] * self._seconds + _WAITING[1])

    def _nonsense(self, what: str) -> NoReturn:
        self._stop()
        self._process = None
        message = f"what reads it with libhdf5 does not answer as it has to: {what}"
        raise UnsafeError(Problem(code="H5-096", message=message, at=self._at))

    def _ended(self) -> NoReturn:
        """Say why it is gone."""
        assert self._process is not None
        process, at = self._process, self._at
        try:
            status = process.wait(_WAITING[1])
        except subprocess.TimeoutExpired:
            status = 0
        self._stop()
        self._process = None
        name = _signal(status)
        if self._late or name == "SIGXCPU":
            message = f"libhdf5 was stopped, still busy after {self._seconds} seconds of CPU time"
            hint = RAISE.format("libhdf5_seconds")
            raise UnsafeError(Problem(code="H5-095", message=message, at=at, hint=hint))
        if name == "SIGKILL":
            message = "libhdf5 was stopped by the system, which kills what takes too much memory"
            raise LimitError(Problem(code="LI-015", message=message, at=at))
        if name:
            raise UnsafeError(Problem(code="H5-094", message=f"libhdf5 crashes when it reads this file ({name})", at=at))
        message = f"what reads it with libhdf5 ended without an answer, with status {status}"
        raise UnsafeError(Problem(code="H5-096", message=message, at=at))


class _Clock:
    """Ends a process that takes too long, while something waits for it."""

    def __init__(self, process: subprocess.Popen[bytes], late: list[bool], seconds: int) -> None:
        def ring() -> None:  # knows nobody who would then live as long as the timer
            late.append(True)
            process.kill()

        self._timer = Timer(seconds, ring)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class _Values:
    """The elements of one array, asked for each time."""

    def __init__(self, process: _Process, path: str, length: int) -> None:
        self._process, self._path, self._length = process, path, length

    def view(self, offset: int, length: int) -> memoryview:
        keep = offset + length < self._length
        return memoryview(self._process.values(self._path, self._length, keep=keep))[offset : offset + length]


def _signal(status: int) -> str:
    """The name of the signal that ended a process, or of what Windows says instead; empty where nothing did."""
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exception {status:#x}" if status >= 0x80000000 else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
