"""Bytes that are elsewhere: any seekable binary file, and with the `remote` extra any URL that fsspec knows.

Spec: spec/files.md (IO-013 to IO-015).  What is looked at is fetched a page at a time and kept; an array is fetched as it is.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from typing import BinaryIO

from refser.errors import AccessError, LimitError, Problem, UnsupportedError
from refser.source import Source, reason

PAGE = 1 << 16  # bytes fetched together
_PAGES_MAX = 64  # of one request, reached by reading on and on
_DIRECT = 4 * PAGE  # a longer view is an array, not something to keep
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)


class StreamSource(Source):
    """A seekable file behind an image of its bytes that fills as they are looked at; the image takes no memory before."""

    owner: object = None

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name, self._file, self._lock = name, file, threading.Lock()
        try:
            self.size = file.seek(0, 2)
            if not isinstance(self.size, int):  # a file object of its own kind
                self.size = file.tell()
        except Exception as error:  # each kind of file object has its own
            raise self._refused(error) from error
        if not isinstance(self.size, int) or self.size < 0:
            raise self._refused(ValueError(f"its size is {self.size!r}"))
        try:
            flags = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE} if hasattr(mmap, "MAP_PRIVATE") else {}
            self._image = memoryview(mmap.mmap(-1, self.size, **flags) if self.size else b"")
        except (OSError, OverflowError, ValueError) as error:
            message = f"a stream of {self.size:,} bytes, more than this process can address"
            raise LimitError(Problem(code="IO-003", message=message, at=name)) from error
        self._have = bytearray(-(-self.size // PAGE))
        self._run = 1  # pages that the last request went on for

    def image(self) -> tuple[memoryview, Callable[[int, int], None] | None]:
        return self._image.toreadonly(), self.keep

    def keep(self, offset: int, length: int) -> None:
        """Have these bytes in the image, as far as the file has them."""
        first, last = offset // PAGE, (min(offset + length, self.size) - 1) // PAGE
        with self._lock:
            while (first := self._have.find(0, first, last + 1)) >= 0:
                self._request(first, last)

    def _request(self, first: int, last: int) -> None:
        """One read from page `first`: as far as `last`, and further when it goes on from what is there already."""
        goes_on = first == 0 or self._have[first - 1]
        self._run = min(4 * self._run, _PAGES_MAX) if goes_on else 1
        end = max(last + 1, first + self._run)
        known = self._have.find(1, first, end)
        end = min(known if known >= 0 else end, len(self._have))
        data = self._read(first * PAGE, min(end * PAGE, self.size) - first * PAGE)
        self._image[first * PAGE : first * PAGE + len(data)] = data
        self._have[first:end] = b"\1" * (end - first)

    def _view(self, offset: int, length: int) -> memoryview:
        first, last = offset // PAGE, (offset + length - 1) // PAGE
        if length > _DIRECT and self._have.find(0, first, last + 1) >= 0:
            with self._lock:
                return memoryview(self._read(offset, length)).toreadonly()
        if length:
            self.keep(offset, length)
        return self._image[offset : offset + length].toreadonly()

    def _read(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            pieces = []
            while length and (piece := self._file.read(length)):
                if isinstance(piece, str):
                    raise TypeError("it gives text")
                pieces.append(piece)
                length -= len(piece)
        except Exception as error:  # each kind of file system has its own
            raise self._refused(error) from error
        if length:
            message = f"the stream ended {length:,} bytes before its size"
            raise AccessError(Problem(code="IO-014", message=message, at=self.name))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _refused(self, error: Exception) -> AccessError:
        message = f"a stream that cannot be read: {reason(error)}"
        return AccessError(Problem(code="IO-014", message=message, at=self.name, hint="it has to be binary and seekable"))


def is_url(path: str) -> bool:
    """`s3://bucket/model.keras`, not `C:/model.keras`."""
    scheme, mark, _ = path.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()


def open_url(url: str) -> StreamSource:
    """The file behind a URL.  Raises `UnsupportedError` without fsspec, `AccessError` when there is nothing [IO-015]."""
    try:
        import fsspec
    except ImportError as error:
        hint = "pip install refser[remote]"
        raise UnsupportedError(
            Problem(code="IO-015", message="a URL, and fsspec is not installed", at=url, hint=hint)
        ) from error
    try:
        opened = fsspec.open(url, "rb", cache_type="none")
        file = opened.open()
    except FileNotFoundError as error:
        raise AccessError(Problem(code="IO-001", message="nothing there", at=url, hint="check the URL")) from error
    except Exception as error:  # each kind of file system has its own
        raise AccessError(Problem(code="IO-015", message=f"cannot be opened: {reason(error)}", at=url)) from error
    source = StreamSource(file, url)
    source.owner = opened  # which closes the file when it goes
    return source
