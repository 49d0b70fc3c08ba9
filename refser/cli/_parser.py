"""The arguments of every command.

Spec: spec/command-line.md (CL-002, CL-008, CL-009).  A command's own module is imported when it runs, not before.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from refser import __version__
from refser.errors import printable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from refser.limits import Limits

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SIZE = r"(\d+(?:\.\d+)?) ?([KMGT]I?B?|B)?"
_GB = 1 << 30

_EXAMPLES = {
    "": """
  refser inspect model.keras            what is in it
  refser weights model.keras            its weights, one a line
  refser config model.keras             its config, indented
  refser summary model.keras            its layers, shapes and parameters
  refser copy model.keras model.weights.h5
  refser validate model.keras           whether it is sound, and safe to load

exit codes: 0 the file conforms, 1 it has a problem, 2 it could not be done""",
    "inspect": """
  refser inspect model.keras
  refser inspect model.keras --depth 2          one line per layer
  refser inspect model.keras --all              the optimizer's variables too
  refser inspect model.keras --json | jq .totals.model.parameters""",
    "weights": """
  refser weights model.keras
  refser weights model.keras --match 'layers/dense/*' | cut -f 1,3
  refser weights model.keras --by-name          dense/kernel, not its place
  refser weights model.keras --out arrays       arrays/layers/dense/vars/0.npy
  refser weights model.keras --out arrays.npz   one file for numpy.load""",
    "config": """
  refser config model.keras
  refser config model.keras | jq -r '.config.layers[].config.name'
  refser config model.keras --raw > config.json""",
    "summary": """
  refser summary model.keras
  refser summary config.json --nested
  refser summary model.keras --json | jq .totals.all""",
    "copy": """
  refser copy model.keras model.weights.h5
  refser copy model.keras folder --layout keras-dir
  refser copy big.weights.h5 big.weights.json --max-shard-size 500MB
  refser copy model.weights.h5 model.keras --config original.keras
  refser copy model.h5 model.json               its config alone
  refser copy model.keras - | ssh host 'cat > model.keras'""",
    "validate": """
  refser validate model.keras
  refser validate models/ other.h5              every model in the folder too
  refser validate model.keras --target keras==3.12
  refser validate model.keras --deep            checksums, NaN and infinity too
  refser validate model.keras --also-allow 'my_package>Scale'
  refser validate models/ --json | jq -r 'select(.verdict != "valid").file'
  refser validate models/ --sarif > refser.sarif
  refser validate --explain SF-001              what a code stands for

verdicts:   unsafe     loading it could run code, reach outside the file, or
                       exhaust the machine
            invalid    malformed, or Keras could not load it faithfully
            unchecked  something could not be looked at
            valid      neither

exit codes: 0 all are valid, 1 one is unsafe or invalid, 2 one is unchecked
            or not there, or the usage is wrong""",
}


# argparse makes one for each argument that it is told of.  Asking for the terminal's width brings four decompressors along.
_CHECK = partial(argparse.RawDescriptionHelpFormatter, width=80)


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints in one line [CL-002] and no silence over a closed pipe [CL-005]."""

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        _say_usage(self.prog, message)
        raise SystemExit(2)


def _say_usage(program: str, message: str) -> None:
    print(f"refser: {printable(message)}; see {program} --help", file=sys.stderr)


def usage(command: str, message: str) -> int:
    """Say what is wrong with the arguments, where argparse cannot know; the exit code."""
    _say_usage(f"refser {command}", message)
    return 2


def command(name: str | None) -> Callable[[argparse.Namespace], int]:
    """What runs the command."""
    if name is None:
        return _no_command
    run: Callable[[argparse.Namespace], int] = importlib.import_module(f"refser.cli.{name}").run
    return run


def parser(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Every command with its arguments; a parsed namespace has `command`, `file`, `json` and what is the command's own.

    With `argv` only the command that it names has them: most of the time goes into these.
    """
    named = None if argv is None else next((word for word in argv if not word.startswith("-")), "")
    top = _new(_Parser, "", prog="refser", description="Read, write and validate Keras model files without Keras.")
    top.add_argument("--version", action="version", version=f"refser {__version__}")
    top.set_defaults(json=False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, (summary, file, add_arguments) in _COMMANDS.items():
        if named in (None, name):
            made = _new(commands.add_parser, name, name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
            _shared(made, file)
            add_arguments(made)
        else:
            commands.add_parser(name, help=summary, add_help=False, formatter_class=_CHECK)
    return top


def _inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("--depth", type=_count, metavar="N", help="show the tree N levels deep, sums below")
    command.add_argument("--all", action="store_true", help="list the variables of optimizer and metrics too")


def _weights(command: argparse.ArgumentParser) -> None:
    help_match = "only weights whose path matches the pattern: * any text, / included, ? one character; may be repeated"
    command.add_argument("--match", action="append", metavar="PATTERN", help=help_match)
    help_name = "call each weight by its variable path, dense/kernel, where the config tells it"
    command.add_argument("--by-name", action="store_true", help=help_name)
    help_out = "extract into a new folder, a .npy file for each weight, or into one .npz archive"
    command.add_argument("--out", metavar="DIR|FILE.npz", help=help_out)
    command.add_argument("--overwrite", "--force", action="store_true", help="replace what --out names, if it is there")


def _summary(command: argparse.ArgumentParser) -> None:
    command.add_argument("--nested", action="store_true", help="the layers of models inside the model too")


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--raw", action="store_true", help="the stored text, byte for byte, nothing added")


def _copy(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "target", metavar="DST", help="the file or folder to write, whose name tells the layout; - for standard output"
    )
    layouts = "keras-zip, keras-dir, weights-h5, weights-sharded, legacy-h5, legacy-weights-h5 or config-json"
    command.add_argument("--layout", metavar="NAME", help=f"the layout, whatever the name: {layouts}")
    command.add_argument("--overwrite", "--force", action="store_true", help="replace DST, if it is there")
    help_size = "for weights-sharded: 500MB, 2GB; a plain number is in GB, as in Keras (1 GB = 1024**3 bytes)"
    command.add_argument("--max-shard-size", type=_shard_size, metavar="SIZE", help=help_size)
    help_readable = "for keras-zip: an archive that HDF5 tools open as it is"
    command.add_argument("--hdf5-readable", action="store_true", help=help_readable)
    help_config = "where SRC has weights only: take config, metadata and assets from this model file"
    command.add_argument("--config", metavar="FILE", help=help_config)


def _validate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--sarif", action="store_true", help="one SARIF 2.1.0 log of all files, for code scanning")
    command.add_argument("--quiet", action="store_true", help="nothing about files that are valid, and no totals")
    help_all = "list what is only worth knowing too, such as bytes that nothing uses"
    command.add_argument("--all", action="store_true", help=help_all)
    command.add_argument("--strict", action="store_true", help="take warnings for errors")
    command.add_argument("--values", action="store_true", help="look for NaN and infinity in the weights")
    command.add_argument("--deep", action="store_true", help="compare checksums too, and so read every byte")
    help_target = "ask whether this version of Keras loads it, such as keras==3.12"
    command.add_argument("--target", type=_target, metavar="VERSION", help=help_target)
    help_allow = "a custom class or function that the loader has: package>Name or module.Name; may be repeated"
    command.add_argument("--also-allow", action="append", default=[], metavar="NAME", help=help_allow)
    help_suppress = "leave these problems out; may be repeated"
    command.add_argument("--suppress", type=_codes, action="append", default=[], metavar="CODE[,CODE]", help=help_suppress)
    command.add_argument(
        "--explain", type=str.upper, metavar="CODE", help="print what the specification says of a code, and end"
    )


_COMMANDS: Mapping[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "inspect": ("show what is in a model file", "FILE", _inspect),
    "weights": ("list a model's weights, or extract them", "FILE", _weights),
    "config": ("print a model's config", "FILE", _config),
    "summary": ("print the table of layers that Keras's model.summary() prints", "FILE", _summary),
    "copy": ("write a model in another layout of its generation", "SRC", _copy),
    "validate": ("tell whether model files are sound, hang together and are safe to load", "FILE...", _validate),
}


def _shared(made: argparse.ArgumentParser, file: str) -> None:
    """What all commands take [CL-008, CL-009]."""
    several = file.endswith("...")
    help_file = "any Keras model file or folder, recognised by its content"
    if several:
        help_files = f"{help_file}; of a folder that is no model, every model in it"
        made.add_argument("files", metavar="FILE", nargs="*", help=help_files)
    else:
        made.add_argument("file", metavar=file, help=help_file)
    made.add_argument(
        "--json", action="store_true", help=f"one JSON object on one line{' for each file' * several}, for machines"
    )
    group = made.add_argument_group("for files you do or do not trust")
    help_limit = "change a cap, such as json_bytes=64MB or hdf5_depth=100; may be repeated"
    group.add_argument("--limit", type=_limit, action="append", default=[], metavar="NAME=VALUE", help=help_limit)
    help_links = "read through symbolic links inside a model folder and beside a shard index"
    group.add_argument("--follow-symlinks", action="store_true", help=f"{help_links}{', and in other folders' * several}")
    if several:
        help_libhdf5 = "read HDF5 that only libhdf5 can, in a process of its own: it is not safe on hostile bytes"
        group.add_argument("--allow-libhdf5", dest="no_libhdf5", action="store_false", help=help_libhdf5)
        made.set_defaults(no_libhdf5=True)
    else:
        help_libhdf5 = "refuse HDF5 that only libhdf5 can read, which is not safe on hostile bytes"
        group.add_argument("--no-libhdf5", action="store_true", help=help_libhdf5)


def _new(make: Callable[..., argparse.ArgumentParser], name: str, *args: str, **options: str) -> argparse.ArgumentParser:
    return make(
        *args,
        epilog=f"examples:{_EXAMPLES[name]}",
        formatter_class=_CHECK,
        allow_abbrev=False,
        **options,
    )


def _no_command(args: argparse.Namespace) -> int:
    parser().print_help(sys.stderr)
    return 2


def limits_of(args: argparse.Namespace) -> Limits:
    """The caps that the options ask for."""
    from refser.limits import Limits

    caps: dict[str, Any] = dict(args.limit)
    if "libhdf5_apart" in Limits.__slots__ and args.command == "validate":
        caps["libhdf5_apart"] = True
    return Limits(**caps, follow_symlinks=args.follow_symlinks, allow_libhdf5=not args.no_libhdf5)


def _codes(text: str) -> frozenset[str]:
    """IDs of requirements, with commas between [CL-046]."""
    from refser.cli import _explain

    codes = frozenset(code.strip().upper() for code in text.split(","))
    for code in sorted(codes):
        if (message := _explain.unknown(code)) is not None:
            raise argparse.ArgumentTypeError(message)
    return codes


def _target(text: str) -> str:
    from refser.checks.target import read_target

    try:
        read_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _limit(text: str) -> tuple[str, int]:
    """NAME=VALUE for one field of `Limits` [CL-009]."""
    from refser.limits import DEFAULT_LIMITS, Limits

    name, equals, value = text.partition("=")
    known = [name for name in Limits.__slots__ if not isinstance(getattr(DEFAULT_LIMITS, name), bool)]
    if name not in known:
        raise argparse.ArgumentTypeError(f"no cap is named {name!r}; there are {', '.join(known)}")
    number = _bytes(value, 1) if name.endswith("_bytes") else (int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None)
    if not equals or number is None:
        wanted = "a size such as 64MB" if name.endswith("_bytes") else "a whole number"
        raise argparse.ArgumentTypeError(f"{name} is {value!r}; wanted {wanted}")
    return name, int(number)


def _shard_size(text: str) -> float:
    """GB, as Keras counts them [CL-032]."""
    size = _bytes(text, _GB)
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r} is no size above 0; wanted one such as 500MB or 2GB")
    return size / _GB


def _bytes(text: str, unit: int) -> float | None:
    """The bytes that `text` stands for, in `unit` where it names none; None when it is no size."""
    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if not found or len(text) > 32:
        return None
    suffix = (found[2] or "").upper().replace("I", "")
    if suffix in ("K", "M", "G", "T"):
        suffix += "B"
    return float(found[1]) * (_UNITS[suffix] if suffix else unit)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
