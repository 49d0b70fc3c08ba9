"""The program of a process of its own in which libhdf5 reads one file, and may crash.

Spec: spec/hdf5-holes.md (H5-094 to H5-096), spec/limits.md (LI-013 to LI-015).  What goes over stdin and stdout is told in
_apart, the other side.  The file is not opened here: bytes of it are asked for.  Python runs this file by its path, so that the
limits hold before anything else is imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from refser.errors import RefserError
    from refser.hdf5 import Group

_FILES_FOR_IMPORTS = 64
_GRACE = 5  # seconds between being told to end and being ended


def main() -> None:
    asks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not answer
    start: dict[str, Any] = json.loads(asks.readline())
    _bound(start["seconds"], start["bytes"])
    sys.path[:] = start["path"]

    from refser.errors import RefserError
    from refser.hdf5 import Dataset, _libhdf5
    from refser.limits import Limits
    from refser.stream import StreamSource

    _warm()
    _close_doors()
    said = _Said(answers)
    said.line("ready")
    source = StreamSource(_Asking(asks, answers, start["size"]), start["name"])  # type: ignore[arg-type]  # what it uses of one
    try:
        refuse = said.fault if start["keep"] else None
        root = _libhdf5.read_tree(source, limits=Limits(**start["limits"]), refuse=refuse)
        _describe(root, source, said)
    except RefserError as error:
        said.error(error)
        return
    while line := asks.readline():
        try:
            node = root.get(json.loads(line))
            if not isinstance(node, Dataset):
                raise AssertionError("an array that is not there")
            data = node.weight(node.path).source.read()
            said.line("values", len(data))
            answers.write(data)
            answers.flush()
        except RefserError as error:
            said.error(error)
        except MemoryError:
            said.line("memory")


class _Said:
    """What goes to the other side: a list in JSON on one line."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers

    def line(self, *values: object) -> None:
        self._answers.write(json.dumps(values).encode("ascii") + b"\n")
        self._answers.flush()

    def fault(self, error: RefserError) -> None:
        self.line("fault", *_fields(error))

    def error(self, error: RefserError) -> None:
        self.line("error", *_fields(error))


def _fields(error: RefserError) -> tuple[str, ...]:
    problem = error.problem
    return type(error).__name__, problem.code, problem.message, problem.at, problem.hint


def _describe(root: Group, source: object, said: _Said) -> None:
    """Every group before what it holds."""
    from refser.hdf5 import Group

    todo = [root]
    while todo:
        group = todo.pop()
        said.line("group", group.path, dict(group.attributes))
        for node in group.children.values():
            if isinstance(node, Group):
                todo.append(node)
            elif node.fault is not None:
                said.line("faulty", node.path, *_fields(node.fault))
            else:
                offset = node.offset if node.source is source else None
                said.line("array", node.path, node.dtype, node.shape, node.big_endian, offset, node.length)
    for remark in root.remarks():
        said.line("remark", *remark)
    said.line("end")


def _bound(seconds: int, nbytes: int) -> None:
    """From now on: so much time and memory, nothing written to files, nothing dumped, few files open."""
    try:
        import resource
    except ImportError:  # where there is none, the other side's clock has to do
        return
    wanted = {"CPU": seconds, "FSIZE": 0, "CORE": 0, "NOFILE": _FILES_FOR_IMPORTS, "AS": nbytes}
    for name, most in wanted.items():
        number = getattr(resource, f"RLIMIT_{name}", None)
        if number is None:
            continue
        hard = resource.getrlimit(number)[1]
        limit = most + _GRACE if name == "CPU" else most
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with contextlib.suppress(ValueError, OSError):  # some systems refuse some of them
            resource.setrlimit(number, (min(most, limit), limit))


def _warm() -> None:
    """Read a file once: whatever is imported late is there before the doors close."""
    import h5py
    import numpy as np

    from refser.hdf5 import Dataset, _libhdf5
    from refser.limits import Limits
    from refser.source import MemorySource

    stream = io.BytesIO()
    with h5py.File(stream, "w", libver="latest") as file:
        file.attrs["text"] = "a"
        file.create_dataset("text", data=["a"], dtype=h5py.string_dtype())
        file.create_dataset("many", data=np.zeros(9), chunks=(2,), maxshape=(None,), compression="gzip", shuffle=True)
    root = _libhdf5.read_tree(MemorySource(stream.getvalue(), "warm"), limits=Limits(), refuse=lambda error: None)
    _describe(root, None, _Said(io.BytesIO()))
    for node in root.children.values():
        if isinstance(node, Dataset):
            node.weight(node.path).source.read()


def _close_doors() -> None:
    """Neither a file nor a socket can be opened from now on: every descriptor that there may be is in use."""
    try:
        import resource
    except ImportError:
        return
    most = 1 + max(handle for handle in range(_FILES_FOR_IMPORTS) if _is_open(handle))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for handle in range(most):
        if not _is_open(handle):
            os.dup2(2, handle)


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


class _Asking:
    """The file, as far as a source behind a stream wants one: each range of bytes is asked for."""

    def __init__(self, asks: BinaryIO, answers: BinaryIO, size: int) -> None:
        self._asks, self._answers, self._size, self._at = asks, answers, size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = self._size if whence == 2 else offset
        return self._at

    def read(self, length: int) -> bytes:
        self._answers.write(json.dumps(["read", self._at, length]).encode("ascii") + b"\n")
        self._answers.flush()
        data = self._asks.read(length)
        if len(data) < length:
            os._exit(0)  # nobody is there any more
        self._at += length
        return data


if __name__ == "__main__":
    main()
