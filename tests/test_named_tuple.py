"""Our NamedTuple beside typing's: the same in all that it is used for."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from overlayfs_py.named_tuple import NamedTuple


class Ours(NamedTuple):
    """Two fields."""

    size: int
    name: str = "none"

    @property
    def doubled(self) -> int:
        return self.size * 2


class Theirs(typing.NamedTuple):
    """Two fields."""

    size: int
    name: str = "none"

    @property
    def doubled(self) -> int:
        return self.size * 2


class Empty(NamedTuple):
    """No field."""


_USES = {
    "a default": lambda kind: tuple(kind(1)),
    "by name": lambda kind: tuple(kind(name="a", size=2)),
    "one too few": lambda kind: kind(),
    "one too many": lambda kind: kind(1, "a", 3),
    "an unknown one": lambda kind: kind(1, other=2),
    "_make": lambda kind: tuple(kind._make(iter((1, "a")))),
    "_make of too few": lambda kind: kind._make((1,)),
    "_replace": lambda kind: tuple(kind(1)._replace(name="b")),
    "_replace of what is not there": lambda kind: kind(1)._replace(other=2),
    "_asdict": lambda kind: kind(1)._asdict(),
    "_fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    "a property": lambda kind: kind(4).doubled,
    "repr": lambda kind: repr(kind(1)).partition("(")[2],
    "equal to a tuple": lambda kind: (kind(1) == (1, "none"), hash(kind(1)) == hash((1, "none"))),
    "cannot be changed": lambda kind: setattr(kind(1), "size", 2),
    "takes nothing more": lambda kind: setattr(kind(1), "other", 2),
    "its text": lambda kind: (kind.__doc__, kind.__module__, kind.__qualname__[-2:]),
}


def _outcome(use: typing.Callable[[object], object], kind: object) -> object:
    try:
        return use(kind)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("use", _USES.values(), ids=_USES)
def test_it_is_as_typings(use: typing.Callable[[object], object]) -> None:
    assert _outcome(use, Ours) == _outcome(use, Theirs)


def test_it_is_copied_and_pickled_as_what_it_is() -> None:
    value = Ours(3, "a")

    assert type(pickle.loads(pickle.dumps(value))) is Ours
    assert copy.deepcopy(value) == value
    assert Empty() == ()


def test_it_matches_by_place() -> None:
    match Ours(3, "a"):
        case Ours(size, name):
            assert (size, name) == (3, "a")
        case _:
            pytest.fail("it does not match itself")


def test_what_would_not_be_one_is_refused() -> None:
    with pytest.raises(TypeError, match="without a default"):
        type(NamedTuple)("Bad", (), {"__annotations__": {"a": "int", "b": "int"}, "a": 1})
    with pytest.raises(TypeError, match="makes itself"):
        type(NamedTuple)("Bad", (), {"__new__": None, "__annotations__": {"a": "int"}})
