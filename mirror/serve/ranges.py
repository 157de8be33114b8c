"""The Range header (RFC 9110, 14.2): parts of a representation."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_MAX_RANGES: Final = 16
"""More than that in one request is an attack (RFC 9110, 17.15) or nonsense; all of it is sent."""
_SET: Final = re.compile(r"bytes=(.{1,1024})", re.ASCII | re.IGNORECASE)
_ONE: Final = re.compile(r"[ \t]*(?=\d|-\d)(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)
Part = tuple[int, int]
"""First byte, and the one after the last."""


class Unsatisfiable(ValueError):
    """No byte of the representation is in any of the ranges: status 416."""


def parts(header: str, size_bytes: int) -> list[Part]:
    """Which parts are asked for; empty for all of it.

    What is not understood is ignored, as the RFC demands: all of it is sent then. So it is where
    ranges overlap or are not in order, which no client of ours asks for and attackers do.

    Raises:
        Unsatisfiable: none of the parts exists.
    """
    wanted = _SET.fullmatch(header)
    if wanted is None:
        return []
    matches = [_ONE.fullmatch(each) for each in wanted[1].split(",")]
    if len(matches) > _MAX_RANGES or None in matches:
        return []
    ranges = [(match[1], match[2]) for match in matches if match]
    if any(first and last and int(last) < int(first) for first, last in ranges):
        return []
    found = [part for each in ranges if (part := _part(*each, size_bytes))]
    if not size_bytes and any(not first and int(last) for first, last in ranges):
        return []  # the last bytes of nothing are all of it (RFC 9110, 14.1.2)
    if not found:
        raise Unsatisfiable(header)
    is_in_order = all(one[1] <= two[0] for one, two in pairwise(found))
    return found if is_in_order else []


def _part(first: str, last: str, size_bytes: int) -> Part | None:
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        start, end = int(first), min(int(last) + 1 if last else size_bytes, size_bytes)
    return (start, end) if start < end else None
