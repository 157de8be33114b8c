"""HTTP for operators and machines: every route at a glance.

    GET  /healthz, /readyz
    GET  /api/v1/status, /api/v1/status/schema
    POST /api/v1/repositories/<fqrn>/snapshot         token
    POST /api/v1/notifications/publish                token
    GET  /api/v1/notifications/subscribe
    GET  /cvmfsmon/api/v1.0/<test>&format=…

Nothing here is for keeping, and nothing it does can hold up a replica.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.answers import in_our_words, json_answer, text_answer
from mirror.daemon.health import readiness
from mirror.daemon.hub import Hub
from mirror.daemon.notifications import MAX_MESSAGE_BYTES
from mirror.daemon.probes import Geo, Probes, no_geo
from mirror.daemon.push import Push
from mirror.daemon.replicas import Replicas
from mirror.daemon.servermon import Bounds
from mirror.daemon.status import Reporter
from mirror.daemon.status_model import schema
from mirror.daemon.stream import Stream
from mirror.store.base import ObjectReader

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API tells of, and what it may set off.

    Attributes:
        replicas: ours.
        store: where a replica's files are.
        reporter: tells how things are.
        push: takes pushes.
        hub: where our flips are told.
        is_serving: whether workers answer clients.
        now: the time.
        geo: asks our geo API servermon's question.
        bounds: of servermon.
        more: adds routes of others.
    """

    replicas: Replicas
    store: Callable[[Fqrn], ObjectReader]
    reporter: Reporter
    push: Push
    hub: Hub
    is_serving: Callable[[], bool]
    now: Callable[[], datetime]
    geo: Geo = no_geo
    bounds: Bounds = field(default_factory=Bounds)
    more: Sequence[Callable[[web.Application], None]] = ()


def create_api(parts: Parts) -> web.Application:
    """All of it; whoever runs it says where it listens. Its end ends all subscriptions."""
    app = web.Application(middlewares=[in_our_words], client_max_size=MAX_MESSAGE_BYTES)
    told = _Told(parts)
    stream = Stream(parts.hub, parts.replicas)
    probes = Probes(parts.replicas, parts.store, parts.now, parts.geo, parts.bounds)
    app.add_routes(
        [
            web.get("/healthz", told.health),
            web.get("/readyz", told.readiness),
            web.get("/api/v1/status", told.status),
            web.get("/api/v1/status/schema", told.schema),
            web.post("/api/v1/repositories/{fqrn}/snapshot", parts.push.snapshot),
            web.post("/api/v1/notifications/publish", parts.push.publish),
            web.get("/api/v1/notifications/subscribe", stream.subscribe, allow_head=False),
            web.get("/cvmfsmon/api/{rest:.*}", probes.answer),
        ]
    )

    for add_routes in parts.more:
        add_routes(app)

    async def end(_app: web.Application) -> None:
        parts.hub.close()

    app.on_shutdown.append(end)
    return app


class _Told:
    """What is told to anybody who asks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def health(self, _request: web.Request) -> web.Response:
        return text_answer("ok\n")

    async def readiness(self, _request: web.Request) -> web.Response:
        parts = self._parts
        state = readiness(parts.replicas.all(), is_serving=parts.is_serving())
        return json_answer(state.document(), 200 if state.is_ready else 503)

    async def status(self, _request: web.Request) -> web.Response:
        status = self._parts.reporter.status(self._parts.now())
        return text_answer(status.model_dump_json(indent=2) + "\n", content_type=_JSON)

    async def schema(self, _request: web.Request) -> web.Response:
        return text_answer(schema(), content_type=_JSON)
