"""Records of requests, for what counts and logs them."""

from __future__ import annotations

from typing import Final

from mirror.serve.content import Outcome
from mirror.serve.ledger import Served
from mirror.serve.plain import Headers
from mirror.serve.resources import Kind

HEADERS: Final = Headers("cvmfs Fuse 2.11.2", "")
OBJECT_LINE: Final = b"GET /cvmfs/test.example.org/data/ab/cdef HTTP/1.1"


def request(
    line: bytes = OBJECT_LINE,
    *,
    peer: str = "192.0.2.7",
    headers: Headers = HEADERS,
    status: int = 200,
    body_bytes: int = 4096,
    outcome: Outcome = Outcome.HIT_MEMORY,
    kind: Kind = Kind.OBJECT,
    seconds: float = 0.0,
    is_whole: bool = True,
) -> Served:
    """One that was answered."""
    return Served(peer, line, headers, status, body_bytes, outcome, kind, seconds, is_whole)


def numbered(first: int, count: int, word: str = "n") -> list[Served]:
    """Some that can be told apart."""
    numbers = range(first, first + count)
    return [request(b"GET /%s/%d HTTP/1.1" % (word.encode(), number)) for number in numbers]
