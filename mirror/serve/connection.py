"""One client's connection: plain requests are answered here, aiohttp answers everything else.

    bytes ─► a whole request? ─ known headers? ─ at hand? ─► answered on the spot
                   │ no             │ no           │ no, but named ─► found, then answered
                   ▼                ▼              ▼ no
             handed over        aiohttp, which parses and answers; if the request turns out to be
             for good           plain its headers are known from now on

aiohttp sees an ordinary connection on which some requests never came. It gets one whole request at
a time and the next one when it has answered, so nothing here has to know what goes on inside. Only
what could not be told apart from a body (anything but GET and HEAD, or headers that do not end
soon) makes a connection aiohttp's for good. Of aiohttp nothing private is used: a request handler
is an `asyncio.Protocol`, and its access log says when an answer is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from aiohttp.web import BaseRequest, StreamResponse

from mirror.serve.acknowledged import acknowledged_bytes, cut
from mirror.serve.content import Found
from mirror.serve.ledger import Served
from mirror.serve.plain import Headers
from mirror.serve.sending import Sending
from mirror.serve.shelf import Outcome, Refusal
from mirror.serve.writing import write_at_once

if TYPE_CHECKING:
    from aiohttp.web import RequestHandler

    from mirror.serve.gate import Gate

_END: Final = b"\r\n\r\n"
_MAX_HELD_BYTES: Final = 4096
_MAX_PENDING_BYTES: Final = 64 * 1024
_WITHOUT_BODY: Final = (b"GET ", b"HEAD ")
_PARTING_S: Final = 0.5


class Connection(asyncio.Protocol):
    """From accept to close."""

    __slots__ = (
        "_cancel",
        "_deadline",
        "_descriptor",
        "_gate",
        "_handler",
        "_has_ended",
        "_is_busy",
        "_is_handed_over",
        "_is_paused",
        "_pending",
        "_raw",
        "_refusal",
        "_seen_bytes",
        "_sending",
        "_transport",
        "peer",
        "requests_left",
    )

    _transport: asyncio.Transport

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._handler: RequestHandler | None = None
        self._cancel: Callable[[], object] | None = None
        self._refusal: Refusal | None = None
        self._sending: Sending | None = None
        self._pending = b""
        self._raw = b""
        self._seen_bytes = 0
        self._descriptor = -1
        self._is_busy = self._is_handed_over = self._is_paused = self._has_ended = False
        self._deadline = gate.clock.now + gate.limits.header_s
        self.requests_left = gate.limits.requests
        self.peer = ""

    # --- what the transport tells -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if address else ""
        if transport.get_extra_info("sslcontext") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()
        if not self._gate.admit(self):
            self._is_busy = self._has_ended = True
            self._transport.write(self._gate.refusal)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """The client said something."""
        if self._is_handed_over:
            self._pass_on(data)
            return
        if self._pending:
            data = self._pending + data
            self._pending = b""
        if self._is_busy:
            self._pending = data
            if len(data) > _MAX_PENDING_BYTES:
                self._transport.pause_reading()
        else:
            self._take(data)

    def eof_received(self) -> bool:
        """The client has nothing more to say; it still gets what it asked for."""
        self._has_ended = True
        if self._is_handed_over and not self._is_busy:
            self._part()
        can_stay_half_open = self._transport.get_extra_info("sslcontext") is None
        return can_stay_half_open and (self._is_busy or self._is_handed_over)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._is_paused = True
        if self._sending is not None:
            self._sending.pause()
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._is_paused = False
        if self._handler is not None:
            self._handler.resume_writing()  # first: what is sent now may pause everybody again
        if self._sending is not None:
            self._sending.resume()
        if self._has_ended and not self._is_busy:
            self._part()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._pending = b""
        self._descriptor = -1
        if self._sending is not None:
            self._sending.end(exc or ConnectionResetError())
        if self._cancel is not None:
            self._cancel()
        if self._handler is not None:
            self._handler.connection_lost(exc)
        self._is_busy = True  # whatever is still to come is for nobody
        self._gate.dismiss(self, self._handler)

    # --- the fast path ----------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Answer request after request, until one takes time."""
        while data and not self._is_busy:
            end = data.find(_END) + len(_END)
            if end < len(_END):
                self._hold(data)
                return
            request, data = (data, b"") if end == len(data) else (data[:end], data[end:])
            if not self._answer(request):
                self._forward(request, data)
                return
        self._pending = data

    def _answer(self, request: bytes) -> bool:
        """Answer a request that needs no parsing, now or soon; False if it does need it."""
        line, _, block = request.partition(b"\r\n")
        headers = self._gate.plain.get(block)
        if headers is None or self.requests_left <= 1:
            return False
        found = self._gate.shelf.at_hand(line)
        if found is None:
            return self._look_for(request, line, headers)
        self._give(line, headers, found)
        return True

    def _give(self, line: bytes, headers: Headers, found: Found) -> None:
        gate = self._gate
        self.requests_left -= 1
        content = found.content or found.small(gate.scratch)
        sent, status = 0, gate.clock.status_ok
        if content is None:
            self._transport.write(status + found.head)
        else:
            sent = write_at_once(self._descriptor, self._transport, status, found.head, content)
        if content is None or sent < len(content):
            self._send(line, headers, found, sent)
            return
        self._deadline = gate.idle_ends
        size, outcome, kind = len(content), found.outcome, found.resource.kind
        # in the order of the fields: keywords would cost half a microsecond
        gate.ledger.add(Served(self.peer, line, headers, 200, size, outcome, kind, 0.0, True))

    def _send(self, line: bytes, headers: Headers, found: Found, sent: int) -> None:
        """Write the rest of a body in slices."""
        self._is_busy = True
        self._await_client()
        began = self._gate.loop.time()
        is_at_once = True

        def over(error: Exception | None) -> None:
            sending, self._sending = self._sending, None
            assert sending is not None
            seconds = self._gate.loop.time() - began
            kind, outcome = found.resource.kind, found.outcome
            sent = sending.sent_bytes
            self._gate.ledger.add(
                Served(self.peer, line, headers, 200, sent, outcome, kind, seconds, error is None)
            )
            if error is None and is_at_once:
                self._is_busy = False  # and whoever wants it sent goes on
                self._deadline = self._gate.idle_ends
            elif error is None:
                self._go_on()
            else:
                # closing early tells the client, a padded body would not
                self._gate.complain(line, error)
                self._gate.loop.call_soon(self._transport.abort)  # as in `_part`

        self._sending = Sending(found.body, self._transport, self._gate.loop, over, sent)
        if not self._is_paused:
            self._sending.resume()
        is_at_once = False

    def _look_for(self, request: bytes, line: bytes, headers: Headers) -> bool:
        """Answer when it is found; aiohttp says so if it is not."""
        wanted = self._gate.shelf.named(line)
        if wanted is None:
            return False
        self._is_busy = True
        tell = partial(self._found, request, line, headers)
        self._cancel = self._gate.shelf.seek(line, wanted, tell)
        return True

    def _found(self, request: bytes, line: bytes, headers: Headers, found: Outcome) -> None:
        """Hear what became of that."""
        self._cancel = None
        self._is_busy = False
        if isinstance(found, Found):
            self._give(line, headers, found)
            if not self._is_busy:
                self._go_on()
        else:
            self._refusal = found
            rest, self._pending = self._pending, b""
            self._forward(request, rest)

    def take_refusal(self) -> Refusal | None:
        """Why the request that aiohttp has got cannot be answered; once."""
        refusal, self._refusal = self._refusal, None
        return refusal

    def _go_on(self) -> None:
        """An answer is complete; see to what has come meanwhile."""
        self._is_busy = False
        self._deadline = self._gate.idle_ends
        data, self._pending = self._pending, b""
        if data:
            self._transport.resume_reading()
            self._take(data)
        if self._has_ended and not self._is_busy and not self._is_paused:
            self._part()

    def _part(self) -> None:
        """Close after all that was asked is answered; aiohttp may be about to begin an answer.

        Soon, not now: a transport that is closed while it says `resume_writing` ends twice.
        """
        if self._is_handed_over:
            self._deadline = self._gate.clock.now + _PARTING_S
        else:
            self._gate.loop.call_soon(self._transport.close)

    # --- aiohttp's part ---------------------------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        """Wait for the rest of a request, if it looks like one of ours; else it is aiohttp's."""
        self._deadline = min(self._deadline, self._gate.clock.now + self._gate.limits.header_s)
        is_ours = data.startswith(_WITHOUT_BODY) or len(data) < 5
        has_bare_ends = data.count(b"\n") != data.count(b"\r\n")  # may never end as we know it
        if is_ours and not has_bare_ends and len(data) <= _MAX_HELD_BYTES:
            self._pending = data
        else:
            self._hand_over(data)

    def _forward(self, request: bytes, rest: bytes) -> None:
        """Let aiohttp answer one whole request, and keep the rest until it has."""
        if not request.startswith(_WITHOUT_BODY):
            self._hand_over(request + rest)
            return
        self._is_busy = True
        self._await_client()
        self._raw = request
        self._pending = rest
        self._aiohttp.data_received(request)

    def _hand_over(self, data: bytes) -> None:
        """This connection is aiohttp's from now on."""
        self._is_handed_over = True
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if not self._is_busy:
            ends = self._gate.clock.now + self._gate.limits.header_s
            self._deadline = min(self._deadline, ends)
        self._aiohttp.data_received(data)

    @property
    def _aiohttp(self) -> RequestHandler:
        if self._handler is None:
            self._handler = self._gate.new_handler(self)
            self._handler.connection_made(self._transport)
            if self._is_paused:
                self._handler.pause_writing()
        return self._handler

    def begin(self, request: BaseRequest) -> bool:
        """Take note that aiohttp begins to answer; False if this has to be the last answer."""
        self._is_busy = True
        self._await_client()
        self.requests_left -= 1
        self._leave_body(request)
        return self.requests_left > 0

    def _leave_body(self, request: BaseRequest) -> None:
        """Where a body ends only aiohttp can tell."""
        if not request.body_exists or self._is_handed_over:
            return
        data, self._pending = self._pending, b""
        self._is_handed_over = True
        self._transport.resume_reading()
        if data:
            self._aiohttp.data_received(data)

    def finish(self, request: BaseRequest, response: StreamResponse) -> None:
        """Take note that aiohttp has answered."""
        self._deadline = self._gate.idle_ends
        self._leave_body(request)  # it was refused before it could begin
        if self._is_handed_over:
            self._is_busy = False
            if self._has_ended:
                self._part()
            return
        raw, self._raw = self._raw, b""
        if response.keep_alive:
            self._gate.learn(request, raw)
            self._gate.loop.call_soon(self._go_on)  # when aiohttp waits for the next one
        else:
            self._pending = b""

    # --- limits -----------------------------------------------------------------------------------

    def _await_client(self) -> None:
        self._deadline = self._gate.clock.now + self._gate.limits.stalled_s
        self._seen_bytes = -1

    def look(self, now: float) -> None:
        """End this connection if its client has had its time."""
        if now < self._deadline:
            return
        if not self._is_busy:
            self.end_if_idle()
        elif self._is_stalled():
            self._halt()
            cut(self._transport)
        else:
            self._deadline = now + self._gate.limits.stalled_s

    def _is_stalled(self) -> bool:
        """Whether there is something for the client that it does not take."""
        seen, self._seen_bytes = self._seen_bytes, acknowledged_bytes(self._transport)
        is_in_kernel = self._sending is not None and self._sending.waits_for_client
        is_owed = is_in_kernel or self._is_paused or self._transport.get_write_buffer_size()
        limits = self._gate.limits
        due = limits.min_bytes_per_s * limits.stalled_s
        return bool(is_owed) and seen >= 0 and self._seen_bytes - seen < due

    def end_if_idle(self) -> None:
        """End it where nothing is asked."""
        if not self._is_busy:
            self._transport.close()
            self._is_busy = True  # until all of it is taken
            self._await_client()

    def drain(self) -> None:
        """Answer one more request at most."""
        self.requests_left = min(self.requests_left, 1)

    def close(self) -> None:
        """No more time."""
        self._halt()
        self._transport.abort() if self._is_busy else self._transport.close()

    def _halt(self) -> None:
        if self._sending is not None:
            self._sending.halt()
