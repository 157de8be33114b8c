"""Requests that nobody should send: why each is odd, its bytes, and the status of its answer."""

from __future__ import annotations

from typing import Final

PATH: Final = b"/cvmfs/test.example.org/.cvmfspublished"
HOST: Final = b"Host: x\r\n"
PLAIN: Final = b"GET " + PATH + b" HTTP/1.1\r\n" + HOST + b"\r\n"
LAST: Final = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Odd = tuple[str, bytes, int]


def line(request_line: bytes) -> bytes:
    """A request with this line."""
    return request_line + b"\r\n" + HOST + b"\r\n"


def target(text: bytes) -> bytes:
    """A request for this."""
    return line(b"GET " + text + b" HTTP/1.1")


def headers(more: bytes, host: bytes = HOST) -> bytes:
    """A request with these headers."""
    return b"GET " + PATH + b" HTTP/1.1\r\n" + host + more + b"\r\n"


def post(more: bytes, body: bytes = b"") -> bytes:
    """A request with a body; none may be posted, so 405 where its end is clear."""
    return b"POST " + PATH + b" HTTP/1.1\r\n" + HOST + more + b"\r\n" + body


def chunks(body: bytes) -> bytes:
    """A request with a body in chunks."""
    return post(b"Transfer-Encoding: chunked\r\n", body)


FRAMING: Final[list[Odd]] = [
    ("length and chunks", post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", PLAIN), 400),
    ("chunks and length", post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", PLAIN), 400),
    ("GET too", headers(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + PLAIN, 400),
    ("two lengths", post(b"Content-Length: 4\r\nContent-Length: 5\r\n", b"abcde"), 400),
    ("the same length twice", post(b"Content-Length: 4\r\nContent-Length: 4\r\n", b"abcd"), 400),
    ("a list of lengths", post(b"Content-Length: 4, 4\r\n", b"abcd"), 400),
    ("a sign", post(b"Content-Length: +4\r\n", b"abcd"), 400),
    ("less than nothing", post(b"Content-Length: -4\r\n", b"abcd"), 400),
    ("another base", post(b"Content-Length: 0x4\r\n", b"abcd"), 400),
    ("Python's digits", post(b"Content-Length: 1_0\r\n", b"abcdefghij"), 400),
    ("two numbers", post(b"Content-Length: 1 2\r\n", b"abcd"), 400),
    ("no number", post(b"Content-Length: \r\n"), 400),
    ("more than 64 bits", post(b"Content-Length: 99999999999999999999\r\n"), 400),
    ("no coding", headers(b"Transfer-Encoding: \r\n"), 400),
    (
        "no coding, but a length",
        post(b"Transfer-Encoding: \r\nContent-Length: 4\r\n", b"abcd"),
        400,
    ),
    ("identity was withdrawn", post(b"Transfer-Encoding: identity\r\n"), 400),
    ("unknown coding", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400),
    ("quoted coding", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 400),
    ("chunks inside another", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), 400),
    ("another inside chunks", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 400),
    ("coded twice", post(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n"), 400),
    ("vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    ("folded coding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400),
    ("space before the colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    (
        "1.0 knows no codings",
        line(b"GET " + PATH + b" HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive"),
        400,
    ),
    ("chunk of 17 digits", chunks(b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), 400),
    ("chunk below zero", chunks(b"-1\r\nhello\r\n0\r\n\r\n"), 400),
    ("chunk in C's spelling", chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    ("chunk longer than it says", chunks(b"5\r\nhello world\r\n0\r\n\r\n"), 400),
    ("chunk lines end in LF", chunks(b"5\nhello\n0\n\n"), 400),
    ("LF in an extension", chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    ("space behind a size", chunks(b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    ("length in a trailer", chunks(b"0\r\nContent-Length: 50\r\n\r\n"), 400),
]

LINES: Final[list[Odd]] = [
    ("LF everywhere", PLAIN.replace(b"\r", b""), 400),
    ("LF after the line", PLAIN.replace(b"\r", b"", 1), 400),
    ("LF after a header", headers(b"X: a\nY: b\r\n"), 400),
    ("LF at the end", PLAIN.removesuffix(b"\r\n") + b"\n", 400),
    ("CR after the line", PLAIN.replace(b"\r\n", b"\r", 1), 400),
    ("CR in a header", headers(b"X: a\rY: b\r\n"), 400),
    ("folded header", headers(b"X: a\r\n b\r\n"), 400),
    ("folded first header", headers(b"", b" Host: x\r\n"), 400),
    ("NUL in the line", target(b"/cvmfs/\0"), 400),
    ("NUL in a header", headers(b"X: a\0b\r\n"), 400),
    ("NUL in a name", headers(b"X\0: a\r\n"), 400),
    ("no ASCII in a name", headers(b"X\xff: a\r\n"), 400),
    ("no colon", headers(b"Xabc\r\n"), 400),
    ("space before a colon", headers(b"X : a\r\n"), 400),
    ("no name", headers(b": a\r\n"), 400),
    ("line of 100 kB", target(b"/" + b"a" * 100_000), 400),
    ("line of 8.3 kB", target(b"/" + b"a" * 8_300), 400),
    ("header of 100 kB", headers(b"X: " + b"a" * 100_000 + b"\r\n"), 400),
    ("65 headers", headers(b"X: a\r\n" * 65), 400),
    ("10,000 headers", headers(b"X: a\r\n" * 10_000), 400),
    ("space before the line", line(b" GET " + PATH + b" HTTP/1.1"), 400),
    ("space behind the line", line(b"GET " + PATH + b" HTTP/1.1 "), 400),
    ("tabs in the line", line(b"GET\t" + PATH + b"\tHTTP/1.1"), 400),
    ("four words", target(PATH + b" x"), 400),
    ("two words", line(b"GET HTTP/1.1"), 400),
    ("methods have capital letters", line(b"get " + PATH + b" HTTP/1.1"), 400),
    ("unknown method", line(b"FOO " + PATH + b" HTTP/1.1"), 400),
    ("HTTP/2 by heart", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("HTTP/0.9", b"GET " + PATH + b"\r\n\r\n", 505),
    ("0.9, but with headers", line(b"GET " + PATH + b" HTTP/0.9"), 505),
    ("version 2.0", line(b"GET " + PATH + b" HTTP/2.0"), 505),
    ("version 1.2", line(b"GET " + PATH + b" HTTP/1.2"), 400),
    ("version 1.10", line(b"GET " + PATH + b" HTTP/1.10"), 400),
    ("http/1.1", line(b"GET " + PATH + b" http/1.1"), 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, 400),
    ("no Host", headers(b"", b""), 400),
    ("two Hosts", headers(HOST), 400),
    ("two Hosts in 1.0", headers(HOST).replace(b"1.1", b"1.0", 1), 400),
    ("Host of two words", headers(b"", b"Host: a b\r\n"), 400),
    ("Host with a path", headers(b"", b"Host: a/b\r\n"), 400),
    ("Host with a user", headers(b"", b"Host: a@b\r\n"), 400),
    ("target with a user", target(b"http://a:b@x" + PATH), 400),
    ("port beyond all ports", target(b"http://x:99999" + PATH), 400),
    ("no closing bracket", target(b"http://[::1" + PATH), 400),
    ("no host in the target", target(b"http://" + PATH), 400),
    ("another protocol", target(b"ftp://x" + PATH), 400),
    ("a local file", target(b"file:///etc/passwd"), 400),
    ("asterisk is for OPTIONS", target(b"*"), 400),
    ("no slash", target(b"cvmfs"), 400),
    ("only a query", target(b"?a"), 400),
    ("fragment", target(PATH + b"#a"), 400),
    ("no ASCII in the target", target(b"/cvmfs/\xc3\xa9"), 400),
]

HARMLESS: Final[list[Odd]] = [
    ("clear end of a body", post(b"Content-Length: 5\r\n", b"hello"), 405),
    ("body that looks like a request", post(b"Content-Length: %d\r\n" % len(PLAIN), PLAIN), 405),
    ("GET with one", headers(b"Content-Length: %d\r\n" % len(PLAIN)) + PLAIN, 200),
    ("refused before it is read", headers(b"Expect: x\r\nContent-Length: 5\r\n") + b"hello", 417),
    ("chunks", chunks(b"5\r\nhello\r\n0\r\n\r\n"), 405),
    ("GET with chunks", headers(b"Transfer-Encoding: chunked\r\n") + b"1\r\na\r\n0\r\n\r\n", 200),
    ("extension of a chunk", chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n"), 405),
    ("trailer", chunks(b"0\r\nX: y\r\n\r\n"), 405),
    ("tab before a value", post(b"Transfer-Encoding:\tchunked\r\n", b"0\r\n\r\n"), 405),
    ("space behind a value", post(b"Transfer-Encoding: chunked \r\n", b"0\r\n\r\n"), 405),
    ("capital letters", post(b"Transfer-Encoding: CHUNKED\r\n", b"0\r\n\r\n"), 405),
    ("empty lines before", b"\r\n" * 50 + PLAIN, 200),
    ("two spaces in the line (RFC 9112, 3)", target(b" " + PATH), 200),
    ("no ASCII in a value", headers(b"X: \xff\r\n"), 200),
    ("no name for the host", headers(b"", b"Host:\r\n"), 200),
    ("absolute form", target(b"http://x" + PATH), 200),
    ("absolute form of another host", target(b"HTTPS://elsewhere.example:443" + PATH), 200),
    ("absolute form without a path", target(b"http://x"), 404),
    ("CONNECT", line(b"CONNECT x:443 HTTP/1.1"), 404),
    ("OPTIONS", line(b"OPTIONS " + PATH + b" HTTP/1.1"), 405),
    ("OPTIONS of everything", line(b"OPTIONS * HTTP/1.1"), 404),
    ("TRACE", line(b"TRACE " + PATH + b" HTTP/1.1"), 405),
    ("upgrade is not taken", headers(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), 200),
    ("query is not looked at", target(PATH + b"?a=b"), 200),
    ("letter in its other spelling", target(PATH.replace(b"p", b"%70")), 200),
    ("slash in its other spelling", target(PATH.replace(b"/.", b"%2f.")), 200),
    ("dots in their other spelling", target(b"/cvmfs/test.example.org/%2e%2e/x"), 404),
    ("decoded once only", target(PATH.replace(b"p", b"%2570")), 404),
    ("coded NUL", target(PATH + b"%00"), 404),
    ("no code", target(PATH + b"%zz"), 404),
    ("double slash", target(b"/" + PATH), 404),
    ("all slashes double", target(PATH.replace(b"/", b"//")), 404),
    ("dots", target(b"/cvmfs/x/.." + PATH.removeprefix(b"/cvmfs")), 404),
    ("dots in absolute form", target(b"http://x/x/.." + PATH), 404),
    ("backslashes", target(PATH.replace(b"/", b"\\").replace(b"\\", b"/", 1)), 404),
    (
        "range of a HEAD (RFC 9110, 14.2)",
        line(b"HEAD " + PATH + b" HTTP/1.1\r\nRange: bytes=0-0"),
        200,
    ),
    ("range if it is still that one", headers(b'Range: bytes=0-0\r\nIf-Range: "x"\r\n'), 200),
    ("two ranges are no list", headers(b"Range: bytes=0-0\r\nRange: bytes=1-1\r\n"), 200),
    ("range", headers(b"Range: bytes=0-0\r\n"), 206),
]
