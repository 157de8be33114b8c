"""How people write amounts in a configuration: ``"50 MiB"``, ``"1 %"``, ``"22:00"``.

Each type takes a value from TOML and gives the one that the program reckons with.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from mirror.store.reserve import Floor

_UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{letter: 1024**power for power, letter in enumerate("KMGT", 1)},  # as nginx and systemd
}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)", re.ASCII)
_PERCENT: Final = re.compile(r"(\d{1,2}(?:\.\d{1,6})?)\s*%", re.ASCII)
_TIME: Final = re.compile(r"(\d\d):(\d\d)", re.ASCII)


def problem(message: str) -> PydanticCustomError:
    """What is wrong with a setting, with the fix."""
    return PydanticCustomError("setting", "{message}", {"message": message})


def size_bytes(value: Any) -> int:  # noqa: ANN401 - whatever TOML holds
    """``1024``, ``"50 MiB"``, ``"1.5 GB"`` → bytes.

    Raises:
        PydanticCustomError: it is none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _UNITS.get((found[2] or "B").upper()) if found else None
    if found is None or factor is None:
        raise problem(f'{value!r} is no size; write it like 1048576, "50 MiB" or "1.5 GB"')
    return int(float(found[1]) * factor)


def floor(value: Any) -> Floor:  # noqa: ANN401 - whatever TOML holds
    """``"5 %"`` or a size → what has to stay free.

    Raises:
        PydanticCustomError: it is neither.
    """
    if isinstance(value, Floor):
        return value
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        return Floor(float(found[1]) / 100)
    try:
        size = size_bytes(value)
    except PydanticCustomError:
        raise problem(f'{value!r} is no reserve; write it like "50 GiB" or "1 %"') from None
    return Floor(1.0, size) if size else Floor()


def time_of_day(value: Any) -> time:  # noqa: ANN401 - whatever TOML holds
    """``"22:00"``, or TOML's own ``22:00:00``, → that time; ``"24:00"`` is midnight too.

    Raises:
        PydanticCustomError: it is neither.
    """
    if isinstance(value, time):
        return value
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        hour, minute = int(found[1]), int(found[2])
        if (hour < 24 and minute < 60) or (hour, minute) == (24, 0):
            return time(hour % 24, minute)
    raise problem(f'{value!r} is no time of day; write it like "22:00"')


Size = Annotated[int, BeforeValidator(size_bytes)]
FloorSize = Annotated[Floor, BeforeValidator(floor)]
TimeOfDay = Annotated[time, BeforeValidator(time_of_day)]
