"""Hostile containers: archives, HDF5 files, shards and folders that reach outside, unfold, lie or hide something."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import Any

import h5py
import numpy as np
from building import (
    METADATA,
    PLAIN,
    Case,
    Link,
    Member,
    archive,
    arrays,
    hdf5,
    keras,
    members,
    plain,
    store,
)

LINK_CVE = ("CVE-2026-9335", "GHSA-m8wh-29wm-52mv")
STORAGE_CVE = ("CVE-2026-1669", "GHSA-3m4q-jmj6-r34q")
VIRTUAL_CVE = ("CVE-2026-12480", "GHSA-26c4-7vv6-867j")
BOMB_CVE = ("CVE-2026-0897", "CVE-2026-12570", "GHSA-74m6-m3xx-3vmj")
SLIP_CVE = ("CVE-2026-11816", "GHSA-hqp4-2352-xf5r")
SYMLINK_CVE = ("CVE-2026-12482", "GHSA-58hv-7753-xmfq")


def unsafe(slug: str, title: str, data: bytes, code: str, *advisories: str, name: str = "model.keras") -> Case:
    return Case(slug, title, {name: data}, name, "unsafe", code, None, advisories)


def invalid(slug: str, title: str, data: bytes, code: str, name: str = "model.keras") -> Case:
    return Case(slug, title, {name: data}, name, "invalid", code)


def zips() -> list[Case]:
    found = []
    for slug, name in (
        ("dots", "../x"),
        ("inner-dots", "assets/../../x"),
        ("absolute", "/tmp/x"),
        ("drive", "C:x"),
        ("backslash", "..\\x"),
        ("unc", "\\\\host\\x"),
    ):
        found.append(
            unsafe(f"zip-name-{slug}", f"a member named {name}", keras(None, None, Member(name, b"x")), "KZ-003", *SLIP_CVE)
        )
    found.append(
        unsafe("zip-name-nul", "a member whose name has a NUL", keras(None, None, Member("a\0b", b"x")), "KZ-003", *SLIP_CVE)
    )
    for slug, mode in (("symlink", 0o120777), ("fifo", 0o010644), ("device", 0o020644), ("socket", 0o140644)):
        found.append(
            unsafe(
                f"zip-{slug}",
                f"a member that is a {slug}",
                keras(None, None, Member("assets/x", b"/etc/hostname", mode=mode)),
                "KZ-014",
                *SYMLINK_CVE,
            )
        )
    link = members()
    link[1] = link[1]._replace(mode=0o120777, data=b"/etc/hostname")
    found.append(unsafe("zip-config-symlink", "a config.json that is a symbolic link", archive(link), "KZ-014", *SYMLINK_CVE))
    found.append(
        invalid(
            "zip-asset-folder-of-itself",
            "an asset that is a folder of another",
            keras(None, None, Member("assets/a", b"x"), Member("assets/a/b", b"x")),
            "KZ-010",
        )
    )
    found.append(
        unsafe(
            "zip-asset-control",
            "an asset with an escape sequence in its name",
            keras(None, None, Member("assets/\x1b[2J", b"x")),
            "KZ-010",
        )
    )
    first, second, third = members()
    found.append(
        invalid(
            "zip-two-configs",
            "two members named config.json",
            archive([first, second, second._replace(data=b"{}"), third]),
            "KZ-004",
        )
    )
    found.append(
        invalid("zip-crc", "a config.json whose checksum is wrong", archive([first, second._replace(crc=1), third]), "KZ-008")
    )
    found.append(
        invalid("zip-stored-size-lie", "a stored member that says it is longer than it is stored", _size_lie(), "KZ-005")
    )
    deflated = second._replace(method=zipfile.ZIP_DEFLATED, size=len(second.data) - 5)
    found.append(
        invalid(
            "zip-deflated-size-lie",
            "a deflated member that is longer than it says",
            archive([first, deflated, third]),
            "KZ-008",
        )
    )
    big = Member("assets/zeros.txt", bytes(1 << 20), method=zipfile.ZIP_DEFLATED)
    declared = Member("model.weights.h5", b"\0" * 64, method=zipfile.ZIP_DEFLATED, size=0xF0000000)
    found.append(
        invalid(
            "zip-bomb-declared",
            "a compressed weights file of 4 GB in 64 bytes",
            archive([first, second, declared._replace(size=0xFFFFFFFE)]),
            "KZ-005",
        )
    )
    del big
    found.append(
        invalid(
            "zip-local-name",
            "a member that its local header gives another name",
            archive([first, second._replace(local_name="konfig.json"), third]),
            "KZ-013",
        )
    )
    found.append(invalid("zip-cut-short", "an archive without its end", archive(members())[:-30], "KZ-013"))
    found.append(invalid("zip-without-weights", "an archive without weights", archive([first, second]), "KZ-009"))
    found.append(
        unsafe(
            "zip-npz",
            "weights that are pickles",
            archive([first, second, Member("model.weights.npz", archive([Member("a.npy", b"\x93NUMPY")]))]),
            "NZ-001",
        )
    )
    return found


def _size_lie() -> bytes:
    data = bytearray(archive(members()))
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"model.weights.h5"))
    (size,) = struct.unpack_from("<I", data, at + 24)
    struct.pack_into("<I", data, at + 24, size + 4096)
    return bytes(data)


def hdf5s() -> list[Case]:
    found = []
    float32 = h5py.h5t.IEEE_F32LE

    def external_link(file: Any) -> None:
        file["layers/dense/vars/2"] = h5py.ExternalLink("other.h5", "/x")

    def unused_external_link(file: Any) -> None:
        file["aside/link"] = h5py.ExternalLink("/etc/other.h5", "/")

    def soft_link(file: Any) -> None:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = h5py.SoftLink("/layers/dense/vars/0")

    def dangling(file: Any) -> None:
        file["layers/dense/vars/2"] = h5py.SoftLink("/nowhere")

    def external_storage(file: Any) -> None:
        del file["layers/dense/vars/1"]
        file.create_dataset(
            "layers/dense/vars/1", shape=(3,), dtype="f4", external=[("/etc/hostname", 0, 12)], track_times=False
        )

    def virtual(file: Any) -> None:
        del file["layers/dense/vars/1"]
        layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "x", shape=(3,))
        file.create_virtual_dataset("layers/dense/vars/1", layout)

    def virtual_self(file: Any) -> None:
        del file["layers/dense/vars/1"]
        layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
        layout[:] = h5py.VirtualSource(".", "layers/dense/vars/0", shape=(4, 3))[0]
        file.create_virtual_dataset("layers/dense/vars/1", layout)

    def user_link(file: Any) -> None:
        external_link(file)

    def unallocated(shape: tuple[int, ...]) -> Any:
        def fill(file: Any) -> None:
            del file["layers/dense/vars/1"]
            space = h5py.h5s.create_simple(shape)
            created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            created.set_obj_track_times(False)
            created.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
            h5py.h5d.create(file["layers/dense/vars"].id, b"1", float32, space, created)

        return fill

    def chunk_bomb(file: Any) -> None:
        del file["layers/dense/vars/1"]
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_obj_track_times(False)
        created.set_chunk((1 << 20,))
        created.set_deflate(9)
        h5py.h5d.create(file["layers/dense/vars"].id, b"1", float32, h5py.h5s.create_simple((1 << 45,)), created)

    unsafe_fills = [
        ("external-link", "an array that is a link to another file", external_link, "H5-001", LINK_CVE),
        ("unused-external-link", "a link to another file that no layer asks for", unused_external_link, "H5-001", LINK_CVE),
        ("soft-link", "an array that is a soft link", soft_link, "H5-001", LINK_CVE),
        ("dangling-soft-link", "a soft link to nothing", dangling, "H5-001", LINK_CVE),
        ("external-storage", "an array whose bytes are those of another file", external_storage, "H5-002", STORAGE_CVE),
        ("virtual", "an array that is put together from another file", virtual, "H5-003", VIRTUAL_CVE),
        ("virtual-self", "an array that is put together from another of its own file", virtual_self, "H5-003", VIRTUAL_CVE),
        ("unallocated", "an array of 4 TB without a byte", unallocated((1 << 40,)), "LI-010", BOMB_CVE),
        (
            "unallocated-overflow",
            "an array whose size has more than 64 bits",
            unallocated((1 << 40, 1 << 40)),
            "LI-010",
            BOMB_CVE,
        ),
        ("chunked-empty", "128 TB in chunks that are not there", chunk_bomb, "LI-010", BOMB_CVE),
    ]
    for slug, title, fill, code, cves in unsafe_fills:
        data = hdf5(fill)
        found.append(unsafe(f"hdf5-{slug}", title, keras(plain(), data), code, *cves))
        if slug in ("external-link", "external-storage", "virtual"):
            found.append(
                unsafe(f"hdf5-{slug}-alone", f"{title}, in a weights file", data, code, *cves, name="model.weights.h5")
            )
            found.append(
                unsafe(f"hdf5-{slug}-legacy", f"{title}, in a legacy file", _legacy(fill), code, *cves, name="model.h5")
            )
    for slug, fill, code, cves in (
        ("external-link", external_link, "H5-001", LINK_CVE),
        ("soft-link", soft_link, "H5-001", LINK_CVE),
        ("external-storage", external_storage, "H5-002", STORAGE_CVE),
    ):
        found.append(
            unsafe(
                f"hdf5-{slug}-latest",
                f"{slug.replace('-', ' ')} in a file of the newest format",
                keras(plain(), hdf5(fill, libver="latest")),
                code,
                *cves,
            )
        )
    del user_link
    whole = store(arrays(PLAIN))
    found.append(invalid("hdf5-cut-short", "a weights file that is cut short", keras(plain(), whole[:-8]), "H5-014"))
    found.append(invalid("hdf5-no-signature", "weights that are no HDF5 file", keras(plain(), b"\0" * 64), "H5-011"))
    found.append(
        invalid(
            "lfs-pointer-inside",
            "weights that are a git-LFS pointer",
            keras(plain(), b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            "FT-004",
        )
    )
    for slug, title, place, value, code in _patches(whole):
        data = bytearray(whole)
        data[place : place + len(value)] = value
        found.append(invalid(f"hdf5-{slug}", title, keras(plain(), bytes(data)), code))
    return found


def _legacy(fill: Any) -> bytes:
    def whole(file: Any) -> None:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": []}})
        base = file.create_group("model_weights")
        base.attrs["layer_names"] = np.array([], dtype="S1")
        file.create_group("layers/dense/vars")["0"] = np.zeros((4, 3), "f4")
        file["layers/dense/vars"]["1"] = np.zeros(3, "f4")
        fill(file)

    return hdf5(whole, empty=True)


def _patches(data: bytes) -> list[tuple[str, str, int, bytes, str]]:
    """Single structures of the canonical file made wrong."""
    heap, table, tree = data.find(b"HEAP"), data.find(b"SNOD"), data.find(b"TREE")
    return [
        ("root-address", "a root group outside the file", 64, struct.pack("<Q", 1 << 40), "H5-011"),
        ("end-address", "an end of file beyond the file", 40, struct.pack("<Q", 1 << 40), "H5-014"),
        ("heap-signature", "a heap of names that is none", heap, b"HEAD", "H5-011"),
        ("heap-data", "a heap whose data are outside the file", heap + 24, struct.pack("<Q", 1 << 62), "H5-011"),
        ("node-signature", "a symbol table node that is none", table, b"SNOB", "H5-011"),
        ("tree-signature", "a B-tree that is none", tree, b"TREK", "H5-011"),
        ("tree-child", "a B-tree whose child is outside the file", tree + 32, struct.pack("<Q", 1 << 50), "H5-011"),
    ]


def shards() -> list[Case]:
    found = []
    shard = store(arrays(PLAIN))

    def index(name: Any, size: Any = 60) -> bytes:
        return json.dumps({"metadata": {"total_size": size}, "weight_map": {"/layers/dense/vars": name}}, indent=4).encode()

    for slug, name in (
        ("dots", "../model_00000.weights.h5"),
        ("absolute", "/etc/hostname"),
        ("backslash", "..\\x.h5"),
        ("drive", "C:x.h5"),
        ("parent", ".."),
        ("in-folder", "a/model_00000.weights.h5"),
        ("nul", "a\0.h5"),
    ):
        files = {"model.weights.json": index(name), "model_00000.weights.h5": shard}
        found.append(Case(f"shard-{slug}", f"an index that names {name!r}", files, "model.weights.json", "unsafe", "SH-003"))
    files = {"model.weights.json": index("model_00000.weights.h5"), "model_00000.weights.h5": Link("/etc/hostname")}
    found.append(Case("shard-symlink", "a shard that is a symbolic link", files, "model.weights.json", "unsafe", "LI-011"))
    files = {"model.weights.json": index("model_00000.weights.h5")}
    found.append(Case("shard-missing", "a shard that is not there", files, "model.weights.json", "invalid", "SH-004"))
    files = {"model.weights.json": index(7), "model_00000.weights.h5": shard}
    found.append(Case("shard-number", "an index that names a number", files, "model.weights.json", "invalid", "SH-002"))
    files = {"model.weights.json": index(["model_00000.weights.h5", "model_00000.weights.h5"]), "model_00000.weights.h5": shard}
    found.append(Case("shard-twice", "an index that names one shard twice", files, "model.weights.json", "invalid", "SH-002"))
    other = {
        "model.weights.json": json.dumps(
            {"metadata": {}, "weight_map": {"/layers/other/vars": "model_00000.weights.h5"}}
        ).encode(),
        "model_00000.weights.h5": shard,
    }
    found.append(
        Case(
            "shard-mismatch",
            "an index that looks for a group where it is not",
            other,
            "model.weights.json",
            "invalid",
            "SH-005",
        )
    )
    return found


def folders() -> list[Case]:
    config, metadata, weights = json.dumps(plain()).encode(), json.dumps(METADATA).encode(), store(arrays(PLAIN))
    whole = {"model/config.json": config, "model/metadata.json": metadata, "model/model.weights.h5": weights}
    return [
        Case(
            "folder-config-symlink",
            "a config.json that links outside",
            {**whole, "model/config.json": Link("/etc/hostname")},
            "model",
            "unsafe",
            "KD-003",
        ),
        Case(
            "folder-weights-symlink",
            "a weights file that links outside",
            {**whole, "model/model.weights.h5": Link("/etc/hostname")},
            "model",
            "unsafe",
            "KD-003",
        ),
        Case(
            "folder-asset-symlink",
            "an asset that links outside",
            {**whole, "model/assets/x": Link("/etc/hostname")},
            "model",
            "unsafe",
            "KD-003",
        ),
        Case(
            "folder-assets-symlink",
            "assets that are another folder",
            {**whole, "model/assets": Link("/etc")},
            "model",
            "unsafe",
            "KD-003",
        ),
        Case(
            "folder-npz",
            "a folder whose weights are pickles",
            {**whole, "model/model.weights.h5": archive([Member("a.npy", b"\x93NUMPY")])},
            "model",
            "unsafe",
            "NZ-001",
        ),
        Case(
            "folder-without-weights",
            "a folder without weights",
            {k: v for k, v in whole.items() if "weights" not in k},
            "model",
            "invalid",
            "KD-005",
        ),
    ]


def jsons() -> list[Case]:
    text = json.dumps(plain())
    first = text.replace('"units": 3', '"units": 3, "units": 4')
    return [
        invalid("json-duplicate-key", "a config with a key twice", keras(first.encode()), "JS-003"),
        invalid("json-nan", "a config with NaN", keras(text.replace('"units": 3', '"units": NaN').encode()), "JS-004"),
        invalid(
            "json-infinity",
            "a config with a number that is infinite",
            keras(text.replace('"units": 3', '"units": 1e999').encode()),
            "JS-006",
        ),
        invalid("json-byte-order-mark", "a config behind a byte order mark", keras(b"\xef\xbb\xbf" + text.encode()), "JS-001"),
        invalid("json-utf-16", "a config in UTF-16", keras(text.encode("utf-16-le")), "JS-002"),
        invalid(
            "json-not-utf-8",
            "a config that is not UTF-8",
            keras(text.replace("model", "mod\udcffl").encode("utf-8", "surrogateescape")),
            "JS-001",
        ),
        invalid("json-cut-short", "a config that is cut short", keras(text[:-2].encode()), "JS-002"),
        invalid("json-a-list", "a config that is a list", keras(b"[]"), "JS-005"),
        invalid("json-comment", "a config with a comment", keras(b"/* */" + text.encode()), "JS-002"),
        unsafe("json-depth", "a config nested 20,000 deep", keras(b'{"a":' * 20_000 + b"1" + b"}" * 20_000), "LI-002"),
        unsafe(
            "json-yaml", "a config that is YAML", keras(b"!!python/object/apply:os.system [true]\n"), "SF-019", "CVE-2021-37678"
        ),
    ]


def not_models() -> list[Case]:
    return [
        invalid("file-empty", "an empty file", b"", "FT-003"),
        invalid(
            "file-lfs-pointer",
            "a git-LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
            "FT-004",
        ),
        invalid("file-html", "an HTML page", b"<!DOCTYPE html><html><body>Sign in</body></html>", "FT-005"),
        invalid("file-gzip", "a gzip file", b"\x1f\x8b\x08\0\0\0\0\0\0\3", "FT-006"),
        invalid("file-pickle", "a pickle under the name of a model", b"\x80\x04N.", "FT-006"),
        invalid("file-zeros", "zeros", bytes(512), "FT-006"),
    ]


def weights() -> list[Case]:
    def without(**changes: Any) -> bytes:
        found = arrays(PLAIN)
        for path, array in changes.items():
            key = f"layers/dense/vars/{path[1:]}"
            if array is None:
                found.pop(key, None)
            else:
                found[key] = array
        return store(found)

    moved = {path.replace("dense", "dense_1"): array for path, array in arrays(PLAIN).items()}

    def group(file: Any) -> None:
        del file["layers/dense/vars/1"]
        file.create_group("layers/dense/vars/1")

    def retyped(dtype: str) -> Any:
        def fill(file: Any) -> None:
            del file["layers/dense/vars/1"]
            file.create_dataset("layers/dense/vars/1", data=np.zeros(3, dtype), track_times=False)

        return fill

    lying = hdf5(lambda file: file["layers/dense/vars/1"].attrs.__setitem__("dtype", "bfloat16"))
    return [
        invalid("weights-missing", "a Dense layer without its bias", keras(plain(), without(_1=None)), "WT-040"),
        invalid("weights-missing-group", "a Dense layer without weights", keras(plain(), store({})), "WT-040"),
        invalid("weights-extra", "a third array for a Dense layer", keras(plain(), without(_2=np.zeros(3, "f4"))), "WT-041"),
        invalid("weights-shape", "a kernel of another shape", keras(plain(), without(_0=np.zeros((4, 2), "f4"))), "WT-042"),
        invalid("weights-transposed", "a kernel on its side", keras(plain(), without(_0=np.zeros((3, 4), "f4"))), "WT-042"),
        invalid("weights-complex", "a bias of complex numbers", keras(plain(), hdf5(retyped("c8"))), "WT-043"),
        invalid("weights-integers", "a bias of integers", keras(plain(), hdf5(retyped("i4"))), "WT-043"),
        invalid("weights-lying-dtype", "float32 numbers that say they are bfloat16", keras(plain(), lying), "VA-013"),
        invalid("weights-gap", "arrays 0 and 2", keras(plain(), without(_1=None, _2=np.zeros(3, "f4"))), "WT-044"),
        invalid("weights-group", "a group in the place of an array", keras(plain(), hdf5(group)), "WT-045"),
        invalid("weights-elsewhere", "the weights of dense under dense_1", keras(plain(), store(moved)), "WT-040"),
        invalid("weights-strings", "a bias of strings", keras(plain(), hdf5(retyped("S4"))), "WT-043"),
    ]


def file_cases() -> list[Case]:
    return [*zips(), *hdf5s(), *shards(), *folders(), *jsons(), *not_models(), *weights()]
