"""The records that emit loads behave as `typing.NamedTuple`'s do."""

from __future__ import annotations

import copy
import pickle
from typing import Any, NamedTuple

import pytest

from eventctl import models


class Ours(models.NamedTuple):
    first: int
    second: str = "b"
    index: float = 0.5  # type: ignore[assignment]  # a tuple's method has this name

    @property
    def sum(self) -> float:
        return self.first + self.index


class Theirs(NamedTuple):
    first: int
    second: str = "b"
    index: float = 0.5  # type: ignore[assignment]  # a tuple's method has this name


GIVEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, "x", 2.0), {}),
    ((1,), {"index": 3.0}),
    ((), {"second": "y", "first": 2}),
    ((), {}),
    ((1, "x", 2.0, 4), {}),
    ((1,), {"first": 2}),
    ((1,), {"other": 2}),
    ((), {"second": "y"}),
]


@pytest.mark.parametrize(("values", "named"), GIVEN)
def test_they_are_made_as_named_tuples_are(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    try:
        theirs = Theirs(*values, **named)
    except TypeError:
        with pytest.raises(TypeError, match="Ours takes first, second, index"):
            Ours(*values, **named)
        return
    ours = Ours(*values, **named)
    assert tuple(ours) == tuple(theirs)
    assert ours._asdict() == theirs._asdict()
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert (ours.first, ours.second, ours.index) == tuple(theirs)
    assert ours.sum == theirs.first + theirs.index


def test_they_are_changed_copied_and_taken_apart_as_named_tuples_are() -> None:
    ours = Ours(1)
    assert (Ours._fields, Ours._field_defaults) == (Theirs._fields, Theirs._field_defaults)
    assert ours._replace(second="z") == Ours(1, "z")
    with pytest.raises(TypeError):
        ours._replace(other=1)  # type: ignore[call-arg]  # what the test is about
    assert Ours._make([1, "x", 2.0]) == Ours(1, "x", 2.0)
    with pytest.raises(TypeError):
        Ours._make([1])  # unlike the constructor it fills in nothing
    with pytest.raises(AttributeError):
        ours.first = 2  # type: ignore[misc]  # what the test is about
    with pytest.raises(AttributeError):
        ours.other = 2  # type: ignore[attr-defined]  # what the test is about
    for twin in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert twin == ours
        assert type(twin) is Ours
