"""Records against dataclasses of the same fields."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import pickle
import pprint
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from refser._record import field, record

OPTIONS: list[dict[str, bool]] = [
    {"slots": True, "frozen": frozen, "kw_only": kw_only, "eq": eq}
    for frozen in (False, True)
    for kw_only in (False, True)
    for eq in (False, True)
]


def pair(options: dict[str, bool]) -> tuple[Any, Any]:
    """A dataclass and a record, found by pickle under their names."""
    made = []
    for number, (decorator, declare) in enumerate([(dataclass, dataclasses.field), (record, field)]):

        class Point:
            """A point."""

            x: int
            y: float = 1.5
            hidden: str = declare(default="h", repr=False)
            tags: dict[str, int] = declare(default_factory=dict)

            @property
            def total(self) -> float:
                return self.x + self.y

        Point.__name__ = Point.__qualname__ = f"Point{number}"
        made.append(decorator(**options)(Point))
        globals()[f"Point{number}"] = made[-1]
    return made[0], made[1]


def outcome(action: Callable[[], object]) -> object:
    """What comes of it, with the names of both classes made equal."""
    try:
        return str(action()).replace("Point0", "Point1")
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__]


MAKES: list[Callable[[Any], Any]] = [
    lambda cls: cls(x=1),
    lambda cls: cls(1, 2.0),
    lambda cls: cls(x=1, y=2.5, hidden="other", tags={"a": 1}),
    lambda cls: cls(),
    lambda cls: cls(x=1, z=2),
]
LOOKS: list[Callable[[Any], object]] = [
    repr,
    pprint.pformat,
    lambda it: it.total,
    lambda it: it.__dict__,
    lambda it: (it == copy.copy(it), it != copy.copy(it), it == (1, 1.5, "h", {}), it == it),
    lambda it: pickle.loads(pickle.dumps(it)),
    lambda it: copy.deepcopy(it).tags is it.tags,
    lambda it: dataclasses.replace(it, y=7.0),
    lambda it: dataclasses.replace(it, z=7.0),
    dataclasses.asdict,
    dataclasses.astuple,
    lambda it: [(f.name, f.type, f.repr, f.default == dataclasses.MISSING) for f in dataclasses.fields(it)],
    lambda it: dataclasses.is_dataclass(type(it)),
    lambda it: type(it).__hash__ is None or hash(it) == hash(it),
    lambda it: setattr(it, "x", 5) or it,
    lambda it: delattr(it, "x") or it.y,
    lambda it: type(it).__match_args__,
    lambda it: (type(it).__doc__, type(it).__module__, type(it).__annotations__),
    lambda it: [(p.name, p.kind) for p in inspect.signature(type(it)).parameters.values()],
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda it: "-".join(name for name, on in it.items() if on))
def test_a_record_does_what_a_dataclass_does(options: dict[str, bool]) -> None:
    for make, look in itertools.product(MAKES, LOOKS):
        wanted, found = (outcome(lambda: look(make(cls))) for cls in pair(options))  # noqa: B023
        assert found == wanted


def test_equal_records_have_equal_hashes() -> None:
    @record(slots=True, frozen=True)
    class Point:
        x: int
        y: int = 0

    assert {Point(1), Point(1, 0), Point(1, 2)} == {Point(1), Point(1, 2)}
    assert len({Point(1), Point(1, 0), Point(1, 2)}) == 2


def test_post_init_and_own_methods_are_kept() -> None:
    @record(slots=True, frozen=True, kw_only=True)
    class Even:
        number: int

        def __post_init__(self) -> None:
            object.__setattr__(self, "number", self.number // 2 * 2)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Even)

        __hash__ = None  # type: ignore[assignment]

    assert Even(number=5).number == 4
    assert Even(number=5) == Even(number=8)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Even(number=1))


@pytest.mark.parametrize("frozen", [False, True])
def test_there_are_no_other_attributes(frozen: bool) -> None:
    @record(slots=True, frozen=frozen)
    class Point:
        x: int

    with pytest.raises(AttributeError):
        Point(1).y = 2  # type: ignore[attr-defined]


def test_defaults_of_a_factory_are_not_shared() -> None:
    @record(slots=True)
    class Bag:
        things: list[int] = field(default_factory=list)

    Bag().things.append(1)
    assert Bag().things == []
    assert Bag(things=[1]).things == [1]
