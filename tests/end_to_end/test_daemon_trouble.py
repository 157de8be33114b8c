"""Trouble around a daemon: serving goes on, it says what is wrong, and recovers by itself."""

from __future__ import annotations

import asyncio
import http.client
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.support.daemons import Daemons, Mirror, Origin
from tests.support.http_stratum0 import Fault
from tests.support.keys import Keys
from tests.support.supervised import CONTENT, FQRN, OBJECT, Crowd
from tests.support.tasks import until

NAME = "test.example.org"


@pytest.fixture(name="daemons")
def fixture_daemons(keys: Keys) -> Iterator[Daemons]:
    """None runs yet."""
    with Daemons(keys) as daemons:
        yield daemons


@pytest.fixture(name="origin")
def fixture_origin(daemons: Daemons) -> Origin:
    """In its first revision."""
    return daemons.repository(NAME)


async def slow(request: web.Request) -> web.StreamResponse:
    """A byte now and then."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        for _ in range(600):
            await response.write(b"x")
            await asyncio.sleep(0.1)
    return response


async def half_open(_request: web.Request) -> web.StreamResponse:
    """The connection is there, and nobody answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def garbage(_request: web.Request) -> web.StreamResponse:
    """Bytes of no kind."""
    return web.Response(body=Random(1).randbytes(5000))


async def error_page(_request: web.Request) -> web.StreamResponse:
    """As proxies make them, with a status that says that all is well."""
    return web.Response(text="<html><b>Error</b>\x1b[2J</html>", content_type="text/html")


async def broken(_request: web.Request) -> web.StreamResponse:
    """It is in trouble itself."""
    return web.Response(status=500)


def sentence(mirror: Mirror) -> str:
    """What it says of its last attempt; empty if that went well, or if it says nothing."""
    told = mirror.status(NAME)
    error = told["last_error"] if told is not None else None
    return error["sentence"] if error is not None else ""


def assert_told_and_healed(
    mirror: Mirror, origin: Origin, before: bytes, heal: Callable[[], None]
) -> None:
    """Status and readiness while it lasts, the old revision for clients; then the new one."""
    path = f"/cvmfs/{NAME}/.cvmfspublished"
    until(lambda: bool(sentence(mirror)))
    told = mirror.status(NAME)["last_error"]
    assert told["sentence"].isprintable()
    assert told["what_to_do"]
    assert mirror.get(path) == (200, before)
    assert mirror.get("/readyz")[0] == 200
    heal()
    until(lambda: mirror.serves(origin))
    until(lambda: not sentence(mirror))
    assert not mirror.has_said("Traceback")


@pytest.mark.parametrize("fault", [slow, half_open, garbage, error_page, broken])
@pytest.mark.parametrize("where", ["", "data/"])
def test_stratum0_misbehaves(daemons: Daemons, origin: Origin, fault: Fault, where: str) -> None:
    """At its manifest, or only at its objects."""
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    before = origin.manifest
    origin.misbehave(fault, where)
    origin.publish()
    assert_told_and_healed(mirror, origin, before, origin.behave)


def test_stratum0_is_dead(daemons: Daemons, origin: Origin) -> None:
    """Nobody listens there, and later somebody does again."""
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    before = origin.manifest
    origin.server.die()
    origin.publish()
    assert_told_and_healed(mirror, origin, before, origin.server.come_back)


def test_too_far_behind(daemons: Daemons, origin: Origin) -> None:
    """A revision of long ago cannot be fetched: an alarm, and no manifest, until it is."""
    mirror = daemons.run([origin], replica="refuse_after_s = 60\n")
    until(lambda: mirror.serves(origin))
    origin.misbehave(broken, "data/")
    origin.publish()
    until(lambda: mirror.get(f"/cvmfs/{NAME}/.cvmfspublished")[0] == 503)
    until(lambda: "behind the publisher" in (mirror.status(NAME)["withheld"] or ""))
    until(lambda: mirror.has_said(f"{NAME}: stale: "))
    assert "stale" in alarms(mirror)
    origin.behave()
    until(lambda: mirror.serves(origin))
    until(lambda: mirror.status(NAME)["withheld"] is None and not alarms(mirror))
    until(lambda: mirror.has_said(f"{NAME}: stale is over"))


def alarms(mirror: Mirror) -> list[Any]:
    """The names of those that are up."""
    return [each["name"] for each in mirror.status(NAME)["alarms"]]


def test_it_ends_in_the_middle_of_a_snapshot(daemons: Daemons, origin: Origin) -> None:
    """At once, with nothing half done; the next one goes on where it stopped."""
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    origin.publish(30)
    new = [path for path in origin.repository.files if path.startswith("data/")]
    asked = origin.server.hang(next(path for path in sorted(new) if path[-1] not in "CHX"))
    assert asked.wait(30)
    assert mirror.stop() == 0
    assert list((mirror.storage / NAME / "data" / "txn").iterdir()) == []
    origin.behave()
    mirror.start()
    until(lambda: mirror.serves(origin))
    assert not mirror.has_said("Traceback")


def test_it_ends_in_the_middle_of_a_download(daemons: Daemons, origin: Origin) -> None:
    """Who has begun gets all of it."""
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    content = Random(1).randbytes(30_000_000)
    path = mirror.storage / NAME / "data" / "ab" / ("c" * 38)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    connection = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=60)
    connection.request("GET", f"/cvmfs/{NAME}/data/ab/{path.name}")
    answer = connection.getresponse()
    got = answer.read(1000)
    mirror.send(signal.SIGTERM)
    until(lambda: not mirror.socket.exists())  # it is about to end
    got += answer.read()
    connection.close()
    assert got == content
    assert mirror.process is not None
    assert mirror.process.wait(60) == 0


def test_other_lists_under_load(daemons: Daemons, origin: Origin) -> None:
    """SIGHUP again and again, with a list that grows and shrinks: no request is lost."""
    others = [daemons.repository(f"r{number}.example.org") for number in range(2)]
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    path = mirror.storage / OBJECT.removeprefix("/cvmfs/")
    assert path.is_relative_to(mirror.storage / FQRN)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(CONTENT)
    with Crowd(mirror.url) as crowd:
        for wanted in ([origin, others[0]], [origin, *others], [origin, others[1]]):
            workers = mirror.children()
            mirror.configure(wanted)
            mirror.send(signal.SIGHUP)
            until(lambda: not workers & mirror.children())  # noqa: B023 - not kept
            for each in wanted:
                until(lambda: mirror.serves(each))  # noqa: B023 - likewise
            crowd.wait_for_answers(5)
    assert crowd.errors == []
    until(lambda: mirror.status(others[0].name) is None)
