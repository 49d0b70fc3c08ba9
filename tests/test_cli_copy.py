"""What `refser config` prints and `refser copy` writes."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_helpers import (
    CONFIG,
    FUNCTIONAL,
    GOLDEN,
    LEGACY,
    LEGACY_WEIGHTS,
    SHARDED,
    TEXT,
    WEIGHTS,
    Outcome,
    cli,
    new_keras,
    process,
)

import refser
from refser.cli import _parser
from refser.cli.__main__ import main


def test_cl027_config_is_indented_ascii() -> None:
    shown = cli("config", GOLDEN / "keras-3.15.1/names.legacy.h5")
    assert shown.out.startswith('{\n  "class_name": "Functional",\n')
    assert shown.out.isascii()


@pytest.mark.parametrize("source", [FUNCTIONAL, LEGACY, CONFIG])
def test_cl028_raw_config_is_the_stored_bytes(source: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["config", source, "--raw"]) == 0
    with refser.open(source) as file:
        assert file.config_json
        assert capsysbinary.readouterr().out == file.config_json.encode()


def test_cl028_raw_config_need_not_parse(tmp_path: Path) -> None:
    path = new_keras(tmp_path / "a.keras", '{"größe": ')
    assert cli("config", path, "--raw") == Outcome(0, '{"größe": ', "")


@pytest.mark.parametrize("source", [WEIGHTS, SHARDED, LEGACY_WEIGHTS])
def test_cl029_weights_have_no_config(source: str) -> None:
    found = cli("config", source)
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith("[CL-029]\n")


V3 = {"keras-zip": "a.keras", "keras-dir": "a", "weights-h5": "a.weights.h5", "weights-sharded": "a.weights.json"}
OLD = {"legacy-h5": "a.h5", "legacy-weights-h5": "b.h5"}
TARGETS = [(source, layout, name) for source in (FUNCTIONAL, TEXT) for layout, name in V3.items()]
TARGETS += [(LEGACY, layout, name) for layout, name in OLD.items()] + [(LEGACY, "config-json", "a.json")]


@pytest.mark.parametrize(("source", "layout", "name"), TARGETS, ids=lambda value: Path(value).name)
def test_cl030_copy_writes_what_the_layout_holds(source: str, layout: str, name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    told = cli("copy", source, target, *(["--layout", layout] if layout == "legacy-weights-h5" else []))
    want = refser.load(source)
    copied = refser.load(target)
    count = {"config-json": 0, "legacy-weights-h5": 19}.get(layout, len(want.weights))
    assert told.code == 0
    assert re.fullmatch(rf"wrote \S+: {layout}, {count} weights, [\d.]+ K?i?B\n", told.out)
    assert copied.weights == want.weights or (layout in ("legacy-weights-h5", "config-json") and len(copied.weights) == count)
    assert copied.config_json == (None if "weights" in layout else want.config_json)
    again = cli("copy", source, target, "--json", *(["--layout", layout] if layout == "legacy-weights-h5" else []))
    assert (again.code, again.json["error"]["code"]) == (2, "IO-005")
    args = ["copy", source, target, "--json", "--overwrite", "--layout", layout]
    assert cli(*args).json["weights"] == count


@pytest.mark.parametrize(
    ("source", "name", "code"),
    [(LEGACY, "a.keras", "IO-010"), (FUNCTIONAL, "a.h5", "IO-010"), (TEXT, "a.odd", "IO-010"), (TEXT, "no/a.keras", "IO-001")],
)
def test_cl030_what_cannot_be_written_is_2(source: str, name: str, code: str, tmp_path: Path) -> None:
    found = cli("copy", source, tmp_path / name)
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith(f"[{code}]\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "name", "want"),
    [
        (TEXT, "a.keras", []),
        (TEXT, "a.weights.h5", ["config", "metadata", "assets"]),
        (TEXT, "a.json", ["config", "metadata", "assets", "weights"]),
        (LEGACY, "a.h5", []),
        (LEGACY, "a.json", ["training_config", "metadata", "weights"]),
        (LEGACY, "b.h5", ["config", "training_config", "optimizer_state"]),
        (WEIGHTS, "a.weights.json", []),
    ],
)
def test_cl031_what_is_left_out_is_named(source: str, name: str, want: list[str], tmp_path: Path) -> None:
    layout = ["--layout", "legacy-weights-h5"] if name == "b.h5" else []
    told = cli("copy", source, tmp_path / name, "--json", *layout)
    assert sorted(told.json["left_out"]) == sorted(set(want) - ({"config"} if name == "a.json" else set()))
    for word in told.json["left_out"]:
        assert f"the {word.replace('_', ' ')}" in told.err
    assert told.err == "" if not told.json["left_out"] else told.err.count("\n") == 1


@pytest.mark.parametrize(("text", "want"), [("5", 5.0), ("0.5", 0.5), ("512MB", 0.5), ("2GB", 2.0), ("1KB", 2.0**-20)])
def test_cl032_shard_sizes(text: str, want: float) -> None:
    assert _parser._shard_size(text) == want


def test_cl032_shards_obey_the_size(tmp_path: Path) -> None:
    assert cli("copy", FUNCTIONAL, tmp_path / "a.weights.json", "--max-shard-size", "500B").code == 0
    assert len(list(tmp_path.glob("a_*.weights.h5"))) > 3
    assert refser.load(tmp_path / "a.weights.json").weights == refser.load(FUNCTIONAL).weights
    wrong = cli("copy", FUNCTIONAL, tmp_path / "a.weights.h5", "--max-shard-size", "1GB")
    assert wrong.code == 2


def test_cl033_source_and_target_are_apart(tmp_path: Path) -> None:
    for source, name in ((FUNCTIONAL, "m.keras"), (FUNCTIONAL, "m"), (FUNCTIONAL, "m.weights.json")):
        assert cli("copy", source, tmp_path / name).code == 0
    (tmp_path / "link.keras").symlink_to("m.keras")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for source, target in (
        ("m.keras", "m.keras"),
        ("m.keras", "link.keras"),
        ("m", "m"),
        ("m", "m/model.weights.h5"),
        ("m", "m/copy.keras"),
        ("m/model.weights.h5", "m"),
        ("m.weights.json", "m.weights.json"),
        ("m.weights.json", "m_00000.weights.h5"),
        ("m_00000.weights.h5", "m.weights.json"),
    ):
        refused = cli("copy", tmp_path / source, tmp_path / target, "--overwrite")
        assert (refused.code, refused.out) == (2, ""), (source, target)
        assert refused.err.endswith("[CL-033]\n")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["a.keras", "a", "a.weights.h5", "a.weights.json"])
def test_cl034_bare_config_becomes_no_model(name: str, tmp_path: Path) -> None:
    refused = cli("copy", CONFIG, tmp_path / name)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith("[CL-034]\n")
    assert list(tmp_path.iterdir()) == []


def test_cl034_bare_config_is_copied_as_such(tmp_path: Path) -> None:
    assert cli("copy", CONFIG, tmp_path / "a.json").code == 0
    assert (tmp_path / "a.json").read_bytes() == Path(CONFIG).read_bytes()


def test_cl035_config_comes_from_another_file(tmp_path: Path) -> None:
    assert cli("copy", TEXT, tmp_path / "a.weights.h5").code == 0
    assert cli("copy", tmp_path / "a.weights.h5", tmp_path / "a.keras", "--config", TEXT).code == 0
    assert refser.load(tmp_path / "a.keras") == refser.load(TEXT)
    assert cli("copy", LEGACY, tmp_path / "b.h5", "--layout", "legacy-weights-h5").code == 0
    assert cli("copy", tmp_path / "b.h5", tmp_path / "c.h5", "--config", LEGACY).code == 0
    whole, want = refser.load(tmp_path / "c.h5"), refser.load(LEGACY)
    assert (whole.config_json, whole.training_config) == (want.config_json, want.training_config)
    assert cli("copy", SHARDED, tmp_path / "d.keras", "--config", CONFIG).code == 0
    for source, config in ((TEXT, TEXT), (WEIGHTS, WEIGHTS), (WEIGHTS, LEGACY)):
        refused = cli("copy", source, tmp_path / "e.keras", "--config", config)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.endswith("[CL-035]\n")
    assert cli("copy", WEIGHTS, tmp_path / "e.keras", "--config", tmp_path / "missing").code == 2
    assert not (tmp_path / "e.keras").exists()


def to_stdout(*args: str | os.PathLike[str]) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of `copy ... -`, in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["copy", *map(os.fspath, args)])
    return code, out.buffer.getvalue(), err.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "options", "name", "left_out"),
    [
        (TEXT, [], "a.keras", False),
        (TEXT, ["--hdf5-readable"], "a.keras", False),
        (TEXT, ["--layout", "weights-h5"], "a.weights.h5", True),
        (SHARDED, [], "a.weights.h5", False),
        (SHARDED, ["--config", FUNCTIONAL], "a.keras", False),
        (SHARDED, ["--config", CONFIG], "a.keras", False),
        (LEGACY, [], "a.h5", False),
        (LEGACY, ["--layout", "config-json"], "a.json", True),
        (LEGACY_WEIGHTS, [], "a.h5", False),
        (CONFIG, [], "a.json", False),
    ],
)
def test_cl036_standard_output_gets_the_file(
    source: str, options: list[str], name: str, left_out: bool, tmp_path: Path
) -> None:
    assert cli("copy", source, tmp_path / name, *options).code == 0
    code, out, err = to_stdout(source, "-", *options)
    assert (code, out) == (0, (tmp_path / name).read_bytes())
    assert ("left out of the standard output" in err) == left_out
    assert err == "" or left_out


def test_cl036_a_real_pipe_gets_the_file(tmp_path: Path) -> None:
    assert cli("copy", TEXT, tmp_path / "a.keras").code == 0
    out, err = (run := process("copy", TEXT, "-")).communicate(timeout=60)
    assert (run.returncode, out, err) == (0, (tmp_path / "a.keras").read_bytes(), b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_cl036_a_terminal_is_refused() -> None:
    import pty

    leader, terminal = pty.openpty()
    run = process("copy", TEXT, "-", stdout=terminal)
    _, err = run.communicate(timeout=60)
    os.close(terminal)
    os.set_blocking(leader, False)
    try:
        shown = os.read(leader, 100)
    except OSError:  # nothing, and nobody at the other end
        shown = b""
    os.close(leader)
    assert (run.returncode, shown) == (2, b"")
    assert err.startswith(b"refser: the standard output is a terminal")
    assert err.endswith(b"[CL-036]\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_cl036_a_closed_output_is_refused() -> None:
    command = f'"{sys.executable}" -m refser copy "{TEXT}" - >&-'
    run = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert (run.returncode, b"the standard output is closed" in run.stderr) == (2, True)


def test_cl036_json_and_a_file_do_not_share_the_output() -> None:
    found = cli("copy", TEXT, "-", "--json")
    assert (found.code, found.json["error"]["code"]) == (2, "CL-036")


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        (TEXT, ["--layout", "keras-dir"], "IO-016"),
        (TEXT, ["--layout", "weights-sharded"], "IO-016"),
        (TEXT, ["--layout", "legacy-h5"], "IO-010"),
        (TEXT, ["--max-shard-size", "1GB"], "SH-008"),
        (CONFIG, ["--layout", "keras-zip"], "CL-034"),
    ],
)
def test_cl036_what_cannot_be_written_is_2_and_no_byte(source: str, options: list[str], code: str) -> None:
    found, out, err = to_stdout(source, "-", *options)
    assert (found, out) == (2, b"")
    assert err.endswith(f"[{code}]\n")


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full")
def test_cl036_an_output_that_fails_is_2() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        _, err = (run := process("copy", TEXT, "-", stdout=full)).communicate(timeout=60)
    assert run.returncode == 2
    assert err.startswith(b"refser: <stdout>: a stream that cannot be written: no space left on device")
    assert err.count(b"\n") == 1


def test_cl005_a_reader_that_goes_away_ends_the_copy_quietly(tmp_path: Path) -> None:
    refser.save_weights({"vars/0": np.zeros(1 << 20, "u1")}, tmp_path / "big.weights.h5")  # more than a pipe holds
    run = process("copy", str(tmp_path / "big.weights.h5"), "-")
    assert run.stdout
    assert run.stderr
    assert run.stdout.read(8) == b"\x89HDF\r\n\x1a\n"
    run.stdout.close()
    assert (run.wait(timeout=60), run.stderr.read()) == (141, b"")
    run.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of POSIX")
def test_cl033_standard_output_is_not_the_source(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    path.write_bytes(Path(TEXT).read_bytes())
    for mode in ("r+b", "ab"):
        with open(path, mode) as output:
            _, err = (run := process("copy", str(path), "-", stdout=output)).communicate(timeout=60)
        assert (run.returncode, path.read_bytes()) == (2, Path(TEXT).read_bytes())
        assert err.endswith(b"[CL-033]\n")


def test_cl036_a_file_can_be_named_minus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("copy", TEXT, "./-", "--layout", "keras-zip").code == 0
    assert refser.load("-") == refser.load(TEXT)


def test_cl037_copy_writes_archives_that_are_hdf5_files(tmp_path: Path) -> None:
    assert cli("copy", TEXT, tmp_path / "a.keras", "--hdf5-readable").code == 0
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert archive.namelist()[0] == "model.weights.h5"
    with h5py.File(tmp_path / "a.keras", "r") as file:
        assert "layers/dense/vars/0" in file
    assert refser.load(tmp_path / "a.keras") == refser.load(TEXT)
    refused = cli("copy", TEXT, tmp_path / "a.weights.h5", "--hdf5-readable")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith("[KZ-019]\n")
    assert not (tmp_path / "a.weights.h5").exists()


SLOW = """if True:
    import signal, sys, time, refser.cli.__main__ as m
    from refser.hdf5 import Plan
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored, which is inherited
    exec(sys.argv.pop(1))
    def pieces(plan):
        yield plan.metadata
        print("at work", file=sys.stderr, flush=True)
        time.sleep(30)
    Plan.pieces = pieces
    m.run()
"""


def at_work(*args: Any, setting: str = "") -> subprocess.Popen[bytes]:
    """A copy in the middle of its writing."""
    run = process(setting, "copy", *map(os.fspath, args), code=SLOW)
    assert run.stderr
    assert run.stderr.readline() == b"at work\n"
    return run


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("target", ["a.keras", "a.weights.h5", "-"])
@pytest.mark.parametrize("times", [1, 2])
def test_cl007_a_signal_while_a_file_is_written_leaves_the_old_one(name: str, target: str, times: int, tmp_path: Path) -> None:
    number = getattr(signal, name)
    for file in tmp_path / "a.keras", tmp_path / "a.weights.h5":
        file.write_bytes(b"old")
    run = at_work(TEXT, target if target == "-" else tmp_path / target, "--overwrite")
    if target != "-":
        assert len(list(tmp_path.iterdir())) == 3
    for _ in range(times):  # a terminal and a shell may both tell of the end
        run.send_signal(number)
    _, err = run.communicate(timeout=20)
    assert err == b""
    assert run.returncode == 128 + number or (times == 2 and run.returncode == -number)  # too late to be caught
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.keras": b"old", "a.weights.h5": b"old"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_cl007_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    run = at_work(TEXT, tmp_path / "a.keras", setting="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    run.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=20) == 143
    run.communicate()
    assert list(tmp_path.iterdir()) == []
