"""``Retry-After``: when a server that is in trouble wants to be asked again (RFC 9110, 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MOST_DIGITS: Final = 9
"""Thirty years; whoever asks for more did not mean it."""
_MOST_CHARACTERS: Final = 64


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds from now; None for no such header, or for one that means nothing.

    Never negative and always finite. How much of it is granted is up to the caller.

    Args:
        value: of the header: a number of seconds, or a date.
        now: aware of its time zone.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": the sender does not know; the protocol says UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
