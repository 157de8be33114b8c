"""Whatever goes wrong on the way: a `Fault` turns an honest body into what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mirror.errors import Refused, TooSlow, Unavailable
from mirror.upstream.base import Body, read_all

Fault = Callable[[Body], Body]
"""An honest body → what arrives."""


async def truncated(body: Body) -> Body:
    """Half of it, and the server says that this is all."""
    content = await read_all(body)
    yield content[: len(content) // 2]


async def corrupted(body: Body) -> Body:
    """One bit is not what it was."""
    content = bytearray(await read_all(body))
    content[-1] ^= 1
    yield bytes(content)


async def slow(body: Body) -> Body:
    """It begins, and then next to nothing comes for the time-out."""
    async for piece in body:
        yield piece[:1]
        break
    raise TooSlow("next to nothing came")


async def hanging(body: Body) -> Body:
    """It begins, and never goes on."""
    async for piece in body:
        yield piece[:1]
        break
    await asyncio.Event().wait()


async def endless(body: Body) -> Body:
    """It does not stop."""
    content = await read_all(body) or b"\0"
    while True:
        await asyncio.sleep(0)
        yield content


async def refused(_body: Body) -> Body:
    """The server says no."""
    raise Refused("the server answered 403 Forbidden")
    yield b""


async def unavailable(_body: Body) -> Body:
    """The server is in trouble."""
    raise Unavailable("the server answered 503 Service Unavailable")
    yield b""


def reset_after(count: int) -> Fault:
    """The connection breaks after so many bytes."""

    async def reset(body: Body) -> Body:
        content = await read_all(body)
        if count:
            yield content[:count]
        raise Unavailable("the connection was reset")

    return reset


def once(fault: Fault) -> Fault:
    """The fault for the first body, none for those after."""
    faults = iter([fault])

    def first_only(body: Body) -> Body:
        return next(faults, _honest)(body)

    return first_only


async def _honest(body: Body) -> Body:
    async for piece in body:
        yield piece
