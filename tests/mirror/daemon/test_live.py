"""Another process asks how things are, by TCP or through the daemon's socket."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.daemon.alarms import AlarmBoard
from mirror.daemon.api import create_api
from mirror.daemon.live import HEADINGS, fetch_status, remarks, row
from mirror.daemon.situation import Phase, Run, Situation
from mirror.daemon.status import Reporter, repository
from mirror.errors import FormatError, StoreFull, Unavailable
from mirror.events import ObjectsStored, ObjectsWanted
from tests.support.api import Daemon
from tests.support.clock import NOW
from tests.support.loops import run
from tests.support.situations import FQRN, failing, revision, situation


def asked(of: Situation) -> tuple[str, ...]:
    """Its line."""
    return row(repository(of, [], NOW), NOW)


def test_over_tcp_and_over_a_socket(tmp_path: Path) -> None:
    """The same document."""

    async def main() -> None:
        runner = web.AppRunner(create_api(Daemon().parts))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "s")).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = next(address[1] for address in runner.addresses if isinstance(address, tuple))
        for where in (str(tmp_path / "s"), f"http://127.0.0.1:{port}"):
            status = await asyncio.to_thread(fetch_status, where)
            assert [each.name for each in status.repositories] == ["test.example.org"]
        await runner.cleanup()

    run(main())


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:1", "/nowhere", "nonsense", "ftp://host", "http://"]
)
def test_nobody_there(where: str) -> None:
    """Says what to do."""
    with pytest.raises(Unavailable, match=r"cvmfs-mirror run|http://host:port"):
        fetch_status(where)


@pytest.mark.parametrize(("status", "error"), [(200, FormatError), (503, Unavailable)])
def test_somebody_else_there(status: int, error: type[Exception]) -> None:
    """Is no daemon of ours."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="hello")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{any:.*}", answer)
        async with TestServer(app) as server:
            with pytest.raises(error):
                await asyncio.to_thread(fetch_status, str(server.make_url("/")))

    run(main())


def test_a_line_for_each() -> None:
    """As short as can be."""
    replica = situation()
    replica.next_look = NOW + timedelta(seconds=42)
    assert asked(replica) == ("test.example.org", "7", "7", "-", "idle", "in 42 s", "served")
    assert asked(Situation(FQRN))[1:] == ("-", "-", "-", "idle", "-", "no snapshot yet")
    assert len(HEADINGS) == len(asked(replica))


def test_a_line_of_a_run() -> None:
    """How far, and how long still."""
    replica = situation()
    replica.see(revision(8, age_s=90.0))
    replica.phase, replica.run = Phase.FETCHING, Run(NOW - timedelta(seconds=10))
    assert asked(replica)[3:5] == ("90 s", "fetching")
    replica.hear(ObjectsWanted(FQRN, 10, 1000))
    assert asked(replica)[4] == "fetching 0%"
    replica.hear(ObjectsStored(FQRN, 4, 150, 250))
    assert asked(replica)[4] == "fetching 25%, 30 s left"


def test_what_is_wrong() -> None:
    """Alarms by name, errors by kind; each with what to do."""
    replica = situation()
    board = AlarmBoard(lambda: [replica])
    reporter = Reporter(lambda: [replica], board, NOW)
    assert list(remarks(reporter.status(NOW))) == []
    failing(replica, Unavailable("nobody answers"))
    assert asked(replica)[-1] == "Unavailable"
    [remark] = remarks(reporter.status(NOW))
    assert remark.startswith("test.example.org: Unavailable: nobody answers; ")
    failing(replica, StoreFull("no space"))
    board.update(NOW)
    status = reporter.status(NOW)
    assert row(status.repositories[0], NOW)[-1] == "disk"
    [remark] = remarks(status)
    assert remark.startswith("test.example.org: disk: no space; make room")
    replica.withheld, replica.trouble = "too old", None
    assert asked(replica)[-1] == "withheld"
