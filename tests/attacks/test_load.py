"""A Stratum 0 that can hardly cope: it is not made worse, and in the end everything is here."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

import pytest
from aiohttp import web

from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.site import Site

FILES: Final = 550
"""So many that processes of their own are started for them."""
FEW_FILES: Final = 100
CONNECTIONS: Final = 4


class Struggling(HttpStratum0):
    """Answers 503 to every third request, if it is to, and counts how many it has at once.

    Attributes:
        refuses: whether it does.
        refused: how many were.
        most_at_once: requests under way.
        headers: of its refusals.
    """

    def __init__(self, keys: Keys, files: int = FILES, *, refuses: bool = True) -> None:
        self.repository = Repository(keys)
        tree = {"": {"README": b"hello"}, "/many": {f"{n}": b"%d" % n for n in range(files)}}
        self.repository.publish(tree, tag="v1")
        super().__init__(self.repository.files)
        self.refuses = refuses
        self.refused = self.most_at_once = self._at_once = 0
        self.headers: dict[str, str] = {}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0.001)  # time for others to come too, if they do
            answer = await super()._answer(request)
            if len(self.requests) % 3 or not self.refuses:
                return answer
            self.refused += 1
            return web.Response(status=503, headers=self.headers)
        finally:
            self._at_once -= 1


def snapshot(
    site: Site, stratum0: Struggling, fetch: str, capsys: pytest.CaptureFixture[str]
) -> float:
    """Take one that must succeed; returns how long it took."""
    site.write_config(stratum0.url, f"[fetch]\n{fetch}")
    began = time.monotonic()
    exit_code = site.run("snapshot", "--json")
    took_s = time.monotonic() - began
    (said,) = json.loads(capsys.readouterr().out)
    assert exit_code == 0, said
    assert site.run("check", "--full") == 0
    return took_s


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Site:
    """A host without a replica."""
    place = tmp_path_factory.mktemp("site")
    return Site(place, "test.example.org", "http://127.0.0.1:9/cvmfs/none", keys.master_pem)


def test_every_third_request_fails(
    site: Site, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """One in three is a bad day, and no reason to give up, nor to press harder than allowed."""
    with Struggling(keys) as stratum0:
        snapshot(site, stratum0, f"max_connections = {CONNECTIONS}", capsys)
        assert stratum0.refused > FILES / 3
        assert 1 <= stratum0.most_at_once <= CONNECTIONS


@pytest.mark.parametrize("scope", ["", "source_"])
@pytest.mark.parametrize("files", [FEW_FILES, FILES])
def test_never_faster_than_allowed(
    site: Site, keys: Keys, capsys: pytest.CaptureFixture[str], scope: str, files: int
) -> None:
    """Be it in sum or for the server, in one process or in several."""
    rate = files
    with Struggling(keys, files, refuses=False) as stratum0:
        took_s = snapshot(site, stratum0, f"{scope}requests_per_s = {rate}", capsys)
        assert len(stratum0.requests) > files
        assert len(stratum0.requests) <= rate * (took_s + 0.1)


def test_what_is_asked_for_again_counts(
    site: Site, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """A retry is a request like any other."""
    with Struggling(keys, FEW_FILES) as stratum0:
        took_s = snapshot(site, stratum0, "requests_per_s = 40", capsys)
        assert len(stratum0.requests) > FEW_FILES * 4 / 3
        assert len(stratum0.requests) <= 40 * (took_s + 0.1)


@pytest.mark.parametrize("files", [FEW_FILES, FILES])
def test_no_more_bytes_than_allowed(
    site: Site, keys: Keys, capsys: pytest.CaptureFixture[str], files: int
) -> None:
    """Counted by what arrives."""
    with Struggling(keys, files, refuses=False) as stratum0:
        sent = sum(len(content) for content in stratum0.repository.files.values())
        took_s = snapshot(site, stratum0, f"bytes_per_s = {sent}", capsys)
        assert took_s >= 0.85  # the revision's certificate and so on may come once


def test_a_server_that_asks_for_a_pause(
    site: Site, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is given it; a run takes longer, and succeeds."""
    with Struggling(keys, FEW_FILES) as stratum0:
        stratum0.headers["Retry-After"] = "1"
        assert snapshot(site, stratum0, "", capsys) >= 1
