"""Which layout a path is, by its content; and what it is instead when it is none.

Spec: spec/identify.md (FT).  Not here: reading the layout (its module).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from refser import hdf5, jsonio
from refser.errors import AccessError, InvalidError, MalformedError, Problem, RefserError, UnsupportedError
from refser.layouts.model_file import ModelFile
from refser.limits import Limits
from refser.source import FileSource, Source, kind_of
from refser.stream import is_url, open_url

if TYPE_CHECKING:
    from refser.zipio import Archive

_WANTED = "wanted a Keras model (.keras, .h5, .weights.h5, .weights.json, a model directory or a config)"
_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_MARKED_JSON = (b"\xef\xbb\xbf{", b"\xff\xfe{\0", b"\xfe\xff\0{")  # JSON behind a byte order mark, refused as that [JS-001]
_HEAD = 512
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
# Layout -> how a name that people give it ends.  A name that ends otherwise is taken as it is.
_SUFFIXES = {
    ".weights.json": ("weights-sharded",),
    ".weights.h5": ("weights-h5", "legacy-weights-h5"),
    ".keras": ("keras-zip",),
}
_HDF5 = ("weights-h5", "legacy-h5", "legacy-weights-h5")
_NAMES = {
    "keras-zip": "a zip archive in the Keras 3 layout",
    "legacy-h5": "an HDF5 file in the legacy whole-model layout",
    "legacy-weights-h5": "an HDF5 file in the legacy weights layout",
    "weights-h5": "an HDF5 file in the Keras 3 weights layout",
    "weights-sharded": "an index of sharded weights",
    "config-json": "a bare config",
}


def open_layout(path: str, *, limits: Limits, source: Source | None = None) -> ModelFile:
    """Open whatever is at `path`, or what `source` has, whatever its name [FT-001].

    Raises the `RefserError` that says what it is instead.
    """
    try:
        if source is None and is_url(path):
            source = open_url(path)
        if source is None and kind_of(path) == "directory":
            return _open_directory(path, limits)
        file = _open_file(path, source or FileSource(path), limits)
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise AccessError(Problem(code="IO-003", message=message, at=path)) from error
    file.problems = (*_name_problems(path, file.layout), *file.problems)
    return file


# Each way imports what it needs: looking at one file costs no more modules than its layout has.


def _open_directory(path: str, limits: Limits) -> ModelFile:
    from refser.layouts import keras_dir

    if keras_dir.detect_keras_dir(path):
        return keras_dir.read_keras_dir(path, limits=limits)
    raise _not_a_model_directory(path)


def _open_file(path: str, source: Source, limits: Limits) -> ModelFile:
    head = source.head(_HEAD)
    if not head:
        hint = "the download or the copy did not finish: fetch it again"
        raise MalformedError(Problem(code="FT-003", message=f"an empty file; {_WANTED}", at=path, hint=hint))
    superblock = 0 if head.startswith(hdf5.SIGNATURE) else None
    if superblock is None and (head.startswith(b"PK\x03\x04") or _is_zip(source)):  # [FT-008]
        return _open_zip(path, source, limits)
    if superblock == 0 or hdf5.find_superblock(source) is not None:
        return _open_hdf5(path, source, limits)
    if head.lstrip()[:1] in (b"{", b"[") or head.startswith(_MARKED_JSON):
        return _open_json(path, source, limits)
    raise _not_a_model_file(path, head)


def _is_zip(source: Source) -> bool:
    from refser import zipio

    return zipio.is_zip(source)


def _open_zip(path: str, source: Source, limits: Limits) -> ModelFile:
    from refser import zipio
    from refser.layouts import keras_zip

    archive = zipio.Archive(source, limits=limits)
    if keras_zip.detect_keras_zip(archive):
        return keras_zip.read_keras_zip(path, archive, limits=limits)
    raise _not_a_model_archive(path, archive)


def _open_hdf5(path: str, source: Source, limits: Limits) -> ModelFile:
    """A whole legacy model before legacy weights before a store: each has what the next one looks for [FT-013]."""
    from refser.layouts import legacy_h5, weights_h5

    root = hdf5.read_tree(source, limits=limits)
    if legacy_h5.detect_legacy_h5(root):
        return legacy_h5.read_legacy_h5(path, root, limits=limits)
    if legacy_h5.detect_legacy_weights_h5(root):
        return legacy_h5.read_legacy_weights_h5(path, root, limits=limits)
    if weights_h5.detect_weights_h5(root):
        return weights_h5.read_weights_h5(path, root, limits=limits)
    holds = ", ".join(repr(name) for name in list(root.children)[:4]) or "nothing"
    message = f"an HDF5 file that holds {holds}; wanted one that Keras saved (model_weights, layer_names or vars)"
    raise InvalidError(Problem(code="FT-010", message=message, at=path))


def _open_json(path: str, source: Source, limits: Limits) -> ModelFile:
    """An index or a config, by its keys [FT-014]."""
    from refser.layouts import config_json, weights_sharded

    size = min(source.size, limits.json_bytes + 1)
    text = jsonio.decode_text(source.view(0, size), limits=limits, at=source.name)
    value = jsonio.parse(text, limits=limits, at=source.name)
    if weights_sharded.detect_weights_sharded(value):
        return weights_sharded.read_weights_sharded(path, value, limits=limits)
    if config_json.detect_config_json(value):
        return config_json.read_config_json(path, text, value, limits=limits)
    message = "JSON that is neither a Keras config (class_name, config) nor an index of sharded weights (weight_map)"
    raise InvalidError(Problem(code="FT-012", message=message, at=path))


def _name_problems(path: str, layout: str) -> list[Problem]:
    """A name that promises another layout is worth a word, and stops nothing [FT-002]."""
    name = os.path.basename(path)
    promised = next((layouts for suffix, layouts in _SUFFIXES.items() if name.endswith(suffix)), None)
    if promised is None and name.endswith((".h5", ".hdf5")):
        promised = _HDF5
    if promised is None or layout in promised:
        return []
    suffix = {"keras-zip": ".keras", "weights-h5": ".weights.h5", "config-json": ".json", "weights-sharded": ".weights.json"}
    hint = f"Keras goes by the name: rename it to end in {suffix.get(layout, '.h5')}"
    message = f"{_NAMES[layout]} under the name {name!r}"
    return [Problem(code="FT-002", message=message, at=path, hint=hint)]


def _not_a_model_file(path: str, head: bytes) -> RefserError:
    """What the first bytes say it is."""
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
        stands_for = f" for a file of {int(size[1]):,} bytes" if size else ""
        message = f"a git-LFS pointer{stands_for}, not the file itself; {_WANTED}"
        return InvalidError(Problem(code="FT-004", message=message, at=path, hint="run `git lfs pull`"))
    if _HTML.match(head):
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


def _not_a_model_archive(path: str, archive: Archive) -> RefserError:
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


def _not_a_model_directory(path: str) -> RefserError:
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
