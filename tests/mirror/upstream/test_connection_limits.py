"""What one connection puts up with: so many bytes that are no body, so much time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mirror.upstream.options import HttpOptions
from tests.support.exchanges import OK, Remembered, Wire, chunked, refused, sized
from tests.support.loops import run_timeless

KIB = 1024
OPTIONS = HttpOptions(timeout_s=10, min_bytes_per_s=10)
"""So 100 bytes of a body are demanded of every window of ten seconds."""


def said_to(sent: bytes, asked: int) -> list[bytes | str | None]:
    """What is made of these bytes, and then nothing."""

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask(asked)
        wire.answer(sent)
        return exchanges

    return [each.said for each in run_timeless(main())]


# --- no end in sight ------------------------------------------------------------------------------


def endless(start: bytes, block: bytes, asked: int = 2) -> tuple[list[Remembered], int]:
    """Let it arrive again and again until nobody listens; returns also how many bytes it took."""

    async def main() -> tuple[list[Remembered], int]:
        wire = Wire()
        exchanges = wire.ask(asked)
        wire.answer(start)
        count = 0
        while wire.connection.is_open and count < 10_000_000:
            wire.answer(block)
            count += len(block)
        return exchanges, count

    return run_timeless(main())


HEADERS = OK + b"X: "
TRAILERS = OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
EXTENSION = OK + b"Transfer-Encoding: chunked\r\n\r\n1;"


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (HEADERS, b"x"),
        (HEADERS, b"x" * 10_000),
        (OK, b"X-Y: z\r\n"),
        (TRAILERS, b"X-Y: z\r\n"),
        (TRAILERS + b"X: ", b"x" * 999),
        (EXTENSION, b"a"),
        (EXTENSION, b";a=b"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 100),
    ],
)
def test_overhead_has_an_end(start: bytes, block: bytes) -> None:
    """Whatever is neither body nor answer: 64 KiB, and it is over."""
    exchanges, count = endless(start, block)
    assert [each.said for each in exchanges] == ["Unavailable", "Dropped"]
    assert count <= 64 * KIB + len(block)


def test_overhead_does_not_add_up() -> None:
    """Many answers have many headers."""

    async def main() -> None:
        wire = Wire()
        exchanges = wire.ask(100)
        padded = OK + b"X: %s\r\nContent-Length: 1\r\n\r\nx" % (b"x" * 30_000)
        wire.answer(*[padded] * 50, padded * 50)
        assert {each.said for each in exchanges} == {b"x"}

    run_timeless(main())


def test_an_endless_error_page() -> None:
    """It is read past for a while; the error stands, and the next request was dropped."""
    start = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n"
    exchanges, count = endless(start, b"3e8\r\n%s\r\n" % (b"x" * 1000))
    assert [each.said for each in exchanges] == ["Unavailable", "Dropped"]
    assert "answered 500" in str(exchanges[0].outcome)
    assert count < 70 * KIB


@pytest.mark.parametrize("declared", [1001, 10**18])
def test_too_large_by_its_length(declared: int) -> None:
    """Nothing of the body is waited for."""
    head = OK + b"Content-Length: %d\r\n\r\n" % declared
    assert said_to(head, asked=2) == ["TooLarge", "Dropped"]


def test_the_length_of_an_error_page_does_not_count() -> None:
    """The limit is about what was asked for."""
    page = refused(404, b"x" * 5000)
    assert said_to(page.sent + sized(b"hello").sent, asked=2) == ["NotFound", b"hello"]


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_too_large_by_its_bytes(head: bytes) -> None:
    """The first byte too many ends it; `Remembered` sees that it is not handed on."""
    body = b"x" * 1001 if b"chunked" not in head else b"3e9\r\n" + b"x" * 1001
    assert said_to(head + body, asked=2) == ["TooLarge", "Dropped"]
    whole = b"x" * 1000
    assert said_to(sized(whole).sent + chunked(whole).sent, asked=2) == [whole, whole]


# --- time, which passes only where a test says so -------------------------------------------------


def timed(
    script: Callable[[Wire], object], asked: int = 1
) -> list[tuple[bytes | str | None, float]]:
    """Ask, carry out the script, and wait; returns what became of each request, and when."""

    async def main() -> list[tuple[bytes | str | None, float]]:
        wire = Wire(OPTIONS)
        exchanges = wire.ask(asked)
        script(wire)
        await asyncio.sleep(1000)
        return [(each.said, each.ended_at) for each in exchanges]

    return run_timeless(main())


def later(wire: Wire, delay_s: float, *parts: bytes) -> None:
    """Let these bytes arrive after some time."""
    asyncio.get_running_loop().call_later(delay_s, wire.answer, *parts)


def dripping(piece: bytes, every_s: float, start: bytes = b"") -> Callable[[Wire], None]:
    """A piece now and then, for a long time."""

    def script(wire: Wire) -> None:
        wire.answer(start)
        for number in range(1, 90):
            later(wire, number * every_s, piece)

    return script


def test_silence() -> None:
    """Nothing for the time-out: given up, and those behind were not answered."""
    assert timed(lambda _wire: None, asked=2) == [("TooSlow", 10), ("Dropped", 10)]


def test_silence_in_the_middle() -> None:
    """The time-out begins again with whatever is progress."""
    head, half = OK + b"Content-Length: 500\r\n\r\n", b"x" * 250

    def script(wire: Wire) -> None:
        later(wire, 5, sized(b"hello").sent)
        later(wire, 12, head)
        later(wire, 20, half)

    assert timed(script, asked=3) == [(b"hello", 5), ("TooSlow", 30), ("Dropped", 30)]


def test_a_head_that_drips() -> None:
    """It has twice the time-out from the request, or from the answer before, to its end."""
    assert timed(dripping(b"x", 3, HEADERS)) == [("TooSlow", 20)]
    after = sized(b"hello").sent + HEADERS
    assert timed(dripping(b"x", 3, after), asked=2) == [(b"hello", 0), ("TooSlow", 20)]


def test_interim_answers_are_no_head() -> None:
    """They do not buy time."""
    assert timed(dripping(b"HTTP/1.1 100 Continue\r\n\r\n", 3)) == [("TooSlow", 20)]


def test_a_body_that_drips() -> None:
    """Less than is demanded of a window is too slow; this much, or more, may go on for long."""
    head = OK + b"Content-Length: 800\r\n\r\n"
    assert timed(dripping(b"x" * 9, 1, head)) == [("TooSlow", 10)]
    assert timed(dripping(b"x" * 25, 2, head)) == [(b"x" * 800, 64)]


def test_an_error_page_that_drips() -> None:
    """Nobody waits for it, but the connection is not kept for it for ever either."""
    head = b"HTTP/1.1 500 Oh\r\nContent-Length: 800\r\n\r\n"
    assert timed(dripping(b"x", 1, head), asked=2) == [("Unavailable", 0), ("Dropped", 10)]


def test_chunk_extensions_are_no_progress() -> None:
    """Only bytes of the body are."""
    assert timed(dripping(b"a", 1, EXTENSION)) == [("TooSlow", 10)]


def test_idleness_is_no_slowness() -> None:
    """A connection that nobody used for long has the whole time for its next answer."""

    async def main() -> None:
        wire = Wire(OPTIONS)
        for _ in range(3):
            (exchange,) = wire.ask()
            await asyncio.sleep(9)
            wire.answer(sized(b"hello").sent)
            assert exchange.said == b"hello"
            await asyncio.sleep(995)
        assert wire.connection.is_open

    run_timeless(main())


def test_our_own_time_does_not_count() -> None:
    """While its consumer is at work, a server cannot be slow; after that it can."""

    def script(wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        wire.answer(OK + b"Content-Length: 5\r\n\r\n")
        loop.call_later(4, wire.connection.stop_clock)
        loop.call_later(50, wire.connection.stop_clock)
        loop.call_later(500, wire.connection.start_clock)
        loop.call_later(501, wire.connection.start_clock)

    ((said, at),) = timed(script)
    assert said == "TooSlow"
    assert 506 <= at <= 516


def test_pausing() -> None:
    """What is paused takes nothing more from the network until it is resumed."""

    async def main() -> None:
        wire = Wire()
        wire.connection.pause()
        assert not wire.wants_more
        wire.connection.resume()
        assert wire.wants_more

    run_timeless(main())
