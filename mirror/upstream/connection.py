"""One HTTP/1.1 connection, several requests on their way at once (pipelined), no cost to spare.

aiohttp spends a quarter of a millisecond of a core on every answer, which is all a replica of small
objects would ever do. Here llhttp parses (by way of httptools, as in uvicorn) and what remains is
bookkeeping: answers come in the order of the requests, so a queue tells whose bytes these are.

Whatever is not an orderly answer closes the connection: nothing after it can be attributed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import httptools

from mirror.errors import TooLarge, TooSlow, Unavailable, UpstreamError, printable
from mirror.upstream.answers import refusal, stalled, too_slow
from mirror.upstream.options import HttpOptions

_MAX_OVERHEAD_BYTES: Final = 64 * 1024
"""Headers, trailers and chunk sizes; nobody needs more without a byte of the body in between."""
_MAX_ERROR_PAGE_BYTES: Final = 64 * 1024
"""Read past to keep the connection; a longer one costs the connection."""
_FEW: Final = 100
_BUFFER_BYTES: Final = 128 * 1024


class Dropped(Unavailable):
    """The connection was closed before it began to answer: ask again on another.

    Attributes:
        answered: how many requests were answered before, so that this one may not be to blame.
    """

    answered = 0


class Exchange(Protocol):
    """One request and what becomes of it: the calls come in this order, and end with one end.

    Nothing is called after `ended` or `failed`. None of the calls may wait, or raise.
    """

    @property
    def url(self) -> str:
        """For people."""

    @property
    def head(self) -> bytes:
        """The request as it is sent."""

    @property
    def max_bytes(self) -> int:
        """Of the body; one more is `TooLarge`."""

    def began(self) -> None:
        """The answer is a success, and its body follows."""

    def received(self, piece: bytes) -> None:
        """The next bytes of the body."""

    def ended(self) -> None:
        """That was all of it."""

    def failed(self, error: UpstreamError) -> None:
        """It will not be delivered."""


@dataclass(slots=True)
class _Answer:
    """What is known of the answer that is being read."""

    reason: str = ""
    location: str | None = None
    retry_after: str | None = None
    has_length: bool = False
    declared_bytes: int | None = None
    received_bytes: int = 0
    is_muted: bool = False
    """An error page, or the body of an exchange that has failed: read past."""
    has_head: bool = False


def receiving_buffer() -> memoryview:
    """To receive into, for all connections of one loop; a new one each time would cost too much."""
    return memoryview(bytearray(_BUFFER_BYTES))


class Connection(asyncio.BufferedProtocol):
    """A connection that is open or was; made by ``loop.create_connection``.

    Attributes:
        is_open: whether requests may be sent.
        is_kept_alive: whether the server has kept it open after an answer, so that it may bear
            pipelining.
        answered: how many requests were.
        pipelined: how many of these were sent before the one before them was answered.
        lost: how many that were sent so had to be given up when it was closed.
        answer_s: how long the quickest answer took, of those that had none to wait for.
    """

    def __init__(
        self, options: HttpOptions, on_change: Callable[[Connection], None], buffer: memoryview
    ) -> None:
        """Prepare.

        Args:
            options: time-outs and minimum speed.
            on_change: called after answers ended, and when the connection is closed.
            buffer: see `receiving_buffer`.
        """
        self.is_open = False
        self.is_kept_alive = False
        self.answered = self.pipelined = self.lost = 0
        self.answer_s = math.inf
        self._sent_s = 0.0
        self._is_behind = False  # the next to be answered was sent before the last was answered
        self._options = options
        self._on_change = on_change
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._answer = _Answer()
        self._refusal: UpstreamError | None = None
        self._overhead_bytes = 0
        self._due_bytes = options.min_bytes_per_s * options.timeout_s
        self._window_bytes = 0
        self._window_ends = self._head_due = 0.0
        self._stopped_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- for its user -----------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Requests sent whose answers have not ended."""
        return len(self._exchanges)

    @property
    def declared_bytes(self) -> int | None:
        """Of the body that is being read; None where the headers do not say."""
        return self._answer.declared_bytes

    def send(self, exchanges: Sequence[Exchange]) -> None:
        """Send requests, all in one go; the connection must be open."""
        if self._transport is None or not self.is_open:
            raise RuntimeError("the connection is not open")
        if not self._exchanges:
            self._sent_s = self._loop.time()
            self._begin_window()
            self._expect_head()
            self._arm()
        self._exchanges.extend(exchanges)
        self._transport.write(b"".join([each.head for each in exchanges]))

    def stop_clock(self) -> None:
        """A consumer of ours is at work: its time is not the server's."""
        if self._stopped_at is None:
            self._stopped_at = self._loop.time()

    def start_clock(self) -> None:
        """It is the server's turn again."""
        if self._stopped_at is not None:
            lost_s = self._loop.time() - self._stopped_at
            self._window_ends += lost_s
            self._head_due += lost_s
            self._stopped_at = None

    def pause(self) -> None:
        """Take no more from the network for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close at once; what is outstanding fails."""
        if self.is_open:
            self._end(Dropped("the connection was closed"))

    # --- asyncio's calls --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.BufferedProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what asyncio passes
        """As `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """As `asyncio.BufferedProtocol`."""
        if not self._exchanges:
            self._end(Unavailable("the server sent what nobody asked for"))
            return
        self._overhead_bytes += nbytes
        if not self._answer.has_head:
            self._begin_window()  # until the head is here, another limit holds
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except httptools.HttpParserCallbackError:
            if self._refusal is None:
                raise  # a mistake of ours
            self._end(self._refusal)
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(self._malformed(error))
            return
        if self._overhead_bytes > _MAX_OVERHEAD_BYTES:
            self._end(self._malformed("headers or trailers without an end"))
        elif self.is_open:
            self._on_change(self)

    def eof_received(self) -> None:
        """As `asyncio.BufferedProtocol`; a body of no stated length ends here."""
        answer = self._answer
        if self._exchanges and answer.has_head and not answer.has_length:
            self.on_message_complete()
        self._end(self._cut_short())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - what asyncio passes
        """As `asyncio.BufferedProtocol`."""
        self._end(self._cut_short())

    # --- llhttp's calls ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._answer = _Answer()
        if not self._exchanges:
            self._refuse(Unavailable("the server sent more answers than it was asked for"))

    def on_status(self, reason: bytes) -> None:
        """The words behind the number."""
        self._answer.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of most only the fact that it is there counts."""
        match name.lower():
            case b"content-length":
                self._answer.has_length = True
                if value.isdigit():
                    self._answer.declared_bytes = int(value[:_FEW])
                    self._require_room(self._answer.declared_bytes)
            case b"transfer-encoding":
                self._answer.has_length = value.lower().endswith(b"chunked")
            case b"location":
                self._answer.location = value.decode("latin-1")
            case b"retry-after":
                self._answer.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is here: success, or the reason why not."""
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100:  # llhttp takes any three digits
                self._refuse(self._malformed(f"status {status}"))
            return  # an interim answer
        answer, exchange = self._answer, self._exchanges[0]
        answer.has_head = True
        self._overhead_bytes = 0
        self._begin_window()
        error = refusal(exchange.url, status, answer.reason, answer.location, answer.retry_after)
        if error is None:
            exchange.began()
        else:
            answer.is_muted = True
            exchange.failed(error)

    def on_body(self, piece: bytes) -> None:
        """Some bytes of the body."""
        answer, exchange = self._answer, self._exchanges[0]
        answer.received_bytes += len(piece)
        self._overhead_bytes = 0
        self._window_bytes += len(piece)
        if self._window_bytes >= self._due_bytes:
            self._begin_window()
        if answer.is_muted:
            if answer.received_bytes > _MAX_ERROR_PAGE_BYTES:
                self._refuse(Dropped("the server's error page has no end"))
            return
        if answer.received_bytes > exchange.max_bytes:
            url, limit = exchange.url, exchange.max_bytes
            self._refuse(TooLarge(f"{url}: more than {limit} bytes came, and it goes on"))
        exchange.received(piece)

    def on_message_complete(self) -> None:
        """One answer has ended."""
        if not self._answer.has_head:
            return  # an interim one, 1xx
        exchange = self._exchanges.popleft()
        self.answered += 1
        if self._is_behind:
            self.pipelined += 1
        else:
            self.answer_s = min(self.answer_s, self._loop.time() - self._sent_s)
        self._is_behind = bool(self._exchanges)
        is_muted = self._answer.is_muted
        self.is_kept_alive = self._parser.should_keep_alive()
        self._answer = _Answer()
        self._begin_window()
        self._expect_head()
        if not is_muted:
            exchange.ended()
        if not self.is_kept_alive:
            self._end(Dropped("the server closed the connection after an answer"))

    # --- inside -----------------------------------------------------------------------------------

    def _require_room(self, declared_bytes: int) -> None:
        exchange = self._exchanges[0]
        if self._parser.get_status_code() == 200 and declared_bytes > exchange.max_bytes:
            self._refuse(
                TooLarge(
                    f"{exchange.url}: {declared_bytes} bytes, but at most {exchange.max_bytes} "
                    "can be right"
                )
            )

    def _refuse(self, error: UpstreamError) -> None:
        """Leave the parser: it hands the exception through to `buffer_updated`."""
        self._refusal = error
        raise error

    def _malformed(self, what: object) -> UpstreamError:
        url = self._exchanges[0].url if self._exchanges else "the server"
        return Unavailable(f"{url}: this is no HTTP answer: {printable(str(what))[:200]}")

    def _cut_short(self) -> UpstreamError:
        if self._exchanges and self._answer.has_head:
            return Unavailable(f"{self._exchanges[0].url}: the body was cut short")
        return Dropped("the server closed the connection without an answer")

    def _end(self, error: UpstreamError) -> None:
        """Close; ``error`` is for the one whose answer was being read, the others were dropped."""
        if not self.is_open:
            return
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        exchanges, self._exchanges = list(self._exchanges), deque()
        self.lost = max(0, len(exchanges) - 1 + self._is_behind)
        if exchanges and self._answer.is_muted:
            exchanges = exchanges[1:]  # it has heard of its failure
            error = Dropped("the connection was closed after an error page")
        for position, exchange in enumerate(exchanges):
            closed = Dropped(f"{exchange.url}: the connection was closed: {error}")
            each = closed if position else error
            if isinstance(each, Dropped):
                each.answered = self.answered
            exchange.failed(each)
        self._on_change(self)

    # --- time -------------------------------------------------------------------------------------

    def _begin_window(self) -> None:
        self._window_ends = self._loop.time() + self._options.timeout_s
        self._window_bytes = 0

    def _expect_head(self) -> None:
        self._head_due = self._loop.time() + 2 * self._options.timeout_s

    def _arm(self) -> None:
        if self._timer is None:
            due = min(self._window_ends, self._head_due)
            self._timer = self._loop.call_at(due, self._look_at_clock)

    def _look_at_clock(self) -> None:
        """Armed once per window and not per byte: deadlines move, and this follows them."""
        self._timer = None
        if not self._exchanges or not self.is_open:
            return
        now = self._loop.time()
        due = self._window_ends
        if not self._answer.has_head:
            due = min(due, self._head_due)
        if self._stopped_at is not None:
            due = now + self._options.timeout_s
        if now < due:
            self._timer = self._loop.call_at(due, self._look_at_clock)
            return
        url, timeout_s = self._exchanges[0].url, self._options.timeout_s
        if self._window_bytes:
            slow = TooSlow(too_slow(url, timeout_s, self._options.min_bytes_per_s))
        else:
            slow = TooSlow(stalled(url, timeout_s))
        self._end(slow)
