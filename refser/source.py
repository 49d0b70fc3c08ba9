"""Bytes at an offset: a file that is mapped, a window of another source, a block of memory.

Spec: spec/files.md (IO).  Not here: what the bytes mean (zipio, hdf5, jsonio), writing (atomic).
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable

from refser.errors import AccessError, MalformedError, Problem, RefserError


class Source(ABC):
    """Read-only bytes of a known size.  `view` never returns fewer bytes than asked: it raises `MalformedError`."""

    name: str  # where a problem is: "model.keras", "model.keras:model.weights.h5"
    size: int

    def view(self, offset: int, length: int) -> memoryview:
        self.check(offset, length)
        return self._view(offset, length)

    def check(self, offset: int, length: int) -> None:
        """Raise unless these bytes lie inside."""
        if offset < 0 or length < 0 or offset + length > self.size:
            message = f"bytes {offset} to {offset + length} are wanted and there are {self.size}"
            raise MalformedError(Problem(code="IO-004", message=message, at=self.name, hint="the file may be cut short"))

    def keep(self, offset: int, length: int) -> None:
        """Have bytes at hand that are about to be looked at; those of a file are."""
        return

    def image(self) -> tuple[memoryview, Callable[[int, int], None] | None]:
        """All bytes as one block, and what to call with a start and a length before they are looked at, if anything."""
        return self.view(0, self.size), None

    @abstractmethod
    def _view(self, offset: int, length: int) -> memoryview: ...

    def window(self, offset: int, length: int, name: str) -> Window:
        return Window(self, offset, length, name)

    def head(self, length: int) -> bytes:
        """The first bytes, fewer where the source is shorter."""
        return bytes(self.view(0, min(length, self.size)))


class FileSource(Source):
    """A regular file, mapped.  The map lives until its last view is gone, so views stay good after `close`."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path) or path
        handle = _open_regular(path)
        try:
            self.size = os.fstat(handle).st_size
            self._map = mmap.mmap(handle, self.size, access=mmap.ACCESS_READ) if self.size else None
        except (OSError, ValueError) as error:
            raise AccessError(Problem(code="IO-003", message=f"cannot be read: {reason(error)}", at=self.name)) from error
        finally:
            os.close(handle)

    def _view(self, offset: int, length: int) -> memoryview:
        return memoryview(self._map)[offset : offset + length] if self._map is not None else memoryview(b"")


class MemorySource(Source):
    """Bytes in memory, such as a member that had to be inflated."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name, self.size, self._data = name, len(data), memoryview(data)

    def _view(self, offset: int, length: int) -> memoryview:
        return self._data[offset : offset + length]


class Window(Source):
    """A run of bytes of another source, such as a stored zip member."""

    def __init__(self, source: Source, offset: int, length: int, name: str) -> None:
        source.check(offset, length)
        self.name, self.size, self._source, self._offset = name, length, source, offset

    def _view(self, offset: int, length: int) -> memoryview:
        return self._source.view(self._offset + offset, length)

    def keep(self, offset: int, length: int) -> None:
        self._source.keep(self._offset + offset, length)

    def image(self) -> tuple[memoryview, Callable[[int, int], None] | None]:
        image, need = self._source.image()
        window, first = image[self._offset : self._offset + self.size], self._offset
        return window, None if need is None else lambda start, length: need(first + start, length)


class SourceFile(io.RawIOBase):
    """A source as a seekable binary file, for libraries that want one."""

    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "seek before the start")  # as a file does: zipfile counts on it
        self._at = base + offset
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # a WriteableBuffer, which typing cannot name
        target = memoryview(buffer).cast("B")
        length = max(0, min(len(target), self._source.size - self._at))
        target[:length] = self._source.view(self._at, length) if length else b""
        self._at += length
        return length


def kind_of(path: str) -> str:
    """`"file"` or `"directory"`; raises `AccessError` for everything else [IO-001, IO-002, IO-003]."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.islink(path):
            target = os.readlink(path)
            message = f"a symbolic link to {target!r}, where there is nothing"
        else:
            message = "no such file or directory; wanted a Keras model file"
        raise AccessError(Problem(code="IO-001", message=message, at=path, hint="check the path")) from error
    except (OSError, ValueError) as error:
        raise AccessError(Problem(code="IO-003", message=f"cannot be looked at: {reason(error)}", at=path)) from error
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "file"
    raise not_regular(path, mode)


def not_regular(path: str, mode: int) -> RefserError:
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    found = kinds.get(stat.S_IFMT(mode), "a directory" if stat.S_ISDIR(mode) else "a special file")
    return AccessError(Problem(code="IO-002", message=f"{found}; wanted a regular file", at=path))


def _open_regular(path: str) -> int:
    """A descriptor of a regular file; a FIFO neither blocks nor is read [IO-002]."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    kind_of(path)
    try:
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise AccessError(Problem(code="IO-003", message=f"cannot be opened: {reason(error)}", at=path)) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):  # it changed between the two looks
        os.close(handle)
        raise not_regular(path, mode)
    return handle


def reason(error: Exception) -> str:
    """What the system says, in a few words."""
    return (getattr(error, "strerror", None) or str(error)).lower()
