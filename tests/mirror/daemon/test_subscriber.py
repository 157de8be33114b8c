"""Our subscriber hears a mirror and a gateway, believes nothing, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.hub import HubLimits
from mirror.daemon.notifications import make_notification
from mirror.daemon.subscriber import Lines, Patience, Subscriber
from mirror.errors import FormatError
from tests.support.api import Daemon, serving
from tests.support.clock import NOW
from tests.support.keys import Keys
from tests.support.loops import run, until
from tests.support.publisher import Repository
from tests.support.situations import FQRN


@pytest.fixture(name="messages", scope="module")
def fixture_messages(keys: Keys) -> list[str]:
    """Of revisions 1 and 2."""
    repository = Repository(keys)
    made = []
    for number in range(2):
        repository.publish({"": {"file": str(number).encode()}})
        made.append(make_notification(FQRN, repository.files[MANIFEST], NOW))
    return made


class Listening:
    """A subscriber whose pauses take no time.

    Attributes:
        heard: revisions.
        pauses_s: between connections.
    """

    def __init__(self, silence_s: float = 60.0) -> None:
        self.heard: list[int] = []
        self.pauses_s: list[float] = []
        self.patience = Patience(
            silence_s=silence_s, beating_silence_s=silence_s, sleep=self._sleep, chance=lambda: 1.0
        )

    async def _sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        await asyncio.sleep(0)

    def told(self, fqrn: Fqrn, revision: int) -> None:
        """Hear."""
        assert fqrn == FQRN
        self.heard.append(revision)

    async def to(self, url: str, condition: Callable[[Subscriber], object]) -> None:
        """Listen until it is so."""
        async with aiohttp.ClientSession() as session:
            subscriber = Subscriber(session, url, FQRN, self.told, self.patience)
            task = asyncio.create_task(subscriber.run())
            try:
                await until(lambda: condition(subscriber) or task.done())
                assert not task.done()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert not subscriber.is_connected


def test_hears_another_mirror(messages: Sequence[str]) -> None:
    """The last message at once, the next when it comes; heartbeats say nothing."""

    async def main() -> None:
        daemon, listening = Daemon(HubLimits(heartbeat_s=0.001)), Listening()
        daemon.hub.publish(FQRN, messages[0])

        def condition(subscriber: Subscriber) -> bool:
            if listening.heard == [1]:
                assert subscriber.is_connected
                daemon.hub.publish(FQRN, messages[1])
            return listening.heard == [1, 2]

        async with serving(daemon) as client:
            await listening.to(str(client.make_url("/api/v1/")), condition)

    run(main())


Answer = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


async def gateway(
    answers: Sequence[Answer], listening: Listening, condition: Callable[[], object]
) -> None:
    """Listen to one that gives these answers, one after the other; the last for ever."""
    asked: list[object] = []

    async def subscribe(request: web.Request) -> web.StreamResponse:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):
            await answer(request, response)
        return response

    app = web.Application()
    app.router.add_get("/api/v1/notifications/subscribe", subscribe)
    async with TestServer(app) as server:
        await listening.to(str(server.make_url("/api/v1")), lambda _: condition())
    assert asked[0] == {"version": 1, "repository": "test.example.org", "heartbeats": True}


def says(*pieces: bytes) -> Answer:
    """Say this and end."""

    async def answer(_request: web.Request, response: web.StreamResponse) -> None:
        for piece in pieces:
            await response.write(piece)

    return answer


async def aborts(request: web.Request, _response: web.StreamResponse) -> None:
    """The connection breaks."""
    assert request.transport is not None
    request.transport.abort()


def events(*texts: str, end: str = "\n") -> bytes:
    """As a stream has them."""
    return "".join(f"data: {text}{end}{end}" for text in texts).encode()


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_hears_a_gateway(messages: Sequence[str], size: int, end: str) -> None:
    """However its bytes are cut."""
    raw = events(*messages, end=end)
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    listening = Listening()
    run(gateway([says(*pieces)], listening, lambda: len(listening.heard) >= 2))
    assert listening.heard[:2] == [1, 2]


def test_comes_back(messages: Sequence[str]) -> None:
    """After longer and longer pauses, until somebody says something."""
    nothing, text = says(), says(events(messages[0]))
    listening = Listening()
    answers = [nothing, aborts, nothing, text, nothing, nothing]
    run(gateway(answers, listening, lambda: len(listening.pauses_s) >= 6))
    assert listening.pauses_s[:6] == [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]


def test_nobody_there() -> None:
    """Costs a connection now and then."""
    listening = Listening()
    run(listening.to("http://127.0.0.1:1/api/v1", lambda _: len(listening.pauses_s) == 12))
    assert listening.pauses_s[-1] == 300.0


def test_silence() -> None:
    """A server that says nothing for too long is asked anew."""

    async def silent(request: web.Request, _response: web.StreamResponse) -> None:
        await until(lambda: request.transport is None)

    listening = Listening(silence_s=0.005)
    run(gateway([silent], listening, lambda: len(listening.pauses_s) >= 2))
    assert listening.heard == []


@pytest.mark.parametrize(
    "nonsense",
    [
        b"data: {}\n\n",
        b"data: \n\n",
        b"data\n\n",
        b"event: x\nid: 5\nretry: 1\n\n",
        b": comment\n\n",
        b'{"status":"timeout"}\n',
        b"\xff\xfe\n",
        b'data: {"type": "activity", "repository": "other.example.org", "manifest": "AA=="}\n\n',
    ],
)
def test_nonsense_is_ignored(messages: Sequence[str], nonsense: bytes) -> None:
    """The stream goes on."""
    listening = Listening()
    answers = [says(nonsense, events(messages[0])), says()]
    run(gateway(answers, listening, lambda: listening.heard))
    assert listening.heard == [1]


def test_of_another_repository(keys: Keys) -> None:
    """A valid message about something that was not asked for counts for nothing."""
    repository = Repository(keys, "other.example.org")
    repository.publish({"": {"file": b"content"}})
    text = make_notification(repository.fqrn, repository.files[MANIFEST], NOW)
    listening = Listening()
    run(gateway([says(events(text))], listening, lambda: listening.pauses_s))
    assert listening.heard == []


def test_an_endless_line() -> None:
    """Ends the connection, not our memory."""

    async def endless(_request: web.Request, response: web.StreamResponse) -> None:
        while True:
            await response.write(b"data: " + b"x" * 100_000)

    listening = Listening()
    run(gateway([endless], listening, lambda: listening.pauses_s))
    assert listening.heard == []


@pytest.mark.parametrize("status", [302, 404, 500])
def test_refused(status: int) -> None:
    """Whatever a server says instead."""

    async def main() -> None:
        async def refuse(_request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": "/elsewhere"})

        app = web.Application()
        app.router.add_get("/notifications/subscribe", refuse)
        listening = Listening()
        async with TestServer(app) as server:
            await listening.to(str(server.make_url("/")), lambda _: len(listening.pauses_s) > 2)

    run(main())


# --- lines ----------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.integers(1, 50))
def test_lines_however_cut(raw: bytes, size: int) -> None:
    """Cutting does not change them."""
    whole, cut = Lines(1000), Lines(1000)
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    expected = [line.removesuffix(b"\r") for line in raw.split(b"\n")[:-1]]
    assert list(whole.feed(raw)) == expected
    assert [line for piece in pieces for line in cut.feed(piece)] == expected


def test_longest_line() -> None:
    """One more byte is too many, in whichever piece it comes."""
    assert list(Lines(5).feed(b"12345\n")) == [b"12345"]
    for raw in (b"123456", b"123456\n", b"1\n123456"):
        with pytest.raises(FormatError):
            list(Lines(5).feed(raw))
