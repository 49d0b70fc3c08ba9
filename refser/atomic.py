"""Files and directories that appear whole or not at all.

Spec: spec/files.md (IO-005 to IO-008).  Not here: what is written (layouts).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from refser.errors import AccessError, Problem

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


def refuse_existing(path: str, overwrite: bool) -> None:
    """Raise `AccessError` when something is at `path` and may not be replaced [IO-005], or when it names no place."""
    if not path:  # which the system would take for the current directory
        raise AccessError(Problem(code="IO-005", message="an empty path; wanted the name of a file or a directory"))
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


def temporary_beside(path: str) -> str:
    """A name in the same directory, hence on the same file system, that nobody else uses."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise AccessError(Problem(code="IO-001", message="no such directory to write to", at=folder, hint="create it first"))
    return os.path.join(folder, f".{name[:50]}.{_token()}.tmp")  # any name fits that fits itself


@contextmanager
def new_file(path: str, *, overwrite: bool) -> Iterator[str]:
    """The name of a temporary file to write; on leaving it is flushed to disk and takes the place of `path` [IO-006].

    Whatever happens inside, `path` is the old file or the new one.  Raises `AccessError` when it exists and may not be
    replaced, or when the file system refuses.
    """
    refuse_existing(path, overwrite)
    if os.path.exists(path) and not os.path.isfile(path):
        found = "a directory" if os.path.isdir(path) else "a FIFO, a device or a socket"
        message = f"{found} is here; wanted a place for a file"
        raise AccessError(Problem(code="IO-005", message=message, at=path, hint="remove it or choose another name"))
    target = os.path.realpath(path)  # a link stays a link to the new file [IO-012]
    temporary = temporary_beside(target)
    try:
        with translated(path):
            yield temporary
            flush(temporary)
            _keep_mode(target, temporary)
            if overwrite:
                os.replace(temporary, target)
            else:
                _move_to_free(temporary, target)
            flush(os.path.dirname(target))
    finally:
        forget(temporary)


@contextmanager
def new_directory(path: str, *, overwrite: bool, members: Collection[str]) -> Iterator[str]:
    """The same for a directory: it is built beside `path` and swapped in whole [IO-011].

    `members` are the names that the layout has at the top: a directory with anything else in it is never replaced [IO-007].
    """
    refuse_existing(path, overwrite)
    if os.path.lexists(path) and not os.path.isdir(path):
        message = "a file is here; wanted a place for a directory"
        raise AccessError(Problem(code="IO-005", message=message, at=path, hint="remove it or choose another name"))
    target = os.path.realpath(path)
    _refuse_foreign(target, members)
    temporary = temporary_beside(target)
    try:
        with translated(path):
            os.mkdir(temporary)
            yield temporary
            for folder, _, names in os.walk(temporary, topdown=False):
                for name in names:
                    flush(os.path.join(folder, name))
                flush(folder)
            _keep_mode(target, temporary)
            _refuse_foreign(target, members)  # what came while the new one was written
            if not os.path.lexists(target):
                os.rename(temporary, target)
            elif not overwrite:
                raise _exists(path)
            elif not _exchange(temporary, target):
                _swap_by_two_renames(temporary, target)
            flush(os.path.dirname(target))
    finally:
        forget(temporary)


def new_file_set(
    index: str,
    parts: Mapping[str, str],
    text: Callable[[Mapping[str, str]], bytes],
    *,
    overwrite: bool,
    stale: Sequence[str] = (),
) -> None:
    """Put the files that an index names in place, and the index, so that the index never names a file of another set [IO-008].

    `parts` maps each file's name beside the index to the flushed temporary file that holds it; `text` gives the index for a
    map of those names to the names really used; `stale` are files of the old set, removed at the end.  Where a name is
    taken, the new files first get names of their own, the index moves over to them, and only then are the old ones replaced.
    """
    refuse_existing(index, overwrite)
    folder = os.path.dirname(os.path.abspath(index))
    place = {name: os.path.join(folder, name) for name in parts}
    taken = [path for path in place.values() if os.path.lexists(path)]
    if taken and not overwrite:
        raise _exists(taken[0])
    with translated(index):
        token = _token()
        held = {name: f"{token}-{name}" if taken else name for name in parts}
        try:
            for name, temporary in parts.items():
                _move_to_free(temporary, os.path.join(folder, held[name]))
            flush(folder)
            _write_index(index, text(held))
        except BaseException:  # the old index stands, so the new files are nobody's
            for name in held.values():
                forget(os.path.join(folder, name))
            raise
        if taken:
            for name, path in place.items():
                _replace_by_copy(os.path.join(folder, held[name]), path)
            flush(folder)
            _write_index(index, text({name: name for name in parts}))
        for name in {*stale, *held.values()} - set(parts):
            forget(os.path.join(folder, name))


def _write_index(index: str, data: bytes) -> None:
    with new_file(index, overwrite=True) as temporary, open(temporary, "wb") as file:
        file.write(data)


def _replace_by_copy(source: str, target: str) -> None:
    """`target` becomes `source` in one step while `source` stays: a second link, or a copy where there are none."""
    import shutil

    temporary = temporary_beside(target)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        flush(temporary)
    os.replace(temporary, target)


def _refuse_foreign(directory: str, members: Collection[str]) -> None:
    if os.path.isdir(directory) and (foreign := sorted(set(os.listdir(directory)) - set(members))):
        message = f"holds {foreign[0]!r}, which is no part of a model; wanted a model directory or an empty one to replace"
        raise AccessError(Problem(code="IO-007", message=message, at=directory, hint="choose another name"))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """The file system's refusals as `AccessError`."""
    try:
        yield
    except OSError as error:
        message = f"cannot be written: {(error.strerror or str(error)).lower()}"
        raise AccessError(Problem(code="IO-003", message=message, at=path)) from error


def _exists(path: str) -> AccessError:
    message = "exists already, and replacing it was not asked for"
    return AccessError(Problem(code="IO-005", message=message, at=path, hint="pass overwrite=True or --overwrite"))


def _move_to_free(temporary: str, target: str) -> None:
    """Rename without replacing what may have appeared meanwhile: a link fails where a rename would not."""
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError:  # a file system without hard links: the check above is all there is
        refuse_existing(target, False)
        os.rename(temporary, target)


def _exchange(first: str, second: str) -> bool:
    """Swap two names in one step, where the system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return call is not None and call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0


def _swap_by_two_renames(temporary: str, target: str) -> None:
    """Where no exchange exists the old directory has another name for a moment, and is put back when the second step fails."""
    import shutil

    aside = temporary_beside(target)
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _keep_mode(target: str, temporary: str) -> None:
    """What replaces a file or a directory keeps its permissions; a new one has what the umask gives."""
    import shutil

    if os.path.exists(target):
        shutil.copymode(target, temporary)


def flush(path: str) -> None:
    """fsync; a directory's entry table too, where the system lets a directory be opened."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.path.isdir(path):
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not os.path.isdir(path):
            raise
    finally:
        os.close(handle)


def forget(temporary: str) -> None:
    import shutil

    if os.path.isdir(temporary):
        shutil.rmtree(temporary, ignore_errors=True)
    elif os.path.lexists(temporary):
        os.unlink(temporary)


def _token() -> str:
    """What nobody else has in a name."""
    return os.urandom(6).hex()
