"""The fast path answers as aiohttp does, byte for byte: cases somebody thought of."""

from __future__ import annotations

from typing import Final

import pytest

from tests.mirror.serve.conftest import Ask
from tests.support.both_ways import BLOCKS, HOST, LAST, SIZES, get, path

MUCH: Final = len(SIZES) - 1
SMALL: Final = get(2)
HEAD: Final = SMALL.replace(b"GET", b"HEAD", 1)
OLD: Final = SMALL.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
MISSING: Final = get(77)


def with_header(header: bytes, body: bytes = b"") -> bytes:
    """A request for the small object with one header more."""
    return SMALL.removesuffix(b"\r\n") + header + b"\r\n\r\n" + body


def post(header: bytes, body: bytes) -> bytes:
    """The same with a body."""
    return with_header(header, body).replace(b"GET", b"POST", 1)


CASES: Final[dict[str, list[bytes]]] = {
    "one after another": [get(number) for number in range(len(SIZES) + 1)],
    "pipelined": [b"".join(get(number) for number in range(len(SIZES) + 1))],
    "two repositories": [get(2, 0) + get(2, 1) + get(6, 1) + get(6, 0)],
    "every known block": [b"".join(get(2, block=number) for number in range(len(BLOCKS)))],
    "HEAD between GETs": [SMALL + HEAD + SMALL, HEAD, SMALL],
    "HEAD of everything": [
        b"".join(
            get(number) + get(number).replace(b"GET", b"HEAD", 1)
            for number in range(len(SIZES) + 1)
        )
    ],
    "missing": [SMALL + MISSING + SMALL, MISSING, MISSING + MISSING + SMALL],
    "HTTP/1.0": [SMALL + OLD + SMALL],
    "HTTP/1.0 that stays": [
        SMALL + OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n") + SMALL
    ],
    "Connection: close": [SMALL + with_header(b"Connection: close") + SMALL],
    "Connection: close in large": [
        SMALL + get(MUCH).replace(HOST, HOST + b"Connection: close\r\n")
    ],
    "no header": [SMALL + b"GET / HTTP/1.1\r\n\r\n" + SMALL],
    "malformed header": [SMALL + with_header(b"X y") + SMALL],
    "malformed line": [SMALL + b"GET \r\n" + BLOCKS[0] + SMALL],
    "absolute form": [SMALL + SMALL.replace(b"/cvmfs", b"http://x/cvmfs", 1) + SMALL],
    "query": [SMALL + SMALL.replace(b" HTTP", b"?a HTTP", 1) + SMALL],
    "other spelling": [SMALL + SMALL.replace(b"data", b"%64ata", 1) + SMALL],
    "Range": [SMALL + with_header(b"Range: bytes=1-5") + SMALL],
    "several ranges": [SMALL + with_header(b"Range: bytes=1-5,7-") + SMALL],
    "no such range": [SMALL + with_header(b"Range: bytes=9999-") + SMALL],
    "If-None-Match": [SMALL + with_header(b'If-None-Match: "x"') + SMALL],
    "If-Modified-Since": [with_header(b"If-Modified-Since: Sat, 21 Nov 2099 00:00:00 GMT") + SMALL],
    "no-cache": [SMALL + with_header(b"Cache-Control: no-cache\r\nPragma: no-cache") + SMALL],
    "Expect": [SMALL + with_header(b"Expect: 100-continue") + SMALL],
    "Expect with a body": [post(b"Expect: 100-continue\r\nContent-Length: 2", b"ab") + SMALL],
    "Expect the impossible": [with_header(b"Expect: x\r\nContent-Length: %d" % len(SMALL), SMALL)],
    "upgrade": [SMALL + with_header(b"Connection: Upgrade\r\nUpgrade: websocket") + SMALL, SMALL],
    "POST": [SMALL + post(b"Content-Length: %d" % len(SMALL), SMALL) + SMALL, SMALL],
    "POST without a body": [SMALL, SMALL.replace(b"GET", b"POST", 1) + SMALL],
    "GET with a body": [SMALL + with_header(b"Content-Length: %d" % len(SMALL), SMALL) + SMALL],
    "GET with a large body": [with_header(b"Content-Length: 400000", b"x" * 400_000) + SMALL],
    "GET without its body": [SMALL, with_header(b"Content-Length: 9999", b"x")],
    "chunked": [SMALL + post(b"Transfer-Encoding: chunked", b"1\r\na\r\n0\r\n\r\n") + SMALL],
    "GET chunked": [with_header(b"Transfer-Encoding: chunked", b"1\r\na\r\n0\r\n\r\n") + SMALL],
    "chunks that look like a request": [
        post(b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMALL), SMALL)) + SMALL
    ],
    "empty lines before": [b"\r\n\r\n" + SMALL + b"\r\n" + SMALL],
    "long headers": [SMALL + with_header(b"X: " + b"y" * 6000) + SMALL],
    "too long headers": [SMALL + with_header(b"X: " + b"y" * 9000) + SMALL],
    "block learned here": [with_header(b"X-Real-IP: 1") * 3 + with_header(b"X-Real-IP: 1")],
    "block learned, then HEAD": [
        with_header(b"X-Real-IP: 1"),
        with_header(b"X-Real-IP: 1").replace(b"GET", b"HEAD", 1),
        with_header(b"X-Real-IP: 1").replace(b"GET", b"POST", 1),
    ],
    "block learned, then HTTP/1.0": [
        with_header(b"X-Real-IP: 1"),
        with_header(b"X-Real-IP: 1").replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    ],
    "block of a HEAD, then GET": [
        with_header(b"X-Real-IP: 1").replace(b"GET", b"HEAD", 1) + with_header(b"X-Real-IP: 1")
    ],
    "many": [SMALL * 500],
    "many large ones": [get(MUCH) * 2 + SMALL, get(4) * 9],
}


@pytest.mark.parametrize("moods", [(), (False,), (True, False, False)], ids=len)
@pytest.mark.parametrize("case", CASES)
def test_same_answers(ask: Ask, case: str, moods: tuple[bool, ...]) -> None:
    """In whatever state the shelf is, and however the client says that it has nothing more."""
    whole = ask([SMALL, *CASES[case], LAST], moods=moods)
    half_closed = ask([SMALL, *CASES[case]], ends=True, moods=moods)
    assert half_closed.answer == whole.answer.removesuffix(ask([LAST]).answer)
    assert whole.by_aiohttp < len(whole.served)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_split_at_every_byte(ask: Ask, method: bytes) -> None:
    """Wherever a stream is cut, it is answered as if it had come at once."""
    stream = SMALL + MISSING.replace(b"GET", method, 1) + SMALL + LAST
    whole = ask([stream])
    for cut in range(1, len(stream)):
        assert ask([stream[:cut], stream[cut:]]).answer == whole.answer


def test_byte_by_byte(ask: Ask) -> None:
    """A client that sends single bytes is answered like any other, on the fast path."""
    stream = SMALL + get(MUCH) + SMALL + LAST
    told = ask([stream[at : at + 1] for at in range(len(stream))])
    assert (told.by_aiohttp, len(told.served)) == (1, 4)


def test_plain_requests_are_not_parsed(ask: Ask) -> None:
    """Only the last of these is aiohttp's."""
    told = ask([get(number) * 3 for number in range(len(SIZES) + 1)] + [LAST])
    assert (told.by_aiohttp, len(told.served)) == (1, 3 * (len(SIZES) + 1) + 1)


def test_known_headers_are_for_any_repository(ask: Ask) -> None:
    """Who asks for one repository asks for the next with the same headers, and gets its bytes."""
    told = ask([get(2, 0), get(2, 1), LAST])
    lines = [line for line, _, _ in told.served]
    assert lines[:2] == [b"GET " + path(2, number) + b" HTTP/1.1" for number in (0, 1)]
    assert told.by_aiohttp == 1
