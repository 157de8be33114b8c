"""Requests that nobody should send: what each is told, and whether anything behind it is answered.

Whoever stands between a client and us may take two requests for one, or one for two, if it reads
their ends otherwise than we do. So wherever that could be, the answer is 400 and the end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.odd_requests import FRAMING, HARMLESS, LAST, LINES, PLAIN, Odd, headers
from tests.support.streams import Server, Told, server


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for all of the module."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=[True, False], ids=["fast", "aiohttp"])
def ours(
    request: pytest.FixtureRequest, runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Our server, which knows the usual headers already."""
    root = tmp_path_factory.mktemp("srv") / "test.example.org"
    root.mkdir()
    (root / ".cvmfspublished").write_bytes(b"manifest")
    opened: Path = root.parent
    context = server(opened, is_fast=request.param)
    ours = runner.run(context.__aenter__())
    assert _statuses(runner.run(ours.tell([PLAIN, LAST]))) == [200, 404]
    yield ours
    runner.run(context.__aexit__(None, None, None))


def _statuses(told: Told) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d+) ", told.answer)]


def _named(table: list[Odd]) -> list[object]:
    return [pytest.param(raw, status, id=why) for why, raw, status in table]


@pytest.mark.parametrize(("raw", "status"), _named(FRAMING + LINES))
def test_refused(runner: asyncio.Runner, ours: Server, raw: bytes, status: int) -> None:
    """It is told so once, and nothing behind it is answered: a client's plain request neither."""
    told = runner.run(ours.tell([PLAIN + raw + PLAIN + LAST]))
    assert _statuses(told) == [200, status]


@pytest.mark.parametrize(("raw", "status"), _named(HARMLESS))
def test_answered(runner: asyncio.Runner, ours: Server, raw: bytes, status: int) -> None:
    """It has one answer, and what comes behind it has its own."""
    told = runner.run(ours.tell([PLAIN + raw + PLAIN + LAST]))
    assert _statuses(told) == [200, status, 200, 404]


def test_expectation_is_met(runner: asyncio.Runner, ours: Server) -> None:
    """Whoever waits for a go-ahead gets it, and then the answer."""
    told = runner.run(ours.tell([headers(b"Expect: 100-continue\r\n"), PLAIN, LAST]))
    assert _statuses(told) == [100, 200, 200, 404]


@pytest.mark.parametrize(("raw", "status"), _named(HARMLESS))
def test_errors_are_not_to_be_remembered(
    runner: asyncio.Runner, ours: Server, raw: bytes, status: int
) -> None:
    """Whatever is not there may be there in a second."""
    told = runner.run(ours.tell([raw, LAST]))
    assert (status in {404, 405}) + 1 == told.answer.count(b"Cache-Control: no-store\r\n")
