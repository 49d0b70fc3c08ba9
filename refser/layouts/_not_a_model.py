"""What a path is when it is no Keras model, as the error to raise.

Spec: spec/identify.md (FT-003 to FT-012).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from refser.errors import InvalidError, MalformedError, Problem, RefserError, UnsupportedError

if TYPE_CHECKING:
    from refser.zipio import Archive

_WANTED = "wanted a Keras model (.keras, .h5, .weights.h5, .weights.json, a model directory or a config)"
_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = rb"(?is)\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b"
# First bytes of what people hand in by mistake -> what it is, what to do.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"\x93NUMPY", "a NumPy .npy array", "it holds one array and no model"),
    (b"GGUF", "a GGUF model", "it was not saved by Keras"),
    (b"<?xml", "an XML file", "the download may be an error page: fetch the file itself"),
)
_TENSORFLOW = {"saved_model.pb": "a TensorFlow SavedModel", "saved_model.pbtxt": "a TensorFlow SavedModel"}


def empty_file(path: str) -> RefserError:
    hint = "the download or the copy did not finish: fetch it again"
    return MalformedError(Problem(code="FT-003", message=f"an empty file; {_WANTED}", at=path, hint=hint))


def not_a_model_file(path: str, head: bytes) -> RefserError:
    """What the first bytes say it is."""
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
        stands_for = f" for a file of {int(size[1]):,} bytes" if size else ""
        message = f"a git-LFS pointer{stands_for}, not the file itself; {_WANTED}"
        return InvalidError(Problem(code="FT-004", message=message, at=path, hint="run `git lfs pull`"))
    if re.match(_HTML, head):
        hint = "the download gave an error or login page: fetch the file itself"
        return InvalidError(Problem(code="FT-005", message=f"an HTML page; {_WANTED}", at=path, hint=hint))
    for start, found, hint in _OTHERS:
        if head.startswith(start):
            return InvalidError(Problem(code="FT-006", message=f"{found}; {_WANTED}", at=path, hint=hint))
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        message, hint = f"a pickle, which can run code and is not read; {_WANTED}", "save the model itself from Keras"
        return InvalidError(Problem(code="FT-006", message=message, at=path, hint=hint))
    if len(head) > 262 and head[257:262] == b"ustar":
        return InvalidError(Problem(code="FT-006", message=f"a tar archive; {_WANTED}", at=path, hint="unpack it first"))
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        message, hint = f"a safetensors file; {_WANTED}", "it was not saved by Keras"
        return InvalidError(Problem(code="FT-006", message=message, at=path, hint=hint))
    if _is_tf_checkpoint(path):
        message = "part of a TensorFlow checkpoint; refser does not read these yet"
        return UnsupportedError(Problem(code="FT-011", message=message, at=path))
    message = f"a file that starts with {head[:8]!r}, which is neither zip, HDF5 nor JSON; {_WANTED}"
    return InvalidError(Problem(code="FT-006", message=message, at=path))


def _is_tf_checkpoint(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(".index") or name == "checkpoint" or re.search(r"\.data-\d{5}-of-\d{5}$", name) is not None


def not_a_model_archive(path: str, archive: Archive) -> RefserError:
    names = list(archive.sizes)
    nested = next((name for name in names if name.endswith("/config.json")), None)
    if nested is not None:
        found, hint = f"a zip with the model one folder down ({nested!r})", "unpack it and open that folder"
    elif any(name.endswith("data.pkl") for name in names):
        found, hint = "a PyTorch archive", "it was not saved by Keras"
    elif names and all(name.endswith(".npy") for name in names):
        found, hint = "a NumPy .npz archive", "it holds arrays and no model"
    elif "config.json" in names:
        found, hint = "a zip with a config.json and neither weights nor metadata", ""
    elif inner := next((name for name in names if name.endswith((".keras", ".h5"))), None):
        found, hint = f"a zip that packs {inner!r}", "unpack it first"
    else:
        found, hint = f"a zip of {len(names):,} members without a config.json", ""
    message = f"{found}; wanted a .keras archive (config.json, metadata.json, model.weights.h5)"
    return InvalidError(Problem(code="FT-009", message=message, at=path, hint=hint))


def not_a_model_directory(path: str) -> RefserError:
    names = sorted(os.listdir(path))
    for name, found in _TENSORFLOW.items():
        if name in names:
            message = f"{found}; refser does not read these yet"
            hint = "load it with tf.keras 2.15 and save it as .keras"
            return UnsupportedError(Problem(code="FT-011", message=message, at=path, hint=hint))
    if "checkpoint" in names or any(name.endswith(".index") for name in names):
        message = "a directory of TensorFlow checkpoints; refser does not read these yet"
        return UnsupportedError(Problem(code="FT-011", message=message, at=path))
    if "_CHECKPOINT_METADATA" in names or any(os.path.isdir(os.path.join(path, name, "pytree")) for name in names[:64]):
        message = "an Orbax checkpoint; refser does not read these"
        return UnsupportedError(Problem(code="FT-011", message=message, at=path, hint="save the model as .keras"))
    models = [name for name in names if name.endswith((".keras", ".h5", ".weights.json"))]
    hint = f"name the file: {os.path.join(path, models[0])}" if models else ""
    holds = f"{len(names):,} entries and no config.json beside model.weights.h5" if names else "nothing in it"
    message = f"a directory with {holds}; wanted a model directory (config.json, metadata.json, model.weights.h5)"
    return InvalidError(Problem(code="FT-007", message=message, at=path, hint=hint))
