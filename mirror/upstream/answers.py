"""What an answer that is no success means; shared by the clients (contract B.10)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from mirror.errors import NotFound, Refused, Unavailable, UpstreamError, printable
from mirror.upstream.retry_after import retry_after_s

_TRY_AGAIN: Final = frozenset({408, 425, 429})
_GONE: Final = frozenset({404, 410})
_SHOWN: Final = 200


def refusal(
    url: str, status: int, reason: str, location: str | None, retry_after: str | None = None
) -> UpstreamError | None:
    """The error that a status stands for; None for success.

    Args:
        url: what was asked for.
        status: the number.
        reason: the words behind it, as the server wrote them.
        location: where a redirect points to.
        retry_after: when the server wants to be asked again.
    """
    if status == 200:
        return None
    error = _error(url, status, reason, location, retry_after)
    error.status = status
    return error


def _error(
    url: str, status: int, reason: str, location: str | None, retry_after: str | None
) -> UpstreamError:
    answer = f"{url}: the server answered {status} {printable(reason[:_SHOWN])}".rstrip()
    if status in _GONE:
        return NotFound(answer)
    if status >= 500 or status in _TRY_AGAIN:
        return Unavailable(answer, retry_after_s(retry_after, datetime.now(UTC)))
    if location is not None:
        where = printable(location[:_SHOWN])
        return Refused(f"{answer} to {where}; set follow_redirects if that is right")
    return Refused(answer)


def stalled(url: str, timeout_s: float) -> str:
    """In words: nothing came at all."""
    return f"{url}: nothing for {timeout_s:g} s; is the server up, and is the network in between?"


def too_slow(url: str, timeout_s: float, min_bytes_per_s: int) -> str:
    """In words: something came, but not enough."""
    return f"{url}: less than {min_bytes_per_s} bytes a second for {timeout_s:g} s"
