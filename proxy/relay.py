"""The Geo API, asked of the mirrors: for the whole site once, since its clients send one URL.

The URL names the group of clients (the caching string, contract B.11), so an answer is kept by it.
What a mirror answers is given on as it is, its 400s too; where nobody answers, that is our failure
and says so in ``Proxy-Status`` (contract C.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    web,
)

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError
from mirror.serve.app import origin_of
from mirror.serve.clock import SERVER
from mirror.serve.content import Outcome
from mirror.serve.gate import ACCOUNT
from mirror.serve.resources import NOT_FOUND_HEADERS, Kind
from mirror.serve.shelf import Refusal
from proxy.destinations import as_origin
from proxy.fetching import NAME, Fetcher, Mirror
from proxy.guarded import GuardedResolver, was_forbidden
from proxy.replies import Key, Replies, Reply
from proxy.shelf import ProxyShelf

_PATTERN: Final = r"/cvmfs/{fqrn:[^/]+}/api/{call:[^?#]*}"
_MOST_BYTES: Final = 64 * 1024
_MOST_UNDER_WAY: Final = 512
_GIVEN_ON: Final = ("Content-Type", "Cache-Control", "Retry-After")
_HOST_FAILURE: Final = 500


class Relay:
    """`AddRoutes` for the Geo API."""

    def __init__(
        self, shelf: ProxyShelf, fetcher: Fetcher, servers: frozenset[str], timeout_s: float
    ) -> None:
        """Ask the fetcher's mirrors; ``servers`` may have any address."""
        self._shelf = shelf
        self._fetcher = fetcher
        self._servers = servers
        self._timeout = ClientTimeout(total=timeout_s)
        self._session: ClientSession | None = None
        self._replies = Replies(fetcher.now)
        self._under_way: dict[Key, asyncio.Task[Reply]] = {}

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.cleanup_ctx.append(self._connected)
        app.router.add_get(_PATTERN, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """GET or HEAD."""
        try:
            key = self._key(request)
        except Refusal as refusal:
            return _response(request, _of_ours(refusal.status, str(refusal), refusal.headers))
        kept = self._replies.at_hand(key)
        if kept is not None:
            reply, age_s = kept
            return _response(request, reply, age_s, Outcome.HIT_MEMORY)
        is_first = key not in self._under_way
        reply = await asyncio.shield(self._asked(key, _forwarded_for(request)))
        return _response(request, reply, outcome=Outcome.MISS if is_first else Outcome.COALESCED)

    def _key(self, request: web.Request) -> Key:
        """Which server and path are meant.

        Raises:
            Refusal: nobody is asked that.
        """
        origin = as_origin(origin_of(request))
        self._shelf.asked("/", origin)
        try:
            Fqrn(request.match_info["fqrn"])
        except FormatError as error:
            raise Refusal(404, "Not Found") from error
        return origin, request.rel_url.raw_path.removeprefix("/cvmfs/")

    def _asked(self, key: Key, forwarded_for: str) -> asyncio.Task[Reply]:
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key, forwarded_for))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _ask(self, key: Key, forwarded_for: str) -> Reply:
        """Ask one after the other, until one has an answer that the next would give, too."""
        if len(self._under_way) > _MOST_UNDER_WAY:
            return _failure(503, "proxy_internal_error", "too many requests wait for answers")
        reply = _failure(502, "destination_unavailable", "no upstream may be asked for this")
        for mirror in self._in_order(key[0]):
            reply = await self._ask_one(mirror, key[1], forwarded_for)
            if reply.status < _HOST_FAILURE:
                break
        self._replies.keep(key, reply)
        return reply

    def _in_order(self, origin: str) -> Sequence[Mirror]:
        mirrors, now = self._fetcher.towards(origin) or self._fetcher.mirrors, self._fetcher.now()
        return sorted(mirrors, key=lambda each: each.rests_until > now)

    async def _ask_one(self, mirror: Mirror, path: str, forwarded_for: str) -> Reply:
        if self._session is None:
            raise RuntimeError("the application has not started")
        headers = {"X-Forwarded-For": forwarded_for, "Accept-Encoding": "identity"}
        try:
            async with self._session.get(
                mirror.pool.url(path), headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.content.read(_MOST_BYTES + 1)
                while not answer.content.at_eof() and len(body) <= _MOST_BYTES:
                    body += await answer.content.read(_MOST_BYTES + 1 - len(body))
                kept = {name: answer.headers[name] for name in _GIVEN_ON if name in answer.headers}
        except TimeoutError:
            return _failure(504, "connection_timeout", f"{mirror.pool.origin} does not answer")
        except (ClientError, OSError, ValueError) as error:
            if isinstance(error, ClientConnectorError) and was_forbidden(error.os_error):
                return _failure(403, "destination_ip_prohibited", str(error.os_error))
            return _failure(502, "destination_unavailable", f"{mirror.pool.origin}: {error}")
        if len(body) > _MOST_BYTES:
            return _failure(502, "http_response_body_size", "the answer is too large")
        return Reply(answer.status, body, kept)

    async def _connected(self, _app: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(
            resolver=GuardedResolver(self._servers), use_dns_cache=False, limit_per_host=16
        )
        async with ClientSession(
            connector=connector, timeout=self._timeout, auto_decompress=False
        ) as session:
            self._session = session
            yield
            for task in self._under_way.values():
                task.cancel()


def _forwarded_for(request: web.Request) -> str:
    """Whom it is for: what those in front of us say, and whom we see."""
    said = request.headers.getall("X-Forwarded-For", ())
    return ", ".join((*said, request.remote or "unknown"))


def _failure(status: int, kind: str, reason: str) -> Reply:
    return _of_ours(status, reason, {"Proxy-Status": f"{NAME}; error={kind}"})


def _of_ours(status: int, reason: str, headers: dict[str, str]) -> Reply:
    text = f"{status}: {reason}\n".encode("utf-8", "replace")
    return Reply(status, text, {"Content-Type": "text/plain", **NOT_FOUND_HEADERS, **headers})


def _response(
    request: web.Request, reply: Reply, age_s: int = 0, outcome: Outcome = Outcome.ERROR
) -> web.Response:
    is_bad = reply.status >= _HOST_FAILURE
    size = len(reply.body) if request.method != "HEAD" else 0
    request[ACCOUNT] = Kind.GEO, Outcome.ERROR if is_bad else outcome, size
    headers = {"Server": SERVER, **reply.headers}
    if age_s:
        headers["Age"] = str(age_s)
    return web.Response(status=reply.status, body=reply.body, headers=headers)
