"""Server-sent events, as real clients read them: ours, any, and the reference's peculiar one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientResponse

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.hub import HubLimits
from mirror.daemon.notifications import MAX_SUBSCRIPTION_BYTES, Wish, make_wish
from tests.support.api import Client, Daemon, ask, reason
from tests.support.loops import until
from tests.support.situations import FQRN

PATH = "/api/v1/notifications/subscribe"
QUICK = HubLimits(heartbeat_s=0.001, longest_s=3600.0)


@asynccontextmanager
async def subscribed(
    client: Client, *, wants_heartbeats: bool = False
) -> AsyncIterator[ClientResponse]:
    """A subscription whose head has come."""
    body = make_wish(Wish(FQRN, wants_heartbeats))
    async with client.get(PATH, data=body) as response:
        assert response.status == 200
        yield response


def test_told_after_a_flip() -> None:
    """One line and a blank one for each message, each in a chunk of its own."""
    daemon = Daemon()

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-store"
            for text in ("first", "second"):
                daemon.hub.publish(FQRN, text)
                assert await response.content.readline() == f"data: {text}\n".encode()
                assert await response.content.readline() == b"\n"

    ask(daemon, test)


def test_each_message_in_a_chunk_of_its_own() -> None:
    """The reference client takes what comes at once for one message, and loses the others."""
    daemon = Daemon()

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            for number in range(3):
                daemon.hub.publish(FQRN, str(number))
            chunks = []
            async for piece, is_end in response.content.iter_chunks():
                chunks.append((piece, is_end))
                if len(chunks) == 3:
                    break
            assert chunks == [(f"data: {number}\n\n".encode(), True) for number in range(3)]

    ask(daemon, test)


def test_the_last_one_is_replayed() -> None:
    """To whoever comes late."""
    daemon = Daemon()
    daemon.hub.publish(FQRN, "last")

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            assert await response.content.readline() == b"data: last\n"

    ask(daemon, test)


def test_heartbeats_for_those_that_ask() -> None:
    """Comments, which any reader of server-sent events ignores."""
    daemon = Daemon(QUICK)

    async def test(client: Client) -> None:
        async with subscribed(client, wants_heartbeats=True) as response:
            assert await response.content.readline() == b": heartbeat\n"

    ask(daemon, test)


def test_no_heartbeats_for_the_reference() -> None:
    """It would take one for a message that it cannot read, and give up."""
    daemon = Daemon(QUICK)

    async def test(client: Client) -> None:
        async with subscribed(client) as quiet, subscribed(client, wants_heartbeats=True) as beats:
            for _ in range(6):
                await beats.content.readline()
            daemon.hub.publish(FQRN, "text")
            assert await quiet.content.readline() == b"data: text\n"

    ask(daemon, test)


def test_nothing_for_too_long() -> None:
    """Then the stream ends, as the reference's does, and who wants more comes anew."""
    daemon = Daemon(HubLimits(heartbeat_s=0.001, longest_s=0.003))

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            assert await response.read() == b""
        await until(lambda: daemon.hub.subscribers == 0)

    ask(daemon, test)


def test_who_leaves_gives_up_its_place() -> None:
    """Though nothing is ever sent to it."""
    daemon = Daemon(QUICK)

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            assert daemon.hub.subscribers == 1
            response.close()
        await until(lambda: daemon.hub.subscribers == 0)

    ask(daemon, test)


def test_a_slow_one_is_cut_off() -> None:
    """It takes nothing; its place is free at once."""
    daemon = Daemon(HubLimits(waiting=2))

    async def test(client: Client) -> None:
        async with subscribed(client):
            number = 0
            while daemon.hub.subscribers:
                daemon.hub.publish(FQRN, f"{number} {'x' * 1_000_000}")
                number += 1
                await asyncio.sleep(0)
        assert daemon.hub.dropped >= 1

    ask(daemon, test)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no JSON", 400),
        (b'{"version": 1}', 400),
        (b'{"version": 1, "repository": "../x"}', 400),
        (b'{"version": 1, "repository": "nobodys.example.org"}', 404),
        (b" " * (MAX_SUBSCRIPTION_BYTES + 1), 413),
    ],
)
def test_refused(body: bytes, status: int) -> None:
    """With a reason."""

    async def test(client: Client) -> None:
        assert (await reason(await client.get(PATH, data=body)))[0] == status

    ask(Daemon(), test)


def test_no_room() -> None:
    """Comes back later."""
    daemon = Daemon(HubLimits(subscribers=0))

    async def test(client: Client) -> None:
        response = await client.get(PATH, data=make_wish(Wish(FQRN)))
        assert (await reason(response))[0] == 503
        assert response.headers["Retry-After"] == "60"

    ask(daemon, test)


def test_the_end_of_the_daemon() -> None:
    """Ends all streams; nobody waits for two hours."""
    daemon = Daemon()

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            daemon.hub.close()
            assert await response.read() == b""

    ask(daemon, test)


class ReferenceReader:
    """How the client of CernVM-FS takes what it receives, piece by piece."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._buffer = ""

    def receive(self, piece: bytes) -> None:
        """With one blank for a line break, everything up to it is a message."""
        lines = piece.decode().split("\n")
        self._buffer += lines[0].removeprefix("data: ")
        if len(lines) > 1:
            self.messages.append(self._buffer)
            self._buffer = ""


def test_the_reference_reads_us() -> None:
    """All of our messages, and nothing that is none."""
    daemon = Daemon(QUICK)
    texts = [json.dumps({"number": number, "manifest": "x" * 3000}) for number in range(5)]

    async def test(client: Client) -> None:
        reader = ReferenceReader()
        async with subscribed(client) as response:
            for text in texts:
                daemon.hub.publish(FQRN, text)
            async for piece, _ in response.content.iter_chunks():
                reader.receive(piece)
                if len(reader.messages) == len(texts):
                    break
        assert reader.messages == texts

    ask(daemon, test)


def test_a_repository_that_is_forgotten() -> None:
    """Its subscribers are let go."""
    daemon = Daemon()
    name = Fqrn("test.example.org")

    async def test(client: Client) -> None:
        async with subscribed(client) as response:
            daemon.hub.forget(name)
            assert await response.read() == b""

    ask(daemon, test)
