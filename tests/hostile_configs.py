"""Inert configs that no loader should be given: what is hostile, and every kind of place that it can stand in.

The "code" in them is the name of a marshalled code object's first bytes and zeros: nothing that could be run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from refser.checks.safety import check_safety
from refser.checks.subject import Options, Subject
from refser.layouts import ModelFile

Json = dict[str, Any]
CODE = "4wEAAAAAAAAAAAAAAAIAAABTAAAAcwAAAABkAFMAKQFO" + "A" * 40  # in Base64: "\xe3\x01\x00\x00\x00" and nothing that works
CHARACTERS = "c\x01\x00\x00\x00\x01\x00\x00\x00C\x00\x00\x00" + "\x00" * 30


def obj(class_name: str, module: str | None = "keras.layers", /, **config: Any) -> Json:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def fn(name: str, module: str | None, registered: str | None = None) -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


def lambda_layer(function: Any, /, **more: Any) -> Json:
    return obj("Lambda", name="lambda", function=function, arguments={}, **more)


# What is hostile -> the code of its finding.
HOSTILE: dict[str, tuple[str, Any]] = {
    "lambda-value": ("SF-002", {"class_name": "__lambda__", "config": {"value": [CODE, None, None]}}),
    "lambda-code": ("SF-002", {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}),
    "lambda-malformed": ("SF-002", {"class_name": "__lambda__", "config": None}),
    "lambda-without-config": ("SF-002", {"class_name": "__lambda__"}),
    "lambda-layer": ("SF-002", lambda_layer({"class_name": "__lambda__", "config": {"code": CODE}})),
    "lambda-list": ("SF-002", lambda_layer([CODE, None, None])),
    "lambda-list-short": ("SF-002", lambda_layer(["YWJj", None, None])),
    "lambda-list-bare": ("SF-002", [CODE, None, [1]]),
    "lambda-characters": ("SF-002", lambda_layer(CHARACTERS, function_type="lambda")),
    "lambda-characters-untyped": ("SF-002", lambda_layer(CHARACTERS)),
    "lambda-output-shape": ("SF-002", lambda_layer(fn("relu", "keras.activations"), output_shape=[CODE, None, None])),
    "lambda-mask": ("SF-002", lambda_layer(fn("relu", "keras.activations"), mask={"class_name": "__lambda__", "config": {}})),
    "merge-lambda": ("SF-002", obj("Merge", None, mode=CHARACTERS, mode_type="lambda")),
    "os-system": ("SF-003", fn("system", "os")),
    "posix-system": ("SF-003", fn("system", "posix")),
    "subprocess-class": ("SF-003", obj("Popen", "subprocess", args=["true"])),
    "builtins-exec": ("SF-003", fn("exec", "builtins")),
    "builtins-import": ("SF-003", fn("__import__", "builtins")),
    "importlib": ("SF-003", fn("import_module", "importlib")),
    "pickle": ("SF-003", fn("loads", "pickle")),
    "numpy-load": ("SF-003", fn("load", "numpy")),
    "torch-load": ("SF-003", fn("load", "torch")),
    "tf-io": ("SF-003", fn("read_file", "tensorflow.io")),
    "lambda-of-os-in-keras-2": ("SF-003", lambda_layer("system", function_type="function", module="os")),
    "get-file": ("SF-004", fn("get_file", "keras.utils")),
    "load-model": ("SF-004", fn("load_model", "keras.saving")),
    "unsafe-switch": ("SF-004", fn("enable_unsafe_deserialization", "keras.config")),
    "set-floatx": ("SF-004", fn("set_floatx", "keras.config")),
    "applications": ("SF-004", fn("ResNet50", "keras.applications.resnet50")),
    "dotted-name": ("SF-004", fn("utils.get_file", "keras")),
    "deserialize": ("SF-004", fn("deserialize", "keras.layers")),
    "tf-keras": ("SF-004", fn("get_file", "tf_keras.utils")),
    "private-state": ("SF-005", fn("set_global_attribute", "keras.src.backend.common.global_state")),
    "private-get-file": ("SF-005", fn("get_file", "keras.src.utils.file_utils")),
    "private-class": ("SF-005", obj("KerasFileEditor", "keras.src.saving.file_editor")),
    "private-tf": ("SF-005", fn("load", "tensorflow.python.saved_model.load")),
    "registered-name": ("SF-006", {**obj("Dense", units=1), "registered_name": "evil>Dense2"}),
    "registered-fallback": ("SF-003", fn("nothing", "numpy", "load")),
    "registered-function": ("SF-006", fn("relu", "keras.activations", "system")),
    "tfsm": ("SF-007", obj("TFSMLayer", filepath="elsewhere", call_endpoint="serve")),
    "tfsm-dotted": ("SF-007", obj("layers.TFSMLayer", "keras", filepath="elsewhere")),
    "tfsm-packaged": ("SF-007", obj("Custom>TFSMLayer", None, filepath="elsewhere")),
    "tfsm-odd-module": ("SF-007", {**obj("TFSMLayer", filepath="elsewhere"), "module": 5}),
    "lambda-dotted": ("SF-002", obj("layers.Lambda", "keras", function=["YWJj", None, None])),
    "hub": ("SF-007", obj("KerasLayer", "tensorflow_hub", handle="https://example.invalid/m")),
    "torch-module": ("SF-008", obj("TorchModuleWrapper", module="gAR9cQAu")),
    "vocabulary-path": ("SF-010", obj("StringLookup", vocabulary="/etc/passwd")),
    "vocabulary-url": ("SF-010", obj("TextVectorization", vocabulary="https://example.invalid/v")),
    "vocabulary-bare": ("SF-010", obj("IntegerLookup", vocabulary="v.txt")),
    "idf-weights": ("SF-010", obj("TextVectorization", idf_weights="w.txt")),
    "weights-path": ("SF-011", obj("Backbone", "keras_hub.models", weights="../weights.h5")),
    "name-up": ("SF-012", obj("Dense", name="..", units=1)),
    "name-inside": ("SF-012", obj("Dense", name="a/../../b", units=1)),
    "name-absolute": ("SF-012", obj("Dense", name="/tmp/x", units=1)),
    "name-backslash": ("SF-012", obj("Dense", name="..\\x", units=1)),
    "name-nul": ("SF-012", obj("Dense", name="a\0b", units=1)),
    "units": ("SF-013", obj("Dense", units=10**12)),
    "embedding": ("SF-013", obj("Embedding", input_dim=10**10, output_dim=4)),
    "batch-shape": ("SF-013", obj("InputLayer", batch_shape=[None, 10**12])),
    "wide-dtype": ("SF-013", {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "S1000000000000"}}),
    "wide-record": ("SF-013", {"class_name": "__tensor__", "config": {"value": [1], "dtype": "(1000000,1000)f4"}}),
    "type-spec": (
        "SF-017",
        {"class_name": "__typespec__", "spec_name": "system", "module": "os", "config": [], "registered_name": None},
    ),
    "tf-op": ("SF-021", obj("TFOpLambda", None, function="io.write_file")),
    "tf-op-elsewhere": ("SF-021", obj("TFOpLambda", "mine", function="io.write_file")),
    "tf-op-python": ("SF-021", obj("TFOpLambda", None, function="py_function")),
    "tf-op-raw": ("SF-021", obj("TFOpLambda", None, function="raw_ops.ReadFile")),
    "tf-op-load": ("SF-021", obj("TFOpLambda", None, function="load_op_library")),
    "tf-op-keras": ("SF-004", obj("TFOpLambda", None, function="keras.utils.get_file")),
    "tf-graph-op": ("SF-021", obj("TensorFlowOpLayer", None, node_def={"name": "x", "op": "WriteFile"})),
    "tf-attribute": ("SF-021", obj("InstanceProperty", None, attr_name="__class__")),
    "tf-class": ("SF-021", obj("ClassMethod", None, cls_symbol="io.gfile.GFile", method_name="read")),
}


def _layer(**config: Any) -> Json:
    return obj("Dense", name="dense", units=2, **config)


def _model(*layers: Json, **more: Any) -> Json:
    return {**obj("Sequential", "keras", name="sequential", layers=list(layers)), **more}


def _compiled(**config: Any) -> Json:
    return _model(_layer(), compile_config=config)


# Where -> the config with it there.
PLACES: dict[str, Callable[[Any], Json]] = {
    "layer": lambda it: _model(_layer(), it),
    "activation": lambda it: _model(_layer(activation=it)),
    "kernel-initializer": lambda it: _model(_layer(kernel_initializer=it)),
    "regularizer": lambda it: _model(_layer(bias_regularizer=it)),
    "constraint": lambda it: _model(_layer(kernel_constraint=it)),
    "dtype": lambda it: _model(_layer(dtype=it)),
    "unknown-argument": lambda it: _model(_layer(another=it)),
    "wrapped": lambda it: _model(obj("TimeDistributed", layer=it)),
    "bidirectional": lambda it: _model(obj("Bidirectional", layer=obj("LSTM", units=2), backward_layer=it)),
    "cell-of-cells": lambda it: _model(obj("RNN", cell=obj("StackedRNNCells", cells=[obj("LSTMCell", units=2), it]))),
    "nested-model": lambda it: _model(_model(_model(it))),
    "call-argument": lambda it: _model({**_layer(), "inbound_nodes": [{"args": [[it]], "kwargs": {}}]}),
    "call-keyword": lambda it: _model({**_layer(), "inbound_nodes": [{"args": [], "kwargs": {"mask": {"a": [it]}}}]}),
    "lambda-arguments": lambda it: _model(obj("Lambda", function=fn("relu", "keras.activations"), arguments={"x": it})),
    "optimizer": lambda it: _compiled(optimizer=it, loss="mse", metrics=None),
    "learning-rate": lambda it: _compiled(optimizer=obj("Adam", "keras.optimizers", learning_rate=it)),
    "loss": lambda it: _compiled(optimizer="adam", loss={"a": [it, "mse"]}),
    "metric": lambda it: _compiled(optimizer="adam", loss="mse", metrics=["mae", [it]]),
    "loss-function": lambda it: _compiled(loss=obj("LossFunctionWrapper", "keras.losses", fn=it)),
    "build-config": lambda it: _model({**_layer(), "build_config": {"input_shape": [None, 2], "more": it}}),
    "custom-config": lambda it: _model(obj("Mine", "my.module", inner={"deep": [[it]]})),
    "root": lambda it: it if isinstance(it, dict) else _model(obj("Dense", units=[it])),
}


def subject_of(config: Any, *, training: Any = None, version: str | None = None, **options: Any) -> Subject:
    file = ModelFile(
        path="model.json",
        layout="config-json",
        generation="legacy" if training is not None else "v3",
        config_json=json.dumps(config),
        metadata={} if version is None else {"keras_version": version},
        training_config=None if training is None else json.dumps(training),
    )
    return Subject(file, Options(**options))


def placed(construct: str, place: str) -> Json:
    return PLACES[place](copy.deepcopy(HOSTILE[construct][1]))


def codes(config: Any, verdict: str | None = None, **more: Any) -> set[str]:
    return {it.code for it in check_safety(subject_of(config, **more)) if verdict in (None, it.verdict)}
