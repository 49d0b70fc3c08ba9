"""How commands start and end, and what all of them share."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from cli_helpers import (
    FILES,
    FUNCTIONAL,
    GOLDEN,
    HOSTILE,
    READ,
    SHARDED,
    UNPRINTABLE,
    WEIGHTS,
    cli,
    new_h5,
    new_keras,
    process,
)
from hypothesis import event, example, given
from hypothesis import strategies as st

import refser
from refser.cli import _parser, _screen
from refser.cli.__main__ import main


@pytest.mark.parametrize("command", [["inspect"], ["weights"], ["config"], ["copy", "x.h5"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("content", "code", "at_fault"),
    [
        (None, 2, "IO-001"),
        (b"", 1, "FT-003"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", 1, "FT-004"),
        (b"PK\x03\x04 cut", 1, "KZ-013"),
        (b'{"weight_map": {"/vars": "../outside.h5"}}', 1, "SH-003"),
        (b"PK\x05\x06" + bytes(18), 1, "FT-009"),
    ],
    ids=["missing", "empty", "lfs", "cut", "unsafe", "no-model"],
)
def test_cl001_exit_code_tells_the_file_from_the_circumstances(
    content: bytes | None, code: int, at_fault: str, command: list[str], tmp_path: Path
) -> None:
    """CL-002, CL-004."""
    path = tmp_path / "model"
    if content is not None:
        path.write_bytes(content)
    args = [command[0], str(path), *(str(tmp_path / word) for word in command[1:])]
    plain = cli(*args)
    assert (plain.code, plain.out, plain.err.count("\n")) == (code, "", 1)
    assert plain.err.endswith(f"[{at_fault}]\n")
    told = cli(*args, "--json")
    assert (told.code, told.err) == (code, plain.err)
    assert told.json["error"]["code"] == at_fault
    assert (told.json["error"]["kind"] in ("access", "unsupported", "command")) == (code == 2)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("name", sorted(set(FILES) - set(READ)))
def test_cl001_what_is_not_supported_could_not_be_done(name: str) -> None:
    assert cli("inspect", GOLDEN / name, "--json").json["error"]["kind"] == "unsupported"
    assert cli("inspect", GOLDEN / name).code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["inspect"],
        ["inspect", "a", "b"],
        ["inspect", "a", "--nonsense"],
        ["inspect", "a", "--dep", "1"],
        ["inspect", "a", "--depth", "-1"],
        ["inspect", "a", "--limit", "nonsense=1"],
        ["inspect", "a", "--limit", "shards=1MB"],
        ["inspect", "a", "--limit", "json_bytes"],
        ["inspect", "a", HOSTILE],
        ["copy", "a", "b", "--max-shard-size", "0"],
        ["copy", "a", "b", "--max-shard-size", "nan"],
    ],
    ids=lambda args: " ".join(args).encode("unicode_escape").decode(),
)
def test_cl002_bad_usage_is_one_line_and_2(args: list[str]) -> None:
    found = cli(*args)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert "--help" in found.err
    assert not UNPRINTABLE.search(found.err)


def test_cl002_no_command_shows_the_help_and_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: refser")


def test_cl002_a_fault_of_refser_is_one_line_and_70() -> None:
    broken = "import refser.cli.__main__ as m\ndef main(): raise ValueError('odd\\n\\x1b')\nm.main = main\nm.run()"
    out, err = (run := process(code=broken)).communicate()
    assert (run.returncode, out, err.count(b"\n"), b"Traceback" in err) == (70, b"", 1, False)


def test_cl003_warnings_stand_below_the_report_or_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "wrong.keras"
    path.write_bytes(Path(WEIGHTS).read_bytes())
    shown = cli("inspect", path)
    assert (shown.code, shown.err) == (0, "")
    assert any(line.startswith("warning:") for line in shown.lines)
    assert shown.lines[-1].endswith("[FT-002]")
    assert [problem["severity"] for problem in cli("inspect", path, "--json").json["problems"]] == ["warning"]
    for args in (["weights", path], ["copy", path, tmp_path / "copy.weights.h5"]):
        told = cli(*args)
        assert told.code == 0
        assert told.err.startswith("refser: warning: ")
        assert told.err.endswith("[FT-002]\n")


@pytest.mark.parametrize("args", [["inspect", "--json"], ["weights"], ["config"], ["config", "--raw"], ["--help"]])
def test_cl005_closed_pipe_ends_quietly(args: list[str]) -> None:
    run = process(*args[:1], *([] if args == ["--help"] else [FUNCTIONAL]), *args[1:])
    assert run.stdout
    assert run.stderr
    run.stdout.close()
    assert (run.wait(), run.stderr.read()) == (141, b"")
    run.stderr.close()


def test_cl005_closed_or_full_output_ends_without_a_traceback() -> None:
    closed = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "-", sys.executable, "-m", "refser", "inspect", WEIGHTS], check=False)
    assert closed.returncode == 0
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            _, err = (run := process("inspect", WEIGHTS, stdout=full)).communicate()
        assert run.returncode == 2
        assert err == b"refser: the output cannot be written: no space left on device\n"


def test_cl006_hostile_names_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = new_h5(tmp_path / f"{HOSTILE}.weights.h5", HOSTILE, attribute=HOSTILE)
    for command in ("inspect", "weights"):
        shown = cli(command, path.name)
        assert shown.code == 0
        assert not UNPRINTABLE.search(shown.out.replace("\t", "") if command == "weights" else shown.out)
        assert r"\x1b[31m\u202eright\r\nnew\tline\x7f\x9b" in shown.out
    weight = cli("weights", path.name, "--json").json["weights"][0]
    assert weight["path"] == f"layers/{HOSTILE}/vars/0"
    assert cli("inspect", path.name, "--json").json["objects"][0]["name"] == HOSTILE
    for args in (
        ["weights", "--out", f"out{HOSTILE}"],
        ["weights", "--out", f"out{HOSTILE}.npz"],
        ["copy", f"copy{HOSTILE}.weights.h5"],
        ["config"],
    ):
        told = cli(args[0], path.name, *args[1:])
        assert not UNPRINTABLE.search(told.out + told.err)
    assert not UNPRINTABLE.search(cli("inspect", f"missing{HOSTILE}\udcff").err)


def test_cl006_names_in_a_config_are_escaped(tmp_path: Path) -> None:
    layer = {"class_name": HOSTILE, "config": {"name": f"{HOSTILE}\ud800"}}
    config = {"class_name": HOSTILE, "config": {"name": HOSTILE, "layers": [layer]}, "compile_config": {"loss": HOSTILE}}
    bare = tmp_path / "a.json"
    bare.write_text(json.dumps(config))
    for path in (bare, new_keras(tmp_path / "a.keras", json.dumps(config))):
        for args in (["inspect"], ["config"]):
            shown = cli(*args, path)
            assert shown.code == 0
            assert not UNPRINTABLE.search(shown.out)
        assert json.loads(cli("config", path).out) == config
        assert cli("inspect", path, "--json").json["layers"][0]["name"] == f"{HOSTILE}\ufffd"


def test_cl006_output_that_cannot_encode_a_name_escapes_it(tmp_path: Path) -> None:
    path = new_h5(tmp_path / "a.weights.h5", "größe", "层")
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out, err = (run := process("inspect", str(path), env=env)).communicate()
    assert (run.returncode, err) == (0, b"")
    assert rb"gr\xf6\xdfe" in out
    assert rb"\u5c42" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cl007_a_signal_ends_quietly_and_leaves_nothing(number: int, code: int, tmp_path: Path) -> None:
    slow = (
        # A shell that runs its tests in the background has SIGINT ignored, and what it starts inherits that.
        "import signal, sys, time, refser.cli.__main__ as m, refser.cli._extract as e\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(array): print('at work', flush=True); time.sleep(30)\n"
        "e._npy_header = wait\nm.run()"
    )
    run = process("weights", FUNCTIONAL, "--out", str(tmp_path / "out"), code=slow)
    assert run.stdout
    assert run.stdout.readline() == b"at work\n"
    run.send_signal(number)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out, err) == (code, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["", "inspect", "weights", "config", "summary", "copy", "validate"])
def test_cl008_help_ends_with_examples(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(*([command] if command else []), "--help")
    assert shown.code == 0
    assert f"examples:\n  refser {command}" in shown.out
    assert [line for line in shown.lines if len(line) > 80] == []


def test_cl008_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, refser.cli.__main__ as m\n"
        "for words in ('--help', 'inspect --help', '--version', 'inspect x --limit shards=x'): m.main(words.split())\n"
        "print(*{'numpy', 'h5py', 'keras', 'zipfile', 'mmap'} & set(sys.modules), file=sys.stderr)"
    )
    out, err = (run := process(code=script)).communicate()
    assert (run.returncode, err.splitlines()[-1:]) == (0, [b""])
    assert f"refser {refser.__version__}\n".encode() in out


def test_python_m_refser_is_the_same_program() -> None:
    run = subprocess.run([sys.executable, "-m", "refser", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"refser {refser.__version__}\n"


FLAGS = {name for name in refser.Limits.__dataclass_fields__ if isinstance(getattr(refser.Limits(), name), bool)}


@pytest.mark.parametrize("name", [name for name in refser.Limits.__dataclass_fields__ if name not in FLAGS])
def test_cl009_every_cap_can_be_set(name: str) -> None:
    args = _parser.parser().parse_args(["inspect", "x", "--limit", f"{name}=17"])
    assert getattr(_parser.limits_of(args), name) == 17
    assert not _parser.limits_of(args).follow_symlinks
    assert _parser.limits_of(args).allow_libhdf5
    args = _parser.parser().parse_args(["inspect", "x", "--follow-symlinks", "--no-libhdf5"])
    assert _parser.limits_of(args) == refser.Limits(follow_symlinks=True, allow_libhdf5=False)


def test_cl009_caps_hold(tmp_path: Path) -> None:
    assert cli("inspect", FUNCTIONAL, "--limit", "json_bytes=1KB").err.endswith("[LI-001]\n")
    assert cli("inspect", FUNCTIONAL, "--limit", "json_bytes=1KB").code == 1
    assert cli("inspect", FUNCTIONAL, "--limit", "json_bytes=1 MiB").code == 0
    for part in Path(SHARDED).parent.glob("functional.sharded*"):
        (tmp_path / part.name).symlink_to(part)
    assert cli("inspect", tmp_path / Path(SHARDED).name).err.endswith("[LI-011]\n")
    assert cli("inspect", tmp_path / Path(SHARDED).name, "--follow-symlinks").code == 0


@pytest.mark.parametrize(
    ("text", "want"),
    [("64MB", 64 << 20), ("1kb", 1024), ("2 GiB", 2 << 30), ("1.5K", 1536), ("12", 12), ("12B", 12), ("0", 0)],
)
def test_cl009_sizes(text: str, want: int) -> None:
    assert _parser._limit(f"json_bytes={text}") == ("json_bytes", want)


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "0x10", "1 2", "١", "1MBB", "9" * 40, "inf"])
def test_cl009_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        _parser._limit(f"json_bytes={text}")


def test_cl010_file_names_beyond_utf8_leave_json_readable() -> None:
    assert cli("inspect", "missing\udcff", "--json").json["file"] == "missing\ufffd"


names = st.text(st.characters(), max_size=60) | st.sampled_from([HOSTILE, "层" * 50, "a" * 300, "e\u0301" * 60, "\u0301" * 200])


@given(parts=st.lists(names, min_size=1, max_size=4), room=st.integers(12, 100))
@example(parts=["a" * 65_536, "b" * 65_536, "c"], room=40)
def test_cl012_parts_of_a_line_fit_the_room(parts: list[str], room: int) -> None:
    fitted = _screen.fit(parts, room)
    event("elided" if any("..." in text for text in fitted) else "whole")
    assert sum(map(_screen.cells, fitted)) <= room
    assert all(text.isprintable() for text in fitted)
    assert all(bool(text) == bool(part) for text, part in zip(fitted, parts))


@given(text=names, room=st.integers(20, 100))
def test_cl012_wrapped_lines_fit_and_lose_nothing(text: str, room: int) -> None:
    lines = list(_screen.wrap(text, room))
    assert all(_screen.cells(line) <= room for line in lines)
    if _screen.cells(refser.errors.printable(text)) <= 20 * room:
        assert re.sub(" ", "", "".join(lines)) == re.sub(" ", "", refser.errors.printable(text))


def test_cl012_long_and_wide_names_stay_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = "/".join(f"level{number}" for number in range(40))
    path = new_h5(tmp_path / f"{'f' * 200}.weights.h5", "long" * 100, "层" * 100, deep, "short", attribute="名" * 100)
    for args in ([], ["--depth", "2"], ["--depth", "30"]):
        assert max(_screen.cells(line) for line in cli("inspect", path, *args).lines) == 80
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    for columns, width in ((20, 60), (70, 70), (500, 120)):
        monkeypatch.setenv("COLUMNS", str(columns))
        capsys.readouterr()
        assert main(["inspect", str(path)]) == 0
        assert max(_screen.cells(line) for line in capsys.readouterr().out.splitlines()) == width


def test_cl013_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = _plain_and_coloured(monkeypatch, capsys)
    assert "\x1b[" not in plain
    assert "\x1b[1m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert _plain_and_coloured(monkeypatch, capsys)[1] == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert _plain_and_coloured(monkeypatch, capsys)[1] == plain


def _plain_and_coloured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    shown = []
    monkeypatch.setenv("COLUMNS", "80")
    for terminal in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: terminal)  # noqa: B023
            capsys.readouterr()
            assert main(["inspect", FUNCTIONAL]) == 0
        shown.append(capsys.readouterr().out)
    return shown


def test_cl014_progress_is_for_terminals_and_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)  # noqa: B023
        progress = _screen.Progress(3, "extracting")
        for done in range(3):
            progress.step(done)
        progress.end()
        err = capsys.readouterr().err
        assert err.startswith("\rextracting 0 of 3\r") if terminal else err == ""
    assert err.endswith(f"\r{' ' * 17}\r")
