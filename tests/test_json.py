"""The door to JSON (JS), and its limits (LI-001, LI-002)."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from helpers import CONFIG, everything, keras_members, refused, write, zip_bytes
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import jsonio
from refser.errors import InvalidError, LimitError, MalformedError
from refser.limits import Limits

LIMITS = Limits()


def parse(text: str, limits: Limits = LIMITS) -> Any:
    return jsonio.parse(text, limits=limits, at="x.json")


def decode(data: bytes, limits: Limits = LIMITS) -> str:
    return jsonio.decode_text(data, limits=limits, at="x.json")


def test_js001_utf8_text_comes_back_exactly() -> None:
    raw = b' {"\xc3\xa9":\t1 }\r\n'
    assert decode(raw) == ' {"é":\t1 }\r\n'
    assert decode(memoryview(raw)) == ' {"é":\t1 }\r\n'


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b"\xfe\xff\0{\0}",
        '{"a": 1}'.encode("utf-32"),
        b'{"a": "\xff"}',
        b'{"a": "\xc3"}',
        b'{"a": "\xed\xa0\x80"}',  # a surrogate in UTF-8
        b'{"a": "\xc0\xaf"}',  # overlong
        b'{"a": "\xf4\x90\x80\x80"}',  # over U+10FFFF
    ],
)
def test_js001_anything_but_plain_utf8_is_refused(data: bytes) -> None:
    with refused("JS-001", MalformedError):
        decode(data)


def test_js001_utf16_without_mark_is_refused() -> None:
    with refused("JS-002", MalformedError):  # it decodes, as text full of NULs
        parse(decode('{"a": 1}'.encode("utf-16-le")))


def test_js001_encode_is_the_inverse_of_decode() -> None:
    assert jsonio.encode_text('{"é": 1}', at="x") == b'{"\xc3\xa9": 1}'
    with refused("JS-001", InvalidError):
        jsonio.encode_text('{"\ud800": 1}', at="x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        '{"a" 1}',
        "{'a': 1}",
        '{"a": 1} x',
        "nul",
        '"\n"',
        '"\\x"',
        '"a',
        '{"a": "b',
        "01",
        "+1",
        ".5",
        "1.",
        "]",
    ],
)
def test_js002_what_is_no_json_is_refused(text: str) -> None:
    with refused("JS-002", MalformedError):
        parse(text)


def test_js002_the_message_says_where() -> None:
    with refused("JS-002") as caught:
        parse('{\n  "a": }')
    assert "line 2, column 8" in caught.value.problem.message
    assert caught.value.problem.at == "x.json"


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '{"x": [{"y": {"a": 1, "b": 2, "a": 3}}]}', '{"a": 1, "\\u0061": 2}', '{"": 1, "": 2}']
)
def test_js003_a_key_twice_in_one_object_is_refused(text: str) -> None:
    with refused("JS-003", InvalidError):
        parse(text)


def test_js003_a_key_once_in_each_object_is_read() -> None:
    assert parse('{"a": {"a": [{"a": 1}, {"a": 2}]}}') == {"a": {"a": [{"a": 1}, {"a": 2}]}}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": [1, NaN]}'])
def test_js004_numbers_that_json_lacks_are_refused(text: str) -> None:
    with refused("JS-004", InvalidError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[]", "array"), ('"a"', "string"), ("true", "boolean"), ("1", "number"), ("1.5", "number"), ("null", "null")],
)
def test_js005_a_text_that_is_no_object_is_refused(text: str, kind: str) -> None:
    with refused("JS-005", InvalidError) as caught:
        jsonio.parse_object(text, limits=LIMITS, at="x")
    assert f"a JSON {kind};" in caught.value.problem.message


def test_js005_an_object_is_taken() -> None:
    assert jsonio.parse_object('{"a": 1}', limits=LIMITS, at="x") == {"a": 1}


def test_js006_an_integer_of_4300_digits_is_read_and_one_of_4301_is_not() -> None:
    assert parse("1" + "0" * 4299) == 10**4299
    with refused("JS-006", LimitError):
        parse("1" + "0" * 4300)


def test_js006_ten_thousand_digits_are_refused() -> None:
    with refused("JS-006", LimitError):
        parse('{"a": [' + "9" * 10_000 + "]}")


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" + "0" * 400 + ".0", "0." + "1" * 5000])
def test_js006_a_real_that_no_float_holds_is_refused(text: str) -> None:
    with refused("JS-006", InvalidError):
        parse(text)


def test_js006_the_largest_float_is_read() -> None:
    assert parse("1.7976931348623157e308") == 1.7976931348623157e308
    assert parse("1e-400") == 0.0


def test_js007_dump_spaces_as_keras_does() -> None:
    assert jsonio.dump({"a": [1, 2.5, None], "ß": "\ud800"}, at="x") == '{"a": [1, 2.5, null], "\\u00df": "\\ud800"}'
    assert jsonio.dump({"a": 1}, at="x", indent=4) == '{\n    "a": 1\n}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": object()}, {(1, 2): 3}, b"x"])
def test_js007_what_json_cannot_hold_is_refused(value: object) -> None:
    with refused("JS-007", InvalidError):
        jsonio.dump(value, at="x")


def test_js007_a_list_inside_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with refused("JS-007", InvalidError):
        jsonio.dump(loop, at="x")


def test_li001_size_is_capped_before_anything_is_decoded() -> None:
    limits = Limits(json_bytes=10)
    assert decode(b'"12345678"', limits) == '"12345678"'
    with refused("LI-001", LimitError):
        decode(b"\xff" * 11, limits)  # not UTF-8 either, which nobody has looked at
    with refused("LI-001", LimitError):
        parse("[" * 11, limits)


def test_li002_depth_512_is_read_and_513_is_not() -> None:
    assert parse("[" * 512 + "]" * 512)
    with refused("LI-002", LimitError):
        parse("[" * 513 + "]" * 513)
    with refused("LI-002", LimitError):
        parse('{"a":' * 513 + "1" + "}" * 513)


def test_li002_a_hundred_thousand_brackets_are_refused() -> None:
    with refused("LI-002", LimitError):
        parse("[" * 100_000)
    with refused("LI-002", LimitError):
        parse("[" * 100_000 + "]" * 100_000)


def test_li002_brackets_inside_strings_do_not_count() -> None:
    inside = "[{" * 100_000
    assert parse(json.dumps({"a": inside, inside: "\\"})) == {"a": inside, inside: "\\"}
    assert parse('["\\"' + "[" * 600 + '"]') == ['"' + "[" * 600]


def test_li002_siblings_do_not_add_up() -> None:
    assert len(parse("[" + ",".join(["[[]]"] * 10_000) + "]")) == 10_000


def test_li002_a_limit_above_what_python_nests_is_still_a_limit_error() -> None:
    text = "[" * 1_000_000 + "]" * 1_000_000
    with refused("LI-002", LimitError):
        parse(text, Limits(json_depth=10_000_000))


# LI-002: the depth of any JSON value, counted by a walk over the parsed value, whatever its strings hold.
strings = st.text(st.sampled_from('[]{}"\\a,'), max_size=6)
values = st.recursive(strings | st.integers(), lambda v: st.lists(v, max_size=3) | st.dictionaries(strings, v, max_size=3))


def depth_of(value: object) -> int:
    below = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max(map(depth_of, below), default=0)


@given(value=values, limit=st.integers(0, 5))
def test_li002_depth_is_that_of_the_value(value: object, limit: int) -> None:
    text, limits = json.dumps(value), Limits(json_depth=limit)
    deep = depth_of(value) > limit
    event("too deep" if deep else "read")
    if deep:
        with refused("LI-002"):
            parse(text, limits)
    else:
        assert parse(text, limits) == value


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 1_000_000, '"' + "\\\\" * 1_000_000, '"' + "\\n" * 1_000_000 + "\\", '["' * 100_000, '"\\"' * 500_000],
)
def test_js002_a_million_escapes_take_linear_time_and_memory(text: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        with refused("LI-002" if text.startswith("[") else "JS-002"):
            parse(text)
        assert time.process_time() - began < 5
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (b"\xef\xbb\xbf" + CONFIG, "JS-001"),
        (b"\xff", "JS-001"),
        (CONFIG[:-1], "JS-002"),
        (b'{"a": 1, "a": 2}', "JS-003"),
        (b'{"a": NaN}', "JS-004"),
        (b"[]", "JS-005"),
        (b'{"a": ' + b"7" * 10_000 + b"}", "JS-006"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "LI-002"),
    ],
)
@pytest.mark.parametrize("member", ["config__json", "metadata__json"])
def test_js_requirements_hold_for_the_members_of_an_archive(tmp_path: Path, member: str, config: bytes, code: str) -> None:
    path = write(tmp_path / "m.keras", zip_bytes(keras_members(**{member: config})))
    with refused(code):
        everything(path)


def test_li001_a_member_over_the_cap_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "m.keras", zip_bytes(keras_members(config__json=b" " * 2000)))
    with refused("LI-001", LimitError):
        refser.open(path, limits=Limits(json_bytes=1999))


def test_li001_a_bare_config_over_the_cap_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.json", CONFIG)
    with refused("LI-001", LimitError):
        refser.open(path, limits=Limits(json_bytes=len(CONFIG) - 1))
    assert refser.open(path, limits=Limits(json_bytes=len(CONFIG))).layout == "config-json"
