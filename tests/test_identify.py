"""Which layout a path is, and what it is instead (FT)."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import CONFIG, GOLDEN, KERNEL, METADATA, dense, h5_bytes, keras_members, refused, write, zip_bytes

import refser
from refser.errors import AccessError, InvalidError, MalformedError, UnsupportedError
from refser.limits import Limits

ARCHIVE, WEIGHTS = zip_bytes(keras_members()), h5_bytes(dense)


def legacy(file: h5py.File) -> None:
    base = file.create_group("model_weights")
    base.attrs["layer_names"] = np.array([], "f8")
    file.attrs["model_config"] = CONFIG.decode()


def legacy_weights(file: h5py.File) -> None:
    file.attrs["layer_names"] = np.array([], "f8")


LEGACY, LEGACY_WEIGHTS = h5_bytes(legacy, vars_group=False), h5_bytes(legacy_weights, vars_group=False)
INDEX = json.dumps({"metadata": {"total_size": 0}, "weight_map": {}}).encode()
LAYOUT_OF = {
    "keras-zip": ARCHIVE,
    "weights-h5": WEIGHTS,
    "legacy-h5": LEGACY,
    "legacy-weights-h5": LEGACY_WEIGHTS,
    "weights-sharded": INDEX,
    "config-json": CONFIG,
}


@pytest.mark.parametrize("layout", sorted(LAYOUT_OF))
@pytest.mark.parametrize("name", ["m", "m.bin", "m.keras", "m.h5", "m.hdf5", "m.weights.h5", "m.weights.json", "m.json"])
def test_ft001_content_decides_and_no_name_does(tmp_path: Path, layout: str, name: str) -> None:
    assert refser.open(write(tmp_path / name, LAYOUT_OF[layout])).layout == layout


# FT-002: name -> the layouts under which it is no surprise.
EXPECTED = {
    "m": set(LAYOUT_OF),
    "m.bin": set(LAYOUT_OF),
    "m.json": set(LAYOUT_OF),
    "m.keras": {"keras-zip"},
    "m.h5": {"weights-h5", "legacy-h5", "legacy-weights-h5"},
    "m.hdf5": {"weights-h5", "legacy-h5", "legacy-weights-h5"},
    "m.weights.h5": {"weights-h5", "legacy-weights-h5"},
    "m.weights.json": {"weights-sharded"},
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("layout", sorted(LAYOUT_OF))
def test_ft002_a_name_that_promises_another_layout_is_a_warning(tmp_path: Path, layout: str, name: str) -> None:
    with refser.open(write(tmp_path / name, LAYOUT_OF[layout])) as file:
        codes = [problem.code for problem in file.problems]
    assert codes == ([] if layout in EXPECTED[name] else ["FT-002"])


def test_ft002_an_hdf5_file_named_keras_says_what_it_is_and_what_to_do(tmp_path: Path) -> None:
    (problem,) = refser.open(write(tmp_path / "m.keras", LEGACY)).problems
    assert problem.message == "an HDF5 file in the legacy whole-model layout under the name 'm.keras'"
    assert "rename it to end in .h5" in problem.hint
    (problem,) = refser.open(write(tmp_path / "m.h5", ARCHIVE)).problems
    assert "a zip archive in the Keras 3 layout" in problem.message
    assert "rename it to end in .keras" in problem.hint


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.json", "m"])
def test_ft003_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    with refused("FT-003", MalformedError) as caught:
        refser.open(write(tmp_path / name, b""))
    assert caught.value.problem.hint


def test_ft004_a_git_lfs_pointer_is_told_with_the_size_of_what_it_stands_for(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 102849036\n"
    with refused("FT-004", InvalidError) as caught:
        refser.open(write(tmp_path / "m.keras", pointer))
    assert "102,849,036 bytes" in caught.value.problem.message
    assert "git lfs pull" in caught.value.problem.hint


def test_ft004_a_pointer_without_a_size_is_told_too(tmp_path: Path) -> None:
    with refused("FT-004"):
        refser.open(write(tmp_path / "m.keras", b"version https://git-lfs.github.com/spec/v1\nsize " + b"9" * 400))


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html>\n<html>",
        b"<html><body>404",
        b"\n\n  <HTML lang='en'>",
        b"<!-- saved -->\n<!doctype html>",
        b"<head><title>Sign in</title>",
        b"<body>",
    ],
)
def test_ft005_an_html_page_is_told(tmp_path: Path, page: bytes) -> None:
    with refused("FT-005", InvalidError) as caught:
        refser.open(write(tmp_path / "m.h5", page))
    assert "HTML" in caught.value.problem.message


def test_ft005_an_endless_comment_is_no_page_and_takes_no_time(tmp_path: Path) -> None:
    with refused("FT-006"):
        refser.open(write(tmp_path / "m.h5", b"<!--" * 1000))


def tar_bytes() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.keras"))
    return stream.getvalue()


SAFETENSORS = struct.pack("<Q", 2) + b"{}"
OTHERS: dict[str, tuple[bytes, str]] = {
    "gzip": (gzip.compress(ARCHIVE), "gzip"),
    "tar": (tar_bytes(), "tar archive"),
    "tar.gz": (gzip.compress(tar_bytes()), "gzip"),
    "pickle2": (pickle.dumps({"a": 1}, 2), "a pickle"),
    "pickle5": (pickle.dumps({"a": 1}, 5), "a pickle"),
    "safetensors": (SAFETENSORS, "safetensors"),
    "npy": (b"\x93NUMPY\1\0", "NumPy .npy"),
    "zstd": (b"\x28\xb5\x2f\xfd\0", "zstd"),
    "bzip2": (b"BZh91AY&SY", "bzip2"),
    "xz": (b"\xfd7zXZ\0\0", "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0", "7z"),
    "gguf": (b"GGUF\3\0\0\0", "GGUF"),
    "xml": (b"<?xml version='1.0'?><Error/>", "XML"),
    "text": (b"hello world", "b'hello wo'"),
    "one byte": (b"P", "b'P'"),
    "pickle protocol 0": (pickle.dumps([1], 0), "neither zip, HDF5 nor JSON"),
    "nuls": (bytes(4096), "neither zip, HDF5 nor JSON"),
    "spaces": (b" " * 4096, "neither zip, HDF5 nor JSON"),
    "half a signature": (b"\x89HDF\r\n", "neither zip, HDF5 nor JSON"),
    "yaml": (b"class_name: Model\n", "neither zip, HDF5 nor JSON"),
    "png": (b"\x89PNG\r\n\x1a\n", "neither zip, HDF5 nor JSON"),
}


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_ft006_a_file_of_another_kind_is_named(tmp_path: Path, what: str) -> None:
    data, words = OTHERS[what]
    with refused("FT-006", InvalidError) as caught:
        refser.open(write(tmp_path / "m.keras", data))
    assert words in caught.value.problem.message
    assert "wanted a Keras model" in caught.value.problem.message
    assert len(str(caught.value).splitlines()) == 1


def test_ft006_the_name_of_the_file_is_where_the_problem_is(tmp_path: Path) -> None:
    path = write(tmp_path / "m.keras", b"hello")
    with refused("FT-006") as caught:
        refser.open(path)
    assert caught.value.problem.at == str(path)


def test_ft007_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with refused("FT-007", InvalidError) as caught:
        refser.open(tmp_path)
    assert "nothing in it" in caught.value.problem.message
    write(tmp_path / "notes.txt", b"x")
    with refused("FT-007") as caught:
        refser.open(tmp_path)
    assert "1 entries" in caught.value.problem.message


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_ft007_one_file_of_a_model_makes_no_model_directory(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"{}")
    with refused("FT-007"):
        refser.open(tmp_path)


def test_ft007_a_directory_around_one_model_file_points_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m.keras", ARCHIVE)
    with refused("FT-007") as caught:
        refser.open(tmp_path)
    assert str(path) in caught.value.problem.hint


def npz_bytes() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=KERNEL)
    return stream.getvalue()


PYTORCH = zip_bytes({"archive/data.pkl": b"\x80\2}.", "archive/version": b"3\n", "archive/data/0": b"1234"})
FOLDER = zip_bytes({f"model/{name}": data for name, data in keras_members().items()})
ZIPS = {
    "pytorch": (PYTORCH, "PyTorch"),
    "npz": (npz_bytes(), ".npz"),
    "config only": (zip_bytes({"config.json": CONFIG}), "neither weights nor metadata"),
    "a packed model": (zip_bytes({"m.keras": ARCHIVE}), "'m.keras'"),
    "one folder down": (FOLDER, "model"),
    "something": (zip_bytes({"a.txt": b"x", "b.txt": b"y"}), "2 members"),
    "nothing": (zip_bytes({}), "0 members"),
}


@pytest.mark.parametrize("what", sorted(ZIPS))
def test_ft009_a_zip_that_is_no_model_says_what_it_is(tmp_path: Path, what: str) -> None:
    data, words = ZIPS[what]
    with refused("FT-009", InvalidError) as caught:
        refser.open(write(tmp_path / "m.keras", data))
    assert words in caught.value.problem.message
    assert "wanted a .keras archive" in caught.value.problem.message


def test_ft009_an_archive_one_folder_down_says_how_to_mend_it(tmp_path: Path) -> None:
    with refused("FT-009") as caught:
        refser.open(write(tmp_path / "m.keras", FOLDER))
    assert caught.value.problem.hint


def test_ft010_an_hdf5_file_that_keras_did_not_save_says_what_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", h5_bytes(lambda file: file.create_group("images"), vars_group=False))
    with refused("FT-010", InvalidError) as caught:
        refser.open(path)
    assert "'images'" in caught.value.problem.message
    with refused("FT-010") as caught:
        refser.open(write(tmp_path / "n.h5", h5_bytes(vars_group=False)))
    assert "nothing" in caught.value.problem.message


def touch(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name, b"x")
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (touch("saved_model.pb", "variables/variables.index"), "SavedModel"),
        (touch("saved_model.pbtxt"), "SavedModel"),
        (touch("checkpoint", "ckpt.index", "ckpt.data-00000-of-00001"), "TensorFlow checkpoint"),
        (touch("ckpt.index", "ckpt.data-00000-of-00001"), "TensorFlow checkpoint"),
        (touch("_CHECKPOINT_METADATA", "pytree/_METADATA"), "Orbax"),
        (touch("1/pytree/_METADATA", "1/pytree/manifest.ocdbt"), "Orbax"),
    ],
)
def test_ft011_a_directory_of_another_format_is_named(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with refused("FT-011", UnsupportedError) as caught:
        refser.open(make(tmp_path))
    assert words in caught.value.problem.message


@pytest.mark.parametrize("name", ["ckpt.index", "checkpoint", "ckpt.data-00000-of-00001"])
def test_ft011_a_file_of_a_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    with refused("FT-011", UnsupportedError):
        refser.open(write(tmp_path / name, b"\0\0\1\2model_checkpoint"))


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"class_name": 1, "config": {}}', '{"class_name": "M"}', '[{"class_name": "M"}]']
)
def test_ft012_json_that_is_neither_config_nor_index_is_refused(tmp_path: Path, text: str) -> None:
    with refused("FT-012", InvalidError):
        refser.open(write(tmp_path / "m.json", text.encode()))


@pytest.mark.parametrize("cut", [4, 29, 30, 43, 100, 300, 1000, -1, -10, -21, -22, -23, -40, -100])
def test_kz013_a_truncated_archive_is_told(tmp_path: Path, cut: int) -> None:
    with refused("KZ-013", MalformedError) as caught:
        refser.open(write(tmp_path / "m.keras", ARCHIVE[:cut]))
    assert "fetch it again" in caught.value.problem.hint


@pytest.mark.parametrize("name", ["keras-3.15.1/sequential.weights.h5", "keras-2.3.1/sequential.legacy.h5"])
@pytest.mark.parametrize("cut", [48, 96, 100, 800, 2048, 5000, -1, -8, -1000])
def test_h5014_a_truncated_hdf5_file_is_told(tmp_path: Path, name: str, cut: int) -> None:
    data = (GOLDEN / name).read_bytes()
    with refused("H5-014", MalformedError) as caught:
        refser.open(write(tmp_path / "m.h5", data[:cut]))
    assert f"{len(data):,}" in caught.value.problem.message
    assert caught.value.problem.hint == "fetch it again"


@pytest.mark.parametrize("cut", [8, 9, 13, 20, 47])
def test_h5014_an_hdf5_file_cut_inside_its_superblock_is_told(tmp_path: Path, cut: int) -> None:
    with refused("H5-014", MalformedError):
        refser.open(write(tmp_path / "m.h5", WEIGHTS[:cut]))


def test_io001_a_missing_file_is_told(tmp_path: Path) -> None:
    with refused("IO-001", AccessError) as caught:
        refser.open(tmp_path / "gone.keras")
    assert caught.value.problem.at == str(tmp_path / "gone.keras")


def test_kz015_an_archive_without_metadata_is_a_model(tmp_path: Path) -> None:
    members = keras_members()
    del members["metadata.json"]
    with refser.open(write(tmp_path / "m.keras", zip_bytes(members))) as file:
        assert (file.layout, file.metadata) == ("keras-zip", {})


def test_ft008_what_begins_as_a_zip_is_one_even_before_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        dense(file)
    with open(path, "r+b") as stream:
        stream.write(zip_bytes({"config.json": CONFIG, "metadata.json": METADATA}))
    with refused("KZ-009"):  # what starts as a zip is one
        refser.open(path)


def test_ft008_an_archive_behind_junk_is_an_archive(tmp_path: Path) -> None:
    assert refser.open(write(tmp_path / "m.keras", b"#!/bin/sh\n" + ARCHIVE)).layout == "keras-zip"


def test_ft008_weights_that_contain_an_end_record_stay_hdf5(tmp_path: Path) -> None:
    record = zip_bytes({})
    data = h5_bytes(lambda file: file.create_dataset("vars/0", data=np.frombuffer(record, "u1")))
    assert refser.open(write(tmp_path / "m.weights.h5", data)).layout == "weights-h5"


def test_ft001_opening_looks_at_no_array(tmp_path: Path) -> None:
    path = write(tmp_path / "m.weights.h5", WEIGHTS)
    with refser.open(path, limits=Limits(inflated_bytes=0, unstored_bytes=0)) as file:
        assert list(file.weights) == ["layers/dense/vars/0"]


def test_ft009_member_names_are_escaped(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("\x1b[31m.keras", b"")
    with refused("FT-009") as caught:
        refser.open(write(tmp_path / "m.keras", stream.getvalue()))
    assert "\x1b" not in str(caught.value)


def test_ft_every_message_is_one_line_and_names_the_path(tmp_path: Path) -> None:
    for number, data in enumerate([b"", b"hello", zip_bytes({}), h5_bytes(vars_group=False), b"{}"]):
        path = write(tmp_path / f"{number}.keras", data)
        with pytest.raises(refser.RefserError) as caught:
            refser.open(path)
        assert str(caught.value).startswith(os.fspath(path))
        assert "\n" not in str(caught.value)


def both_legacy(file: h5py.File) -> None:
    legacy(file)
    legacy_weights(file)
    dense(file)


def legacy_weights_and_store(file: h5py.File) -> None:
    legacy_weights(file)
    dense(file)


@pytest.mark.parametrize(("fill", "layout"), [(both_legacy, "legacy-h5"), (legacy_weights_and_store, "legacy-weights-h5")])
def test_ft013_a_file_with_several_marks_is_the_first_of_them(
    tmp_path: Path, fill: Callable[[h5py.File], None], layout: str
) -> None:
    assert refser.open(write(tmp_path / "m.h5", h5_bytes(fill))).layout == layout


def test_ft014_json_is_told_by_its_first_bracket_and_by_a_byte_order_mark(tmp_path: Path) -> None:
    assert refser.open(write(tmp_path / "m.json", b" \r\n\t" + CONFIG)).layout == "config-json"
    for text, code in (
        (b"[]", "FT-012"),
        (b" {", "JS-002"),
        (b"\xef\xbb\xbf{}", "JS-001"),
        ("\ufeff{}".encode("utf-16-le"), "JS-001"),
    ):
        with refused(code):
            refser.open(write(tmp_path / "m.json", text))
    with refused("FT-006"):
        refser.open(write(tmp_path / "m.json", b'"text"'))
