"""The way to the other members, by HTTP."""

from __future__ import annotations

from typing import Final, Protocol

import aiohttp

from mirror.daemon.group.message import MAX_MESSAGE_BYTES, Message, dump_message, parse_message
from mirror.errors import FormatError, Refused, Unavailable, printable

PATH: Final = "/api/v1/group"


class Link(Protocol):
    """The way to one member."""

    async def ask(self, message: Message) -> Message:
        """Tell it, and hear what it says.

        Raises:
            UpstreamError, FormatError: it says nothing that counts.
        """


class HttpLink:
    """One member behind a URL."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, name: str, token: str, timeout_s: float
    ) -> None:
        """The member ``name`` at ``url``; it has ``timeout_s`` for an answer."""
        self._session = session
        self._url = f"{url}{PATH}/{name}"
        self._name = name
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def ask(self, message: Message) -> Message:
        """As `Link.ask`."""
        try:
            raw = await self._post(dump_message(message))
        except TimeoutError as error:
            seconds = self._timeout.total
            raise Unavailable(f"no answer within {seconds:.1f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(printable(str(error) or type(error).__name__)) from error
        answer = parse_message(raw)
        if answer.sender != self._name:
            raise FormatError(f"{printable(answer.sender)} answers at its URL")
        return answer

    async def _post(self, body: bytes) -> bytes:
        async with self._session.post(
            self._url,
            data=body,
            headers=self._headers,
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            raw = bytearray()
            async for piece in response.content.iter_any():
                raw += piece
                if len(raw) > MAX_MESSAGE_BYTES:
                    raise FormatError(f"an answer of more than {MAX_MESSAGE_BYTES} bytes")
            if response.status != 200:
                raise Refused(f"it answers {response.status} {printable(response.reason or '')}")
            return bytes(raw)
