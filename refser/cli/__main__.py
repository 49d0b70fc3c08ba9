"""Where the process starts and how it ends.

Spec: spec/command-line.md (CL-001 to CL-007).  Not here: the arguments (_parser), what a command does (its own module).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn, TextIO

_BROKEN_PIPE, _FAULT, _SIGNALLED = 141, 70, 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 conforms, 1 the file has a problem, 2 it could not be done [CL-001]."""
    from refser.cli import _outcome, _parser
    from refser.errors import RefserError

    try:
        words = sys.argv[1:] if argv is None else argv
        args = _parser.parser(words).parse_args(words)
    except SystemExit as stop:  # argparse has said it all: --help, --version, or what is wrong
        return stop.code if isinstance(stop.code, int) else 0
    try:
        return _parser.command(args.command)(args)
    except RefserError as error:
        return _outcome.refused(args, error)
    except MemoryError:
        _outcome.say("not enough memory for this file")
        return _outcome.NOT_DONE


def run() -> NoReturn:
    """The console script: `main` on the process's own arguments, streams and signals."""
    caught: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        caught.append(number)  # kept: libhdf5 turns an exception raised below it into an error of its own
        if len(caught) != 2:  # a terminal that closes tells twice, and the second does not stop the cleaning up
            raise KeyboardInterrupt

    try:
        for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup refser ... &` stays as it was started
                signal.signal(number, stop)
        sys.stdout, sys.stderr = _stream(sys.stdout), _stream(sys.stderr)
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except OSError as error:  # the standard output: what happens to files is an AccessError by now
        code = 2
        _last_word(f"refser: the output cannot be written: {(error.strerror or str(error)).lower()}")
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        code = _FAULT
        _last_word(f"refser: a fault in refser itself, please report it: {error!a} (python -X dev -m refser shows where)")
    if caught:
        code = _SIGNALLED + caught[0]
    _quiet_streams()
    sys.exit(code)


def _stream(stream: TextIO | None) -> TextIO:
    """A stream that takes every character: what the encoding lacks is escaped; a closed one swallows all [CL-006]."""
    if stream is None:
        return open(os.devnull, "w")
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(errors="backslashreplace")
    return stream


def _last_word(text: str) -> None:
    with suppress(OSError):  # there may be nobody left to tell
        print(text, file=sys.stderr)


def _quiet_streams() -> None:
    """Nothing is left for the interpreter to flush, and so to fail on, when it ends [CL-005]."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


if __name__ == "__main__":
    run()
