"""H5-084 to H5-093: every door out of a file, and what is odd in its bytes and stops no reader."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5_trees import image
from helpers import everything, refused

import refser
from refser import hdf5
from refser.errors import RefserError, UnsafeError, UnsupportedError
from refser.hdf5 import Dataset, Group, Remark
from refser.hdf5._header import lookup3
from refser.limits import Limits
from refser.source import MemorySource
from refser.stream import StreamSource

GOLDEN = Path(__file__).parent / "golden"
PURE = Limits(allow_libhdf5=False)
VERSIONS = ["earliest", "v108", "latest"]
WEIGHT = np.arange(6, dtype="f4")


def read(data: bytes, limits: Limits = PURE) -> tuple[Group, list[RefserError]]:
    """The tree, and what was handed over on the way."""
    faults: list[RefserError] = []
    return hdf5.read_tree(MemorySource(data, "m.h5"), limits=limits, refuse=faults.append), faults


def remarks(data: bytes, limits: Limits = PURE) -> dict[str, Remark]:
    """By code, each once."""
    found = read(data, limits)[0].remarks()
    assert len({it.code for it in found}) == len(found)
    return {it.code: it for it in found}


def codes(faults: list[RefserError]) -> list[tuple[str, str]]:
    return sorted((fault.problem.at.partition(":")[2], fault.problem.code) for fault in faults)


def plain(file: h5py.Group) -> None:
    file.attrs["name"] = "model"
    file["layers/dense/vars/0"] = WEIGHT
    file["layers/dense/vars/1"] = WEIGHT + 9


# --- all doors


def doors(file: h5py.Group) -> None:
    plain(file)
    group = file["layers"]
    group["soft"] = h5py.SoftLink("/layers/dense")
    group["dense/dangling"] = h5py.SoftLink("/nowhere")
    file.create_dataset("kept/elsewhere", (2,), "f4", external=[("/etc/hosts", 0, 8)])
    virtual = h5py.VirtualLayout((2,), "f4")
    virtual[:] = h5py.VirtualSource("other.h5", "x", (2,))
    file.create_virtual_dataset("kept/virtual", virtual)
    file.create_group("also")["external"] = h5py.ExternalLink("other.h5", "/x")


DOORS = [
    ("/also/external", "H5-001"),
    ("/kept/elsewhere", "H5-002"),
    ("/kept/virtual", "H5-003"),
    ("/layers/dense/dangling", "H5-001"),
    ("/layers/soft", "H5-001"),
]


def user_defined(data: bytes) -> bytes:
    """The external link in a link message becomes one of a class that nobody has registered."""
    out = bytearray(data)
    at = out.index(b"\x40\x08external") if b"\x40\x08external" in out else out.index(b"\x40\x00\x08external")
    out[at] = 77
    start = out.rfind(b"OHDR", 0, at)
    if start >= 0:  # a header with a checksum behind it
        width = 1 << (out[start + 5] & 3)
        here = start + 6 + (16 if out[start + 5] & 0x20 else 0) + (4 if out[start + 5] & 0x10 else 0)
        end = here + width + int.from_bytes(out[here : here + width], "little")
        out[end : end + 4] = struct.pack("<I", lookup3(bytes(out[start:end])))
    return bytes(out)


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("limits", [PURE, Limits()], ids=["pure", "libhdf5"])
def test_h5084_every_door_of_a_file_is_reported(libver: str, limits: Limits) -> None:
    data = image(doors, libver=libver)
    assert (b"SNOD" in data) == (libver == "earliest")  # old and new groups
    for bytes_ in (data, user_defined(data)):
        root, faults = read(bytes_, limits)
        assert codes(faults) == DOORS
        assert {type(fault) for fault in faults} == {UnsafeError}
        assert list(root.children["layers"].children) == ["dense"]  # type: ignore[union-attr]
        assert list(root.children["kept"].children) == ["elsewhere", "virtual"]  # type: ignore[union-attr]
        for name in ("elsewhere", "virtual"):
            node = root.get(f"kept/{name}")
            assert isinstance(node, Dataset)
            assert isinstance(node.fault, UnsafeError)
        node = root.get("layers/dense/vars/1")
        assert isinstance(node, Dataset)
        assert node.weight("x").array().tolist() == (WEIGHT + 9).tolist()
    assert "a user-defined link" in " ".join(fault.problem.message for fault in faults)
    with pytest.raises(UnsafeError):  # the first of them, as ever
        hdf5.read_tree(MemorySource(data, "m.h5"), limits=limits)


@pytest.mark.parametrize("libver", VERSIONS)
def test_h5084_libhdf5_reports_the_same_doors(libver: str) -> None:
    from refser.hdf5 import _libhdf5

    faults: list[RefserError] = []
    root = _libhdf5.read_tree(MemorySource(image(doors, libver=libver), "m.h5"), limits=Limits(), refuse=faults.append)
    assert codes(faults) == DOORS
    assert list(root.children["layers"].children) == ["dense"]  # type: ignore[union-attr]


@pytest.mark.parametrize("libver", VERSIONS)
def test_h5084_a_group_by_two_paths_is_reported_and_entered_once(libver: str) -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        file["again"] = file["layers"]
        file["layers/dense/up"] = file["/"]
        file["layers/soft"] = h5py.SoftLink("/x")

    root, faults = read(image(fill, libver=libver))
    assert sorted(fault.problem.code for fault in faults) == ["H5-001", "H5-005", "H5-005"]
    assert len(root.children) == 1


def test_h5084_names_that_act_as_paths_are_reported_and_left_out() -> None:
    def fill(file: h5py.Group) -> None:
        for name in ("aa", "bb", "cc"):
            file[f"vars/{name}"] = WEIGHT

    for libver in ("earliest", "latest"):
        data = bytearray(image(fill, libver=libver))
        if libver == "earliest":
            for old, new in ((b"aa\0", b"..\0"), (b"bb\0", b"/x\0")):
                at = data.index(old)
                data[at : at + 3] = new
            root, faults = read(bytes(data))
            assert [code for _, code in codes(faults)] == ["H5-008", "H5-008"]
            assert list(root.children["vars"].children) == ["cc"]  # type: ignore[union-attr]


def test_h5084_after_a_thousand_faults_the_others_are_counted() -> None:
    def fill(file: h5py.Group) -> None:
        file["vars/0"] = WEIGHT
        for number in range(1203):
            file[f"x{number:04}"] = h5py.SoftLink("/vars")

    root, faults = read(image(fill))
    assert len(faults) == 1001
    assert "203 more" in faults[-1].problem.message
    assert list(root.children) == ["vars"]
    with refused("LI-005"):  # links that are left out count all the same
        read(image(fill), Limits(allow_libhdf5=False, hdf5_objects=1204))


def test_h5084_what_was_handed_over_before_damage_stays() -> None:
    def fill(file: h5py.Group) -> None:
        file["a"] = h5py.SoftLink("/b")
        file["z/vars/0"] = WEIGHT

    data = bytearray(image(fill))
    data[data.rindex(b"SNOD")] = 0
    faults: list[RefserError] = []
    with refused("H5-011"):
        hdf5.read_tree(MemorySource(bytes(data), "m.h5"), limits=PURE, refuse=faults.append)
    assert codes(faults) == [("/a", "H5-001")]


# --- doors before the profile


def text(file: h5py.Group) -> None:
    file.create_dataset("aa/text", data=["x"], dtype=h5py.string_dtype())


def committed(file: h5py.Group) -> None:
    """A message that stands elsewhere, before all others."""
    file["zz_type"] = np.dtype("<f4")
    file.create_dataset("aa/typed", (2,), file["zz_type"], external=[("/etc/hosts", 0, 8)])


def shared_attribute(file: h5py.Group) -> None:
    file["kind"] = np.dtype("<f4")
    file.create_group("aa").attrs.create("n", np.float32(1), dtype=file["kind"])


def dense(file: h5py.Group) -> None:
    for number in range(20):
        file.create_group(f"aa/g{number}")


def external_at_the_end(file: h5py.Group) -> None:
    file.create_dataset("zz/elsewhere", (2,), "f4", external=[("/etc/hosts", 0, 8)])


def external_text(file: h5py.Group) -> None:
    """Outside the profile by its datatype, and elsewhere by its storage."""
    virtual = h5py.VirtualLayout((2,), h5py.string_dtype())
    virtual[:] = h5py.VirtualSource("other.h5", "x", (2,))
    file.create_virtual_dataset("zz/text", virtual)


CASES: list[tuple[list[Callable[[h5py.Group], None]], str, str]] = [
    ([text, external_at_the_end], "earliest", "H5-002"),
    ([text, lambda file: file.__setitem__("zz", h5py.SoftLink("/aa"))], "earliest", "H5-001"),
    ([text, lambda file: file.__setitem__("zz", h5py.ExternalLink("x", "/aa"))], "latest", "H5-001"),
    ([shared_attribute, external_at_the_end], "earliest", "H5-002"),
    ([dense, external_at_the_end], "latest", "H5-002"),
    ([external_text], "earliest", "H5-003"),
    ([external_text], "latest", "H5-003"),
    ([committed], "earliest", "H5-002"),
    ([committed], "latest", "H5-002"),
]


@pytest.mark.parametrize(("parts", "libver", "code"), CASES)
def test_h5085_a_door_comes_before_what_only_a_library_reads(
    parts: list[Callable[[h5py.Group], None]], libver: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(file: h5py.Group) -> None:
        for part in parts:
            part(file)

    data = image(fill, libver=libver)
    monkeypatch.setattr("refser.hdf5._libhdf5.read_tree", None)  # it is not asked
    for limits in (PURE, Limits()):
        with refused(code, UnsafeError):
            hdf5.read_tree(MemorySource(data, "m.h5"), limits=limits)
        faults: list[RefserError] = []
        try:
            hdf5.read_tree(MemorySource(data, "m.h5"), limits=limits, refuse=faults.append)
        except UnsupportedError:  # nothing can be said of the links in a fractal heap
            assert dense in parts
        assert code in {fault.problem.code for fault in faults if isinstance(fault, UnsafeError)}


def test_h5085_what_is_outside_in_one_dataset_is_handed_over_and_the_others_are_read() -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        text(file)

    root, faults = read(image(fill))
    assert [(type(fault), fault.problem.code) for fault in faults] == [(UnsupportedError, "H5-027")]
    node = root.get("aa/text")
    assert isinstance(node, Dataset)
    with refused("H5-027", UnsupportedError):
        node.weight("x")
    node = root.get("layers/dense/vars/0")
    assert isinstance(node, Dataset)
    assert node.weight("x").array().tolist() == WEIGHT.tolist()
    assert "H5-086" not in {it.code for it in root.remarks()}  # who owns what is not known


def test_h5085_attributes_that_only_a_library_reads_are_told_of_when_they_are_asked_for() -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        for number in range(20):
            file["layers"].attrs[f"a{number}"] = "x"

    root, faults = read(image(fill, libver="latest"))
    assert [fault.problem.code for fault in faults] == ["H5-027"]
    assert root.attributes == {"name": "model"}
    with refused("H5-027", UnsupportedError):
        _ = root.children["layers"].attributes  # type: ignore[union-attr]


# --- holes


def golden_files() -> list[Path]:
    return sorted(path for path in GOLDEN.glob("*/*") if path.suffix in (".h5", ".keras") and path.is_file())


def test_h5086_files_of_every_keras_have_no_warning_and_few_holes() -> None:
    seen = 0
    for path in golden_files():
        data = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if "model.weights.h5" not in archive.namelist():
                    continue
                data = archive.read("model.weights.h5")
        elif path.suffix == ".keras":
            continue
        root, faults = read(data)
        assert faults == []
        for remark in root.remarks():
            assert (path.name, remark.code, remark.severity) == (path.name, "H5-086", "info")
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize("more", [0, 1, 40, 200])
def test_h5086_what_h5py_writes_is_owned_but_for_its_blocks(libver: str, more: int) -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        file.create_dataset("chunks", data=np.arange(3000.0).reshape(60, 50), chunks=(7, 9), compression="gzip")
        file.create_dataset("whole", data=np.arange(3000.0), chunks=(3000,), fletcher32=True)
        file["layers"].attrs["list"] = ["a" * 50] * 50
        if libver == "earliest":
            for number in range(more):
                file.create_group(f"many/g{number}").attrs["n"] = number

    found = remarks(image(fill, libver=libver))
    assert set(found) <= {"H5-086"}
    if found:
        assert int(found["H5-086"].message.split()[0].replace(",", "")) < 6000


def test_h5086_holes_are_counted_and_the_largest_is_named() -> None:
    data = bytearray(image(plain))
    before = remarks(bytes(data))["H5-086"]
    with h5py.File(io.BytesIO(bytes(data))) as file:
        heap = bytes(data).index(b"GCOL")
        assert file.attrs["name"] == "model"
    # The attribute becomes nothing: nobody leads to the heap of its string any more.
    at = bytes(data).index(struct.pack("<IQ", 5, heap))
    data[at : at + 16] = bytes(16)
    after = remarks(bytes(data))
    assert set(after) == {"H5-086"}
    count, places = (int(word.replace(",", "")) for word in np.array(after["H5-086"].message.split())[[0, 3]])
    assert 0 <= count - int(before.message.split()[0].replace(",", "")) - 4096 < 64  # with the padding beside
    assert places >= 1
    start = int(after["H5-086"].at.split()[-1].replace(",", ""))
    assert heap - 64 < start <= heap


PAYLOAD = bytes(range(1, 256)) * 40


@pytest.mark.parametrize(
    ("payload", "keep", "warns"),
    [
        (PAYLOAD, 0, True),
        (PAYLOAD[:4000], 0, False),
        (bytes(20_000), 0, False),
        (bytes(20_000) + PAYLOAD, 0, True),
        (PAYLOAD, 2_000_000, False),
        (b"GCOL\1\0\0\0" + struct.pack("<Q", len(PAYLOAD)) + PAYLOAD[16:], 0, False),
    ],
    ids=["payload", "small", "zeros", "behind zeros", "small share", "old heap"],
)
def test_h5087_a_large_hole_that_is_nothing_known_is_a_warning(payload: bytes, keep: int, warns: bool) -> None:
    data = image(plain)
    # libhdf5 would fill the hole again: bytes between the last owner and the end do as well.
    end = len(data)
    grown = bytearray(data + payload)
    tail = b""
    if keep:
        tail = bytes(keep)
    grown += tail
    struct.pack_into("<Q", grown, 40, len(grown))
    if keep:
        found = remarks(bytes(grown))
        assert "H5-087" in found or not warns
        return
    found = remarks(bytes(grown))
    assert ("H5-087" in found) == warns
    assert found["H5-086"].severity == "info"
    if warns:
        assert found["H5-087"].severity == "warning"
        assert found["H5-087"].at == f"m.h5: byte {end + payload.index(PAYLOAD[:1]):,}"


def test_h5087_a_config_that_was_edited_in_place_leaves_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "edited.h5"
    with h5py.File(path, "w") as file:
        plain(file)
        file.attrs["model_config"] = '{"a": 1}' * 5000
    for times in (6000, 100, 9000):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = '{"b": 1}' * times
    found = remarks(path.read_bytes())
    assert set(found) == {"H5-086"}
    assert "H5-087" not in found


def test_h5088_bytes_behind_the_end_are_a_warning() -> None:
    data = image(plain)
    found = remarks(data + b"PK\5\6 and more")
    assert found["H5-088"].severity == "warning"
    assert found["H5-088"].at == f"m.h5: byte {len(data):,}"
    assert "13 bytes" in found["H5-088"].message


def test_h5089_a_user_block_with_something_in_it_is_a_warning() -> None:
    data = image(plain, userblock_size=1024)
    assert set(remarks(data)) <= {"H5-086"}
    found = remarks(b"#!/bin/sh\n" + data[10:])
    assert found["H5-089"].severity == "warning"
    assert "1,024 bytes" in found["H5-089"].message


def test_h5089_h5088_what_is_of_the_archive_around_the_file_is_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    model = refser.load(GOLDEN / "keras-3.15.1" / "functional.keras")
    refser.save(model, path, hdf5_readable=True)
    found = remarks(path.read_bytes())
    assert {code: it.severity for code, it in found.items()} == {"H5-088": "info", "H5-089": "info"}
    with zipfile.ZipFile(path) as archive:
        assert remarks(archive.read("model.weights.h5")) == {}


def test_h5090_paths_to_one_array_are_told_once() -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        for number in range(5):
            file[f"other/vars/{number}"] = file["layers/dense/vars/0"]

    for libver in VERSIONS:
        for limits in (PURE, Limits()):
            found = remarks(image(fill, libver=libver), limits)["H5-090"]
            assert found.severity == "info"
            assert "4 more" in found.message
    assert "H5-090" not in remarks(image(plain))


def test_h5091_elements_that_are_not_stored_are_a_warning() -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        file.create_dataset("empty", (0, 3), "f4")
        file.create_dataset("late", (3,), "f4")
        part = file.create_dataset("part", (30,), "f4", chunks=(10,))
        part[:10] = 1

    for libver in VERSIONS:
        root, faults = read(image(fill, libver=libver))
        assert faults == []
        found = [(it.at, it.severity) for it in root.remarks() if it.code == "H5-091"]
        assert found == [("m.h5:/late", "warning"), ("m.h5:/part", "warning")]


def test_h5091_many_of_them_are_counted() -> None:
    def fill(file: h5py.Group) -> None:
        for number in range(130):
            file.create_dataset(f"late{number}", (3,), "f4")

    found = [it for it in read(image(fill))[0].remarks() if it.code == "H5-091"]
    assert len(found) == 101
    assert "30 objects" in found[-1].message


@pytest.mark.parametrize(("flags", "is_error"), [(0, False), (1, True), (4, True), (5, True), (2, False)])
def test_h5092_a_file_that_nobody_closed_is_an_error_where_libhdf5_refuses_it(
    tmp_path: Path, flags: int, is_error: bool
) -> None:
    for libver in VERSIONS:
        data = bytearray(image(plain, libver=libver))
        if data[8] < 2:
            data[20] = flags
        else:
            data[11] = flags
            data[44:48] = struct.pack("<I", lookup3(bytes(data[:44])))
        found = remarks(bytes(data))
        expected = is_error and data[8] == 3
        assert ("H5-092" in found) == expected
        (tmp_path / "m.h5").write_bytes(data)
        if expected:
            assert found["H5-092"].severity == "error"
            with pytest.raises(OSError, match="already open for write"):
                h5py.File(tmp_path / "m.h5", "r")
        else:
            h5py.File(tmp_path / "m.h5", "r").close()


def test_h5093_a_committed_datatype_is_a_warning_and_left_out() -> None:
    def fill(file: h5py.Group) -> None:
        plain(file)
        file["layers/type"] = np.dtype("<f4")

    for libver in VERSIONS:
        data = image(fill, libver=libver)
        root, faults = read(data)
        assert faults == []
        assert {it.code: (it.at, it.severity) for it in root.remarks()}["H5-093"] == ("m.h5:/layers/type", "warning")
        assert list(root.children["layers"].children) == ["dense"]  # type: ignore[union-attr]
        with refused("H5-006", UnsupportedError):
            hdf5.read_tree(MemorySource(data, "m.h5"), limits=PURE)


# --- all of them


@pytest.mark.parametrize("libver", VERSIONS)
def test_h5086_remarks_of_a_stream_are_those_of_the_bytes(libver: str) -> None:
    data = image(doors, libver=libver, userblock_size=512)
    data = b"x" + data[1:] + b"behind"
    streamed = hdf5.read_tree(StreamSource(io.BytesIO(data), "m.h5"), limits=PURE, refuse=lambda error: None)
    assert list(streamed.remarks()) == list(read(data)[0].remarks())


def test_h5097_what_refser_writes_has_nothing_to_remark_on(tmp_path: Path) -> None:
    for path in golden_files():
        try:
            model = refser.load(path)
        except RefserError:
            continue
        legacy, whole = model.generation == "legacy", model.config_json is not None
        name = f"copy-{path.parent.name}-{path.name}" + (".keras" if whole and not legacy else ".weights.h5")
        layout = {(True, True): "legacy-h5", (True, False): "legacy-weights-h5"}.get((legacy, whole))
        refser.save(model, tmp_path / name, layout=layout)
        data = (tmp_path / name).read_bytes()
        if name.endswith(".keras"):
            with zipfile.ZipFile(tmp_path / name) as archive:
                data = archive.read("model.weights.h5")
        assert read(data)[0].remarks() == [], path


def test_h5084_doors_do_not_keep_a_model_from_being_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(image(doors))
    with refused("H5-001", UnsafeError):
        everything(path, PURE)
