"""The bounded set: never over its room, keeps what is wanted again, survives scans."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mirror.serve.hot import HotSet


@dataclass
class Thing:
    """Something to keep."""

    weight: int = 1
    is_wanted: bool = False


def ask(things: HotSet[int, Thing], key: int) -> bool:
    """Ask for a thing as the server does: put it there if it is not. Whether it was."""
    thing = things.entries.get(key)
    if thing is None:
        things.add(key, Thing())
        return False
    thing.is_wanted = True
    return True


@given(
    room=st.integers(0, 60),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "want", "remove"]), st.integers(0, 12), st.integers(1, 9))
    ),
)
def test_never_over_its_room(room: int, steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens, weights sum up to what is there, and that is not too much."""
    things = HotSet[int, Thing](room)
    for step, key, weight in steps:
        match step:
            case "add":
                assert things.add(key, Thing(weight)) == (key in things.entries)
            case "want" if key in things.entries:
                things.entries[key].is_wanted = True
            case "remove":
                things.remove(key)
                assert key not in things.entries
        assert things.weight == sum(each.weight for each in things.entries.values()) <= room


def test_no_room() -> None:
    """Nothing is kept then."""
    things = HotSet[int, Thing](0)
    assert not things.add(1, Thing())
    assert not things.entries


def test_too_heavy() -> None:
    """One thing does not push out everything else."""
    things = HotSet[int, Thing](100)
    assert things.add(1, Thing(10))
    assert not things.add(2, Thing(11))
    assert things.entries.keys() == {1}


def test_replaced() -> None:
    """The newer one counts, once."""
    things = HotSet[int, Thing](100)
    things.add(1, Thing(4))
    newer = Thing(7)
    things.add(1, newer)
    assert (things.entries[1], things.weight) == (newer, 7)


def test_scans_push_out_newcomers_only() -> None:
    """A hot tenth stays while a hundred times the room is read once."""
    things = HotSet[int, Thing](1000)
    random = Random(7)
    for _ in range(5000):
        ask(things, random.randrange(100))
    hits = 0
    for scanned in range(1000, 101_000):
        ask(things, scanned)
        hits += ask(things, random.randrange(100)) if scanned % 10 == 0 else 0
    assert hits == 10_000
    assert things.weight <= 1000


def test_remembered() -> None:
    """What comes back soon after it was pushed out is no newcomer any more."""
    things = HotSet[int, Thing](100)
    for key in range(101):
        ask(things, key)
    assert 0 not in things.entries
    ask(things, 0)
    for key in range(1000, 1200):
        ask(things, key)
    assert 0 in things.entries
