"""Where bytes come from and how files get into place (IO): source.py, atomic.py and the names in api.py."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import GOLDEN, KERNEL, dense, h5_bytes, hostile, keras_members, refused, write, zip_bytes
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import atomic, layouts, source
from refser.api import layout_for
from refser.errors import AccessError, InvalidError, MalformedError, RefserError, UnsafeError
from refser.limits import GIB
from refser.source import FileSource, MemorySource, SourceFile
from refser.values import ByteRange, Model, Weight

PATH = "layers/dense/vars/0"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")

# --- reading


def test_io001_a_missing_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.keras", tmp_path / "no" / "such.h5", "", write(tmp_path / "file", b"x") / "below.keras"):
        with refused("IO-001", AccessError) as caught:
            refser.open(path)
        assert "no such file" in caught.value.problem.message


@posix
def test_io001_a_dangling_link_says_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "m.keras").symlink_to(tmp_path / "gone\x1b[31m")
    with refused("IO-001", AccessError) as caught:
        refser.open(tmp_path / "m.keras")
    assert "symbolic link" in caught.value.problem.message
    assert "\x1b" not in str(caught.value)


@posix
def test_io002_a_fifo_is_refused_and_never_opened(tmp_path: Path) -> None:
    with refused("IO-002", AccessError) as caught:
        refser.open(hostile(tmp_path / "m.keras"))
    assert "a FIFO" in caught.value.problem.message


@posix
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/urandom"])
def test_io002_a_device_is_refused(path: str) -> None:
    with refused("IO-002", AccessError) as caught:
        refser.open(path)
    assert "a device" in caught.value.problem.message


@posix
def test_io002_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with refused("IO-002", AccessError):
            refser.open("s")


@posix
def test_io002_a_link_to_a_fifo_is_refused(tmp_path: Path) -> None:
    hostile(tmp_path / "fifo")
    (tmp_path / "m.keras").symlink_to("fifo")
    with refused("IO-002", AccessError):
        refser.open(tmp_path / "m.keras")


@posix
def test_io003_what_the_system_does_not_open_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / ("x" * 5000), "a\0b", "\ud800"):
        with pytest.raises(AccessError) as caught:
            refser.open(path)
        assert caught.value.problem.code in ("IO-003", "IO-001")
        str(caught.value).encode()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_io003_a_file_without_permission_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "m.keras", zip_bytes(keras_members()))
    path.chmod(0)
    with refused("IO-003", AccessError):
        refser.open(path)


@posix
def test_a_link_to_a_model_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "m.keras", zip_bytes(keras_members()))
    (tmp_path / "link.keras").symlink_to("m.keras")
    assert refser.load(tmp_path / "link.keras") == refser.load(tmp_path / "m.keras")


def test_a_name_of_any_bytes_is_opened(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.keras") if sys.platform.startswith("linux") else "ü.keras"
    assert refser.open(write(tmp_path / name, zip_bytes(keras_members()))).layout == "keras-zip"


def test_kind_of_tells_files_from_directories(tmp_path: Path) -> None:
    assert source.kind_of(str(tmp_path)) == "directory"
    assert source.kind_of(str(write(tmp_path / "f", b""))) == "file"


# IO-004: a view inside the bytes is those bytes, any other is refused; so for every kind of source.
@given(data=st.binary(max_size=20), offset=st.integers(-3, 25), length=st.integers(-3, 25), start=st.integers(0, 4))
def test_io004_a_view_is_exactly_the_bytes_asked_for(data: bytes, offset: int, length: int, start: int) -> None:
    inside = offset >= 0 and length >= 0 and offset + length <= len(data)
    event("inside" if inside else "outside")
    around = MemorySource(bytes(start) + data + b"behind", "around")
    for one in (MemorySource(data, "memory"), around.window(start, len(data), "window")):
        assert one.size == len(data)
        if inside:
            assert bytes(one.view(offset, length)) == data[offset : offset + length]
        else:
            with refused("IO-004", MalformedError):
                one.view(offset, length)


def test_io004_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    one = FileSource(str(write(tmp_path / "f", b"0123456789")))
    assert (one.name, one.size, bytes(one.view(3, 4)), one.head(3), one.head(99)) == ("f", 10, b"3456", b"012", b"0123456789")
    for offset, length in ((8, 3), (11, 0), (-1, 1), (1 << 64, 1), (0, 1 << 64)):
        with refused("IO-004", MalformedError):
            one.view(offset, length)
    empty = FileSource(str(write(tmp_path / "e", b"")))
    assert (empty.size, bytes(empty.view(0, 0)), empty.head(5)) == (0, b"", b"")


def test_io004_a_window_lies_inside() -> None:
    one = MemorySource(b"0123456789", "x")
    for offset, length in ((0, 11), (10, 1), (-1, 2)):
        with refused("IO-004"):
            one.window(offset, length, "w")


def test_a_view_cannot_be_written_to(tmp_path: Path) -> None:
    assert FileSource(str(write(tmp_path / "f", b"abc"))).view(0, 3).readonly
    assert MemorySource(b"abc", "x").view(0, 3).readonly


def test_a_source_as_a_file_behaves_as_a_file(tmp_path: Path) -> None:
    data = bytes(range(50))
    with open(write(tmp_path / "f", data), "rb") as real:
        ours = SourceFile(MemorySource(data, "x"))
        for step in (
            ("seek", 10),
            ("read", 5),
            ("seek", -3, 2),
            ("read", 9),
            ("read", 1),
            ("seek", 200),
            ("read", 4),
            ("seek", 2),
            ("seek", 3, 1),
        ):
            name, *arguments = step
            assert getattr(ours, name)(*arguments) == getattr(real, name)(*arguments)
            assert ours.tell() == real.tell()
        for bad in ((-1, 0), (-51, 2), (-99, 1)):
            for file in (ours, real):
                with pytest.raises(OSError, match=f"Errno {errno.EINVAL}"):
                    file.seek(*bad)
        assert (ours.readable(), ours.seekable(), ours.writable()) == (True, True, False)
        assert io.BufferedReader(SourceFile(MemorySource(data, "x"))).read() == data


@pytest.mark.parametrize("name", ["m.keras", "m", "m.weights.h5", "m.weights.json"])
def test_arrays_stay_good_after_close_and_after_the_file_is_gone(tmp_path: Path, name: str) -> None:
    refser.save(Model(config_json="{}", weights={PATH: Weight.from_array(PATH, KERNEL)}), tmp_path / name)
    with refser.open(tmp_path / name) as file:
        weight, array = file.weights[PATH], file.weights[PATH].array()
    assert file.closed
    assert (dict(file.weights), file.groups, dict(file.assets)) == ({}, (), {})
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert array.tobytes() == weight.array().tobytes() == KERNEL.tobytes()
    file.close()  # again


def test_chunked_arrays_stay_good_after_close(tmp_path: Path) -> None:
    path = write(tmp_path / "m.weights.h5", h5_bytes(lambda f: f.create_dataset("vars/0", data=KERNEL, chunks=(1, 2))))
    with refser.open(path) as file:
        weight = file.weights["vars/0"]
    path.unlink()
    assert weight.array().tobytes() == KERNEL.tobytes()


def test_a_file_may_be_replaced_by_what_was_read_from_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m.weights.h5", h5_bytes(dense))
    with refser.open(path) as file:
        refser.save(Model(weights=file.weights, groups=file.groups), path, overwrite=True)
        assert file.weights[PATH].tobytes() == KERNEL.tobytes()
    assert refser.load(path).weights[PATH].tobytes() == KERNEL.tobytes()


# --- which layout a name stands for


@pytest.mark.parametrize(
    ("name", "generation", "config", "layout"),
    [
        ("m.keras", "v3", "{}", "keras-zip"),
        ("dir/m.weights.keras", "v3", "{}", "keras-zip"),
        ("m", "v3", "{}", "keras-dir"),
        ("m.keras/", "v3", "{}", "keras-dir"),
        ("a.b/m", "v3", "{}", "keras-dir"),
        ("m.weights.h5", "v3", "{}", "weights-h5"),
        ("m.weights.json", "v3", "{}", "weights-sharded"),
        ("m.json", "v3", "{}", "config-json"),
        ("m.h5", "legacy", "{}", "legacy-h5"),
        ("m.hdf5", "legacy", "{}", "legacy-h5"),
        ("m.h5", "legacy", None, "legacy-weights-h5"),
        (".json", "v3", "{}", "config-json"),
    ],
)
def test_io010_a_name_stands_for_a_layout(name: str, generation: Any, config: str | None, layout: str) -> None:
    assert layout_for(name, Model(generation=generation, config_json=config)) == layout


@pytest.mark.parametrize("name", ["m.txt", "m.keras.bak", "m.H5", "m.pb", "m.safetensors", ".hidden"])
def test_io010_a_name_that_stands_for_none_is_refused(tmp_path: Path, name: str) -> None:
    with refused("IO-010", InvalidError):
        refser.save(Model(config_json="{}"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_io010_a_layout_that_does_not_exist_or_belongs_to_the_other_generation_is_refused(tmp_path: Path) -> None:
    v3, legacy = Model(config_json="{}"), Model(generation="legacy", config_json="{}")
    for model, name, layout in ((v3, "m", "onnx"), (v3, "m.h5", None), (legacy, "m.keras", None), (legacy, "m", None)):
        with refused("IO-010", InvalidError):
            refser.save(model, tmp_path / name, layout=layout)
    assert list(tmp_path.iterdir()) == []


# --- writing

OLD, NEW = ({f"layers/d{i}/vars/0": np.full((3, 3), i + add, "<f4") for i in range(count)} for add, count in ((0, 3), (10, 2)))


def config(count: int) -> str:
    return json.dumps({"class_name": "Functional", "config": {"layers": count}})


def v3(arrays: dict[str, Any]) -> Model:
    weights = {path: Weight.from_array(path, array) for path, array in arrays.items()}
    return Model(
        config_json=config(len(weights)), metadata={"a": "b"}, weights=weights, assets={"a/b.txt": b"x" * len(weights)}
    )


def legacy(arrays: dict[str, Any]) -> Model:
    weights = {f"model_weights/{path}": Weight.from_array(f"model_weights/{path}", array) for path, array in arrays.items()}
    return Model(generation="legacy", config_json=config(len(weights)), weights=weights)


def only_weights(model: Model) -> Model:
    return Model(generation=model.generation, weights=model.weights, groups=model.groups)


LAYOUTS: dict[str, Callable[[dict[str, Any]], Model]] = {
    "m.keras": v3,
    "m": v3,
    "m.weights.h5": lambda arrays: only_weights(v3(arrays)),
    "m.weights.json": lambda arrays: only_weights(v3(arrays)),
    "m.json": lambda arrays: Model(config_json=v3(arrays).config_json),
    "m.h5": legacy,
    "w.h5": lambda arrays: Model(generation="legacy", weights={p: Weight.from_array(p, a) for p, a in arrays.items()}),
}


def options(name: str) -> dict[str, Any]:
    return {"max_shard_size": 40 / GIB} if name == "m.weights.json" else {}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io005_what_is_there_is_not_replaced_unasked(tmp_path: Path, name: str) -> None:
    refser.save(LAYOUTS[name](OLD), tmp_path / name, **options(name))
    before = contents(tmp_path)
    with refused("IO-005", AccessError) as caught:
        refser.save(LAYOUTS[name](NEW), tmp_path / name, **options(name))
    assert "overwrite" in caught.value.problem.hint
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io006_what_is_there_is_replaced_when_asked(tmp_path: Path, name: str) -> None:
    for arrays in (OLD, NEW, OLD):
        refser.save(LAYOUTS[name](arrays), tmp_path / name, overwrite=True, **options(name))
        assert same(refser.load(tmp_path / name), LAYOUTS[name](arrays))
        assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def same(found: Model, want: Model) -> bool:
    return (found.weights, found.config_json, found.assets) == (want.weights, want.config_json, want.assets)


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io005_a_dangling_link_counts_as_something(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("gone")
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name)


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io005_nothing_but_a_file_is_replaced_by_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name, overwrite=True)
    (tmp_path / name).rmdir()
    hostile(tmp_path / name)
    with refused("IO-005", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / name, overwrite=True)
    assert stat.S_ISFIFO((tmp_path / name).stat().st_mode)


def test_io005_a_file_is_not_replaced_by_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "m", b"mine")
    with refused("IO-005", AccessError):
        refser.save(v3(OLD), tmp_path / "m", overwrite=True)
    assert contents(tmp_path) == {"m": b"mine"}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io001_a_directory_that_does_not_exist_is_told(tmp_path: Path, name: str) -> None:
    with refused("IO-001", AccessError):
        refser.save(LAYOUTS[name](OLD), tmp_path / "gone" / name, **options(name))


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io006_a_replaced_file_keeps_its_permissions_and_a_new_one_has_the_umask(tmp_path: Path, name: str) -> None:
    before = os.umask(0o027)
    try:
        refser.save(LAYOUTS[name](OLD), tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
        (tmp_path / name).chmod(0o604)
        refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.json", "m.h5"])
def test_io012_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "real").mkdir()
    refser.save(LAYOUTS[name](OLD), tmp_path / "real" / name)
    (tmp_path / name).symlink_to(Path("real") / name)
    refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
    assert (tmp_path / name).is_symlink()
    assert same(refser.load(tmp_path / "real" / name), LAYOUTS[name](NEW))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["real", name])


@posix
def test_io012_a_link_to_a_directory_stays_a_link(tmp_path: Path) -> None:
    refser.save(v3(OLD), tmp_path / "real")
    (tmp_path / "m").symlink_to("real")
    refser.save(v3(NEW), tmp_path / "m", overwrite=True)
    assert (tmp_path / "m").is_symlink()
    assert same(refser.load(tmp_path / "real"), v3(NEW))


def test_io006_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    for name in ("x" * 249 + ".keras", "é" * 124 + ".keras", "y" * 255):
        refser.save(v3(OLD), tmp_path / name, layout=None if "." in name else "keras-dir")
        assert same(refser.load(tmp_path / name), v3(OLD))
    with refused("IO-003", AccessError):
        refser.save(v3(OLD), tmp_path / ("x" * 250 + ".keras"))
    assert len(list(tmp_path.iterdir())) == 3


def test_io007_a_directory_with_anything_else_in_it_is_never_replaced(tmp_path: Path) -> None:
    for name in ("thesis.txt", ".git", "sub"):
        folder = tmp_path / f"m_{name.strip('.')[:3]}"
        refser.save(v3(OLD), folder)
        (folder / name).mkdir() if name != "thesis.txt" else write(folder / name, b"work")
        before = contents(tmp_path)
        with refused("IO-007", AccessError) as caught:
            refser.save(v3(NEW), folder, overwrite=True)
        assert repr(name) in caught.value.problem.message
        assert contents(tmp_path) == before


def test_io007_an_empty_directory_is_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with refused("IO-005"):
        refser.save(v3(OLD), tmp_path / "m")
    refser.save(v3(OLD), tmp_path / "m", overwrite=True)
    assert same(refser.load(tmp_path / "m"), v3(OLD))


def test_io007_assets_of_the_old_directory_are_gone(tmp_path: Path) -> None:
    refser.save(replace(v3(OLD), assets={"old/a": b"1"}), tmp_path / "m")
    refser.save(replace(v3(OLD), assets={"new": b"2"}), tmp_path / "m", overwrite=True)
    assert sorted(contents(tmp_path / "m" / "assets")) == ["new"]


class Failing:
    """Bytes that cannot be had."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def view(self, offset: int, length: int) -> memoryview:
        raise self.error


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    KeyboardInterrupt(),
    MemoryError(),
    UnsafeError(refser.Problem(code="H5-001", message="m")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"m.json"}))
def test_io006_io011_a_failure_inside_a_write_leaves_everything_as_it_was(
    tmp_path: Path, name: str, existing: bool, error: BaseException
) -> None:
    if existing:
        refser.save(LAYOUTS[name](OLD), tmp_path / name, **options(name))
    before = contents(tmp_path)
    model = LAYOUTS[name](NEW)
    last = list(model.weights)[-1]
    broken = replace(model.weights[last], source=ByteRange(Failing(error), 0, 36))
    model = replace(model, weights={**model.weights, last: broken})
    with pytest.raises((RefserError, KeyboardInterrupt, MemoryError)) as caught:
        refser.save(model, tmp_path / name, overwrite=existing, **options(name))
    if isinstance(error, OSError):
        assert isinstance(caught.value, AccessError)
        assert caught.value.problem.code == "IO-003"
    else:
        assert caught.value is error
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


FULL = """if True:
    import json, pathlib, resource, signal, sys
    import numpy as np, refser, h5py
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder, name, layout = sys.argv[1:]
    big = {"layers/d/vars/0": np.zeros(100_000, "f4"), "layers/e/vars/0": np.zeros(100_000, "f4")}
    generation, prefix = ("legacy", "model_weights/") if layout.startswith("legacy") else ("v3", "")
    weights = {prefix + path: refser.Weight.from_array(prefix + path, array) for path, array in big.items()}
    model = refser.Model(generation=generation, config_json="{}", weights=weights)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    try:
        refser.save(model, folder + "/" + name, layout=layout)
    except refser.RefserError as error:
        print(error.problem.code)
    print(sorted(p.name for p in pathlib.Path(folder).iterdir()))
"""


@posix
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("m.keras", "keras-zip"),
        ("m", "keras-dir"),
        ("m.weights.h5", "weights-h5"),
        ("m.weights.json", "weights-sharded"),
        ("m.h5", "legacy-h5"),
    ],
)
def test_io003_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, name: str, layout: str) -> None:
    out = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), name, layout], capture_output=True, text=True, check=False)
    assert out.stdout.splitlines() == ["IO-003", "[]"], out.stderr[-2000:]


# --- killed half way

KILLED = """if True:
    import json, os, pathlib, shutil, signal, sys
    sys.path.insert(0, sys.argv[3])
    import numpy, h5py, zipfile, ctypes, refser, refser.api
    import test_files as t
    base, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    old, new = t.LAYOUTS[name](t.OLD), t.LAYOUTS[name](t.NEW)
    EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.listdir", "os.scandir",
              "shutil.copyfile", "shutil.rmtree", "shutil.copymode", "ctypes.dlopen", "ctypes.dlsym"}
    NAMES = ("atomic.py", "weights_sharded.py", "keras_zip.py", "keras_dir.py", "config_json.py")
    FILES = tuple(os.path.join(folder, name) for folder in ("refser", "layouts") for name in NAMES)

    def save(folder, how, number, model):
        left = [number]
        def count():
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "event":
            sys.addaudithook(lambda event, arguments: count() if event in EVENTS else None)
        else:
            def line(frame, event, argument):
                if event == "line":
                    count()
                return line
            sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.endswith(FILES) else None)
        refser.save(model, folder / name, overwrite=True, **t.options(name))

    def state(folder):
        if not os.path.lexists(folder / name):
            return "absent"
        try:
            found = refser.load(folder / name)
        except refser.RefserError as error:
            return f"broken: {error}"
        return "old" if t.same(found, old) else "new" if t.same(found, new) else "mixed"

    template = base / "template"
    template.mkdir()
    refser.save(old, template / name, **t.options(name))
    results = []
    for how in ("event", "line"):
        for start in ("old", "absent"):
            number, step = 0, 1 if how == "event" else int(sys.argv[4])
            while True:
                folder = base / f"{how}{start}{number}"
                shutil.copytree(template, folder, symlinks=True) if start == "old" else folder.mkdir()
                child = os.fork()
                if child == 0:
                    try:
                        save(folder, how, number, new)
                    except BaseException as error:
                        print(error, file=sys.stderr)
                        os._exit(1)
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                first = state(folder)
                refser.save(new, folder / name, overwrite=True, **t.options(name))
                results.append([how, start, number, code, first, state(folder)])
                shutil.rmtree(folder)
                if code != -signal.SIGKILL:
                    break
                number += step
    print(json.dumps(results))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io006_io007_io008_killed_at_any_point_the_old_model_or_the_new_one_is_there(tmp_path: Path, name: str) -> None:
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path  # where a flush costs nothing
    with tempfile.TemporaryDirectory(dir=memory) as base:
        command = [sys.executable, "-c", KILLED, base, name, str(Path(__file__).parent), "5"]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr[-3000:]
    results = json.loads(out.stdout)
    for how in ("event", "line"):
        for start in ("old", "absent"):
            run = [result[2:] for result in results if result[:2] == [how, start]]
            states = [state for _, _, state, _ in run]
            assert set(states) <= {start, "new"}, [result for result in run if result[2] not in (start, "new")]
            assert states == sorted(states, key=["old", "absent", "new"].index)  # once new, never old again
            assert (states[0], run[-1][1], states[-1]) == (start, 0, "new")  # the first was killed, the last was not
            assert len(run) >= 4
            assert {after for *_, after in run} == {"new"}  # and whatever was left lying does not hinder the next save


# --- the same model, the same bytes

SAVE = """if True:
    import pathlib, sys
    sys.path.insert(0, sys.argv[2])
    import refser, test_files as t
    for name, make in t.LAYOUTS.items():
        refser.save(make(t.OLD), pathlib.Path(sys.argv[1]) / name, **t.options(name))
"""


def test_io009_h5015_the_same_model_gives_the_same_bytes_at_any_time_in_any_process(tmp_path: Path) -> None:
    runs = []
    for number, (seed, zone) in enumerate((("0", "UTC"), ("12345", "Asia/Tokyo"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone}
        wait = "import time; time.sleep(2.1)\n" if number else ""  # zip counts in two seconds, HDF5 in one
        command = [sys.executable, "-c", wait + SAVE, str(folder), str(Path(__file__).parent)]
        subprocess.run(command, check=True, env=environment)
        runs.append(contents(folder))
    assert sorted(runs[0]) == sorted(runs[1])
    assert [name for name in runs[0] if runs[0][name] != runs[1][name]] == []


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_io009_h5015_a_copy_of_a_copy_is_the_same_bytes(tmp_path: Path, name: str) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        model = refser.load(tmp_path / str(number - 1) / name) if number else LAYOUTS[name](OLD)
        refser.save(model, tmp_path / str(number) / name, **options(name))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


# --- the parts of atomic.py


@posix
def test_io008_a_link_in_the_place_of_a_shard_is_replaced_and_not_followed(tmp_path: Path) -> None:
    name = "m.weights.json"
    refser.save(LAYOUTS[name](OLD), tmp_path / name)
    keep = write(tmp_path / "precious", b"keep me")
    (tmp_path / "m_00000.weights.h5").unlink()
    (tmp_path / "m_00000.weights.h5").symlink_to(keep)
    refser.save(LAYOUTS[name](NEW), tmp_path / name, overwrite=True)
    assert keep.read_bytes() == b"keep me"
    assert same(refser.load(tmp_path / name), LAYOUTS[name](NEW))


def test_io006_another_who_comes_first_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with refused("IO-005", AccessError), atomic.new_file(str(path), overwrite=False) as temporary:
        Path(temporary).write_bytes(b"ours")
        path.write_bytes(b"theirs")
    assert contents(tmp_path) == {"m.h5": b"theirs"}


def test_io006_the_temporary_file_lies_beside_the_target(tmp_path: Path) -> None:
    with atomic.new_file(str(tmp_path / "m.h5"), overwrite=False) as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        assert os.path.basename(temporary).startswith(".")
        Path(temporary).write_bytes(b"x")
        assert not (tmp_path / "m.h5").exists()
    assert contents(tmp_path) == {"m.h5": b"x"}


def test_io011_where_nothing_swaps_two_renames_do(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "f", name.encode())
    atomic._swap_by_two_renames(str(tmp_path / "new"), str(tmp_path / "old"))
    assert contents(tmp_path) == {os.path.join("old", "f"): b"new"}
    with pytest.raises(OSError, match="No such file"):
        atomic._swap_by_two_renames(str(tmp_path / "gone"), str(tmp_path / "old"))
    assert contents(tmp_path) == {os.path.join("old", "f"): b"new"}


def test_written_files_are_read_by_h5py_and_zipfile_alone(tmp_path: Path) -> None:
    refser.save_weights({PATH: KERNEL}, tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert file[PATH][()].tobytes() == KERNEL.tobytes()


@pytest.fixture(autouse=True)
def _no_open_files_are_left() -> Iterator[None]:
    """Each test gives its file descriptors back."""
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir())) if folder.exists() else 0
    yield
    after = len(list(folder.iterdir())) if folder.exists() else 0
    assert after <= before + 2


@pytest.mark.parametrize("layout", [*layouts.LAYOUTS, None])
def test_io005_an_empty_path_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str | None) -> None:
    """The system takes it for the current directory, which a directory layout would replace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").write_text("mine")
    model = refser.load(GOLDEN / "keras-3.15.1" / "sequential.keras")
    for overwrite in (False, True):
        with pytest.raises(refser.RefserError):
            refser.save(model, "", layout=layout, overwrite=overwrite)
        with pytest.raises(refser.AccessError), atomic.new_directory("", overwrite=overwrite, members=()):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_io007_what_comes_while_a_directory_is_written_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(refser.AccessError), atomic.new_directory(str(tmp_path / "m"), overwrite=True, members=("a",)):
        (tmp_path / "m" / "letter.txt").write_text("mine")
    assert (tmp_path / "m" / "letter.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_io014_a_closed_file_is_not_saved_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    data = (GOLDEN / "keras-3.15.1" / "sequential.keras").read_bytes()
    path.write_bytes(data)
    with refser.open(path) as file:
        refser.save(file, tmp_path / "copy.keras")
        assert refser.load(tmp_path / "copy.keras") == refser.load(path)
    for use in (lambda: refser.save(file, path, overwrite=True), file.load, file.model):
        with pytest.raises(refser.AccessError):
            use()
    assert path.read_bytes() == data


def test_sh003_a_name_with_a_colon_is_a_plain_name(tmp_path: Path) -> None:
    model = refser.load(GOLDEN / "keras-3.15.1" / "sequential.weights.h5")
    refser.save(model, tmp_path / "run-03:40.weights.json")
    assert refser.load(tmp_path / "run-03:40.weights.json") == model
