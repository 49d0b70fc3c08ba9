"""Files that look odd and are sound: a checker that refuses one of them cries wolf."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
from building import (
    COMPILE,
    GRAPH,
    METADATA,
    PLAIN,
    Case,
    Json,
    Member,
    archive,
    arrays,
    dense,
    functional,
    graph,
    hdf5,
    input_layer,
    keras,
    layer,
    members,
    obj,
    plain,
    policy,
    sequential,
    store,
    tensor,
)

import refser


def valid(slug: str, title: str, data: bytes, name: str = "model.keras") -> Case:
    return Case(slug, title, {name: data}, name, "valid")


def archives() -> list[Case]:
    first, second, third = members()
    indented = json.dumps(plain(), indent=4).encode()
    readable = io.BytesIO()
    model = refser.Model(
        config_json=json.dumps(plain()),
        metadata=METADATA,
        weights={path: refser.Weight.from_array(path, array) for path, array in arrays(PLAIN).items()},
        groups=(refser.WeightGroup(path="layers/dense/vars", name="dense", keys=("0", "1")),),
    )
    refser.save(model, readable, layout="keras-zip", hdf5_readable=True)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        for member in members():
            file.writestr(zipfile.ZipInfo(member.name, (2026, 1, 1, 0, 0, 0)), member.data, zipfile.ZIP_DEFLATED)
    return [
        valid(
            "deflated", "members that are compressed", archive([it._replace(method=zipfile.ZIP_DEFLATED) for it in members()])
        ),
        valid("deflated-by-zipfile", "members that Python's zipfile compressed", zipped.getvalue()),
        valid("other-order", "weights before config before metadata", archive([third, second, first])),
        valid("without-metadata", "an archive without metadata.json", archive([second, third])),
        valid(
            "with-a-folder",
            "an archive with an entry for the folder assets",
            keras(None, None, Member("assets/", b"", mode=0o40755)),
        ),
        valid("indented-config", "a config with line breaks", keras(indented)),
        valid(
            "escaped-config",
            "a config with every letter of a name escaped",
            keras(json.dumps(plain()).replace('"model"', '"\\u006dodel"').encode()),
        ),
        valid("hdf5-readable", "an archive that is an HDF5 file as well", readable.getvalue()),
        valid(
            "old-version-field",
            "a file that says another version wrote it",
            archive(members(metadata={**METADATA, "keras_version": "3.0.5"})),
        ),
        valid(
            "more-metadata",
            "metadata with a key that Keras does not write",
            archive(members(metadata={**METADATA, "author": "x"})),
        ),
        valid("read-only", "members with other permissions", archive([it._replace(mode=0o400) for it in members()])),
    ]


def weights() -> list[Case]:
    def chunked(**options: Any) -> bytes:
        def fill(file: Any) -> None:
            kernel = file["layers/dense/vars/0"][()]
            del file["layers/dense/vars/0"]
            file.create_dataset("layers/dense/vars/0", data=kernel, chunks=(2, 3), track_times=False, **options)

        return hdf5(fill)

    def big_endian(file: Any) -> None:
        for key, array in arrays(PLAIN).items():
            del file[key]
            file.create_dataset(key, data=array.astype(">f4"), track_times=False)

    def fixed_name(file: Any) -> None:
        file["layers/dense/vars"].attrs["name"] = np.bytes_("dense")

    def more_attributes(file: Any) -> None:
        file["layers/dense/vars/0"].attrs["note"] = "x"

    def dated(file: Any) -> None:
        kernel = file["layers/dense/vars/0"][()]
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", data=kernel, track_times=True)

    def alias(file: Any) -> None:
        file["layers/dense_1/vars/0"] = file["layers/dense/vars/0"]

    named = {"layers/dense/vars": "dense"}
    return [
        valid("big-endian", "arrays whose numbers are big-endian", keras(plain(), hdf5(big_endian))),
        valid("chunked", "an array in chunks", keras(plain(), chunked())),
        valid("compressed", "an array in compressed chunks", keras(plain(), chunked(compression="gzip"))),
        valid("shuffled", "an array in shuffled, compressed chunks", keras(plain(), chunked(compression="gzip", shuffle=True))),
        valid("checksummed", "an array in chunks with checksums", keras(plain(), chunked(fletcher32=True))),
        valid(
            "newest-format", "weights in the newest format of HDF5", keras(plain(), hdf5(lambda file: None, libver="latest"))
        ),
        valid(
            "user-block", "a weights file behind a user block", hdf5(lambda file: None, userblock_size=512), "model.weights.h5"
        ),
        valid("with-names", "weights with the names of their layers", keras(plain(), store(arrays(PLAIN), named))),
        valid("fixed-length-name", "a name of fixed length", keras(plain(), hdf5(fixed_name))),
        valid("more-attributes", "an array with an attribute that Keras does not write", keras(plain(), hdf5(more_attributes))),
        valid("dated", "an array with the time of its making", keras(plain(), hdf5(dated))),
        valid("hard-link", "one array under two names", hdf5(alias), "model.weights.h5"),
        valid("no-arrays", "a weights file without an array", store({}), "model.weights.h5"),
    ]


def configs() -> list[Case]:
    shared = functional(
        [
            (input_layer("x"), []),
            (input_layer("y"), []),
            (dense("both"), []),
            (layer("Add", "add", build=[[None, 3], [None, 3]]), [tensor("both", [None, 3]), tensor("both", [None, 3], call=1)]),
        ],
        [["x", 0, 0], ["y", 0, 0]],
        [["add", 0, 0]],
    )
    shared["config"]["layers"][2]["inbound_nodes"] = [
        {"args": [tensor("x", [None, 4])], "kwargs": {}},
        {"args": [tensor("y", [None, 4])], "kwargs": {}},
    ]
    one = functional([(input_layer(), []), (dense("a"), [tensor("x", [None, 4])])], ["x", 0, 0], ["a", 0, 0])
    inner = sequential(input_layer(), dense(), name="inner")
    nested = sequential(input_layer(), inner)
    many = sequential(input_layer(), *(dense(f"d{number}", 4) for number in range(12)))
    names = [
        ("emoji", "dense 🙂"),
        ("chinese", "密集"),
        ("spaces", "my dense layer"),
        ("dots-inside", "block.1.dense"),
        ("long", "n" * 300),
    ]
    groups = {f"layers/dense_{number}" if number else "layers/dense": ((4, 4), (4,)) for number in range(12)}
    half = {path: array.astype("f2") for path, array in arrays(PLAIN).items()}
    wide = {path: array.astype("f8") for path, array in arrays(PLAIN).items()}
    ops = {"module": "keras.ops", "class_name": "function", "config": "relu", "registered_name": "relu"}
    lambda_layer = layer("Lambda", "lambda", build=[None, 4], function=ops, arguments={})
    activation = obj(
        "keras.layers", "LeakyReLU", {"name": "leaky", "trainable": True, "dtype": policy(), "negative_slope": 0.3}
    )
    losses = {**plain(), "compile_config": {**COMPILE, "loss": {"dense": "mse"}, "metrics": {"dense": ["mae", "mse"]}}}
    frozen = dense(trainable=False)
    custom = obj(
        "my_package.layers", "Mine", {"name": "mine", "width": 3}, "my_package>Mine", build_config={"input_shape": [None, 4]}
    )
    found: list[tuple[str, str, Json, bytes]] = [
        ("shared-layer", "a layer called twice", shared, store(arrays(PLAIN))),
        ("functional", "a graph of two layers", graph(), store(arrays(GRAPH))),
        ("ends-without-lists", "a graph with one input and one output, neither in a list", one, store(arrays(PLAIN))),
        ("nested", "a model in a model", nested, store(arrays({"layers/sequential/layers/dense": ((4, 3), (3,))}))),
        ("twelve-layers", "more layers of a class than one digit counts", many, store(arrays(groups))),
        ("float16", "a layer with float16 weights", sequential(input_layer(), dense(dtype=policy("float16"))), store(half)),
        ("float64", "a layer with float64 weights", sequential(input_layer(), dense(dtype=policy("float64"))), store(wide)),
        (
            "mixed-precision",
            "a layer that computes in float16",
            sequential(input_layer(), dense(dtype=policy("mixed_float16"))),
            store(arrays(PLAIN)),
        ),
        (
            "policy-as-text",
            "a dtype policy by its name",
            sequential(input_layer(), dense(dtype="float32")),
            store(arrays(PLAIN)),
        ),
        (
            "lambda-of-keras",
            "a Lambda layer that names an operation of Keras",
            sequential(input_layer(), lambda_layer),
            store({}, groups=("layers/lambda",)),
        ),
        (
            "activation-layer",
            "an activation that is a layer",
            sequential(input_layer(), dense(activation=activation)),
            store(arrays(PLAIN)),
        ),
        ("losses-by-name", "losses and metrics by the names of outputs", losses, store(arrays(PLAIN))),
        ("frozen", "a layer that is not trained", sequential(input_layer(), frozen), store(arrays(PLAIN))),
        (
            "custom-class",
            "a class that the loader has to bring",
            sequential(input_layer(), custom),
            store(arrays({"layers/mine": ((3,),)})),
        ),
        (
            "no-bias",
            "a layer without a bias",
            sequential(input_layer(), dense(use_bias=False)),
            store(arrays({"layers/dense": ((4, 3),)})),
        ),
        (
            "unicode-words",
            "a lookup whose words are not ASCII",
            sequential(
                input_layer("x", (None, 1)),
                layer(
                    "StringLookup",
                    "lookup",
                    max_tokens=None,
                    num_oov_indices=1,
                    mask_token=None,
                    oov_token="[UNK]",
                    vocabulary=["é", "漢", "🙂"],
                    vocabulary_size=4,
                    output_mode="int",
                    invert=False,
                    encoding="utf-8",
                    idf_weights=None,
                    sparse=False,
                    pad_to_max_tokens=False,
                ),
            ),
            store({}),
        ),
    ]
    found += [
        (f"name-{slug}", f"a layer named {name[:20]!r}", sequential(input_layer(), dense(name)), store(arrays(PLAIN)))
        for slug, name in names
    ]
    return [valid(slug, title, keras(config, data)) for slug, title, config, data in found]


def others() -> list[Case]:
    config, about, data = json.dumps(plain()).encode(), json.dumps(METADATA).encode(), store(arrays(PLAIN))
    shard = store(arrays(PLAIN))

    def index(name: Any) -> bytes:
        return json.dumps({"metadata": {"total_size": 60.0}, "weight_map": {"/layers/dense/vars": name}}, indent=4).encode()

    def split(file: Any) -> None:
        names = [f"layer_{number:04}" for number in range(6)]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = np.array(names[:3], "S"), np.array(names[3:], "S")
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0"], "S")
            group.create_dataset(f"{name}/kernel:0", data=np.zeros(2, "f4"), track_times=False)

    def none(file: Any) -> None:
        file.attrs["layer_names"] = np.array(["empty"], "S")
        file.create_group("empty").attrs["weight_names"] = np.array([], "f8")

    folder = {"model/config.json": config, "model/metadata.json": about, "model/model.weights.h5": data}
    return [
        Case("folder", "a model directory without assets", folder, "model", "valid"),
        Case(
            "folder-with-empty-assets",
            "a model directory with empty assets",
            {**folder, "model/assets": None},
            "model",
            "valid",
        ),
        Case(
            "one-shard",
            "an index of one shard, named by a string",
            {"m.weights.json": index("m_00000.weights.h5"), "m_00000.weights.h5": shard},
            "m.weights.json",
            "valid",
        ),
        Case(
            "one-shard-in-a-list",
            "an index of one shard, named in a list",
            {"m.weights.json": index(["m_00000.weights.h5"]), "m_00000.weights.h5": shard},
            "m.weights.json",
            "valid",
        ),
        valid("split-name-list", "a list of layers over two attributes", hdf5(split, empty=True), "weights.h5"),
        valid("layer-without-weights", "a legacy file of one layer without weights", hdf5(none, empty=True), "weights.h5"),
        valid("bare-config", "a config on its own", config, "model.json"),
    ]


def unusual_cases() -> list[Case]:
    return [*archives(), *weights(), *configs(), *others()]
