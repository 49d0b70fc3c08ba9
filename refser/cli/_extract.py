"""Weights as .npy files in a folder, or in one .npz archive.

Spec: spec/command-line.md (CL-023 to CL-026).  Not here: making files appear whole (atomic).
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from refser import atomic
from refser.cli._outcome import NotDoneError
from refser.cli._screen import Progress
from refser.errors import Problem
from refser.values import DTYPES, Weight
from refser.zipwrite import ArchiveWriter

if TYPE_CHECKING:
    from refser.values import Array

_NAME_MAX = 200  # bytes; file systems take 255, with the suffix
_ZIP_NAME_MAX = 65_535
_RESERVED = set('<>:"\\|?*%')  # by Windows, and % by what stands for them here
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{name}{number}" for name in ("COM", "LPT") for number in range(1, 10))}


def saved_dtype(weight: Weight) -> str:
    """The dtype in the .npy file: float32 for what NumPy itself has no name for [CL-026]."""
    return "float32" if DTYPES[weight.dtype][0].startswith("V") else weight.dtype


def to_npz(weights: Sequence[Weight], path: str, *, overwrite: bool) -> list[str]:
    """One archive, keys the inner paths; the names of its members."""
    for weight in weights:
        if len(weight.path.encode("utf-8")) + 4 > _ZIP_NAME_MAX:
            message = f"a path of {len(weight.path):,} characters; a zip holds none so long"
            raise NotDoneError(Problem(code="CL-023", message=message, at=path, hint="extract into a folder"))
    with atomic.new_file(path, overwrite=overwrite) as temporary, open(temporary, "xb") as file:
        archive = ArchiveWriter(file)
        for weight, array in _arrays(weights):
            archive.write(f"{weight.path}.npy", (_npy_header(array), _raw(array)))
        archive.finish()
    return [f"{weight.path}.npy" for weight in weights]


def to_folder(weights: Sequence[Weight], path: str, *, overwrite: bool) -> list[str]:
    """One file per weight, below `path` whatever the weights are called; the files, relative to it [CL-024].

    An earlier extraction is replaced whole, and only when it holds nothing but .npy files [CL-025].
    """
    files = file_names([weight.path for weight in weights])
    there = os.listdir(path) if os.path.isdir(path) else []
    if overwrite and (foreign := _foreign(path)) is not None:
        message = f"holds {foreign!r}, which is no extracted weight; wanted a folder of .npy files to replace"
        raise NotDoneError(Problem(code="CL-025", message=message, at=path, hint="choose another name"))
    free = os.path.isdir(path) and not there
    with atomic.new_directory(path, overwrite=overwrite or free, members=there) as temporary:
        for (_, array), name in zip(_arrays(weights), files):
            target = os.path.join(temporary, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "xb") as file:
                file.write(_npy_header(array))
                file.write(_raw(array))
    return files


def file_names(paths: Iterable[str]) -> list[str]:
    """A relative file name for each path, each of its own even where case and accents do not count [CL-024]."""
    taken: set[str] = set()
    names = []
    for path in paths:
        *folders, last = path.split("/")
        stem = "/".join([*(_folder(part) for part in folders), _safe(last)])
        name, count = f"{stem}.npy", 1
        while _folded(name) in taken:
            count += 1
            name = f"{stem}~{count}.npy"
        taken.add(_folded(name))
        names.append(name)
    return names


def _folder(part: str) -> str:
    """A folder is never named as the files are: `a.npy` is the file of `a`."""
    safe = _safe(part)
    return f"{safe[:-4]}%2E{safe[-3:]}" if safe.lower().endswith(".npy") else safe


def _safe(part: str) -> str:
    """One component that every file system takes and that hides nothing: what is special is percent-encoded."""
    last = len(part) - 1
    safe = "".join(
        _encoded(char) if _is_special(char) or (char == "." and at in (0, last)) or (char == " " and at == last) else char
        for at, char in enumerate(part)
    )
    if safe.partition(".")[0].upper() in _DEVICES:
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    raw = os.fsencode(safe)
    if len(raw) > _NAME_MAX:
        digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        safe = f"{raw[: _NAME_MAX - 17].decode('utf-8', 'ignore')}~{digest}"
    return safe or "%"


def _is_special(char: str) -> bool:
    if char.isascii():
        return char in _RESERVED or not char.isprintable()
    try:
        os.fsencode(char)
    except UnicodeEncodeError:  # a file system whose names are not UTF-8
        return True
    return not char.isprintable()


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _foreign(path: str) -> str | None:
    """Something below `path` that no extraction has put there: the first that is met."""
    for folder, below, files in os.walk(path):
        links = [name for name in below if os.path.islink(os.path.join(folder, name))]
        for name in (*links, *(file for file in files if not file.endswith(".npy"))):
            return os.path.relpath(os.path.join(folder, name), path)
    return None


def _arrays(weights: Sequence[Weight]) -> Iterator[tuple[Weight, Array]]:
    """One array after another, in C order, each let go before the next."""
    progress = Progress(len(weights), "extracting")
    try:
        for done, weight in enumerate(weights):
            progress.step(done)
            array = weight.array()
            yield weight, array.astype("float32") if saved_dtype(weight) != weight.dtype else array
    finally:
        progress.end()


def _npy_header(array: Array) -> bytes:
    """What stands before the elements in a .npy file."""
    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return header.getvalue()


def _raw(array: Array) -> memoryview:
    import numpy as np

    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
