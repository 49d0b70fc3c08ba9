"""Where bytes come from (IO): source.py and the names in api.py."""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from file_models import (
    PATH,
    _no_open_files_are_left,  # noqa: F401  # for each test here
    posix,
)
from helpers import KERNEL, dense, h5_bytes, hostile, keras_members, refused, write, zip_bytes
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import source
from refser.api import layout_for
from refser.errors import AccessError, InvalidError, MalformedError
from refser.source import FileSource, MemorySource, SourceFile
from refser.values import Model, Weight


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
