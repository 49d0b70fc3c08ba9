"""Where a file goes: a path, where it appears whole, or a stream, which takes it piece by piece.

Spec: spec/files.md (IO-006, IO-016 to IO-018).  Not here: what is written (layouts), how it gets into place (atomic).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

from refser import atomic
from refser.errors import AccessError, Problem
from refser.source import reason

_STEP = 8 << 20  # bytes of a file that are handed to the system together
_CHUNK = 1 << 20  # of a stream
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE


class Writable(Protocol):
    """A binary file object, whatever else it can do."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class Sink(Protocol):
    """What takes the bytes.  `seek` and `tell` work where `seekable()` says so."""

    def write(self, data: bytes | memoryview, /) -> int: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...


class Output(Protocol):
    """A place for one file, not touched before `open()`."""

    @property
    def name(self) -> str:
        """Where a problem is."""

    def open(self) -> AbstractContextManager[Sink]:
        """Leaving it ends the file; leaving it by an exception gives it up."""


class NewFile:
    """A path: there is the old file or the new one, whatever happens [IO-006]."""

    def __init__(self, path: str, *, overwrite: bool = False) -> None:
        self.name, self._overwrite = path, overwrite

    @contextmanager
    def open(self) -> Iterator[Sink]:
        """Raises what `atomic.new_file` raises."""
        with (
            atomic.new_file(self.name, overwrite=self._overwrite) as temporary,
            io.BufferedWriter(_EagerFile(temporary, "xb")) as file,
        ):
            yield file


class _EagerFile(io.FileIO):
    """A file that the disk begins to take while it grows, so that little is left to wait for when it is flushed."""

    _waiting = 0

    def write(self, data: Any) -> int:
        written = super().write(memoryview(data)[:_STEP])
        self._waiting += written or 0
        if self._waiting >= _STEP:
            self._waiting = 0
            if (start := _start_writing()) is not None:
                start(self.fileno())
        return written


@cache
def _start_writing() -> Callable[[int], object] | None:
    """What makes the system begin to write a file to disk without waiting, where it can (Linux).

    Only a hint: whether all is well on disk is what the flush at the end says.
    """
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda handle: call(handle, 0, 0, _START_WRITING)


class Stream:
    """A binary file object of the caller's, such as a pipe, which gets each byte once and in order [IO-016].

    It is told to write and to flush, nothing else.  It gets its own copy of each chunk, so it can keep what it was given.
    """

    def __init__(self, file: Writable) -> None:
        name = getattr(file, "name", None)  # of a descriptor it is a number
        self.name = name if name and isinstance(name, str) else "a stream"
        self._file, self._held, self._size = file, list[bytes](), 0

    @contextmanager
    def open(self) -> Iterator[Sink]:
        yield self
        self._send()
        if (flush := getattr(self._file, "flush", None)) is not None:
            self._call(flush)

    def write(self, data: bytes | memoryview) -> int:
        """Raises `AccessError` when the stream fails [IO-017]."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            piece = bytes(view[start : start + _CHUNK])
            self._held.append(piece)
            self._size += len(piece)
            if self._size >= _CHUNK:
                self._send()
        return len(view)

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")

    def _send(self) -> None:
        """Give the stream what is held, the rest again and again when it takes a part."""
        data: bytes | memoryview = b"".join(self._held)
        self._held, self._size = [], 0
        while data:
            taken = self._call(self._file.write, data)
            if taken is None and not isinstance(self._file, io.RawIOBase):
                return  # an object of its own kind, which took all or raised
            if not isinstance(taken, int) or not 0 < taken <= len(data):
                raise self._refused(f"it took {taken} of {len(data):,} bytes")
            data = memoryview(data)[taken:]

    def _call(self, function: Callable[..., object], *args: object) -> object:
        try:
            return function(*args)
        except Exception as error:  # each kind of stream has its own
            raise self._refused(reason(error)) from error

    def _refused(self, why: str) -> AccessError:
        message = f"a stream that cannot be written: {why}"
        return AccessError(Problem(code="IO-017", message=message, at=self.name, hint="it has to be binary and blocking"))
