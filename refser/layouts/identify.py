"""Which layout a path is, by its content.

Spec: spec/identify.md (FT).  Not here: reading the layout (its module), what it is when it is none (_not_a_model).
"""

from __future__ import annotations

import os

from refser import hdf5
from refser.errors import AccessError, InvalidError, Problem, RefserError, UnsafeError
from refser.layouts._reading import Fewer, Refuse
from refser.layouts.model_file import ModelFile
from refser.limits import Limits
from refser.source import FileSource, Source, kind_of

_MARKED_JSON = (b"\xef\xbb\xbf{", b"\xff\xfe{\0", b"\xfe\xff\0{")  # JSON behind a byte order mark, refused as that [JS-001]
_HEAD = 512
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


def open_layout(path: str, *, limits: Limits, source: Source | None = None, refuse: Refuse | None = None) -> ModelFile:
    """Open whatever is at `path`, or what `source` has, whatever its name [FT-001].

    Raises the `RefserError` that says what it is instead, or the first that is wrong with it; with `refuse`, what is wrong
    with a part of the model goes there, and is raised only when there is nothing else to look at.
    """
    refuse = None if refuse is None else Fewer(refuse)
    try:
        if source is None and "://" in path:
            from refser.stream import is_url, open_url

            source = open_url(path) if is_url(path) else None
        if source is None and kind_of(path) == "directory":
            return _open_directory(path, limits, refuse)
        file = _open_file(path, source or FileSource(path), limits, refuse)
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise AccessError(Problem(code="IO-003", message=message, at=path)) from error
    file.problems = (*_name_problems(path, file.layout), *file.problems)
    return file


# Each way imports what it needs: looking at one file costs no more modules than its layout has.


def _open_directory(path: str, limits: Limits, refuse: Refuse | None) -> ModelFile:
    from refser.layouts import keras_dir

    if keras_dir.detect_keras_dir(path) or (refuse is not None and keras_dir.has_part(path)):
        return keras_dir.read_keras_dir(path, limits=limits, refuse=refuse)
    from refser.layouts._not_a_model import not_a_model_directory

    raise not_a_model_directory(path)


def _open_file(path: str, source: Source, limits: Limits, refuse: Refuse | None) -> ModelFile:
    head = source.head(_HEAD)
    if not head:
        from refser.layouts._not_a_model import empty_file

        raise empty_file(path)
    superblock = 0 if head.startswith(hdf5.SIGNATURE) else None
    if superblock is None and (head.startswith(b"PK\x03\x04") or _is_zip(source)):  # [FT-008]
        return _open_zip(path, source, limits, refuse)
    if superblock == 0 or hdf5.find_superblock(source) is not None:
        if superblock == 0 and refuse is not None and _has_directory(source):
            message = "an HDF5 file that is a zip archive too, which nobody looked into; wanted a file that is one of them"
            hint = "by its name Keras may take it for the archive"
            refuse(UnsafeError(Problem(code="FT-015", message=message, at=source.name, hint=hint)))
        return _open_hdf5(path, source, limits, refuse)
    if head.lstrip()[:1] in (b"{", b"[") or head.startswith(_MARKED_JSON):
        return _open_json(path, source, limits, refuse)
    from refser.layouts._not_a_model import not_a_model_file

    raise not_a_model_file(path, head)


def _is_zip(source: Source) -> bool:
    from refser import zipio

    return zipio.is_zip(source)


def _has_directory(source: Source) -> bool:
    from refser import zipio

    return zipio.has_directory(source)


def _open_zip(path: str, source: Source, limits: Limits, refuse: Refuse | None) -> ModelFile:
    from refser import zipio
    from refser.layouts import keras_zip

    archive = zipio.Archive(source, limits=limits, refuse=refuse)
    if keras_zip.detect_keras_zip(archive) or (refuse is not None and keras_zip.has_part(archive)):
        return keras_zip.read_keras_zip(path, archive, limits=limits, refuse=refuse)
    from refser.layouts._not_a_model import not_a_model_archive

    raise not_a_model_archive(path, archive)


def _open_hdf5(path: str, source: Source, limits: Limits, refuse: Refuse | None) -> ModelFile:
    """A whole legacy model before legacy weights before a store: each has what the next one looks for [FT-013]."""
    root = hdf5.read_tree(source, limits=limits, refuse=refuse)
    if "model_weights" in root.children or _has_attributes(root, refuse):  # one of them is there in every legacy file
        from refser.layouts import legacy_h5

        if legacy_h5.detect_legacy_h5(root, refuse=refuse):
            return legacy_h5.read_legacy_h5(path, root, limits=limits, refuse=refuse)
        if legacy_h5.detect_legacy_weights_h5(root, refuse=refuse):
            return legacy_h5.read_legacy_weights_h5(path, root, limits=limits, refuse=refuse)
    from refser.layouts import weights_h5

    if weights_h5.detect_weights_h5(root):
        return weights_h5.read_weights_h5(path, root, limits=limits, refuse=refuse)
    holds = ", ".join(repr(name) for name in list(root.children)[:4]) or "nothing"
    message = f"an HDF5 file that holds {holds}; wanted one that Keras saved (model_weights, layer_names or vars)"
    raise InvalidError(Problem(code="FT-010", message=message, at=path))


def _has_attributes(root: hdf5.Group, refuse: Refuse | None) -> bool:
    try:
        return bool(root.attributes)
    except RefserError as error:
        if refuse is None:
            raise
        refuse(error)
        return False


def _open_json(path: str, source: Source, limits: Limits, refuse: Refuse | None) -> ModelFile:
    """An index or a config, by its keys [FT-014]."""
    from refser import jsonio
    from refser.layouts import config_json, weights_sharded

    size = min(source.size, limits.json_bytes + 1)
    text = jsonio.decode_text(source.view(0, size), limits=limits, at=source.name)
    value = jsonio.parse(text, limits=limits, at=source.name)
    if weights_sharded.detect_weights_sharded(value):
        return weights_sharded.read_weights_sharded(path, value, limits=limits, refuse=refuse)
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
