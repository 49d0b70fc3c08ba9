"""The descent through a config: every value that Keras would turn into an object, call, open or decode.

Spec: spec/safety.md (SF-001 to SF-018, SF-021).  It goes through the JSON and not through the typed tree: what the tree
refuses as malformed, some version of Keras may load.  Nothing is imported, decoded, opened or run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from refser.checks import _safety_values as values
from refser.checks._safety_judge import OP_LAYERS, Judgement, judge
from refser.checks._safety_names import is_type_spec, op_is_harmless, tf_is_harmless
from refser.checks.report import Finding, error, unsafe, warning
from refser.config.objects import Place, kind_of, path_of, shown

MOST = 100  # findings of one requirement that are spelt out; the rest is counted
_SPECIAL = frozenset(
    {"__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__", "__keras_tensor__", "__tuple__", "TensorShape"}
)
_LAMBDA_KEYS = ("function", "output_shape", "mask", "mode", "output_mask")
_ATTRIBUTE = re.compile(r"[A-Za-z]\w*\Z")
_TENSOR_CLASSES = frozenset({"RaggedTensor", "SparseTensor", "sparse.SparseTensor", "Tensor", "IndexedSlices", "TensorShape"})
_NONE: Any = object()
_EMPTY: Mapping[str, Any] = {}


class Scan:
    """One file.  `bare`: names without a module are held too, which other checks know in the versions that they judge."""

    def __init__(self, *, bare: bool, also_allow: frozenset[str]) -> None:
        self._bare, self._allowed = bare, also_allow
        self._judged: dict[tuple[str | None, str, str | None, bool], Judgement | None] = {}
        self._counts: dict[str, int] = {}
        self._owner = 0  # the `id` of the object that is looked at
        self._custom: dict[str, list[Any]] = {}  # key: judgement, first place, number of places
        self.findings: list[Finding] = []
        self.unknown: list[tuple[int, Finding]] = []  # names that Keras has not, with the `id` of what has them

    def run(self, value: Any, place: Place | str) -> None:
        """All below `value`, each value once, with a stack of our own."""
        stack: list[tuple[Any, Place | str, bool]] = [(value, place, False)]
        while stack:
            value, place, sized = stack.pop()
            below: list[tuple[Any, Place | str, bool]] = []
            if value.__class__ is list:
                self._list(value, place, sized, below)
            elif value.__class__ is dict:
                if "class_name" in value:
                    self._object(value, place)
                self._dict(value, place, sized, below)
            below.reverse()
            stack.extend(below)

    def _list(self, found: list[Any], place: Place | str, sized: bool, below: list[tuple[Any, Place | str, bool]]) -> None:
        if found and found[0].__class__ is str and values.is_code(found):
            self._add(unsafe, "SF-002", "marshalled code; wanted a function by its name", place)
        for number, child in enumerate(found):
            kind = child.__class__
            if kind is dict or kind is list:
                below.append((child, Place(place, number), sized))
            elif kind is str:
                if len(child) > values.SHORT and values.is_marshalled(child) and not values.is_code(found):
                    self._add(unsafe, "SF-002", "marshalled code; wanted a function by its name", Place(place, number))
            elif sized and (kind is int or kind is float) and child > values.SIZE_MAX:
                self._too_big(child, Place(place, number))

    def _dict(self, found: dict[str, Any], place: Place | str, sized: bool, below: list[tuple[Any, Place | str, bool]]) -> None:
        for key, child in found.items():
            kind = child.__class__
            if kind is dict or kind is list:
                below.append((child, Place(place, key), sized or key in values.SIZE_KEYS))
            elif kind is str:
                if len(child) > values.SHORT or key in values.WATCHED:
                    self._string(found, key, child, place)
            elif (kind is int or kind is float) and child > values.SIZE_MAX and (sized or key in values.SIZE_KEYS):
                self._too_big(child, Place(place, key))

    def custom(self) -> Iterator[Finding]:
        """One finding for each thing that the loader has to supply, at its first place."""
        for number, (judgement, place, uses) in enumerate(self._custom.values()):
            if number == MOST:
                yield warning("SF-014", f"{len(self._custom) - MOST:,} more classes and functions that are not of Keras")
                return
            times = f" ({uses:,} places)" if uses > 1 else ""
            yield warning(judgement.code, judgement.message + times, _path(place))

    def _add(self, make: Callable[..., Finding], code: str, message: str, place: Place | str) -> None:
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count <= MOST:
            self.findings.append(make(code, message, _path(place)))
        elif count == MOST + 1:
            self.findings.append(make(code, "more of the same, not listed"))

    # Objects

    def _object(self, value: Mapping[str, Any], place: Place | str) -> None:
        name, module, config = value["class_name"], value.get("module"), value.get("config", _NONE)
        registered = value.get("registered_name")
        if name.__class__ is not str or not name:
            if config is not _NONE or module is not None:
                self._add(error, "SF-018", f"{shown(name)} as class_name; wanted a string", Place(place, "class_name"))
            return
        if name == "__lambda__":
            self._add(unsafe, "SF-002", "a lambda as marshalled code; wanted a function by its name", place)
            return
        if name in _SPECIAL:
            if name in ("__numpy__", "__tensor__") and isinstance(config, Mapping):
                self._array(config, place)
            return
        self._owner = id(value)
        if module is not None and module.__class__ is not str:
            self._add(error, "SF-018", f"{kind_of(module)} as module; wanted a string or null", Place(place, "module"))
            module = None  # as Keras 1 and 2 do, which never look at it
        if registered is not None and registered.__class__ is not str:
            message = f"{kind_of(registered)} as registered_name; wanted a string or null"
            self._add(error, "SF-018", message, Place(place, "registered_name"))
            registered = None
        if name in ("__typespec__", "TypeSpec", "CompositeTensor"):
            self._type_spec(name, module, value, place)
            return
        if config is _NONE and module is None:
            return  # a plain object of somebody's own arguments
        if config.__class__ is str:
            self._hold(module, config, registered, place, function=True)
            if name != "function":
                self._hold(module, name, None, place, function=False)
            return
        if name == "function":
            return  # CF-011
        last = name if name.isidentifier() else re.split("[.>]", name)[-1]
        if last in OP_LAYERS:
            self._op_layer(last, config, place)
            if module is not None and not module.startswith(("keras.", "tf_keras.")):
                self._hold(module, name, registered, place, function=False)
        elif not self._special_layer(last, config, place):
            self._hold(module, name, registered, place, function=False)
        if isinstance(config, Mapping):
            if last in ("Lambda", "Merge"):
                self._lambda(config, place)
            self._name(config.get("name"), Place(place, "config"))
        self._name(value.get("name"), place)

    def _hold(self, module: str | None, name: str, registered: str | None, place: Place | str, *, function: bool) -> None:
        """Against the list."""
        key = (module, name, registered, function)
        try:
            judgement = self._judged[key]
        except KeyError:
            judgement = self._judged[key] = judge(module, name, registered, function=function)
        if judgement is None:
            return
        if judgement.verdict == "custom":
            if not self._is_allowed(judgement.key, module, name, registered):
                self._custom.setdefault(judgement.key, [judgement, place, 0])[2] += 1
        elif judgement.code == "SF-001":
            if len(self.unknown) < 10 * MOST:
                self.unknown.append((self._owner, error("SF-001", judgement.message, _path(place))))
        else:
            self._add(unsafe if judgement.verdict == "unsafe" else error, judgement.code, judgement.message, place)

    def _is_allowed(self, key: str, module: str | None, name: str, registered: str | None) -> bool:
        allowed = self._allowed
        return bool(allowed) and (
            key in allowed or registered in allowed or (f"{module}.{name}" if module else name) in allowed
        )

    def _special_layer(self, name: str, config: Any, place: Place | str) -> bool:
        """Layers that are more than their arguments."""
        if name in ("TFSMLayer", "KerasLayer") and (name == "TFSMLayer" or _text(config, "handle")):
            key = "filepath" if name == "TFSMLayer" else "handle"
            named = f" {shown(config[key])}" if _text(config, key) else ""
            self._add(unsafe, "SF-007", f"{name} loads and runs another model{named}, outside this file", place)
        elif name == "TorchModuleWrapper":
            if isinstance(config, Mapping) and config.get("module") is None:
                return False
            self._add(unsafe, "SF-008", "TorchModuleWrapper holds a pickle, which runs code when it is read", place)
        elif name in ("JaxLayer", "FlaxLayer"):
            message = f"{name} calls functions or a module that are not in the file; who loads it has to have them"
            self._custom.setdefault(name, [Judgement("custom", "SF-009", message, name), place, 0])[2] += 1
        else:
            return False
        return True

    def _op_layer(self, name: str, config: Any, place: Place | str) -> None:
        """The layers that tf.keras makes of TensorFlow's functions [SF-021]."""
        at = Place(place, "config")
        get = (config if isinstance(config, Mapping) else _EMPTY).get
        if name == "TensorFlowOpLayer":
            node = get("node_def")
            op = node.get("op") if isinstance(node, Mapping) else None
            if not op_is_harmless(op):
                self._add(unsafe, "SF-021", f"{shown(op)} as an operation of TensorFlow; wanted one that only computes", at)
        elif name in ("InstanceMethod", "InstanceProperty"):
            attribute = get("attr_name")
            if not _is_attribute(attribute):
                self._add(unsafe, "SF-021", f"{shown(attribute)} as an attribute of a tensor; wanted a public one", at)
        elif name == "ClassMethod":
            owner, method = get("cls_symbol"), get("method_name")
            if not isinstance(owner, str) or owner not in _TENSOR_CLASSES:
                self._add(unsafe, "SF-021", f"{shown(owner)} as a class of TensorFlow; wanted one of its tensors", at)
            elif not _is_attribute(method):
                self._add(unsafe, "SF-021", f"{shown(method)} as a method of a tensor; wanted a public one", at)
        else:
            symbol = get("function")
            if isinstance(symbol, str) and symbol.startswith("keras."):
                module, _, function = symbol.rpartition(".")
                if not (module == "keras.backend" and values.is_backend_function(function)):
                    self._hold(module, function, None, at, function=True)
            elif not (tf_is_harmless(symbol) or (name == "SlicingOpLambda" and symbol is None)):
                self._add(unsafe, "SF-021", f"{shown(symbol)} as a function of TensorFlow; wanted one on tensors", at)

    def _lambda(self, config: Mapping[str, Any], place: Place | str) -> None:
        """Keras 1 and 2 keep code as characters or as [code, defaults, closure], functions as a name and a module."""
        for key in _LAMBDA_KEYS:
            found: Any = config.get(key)
            kind = config.get(f"{key}_type")
            at = Place(Place(place, "config"), key)
            is_text = found.__class__ is str
            is_list = found.__class__ is list and bool(found) and found[0].__class__ is str
            if (is_list and values.is_code(found)) or (is_text and len(found) > values.SHORT and values.is_marshalled(found)):
                continue  # the walk says so
            if is_list or (kind == "lambda" and found is not None and not isinstance(found, Mapping)):
                self._add(unsafe, "SF-002", "code in the place of a function; wanted its name", at)
            elif is_text and (kind == "function" or key in ("function", "mask")):
                module = config.get("module" if key == "function" else f"{key}_module")
                if len(found) > 300 or values.NAME.match(found) is None:
                    self._add(unsafe, "SF-002", "characters that are no name, as a function; wanted its name", at)
                elif module is None or module.__class__ is str:
                    self._hold(module if module != "builtins" else None, found, None, at, function=True)

    def _type_spec(self, name: str, module: str | None, value: Mapping[str, Any], place: Place | str) -> None:
        spec = value.get({"__typespec__": "spec_name", "TypeSpec": "type_spec"}.get(name, "spec"))
        if isinstance(spec, Mapping):
            return  # of a CompositeTensor, and below
        if not is_type_spec(module, spec):
            named = f"{module}.{spec}" if module and isinstance(spec, str) else spec
            self._add(unsafe, "SF-017", f"{shown(named)} as a type spec; wanted one of TensorFlow's own", place)

    def _array(self, config: Mapping[str, Any], place: Place | str) -> None:
        dtype = config.get("dtype")
        if isinstance(dtype, str) and values.is_wide(dtype):
            self._add(unsafe, "SF-013", f"{shown(dtype)} as the dtype of an array; wanted a dtype of Keras", place)

    # Names, sizes, strings

    def _name(self, name: Any, place: Place | str) -> None:
        if name.__class__ is not str or name.isidentifier():
            return
        if (reason := values.acts_as_path(name)) is not None:
            self._add(unsafe, "SF-012", f"{shown(name)} as a name, which {reason}; wanted a plain one", Place(place, "name"))

    def _too_big(self, size: float, place: Place | str) -> None:
        self._add(unsafe, "SF-013", f"{size:,.0f} as a size; wanted at most {values.SIZE_MAX:,}", place)

    def _string(self, owner: Mapping[str, Any], key: str, text: str, place: Place | str) -> None:
        if key in values.OPENED and "class_name" not in owner:
            if key in values.ALWAYS_OPENED:
                message = f"{shown(text)} as {key}: Keras would open it; wanted a list"
                self._add(unsafe, "SF-010", message, Place(place, key))
            elif values.is_outside(text):
                message = f"{shown(text)} as {key}: it is outside this file; wanted nothing to be opened or fetched"
                self._add(unsafe, "SF-011", message, Place(place, key))
        elif key in values.ROLES and ("." in text or (self._bare and not values.is_known_role(text))):
            self._hold(None, text, None, Place(place, key), function=True)
        if len(text) > values.SHORT:
            if values.is_marshalled(text):
                self._add(unsafe, "SF-002", "marshalled code; wanted a function by its name", Place(place, key))
            elif key not in values.OPENED and "://" in text and values.is_url(text) and "class_name" not in owner:
                message = f"{shown(text)} as {key[:60]!r}: an address; no class of Keras takes one"
                self._add(warning, "SF-011", message, Place(place, key))


def _path(place: Place | str) -> str:
    return (place if isinstance(place, str) else path_of(place)).removeprefix(".")


def _text(config: Any, key: str) -> bool:
    return isinstance(config, Mapping) and isinstance(config.get(key), str)


def _is_attribute(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= 100 and _ATTRIBUTE.match(name) is not None
