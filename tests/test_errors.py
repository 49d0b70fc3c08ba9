"""Problems and the errors that carry them."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import refser
from refser import errors
from refser.errors import Problem, RefserError, printable

KINDS = [getattr(errors, name) for name in dir(errors) if name.endswith("Error")]
PROBLEM = Problem(code="LH-005", message="no list", at="m.h5:/", hint="save it again")


def test_there_are_six_kinds_and_their_base() -> None:
    assert sorted(kind.__name__ for kind in KINDS) == [
        "AccessError",
        "InvalidError",
        "LimitError",
        "MalformedError",
        "RefserError",
        "UnsafeError",
        "UnsupportedError",
    ]
    assert all(issubclass(kind, RefserError) and getattr(refser, kind.__name__) is kind for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_kind_of_error_pickles(kind: type[RefserError], protocol: int) -> None:
    back = pickle.loads(pickle.dumps(kind(PROBLEM), protocol))
    assert type(back) is kind
    assert back.problem == PROBLEM
    assert str(back) == "m.h5:/: no list; save it again [LH-005]"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_copies(kind: type[RefserError]) -> None:
    assert copy.deepcopy(kind(PROBLEM)).problem == PROBLEM


def test_an_error_crosses_a_process_boundary(tmp_path: Path) -> None:
    code = """if True:
        import pickle, refser, sys
        try:
            refser.open(sys.argv[1])
        except refser.RefserError as error:
            sys.stdout.buffer.write(pickle.dumps(error))
    """
    command = [sys.executable, "-c", code, str(tmp_path / "gone.keras")]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    error = pickle.loads(out)
    assert type(error) is refser.AccessError
    assert error.problem.code == "IO-001"


@pytest.mark.parametrize(
    ("problem", "want"),
    [
        (Problem(code="A-1", message="m"), "m [A-1]"),
        (Problem(code="A-1", message="m", at="f"), "f: m [A-1]"),
        (Problem(code="A-1", message="m", hint="h"), "m; h [A-1]"),
        (Problem(code="A-1", message="m", at="f", hint="h"), "f: m; h [A-1]"),
        (Problem(code="A-1", message="a\nb", at="\x1b[31m"), "\\x1b[31m: a\\nb [A-1]"),
    ],
)
def test_a_problem_prints_on_one_line(problem: Problem, want: str) -> None:
    assert str(problem) == want


def test_a_problem_is_frozen() -> None:
    with pytest.raises(AttributeError):
        PROBLEM.code = "LH-006"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("plain", "plain"),
        ("", ""),
        ("größe 日本", "größe 日本"),
        ("a\x1b[31m\u202eb", "a\\x1b[31m\\u202eb"),
        ("\0\t\r\n\x7f\x9b", "\\x00\\t\\r\\n\\x7f\\x9b"),
        ("\ud800", "\\ud800"),
        ("\u2028\u2029\u200f\u2066\ufeff", "\\u2028\\u2029\\u200f\\u2066\\ufeff"),
        ("\U000e0001", "\\U000e0001"),
        ("\xa0\u3000", "\\xa0\\u3000"),
    ],
)
def test_printable_escapes_what_a_terminal_acts_on(text: str, want: str) -> None:
    assert printable(text) == want


@given(st.text(st.characters(exclude_categories=())))
def test_printable_leaves_no_control_format_or_surrogate_character(text: str) -> None:
    out = printable(text)
    event("as it is" if out == text else "escaped")
    assert not [char for char in out if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    out.encode("utf-8")


def test_a_name_from_a_file_is_escaped_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb.keras"
    path.write_bytes(b"")
    with pytest.raises(refser.MalformedError) as caught:
        refser.open(path)
    assert "\x1b" not in str(caught.value)
    assert caught.value.problem.at == os.fspath(path)
