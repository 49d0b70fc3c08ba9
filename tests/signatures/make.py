"""Make refser/checks/_symbols.json: what the classes of Keras are called and which keys they take, in each version.

    python tests/signatures/make.py VERSION=PYTHON[:KERAS...][@BACKEND]... [--kept DIR] [--out FILE]

Each PYTHON has that version of Keras, or what it needs; KERAS is then a folder, or several, of
`pip install --no-deps --target KERAS keras==...`.  Some layers are made only where TensorFlow and SciPy are: @tensorflow.
Results of each version are kept in DIR and not asked for again.  Text of the file: see refser/checks/symbols.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from refser.checks.symbols import FAMILY_OF, family_by_name

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "refser" / "checks" / "_symbols.json"
OWN = ("keras.src.layers.", "keras.src.engine.")  # of the private classes of tf.keras, those that stand in files
NEVER = {"self", "args", "kwargs"}


def run(version: str, where: str, *arguments: str) -> None:
    python, _, backend = where.partition("@")
    python, _, keras = python.partition(":")
    env = os.environ | {"KERAS_BACKEND": backend or "numpy", "PYTHONPATH": keras, "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([python, str(HERE / "dump.py"), *arguments], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{version}: {python} failed\n{done.stderr[-3000:]}")


def gather(installs: dict[str, str], kept: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    names, probes = {}, {}
    for version, where in installs.items():
        if not (path := kept / f"names-{version}.json").exists():
            run(version, where, "names", str(path))
        names[version] = json.loads(path.read_text("utf-8"))
    words = kept / "words.json"
    if not words.exists():
        words.write_text(json.dumps(universe(names)), "utf-8")
    for version, where in installs.items():
        if not (path := kept / f"probe-{version}.json").exists():
            run(version, where, "probe", str(words), str(path))
        probes[version] = json.loads(path.read_text("utf-8"))["classes"]
        print(version, len(names[version]["names"]), "names,", len(probes[version]), "classes", flush=True)
    return names, probes


def universe(names: dict[str, Any]) -> dict[str, list[str]]:
    """The keys to try on a class: whatever any class of its name may take in any version."""
    by_last: dict[str, set[str]] = defaultdict(set)
    for found in names.values():
        for name, words in found["words"].items():
            by_last[name.rpartition(".")[2]].update(words)
    return {name: sorted(by_last[name.rpartition(".")[2]] - NEVER) for found in names.values() for name in found["words"]}


def public(name: str) -> bool:
    return not name.startswith("keras.src")


def order(name: str) -> tuple[bool, int, int, str]:
    """A name that stands for others: public, of a family, short."""
    rank = next((number for number, (prefix, _) in enumerate(FAMILY_OF) if name.startswith(prefix)), len(FAMILY_OF))
    return (not public(name), rank, name.count("."), name)


def merge(names: dict[str, Any], probes: dict[str, Any]) -> dict[str, Any]:
    versions = sorted(names, key=lambda text: [int(part) for part in text.split(".")])
    masks: dict[str, int] = defaultdict(int)  # where Keras finds it
    kinds: dict[str, str] = {}
    objects: dict[str, dict[int, str]] = defaultdict(dict)  # name -> version -> what it is
    canonical: dict[str, int] = defaultdict(int)
    for bit, version in enumerate(versions):
        everything = names[version]["names"]
        known = {what for name, (_, what) in everything.items() if public(name)}
        for name, (kind, what) in everything.items():
            if wanted(name, kind, version) or (name.startswith(OWN) and kind == "class" and what not in known):
                kinds[name] = kind
                objects[name][bit] = what
        for name in names[version]["resolved"]:
            masks[name] |= 1 << bit
        for name in names[version]["canonical"]:
            canonical[name] = bit + 1
    masks = {name: masks[name] for name in objects if masks[name]}
    owner = owners(objects, masks, canonical)
    bodies = {name: body(objects[name], versions, probes) for name in set(owner.values()) if kinds[name] == "class"}
    aliases: dict[str, list[str]] = defaultdict(list)
    for name in objects:
        aliases[owner.get(name, name)].append(name)
    tables: dict[str, dict[str, list[str]]] = {"class": defaultdict(list), "function": defaultdict(list)}
    for name in sorted(masks):
        module, _, last = name.rpartition(".")
        alias = "" if owner[name] == name else "=" + owner[name].removeprefix("keras.")
        tables[kinds[name]][module].append(f"{last}{alias}@{masks[name]:x}")
    families = {name: family_of(name, aliases[name]) for name in set(owner.values())}
    result: dict[str, Any] = {"versions": versions}
    for kind, table in tables.items():
        result[kind] = {module: squeezed(tokens) for module, tokens in table.items()}
    result["families"] = {
        name.removeprefix("keras."): family for name, family in sorted(families.items()) if family_by_name(name) != family
    }
    result["groups"] = groups(bodies)
    result["keys"] = shared(
        {name.removeprefix("keras."): text for name, text in sorted(bodies.items()) if text}, result["groups"]
    )
    result["strings"] = strings(names, versions, owner, objects)
    return result


def owners(objects: Any, masks: dict[str, int], canonical: dict[str, int]) -> dict[str, str]:
    """For each name the one that has its keys: of the names of an object, the one that Keras writes, or the first in order."""
    by_object: dict[tuple[int, str], set[str]] = defaultdict(set)
    for name, what in objects.items():
        if name in masks:
            for key in what.items():
                by_object[key].add(name)
    found = {}
    for name in masks:
        what = objects[name]
        same = set.intersection(*(by_object[key] for key in what.items()))
        found[name] = min(same, key=lambda it: (-canonical.get(it, 0), -len(objects[it]), order(it)))
    return {name: found[found[name]] for name in found}


def wanted(name: str, kind: str, version: str) -> bool:
    if name.startswith("keras.api."):
        return False
    if public(name) and ".engine." not in name:
        return not name.startswith("keras.applications.") or version.startswith("3")
    if kind != "class":
        return False
    return version.startswith("3") or name.endswith(".functional.Functional")


def squeezed(tokens: list[str]) -> str:
    """Tokens with the mask that most of them have only once, in front."""
    masks = [token.rpartition("@")[2] for token in tokens]
    usual = max(sorted(set(masks)), key=masks.count)
    return f"@{usual} " + " ".join(token.removesuffix(f"@{usual}") for token in tokens)


def family_of(name: str, aliases: list[str]) -> str:
    for candidate in (name, *sorted(aliases, key=order)):
        if (family := family_by_name(candidate)) != "other":
            return family
    return "other"


def body(what: dict[int, str], versions: list[str], probes: dict[str, Any]) -> str:
    """`@ffff0 units! activation quantization_config@c0000`: the versions that are known; keys, and in which if not in all."""
    takes: dict[str, int] = defaultdict(int)
    needs: dict[str, int] = defaultdict(int)
    known = 0
    for bit, identity in what.items():
        found = probes[versions[bit]].get(identity)
        if found is None:
            continue
        known |= 1 << bit
        if found["any"] or found["how"] == "read":  # what was only read off the signatures proves no refusal
            takes["**"] |= 1 << bit
        for word in found["takes"]:
            takes[word] |= 1 << bit
        for word in found["needs"]:
            needs[word] |= 1 << bit
    if not known:
        return ""
    parts = [f"@{known:x}"]
    for word in sorted(takes):
        flag = "" if not needs[word] else "!" if needs[word] == takes[word] else f"!{needs[word]:x}"
        parts.append(f"{word}{flag}" + ("" if takes[word] == known else f"@{takes[word]:x}"))
    return " ".join(parts)


def groups(bodies: dict[str, str]) -> list[str]:
    """Keys that many classes have together."""
    pairs = (("layers.Conv2D", "layers.Dense"), ("layers.Dense", "layers.ReLU"), ("optimizers.Adam", "optimizers.SGD"))
    return [" ".join(sorted(set.intersection(*(set(bodies[f"keras.{name}"].split()[1:]) for name in pair)))) for pair in pairs]


def shared(bodies: dict[str, str], groups: list[str]) -> dict[str, str]:
    """The same with `+0` for a group, and the name of the first class where a later one has the same keys."""
    first: dict[str, str] = {}
    found = {}
    for name, text in bodies.items():
        for number, group in enumerate(groups):
            if set(group.split()) <= set(text.split()):
                text = " ".join([*(token for token in text.split() if token not in group.split()), f"+{number}"])
        found[name] = f"={first[text]}" if text in first and len(first[text]) < len(text) else text
        first.setdefault(text, name)
    return found


def strings(names: dict[str, Any], versions: list[str], owner: dict[str, str], objects: Any) -> dict[str, dict[str, str]]:
    """Family -> for each string its versions and what it means."""
    by_object: dict[tuple[int, str], str] = {}
    for name in sorted(owner, key=order):
        for bit, what in objects[name].items():
            by_object.setdefault((bit, what), owner[name])
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    meant: dict[str, dict[str, str]] = defaultdict(dict)
    for bit, version in enumerate(versions):
        for family, taken in names[version]["gets"].items():
            for string, (what, alone) in taken.items():
                found[family][string] |= 1 << bit
                if not alone:
                    found[family]["!" + string] |= 1 << bit
                if (bit, what) in by_object:
                    meant[family][string] = by_object[bit, what].removeprefix("keras.")
    return {
        family: squeezed(
            [
                f"{string}{'=' + meant[family][string] if string in meant[family] else ''}@{mask:x}"
                for string, mask in sorted(table.items())
            ]
        )
        for family, table in sorted(found.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("installs", nargs="+", metavar="VERSION=PYTHON[:KERAS...][@BACKEND]")
    parser.add_argument("--kept", type=Path, default=Path("signatures"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.kept.mkdir(exist_ok=True)
    names, probes = gather(dict(item.split("=", 1) for item in options.installs), options.kept)
    options.out.write_text(json.dumps(merge(names, probes), indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
