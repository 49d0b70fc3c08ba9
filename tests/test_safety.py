"""What a config would make Keras do is found, in every place, and nothing honest is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile_configs import CODE, HOSTILE, PLACES, Json, codes, fn, lambda_layer, obj, placed, subject_of

from refser.checks import _safety_values as values
from refser.checks._safety_names import danger_of, op_is_harmless, tf_is_harmless
from refser.checks.safety import check_safety
from refser.checks.subject import Options, Subject
from refser.errors import RefserError
from refser.layouts import ModelFile, open_layout
from refser.layouts.model_file import Assets
from refser.limits import DEFAULT_LIMITS

GOLDEN = Path(__file__).parent / "golden"
RELU = fn("relu", "keras.activations")


def model(*layers: Json, **more: Any) -> Json:
    return {**obj("Sequential", "keras", name="m", layers=list(layers)), **more}


def found(config: Any, **more: Any) -> list[tuple[str, str, str]]:
    return [(it.code, it.severity, it.at) for it in check_safety(subject_of(config, **more))]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("construct", HOSTILE)
def test_sf001_what_is_hostile_is_unsafe_in_every_place(construct: str, place: str) -> None:
    code = HOSTILE[construct][0]
    hits = [it for it in check_safety(subject_of(placed(construct, place))) if it.code == code]
    assert hits
    assert {it.verdict for it in hits} == {"unsafe"}


@pytest.mark.parametrize("construct", HOSTILE)
def test_sf001_a_training_config_is_looked_at_too(construct: str) -> None:
    """CVE-2025-9905: `.h5` files, which have no safe mode."""
    code, hostile = HOSTILE[construct]
    training = {"optimizer_config": {"class_name": "Adam", "config": {}}, "loss": hostile}
    hits = {it.code: it for it in check_safety(subject_of(model(), training=training)) if it.verdict == "unsafe"}
    assert hits[code].at.startswith("training_config.loss")


@pytest.mark.parametrize("version", ["1.2.2", "2.12.0", "3.0.5", "3.15.1", "99.0", "not a version"])
def test_sf001_the_version_of_the_file_changes_nothing(version: str) -> None:
    for construct in HOSTILE:
        assert HOSTILE[construct][0] in codes(placed(construct, "layer"), "unsafe", version=version), construct


def test_sf001_a_name_in_a_module_of_keras_that_is_none_of_its_own_is_an_error() -> None:
    """Where the classes are not judged otherwise [AR-001]: those of no node, and those of old versions."""
    assert found(model(obj("Thing")), version="3.15.1") == [] == found(model(obj("Thing")))
    assert found(model(obj("Thing")), version="2.3.1") == [("SF-001", "error", "config.layers[0]")]
    assert found(model({**obj("Thing"), "config": [1]})) == [("SF-001", "error", "config.layers[0]")]


# The advisories with a mechanism in the config, each by what it puts there.
ADVISORIES: dict[str, tuple[str, Json]] = {
    "CVE-2024-3660 GHSA-x4wf-678h-2pmq": ("SF-002", lambda_layer({"class_name": "__lambda__", "config": {"value": [CODE]}})),
    "CVE-2024-55459 GHSA-cjgq-5qmw-rcj6": ("SF-004", lambda_layer(fn("get_file", "keras.utils"), origin="http://x.invalid/")),
    "CVE-2025-1550 GHSA-48g7-3x6r-xfhp": ("SF-003", {**obj("function", "os"), "config": "system", "registered_name": "system"}),
    "CVE-2025-8747 GHSA-c9rc-mg46-23w3": ("SF-004", lambda_layer(fn("get_file", "keras.utils", "get_file"))),
    "CVE-2025-9906 GHSA-36fq-jgmw-4r9c": ("SF-004", lambda_layer(fn("enable_unsafe_deserialization", "keras.config"))),
    "CVE-2025-9906 internal": ("SF-005", lambda_layer(fn("set_global_attribute", "keras.src.backend.common.global_state"))),
    "CVE-2025-9905 GHSA-36rr-ww3j-vrjv": ("SF-002", lambda_layer([CODE, None, None], function_type="lambda")),
    "CVE-2025-49655": ("SF-008", obj("TorchModuleWrapper", module="gAR9cQAu")),
    "CVE-2025-12058 GHSA-mq84-hjqx-cwf2": ("SF-010", obj("StringLookup", vocabulary="/etc/hostname")),
    "CVE-2025-12058 GHSA-qg93-c7p6-gg7f": ("SF-010", obj("TextVectorization", vocabulary="http://169.254.0.1/")),
    "CVE-2025-12060 GHSA-hjqc-jx6g-rwp9": ("SF-004", lambda_layer(fn("get_file", "keras.utils"), extract=True)),
    "CVE-2025-12638": ("SF-004", lambda_layer(fn("get_file", "keras.utils"))),
    "CVE-2026-1462 GHSA-4f3f-g24h-fr8m": ("SF-007", obj("TFSMLayer", filepath="/srv/model")),
    "CVE-2026-12479 GHSA-gh82-f9x8-5frx": ("SF-012", obj("StringLookup", name="..", vocabulary=None)),
    "CVE-2026-12481 GHSA-5gwj-m78q-7pq3": ("SF-002", lambda_layer({"class_name": "__lambda__", "config": {"code": CODE}})),
    "CVE-2026-12484 GHSA-v2w2-w228-c444": ("SF-008", obj("TorchModuleWrapper", "keras.layers", module="gAR9cQAu")),
}


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_sf001_each_advisory_about_a_config_is_answered(advisory: str) -> None:
    code, layer = ADVISORIES[advisory]
    assert code in codes(model(layer), "unsafe")


def test_sf019_a_config_in_yaml_is_unsafe() -> None:
    """CVE-2021-37678."""
    for text in ("class_name: Sequential\nconfig: []\n", "--- !!python/object/apply:os.system ['true']\n"):
        file = ModelFile(path="m", layout="config-json", config_json=text)
        assert [it.code for it in check_safety(Subject(file, Options())) if it.verdict == "unsafe"] == ["SF-019"]
    assert codes(model(obj("Dense", units=1, name="---"))) == set()


# Honest files.


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*keras-*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_sf001_files_that_keras_saved_have_no_finding(path: Path) -> None:
    try:
        file = open_layout(str(path), limits=DEFAULT_LIMITS, source=None)
    except RefserError:  # what is no model stands beside the models
        pytest.skip("no model")
    with file:
        assert [str(it) for it in check_safety(Subject(file, Options()))] == []


def test_sf015_a_lambda_of_a_modelling_function_is_fine() -> None:
    for function in (
        RELU,
        fn("relu", "builtins", "function"),
        fn("relu", "keras.ops"),
        fn("mean_squared_error", "keras.losses"),
    ):
        assert found(model(lambda_layer(function))) == []
    old = {"function": "my_function", "function_type": "function", "module": "__main__", "output_shape_type": "raw"}
    assert found(model(obj("Lambda", None, **old))) == [("SF-016", "warning", "config.layers[0].config.function")]


@pytest.mark.parametrize(
    ("module", "name"),
    [("convnext", "LayerScale"), ("convnext", "StochasticDepth"), ("inception_resnet_v2", "CustomScaleLayer")],
)
def test_sf005_layers_of_an_architecture_are_what_keras_saves(module: str, name: str) -> None:
    for space in ("keras.src.applications", "keras.applications"):
        own = {**obj(name, f"{space}.{module}", name="a"), "registered_name": name}
        assert codes(model(own)) == set()
        assert codes(model({**own, "registered_name": "evil>Other"}), "unsafe") == {"SF-006"}
    assert codes(model(obj(name, "keras.src.utils.file_utils")), "unsafe") == {"SF-005"}


def test_sf014_a_custom_object_has_one_warning_for_all_its_places() -> None:
    mine = {**obj("Mine", "my.module", name="a"), "registered_name": "my>Mine"}
    other = {**obj("Mine", "my.other", name="b"), "registered_name": "Mine"}
    config = model(mine, other, mine, obj("TimeDistributed", layer=mine))
    assert found(config) == [("SF-014", "warning", "config.layers[0]"), ("SF-014", "warning", "config.layers[1]")]
    first = next(check_safety(subject_of(config)))
    assert "3 places" in first.message
    assert "my.module.Mine" in first.message
    assert "my>Mine" in first.message
    assert found(config, also_allow=frozenset({"my>Mine", "my.other.Mine"})) == []
    assert found(config, also_allow=frozenset({"my.module.Mine"})) == [("SF-014", "warning", "config.layers[1]")]


def test_sf014_nothing_dangerous_is_allowed_by_the_caller() -> None:
    for construct, (code, _) in HOSTILE.items():
        allowed = frozenset({"os.system", "system", "keras.utils.get_file", "get_file", "evil>Dense2", "subprocess.Popen"})
        assert code in codes(placed(construct, "layer"), "unsafe", also_allow=allowed)


@pytest.mark.parametrize(
    ("node", "code"),
    [
        (obj("Mine", "keras_hub.models.bert.bert_backbone"), "SF-014"),
        (obj("Custom>Mine", None), "SF-014"),
        (obj("Mine", "__main__"), "SF-014"),
        (fn("act", "my.module"), "SF-016"),
        (fn("my_act", "builtins", "function"), "SF-016"),
        (fn("my>act", "builtins", "my>act"), "SF-016"),
        (fn("relu", "tensorflow.python.ops.gen_nn_ops"), "SF-016"),
        (fn("tanh", "tensorflow.math"), "SF-016"),
        (fn("softmax", "jax.nn"), "SF-016"),
    ],
)
def test_sf016_what_is_unknown_is_a_warning_and_no_more(node: Json, code: str) -> None:
    assert [(c, s) for c, s, _ in found(model(obj("Dense", activation=node, name="d")))] == [(code, "warning")]


def test_sf009_a_layer_of_jax_is_unsafe_where_it_carries_code() -> None:
    plain = obj("JaxLayer", call_fn=fn("f", "mine"), init_fn=None)
    assert codes(model(plain)) == {"SF-009", "SF-016"}
    assert codes(model(plain), "unsafe") == set()
    code = obj("JaxLayer", call_fn={"class_name": "__lambda__", "config": {"value": [CODE, None, None]}})
    assert codes(model(code), "unsafe") == {"SF-002"}


@pytest.mark.parametrize(
    "name", ["tf.math.add", "tf.__operators__.add_1", "a.b", "...", "a..b", "Größe", "x y", "C:", "~a", "a/b"]
)
def test_sf012_names_that_lead_nowhere_are_fine(name: str) -> None:
    assert found(model(obj("Dense", units=1, name=name))) == []


@pytest.mark.parametrize("size", [2**32, 1, 0, -1, None, "x", 1.5])
def test_sf013_sizes_up_to_the_cap_are_for_others_to_judge(size: Any) -> None:
    config = model(obj("InputLayer", name="i", batch_shape=[None, None]), obj("RepeatVector", name="r", n=size))
    assert codes(config, "unsafe") == set()


def test_sf013_what_the_variables_of_a_model_take_is_added_up() -> None:
    inputs = obj("InputLayer", name="i", batch_shape=[None, 2])
    assert codes(model(inputs, obj("Dense", name="d", units=2**32)), "unsafe") == set()  # 32 GiB
    assert codes(model(inputs, obj("Dense", name="d", units=2**32), obj("Dense", name="e", units=5)), "unsafe") == {"SF-013"}
    layers = [obj("Dense", name=f"d{n}", units=2**17) for n in range(70)]  # 64 GiB each, and a bias
    assert codes(model(inputs, *layers), "unsafe") == {"SF-013"}
    assert codes(model(obj("Embedding", name="e", input_dim=250_000, output_dim=8_192)), "unsafe") == set()


def test_sf013_dtypes_of_arrays_that_keras_writes_are_fine() -> None:
    for dtype in ("float32", "bfloat16", "int64", "bool", "string", "float8_e4m3fn", "complex128", "uint8"):
        assert not values.is_wide(dtype)
    for dtype in ("S1000000000", "<U99999999", "V1000000", "f4,f4", "(3,3)f4", "|S123456", "1000000000f8", "{'names': []}"):
        assert values.is_wide(dtype), dtype


def test_sf018_what_is_no_name_is_an_error() -> None:
    for change in ({"module": 5}, {"registered_name": []}, {"class_name": 7}, {"class_name": "a b"}, {"class_name": ""}):
        assert ("SF-018", "error") in [(c, s) for c, s, _ in found(model({**obj("Mine", "mine"), **change}))]
    assert "SF-018" in codes(model(obj("../x", "mine")))
    assert "SF-018" in codes(model(obj("X", "a/b")))


def test_sf020_assets_are_judged_by_their_first_bytes_and_names() -> None:
    kinds = {
        "vocabulary.txt": (b"a\nb\n", None),
        "a.pkl": (b"", "pickle"),
        "b.txt": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "pickle"),
        "c.txt": (b"\x7fELF", "program"),
        "d.txt": (b"#!/bin/sh\n", "program"),
        "e.txt": (b"PK\x03\x04", "archive"),
        "f.pt": (b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", "pickle"),
        "g.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "pickle"),
        "h.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", None),
        "vocabulary.json": (b'{"a": 1}', None),
        "merges.txt": (b"#version: 0.2\n", None),
    }
    assert {name: values.asset_kind(name, head) for name, (head, _) in kinds.items()} == {n: k for n, (_, k) in kinds.items()}
    file = ModelFile(
        path="m", layout="keras-zip", assets=Assets({n: len(h) for n, (h, _) in kinds.items()}, lambda n: kinds[n][0])
    )
    report = {it.at: it.verdict for it in check_safety(Subject(file, Options()))}
    assert report == {f"assets/{n}": "unsafe" if k == "pickle" else "valid" for n, (_, k) in kinds.items() if k}


HARMLESS = """
math.add nn.relu __operators__.getitem concat compat.v1.reduce_sum compat.v1.nn.softmax image.resize linalg.matmul
reshape cast strings.lower ragged.stack raw_ops.AddV2 raw_ops.BatchMatMulV2 random.normal random.uniform sparse.to_dense
stack
"""


@pytest.mark.parametrize("symbol", HARMLESS.split())
def test_sf021_functions_on_tensors_are_harmless(symbol: str) -> None:
    assert tf_is_harmless(symbol)
    assert found(model(obj("TFOpLambda", None, function=symbol, name=f"tf.{symbol}"))) == []


ACTING = """
io.read_file io.write_file py_function numpy_function compat.v1.py_func raw_ops.ReadFile raw_ops.PyFunc
raw_ops.RestoreV2 load_library load_op_library saved_model.load train.load_checkpoint data.Dataset summary.write print
function keras.utils.x compat.v1.io.read_file raw_ops.ImmutableConst raw_ops.LookupTableFindV2 lookup.StaticHashTable
io.gfile.remove Variable raw_ops.Save config.run_functions_eagerly debugging.enable_check_numerics sysconfig.get_lib
autograph.to_graph math math. random.set_seed.__globals__ random.Generator.from_state distribute.Server
raw_ops.DatasetFromGraph test.main a.b.c
"""


@pytest.mark.parametrize("symbol", ACTING.split())
def test_sf021_other_functions_of_tensorflow_are_not(symbol: str) -> None:
    assert not tf_is_harmless(symbol)


def test_sf021_operations_of_a_graph_are_told_by_their_names() -> None:
    assert all(
        map(op_is_harmless, ("Mul", "AddV2", "StridedSlice", "Sigmoid", "Relu6", "MatMul", "GatherV2", "SquaredDifference"))
    )
    for op in ("ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "SaveV2", "RestoreV2", "PartitionedCall", "", None, 5, "a b"):
        assert not op_is_harmless(op)


def test_sf003_names_are_looked_for_by_their_longest_part() -> None:
    assert danger_of("numpy", "load")
    assert danger_of("torch.hub", "load")
    assert danger_of("os.path", "join")
    assert danger_of("mypackage.os", "system") is None
    assert danger_of("ossify", "f") is None
    assert danger_of("my.module", "f.__globals__")
    assert danger_of("numpy", "mean") is None


def test_sf002_ordinary_strings_are_not_taken_for_code() -> None:
    for text in ("a" * 100, "4wheel drive" * 10, "Yw" + "x" * 80, "c" * 60, "The quick brown fox jumps over the lazy dog."):
        assert not values.is_marshalled(text)
    assert found(model(obj("StringLookup", name="s", vocabulary=["a" * 60, "http://example.invalid/", "b"]))) == []


def test_findings_are_counted_and_not_listed_without_end() -> None:
    many = model(*[obj(f"Mine{n}", "mine", name="..") for n in range(1000)])
    report = list(check_safety(subject_of(many)))
    assert len([it for it in report if it.code == "SF-012"]) == 101
    assert len([it for it in report if it.code == "SF-014"]) == 101
