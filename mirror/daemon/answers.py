"""How the API answers: JSON, never kept by anybody, and errors that say what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from mirror.errors import printable

_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_FORWARDED: Final = "X-Forwarded-For"
_log: Final = logging.getLogger(__name__)


class Problem(Exception):
    """What a client is told instead of what it asked for.

    Attributes:
        status: of HTTP.
        sentence: what is wrong.
        what_to_do: about it.
        retry_after_s: when to come back; None if that would not help.
    """

    def __init__(
        self, status: int, sentence: str, what_to_do: str, retry_after_s: int | None = None
    ) -> None:
        """See above."""
        self.status = status
        self.sentence = sentence
        self.what_to_do = what_to_do
        self.retry_after_s = retry_after_s
        super().__init__(sentence)


def json_answer(
    document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A document, readable for people, too."""
    text = json.dumps(document, indent=2) + "\n"
    return web.Response(
        text=text,
        status=status,
        content_type="application/json",
        headers={**_NO_STORE, **(headers or {})},
    )


def text_answer(text: str, status: int = 200, content_type: str = "text/plain") -> web.Response:
    """Bare text, without a charset, as old probes expect it."""
    headers = {**_NO_STORE, "Content-Type": content_type}
    return web.Response(body=text.encode(), status=status, headers=headers)


@web.middleware
async def in_our_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as JSON, and no trace of our inside."""
    try:
        return await handler(request)
    except Problem as problem:
        return _answer_to(problem)
    except web.HTTPException as refusal:
        sentence = f"{request.method} {printable(request.path)}: {refusal.reason}"
        answer = _answer_to(Problem(refusal.status, sentence, "see README for what there is"))
        if "Allow" in refusal.headers:
            answer.headers["Allow"] = refusal.headers["Allow"]
        return answer
    except Exception:  # noqa: BLE001 - whatever it is, a client is told nothing of it
        _log.exception("%s %s", request.method, printable(request.path))
        return _answer_to(Problem(500, "a mistake of ours", "read the daemon's log, and tell us"))


def peer_of(request: web.Request) -> str:
    """Who asks: behind our own workers, who come through a socket of the host, whom they name."""
    address = request.transport.get_extra_info("peername") if request.transport else None
    if isinstance(address, tuple) and address:
        return str(address[0])
    named = request.headers.getall(_FORWARDED, [])
    return named[-1].rpartition(",")[2].strip()[:64] if named else ""


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        Problem: it is longer than that.
    """
    raw = bytearray()
    async for piece in request.content.iter_any():
        raw += piece
        if len(raw) > max_bytes:
            to_do = "send what the documentation says"
            raise Problem(413, f"the body is longer than {max_bytes} bytes", to_do)
    return bytes(raw)


def _answer_to(problem: Problem) -> web.Response:
    headers: dict[str, str] = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="cvmfs-mirror"'
    document = {"error": problem.sentence, "what_to_do": problem.what_to_do}
    return json_answer(document, problem.status, headers)
