"""Input that nobody vouches for: how to make it, and what a parser must do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

from mirror.errors import MirrorError

_Data = TypeVar("_Data")


def survives(parse: Callable[[_Data], object], data: _Data) -> None:
    """A value comes back or a MirrorError of one printable line: never another exception."""
    said = ""
    try:
        parse(data)
    except MirrorError as error:
        said = str(error)
    assert said.isprintable()


@st.composite
def mutated(draw: st.DrawFn, valid: bytes, most: int = 8) -> bytes:
    """Valid bytes with some replaced, inserted, taken out or said twice, or cut short."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        stop = start + draw(st.integers(0, 8))
        match draw(st.sampled_from(("replace", "insert", "delete", "repeat", "cut"))):
            case "replace":
                data[start:stop] = draw(st.binary(min_size=1, max_size=8))
            case "insert":
                data[start:start] = draw(st.binary(min_size=1, max_size=8))
            case "delete":
                del data[start:stop]
            case "repeat":
                data[start:start] = data[start:stop]
            case _:
                del data[start:]
    return bytes(data)


@st.composite
def overwritten(draw: st.DrawFn, valid: bytes, most: int = 12) -> bytes:
    """The same length with some bytes other than zero changed: where SQLite files keep meaning."""
    data = bytearray(valid)
    used = [index for index, byte in enumerate(data) if byte]
    for _ in range(draw(st.integers(1, most))):
        data[draw(st.sampled_from(used))] = draw(st.integers(0, 255))
    return bytes(data)
