"""open, load, save, validate: what Python code calls.

Spec: spec/introduction.md, spec/files.md (IO-010, IO-016, IO-018).  Not here: the layouts (layouts), the command line (cli).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from refser.errors import InvalidError, Problem
from refser.layouts import LAYOUTS, ModelFile, open_layout
from refser.limits import DEFAULT_LIMITS, UNTRUSTED_LIMITS, Limits
from refser.values import Model, Weight

if TYPE_CHECKING:
    import numpy.typing as npt

    from refser.checks import Report
    from refser.output import NewFile, Stream, Writable
    from refser.rules.summary import Summary
    from refser.source import Source
    from refser.values import Array

Path = str | bytes | os.PathLike[str]


def open(path: Path | BinaryIO, *, limits: Limits = DEFAULT_LIMITS) -> ModelFile:
    """Open any Keras layout, recognised by its content.  Reads the directory of the file and no array.

    `path` may be a seekable binary file too, which has to stay open, and a URL (`s3://`, `hf://`, `https://`) where fsspec
    is installed (`pip install refser[remote]`): then only what is looked at is fetched [IO-013].

    Raises `AccessError` when there is nothing to read, `UnsupportedError` for what refser does not do (npz weights,
    SavedModel), `UnsafeError`, `LimitError`, `MalformedError` or `InvalidError` for what is wrong with the file.
    """
    if not isinstance(limits, Limits):
        raise TypeError(f"a {type(limits).__name__} as limits; wanted refser.Limits(...)")
    text, source = _opened(path)
    return open_layout(text, limits=limits, source=source)


def _opened(path: Path | BinaryIO) -> tuple[str, Source | None]:
    """A path as text, or a binary file's name and its bytes."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return _path_text(path), None
    from refser.stream import StreamSource

    name = str(getattr(path, "name", "") or "a stream")
    return name, StreamSource(path, os.path.basename(name))


def load(path: Path | BinaryIO, *, limits: Limits = DEFAULT_LIMITS) -> Model:
    """The whole model in memory: config, metadata, weights, assets.  Raises what `open` raises."""
    with open(path, limits=limits) as file:
        return file.load()


def save(
    model: Model | ModelFile,
    path: Path | Writable,
    *,
    layout: str | None = None,
    overwrite: bool = False,
    max_shard_size: float | None = None,
    hdf5_readable: bool = False,
) -> None:
    """Write `model` in the layout that the name stands for, or in `layout`.

    `.keras` is the archive, `.weights.h5` and `.weights.json` (with `max_shard_size` in GiB, as in Keras) its weights,
    `.json` its config, a name that ends in none of these and has no `.` the directory, `.h5` and `.hdf5` the legacy
    layout, for a model of that generation.  The place ends up with the old file or the new one, never with half [IO-006];
    the same model gives the same bytes [IO-009].

    `path` may be a binary file object too, which need not seek (a pipe, a socket, `sys.stdout.buffer`) and stays open: it
    gets the bytes of the file one after another [IO-016], and when something fails it may have got a part of them.
    Without `layout` it gets the archive, or `weights-h5` when there is no config; of a legacy model `legacy-h5`, or
    `legacy-weights-h5` [IO-018].  Each array is read twice for an archive, whose headers come before the data.

    With `hdf5_readable` a `.keras` archive is an HDF5 file as well, for any tool that reads those [KZ-019].

    Raises `AccessError` when something is there and `overwrite` is false, or when a stream fails, `InvalidError` for a
    model that the layout cannot hold, or for a layout of several files and a stream.
    """
    from refser.output import NewFile, Stream

    output = _output(path, overwrite)
    if isinstance(model, ModelFile):
        model = model.model()
    if not isinstance(model, Model):
        raise TypeError(f"a {type(model).__name__} to save; wanted a refser.Model or an open refser.ModelFile")
    name = layout or (layout_for_stream(model) if isinstance(output, Stream) else layout_for(output.name, model))
    check_layout(name, model, output.name)
    options: dict[str, Any] = {}
    if max_shard_size is not None:
        if name != "weights-sharded":
            message = f"a max_shard_size for the layout {name}; only weights-sharded has shards"
            raise InvalidError(Problem(code="SH-008", message=message, at=output.name, hint="name it *.weights.json"))
        options["max_shard_size"] = max_shard_size
    if hdf5_readable:
        if name != "keras-zip":
            message = f"hdf5_readable for the layout {name}; only keras-zip has its weights inside another file"
            raise InvalidError(Problem(code="KZ-019", message=message, at=output.name, hint="name it *.keras"))
        options["hdf5_readable"] = True
    if LAYOUTS[name].one_file:
        LAYOUTS[name].write(model, output, **options)
    elif isinstance(output, NewFile):
        LAYOUTS[name].write(model, output.name, overwrite=overwrite, **options)
    else:
        message = f"the layout {name}, which is several files, for a stream"
        one = ", ".join(other for other, row in LAYOUTS.items() if row.one_file and row.generation in (None, model.generation))
        raise InvalidError(Problem(code="IO-016", message=message, at=output.name, hint=f"choose one of {one}"))


def summary(path: Path | BinaryIO, *, limits: Limits = DEFAULT_LIMITS, expand_nested: bool = False) -> Summary:
    """The table that Keras's `model.summary()` prints, from the config alone; `str()` of it is the table.

    Raises what `open` raises, and `InvalidError` for a file without a config or a config that describes no model.
    """
    from refser.rules.summary import summarize

    with open(path, limits=limits) as file:
        if file.config_json is None:
            message = f"weights alone ({file.layout}); wanted a file with a config"
            raise InvalidError(Problem(code="WT-014", message=message, at=file.path, hint="name the whole model"))
        return summarize(file.config, keras_version=file.keras_version, expand_nested=expand_nested)


def validate(
    path: Path | BinaryIO,
    *,
    limits: Limits = UNTRUSTED_LIMITS,
    target: str | None = None,
    values: bool = False,
    deep: bool = False,
    suppress: Collection[str] = (),
    also_allow: Collection[str] = (),
    strict: bool = False,
) -> Report:
    """Whether a file is sound, whether its config and weights agree, and whether it is safe to hand to Keras.

    Nothing in the file is run, imported, fetched or followed.  The verdict is "unsafe", "invalid", "unchecked" or "valid"
    [VR-001]; every problem has the ID of a requirement.  `target`, such as "keras==3.12", asks whether that version loads
    it.  `values` looks for NaN and infinity; `deep` compares checksums too, and so reads every byte.  `suppress` leaves codes
    out, `also_allow` names custom objects that the loader has ("package>Class" or "module.Class"), `strict` takes warnings
    for errors.

    libhdf5 is not let near the file unless `limits` allow it, and then works in a process of its own.  What is wrong with the
    file is in the report and never raised, a path where nothing is included.  Raises `ValueError` for a target that is no
    version, or none that refser knows.
    """
    from refser.checks import Options, validate_layout

    if not isinstance(limits, Limits):
        raise TypeError(f"a {type(limits).__name__} as limits; wanted refser.Limits(...)")
    if target is not None:
        from refser.checks.target import read_target

        read_target(target)
    options = Options(target=target, values=values, deep=deep, also_allow=frozenset(also_allow))
    text, source = _opened(path)
    return validate_layout(text, limits=limits, options=options, suppress=suppress, strict=strict, source=source)


def load_weights(path: Path | BinaryIO, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Array]:
    """Every weight by inner path, each an owned, writable array.  Raises what `open` raises."""
    with open(path, limits=limits) as file:
        return {inner: weight.array(copy=True) for inner, weight in file.weights.items()}


def save_weights(
    weights: Mapping[str, npt.ArrayLike],
    path: Path | Writable,
    *,
    max_shard_size: float | None = None,
    overwrite: bool = False,
) -> None:
    """Write arrays by inner path (`layers/dense/vars/0`) to `.weights.h5`, or to shards (`.weights.json`).

    `path` may be a binary file object, as in `save`: it gets the bytes of a `.weights.h5`.  `max_shard_size` is in GiB, as
    in Keras.  Raises `InvalidError` for a path or a dtype that the layout cannot hold.
    """
    model = Model(weights={inner: Weight.from_array(inner, array) for inner, array in weights.items()})
    layout = "weights-h5"
    if isinstance(path, (str, bytes, os.PathLike)):
        target = _path_text(path)
        layout = layout_for(target, model)
        if layout not in ("weights-h5", "weights-sharded"):
            message = f"the name {os.path.basename(target)!r} for weights; wanted one that ends in .weights.h5 or .weights.json"
            raise InvalidError(Problem(code="IO-010", message=message, at=target))
    save(model, path, layout=layout, max_shard_size=max_shard_size, overwrite=overwrite)


def _path_text(path: Path) -> str:
    """A path as text, bytes too."""
    return os.fsdecode(path)


def _output(path: Path | Writable, overwrite: bool) -> NewFile | Stream:
    from refser.output import NewFile, Stream

    if isinstance(path, (str, bytes, os.PathLike)):
        return NewFile(_path_text(path), overwrite=overwrite)
    if not callable(getattr(path, "write", None)):
        raise TypeError(f"a {type(path).__name__} to write to; wanted a path or a binary file object")
    return Stream(path)


def layout_for(path: str, model: Model) -> str:
    """The layout that a name stands for.  Raises `InvalidError` when it stands for none [IO-010]."""
    name = os.path.basename(path.rstrip("/" + os.sep))
    if not name:
        message = f"the path {path!r}, which names no file; wanted a name"
        raise InvalidError(Problem(code="IO-010", message=message, at=path))
    if path.endswith(("/", os.sep)) or "." not in name:
        return "keras-dir"
    for suffix, layout in ((".weights.json", "weights-sharded"), (".json", "config-json"), (".keras", "keras-zip")):
        if name.endswith(suffix):
            return layout
    if name.endswith(".weights.h5"):
        return "weights-h5"
    if name.endswith((".h5", ".hdf5")):
        if model.generation == "legacy" and model.config_json is None:
            return "legacy-weights-h5"
        return "legacy-h5"
    known = ", ".join(layout.example for layout in LAYOUTS.values())
    message = f"the name {name!r}, which stands for no layout; wanted one like {known}"
    raise InvalidError(Problem(code="IO-010", message=message, at=path, hint="or name the layout"))


def layout_for_stream(model: Model) -> str:
    """The layout for a place without a name [IO-018]."""
    whole = model.config_json is not None
    if model.generation == "legacy":
        return "legacy-h5" if whole else "legacy-weights-h5"
    return "keras-zip" if whole else "weights-h5"


def check_layout(name: str, model: Model, path: str) -> None:
    """Raise `InvalidError` for a layout that does not exist or belongs to the other generation [IO-010]."""
    if name not in LAYOUTS:
        message = f"a layout {name!r}; wanted one of {', '.join(LAYOUTS)}"
        raise InvalidError(Problem(code="IO-010", message=message, at=path))
    wanted = LAYOUTS[name].generation
    if wanted not in (None, model.generation):
        same = ", ".join(other for other, layout in LAYOUTS.items() if layout.generation in (None, model.generation))
        message = f"a model of the {model.generation} generation for the layout {name}, which is of the {wanted} one"
        hint = f"choose one of {same}; between the generations Keras itself has to convert"
        raise InvalidError(Problem(code="IO-010", message=message, at=path, hint=hint))
