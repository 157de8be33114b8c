"""``/cvmfsmon/api/…``: servermon's endpoint, answered from what we know instead of by asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import IS_SNAPSHOTTING, LAST_SNAPSHOT
from mirror.daemon.answers import text_answer
from mirror.daemon.replicas import Replicas
from mirror.daemon.servermon import (
    NO_GEO,
    BadRequest,
    Bounds,
    Facts,
    GeoFacts,
    examine,
    parse_question,
    render,
)
from mirror.daemon.situation import Situation
from mirror.errors import FormatError, StoreError
from mirror.replication.state import read_status
from mirror.store.base import ObjectReader

_MAX_BYTES: Final = 4096
_FRESH: Final = timedelta(seconds=5)
GEO_CACHING: Final = "cvmfs-stratum-one.cern.ch"
GEO_SERVERS: Final = (
    "cvmfs-s1fnal.opensciencegrid.org",
    "cvmfs-stratum-one.cern.ch",
    "cvmfs-stratum-one.ihep.ac.cn",
)
"""Servermon's question: from CERN the order is 2,1,3."""

Geo = Callable[[], Awaitable[GeoFacts]]
"""Asks the geo API servermon's question."""


async def no_geo() -> GeoFacts:
    """It is not served here."""
    return NO_GEO


class Probes:
    """Answers servermon's question."""

    def __init__(
        self,
        replicas: Replicas,
        store: Callable[[Fqrn], ObjectReader],
        now: Callable[[], datetime],
        geo: Geo = no_geo,
        bounds: Bounds | None = None,
    ) -> None:
        """``store`` tells where a replica's files are; what passes through is not among them."""
        self._replicas = replicas
        self._store = store
        self._now = now
        self._geo = geo
        self._bounds = bounds or Bounds()
        self._read: list[Facts] = []
        self._read_at: datetime | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """``GET /cvmfsmon/api/v1.0/<test>&format=<format>&server=<alias>``."""
        try:
            question = parse_question(_asked(request))
        except (BadRequest, ValueError) as error:
            return text_answer(f"Bad Request: {error}\n", 400)
        geo = await self._geo() if question.is_about("geo") else NO_GEO
        results = examine(question, await self._all_facts(), geo, self._now(), self._bounds)
        return text_answer(render(question, results))

    async def _all_facts(self) -> list[Facts]:
        """Of all replicas; kept for a moment, since anybody may ask as often as they like."""
        now = self._now()
        if self._read_at is None or now - self._read_at >= _FRESH:
            self._read = [await self._facts(each) for each in self._replicas.all()]
            self._read_at = now
        return self._read

    async def _facts(self, situation: Situation) -> Facts:
        store = self._store(situation.fqrn)
        try:
            return Facts(
                situation.fqrn.name,
                await read_status(store),
                await _line(store, LAST_SNAPSHOT),
                await _line(store, IS_SNAPSHOTTING),
                situation.whitelist_expires,
            )
        except StoreError as error:
            expires = situation.whitelist_expires
            return Facts(situation.fqrn.name, whitelist_expires=expires, error=str(error))


def _asked(request: web.Request) -> str:
    """What stands behind the prefix; a well-meant ``?`` in place of the first ``&`` counts, too."""
    rest = request.match_info["rest"]
    return f"{rest}&{request.query_string}" if request.query_string else rest


async def _line(store: ObjectReader, name: str) -> str | None:
    try:
        raw = await store.read_root_file(name, _MAX_BYTES)
    except FormatError:
        return ""
    return raw.decode("ascii", "replace").strip() if raw is not None else None
