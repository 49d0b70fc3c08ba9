"""Does what stands in a vocabulary fit the layer that looks for it?

Spec: spec/assets.md (AS).  Keras: `IndexLookup.load_assets`, `set_vocabulary`.  Not here: which files there are to be (assets).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from refser.checks._fitting import Places, brief
from refser.checks.report import Finding, error, of_error, warning
from refser.checks.subject import Subject
from refser.errors import RefserError
from refser.rules.layer import Layer, Version
from refser.rules.tree import NEWEST

NAME = "vocabulary.txt"
LONGEST = 16 << 20  # bytes of a vocabulary that is looked into
_INNER = "_lookup_layer"
_LOOKUPS = {"StringLookup": "[UNK]", "IntegerLookup": -1}  # and the token for what is in no vocabulary
# Where Keras ends a line beyond LF, CR LF and CR, since 3.14 [AS-002].
_SPLIT_LINES_SINCE = (3, 14)
_ODD_ENDS = frozenset("\v\f\x1c\x1d\x1e\x85\u2028\u2029")
Token = Any  # str or int: what is compared with arguments of a config, which can be anything


def check_vocabularies(subject: Subject) -> Iterator[Finding]:
    assets = subject.file.assets
    if not any(name.endswith(NAME) for name in assets) or (root := subject.owner) is None:
        return
    places = Places(subject.file)
    for owner in root:
        name = f"{owner.path}/{NAME}".lstrip("/")
        if owner.layer.key not in _LOOKUPS or name not in assets or assets.sizes[name] > LONGEST:
            continue
        try:
            data = bytes(assets[name])
            above, _, last = owner.path.rpartition("/")
            other = f"{above}/{NAME}"
            if last == _INNER and other in assets and bytes(assets[other]) != data:
                message = f"not the bytes of {brief(other)}, of which Keras takes no more notice; wanted the same in both"
                yield warning("AS-007", message, places.asset(name))
        except RefserError as fault:
            yield of_error(fault)
            continue
        yield from _judge(data, owner.layer, places.asset(name))


def _judge(data: bytes, layer: Layer, at: str) -> Iterator[Finding]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        yield error("AS-001", f"byte {fault.start:,} is no UTF-8; wanted text", at)
        return
    if odd := sorted(_ODD_ENDS.intersection(text)):
        yield warning(
            "AS-003", f"U+{ord(odd[0]):04X}, which ends a line for Keras 3.14 and not for 3.13; wanted line feeds", at
        )
    elif text.endswith(("\n", "\r")):
        yield warning("AS-003", "an empty line at the end, a token for Keras 3.13 and none for 3.14; wanted none", at)
    tokens: list[Token] = list(tokens_of(text, layer.version))
    if layer.key == "IntegerLookup":
        wrong = next((token for token in tokens if not _is_integer(token)), None)
        if wrong is not None:
            yield error("AS-004", f"the line {brief(wrong)!r}; wanted an integer of 64 bits", at)
            return
        tokens = list(map(int, tokens))
    yield from _judge_tokens(tokens, layer, at)


def tokens_of(text: str, version: Version = NEWEST) -> list[str]:
    """The lines, without the empty ones at the end [AS-002]."""
    if version < _SPLIT_LINES_SINCE:
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = text.splitlines()
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _is_integer(line: str) -> bool:
    try:
        return len(line) < 100 and -(1 << 63) <= int(line) < 1 << 63
    except ValueError:
        return False


def _judge_tokens(tokens: list[Token], layer: Layer, at: str) -> Iterator[Finding]:
    config = layer.config
    mask, unknown = config.get("mask_token"), config.get("oov_token", _LOOKUPS[layer.key])
    count, masks = config.get("num_oov_indices", 1), mask is not None and config.get("output_mode", "int") == "int"
    if type(count) is not int or count < 0:
        return  # AR-011
    heads = masks + count
    found = heads <= len(tokens) and tokens[:heads] == [mask] * masks + [unknown] * count
    own = tokens[heads:] if found else tokens
    special = [mask] * (mask is not None) + [unknown] * (config.get("invert") is True)
    if not own:
        yield error("AS-005", "no token but the special ones; wanted one at least", at)
    elif len(set(own)) < len(own):
        twice = next(token for token, times in Counter(own).items() if times > 1)
        yield error("AS-005", f"the token {brief(str(twice))!r} twice; wanted each once", at)
    elif wrong := [token for token in special if token in own]:
        yield error("AS-005", f"the special token {brief(str(wrong[0]))!r} among the others; wanted it in the head alone", at)
    size, wanted, most = heads + len(own), config.get("vocabulary_size"), config.get("max_tokens")
    if type(wanted) is int and size != wanted and own:
        yield error("AS-006", f"{size:,} tokens with the special ones; wanted {wanted:,}, the layer's vocabulary_size", at)
    elif type(most) is int and size > most:
        yield error("AS-006", f"{size:,} tokens with the special ones; wanted {most:,} at most, the layer's max_tokens", at)
