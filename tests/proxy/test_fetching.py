"""Whom a proxy asks, in which order, and what clients are told where nobody delivers."""

from __future__ import annotations

import asyncio

import pytest

from mirror.errors import (
    Corrupted,
    NotFound,
    Refused,
    TooSlow,
    Unavailable,
    UpstreamError,
)
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.fetching import Mirror, OurFault, by_latency, in_order, refusal_of
from proxy.pool import Pool
from tests.support.loops import run, until
from tests.support.proxies import FakeMirror, honest, made, mirrors, proxy

WANTED = made(1)


def some(count: int) -> list[Mirror]:
    """Mirrors that nobody asks."""
    options = HttpOptions()
    return [Mirror(Pool(Server.at(f"http://m{n}/cvmfs", options), 1)) for n in range(count)]


async def _order() -> None:
    one, two, three = some(3)
    for _ in range(2):
        one.did_badly(0.0)
    assert in_order([one, two], 0.0) == [one, two]
    one.did_badly(0.0)
    assert in_order([one, two], 0.5) == [two, one]
    assert in_order([one, two], 1.5) == [one, two]
    for _ in range(10):
        one.did_badly(1.5)  # all of them began before it rested
    assert in_order([one, two], 4.0) == [one, two]
    one.did_well(0.3)
    two.did_well(0.2)
    three.did_well(0.1)
    assert by_latency([one, two, three], 4.0) == [three, two, one]
    three.lied()
    three.did_badly(4.0)
    assert by_latency([one, two, three], 4.0) == [two, one, three]


def test_order() -> None:
    """Failures in a row let an upstream rest, longer each time; a lie does at once."""
    run(_order())


def failure(kind: type[UpstreamError], status: int | None = None) -> UpstreamError:
    """One with that status."""
    error = kind("so it was")
    error.status = status
    return error


@pytest.mark.parametrize(
    ("errors", "status", "told"),
    [
        ([failure(NotFound, 404)] * 2, 404, ""),
        ([failure(NotFound, 404), failure(Unavailable)], 502, "destination_unavailable"),
        ([failure(Unavailable, 503), failure(Unavailable)], 503, ""),
        ([failure(Refused, 403)], 502, ""),
        ([failure(TooSlow), failure(Unavailable)], 504, "connection_timeout"),
        ([failure(Corrupted)], 502, "http_response_incomplete"),
        ([failure(OurFault)], 502, "proxy_internal_error"),
        ([], 502, "destination_unavailable"),
    ],
)
def test_what_clients_are_told(errors: list[UpstreamError], status: int, told: str) -> None:
    """An origin's answer passes as it is; what is the proxy's or the way's fault says so."""
    refusal = refusal_of(errors)
    assert refusal.status == status
    said = refusal.headers.get("Proxy-Status", "")
    assert said == (f"cvmfs-proxy; error={told}" if told else "")


def test_some_have_it() -> None:
    """A 404 of one mirror is no answer as long as another one has it."""

    async def main() -> None:
        empty, full = FakeMirror(), FakeMirror([WANTED])
        async with mirrors(empty, full), proxy([empty, full]) as running:
            assert (await running.ask(WANTED)).is_(WANTED)
            assert (await running.ask(made(2))).status == 404
            assert running.fetcher.mirrors[0].failures == 0

    run(main())


def test_dead_ones_are_passed_over() -> None:
    """At first within each request; after some failures nobody asks any more, for a while."""

    async def main() -> None:
        objects = [made(number) for number in range(20)]
        dead, alive = FakeMirror(), FakeMirror(objects)
        async with mirrors(dead, alive), proxy([dead, alive]) as running:
            await dead.die()
            for each in objects:
                assert (await running.ask(each)).is_(each)
            assert running.fetcher.mirrors[0].requests < len(objects)

    run(main())


@pytest.mark.parametrize("wins", ["the late one", "the other one"])
def test_another_is_asked_when_the_first_byte_is_late(wins: str) -> None:
    """Who begins first is listened to, and the loser is ignored; unless the winner stops."""

    async def main() -> None:
        late, other = FakeMirror([WANTED]), FakeMirror([WANTED])
        may_answer = asyncio.Event()

        async def wait(right: bytes, writer: asyncio.StreamWriter) -> bool:
            await may_answer.wait()
            return await honest(right, writer)

        async def stop(right: bytes, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + right[:10])
            may_answer.set()
            return False

        late.behave = wait
        if wins == "the late one":
            other.behave = stop
        async with mirrors(late, other), proxy([late, other]) as running:
            assert (await running.ask(WANTED)).is_(WANTED)
            assert other.asked == [WANTED.name]
            may_answer.set()
            await until(lambda: not running.fetcher.under_way)

    run(main())


def test_a_connection_that_was_closed_while_idle() -> None:
    """The request is sent again, once, and the mirror is not to blame."""

    async def main() -> None:
        objects = [made(1), made(2), made(3)]
        only = FakeMirror(objects)

        async def hang_up(right: bytes, writer: asyncio.StreamWriter) -> bool:
            if only.asked.count(objects[1].name) == 1:
                return False
            return await honest(right, writer)

        async def never(_right: bytes, _writer: asyncio.StreamWriter) -> bool:
            return False

        only.behaviours = {objects[1].name: hang_up, objects[2].name: never}
        async with mirrors(only), proxy([only]) as running:
            for each in objects[:2]:
                assert (await running.ask(each)).is_(each)
            assert running.fetcher.mirrors[0].errors == 0
            assert (await running.ask(objects[2])).status == 502
            assert only.asked.count(objects[2].name) == 2

    run(main())
