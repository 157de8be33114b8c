"""One request, one line, whatever a client sends."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.serve.content import Outcome
from mirror.serve.ledger import Served
from mirror.serve.log_escapes import MAX_FIELD_BYTES, MAX_LINE_BYTES, raw
from mirror.serve.log_formats import FORMATS, as_json, combined, squid
from mirror.serve.log_settings import FormatName
from mirror.serve.log_targets import MAX_WRITE_BYTES
from mirror.serve.plain import Headers
from mirror.serve.resources import Kind
from tests.support.requests import OBJECT_LINE, request

NOW = 1_700_000_000.25
_SAFE = r"(?:[ !#-\[\]-~]|\\x[0-9A-F]{2})+"
COMBINED = re.compile(
    rf'[0-9a-f.:]+ - - \[\d\d/[A-Z][a-z]{{2}}/\d{{4}}:\d\d:\d\d:\d\d [+-]\d{{4}}\] "({_SAFE})" '
    rf'(\d{{3}}) (\d+) "({_SAFE})" "({_SAFE})"\n'
)
SQUID = re.compile(
    r"\d+\.\d{3} +\d+ [0-9a-f.:]+ [A-Z_]+/\d{3} \d+ ([!#-\[\]-~]+) ([!#-\[\]-~]+) - HIER_NONE/- "
    r"[a-z/-]+\n"
)

hostile = st.binary(max_size=60) | st.sampled_from(
    [b"", b"\n", b'" 200 1 "-" "-"\n1.2.3.4 - - [', b"\\", b"GET / HTTP/1.1", b"\xff\xfe", b"  "]
)
plain = st.from_regex(rb"GET /[a-z.]{1,20} HTTP/1\.[01]", fullmatch=True)
texts = st.text(max_size=40) | hostile.map(lambda raw: raw.decode("utf-8", "surrogateescape"))
requests = st.builds(
    request,
    plain | hostile,
    peer=st.sampled_from(["192.0.2.7", "2001:db8::1"]),
    headers=st.builds(Headers, texts, texts),
    status=st.integers(100, 599),
    body_bytes=st.integers(0, 2**40),
    outcome=st.sampled_from(Outcome),
    kind=st.sampled_from(Kind),
    seconds=st.floats(0, 1e6),
    is_whole=st.booleans(),
)


def unquoted(text: str) -> bytes:
    """What a client sent, from what combined logs have of it; a dash for nothing stays one."""
    found = re.sub(r"\\x(..)", lambda match: chr(int(match[1], 16)), text)
    return found.encode("latin-1")


def legible(value: bytes) -> str:
    """As JSON has what a client sent."""
    return value.decode("utf-8", "backslashreplace")


def expected(served: Served) -> dict[str, Any]:
    """What the JSON of a record has to hold, but for its request line."""
    return {
        "time": "2023-11-14T22:13:20.250Z",
        "client": served.peer,
        "status": served.status,
        "bytes": served.body_bytes,
        "outcome": served.outcome.value,
        "kind": served.kind.value,
        "complete": served.is_whole,
        "seconds": round(served.seconds, 6),
        "referer": legible(raw(served.headers.referer)),
        "user_agent": legible(raw(served.headers.user_agent)),
    }


@given(st.lists(requests, max_size=5))
@example([request(bytes(range(256)), headers=Headers("\x7f\x1b\x9b", "\u2028\ud800"))])
@pytest.mark.parametrize("name", FORMATS)
def test_each_request_gives_one_line(name: FormatName, records: list[Served]) -> None:
    """Of printable ASCII, so that nobody can forge one or move a reader's cursor."""
    text = FORMATS[name](NOW, records)
    assert text.count(b"\n") == len(records) == len(text.splitlines())
    assert set(text) <= {*range(0x20, 0x7F), 0x0A}


@given(st.lists(requests, max_size=5))
def test_combined_lines_say_what_was_sent(records: list[Served]) -> None:
    """A strict reader finds every field, and gets back the very bytes."""
    lines = combined(NOW, records).decode().splitlines(keepends=True)
    for line, served in zip(lines, records, strict=True):
        found = COMBINED.fullmatch(line)
        assert found is not None, line
        assert (int(found[2]), int(found[3])) == (served.status, served.body_bytes)
        sent = [served.line, raw(served.headers.referer), raw(served.headers.user_agent)]
        assert [unquoted(found[at]) for at in (1, 4, 5)] == [each or b"-" for each in sent]


@given(st.lists(requests, max_size=5))
def test_json_lines_hold_the_same_values(records: list[Served]) -> None:
    """Every field comes back; the parts of a request line make that line again."""
    for line, served in zip(as_json(NOW, records).splitlines(), records, strict=True):
        found = json.loads(line)
        words = [found.pop(key) for key in ("method", "target", "protocol")]
        assert found == expected(served)
        assert " ".join(words).rstrip(" ") == legible(served.line).rstrip(" ")


@given(st.lists(requests, max_size=5))
def test_squid_lines_have_ten_words(records: list[Served]) -> None:
    """Whatever is in a URL; spaces are written as squid writes them."""
    lines = squid(NOW, records).decode().splitlines(keepends=True)
    assert all(SQUID.fullmatch(line) for line in lines), lines


@given(st.lists(requests, min_size=1, max_size=5))
@example([request(), request(b"\n"), request()])
@pytest.mark.parametrize("name", FORMATS)
def test_neighbours_change_nothing(name: FormatName, records: list[Served]) -> None:
    """The quick way for a whole batch writes what the slow one writes for each."""
    layout = FORMATS[name]
    assert layout(NOW, records) == b"".join(layout(NOW, [each]) for each in records)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sent", [b"\x00", b"\xff", b'"', b"a"])
def test_the_longest_line_fits_into_a_write(name: FormatName, sent: bytes) -> None:
    """With everything escaped; what is too long is cut off."""
    text = (sent * 20_000).decode("utf-8", "surrogateescape")
    served = request(sent * 100_000, headers=Headers(text, text))
    line = FORMATS[name](NOW, [served])
    assert MAX_LINE_BYTES < len(line) < MAX_WRITE_BYTES
    assert line.count(b"\n") == 1


def test_plain_lines_are_cut_too() -> None:
    """And headers with them."""
    served = request(b"GET /%s HTTP/1.1" % (b"a" * 9000), headers=Headers("b" * 2000, ""))
    found = COMBINED.fullmatch(combined(NOW, [served]).decode())
    assert found is not None
    assert (len(found[1]), len(found[5])) == (MAX_LINE_BYTES, MAX_FIELD_BYTES)


def test_combined_is_what_log_readers_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format of Apache and nginx."""
    monkeypatch.setattr("time.localtime", __import__("time").gmtime)
    assert combined(NOW, [request(headers=Headers("curl/8", "http://a.example/"))]) == (
        b'192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "%s" 200 4096 "http://a.example/" "curl/8"\n'
        % OBJECT_LINE
    )


@pytest.mark.parametrize(
    ("outcome", "is_whole", "result"),
    [
        (Outcome.HIT_MEMORY, True, "TCP_MEM_HIT"),
        (Outcome.HIT_DISK, True, "TCP_HIT"),
        (Outcome.COALESCED, True, "TCP_CF_HIT"),
        (Outcome.STALE, True, "TCP_REFRESH_FAIL_HIT"),
        (Outcome.REVALIDATED, True, "TCP_REFRESH_UNMODIFIED"),
        (Outcome.MISS, True, "TCP_MISS"),
        (Outcome.MISS, False, "TCP_MISS_ABORTED"),
        (Outcome.HIT_DISK, False, "TCP_HIT_ABORTED"),
        (Outcome.BYPASS, True, "TCP_MISS"),
    ],
)
def test_squid_names_outcomes_its_way(outcome: Outcome, is_whole: bool, result: str) -> None:
    """As its analysers know them."""
    served = request(outcome=outcome, is_whole=is_whole, seconds=1.5)
    assert squid(NOW, [served]).decode() == (
        f"1700000000.250   1500 192.0.2.7 {result}/200 4096 GET "
        "/cvmfs/test.example.org/data/ab/cdef - HIER_NONE/- application/octet-stream\n"
    )


def test_an_error_has_no_type_of_an_object() -> None:
    """Its body is a message."""
    served = request(outcome=Outcome.ERROR, status=404, body_bytes=15)
    line = squid(NOW, [served]).decode()
    assert " NONE_NONE/404 15 GET " in line
    assert line.endswith(" - HIER_NONE/- -\n")
