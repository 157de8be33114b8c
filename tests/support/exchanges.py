"""Both ends of a `Connection` without a network: requests that remember, a transport that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from mirror.errors import UpstreamError
from mirror.upstream.connection import Connection, receiving_buffer
from mirror.upstream.options import HttpOptions

OK: Final = b"HTTP/1.1 200 OK\r\n"


@dataclass(eq=False, slots=True)
class Remembered:
    """An `Exchange` that insists on the contract.

    Attributes:
        number: its place in the order of requests.
        max_bytes: as `Exchange.max_bytes`.
        body: what came so far.
        has_begun: whether its answer is a success.
        outcome: how it ended; None until then.
        ended_at: by the loop's clock.
    """

    number: int = 0
    max_bytes: int = 1000
    body: bytes = b""
    has_begun: bool = False
    outcome: bytes | UpstreamError | None = None
    ended_at: float = 0.0

    @property
    def url(self) -> str:
        """As `Exchange.url`."""
        return f"http://host/{self.number}"

    @property
    def head(self) -> bytes:
        """As `Exchange.head`."""
        return b"GET /%d HTTP/1.1\r\n\r\n" % self.number

    def began(self) -> None:
        """As `Exchange.began`."""
        assert self.outcome is None
        assert not self.has_begun
        self.has_begun = True

    def received(self, piece: bytes) -> None:
        """As `Exchange.received`."""
        assert self.outcome is None
        assert self.has_begun
        assert piece
        self.body += piece
        assert len(self.body) <= self.max_bytes

    def ended(self) -> None:
        """As `Exchange.ended`."""
        assert self.has_begun
        self._end(self.body)

    def failed(self, error: UpstreamError) -> None:
        """As `Exchange.failed`."""
        self._end(error)

    def _end(self, outcome: bytes | UpstreamError) -> None:
        assert self.outcome is None, "it ends once"
        self.outcome = outcome
        self.ended_at = asyncio.get_running_loop().time()

    @property
    def said(self) -> bytes | str | None:
        """The body, or the kind of error; None while there is neither."""
        is_error = isinstance(self.outcome, UpstreamError)
        return type(self.outcome).__name__ if is_error else self.outcome  # type: ignore[return-value]


def arrive(connection: Connection, sent: bytes) -> None:
    """Let these bytes arrive, as long as anybody listens."""
    while sent and connection.is_open:
        buffer = connection.get_buffer(-1)
        count = min(len(buffer), len(sent))
        buffer[:count] = sent[:count]
        connection.buffer_updated(count)
        sent = sent[count:]


class Wire(asyncio.Transport):
    """What a `Connection` writes to.

    Attributes:
        connection: it.
        sent: everything written.
        wants_more: whether the connection reads on.
        is_closed: whether it was hung up.
        changes: how often the connection said that something is new.
    """

    def __init__(self, options: HttpOptions | None = None) -> None:
        """Open a connection."""
        super().__init__()
        self.sent = b""
        self.wants_more = True
        self.is_closed = False
        self.changes = 0
        self.connection = Connection(options or HttpOptions(), self._count, receiving_buffer())
        self.connection.connection_made(self)

    def ask(self, count: int = 1, max_bytes: int = 1000) -> list[Remembered]:
        """Send so many requests."""
        exchanges = [Remembered(number, max_bytes) for number in range(count)]
        self.connection.send(exchanges)
        return exchanges

    def answer(self, *parts: bytes) -> None:
        """Let these bytes arrive, as long as anybody listens."""
        for part in parts:
            arrive(self.connection, part)

    def hang_up(self, error: OSError | None = None) -> None:
        """The server closes, or resets, the connection."""
        if not self.is_closed and error is None:
            self.connection.eof_received()
        self.connection.connection_lost(error)

    # --- what the connection does -----------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As `asyncio.Transport`."""
        assert not self.is_closed
        self.sent += data

    def pause_reading(self) -> None:
        """As `asyncio.Transport`."""
        self.wants_more = False

    def resume_reading(self) -> None:
        """As `asyncio.Transport`."""
        self.wants_more = True

    def abort(self) -> None:
        """As `asyncio.Transport`: the connection hears of it later."""
        assert not self.is_closed
        self.is_closed = True
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def _count(self, connection: Connection) -> None:
        assert connection is self.connection
        self.changes += 1


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a server, and what is to be made of it.

    Attributes:
        head: up to and including the empty line; interim answers before it included.
        body: the bytes after that.
        outcome: as `Remembered.said`, if all of it arrives.
        is_last: whether nothing can follow on the same connection.
        needs_end: whether only the end of the connection ends it.
    """

    head: bytes
    body: bytes
    outcome: bytes | str
    is_last: bool = False
    needs_end: bool = False

    @property
    def sent(self) -> bytes:
        """All its bytes."""
        return self.head + self.body

    def cut_at(self, received: int) -> bytes | str:
        """What is made of its first bytes, fewer than all, when nothing comes after them."""
        if received < len(self.head):
            return "Dropped"
        if self.needs_end and isinstance(self.outcome, bytes):
            return self.body[: received - len(self.head)]
        return self.outcome if isinstance(self.outcome, str) else "Unavailable"


def sized(body: bytes) -> Said:
    """An answer as most are."""
    return Said(OK + b"Content-Length: %d\r\n\r\n" % len(body), body, body)


def chunked(*chunks: bytes) -> Said:
    """One in chunks, with an extension and a trailer."""
    body = b"".join(b"%x;a=b\r\n%s\r\n" % (len(each), each) for each in chunks)
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    return Said(head, body + b"0\r\nX-Trailer: yes\r\n\r\n", b"".join(chunks))


def refused(status: int, body: bytes) -> Said:
    """An error with its page."""
    kind = "NotFound" if status == 404 else "Unavailable" if status >= 500 else "Refused"
    head = b"HTTP/1.1 %d Oh\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return Said(head, body, kind)


def interim(answer: Said) -> Said:
    """The same after two that only say that there will be one."""
    first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    return Said(first + answer.head, answer.body, answer.outcome)


def until_end(body: bytes) -> Said:
    """One that the end of the connection ends."""
    return Said(b"HTTP/1.0 200 OK\r\n\r\n", body, body, is_last=True, needs_end=True)


def last(body: bytes) -> Said:
    """One after which the server closes."""
    head = OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Said(head, body, body, is_last=True)


NOTHING: Final = Said(b"HTTP/1.1 204 No Content\r\n\r\n", b"", "Refused")


def cut(sent: bytes, places: Iterable[int]) -> list[bytes]:
    """In pieces, none of them empty."""
    bounds = sorted({0, *(place % (len(sent) + 1) for place in places), len(sent)})
    return [sent[start:end] for start, end in pairwise(bounds)]


def expected(answers: Sequence[Said], received: int, asked: int) -> list[bytes | str]:
    """What becomes of requests when so many bytes of these answers arrive before the end."""
    outcomes: list[bytes | str] = []
    for answer in answers:
        whole = len(answer.sent)
        if len(outcomes) == asked or (received <= 0 and whole):
            break
        is_whole = received >= whole
        outcomes.append(answer.outcome if is_whole else answer.cut_at(received))
        received -= whole
        if answer.is_last or not is_whole:
            break
    return outcomes + ["Dropped"] * (asked - len(outcomes))
