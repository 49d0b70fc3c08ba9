"""Could Keras make the objects that the config names: does it have their classes, and do these take the keys that stand there.

Spec: spec/arguments.md (AR).  Not here: the values of the keys (domains), objects that are not Keras's (safety).
"""

from __future__ import annotations

from collections.abc import Iterator

from refser.checks import symbols
from refser.checks._keras_objects import Hints, Named, functions, objects, strings
from refser.checks.report import Finding, error, warning
from refser.checks.subject import Subject
from refser.checks.symbols import Symbol
from refser.config.objects import KerasObject, Node, Place, path_of, shown


def check_constructors(subject: Subject) -> Iterator[Finding]:
    """Judged by the newest version for files of Keras 3, by its own for those of tf.keras; not at all before 2.12 [AR-006]."""
    index = _judge_of(subject)
    if index is None:
        return
    hints, owned = Hints(), list(objects(subject))
    for node, symbol in owned:
        if symbol is None and _is_private(node.module) and not _is_keras_3(index):
            continue  # of the private modules of tf.keras, only classes without another name are in the table
        if symbol is None or not symbol.is_in(index):
            if symbol is None or node.module is not None:
                yield _unknown(node, node.class_name, symbol, index, hints)
        else:
            yield from _keys(node, symbol, index, hints)
    for function, symbol in functions(subject):
        if symbol is None or not symbol.is_in(index):
            yield _unknown(function, function.name, symbol, index, hints)
    for named in strings(subject, owned):
        if not named.is_known(index):
            yield _unknown_string(named, subject.file.generation == "legacy", index, hints)


def _judge_of(subject: Subject) -> int | None:
    version = subject.version
    return symbols.newest() if version >= (3,) else symbols.index_of(version)


def _is_private(module: str | None) -> bool:
    return module is not None and module.startswith(("keras.src.", "keras.engine.", "keras.layers."))


def _is_keras_3(index: int) -> bool:
    return symbols.versions()[index].startswith("3")


def _unknown(node: Node, name: str, symbol: Symbol | None, index: int, hints: Hints) -> Finding:
    """AR-001."""
    module = node.json["module"]
    version = symbols.versions()[index]
    if symbol is not None:
        message = (
            f"{shown(name)} of {shown(module)}, which Keras had from {symbol.first} to {symbol.last}; wanted one of {version}"
        )
        return error("AR-001", message, node.at)
    if symbols.find(module, name) is not None:
        registered = shown(node.json.get("registered_name"))
        message = f"{shown(name)} of {shown(module)} under the registered name {registered}; wanted none, or its own"
        return error("AR-001", message, node.at)
    family = module.removeprefix("keras.")
    hint = hints.near(name, symbols.class_names(family)) if "." not in family else ""
    return error("AR-001", f"{shown(name)} of {shown(module)}; wanted a name that Keras has there", node.at, hint)


def _keys(node: KerasObject, symbol: Symbol, index: int, hints: Hints) -> Iterator[Finding]:
    """AR-002 and AR-003."""
    required = symbol.required_in(index)
    for key in required:
        if key not in node.config:
            yield error(
                "AR-003",
                f"{node.class_name:.60} without {key!r}; wanted what the class requires",
                f"{node.at}.config".lstrip("."),
            )
    if symbol.takes_anything(index):
        return
    taken = symbol.keys_in(index)
    if node.config.keys() <= taken:
        return
    for key in node.config:
        if key not in taken and not (node.module is None and key in symbol.parameters):  # which Keras 3 may convert
            wanted = f"an argument that it takes in Keras {symbols.versions()[index]}"
            message = f"{shown(key)} in the config of {node.class_name:.60}; wanted {wanted}"
            yield error("AR-002", message, path_of(Place(Place(node.place, "config"), key)), hints.near(key, tuple(taken)))


def _unknown_string(named: Named, legacy: bool, index: int, hints: Hints) -> Finding:
    """AR-004 and AR-005."""
    hint = hints.near(named.string, symbols.names_in(named.family, index))
    at = path_of(named.place)
    if legacy:
        return warning(
            "AR-005", f"{shown(named.string)}, none of Keras's {named.family}; wanted a name that it knows", at, hint
        )
    return error("AR-004", f"{shown(named.string)}; wanted one of Keras's {named.family}", at, hint)
