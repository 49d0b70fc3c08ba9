"""Hostile configs: what Keras would run, import, call, open, fetch or allocate because a config says so."""

from __future__ import annotations

import json
from typing import Any

from building import (
    COMPILE,
    INERT,
    Case,
    Json,
    arrays,
    dense,
    functional,
    graph,
    hdf5,
    input_layer,
    keras,
    layer,
    obj,
    plain,
    policy,
    sequential,
    store,
    tensor,
)

LAMBDA = {"class_name": "__lambda__", "config": {"code": INERT, "defaults": None, "closure": None}}
LAMBDA_CVE = ("CVE-2024-3660", "GHSA-x4wf-678h-2pmq", "CVE-2026-12481")
H5_CVE = ("CVE-2025-9905", "GHSA-36rr-ww3j-vrjv")
MODULE_CVE = ("CVE-2025-1550", "GHSA-48g7-3x6r-xfhp")
GADGET_CVE = ("CVE-2025-8747", "GHSA-c9rc-mg46-23w3")
PRIVATE_CVE = ("CVE-2025-9906", "GHSA-36fq-jgmw-4r9c")


def function(module: str | None, name: str, registered_name: str | None = "function") -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered_name}


def lambda_layer(value: Any, name: str = "lambda", **more: Any) -> Json:
    config = {"function": value, "arguments": {}} | more
    return layer("Lambda", name, build=[None, 4], **config)


def case(slug: str, title: str, config: Json, code: str, *advisories: str, at: str | None = None) -> Case:
    return Case(slug, title, {"model.keras": keras(config)}, "model.keras", "unsafe", code, at, advisories)


def legacy(config: Any, training: Any = None) -> bytes:
    """A whole legacy model."""

    def fill(file: Any) -> None:
        file.attrs["keras_version"], file.attrs["backend"] = "2.12.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        base = file.create_group("model_weights")
        base.attrs["keras_version"], base.attrs["backend"] = "2.12.0", "tensorflow"
        base.attrs["layer_names"] = [b"dense"]
        group = base.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        for name, array in zip(("kernel:0", "bias:0"), arrays({"d": ((4, 3), (3,))}).values()):
            group.create_dataset(f"dense/{name}", data=array, track_times=False)

    return hdf5(fill, empty=True)


def legacy_layer(class_name: str, **config: Any) -> Json:
    return {"class_name": class_name, "config": config}


def legacy_model(*layers: Json) -> Json:
    first = legacy_layer("InputLayer", batch_input_shape=[None, 4], dtype="float32", sparse=False, ragged=False, name="x")
    own = legacy_layer("Dense", name="dense", trainable=True, dtype="float32", units=3, activation="linear", use_bias=True)
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [first, own, *layers]}}


def lambdas() -> list[Case]:
    wrapped = layer("TimeDistributed", "wrapper", layer=dense("inner", activation=LAMBDA))
    gru = {"units": 2, "activation": "tanh", "recurrent_activation": LAMBDA}
    cell = layer("GRUCell", "cell", **gru)
    inner = sequential(input_layer(), lambda_layer(LAMBDA), name="inner")
    twice = sequential(input_layer(), sequential(input_layer(), inner, name="outer"))
    schedule = obj(None, "CosineDecay", {"initial_learning_rate": LAMBDA})
    custom = obj("my_package.layers", "Mine", {"name": "mine", "deep": [{"er": [{"still": LAMBDA}]}]}, "my_package>Mine")
    old = [INERT, None, None]
    at = "config.layers[1].config.function"
    configs: list[tuple[str, str, Json, str | None]] = [
        ("in-a-lambda-layer", "marshalled code in a Lambda layer", sequential(input_layer(), lambda_layer(LAMBDA)), at),
        (
            "as-a-value",
            "marshalled code in the form with `value`",
            sequential(input_layer(), lambda_layer({"class_name": "__lambda__", "config": {"value": [INERT, None, None]}})),
            at,
        ),
        (
            "as-a-list",
            "marshalled code in the form of Keras 2, in an archive of Keras 3",
            sequential(input_layer(), lambda_layer(old, function_type="lambda")),
            at,
        ),
        ("as-a-list-without-type", "the list form without its function_type", sequential(input_layer(), lambda_layer(old)), at),
        (
            "as-output-shape",
            "marshalled code as output_shape of a Lambda layer",
            sequential(input_layer(), lambda_layer(function("keras.ops", "relu"), output_shape=LAMBDA)),
            None,
        ),
        (
            "as-mask",
            "marshalled code as mask of a Lambda layer",
            sequential(input_layer(), lambda_layer(function("keras.ops", "relu"), mask=LAMBDA)),
            None,
        ),
        (
            "as-an-argument",
            "marshalled code among the arguments of a Lambda layer",
            sequential(input_layer(), lambda_layer(function("keras.ops", "relu"), arguments={"a": LAMBDA})),
            None,
        ),
        (
            "as-activation",
            "marshalled code as the activation of a Dense layer",
            sequential(input_layer(), dense(activation=LAMBDA)),
            "config.layers[1].config.activation",
        ),
        (
            "as-initializer",
            "marshalled code as an initializer",
            sequential(input_layer(), dense(kernel_initializer=LAMBDA)),
            None,
        ),
        ("as-regularizer", "marshalled code as a regularizer", sequential(input_layer(), dense(bias_regularizer=LAMBDA)), None),
        ("as-constraint", "marshalled code as a constraint", sequential(input_layer(), dense(kernel_constraint=LAMBDA)), None),
        (
            "as-loss",
            "marshalled code as the loss",
            {**plain(), "compile_config": {**COMPILE, "loss": LAMBDA}},
            "compile_config.loss",
        ),
        (
            "as-metric",
            "marshalled code among the metrics",
            {**plain(), "compile_config": {**COMPILE, "metrics": ["mae", LAMBDA]}},
            None,
        ),
        (
            "as-weighted-metric",
            "marshalled code in an object of weighted metrics",
            {**plain(), "compile_config": {**COMPILE, "weighted_metrics": {"dense": [LAMBDA]}}},
            None,
        ),
        (
            "as-learning-rate",
            "marshalled code in a learning rate schedule of the optimizer",
            {
                **plain(),
                "compile_config": {
                    **COMPILE,
                    "optimizer": obj("keras.optimizers", "SGD", {"name": "sgd", "learning_rate": schedule}),
                },
            },
            None,
        ),
        (
            "in-a-wrapper",
            "marshalled code in the layer of a TimeDistributed",
            sequential(input_layer("x", (None, 2, 4)), wrapped),
            None,
        ),
        (
            "in-a-cell",
            "marshalled code in the cell of an RNN",
            sequential(input_layer("x", (None, 2, 4)), layer("RNN", "rnn", cell=cell)),
            None,
        ),
        ("in-a-nested-model", "marshalled code two models down", twice, None),
        ("in-a-custom-class", "marshalled code deep in the config of a custom class", sequential(input_layer(), custom), None),
        (
            "in-build-config",
            "marshalled code in a build_config",
            sequential(input_layer(), {**dense(), "build_config": {"input_shape": [None, 4], "x": LAMBDA}}),
            None,
        ),
        ("as-dtype", "marshalled code in the place of a dtype policy", sequential(input_layer(), dense(dtype=LAMBDA)), None),
        (
            "in-a-policy-map",
            "marshalled code in a map of dtype policies",
            sequential(
                input_layer(),
                dense(
                    dtype=obj(
                        "keras", "DTypePolicyMap", {"name": "map", "default_policy": policy(), "policy_map": {"dense": LAMBDA}}
                    )
                ),
            ),
            None,
        ),
        (
            "with-keras-2-version",
            "marshalled code in a file that says it is too old for it",
            sequential(input_layer(), lambda_layer(LAMBDA)),
            at,
        ),
    ]
    found = [case(f"lambda-{slug}", title, config, "SF-002", *LAMBDA_CVE, at=place) for slug, title, config, place in configs]
    call = [{"args": [tensor("x", [None, 4])], "kwargs": {"training": LAMBDA}}]
    in_call = graph()
    in_call["config"]["layers"][1]["inbound_nodes"] = call
    found.append(case("lambda-in-a-call", "marshalled code among the keywords of a call", in_call, "SF-002", *LAMBDA_CVE))
    bare = sequential(input_layer(), lambda_layer(LAMBDA))
    text = json.dumps(bare).encode()
    found.append(
        Case(
            "lambda-in-a-bare-config",
            "marshalled code in a config on its own",
            {"model.json": text},
            "model.json",
            "unsafe",
            "SF-002",
            at,
            LAMBDA_CVE,
        )
    )
    escaped = json.dumps(bare).replace("__lambda__", "\\u005f_lambda_\\u005f").encode()
    found.append(
        Case(
            "lambda-escaped",
            "marshalled code whose class name is written with escapes",
            {"model.keras": keras(escaped)},
            "model.keras",
            "unsafe",
            "SF-002",
            at,
            LAMBDA_CVE,
        )
    )
    files = {"model/config.json": text, "model/metadata.json": b"{}", "model/model.weights.h5": store({})}
    found.append(
        Case(
            "lambda-in-a-directory", "marshalled code in a model directory", files, "model", "unsafe", "SF-002", at, LAMBDA_CVE
        )
    )
    old_layer = legacy_layer(
        "Lambda",
        name="lambda",
        trainable=True,
        dtype="float32",
        function=old,
        function_type="lambda",
        module="__main__",
        output_shape=None,
        output_shape_type="raw",
        output_shape_module=None,
        arguments={},
    )
    h5 = [
        (
            "lambda-in-legacy-h5",
            "marshalled code in a legacy file, where safe_mode says nothing",
            legacy(legacy_model(old_layer)),
        ),
        (
            "lambda-in-legacy-output-shape",
            "marshalled code as output_shape in a legacy file",
            legacy(
                legacy_model(
                    {
                        **old_layer,
                        "config": {
                            **old_layer["config"],
                            "function": "relu",
                            "function_type": "function",
                            "output_shape": old,
                            "output_shape_type": "lambda",
                        },
                    }
                )
            ),
        ),
        (
            "lambda-in-training-config",
            "marshalled code in the training_config of a legacy file",
            legacy(
                legacy_model(),
                {"optimizer_config": {"class_name": "SGD", "config": {"name": "SGD"}}, "loss": LAMBDA, "metrics": None},
            ),
        ),
        (
            "lambda-v3-form-in-legacy-h5",
            "the form of Keras 3 in a legacy file",
            legacy(legacy_model({**old_layer, "config": {**old_layer["config"], "function": LAMBDA}})),
        ),
        (
            "lambda-of-keras-1",
            "marshalled code as characters, as Keras 1 wrote it",
            legacy(legacy_model({**old_layer, "config": {**old_layer["config"], "function": "c\x00\x01inert"}})),
        ),
    ]
    found.extend(
        Case(slug, title, {"model.h5": data}, "model.h5", "unsafe", "SF-002", None, (*LAMBDA_CVE, *H5_CVE))
        for slug, title, data in h5
    )
    return found


def modules() -> list[Case]:
    found = []
    functions = [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "check_output"), ("builtins", "exec"),
        ("builtins", "eval"), ("builtins", "__import__"), ("builtins", "open"), ("builtins", "getattr"),
        ("builtins", "compile"),
        ("importlib", "import_module"), ("runpy", "run_path"), ("pickle", "loads"), ("marshal", "loads"), ("shutil", "rmtree"),
        ("socket", "create_connection"), ("ctypes", "CDLL"), ("webbrowser", "open"), ("sys", "exit"),
        ("urllib.request", "urlopen"),
        ("numpy", "load"), ("torch", "load"), ("joblib", "load"), ("tensorflow.io", "read_file"),
    ]  # fmt: skip
    for module, name in functions:
        config = sequential(input_layer(), lambda_layer(function(module, name), arguments={"x": "true"}))
        slug = f"calls-{module}-{name}".replace(".", "-").replace("_", "").lower()
        found.append(
            case(
                slug,
                f"a Lambda layer that calls {module}.{name}",
                config,
                "SF-003",
                *MODULE_CVE,
                at="config.layers[1].config.function",
            )
        )
    popen = {"args": ["true"]}
    places: list[tuple[str, str, Json]] = [
        (
            "as-a-layer",
            "a class of subprocess in the list of layers",
            sequential(input_layer(), obj("subprocess", "Popen", popen)),
        ),
        (
            "as-initializer",
            "a class of subprocess as an initializer",
            sequential(input_layer(), dense(kernel_initializer=obj("subprocess", "Popen", popen))),
        ),
        (
            "as-activation",
            "a class of subprocess as an activation",
            sequential(input_layer(), dense(activation=obj("subprocess", "Popen", popen))),
        ),
        (
            "as-loss",
            "a class of subprocess as the loss",
            {**plain(), "compile_config": {**COMPILE, "loss": obj("subprocess", "Popen", popen)}},
        ),
        (
            "as-optimizer",
            "a class of subprocess as the optimizer",
            {**plain(), "compile_config": {**COMPILE, "optimizer": obj("subprocess", "Popen", popen)}},
        ),
        (
            "in-a-list",
            "a class of subprocess in a list that no layer asks for",
            sequential(input_layer(), dense(note=[1, [obj("subprocess", "Popen", popen)]])),
        ),
        ("as-the-model", "a class of subprocess in the place of the model", obj("subprocess", "Popen", popen)),
    ]
    found.extend(case(f"foreign-class-{slug}", title, config, "SF-003", *MODULE_CVE) for slug, title, config in places)
    return found


def keras_itself() -> list[Case]:
    found = []
    gadgets = [
        ("keras.utils", "get_file"), ("keras.saving", "load_model"), ("keras.models", "load_model"),
        ("keras.models", "clone_model"),
        ("keras.config", "enable_unsafe_deserialization"), ("keras.config", "set_backend"), ("keras.utils", "set_random_seed"),
        ("keras.datasets.mnist", "load_data"), ("keras.applications", "VGG16"), ("keras.utils", "image_dataset_from_directory"),
        ("keras.preprocessing.image", "load_img"), ("keras.utils", "load_img"), ("keras.saving", "deserialize_keras_object"),
        ("keras.distribution", "initialize"), ("keras.utils", "plot_model"), ("tf_keras.utils", "get_file"),
    ]  # fmt: skip
    for module, name in gadgets:
        config = sequential(input_layer(), lambda_layer(function(module, name)))
        slug = f"gadget-{module}-{name}".replace(".", "-").replace("_", "").lower()
        found.append(
            case(
                slug,
                f"a Lambda layer that calls {module}.{name}",
                config,
                "SF-004",
                *GADGET_CVE,
                at="config.layers[1].config.function",
            )
        )
    places = [
        (
            "as-activation",
            "an activation that is keras.utils.get_file",
            sequential(input_layer(), dense(activation=function("keras.utils", "get_file"))),
        ),
        (
            "as-metric",
            "a metric that is keras.utils.get_file",
            {**plain(), "compile_config": {**COMPILE, "metrics": [function("keras.utils", "get_file")]}},
        ),
        (
            "callback",
            "a callback in the list of layers",
            sequential(input_layer(), obj("keras.callbacks", "ModelCheckpoint", {"filepath": "x"})),
        ),
    ]
    found.extend(case(f"gadget-{slug}", title, config, "SF-004", *GADGET_CVE) for slug, title, config in places)
    private = [
        ("keras.src.utils.file_utils", "get_file"), ("keras.src.backend.common.global_state", "set_global_attribute"),
        ("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"), ("tensorflow.python.platform.gfile", "GFile"),
        ("keras.src.saving.saving_api", "load_model"), ("keras._tf_keras.keras.utils", "get_file"),
    ]  # fmt: skip
    for module, name in private:
        config = sequential(input_layer(), lambda_layer(function(module, name)))
        slug = f"private-{module}-{name}".replace(".", "-").replace("_", "").lower()
        found.append(case(slug, f"a Lambda layer that calls {module}.{name}", config, "SF-005", *PRIVATE_CVE))
    named = [
        (
            "dense-registered-as-another",
            obj("keras.layers", "Dense", dense()["config"], "evil>Dense"),
            "a Dense layer under the registered name of another class",
        ),
        (
            "lambda-under-the-name-of-dense",
            obj("keras.layers", "Lambda", lambda_layer(LAMBDA)["config"], "Dense"),
            "a Lambda layer under the registered name Dense",
        ),
        (
            "os-under-a-keras-name",
            obj("keras.layers", "Dense", dense()["config"], "os>system"),
            "a Dense layer whose registered name has another package",
        ),
    ]
    for slug, value, title in named:
        code = "SF-002" if "lambda" in slug else "SF-006"
        found.append(case(f"registered-{slug}", title, sequential(input_layer(), value), code))
    return found


def torch_layer(module: str) -> Json:
    return obj("keras.layers", "TorchModuleWrapper", {"name": "torch", "module": module, "output_shape": None})


def external() -> list[Case]:
    tfsm = {"filepath": "/tmp/model", "call_endpoint": "serve", "call_training_endpoint": None}
    jax = {"call_fn": LAMBDA, "init_fn": None}
    words: list[tuple[str, str, Json, str]] = [
        ("tfsm-layer", "a TFSMLayer, which loads another model", layer("TFSMLayer", "other", **tfsm), "SF-007"),
        (
            "tfsm-layer-url",
            "a TFSMLayer with a URL",
            layer("TFSMLayer", "other", **{**tfsm, "filepath": "https://a.invalid/model"}),
            "SF-007",
        ),
        (
            "tfsm-layer-in-wrapper",
            "a TFSMLayer in a TimeDistributed",
            layer("TimeDistributed", "w", layer=layer("TFSMLayer", "other", **tfsm)),
            "SF-007",
        ),
        ("torch-module", "a TorchModuleWrapper with a pickle", torch_layer(INERT), "SF-008"),
        (
            "torch-module-by-file",
            "a TorchModuleWrapper that names a file",
            torch_layer("/tmp/module.pt"),
            "SF-008",
        ),
        ("jax-layer", "a JaxLayer with marshalled code", layer("JaxLayer", "jax", **jax), "SF-002"),
        ("flax-layer", "a FlaxLayer with marshalled code", layer("FlaxLayer", "flax", module=LAMBDA), "SF-002"),
        (
            "vocabulary-path",
            "a StringLookup whose vocabulary is a path",
            layer("StringLookup", "lookup", vocabulary="/etc/hostname", max_tokens=None),
            "SF-010",
        ),
        (
            "vocabulary-url",
            "a StringLookup whose vocabulary is a URL",
            layer("StringLookup", "lookup", vocabulary="https://a.invalid/words.txt"),
            "SF-010",
        ),
        (
            "vocabulary-relative",
            "a StringLookup whose vocabulary is a relative path",
            layer("StringLookup", "lookup", vocabulary="words.txt"),
            "SF-010",
        ),
        (
            "vocabulary-of-integers",
            "an IntegerLookup whose vocabulary is a path",
            layer("IntegerLookup", "lookup", vocabulary="/etc/hostname"),
            "SF-010",
        ),
        (
            "vocabulary-of-text",
            "a TextVectorization whose vocabulary is a bucket",
            layer("TextVectorization", "text", vocabulary="gs://bucket/words.txt"),
            "SF-010",
        ),
        (
            "idf-weights-path",
            "a TextVectorization whose idf_weights is a path",
            layer("TextVectorization", "text", vocabulary=["a"], idf_weights="/etc/hostname", output_mode="tf_idf"),
            "SF-010",
        ),
    ]
    cves = {
        "SF-007": ("CVE-2026-1462", "GHSA-4f3f-g24h-fr8m"),
        "SF-008": ("CVE-2025-49655", "CVE-2026-12484", "GHSA-v2w2-w228-c444"),
        "SF-010": ("CVE-2025-12058", "GHSA-mq84-hjqx-cwf2", "GHSA-qg93-c7p6-gg7f"),
    }
    return [
        case(f"external-{slug}", title, sequential(input_layer(), value), code, *cves.get(code, ()))
        for slug, title, value, code in words
    ]


def names() -> list[Case]:
    found = []
    values = [
        ("dots", ".."),
        ("dot", "."),
        ("up", "../../x"),
        ("absolute", "/etc/x"),
        ("nul", "a\0b"),
        ("backslash", "..\\x"),
    ]
    for slug, name in values:
        title = f"a layer named {name!r}"
        found.append(
            case(
                f"name-{slug}", title, sequential(input_layer(), dense(name)), "SF-012", "CVE-2026-12479", "GHSA-gh82-f9x8-5frx"
            )
        )
    found.append(
        case(
            "name-of-model",
            "a model named '..'",
            sequential(input_layer(), sequential(input_layer(), dense(), name="..")),
            "SF-012",
            "CVE-2026-12479",
        )
    )
    lookup = layer("StringLookup", "..", vocabulary=None)
    found.append(
        case(
            "name-of-lookup",
            "a lookup, which keeps a file, named '..'",
            sequential(input_layer(), lookup),
            "SF-012",
            "CVE-2026-12479",
        )
    )
    return found


def bombs() -> list[Case]:
    huge = 10**12
    shapes = {"query_shape": [None, 4, 4], "value_shape": [None, 4, 4], "key_shape": [None, 4, 4]}
    attention = {
        **layer("MultiHeadAttention", "attention", num_heads=10**9, key_dim=10**6),
        "build_config": {"shapes_dict": shapes},
    }
    layers = [
        ("dense", "a Dense layer of 10**12 units", dense(units=huge)),
        ("dense-product", "two sizes whose product is out of reach", dense(units=10**7, rows=4)),
        (
            "embedding",
            "an Embedding of 10**12 rows",
            layer("Embedding", "embedding", build=[None, 4], input_dim=huge, output_dim=8),
        ),
        ("conv", "a Conv1D of 10**12 filters", layer("Conv1D", "conv", build=[None, 4, 4], filters=huge, kernel_size=[3])),
        ("lstm", "an LSTM of 10**9 units", layer("LSTM", "lstm", build=[None, 4, 4], units=10**9)),
        ("attention", "attention with 10**9 heads", attention),
    ]
    found = []
    for slug, title, value in layers:
        if slug == "dense-product":
            value = dense("a", units=10**7)
            config = sequential(input_layer(), value, dense("b", units=10**7, rows=10**7))
        else:
            config = sequential(input_layer(), value)
        found.append(case(f"bomb-config-{slug}", title, config, "SF-013", "CVE-2026-0897", "CVE-2026-12570"))
    inner = sequential(input_layer(), dense(units=huge), name="inner")
    found.append(
        case(
            "bomb-config-nested",
            "a Dense layer of 10**12 units in a nested model",
            sequential(input_layer(), inner),
            "SF-013",
            "CVE-2026-12570",
        )
    )
    array = {"class_name": "__numpy__", "config": {"value": [0], "dtype": "V1000000000000"}}
    found.append(
        case(
            "bomb-config-numpy-dtype",
            "an array of a dtype of 10**12 bytes",
            sequential(input_layer(), dense(kernel_initializer=array)),
            "SF-013",
        )
    )
    return found


def unsafe_configs() -> list[Case]:
    return [*lambdas(), *modules(), *keras_itself(), *external(), *names(), *bombs()]


# Configs that Keras could not load, or not as they were


def broken(slug: str, title: str, config: Json | bytes, code: str, at: str | None = None) -> Case:
    return Case(slug, title, {"model.keras": keras(config)}, "model.keras", "invalid", code, at)


def invalid_configs() -> list[Case]:
    none = functional([(input_layer(), []), (dense("a"), [tensor("x", [None, 4])])], [["x", 0, 0]], [])
    far = functional([(input_layer(), []), (dense("a"), [tensor("y", [None, 4])])], [["x", 0, 0]], [["a", 0, 0]])
    late = functional([(input_layer(), []), (dense("a"), [tensor("x", [None, 4], call=3)])], [["x", 0, 0]], [["a", 0, 0]])
    circle = functional(
        [(input_layer(), []), (dense("a", 4), [tensor("b", [None, 4])]), (dense("b", 4), [tensor("a", [None, 4])])],
        [["x", 0, 0]],
        [["b", 0, 0]],
    )
    one, two = dense("same"), dense("same", 2, 3)
    return [
        broken(
            "unknown-class",
            "a class that Keras does not have",
            sequential(input_layer(), obj("keras.layers", "Dens", {"name": "d"})),
            "AR-001",
            "config.layers[1]",
        ),
        broken(
            "unknown-argument",
            "an argument that Dense does not take",
            sequential(input_layer(), dense(unit=3)),
            "AR-002",
            "config.layers[1].config.unit",
        ),
        broken(
            "missing-argument",
            "a Dense layer without units",
            sequential(input_layer(), obj("keras.layers", "Dense", {"name": "dense"})),
            "AR-003",
        ),
        broken(
            "unknown-activation",
            "an activation that does not exist",
            sequential(input_layer(), dense(activation="relux")),
            "AR-004",
            "config.layers[1].config.activation",
        ),
        broken("unknown-dtype", "a dtype that does not exist", sequential(input_layer(), dense(dtype="float31")), "AR-012"),
        broken("duplicate-names", "two layers of one name", sequential(input_layer(), one, two), "CF-031"),
        broken("no-outputs", "a graph without outputs", none, "CF-051"),
        broken("reference-to-nothing", "a call that takes the output of no layer", far, "CF-036"),
        broken("call-out-of-range", "a call that takes the output of a call that is not made", late, "CF-037"),
        broken("circle", "a graph with a circle", circle, "CF-039"),
        broken(
            "layer-without-class",
            "a layer without a class name",
            sequential(input_layer(), {"module": "keras.layers", "class_name": None, "config": {}}),
            "CF-010",
        ),
        broken(
            "layers-no-list", "layers that are no list", obj("keras", "Sequential", {"name": "m", "layers": {"a": 1}}), "CF-030"
        ),
        broken(
            "negative-units",
            "a Dense layer of -1 units",
            sequential(input_layer(), dense(units=-1)),
            "AR-011",
            "config.layers[1].config.units",
        ),
        broken(
            "shapes-disagree",
            "a layer built for another width than its input has",
            sequential(input_layer(), dense(), dense("b", 2, 5)),
            "CF-060",
        ),
    ]
