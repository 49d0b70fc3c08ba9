"""What `check_domains` says of odd values of each argument, and what real Keras says.  NumPy backend: breadth.

Keras takes a value when it makes the object and can use it; then there must be no finding.  Of what it does not even make,
nearly all must be found: the rest has a reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import domain_cases
import pytest
from builders import DEEP
from domain_cases import Mutant, Sample

from refser.checks import _domains_names as names
from refser.checks.domains import check_domains
from refser.checks.report import Finding
from refser.config.nodes import walk
from refser.errors import InvalidError

pytestmark = [pytest.mark.keras, pytest.mark.xdist_group("keras-numpy")]

EVERY = 1 if DEEP else 7  # of so many odd values one, always the same
FLOOR = {"layers": 0.98, "others": 0.97}  # measured with every value: 0.993 and 0.984

# What Keras refuses and is not found, by reason: class and argument.  Beside these: an object that names no module, which may
# be the user's own
MISSES: dict[str, set[tuple[str, str]]] = {
    "it depends on the backend": {("InputLayer", "sparse"), ("InputLayer", "ragged"), ("BatchNormalization", "synchronized")},
    "it is the path of a file, for others to judge": {
        (name, argument)
        for name in ("IntegerLookup", "StringLookup", "TextVectorization")
        for argument in ("vocabulary", "idf_weights")
    },
    "it depends on the words": {
        *((name, "oov_token") for name in ("IntegerLookup", "StringLookup")),
        *((name, "mask_token") for name in ("IntegerLookup", "StringLookup")),
        *((name, "max_tokens") for name in ("IntegerLookup", "StringLookup", "TextVectorization")),
        *((name, "vocabulary_size") for name in ("IntegerLookup", "StringLookup", "TextVectorization")),
        *((name, "num_oov_indices") for name in ("IntegerLookup", "StringLookup")),
        ("TextVectorization", "output_mode"),
    },
    "two lookups ask for no policy": {("IntegerLookup", "dtype"), ("StringLookup", "dtype")},
    "it depends on a policy that is an object": {("Hashing", "dtype")},
    "it depends on the windows of the SciPy that is there": {("STFT", "window"), ("STFTSpectrogram", "window")},
    "it depends on other lengths": {("MelSpectrogram", "fft_length"), ("MelSpectrogram", "sequence_length")},
    "it is text of numbers, or no numbers": {("AUC", "label_weights"), ("AbsMaxQuantizer", "value_range")},
    "it depends on the class of the policy": {
        *((f"{kind}DTypePolicy", "mode") for kind in ("AWQ", "GPTQ", "Int4", "Quantized", "QuantizedFloat8")),
        ("DTypePolicyMap", "policy_map"),
    },
    "too rare to have a rule": {
        ("Dropout", "noise_shape"),
        ("Int4QuantizationConfig", "activation_quantizer"),
        ("RandAugment", "factor"),
        ("AugMix", "factor"),
        ("RandomPerspective", "scale"),
        ("RandomZoom", "height_factor"),
        ("RandomZoom", "width_factor"),
        ("TextVectorization", "split"),
        ("TextVectorization", "standardize"),
    },
}


def found_in(value: dict[str, Any]) -> list[Finding]:
    refused: list[InvalidError] = []
    nodes = list(walk(value, "config", refuse=refused.append))
    subject: Any = SimpleNamespace(version=(3, 15, 1), nodes=nodes)
    return list(check_domains(subject))


_NAMED = ("activation", "constraint", "initializer", "regularizer")


def is_chosen(mutant: Mutant) -> bool:
    if isinstance(mutant.value, str) and mutant.argument.endswith(_NAMED):
        return False  # whether Keras knows a name is asked by another check [AR-004]
    text = f"{mutant.sample.class_name} {mutant.argument} {json.dumps(mutant.value)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % EVERY == 0


def different(samples: Iterable[Sample]) -> Iterator[tuple[Sample, set[str] | None]]:
    """Each class with all arguments, then once more for those in which a further sample differs from the first."""
    first: dict[str, Sample] = {}
    times: Counter[str] = Counter()
    for sample in samples:
        known = first.setdefault(sample.class_name, sample)
        times[sample.class_name] += 1
        if known is sample:
            yield sample, None
        elif times[sample.class_name] <= (8 if DEEP else 3):
            config, other = sample.json["config"], known.json["config"]
            yield sample, {name for name in config if config[name] != other.get(name)} - {"name"}


def outcome(mutant: Mutant) -> str:
    """ "taken", "refused", or "useless": made, but not to be used."""
    try:
        live = domain_cases.load(mutant.json)
    except Exception:  # whatever Keras raises
        return "refused"
    try:
        mutant.sample.use(live)
    except Exception:  # the same
        return "useless"
    return "taken"


def is_explained(mutant: Mutant) -> bool:
    if isinstance(mutant.value, dict) and "module" not in mutant.value and "class_name" in mutant.value:
        return True
    if mutant.argument == "dtype" and mutant.value == "string":
        return True  # NumPy has no variables of text, other backends may
    known = (mutant.sample.class_name, mutant.argument)
    return any(known in places for places in MISSES.values())


@pytest.mark.parametrize(("kind", "samples"), [("layers", domain_cases.layers), ("others", domain_cases.others)])
def test_ar010_to_ar016_what_keras_takes_is_never_reported_and_what_it_refuses_is(
    kind: str, samples: Callable[[], Iterator[Sample]], capsys: pytest.CaptureFixture[str]
) -> None:
    alarms: list[str] = []
    unexplained: list[str] = []
    counts: Counter[str] = Counter()
    for sample, arguments in different(samples()):
        assert found_in(sample.json) == [], sample
        for mutant in domain_cases.mutants(sample):
            if (arguments is not None and mutant.argument not in arguments) or not is_chosen(mutant):
                continue
            found, result = found_in(mutant.json), outcome(mutant)
            counts[f"{result}, {'reported' if found else 'silent'}"] += 1
            where = f"{sample.class_name}.{mutant.argument} = {json.dumps(mutant.value)}"
            if result == "taken" and found:
                alarms.append(f"{where}: {found[0]}")
            elif result == "refused" and not found and not is_explained(mutant):
                unexplained.append(where)
    reported, silent = counts["refused, reported"], counts["refused, silent"]
    with capsys.disabled():
        print(f"\n{kind}: {dict(counts)}, found {reported / (reported + silent):.4f} of what Keras refuses")
    assert not alarms, "\n".join(alarms)
    assert not unexplained, "\n".join(unexplained)
    assert reported / (reported + silent) >= FLOOR[kind]


def test_ar015_the_names_are_those_of_keras() -> None:
    from keras.src import constraints, initializers, regularizers
    from keras.src.backend.common import dtypes

    assert set(initializers.ALL_OBJECTS_DICT) == names.INITIALIZERS
    assert set(regularizers.ALL_OBJECTS_DICT) == names.REGULARIZERS
    assert set(constraints.ALL_OBJECTS_DICT) == names.CONSTRAINTS
    assert {*dtypes.ALLOWED_DTYPES, "int"} == names.DTYPES


def test_ar010_every_class_of_the_tables_is_one_of_keras() -> None:
    import keras

    from refser.checks.domains import _tables

    modules = {"optimizers": [keras.optimizers, keras.optimizers.schedules]}
    for family, name in _tables()[1]:
        places = modules.get(family, [getattr(keras, family)])
        assert any(hasattr(place, name) for place in places), (family, name)


@pytest.mark.parametrize("value", ["abc", [-3], 5, {"a": 1}, [2.5], True, ["a"], [3], [3, 4], None])
@pytest.mark.parametrize("first", [True, False])
def test_ar014_input_shape_counts_for_the_first_layer_of_a_sequential(value: Any, first: bool) -> None:
    plain = domain_cases.DENSE
    shaped = {**plain, "config": {**plain["config"], "input_shape": value}}
    model = {"module": "keras", "class_name": "Sequential", "registered_name": None}
    model["config"] = {"name": "s", "layers": [shaped] if first else [plain, shaped]}  # type: ignore[assignment]
    try:
        domain_cases.load(model)
        taken = True
    except Exception:  # whatever Keras raises
        taken = False
    assert (found_in(model) == []) == taken
