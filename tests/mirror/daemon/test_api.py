"""Operators and load balancers are told how things are; mistakes are answered in our words."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestClient, TestServer

from mirror.daemon.answers import in_our_words, peer_of, text_answer
from mirror.daemon.health import readiness
from mirror.daemon.situation import Phase, Situation
from mirror.daemon.status_model import Status, schema
from mirror.errors import Unavailable
from tests.support.api import Client, Daemon, ask, reason
from tests.support.loops import run
from tests.support.situations import FQRN, failing, situation

# --- health ---------------------------------------------------------------------------------------


def get(daemon: Daemon, path: str) -> tuple[int, str]:
    """Ask; nobody may keep the answer."""
    answers: list[tuple[int, str]] = []

    async def test(client: Client) -> None:
        response = await client.get(path)
        assert response.headers["Cache-Control"] == "no-store"
        answers.append((response.status, await response.text()))

    ask(daemon, test)
    return answers[0]


def test_alive() -> None:
    """Whoever answers is."""
    assert get(Daemon(), "/healthz") == (200, "ok\n")


def test_ready() -> None:
    """Serving, and every repository is there."""
    status, text = get(Daemon(), "/readyz")
    assert (status, json.loads(text)) == (
        200,
        {"ready": True, "reasons": [], "first_snapshots": []},
    )


def test_not_ready() -> None:
    """Every reason is told."""
    daemon = Daemon()
    daemon.is_serving = False
    daemon.situations[FQRN] = situation(served=None)
    failing(daemon.situations[FQRN], Unavailable("nobody answers"))
    status, text = get(daemon, "/readyz")
    assert status == 503
    assert json.loads(text)["reasons"] == [
        "no worker answers clients",
        "test.example.org was never fetched to its end: nobody answers",
    ]


def fetching(phase: Phase, failures: int = 0) -> Situation:
    """A replica that was never fetched yet."""
    replica = situation(served=None)
    replica.phase = phase
    replica.failures = failures
    return replica


@pytest.mark.parametrize("phase", [Phase.LOOKING, Phase.WAITING, Phase.FETCHING])
def test_first_snapshots_are_no_reason(phase: Phase) -> None:
    """They take days; but one that failed before is a reason until it ends well."""
    state = readiness([situation(), fetching(phase)], is_serving=True)
    assert (state.is_ready, state.coming) == (True, ("test.example.org",))
    assert not readiness([fetching(phase, failures=1)], is_serving=True).is_ready
    assert not readiness([fetching(Phase.IDLE)], is_serving=True).is_ready


def test_failures_of_what_is_served_are_no_reason() -> None:
    """An old revision is better than none."""
    replica = situation()
    failing(replica, Unavailable("nobody answers"), times=100)
    assert readiness([replica], is_serving=True).is_ready


# --- status ---------------------------------------------------------------------------------------


def test_status() -> None:
    """The document keeps to the schema that stands beside it."""
    daemon = Daemon()
    daemon.now += timedelta(minutes=5)
    status, text = get(daemon, "/api/v1/status")
    told = Status.model_validate_json(text)
    assert (status, told.daemon.uptime_s) == (200, 300.0)
    assert [each.name for each in told.repositories] == ["test.example.org"]
    assert get(daemon, "/api/v1/status/schema") == (200, schema())


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/repositories/test.example.org/snapshot", 405),
        ("POST", "/api/v1/status", 405),
        ("DELETE", "/healthz", 405),
    ],
)
def test_in_our_words(method: str, path: str, status: int) -> None:
    """JSON, whatever was wrong."""

    async def test(client: Client) -> None:
        response = await client.request(method, path)
        assert (await reason(response))[0] == status
        assert ("Allow" in response.headers) == (status == 405)

    ask(Daemon(), test)


def test_our_own_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    """Are for the log, and a client learns nothing of our inside."""
    daemon = Daemon()

    def fail() -> NoReturn:
        raise RuntimeError("the secret inside")

    daemon.parts.reporter.board.of = fail  # type: ignore[method-assign, assignment]

    async def test(client: Client) -> None:
        response = await client.get("/api/v1/status")
        assert (await reason(response))[0] == 500
        text = await response.text()
        assert "secret" not in text
        assert "Traceback" not in text

    ask(daemon, test)
    assert "Traceback" in caplog.text


# --- who asks -------------------------------------------------------------------------------------


async def tells_peer(request: web.Request) -> web.Response:
    """Who we think it is."""
    return text_answer(peer_of(request))


def app() -> web.Application:
    """One that tells."""
    made = web.Application(middlewares=[in_our_words])
    made.router.add_get("/", tells_peer)
    return made


FORWARDED = {"X-Forwarded-For": "192.0.2.66, 192.0.2.7"}


async def asked(site: web.BaseSite, session: ClientSession, url: str) -> str:
    """Over a site that is not up yet."""
    await site.start()
    async with session, session.get(url, headers=FORWARDED) as response:
        return await response.text()


def test_behind_our_own_workers(tmp_path: Path) -> None:
    """They come through a socket of the host, and the last address is the one they wrote."""
    path = str(tmp_path / "s")

    async def main() -> None:
        runner = web.AppRunner(app())
        await runner.setup()
        session = ClientSession(connector=UnixConnector(path))
        assert await asked(web.UnixSite(runner, path), session, "http://daemon/") == "192.0.2.7"
        await runner.cleanup()

    run(main())


def test_from_the_network() -> None:
    """Anybody may write such a header, so it does not count."""

    async def main() -> None:
        async with TestClient(TestServer(app())) as client:
            response = await client.get("/", headers=FORWARDED)
            assert await response.text() == "127.0.0.1"

    run(main())


def test_every_route_is_told() -> None:
    """The map of the module names them all."""
    from mirror.daemon import api  # noqa: PLC0415 - its docstring is what is looked at

    described = api.__doc__ or ""
    routes = api.create_api(Daemon().parts).router.resources()
    for route in routes:
        start = re.split(r"[{<]", route.canonical)[0]
        assert start.rstrip("/") in described, route.canonical
