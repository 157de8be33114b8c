"""Ways in which an upstream of a proxy, or somebody on the way to it, gives what is not right."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Final

from tests.support.proxies import Behave, honest

_OK: Final = b"HTTP/1.1 200 OK\r\n"
_BLOCK: Final = bytes(1024 * 1024)
_PAGE: Final = b"<html>out of order</html>"


def _head(length: int) -> bytes:
    return _OK + b"Content-Length: %d\r\n\r\n" % length


def _writing(*parts: bytes, keeps: bool = False) -> Behave:
    async def behave(_right: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"".join(parts))
        await writer.drain()
        return keeps

    return behave


async def flip(right: bytes, writer: asyncio.StreamWriter, *, at: float = 0.5) -> bool:
    """One bit is wrong."""
    wrong = bytearray(right or b"x")
    wrong[int(at * (len(wrong) - 1))] ^= 1
    writer.write(_head(len(wrong)) + wrong)
    return True


async def truncate(right: bytes, writer: asyncio.StreamWriter, *, at: float = 0.5) -> bool:
    """It ends too early."""
    writer.write(_head(len(right)) + right[: int(at * len(right))])
    return False


async def stall(right: bytes, writer: asyncio.StreamWriter, *, at: float = 0.5) -> bool:
    """Some bytes, and then nothing, for as long as anybody waits."""
    writer.write((_head(len(right)) + right)[: int(at * len(right))])
    await writer.drain()
    while not writer.transport.is_closing():  # noqa: ASYNC110 - a reset tells nobody who writes
        await asyncio.sleep(0.02)
    return False


async def reset(right: bytes, writer: asyncio.StreamWriter, *, at: float = 0.5) -> bool:
    """The connection is reset in the middle."""
    writer.write(_head(len(right)) + right[: int(at * len(right))])
    await writer.drain()
    writer.transport.abort()
    return False


async def never_end(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """It begins rightly, and goes on for ever."""
    writer.write(_OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(b"%x\r\n%s\r\n" % (len(right) or 1, right or b"x"))
        right = _BLOCK
        await writer.drain()
        await asyncio.sleep(0)
    return False


async def announce_less(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """The length is too short: the rest stands where the next answer should."""
    writer.write(_head(len(right) // 2) + right)
    return True


async def announce_more(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """The length is too long."""
    writer.write(_head(len(right) * 2 + 1) + right)
    return False


async def announce_nothing(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """It ends where the connection ends, and that is too early."""
    writer.write(_OK + b"\r\n" + right[: len(right) // 2])
    return False


async def announce_twice(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """Two ways to tell where it ends, which differ."""
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(right) or 1, right or b"x")
    length = b"Content-Length: %d\r\n" % (len(right) + 70_000)
    writer.write(_OK + length + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    return True


async def smuggle(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """A second answer that nobody asked for follows, for whoever asks next."""
    page = _head(len(_PAGE)) + _PAGE
    writer.write(_head(len(right)) + bytes(len(right)) + page)
    return True


async def flood(_right: bytes, writer: asyncio.StreamWriter) -> bool:
    """Headers without an end."""
    writer.write(_OK)
    while not writer.transport.is_closing():
        writer.write(b"X-Header: %s\r\n" % (b"x" * 1000))
        await writer.drain()
        await asyncio.sleep(0)
    return False


async def shuffle(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """Another object of the same size."""
    return await honest(bytes(reversed(right)) + b"!", writer)


async def break_connection(_right: bytes, writer: asyncio.StreamWriter) -> bool:
    """Not a word."""
    writer.transport.abort()
    return False


FAULTS: Final[Mapping[str, Behave]] = {
    "flips a bit at the front": partial(flip, at=0.0),
    "flips a bit": flip,
    "flips the last bit": partial(flip, at=1.0),
    "truncates": truncate,
    "truncates at once": partial(truncate, at=0.0),
    "resets": reset,
    "never ends": never_end,
    "announces less": announce_less,
    "announces more": announce_more,
    "announces nothing": announce_nothing,
    "announces twice": announce_twice,
    "smuggles an answer": smuggle,
    "floods headers": flood,
    "another object": shuffle,
    "hangs up": break_connection,
    "an error page": _writing(_head(len(_PAGE)), _PAGE, keeps=True),
    "500": _writing(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", keeps=True),
    "404": _writing(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", keeps=True),
    "a redirect": _writing(
        b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 2\r\n\r\nno", keeps=True
    ),
    "no HTTP": _writing(b"SSH-2.0-server\r\n\r\n"),
    "half an answer": _writing(_OK),
    "206": _writing(b"HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\nno", keeps=True),
}


def any_fault(random: Random) -> Behave:
    """One of all, somewhere; a stall now and then, since it takes a while to be noticed."""
    at = random.random()
    if random.random() < 0.01:
        return partial(stall, at=at)
    one = random.choice([*FAULTS.values(), flip, truncate, reset])
    return partial(one, at=at) if one in (flip, truncate, reset) else one
