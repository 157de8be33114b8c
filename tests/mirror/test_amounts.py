from __future__ import annotations

from contextlib import suppress
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from mirror.amounts import floor, size_bytes, time_of_day
from mirror.store.reserve import Floor

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (1024, 1024),
        ("1024", 1024),
        ("50 MiB", 50 * 2**20),
        ("50MB", 50 * 10**6),
        (" 1.5 gib ", 3 * 2**29),
        ("2 TB", 2 * 10**12),
        ("7 B", 7),
        ("1 kB", 1000),
        ("1 KiB", 1024),
    ],
)
def test_sizes(value: object, size: int) -> None:
    """Binary and decimal units, as they are written everywhere."""
    assert size_bytes(value) == size


@pytest.mark.parametrize("value", [-1, True, 1.5, "", "MiB", "50 MiBs", "1e9", "-5 MB", "5 %", []])
def test_no_sizes(value: object) -> None:
    """What is none is told with an example of one."""
    with pytest.raises(PydanticCustomError, match='"50 MiB"'):
        size_bytes(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5 %", Floor(0.05)),
        ("0.5%", Floor(0.005)),
        ("50 GiB", Floor(1.0, 50 * 2**30)),
        (4096, Floor(1.0, 4096)),
        (0, Floor()),
        ("0 %", Floor()),
        (Floor(0.1, 7), Floor(0.1, 7)),
    ],
)
def test_floors(value: object, expected: Floor) -> None:
    """A part of the disk, or a size."""
    assert floor(value) == expected


@pytest.mark.parametrize("value", ["100 %", "-1 %", "%", "much", None])
def test_no_floors(value: object) -> None:
    """A whole disk cannot be kept free."""
    with pytest.raises(PydanticCustomError, match='"1 %"'):
        floor(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("22:00", time(22)),
        ("06:30", time(6, 30)),
        ("24:00", time(0)),
        (time(1, 2, 3), time(1, 2, 3)),
    ],
)
def test_times(value: object, expected: time) -> None:
    """As on the wall, or as TOML has them."""
    assert time_of_day(value) == expected


@pytest.mark.parametrize("value", ["6", "6:00", "24:01", "25:00", "12:60", "noon", "22:00Z", 22])
def test_no_times(value: object) -> None:
    """Seconds since midnight, or other zones, are nothing that one writes by hand."""
    with pytest.raises(PydanticCustomError, match='"22:00"'):
        time_of_day(value)


@given(anything)
def test_anything(value: object) -> None:
    """Whatever stands there, the only error is one that says what to do."""
    for read in (size_bytes, floor, time_of_day):
        with suppress(PydanticCustomError):
            read(value)
