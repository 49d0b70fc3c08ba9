"""`refser copy`: write a model in another layout of its generation.

Spec: spec/command-line.md (CL-030 to CL-037).
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace

from refser import api
from refser.cli import _outcome
from refser.cli._parser import limits_of
from refser.cli._screen import plural, size_text
from refser.errors import Problem, RefserError, printable
from refser.layouts import ModelFile
from refser.layouts.weights_sharded import INDEX_SUFFIX
from refser.limits import Limits
from refser.values import Model, Weight

_WEIGHTS_ONLY = ("weights-h5", "weights-sharded", "legacy-weights-h5")


def run(args: Namespace) -> int:
    """Reads SRC while it writes DST, which takes its place last: whatever goes wrong, both are as before [CL-033]."""
    limits = limits_of(args)
    streams = args.target == "-"
    if streams:
        _check_stream(args)
    with api.open(args.file, limits=limits) as file:
        problems = _outcome.warn(file.problems)
        _check_apart(file, args.target, streams)
        model, source = file.model(), file.layout
    if args.config is not None:
        model = _with_config(model, args.config, limits)
    try:
        layout = args.layout or _layout(args, model, source, streams)
        api.check_layout(layout, model, args.target)
        if source == "config-json" and layout != "config-json":
            message = f"a bare config, which has no weights, for the layout {layout}"
            hint = "only config-json (*.json) can hold it alone; with --config it goes to a file of weights"
            raise _outcome.NotDoneError(Problem(code="CL-034", message=message, at=args.file, hint=hint))
        target = sys.stdout.buffer if streams else args.target
        api.save(
            model,
            target,
            layout=layout,
            overwrite=args.overwrite,
            max_shard_size=args.max_shard_size,
            hdf5_readable=args.hdf5_readable,  # [CL-037]
        )
    except RefserError as error:  # about the writing, so nothing is wrong with SRC [CL-001]
        if isinstance(error.__cause__, BrokenPipeError):
            raise error.__cause__ from None  # whoever read the standard output has enough [CL-005]
        raise _outcome.NotDoneError(error.problem) from error
    left_out = list(_left_out(model, layout))
    if left_out:
        _outcome.say(f"note: {layout} has no place for {_and(left_out)}, left out of {_place(args)}")
    kept = _kept(model, layout)
    size = sum(weight.nbytes for weight in kept)
    if args.json:
        content = {"source_layout": source, "target": args.target, "layout": layout, "weights": len(kept), "bytes": size}
        _outcome.print_json(args, {**content, "left_out": left_out, "problems": problems})
    elif not streams:
        print(printable(f"wrote {args.target}: {layout}, {plural(len(kept), 'weight')}, {size_text(size)}"))
    return _outcome.CONFORMS


def _place(args: Namespace) -> str:
    return "the standard output" if args.target == "-" else str(args.target)


def _layout(args: Namespace, model: Model, source: str, streams: bool) -> str:
    if not streams:
        return api.layout_for(args.target, model)
    return source if source == "config-json" and args.config is None else api.layout_for_stream(model)


def _check_stream(args: Namespace) -> None:
    """The standard output has to be free for a file [CL-036]."""
    if args.json:
        message = "both - and --json, which want the standard output; wanted one of them"
        raise _outcome.NotDoneError(Problem(code="CL-036", message=message))
    if getattr(sys.stdout, "name", "") == os.devnull:  # what stands in for a stream that is closed
        message = "the standard output is closed; wanted a file or a pipe"
        raise _outcome.NotDoneError(Problem(code="CL-036", message=message, hint="redirect it, or name a file"))
    if sys.stdout.isatty():
        message = "the standard output is a terminal; wanted a file or a pipe"
        raise _outcome.NotDoneError(Problem(code="CL-036", message=message, hint="redirect it, or name a file"))


def _with_config(model: Model, path: str, limits: Limits) -> Model:
    """The weights of `model` and everything else of the model file at `path` [CL-035]."""
    if model.config_json is not None:
        message = "a model that has a config; wanted weights only with --config"
        raise _outcome.NotDoneError(Problem(code="CL-035", message=message, at=path))
    with api.open(path, limits=limits) as file:
        _outcome.warn(file.problems)
        if file.config_json is None:
            message = f"weights only ({file.layout}); wanted a file with a config"
            raise _outcome.NotDoneError(Problem(code="CL-035", message=message, at=path))
        if file.layout != "config-json" and file.generation != model.generation:
            message = (
                f"a model of the {file.generation} generation; wanted one of the {model.generation} one, as the weights are"
            )
            raise _outcome.NotDoneError(Problem(code="CL-035", message=message, at=path))
        return replace(
            model,
            config_json=file.config_json,
            metadata={**model.metadata, **file.metadata},
            assets=dict(file.assets),
            training_config=file.training_config,
        )


def _check_apart(file: ModelFile, target: str, streams: bool) -> None:
    """Refuse to write over what is being read: SRC, something inside or around it, a shard of it [CL-033]."""
    if _goes_into(file) if streams else _is_part(file, target):
        message = "SRC and DST are one, or one is part of the other"
        raise _outcome.NotDoneError(Problem(code="CL-033", message=message, at=target, hint="choose another name"))


def _goes_into(file: ModelFile) -> bool:
    """Whether the standard output is SRC."""
    try:
        return os.path.samestat(os.stat(file.path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # a URL, an output that is no file
        return False


def _is_part(file: ModelFile, target: str) -> bool:
    source, place = os.path.realpath(file.path), os.path.realpath(target)
    try:
        same = os.path.commonpath([source, place]) in (source, place) or os.path.samefile(source, place)
    except (OSError, ValueError):  # DST is not there yet, or on another drive
        same = False
    if os.path.dirname(source) == os.path.dirname(place):
        read, written = _files_of(file), os.path.basename(place)
        shards = f"{written.removesuffix(INDEX_SUFFIX)}_" if written.endswith(INDEX_SUFFIX) else "/"
        same = same or written in read or any(name.startswith(shards) for name in read)
    return same


def _files_of(file: ModelFile) -> set[str]:
    """The names of the files that hold the weights."""
    shards = {getattr(weight.source.source, "name", "") for weight in file.weights.values()}
    return {os.path.basename(file.path)} | (shards if file.layout == "weights-sharded" else set())


def _left_out(model: Model, layout: str) -> Iterator[str]:
    """What the model has and the layout cannot hold [CL-031]."""
    only_config = layout == "config-json"
    if model.config_json is not None and layout in _WEIGHTS_ONLY:
        yield "config"
    if model.training_config is not None and layout != "legacy-h5":
        yield "training_config"
    if model.metadata and (only_config or layout in ("weights-h5", "weights-sharded")):
        yield "metadata"
    if model.weights and only_config:
        yield "weights"
    if layout == "legacy-weights-h5" and len(_kept(model, layout)) < len(model.weights):
        yield "optimizer_state"
    if model.assets and (only_config or layout in _WEIGHTS_ONLY):
        yield "assets"


def _kept(model: Model, layout: str) -> list[Weight]:
    """The weights that the layout has a place for."""
    groups = [] if layout == "config-json" else model.groups
    drop = "optimizer_weights" if layout == "legacy-weights-h5" else None
    return [model.weights[path] for group in groups if group.path != drop for path in group.weight_paths]


def _and(names: list[str]) -> str:
    words = [f"the {name.replace('_', ' ')}" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
