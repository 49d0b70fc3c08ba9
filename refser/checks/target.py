"""Would another version of Keras load the file: has it the classes, do they take the keys, does it read layout and weights.

Spec: spec/targets.md (TG).  Not here: whether the newest would (constructors, weights).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from refser._record import record
from refser.checks import symbols
from refser.checks._comparison import Held, compared
from refser.checks._fitting import MODELS, OLD_CONTAINER
from refser.checks._keras_objects import functions, objects, strings
from refser.checks._target_forms import odd_forms
from refser.checks.report import Finding, error
from refser.checks.subject import Subject
from refser.checks.symbols import Symbol
from refser.config.objects import KerasObject, Node, Place, path_of, shown
from refser.errors import RefserError
from refser.rules.tree import WeightTree, expected_weights

_TARGET = re.compile(r"(?:(keras|tf[._-]?keras)\s*==\s*)?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
DIRECTORIES_SINCE = (3, 6)
ASSETS_SINCE = (3,)
BIDIRECTIONAL_SINCE = (3, 3)  # before, Keras 3 finds no weights in the layers that it makes for one
# What Keras 3 takes out of the layers of older files before it calls their classes.
_CONVERTED = frozenset({"batch_input_shape"})
_CONVERTED_LAMBDA = frozenset({"module", "function_type", "output_shape_type", "output_shape_module"})


@record(frozen=True, slots=True, kw_only=True)
class Target:
    """A version that is asked about, and the known one that stands for it."""

    text: str  # "keras==3.12"
    version: tuple[int, ...]
    index: int  # in `symbols.versions()`

    @property
    def known(self) -> str:
        return symbols.versions()[self.index]


def read_target(text: str) -> Target:
    """`keras==3.12`, `3.12`, `keras==3.12.1`, `tf.keras==2.15`.  Raises ValueError for what is none, or not known [TG-001]."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r:.40} as a target; wanted text, such as 'keras==3.12'")
    found = _TARGET.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r:.60} as a target; wanted one such as 'keras==3.12', '3.12' or 'tf.keras==2.15'")
    name, *numbers = found.groups()
    version = tuple(int(number) for number in numbers if number is not None)
    is_tf = version[0] == 2
    index = symbols.index_of(version)
    if index is None or _numbers(symbols.versions()[index])[:2] != version[:2] or (name not in (None, "keras") and not is_tf):
        raise _unknown(text)
    if index == symbols.newest() and version > _numbers(symbols.versions()[index]):
        raise _unknown(text)
    return Target(text=f"{'tf.keras' if is_tf else 'keras'}=={'.'.join(map(str, version))}", version=version, index=index)


def _unknown(text: str) -> ValueError:
    known = [".".join(map(str, _numbers(it)[:2])) for it in symbols.versions()[:-1]] + [symbols.versions()[-1]]
    return ValueError(f"{text!r:.60} as a target; known are {', '.join(known)}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def check_target(subject: Subject) -> Iterator[Finding]:
    if subject.options.target is None:
        return
    target = read_target(subject.options.target)
    found = [*_layout(subject, target), *_config(subject, target)]
    yield from found
    if not found:
        yield from _weights(subject, target)


def _config(subject: Subject, target: Target) -> Iterator[Finding]:
    """TG-002 and TG-003."""
    owned = list(objects(subject))
    for node, symbol in owned:
        if symbol is None:
            continue  # in no version: AR-001
        if not _has(node, symbol, target.index):
            yield _lacks(node, node.class_name, symbol, target)
        elif node.module is None and symbol.family == "layers" and target.version >= (3,) and not _is_listed(node):
            message = f"{node.class_name:.60} without a module, inside another layer; wanted one for {target.text}"
            yield error("TG-002", message, node.at)
        else:
            yield from _keys(node, symbol, target)
    for function, symbol in functions(subject):
        if symbol is not None and not symbol.is_in(target.index):
            yield _lacks(function, function.name, symbol, target)
    for named in strings(subject, owned):
        if not named.is_known(target.index):
            message = f"{shown(named.string)}; wanted one of the {named.family} of {target.text}"
            yield error("TG-002", message, path_of(named.place))


def _has(node: KerasObject, symbol: Symbol, index: int) -> bool:
    """Whether the version finds the class: dtype policies by that alone, whatever the module."""
    if symbol.family == "dtype_policies" and (known := symbols.classes_in("dtype_policies", index)):
        return node.class_name in known
    return symbol.is_in(index)


def _is_listed(node: KerasObject) -> bool:
    """Whether it stands among the layers of a model, which Keras 3 converts where they have no module."""
    place = node.place
    if not isinstance(place, Place):
        return True  # the model itself
    return isinstance(place.key, int) and isinstance(place.above, Place) and place.above.key in ("layers", "config")


def _lacks(node: Node, name: str, symbol: Symbol, target: Target) -> Finding:
    module = f" of {shown(node.json['module'])}" if isinstance(node.json.get("module"), str) else ""
    message = f"{shown(name)}{module}, which Keras has from {symbol.first} to {symbol.last}; wanted one of {target.text}"
    return error("TG-002", message, node.at)


def _keys(node: KerasObject, symbol: Symbol, target: Target) -> Iterator[Finding]:
    for key in symbol.required_in(target.index):
        if key not in node.config:
            message = f"{node.class_name:.60} without {key!r}; wanted what {target.text} requires"
            yield error("TG-003", message, f"{node.at}.config".lstrip("."))
    for key, message in odd_forms(node, symbol, target.version):
        at = Place(Place(node.place, "config"), key) if key else node.place
        yield error("TG-003", f"{message} for {target.text}", path_of(at).lstrip("."))
    if symbol.takes_anything(target.index):
        return
    taken = symbol.keys_in(target.index)
    if node.module is None and target.version >= (3,):
        taken |= _CONVERTED_LAMBDA if symbol.short == "Lambda" else _CONVERTED
    for key in node.config:
        if key not in taken:
            message = f"{shown(key)} in the config of {node.class_name:.60}; wanted an argument that {target.text} takes"
            yield error("TG-003", message, path_of(Place(Place(node.place, "config"), key)))


def _layout(subject: Subject, target: Target) -> Iterator[Finding]:
    """TG-004."""
    file = subject.file
    if file.layout == "keras-dir" and target.version < DIRECTORIES_SINCE:
        yield error("TG-004", f"a model as a directory; {target.text} wants a .keras file")
    if file.layout == "legacy-h5" and target.version >= (3,) and file.path.endswith(".keras"):
        yield error(
            "TG-004", f"HDF5 under a name that ends in .keras; {target.text} wants a zip archive", hint="rename it to .h5"
        )
    model = subject.model
    if file.layout == "config-json" and target.version >= (3,) and model is not None and model.module is None:
        yield error("TG-004", f"a model without a module; {target.text} does not convert the JSON of older versions", model.at)


def _assets(subject: Subject, tree: WeightTree, target: Target) -> Iterator[Finding]:
    """TG-005: what TextVectorization and others keep beside the weights."""
    if target.version >= ASSETS_SINCE:
        for path in tree.assets:
            if path not in subject.file.assets:
                yield error("TG-005", f"nothing at assets/{path}; wanted it where {target.text} looks for it", f"assets/{path}")


def _weights(subject: Subject, target: Target) -> Iterator[Finding]:
    """TG-005."""
    file = subject.file
    if (3,) <= target.version < BIDIRECTIONAL_SINCE and file.weights:
        for node, symbol in objects(subject):
            if symbol is not None and symbol.name == "keras.layers.Bidirectional":
                yield error("TG-005", f"a Bidirectional layer; {target.text} does not find the weights of any", node.at)
                return
    if file.layout not in MODELS or subject.config is None or "weights" in file.unread:
        return
    if subject.version < (3,):
        for weight in file.weights.values():
            if weight.dtype == "bfloat16":
                message = "bfloat16 as tf.keras stores it, as bytes that nobody says the type of; no version of Keras reads it"
                yield error("TG-005", message, weight.path)
                return
    held = Held(file)
    walks = [target.known]
    if OLD_CONTAINER in held.prefixes and target.version >= (3,):
        walks.append("2.14.0")  # Keras 3 looks there too, where it finds nothing under `layers`
    faults: list[Finding] = []
    first: WeightTree | None = None
    for walk in walks:
        try:
            tree = expected_weights(subject.config, keras_version=walk)
        except RefserError:
            return
        first = first or tree
        found = compared(file, subject.config, tree, held)
        # Keras casts what is of another dtype, if need be without a word.
        faults = [it for it in found if it.severity == "error" and it.code != "WT-043"]
        if not faults:
            yield from _assets(subject, first, target)
            return
    for fault in faults:
        yield error("TG-005", f"{fault.message} ({target.text} looks for them so)", fault.at)
