"""Connections to one upstream: kept, replaced, and never the end of who waits for one."""

from __future__ import annotations

import asyncio

from mirror.errors import UpstreamError
from mirror.upstream.connection import Connection
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.pool import Pool
from tests.support.exchanges import Remembered
from tests.support.loops import run, until
from tests.support.proxies import FakeMirror, made, mirrors

WANTED = made(1)


class Asked(Remembered):
    """An exchange for the object."""

    connection: Connection | None = None

    @property
    def head(self) -> bytes:
        """As `Exchange.head`."""
        return f"GET {WANTED.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def sent(self, connection: Connection) -> None:
        """As `Sent.sent`."""
        self.connection = connection


def pool_of(mirror: FakeMirror, most: int = 4) -> Pool:
    """Connections to it."""
    return Pool(Server.at(f"{mirror.url}/cvmfs", HttpOptions(timeout_s=60)), most)


async def answered(*exchanges: Asked) -> None:
    """All of them, rightly."""
    await until(lambda: all(each.outcome is not None for each in exchanges))
    assert all(each.body == WANTED.content for each in exchanges)


def test_kept() -> None:
    """One after the other goes by the same connection, many at once by as many as may be."""

    async def main() -> None:
        mirror = FakeMirror([WANTED])
        async with mirrors(mirror):
            pool = pool_of(mirror)
            for _ in range(3):
                one = Asked()
                pool.send(one)
                await answered(one)
            assert mirror.connections == 1
            many = [Asked() for _ in range(20)]
            for each in many:
                pool.send(each)
            await answered(*many)
            assert mirror.connections == 4
            assert pool.under_way == 0
            pool.close()

    run(main())


def test_closed_after_each_answer() -> None:
    """Who waits for a connection gets a new one when the server closes the only one."""

    async def closing(right: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(right) + right)
        return False

    async def main() -> None:
        mirror = FakeMirror([WANTED])
        mirror.behave = closing
        async with mirrors(mirror):
            pool = pool_of(mirror, most=1)
            many = [Asked() for _ in range(5)]
            for each in many:
                pool.send(each)
            await answered(*many)
            pool.close()

    run(main())


def test_nobody_answers() -> None:
    """Everybody who waits hears of it."""

    async def main() -> None:
        mirror = FakeMirror()
        async with mirrors(mirror):
            pass
        pool = pool_of(mirror)
        many = [Asked() for _ in range(10)]
        for each in many:
            pool.send(each)
        await until(lambda: all(isinstance(each.outcome, UpstreamError) for each in many))
        assert pool.under_way == 0
        pool.close()

    run(main())


def test_withdrawn_and_closed() -> None:
    """What was not sent can be taken back; the rest fails at the end, and whatever comes then."""

    async def main() -> None:
        mirror = FakeMirror([WANTED])
        async with mirrors(mirror):
            pool = pool_of(mirror)
            taken, left, late = Asked(), Asked(), Asked()
            pool.send(taken)
            pool.send(left)
            assert pool.withdraw(taken)
            assert not pool.withdraw(taken)
            pool.close()
            pool.send(late)
            assert taken.outcome is None
            assert isinstance(left.outcome, UpstreamError)
            assert isinstance(late.outcome, UpstreamError)

    run(main())
