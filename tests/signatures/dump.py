"""Run by the Python of one Keras install: what its classes are called, and which keys their `from_config` takes.

    python dump.py names OUT.json                names, strings that each `get` takes, words that may be keys of each class
    python dump.py probe WORDS.json OUT.json     which of the words each class takes, and which it cannot do without

Spec: spec/arguments.md (AR).  Started by make.py, which says which installs.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import importlib.util
import inspect
import io
import json
import os
import pkgutil
import re
import sys
import types

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from recipes import GENERAL, argument, instances

VERSION = keras.__version__
SOURCE = "keras.src" if importlib.util.find_spec("keras.src") else "keras"  # 2.12 has no keras.src
GETS = {
    "activations": SOURCE + ".activations",
    "constraints": SOURCE + ".constraints",
    "dtype_policies": SOURCE + ".dtype_policies",
    "initializers": SOURCE + ".initializers",
    "losses": SOURCE + ".losses",
    "metrics": SOURCE + ".metrics",
    "optimizers": SOURCE + ".optimizers",
    "quantizers": SOURCE + ".quantizers",
    "regularizers": SOURCE + ".regularizers",
}
# Not part of the model: `import keras` of them costs time, and none of them holds what a config may name.
SKIPPED = re.compile(r"\.(backend|tests?|testing|.*_test|benchmarks?|conftest|datasets)\b|keras_doctor|_tf_keras|integration")
REFUSED = re.compile(
    r"unexpected keyword|[Uu]nrecognized keyword|not recognized|[Ii]nvalid keyword|not understood|"
    r"not a valid argument|not support arguments|unrecognized",
)


def public_modules():
    """`keras` and all below it that is not `keras.src`."""
    yield "keras", keras
    if VERSION.startswith("2"):
        yield from walked(keras, "keras.src", "keras.distribute")
    else:
        yield from walked(keras, "keras.src", "keras._tf_keras")


def walked(package, *without):
    stack = [("keras", package)]
    seen = set()
    while stack:
        name, module = stack.pop()
        for attribute, value in sorted(vars(module).items()):
            full = name + "." + attribute
            if not isinstance(value, types.ModuleType) or full in seen or full.startswith(without):
                continue
            if attribute.startswith("__") or not value.__name__.startswith("keras"):
                continue
            if not value.__name__.startswith(("keras.api.", "keras." if not VERSION.startswith("2") else "keras.api")):
                continue
            if ".src" in value.__name__:
                continue
            seen.add(full)
            yield full, value
            stack.append((full, value))


def identity(value):
    return value.__module__ + "." + value.__qualname__


def kind(value):
    if inspect.isclass(value):
        return "class"
    return "function" if callable(value) and hasattr(value, "__qualname__") else None


def registered():
    """By the names under which `_retrieve_class_or_fn` finds them without an import."""
    if VERSION.startswith("2"):
        from tensorflow.python.util import tf_export

        names = {}
        for name in list(tf_export._NAME_TO_SYMBOL_MAPPING):
            if name.startswith("keras."):
                with contextlib.suppress(Exception):
                    names[name] = tf_export.get_symbol_from_name(name)
        return names
    from keras.src import api_export

    return dict(api_export.REGISTERED_NAMES_TO_OBJS)


def private():
    """Classes that can be made from a config, by the private module that defines them."""
    source = importlib.import_module(SOURCE)
    found = {}
    for info in pkgutil.walk_packages(source.__path__, SOURCE + ".", onerror=lambda name: None):
        if SKIPPED.search(info.name) or (SOURCE == "keras" and info.name != "keras.engine.functional"):
            continue
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if inspect.isclass(value) and value.__module__ == info.name and hasattr(value, "from_config"):
                    found[info.name + "." + name] = value
    return found


def everything():
    names = {}
    for module_name, module in public_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_") and kind(value) and str(getattr(value, "__module__", "")).startswith("keras"):
                names[module_name + "." + attribute] = value
    for name, value in registered().items():
        if kind(value):
            names[name] = value
    for name, value in private().items():
        names[name] = value
    return names


def resolves(name, value):
    """Whether Keras finds it by this module and name, or knows it well enough to refuse it."""
    serialization_lib = importlib.import_module(SOURCE + ".saving.serialization_lib")

    if name in getattr(serialization_lib, "NON_MODELING_APIS", ()):
        return True
    module, _, last = name.rpartition(".")
    full = {"module": module, "class_name": last, "config": {}}
    try:
        found = serialization_lib._retrieve_class_or_fn(last, None, module, kind(value), full, {})
    except Exception:
        return False
    return found is value


def strings():
    """Family -> the strings that its `get` takes."""
    found = {}
    for family, module in GETS.items():
        try:
            source = importlib.import_module(module)
        except ImportError:
            continue
        candidates = set()
        for holder in (source, keras):
            holder = getattr(holder, family, holder) if holder is keras else holder
            for attribute in ("ALL_OBJECTS_DICT", "_ALL_OBJECTS", "LOCAL"):
                value = getattr(holder, attribute, None)
                if isinstance(value, dict):
                    candidates.update(value)
            candidates.update(vars(holder))
            candidates.update(name.lower() for name in vars(holder))
        if hasattr(source, "LOCAL") and hasattr(source, "populate_deserializable_objects"):
            source.populate_deserializable_objects()
            candidates.update(source.LOCAL.ALL_OBJECTS)
        candidates.update(camel_to_snake(name) for name in list(candidates))
        taken = {}
        for name in sorted(candidates):
            if name.startswith("_") or name in ("get", "serialize", "deserialize"):
                continue
            if meant := _meant(source, family, name):
                taken[name] = meant
        found[family] = taken
    return found


def _meant(source, family, name):
    """What a string stands for, and whether it needs nothing else."""
    objects = getattr(source, "ALL_OBJECTS_DICT", None) or getattr(getattr(source, "LOCAL", None), "ALL_OBJECTS", None) or {}
    held = objects.get(name.lower() if family == "optimizers" else name)
    if family == "dtype_policies":
        return [identity(held), False] if held is not None else None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            value = source.get(name)
    except Exception:
        return [identity(held), False] if kind(held) else None
    if value is None or isinstance(value, (str, types.ModuleType)):
        return None
    return [identity(held if kind(held) else value if kind(value) else type(value)), True]


def camel_to_snake(name):
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


@functools.cache
def source_of(module):
    return inspect.getsource(sys.modules[module])


def words_of(cls):
    """What may be a key: parameters along the MRO, and words that the code takes out of `kwargs` or `config`."""
    words = set()
    for base in cls.__mro__:
        if base is object or not base.__module__.startswith("keras"):
            continue
        if "__init__" in vars(base):
            with contextlib.suppress(Exception):
                words.update(list(inspect.signature(base.__init__).parameters)[1:])
        with contextlib.suppress(Exception):
            source = source_of(base.__module__)
            words.update(re.findall(r"""(?:pop|get)\(\s*["'](\w+)["']""", source))
            words.update(re.findall(r"""["'](\w+)["'] in (?:kwargs|config)""", source))
    return words - {"kwargs", "args", "self"}


def classes(names):
    unique = {}
    for value in names.values():
        if inspect.isclass(value) and hasattr(value, "from_config"):
            unique[identity(value)] = value
    return unique


def dump_names(out):
    gets = strings()  # first: some of the private modules change what later calls do
    names = everything()
    result = {
        "version": VERSION,
        "names": {name: [kind(value), identity(value)] for name, value in sorted(names.items())},
        "canonical": sorted(name for name, value in registered().items() if kind(value)),
        "resolved": sorted(name for name in names if resolves(name, names[name])),
        "gets": gets,
        "words": {},
    }
    for name, cls in classes(names).items():
        words = words_of(cls)
        for instance in instances(cls, keras):
            with contextlib.suppress(Exception):
                words.update(instance.get_config())
        result["words"][name] = sorted(words)
    write(out, result)


def dump_probe(words_file, out):
    with contextlib.suppress(ImportError, AttributeError):  # what 2.12 takes where it reads `.keras`
        importlib.import_module(SOURCE + ".saving.saving_lib")._SAVING_V3_ENABLED.value = True
    with open(words_file) as file:
        universe = json.load(file)
    result = {"version": VERSION, "classes": {}}
    for name, cls in sorted(classes(everything()).items()):
        words = universe.get(name, []) + [word for word in GENERAL if word not in universe.get(name, [])]
        result["classes"][name] = probe(cls, words)
    write(out, result)


def probe(cls, words):
    """`how`: "probed" or "read" (no instance could be made); `takes`, `needs`, and whether it takes `any` key."""
    defaults = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base):
            with contextlib.suppress(Exception):
                for parameter in inspect.signature(base.__init__).parameters.values():
                    defaults[parameter.name] = parameter.default
    takes, needs, any_key, tried = set(), None, False, 0
    for instance in instances(cls, keras):
        try:
            config = as_saved(instance)
            made(cls, config)
        except Exception:
            continue
        tried += 1
        takes.update(config)
        if accepted(cls, config, "no_such_key", 1):
            any_key = True
        else:
            for word in words:
                if word not in takes and accepted(cls, config, word, argument(word, defaults.get(word))):
                    takes.add(word)
        needed = {word for word in config if missing(cls, config, word)}
        needs = needed if needs is None else needs & needed
    if tried:
        return {"how": "probed", "takes": sorted(takes), "needs": sorted(needs), "any": any_key}
    takes, needs, any_key = read(cls)
    return {"how": "read", "takes": sorted(takes), "needs": sorted(needs), "any": any_key}


def as_saved(instance):
    serialization_lib = importlib.import_module(SOURCE + ".saving.serialization_lib")

    try:
        return json.loads(json.dumps(serialization_lib.serialize_keras_object(instance)["config"]))
    except Exception:
        return copy.deepcopy(instance.get_config())


def read(cls):
    """By the signatures alone: as far up as each passes `**kwargs` on."""
    takes, needs = set(), set()
    for number, base in enumerate(cls.__mro__):
        if base is object:
            return takes, needs, False
        if "__init__" not in vars(base):
            continue
        try:
            parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        except (TypeError, ValueError):
            return takes, needs, True
        more = False
        for parameter in parameters:
            if parameter.kind is parameter.VAR_KEYWORD:
                more = True
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                if parameter.default is parameter.empty and not takes and not number:
                    needs.add(parameter.name)
                takes.add(parameter.name)
        if not more:
            return takes, needs, False
    return takes, needs, True


def made(cls, config):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return cls.from_config(copy.deepcopy(config))


def accepted(cls, config, word, value):
    try:
        made(cls, {**config, word: value})
    except Exception as error:
        text = str(error)
        return not ("() takes no arguments" in text or (REFUSED.search(text) and re.search(rf"\b{word}\b", text)))
    return True


def missing(cls, config, word):
    try:
        made(cls, {key: value for key, value in config.items() if key != word})
    except KeyError as error:
        return error.args == (word,)
    except Exception as error:
        text = str(error)
        return bool(re.search(r"missing \d+ required", text) and f"'{word}'" in text)
    return False


def write(path, value):
    with open(path, "w") as file:
        json.dump(value, file, sort_keys=True)


if __name__ == "__main__":
    if sys.argv[1] == "names":
        dump_names(sys.argv[2])
    else:
        dump_probe(sys.argv[2], sys.argv[3])
