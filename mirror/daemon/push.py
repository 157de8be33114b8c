"""Somebody says that there is news: look now. Nothing else of what they say is believed.

    POST /api/v1/repositories/<fqrn>/snapshot[?wait=SECONDS]     one of ours
    POST /api/v1/notifications/publish                           a gateway's message (B.14)

Both with ``Authorization: Bearer <token>``.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.advice import what_to_do
from mirror.daemon.answers import Problem, json_answer, peer_of, read_body
from mirror.daemon.notifications import MAX_MESSAGE_BYTES, parse_notification
from mirror.daemon.replicas import Replicas
from mirror.daemon.situation import Situation
from mirror.daemon.tokens import Bearer, Buckets, Tokens
from mirror.errors import FormatError, printable

_LONGEST_WAIT_S: Final = 300.0
_MAX_BODY_BYTES: Final = 64 * 1024
_SCHEME: Final = "bearer"
_log: Final = logging.getLogger(__name__)

Look = Callable[[Fqrn], "asyncio.Task[None]"]
"""Look at a repository now; the task ends when whatever was published until now has been seen."""


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How often one may push.

    Attributes:
        of_token: for each token,
        of_repository: and for each repository, whoever asks.
    """

    of_token: Buckets
    of_repository: Buckets

    @classmethod
    def usual(cls, time: Callable[[], float]) -> PushLimits:
        """A publication a second for each repository, some at once."""
        return cls(Buckets(100, 0.1, time), Buckets(10, 1.0, time))


@dataclass(slots=True)
class Push:
    """Takes pushes.

    Attributes:
        replicas: ours.
        look: what a push does.
        tokens: of those who may; `Tokens` are replaced when the configuration is read again.
        limits: how often.
    """

    replicas: Replicas
    look: Look
    limits: PushLimits
    tokens: Tokens = field(default_factory=Tokens)

    async def snapshot(self, request: web.Request) -> web.Response:
        """``POST /api/v1/repositories/<fqrn>/snapshot``."""
        bearer = self._bearer(request)
        situation = self._admit(bearer, request.match_info["fqrn"])
        wait_s = _wait_s(request)
        await read_body(request, _MAX_BODY_BYTES)  # nothing in it counts
        self._take(bearer, situation.fqrn)
        before = situation.served
        looking = self.look(situation.fqrn)
        _log.info("%s: pushed by %s (%s)", situation.fqrn, bearer.name, printable(peer_of(request)))
        if wait_s and await _is_over(looking, wait_s):
            return json_answer(_outcome(situation, has_flipped=situation.served != before))
        document = {"queued": True, "repository": situation.fqrn.name, "phase": situation.phase}
        return json_answer(document, 202)

    async def publish(self, request: web.Request) -> web.Response:
        """``POST /api/v1/notifications/publish``; the answer is a gateway's."""
        bearer = self._bearer(request)
        raw = await read_body(request, MAX_MESSAGE_BYTES)
        try:
            message = parse_notification(raw)
        except FormatError as error:
            to_do = "send it as a gateway does: version, timestamp, type, repository, manifest"
            raise Problem(400, str(error), to_do) from error
        situation = self._admit(bearer, message.fqrn.name)
        self._take(bearer, situation.fqrn)
        self.look(situation.fqrn)
        revision = message.manifest.revision
        _log.info("%s: revision %d announced by %s", situation.fqrn, revision, bearer.name)
        return json_answer({"status": "ok"})

    # --- whether they may -------------------------------------------------------------------------

    def _bearer(self, request: web.Request) -> Bearer:
        if not self.tokens.bearers:
            to_do = "the operator of this mirror configures a file with tokens"
            raise Problem(403, "nobody may push here", to_do)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != _SCHEME or not token.strip():
            raise Problem(401, "a token is needed", "send Authorization: Bearer <token>")
        bearer = self.tokens.bearer(token.strip())
        if bearer is None:
            _log.warning("a push from %s with a token of nobody's", printable(peer_of(request)))
            raise Problem(401, "nobody here has this token", "ask the operator of this mirror")
        return bearer

    def _admit(self, bearer: Bearer, name: str) -> Situation:
        situation = self.replicas.require(name)
        if not bearer.may_push(situation.fqrn):
            to_do = "ask the operator of this mirror to name the repository behind the token"
            raise Problem(403, f"this token is not for {situation.fqrn}", to_do)
        return situation

    def _take(self, bearer: Bearer, fqrn: Fqrn) -> None:
        limits = self.limits
        wait_s = max(limits.of_token.wait_s(bearer.digest), limits.of_repository.wait_s(fqrn))
        if wait_s:
            to_do = "come back then; publications in between are seen all the same"
            raise Problem(429, f"too many pushes for {fqrn}", to_do, max(1, math.ceil(wait_s)))
        limits.of_token.take(bearer.digest)
        limits.of_repository.take(fqrn)


def _wait_s(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = math.nan
    if not 0 <= wait_s <= _LONGEST_WAIT_S:
        to_do = f"give seconds, at most {_LONGEST_WAIT_S:.0f}"
        raise Problem(400, f"wait={ascii(text)[:40]} is no time to wait", to_do)
    return wait_s


async def _is_over(looking: asyncio.Task[None], wait_s: float) -> bool:
    done, _ = await asyncio.wait([looking], timeout=wait_s)
    return bool(done)


def _outcome(situation: Situation, *, has_flipped: bool) -> dict[str, object]:
    served, trouble = situation.served, situation.trouble
    return {
        "queued": False,
        "repository": situation.fqrn.name,
        "outcome": "failed" if trouble is not None else "done",
        "flipped": has_flipped,
        "revision": served.number if served is not None else None,
        "error": str(trouble.error) if trouble is not None else None,
        "what_to_do": what_to_do(trouble.error) if trouble is not None else None,
    }
