"""What the adapters share: questions in, answers out, one process for each case, and arrays as the protocol shows them.

    python TOOL.py [OPTIONS] --serve              a question a line on standard input, an answer a line on standard output
    python TOOL.py [OPTIONS] INPUT [KIND [OUTPUT [KERAS]]]      one question, one answer

Not here: anything that reads a model.  That is the tool's, and what the tool does not do, its adapter does not do for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Answer = dict[str, Any]
MESSAGE_MAX = 300


class Unsupported(Exception):
    """The tool has no way to do this, or says so itself."""


class Question:
    """One case as the runner asks it."""

    def __init__(self, asked: Answer) -> None:
        self.id = asked.get("id")
        self.kind: str = asked.get("kind", "read")
        self.input = Path(asked["input"]).absolute()
        self.output = Path(asked["output"]).absolute() if asked.get("output") else None
        self.keras: str = asked.get("keras", "")


Handler = Callable[[Question], Answer]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_json(path: Path) -> bool:
    """For inputs whose name does not tell."""
    return path.suffix == ".json" or (path.is_file() and path.read_bytes()[:4096].lstrip()[:1] in (b"{", b"["))


def short(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MESSAGE_MAX else f"{text[: MESSAGE_MAX - 3]}..."


def shown(value: Any, dtype: str = "") -> Answer:
    """An array that a tool gave, as the protocol wants it; its dtype is the tool's own name for it."""
    array = np.asarray(value)
    name = "string" if array.dtype.kind in "SO" else array.dtype.name
    found: Answer = {"dtype": dtype or name, "shape": list(array.shape)}
    if array.dtype.kind != "O":
        little = array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("<"), copy=False)
        found["sha256"] = sha256(np.ascontiguousarray(little).tobytes())
    return found


def answer(handle: Handler, question: Question) -> Answer:
    """An exception is a refusal.  Memory that ran out and the end of the process are no decision: the runner counts a crash."""
    try:
        return handle(question)
    except Unsupported as reason:
        return {"result": "unsupported", "reason": str(reason)}
    except MemoryError as error:
        return {"result": f"out of memory: {short(error)}"}
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # jax
            return {"result": f"out of memory: {short(error)}"}
        return {"result": "refused", "message": short(error)}
    except SystemExit as error:
        return {"result": f"exit: {short(error)}"}


def main(handle: Handler, words: list[str]) -> None:
    """Standard output is for answers: what the tool prints goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    if "--serve" not in words:
        fields = dict(zip(("input", "kind", "output", "keras"), words))
        say(out, answer(handle, Question(fields)))
        return
    here = os.getcwd()
    for line in sys.stdin:
        if line.strip():
            question = Question(json.loads(line))
            with tempfile.TemporaryDirectory(prefix="case-") as folder:
                os.chdir(folder)  # a tool that writes where it stands writes here
                in_child(handle, question, out)
                os.chdir(here)


def in_child(handle: Handler, question: Question, out: int) -> None:
    """What one file does to the tool (a setting, a lock, a signal) does not reach the next."""
    pid = os.fork()
    if pid == 0:
        found = answer(handle, question)
        say(out, {"id": question.id, **found})
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        number = os.WTERMSIG(status)
        how = f"died of {signal.Signals(number).name}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        say(out, {"id": question.id, "result": how})


def say(out: int, found: Answer) -> None:
    data = json.dumps(found).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]
