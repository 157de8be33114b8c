"""What is said between siblings, on their own sockets and nowhere else.

It is HTTP, so that the serving core and the client of a mirror do all the work. Requests bear the
same few headers each time, so that none of them needs to be parsed. Answers bear what the one who
asks cannot know: how the owner came by the bytes, and why there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from mirror.serve.content import Outcome
from mirror.serve.resources import Resource
from mirror.serve.shelf import Refusal

OUTCOME: Final = "Sibling-Outcome"
REASON: Final = "Sibling-Reason"
AGE: Final = "Age"
PROXY_STATUS: Final = "Proxy-Status"
HEARD: Final = frozenset(each.lower().encode() for each in (OUTCOME, REASON, AGE, PROXY_STATUS))
"""Headers of answers that count, as they are compared."""
BLOCK: Final = b"Host: sibling\r\n\r\n"
"""All headers of a plain request, the blank line included."""
_FRESH: Final = b"Cache-Control: no-cache\r\n"
_MOST_REASON: Final = 1000
Said = dict[bytes, bytes]
"""What an answer's headers said, of those that count."""


def request(wanted: Resource, *, is_fresh: bool) -> bytes:
    """To be sent to the owner."""
    line = f"GET {wanted.origin}/cvmfs/{wanted.path} HTTP/1.1\r\n".encode("ascii")
    return line + (_FRESH if is_fresh else b"") + BLOCK


@dataclass(frozen=True, slots=True)
class Told(Resource):
    """A resource that also says how the owner came by it.

    Attributes:
        outcome: that.
    """

    outcome: Outcome = Outcome.MISS

    @property
    def prefix(self) -> bytes:
        """The same in a line, for heads that are made already."""
        return f"{OUTCOME}: {self.outcome}\r\n".encode("ascii")

    def headers(self, size_bytes: int) -> tuple[tuple[str, str], ...]:
        """As `Resource.headers`."""
        return ((OUTCOME, self.outcome.value), *Resource.headers(self, size_bytes))


def refused(refusal: Refusal) -> Refusal:
    """A refusal that says to a sibling that it is one, and why."""
    reason = quote(str(refusal))[:_MOST_REASON]
    return Refusal(refusal.status, str(refusal), {**refusal.headers, REASON: reason})


def refusal_in(said: Said, status: int | None) -> Refusal | None:
    """The inverse; None where the owner did not refuse, but could not answer at all."""
    reason = said.get(REASON.lower().encode())
    if reason is None or status is None:
        return None
    proxy_status = said.get(PROXY_STATUS.lower().encode())
    headers = {PROXY_STATUS: proxy_status.decode("latin-1")} if proxy_status else {}
    return Refusal(status, unquote(reason.decode("latin-1")), headers)


def outcome_in(said: Said) -> Outcome:
    """How the owner came by what it gives."""
    try:
        return Outcome(said.get(OUTCOME.lower().encode(), b"").decode("latin-1"))
    except ValueError:
        return Outcome.MISS


def age_in(said: Said) -> int:
    """For how many seconds the owner has had it."""
    age = said.get(AGE.lower().encode(), b"")
    return int(age) if age.isdigit() else 0
