"""Streams of requests: plain ones, odd ones, damaged ones, in any order and cut anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from tests.support.both_ways import BLOCKS, SIZES, get, path

_METHODS: Final = [b"GET"] * 6 + [b"HEAD", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"get"]
_TARGETS: Final = [
    *(path(number, repository) for number in range(len(SIZES)) for repository in (0, 1)),
    path(len(SIZES)),
    path(77),
    path(2) + b"?a",
    path(2) + b"#a",
    path(2).replace(b"data", b"%64ata"),
    path(2).replace(b"/data", b"//data"),
    b"http://x" + path(2),
    b"http://a@x" + path(2),
    b"/robots.txt",
    b"/../etc/passwd",
    b"*",
    b"x",
    b"/\0",
]
_VERSIONS: Final = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b""]
_BODY: Final = get(2)
_HEADERS: Final = [
    b"Range: bytes=1-3",
    b"Range: bytes=0-0,2-",
    b"Range: bytes=9999999-",
    b'If-None-Match: "x"',
    b"If-Range: x",
    b"Cache-Control: no-cache",
    b"Pragma: no-cache",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: x",
    b"Host: y",
    b"Accept-Encoding: gzip",
    b"X-Real-IP: 1",
    b"X: y",
    b"X y",
    b" folded",
    b"X : y",
    b"X: a\0",
    b"X: " + b"y" * 5_000,
    b"X: " + b"y" * 9_000,
]
_BODIES: Final = [
    (b"Content-Length: 0", b""),
    (b"Content-Length: %d" % len(_BODY), _BODY),
    (b"Content-Length: %d" % (len(_BODY) - 5), _BODY),
    (b"Content-Length: 3\r\nContent-Length: 4", b"abcd"),
    (b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    (b"Transfer-Encoding: chunked", b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"3\r\nabcd\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: x", b""),
    (b"", b"\r\n"),
    (b"", b"\n"),
    (b"", b"x"),
]


@dataclass(frozen=True)
class Stream:
    """What a client sends, in pieces, and how it ends; and what the shelf is like meanwhile.

    Where aiohttp finds damage it forgets the whole requests that came with it, in one piece. So
    answers depend on the pieces in which it gets them, and these on what it has answered: only
    streams without damage may go on while an answer is under way.
    """

    pieces: tuple[bytes, ...]
    ends: bool
    waits: bool
    moods: tuple[bool, ...]


def _plain(number: int, repository: int, block: int, times: int) -> bytes:
    return get(number, repository, block) * times


def _odd(line: tuple[bytes, ...], block: int, more: list[bytes], extra: int) -> bytes:
    name, body = _BODIES[extra] if extra < len(_BODIES) else (b"", b"")
    headers = b"".join(each + b"\r\n" for each in [*more, name] if each)
    return (
        b" ".join(line) + b"\r\n" + BLOCKS[block].removesuffix(b"\r\n") + headers + b"\r\n" + body
    )


def _damaged(request: bytes, at: int, instead: bytes, length: int) -> bytes:
    at %= len(request)
    return request[:at] + instead + request[at + length :]


_BLOCK = st.integers(0, len(BLOCKS) - 1)
_PLAIN = st.builds(
    _plain,
    st.integers(0, len(SIZES)) | st.integers(0, 3) | st.integers(0, 3) | st.just(77),
    st.integers(0, 1),
    _BLOCK,
    st.sampled_from([1, 1, 2, 5]),
)
_ODD = st.builds(
    _odd,
    st.tuples(*map(st.sampled_from, (_METHODS, _TARGETS, _VERSIONS))),
    _BLOCK,
    st.lists(st.sampled_from(_HEADERS), max_size=2),
    st.integers(0, 3 * len(_BODIES)),
)
_HARMLESS = st.builds(
    _odd,
    st.tuples(st.sampled_from([b"GET", b"HEAD"]), st.sampled_from(_TARGETS), st.just(b"HTTP/1.1")),
    _BLOCK,
    st.lists(st.sampled_from(_HEADERS), max_size=1),
    st.just(len(_BODIES)),
)
_DAMAGED = st.builds(
    _damaged,
    _PLAIN | _ODD,
    st.integers(0, 10_000),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"\xff", b"G", b"0"]),
    st.integers(0, 3),
)


@st.composite
def streams(draw: st.DrawFn, last: bytes) -> Stream:
    """Any stream; with ``last`` behind it, or ended by shutting down."""
    waits = draw(st.booleans())
    kinds = _PLAIN | _PLAIN | _ODD | _ODD | _DAMAGED if waits else _PLAIN | _HARMLESS
    requests = draw(st.lists(kinds, min_size=1, max_size=6))
    ends = draw(st.booleans())
    stream = b"".join(requests) + (b"" if ends else last)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=5)))
    edges = [0, *cuts, len(stream)]
    pieces = tuple(stream[start:end] for start, end in pairwise(edges))
    moods = draw(st.just([]) | st.lists(st.booleans(), max_size=4))
    return Stream(pieces, ends, waits, tuple(moods))
