"""One process per Keras backend: a module's xdist group, `keras-numpy` or `keras-jax`, says which one its tests need.

Keras takes its backend when it is first imported and keeps it.  So the tests here run in child processes, one for each
backend, which start with the session and work side by side; the session then reports what they found, test by test,
whatever it distributes to which worker.  With KERAS_BACKEND set, tests of that backend run where they are (`-n 0 --pdb`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

BACKENDS = {"keras-numpy": "numpy", "keras-jax": "jax"}
HERE = Path(__file__).parent
REPORT = "REFSER_KERAS_REPORT"  # in a child: the file that takes each test's outcome
POLL = 0.1  # seconds
_BACKEND = os.environ.get("KERAS_BACKEND")  # what the session was started with
os.environ.setdefault("KERAS_BACKEND", "numpy")  # for modules that import Keras to be collected; the default needs TensorFlow
_children: list[tuple[subprocess.Popen[bytes], threading.Thread]] = []

logging.getLogger("absl").setLevel(logging.ERROR)  # Keras has something to say about each legacy file
pytest.register_assert_rewrite("live", "proof", "h5tree")


def _group(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark and HERE in item.path.parents else None


def _elsewhere(group: str | None) -> bool:
    return group is not None and BACKENDS[group] != _BACKEND


def _id(item_or_report: pytest.Item | pytest.TestReport) -> str:
    """The node's id, without the group that xdist may append."""
    head, at, tail = item_or_report.nodeid.rpartition("@")
    return head if at and tail in BACKENDS else item_or_report.nodeid


def _folder() -> Path:
    """Where the workers of one session meet."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return Path(tempfile.gettempdir(), f"refser-keras-{session}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _elsewhere(_group(item)))  # last: meanwhile the children work


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    for group, backend in BACKENDS.items():
        nodes = [_id(item) for item in session.items if _group(item) == group]
        if nodes and _elsewhere(group):
            _start(group, backend, nodes, session.config.rootpath)


def _start(group: str, backend: str, nodes: list[str], root: Path) -> None:
    """Start the group's child, unless another worker has."""
    for old in Path(tempfile.gettempdir()).glob("refser-keras-*"):
        if old.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(old, ignore_errors=True)
    _folder().mkdir(exist_ok=True)
    started, report = _folder() / f"{group}.started", _folder() / f"{group}.jsonl"
    try:
        started.touch(exist_ok=False)
    except FileExistsError:
        return
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env = kept | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", REPORT: str(report)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore", *nodes]
    with open(_folder() / f"{group}.log", "wb") as log:
        child = subprocess.Popen(command, cwd=root, env=env, stdout=log, stderr=subprocess.STDOUT)

    def wait() -> None:
        child.wait()
        (_folder() / f"{group}.done").touch()

    thread = threading.Thread(target=wait)
    thread.start()
    _children.append((child, thread))


def pytest_sessionfinish(session: pytest.Session) -> None:
    for child, thread in _children:
        if session.shouldstop or session.shouldfail or session.exitstatus == pytest.ExitCode.INTERRUPTED:
            child.terminate()
        thread.join()
    if "PYTEST_XDIST_TESTRUNUID" not in os.environ:  # no other worker can want it
        shutil.rmtree(_folder(), ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    group = _group(pyfuncitem)
    if not _elsewhere(group):
        return None
    assert group is not None
    found = _outcome(group, _id(pyfuncitem))
    if found["outcome"] == "skipped":
        pytest.skip(found["text"])
    if found["outcome"] != "passed":
        pytest.fail(f"in the process of the {BACKENDS[group]} backend:\n{found['text']}", pytrace=False)
    return True


_read: dict[str, tuple[int, dict[str, dict[str, str]]]] = {}  # by group: how much of its report, and what stands there


def _outcome(group: str, node: str) -> dict[str, str]:
    """What the child found for one test, once it has."""
    while True:
        done = (_folder() / f"{group}.done").exists()  # asked before the report is read
        report = _folder() / f"{group}.jsonl"
        offset, known = _read.setdefault(group, (0, {}))
        if node not in known and report.exists():
            with open(report, "rb") as file:
                file.seek(offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            known.update((entry["nodeid"], entry) for entry in map(json.loads, whole.splitlines()))
            _read[group] = offset + len(whole), known
        if node in known:
            return known[node]
        if done:
            tail = (_folder() / f"{group}.log").read_text("utf-8", "replace")[-5000:]
            return {"outcome": "missing", "text": f"the child ended without running this\n{tail}"}
        time.sleep(POLL)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In a child: append the outcome."""
    if REPORT not in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext
    with open(os.environ[REPORT], "a", encoding="utf-8") as file:
        file.write(json.dumps({"nodeid": _id(report), "outcome": report.outcome, "text": text}) + "\n")
