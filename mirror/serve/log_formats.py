"""Records of requests as lines of an access log. Pure: records in, bytes out.

    combined   what Apache and nginx call so, with nginx's escapes, in local time
    json       an object per line, in UTC
    squid      squid's native format

All records of a call get one time, that at which they were gathered: a quarter of a second after
the first of them at most. Each record gives exactly one line, whatever its client sent.

Bytes are those of the body, in squid's format too, whose own count has the headers in it: what is
written to the socket at once is not counted apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Final

from mirror.serve.content import Outcome
from mirror.serve.ledger import KINDS, OUTCOMES, Served
from mirror.serve.log_escapes import (
    MAX_LINE_BYTES,
    in_json,
    in_url,
    parts,
    plain_lines,
    quoted,
    raw,
)
from mirror.serve.log_settings import FormatName
from mirror.serve.plain import Headers
from mirror.serve.resources import Kind

LogFormat = Callable[[float, Sequence[Served]], bytes]
"""Takes the time (seconds since 1970) and records; gives a line for each, with its newline."""

_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905 - legible


def combined(now: float, records: Sequence[Served]) -> bytes:
    """As Apache and nginx have it by that name."""
    lines = _lines([each.line for each in records], lambda line: quoted(line, MAX_LINE_BYTES))
    tails = _by_headers(records, _combined_tail)
    when = f" - - [{_local_time(now)}] "
    return "".join(
        [
            f'{each.peer or "-"}{when}"{line}" {each.status} {each.body_bytes} '
            f"{tails[id(each.headers)]}"
            for each, line in zip(records, lines, strict=True)
        ]
    ).encode("ascii")


def as_json(now: float, records: Sequence[Served]) -> bytes:
    """An object per line, its keys in the same order always."""
    lines = _lines([each.line for each in records], _json_request, _plain_json_request)
    tails = _by_headers(records, _json_tail)
    when = f'{{"time": "{_utc(now)}", "client": "'
    return "".join(
        [
            f'{when}{each.peer}", {line}, "status": {each.status}, "bytes": {each.body_bytes}, '
            f"{_JSON_ANSWERS[each.kind, each.outcome, each.is_whole]}"
            f"{f'{each.seconds:.6f}' if each.seconds else '0.0'}, {tails[id(each.headers)]}"
            for each, line in zip(records, lines, strict=True)
        ]
    ).encode("ascii")


def squid(now: float, records: Sequence[Served]) -> bytes:
    """As squid writes it by itself: ``time elapsed client code/status bytes method URL …``."""
    lines = _lines([each.line for each in records], _squid_request, _plain_squid_request)
    when = f"{now:.3f}"
    return "".join(
        [
            f"{when} {f'{each.seconds * 1000:6.0f}' if each.seconds else '     0'} "
            f"{each.peer or '-'} "
            f"{_SQUID_RESULTS[each.outcome, each.is_whole]}{each.status:03d} {each.body_bytes} "
            f"{line}{_SQUID_TAILS[each.kind if each.outcome is not _ERROR else Kind.OTHER]}"
            for each, line in zip(records, lines, strict=True)
        ]
    ).encode("ascii")


FORMATS: Final[Mapping[FormatName, LogFormat]] = MappingProxyType(
    {"combined": combined, "json": as_json, "squid": squid}
)

# --- what many records share ----------------------------------------------------------------------


def _lines(
    lines: list[bytes],
    escaped: Callable[[bytes], str],
    plain: Callable[[str], str] | None = None,
) -> list[str]:
    """What becomes of request lines; ``plain`` does it for one that is plain.

    Halves are tried where not all of them are, so that a stranger's odd line slows down but itself.
    """
    found = plain_lines(lines) if lines else []
    if found is not None:
        return found if plain is None else [plain(line) for line in found]
    if len(lines) == 1:
        return [escaped(lines[0])]
    half = len(lines) // 2
    return _lines(lines[:half], escaped, plain) + _lines(lines[half:], escaped, plain)


def _by_headers(records: Sequence[Served], make: Callable[[Headers], str]) -> dict[int, str]:
    """What is made of headers, once for all records that share them, by their identity.

    Their hash would take longer than to make it anew.
    """
    headers = {id(each.headers): each.headers for each in records}
    return {key: make(each) for key, each in headers.items()}


# --- combined -------------------------------------------------------------------------------------


def _combined_tail(headers: Headers) -> str:
    return f'"{quoted(raw(headers.referer))}" "{quoted(raw(headers.user_agent))}"\n'


def _local_time(now: float) -> str:
    """``10/Oct/2025:13:55:36 +0200``, in English whatever the locale."""
    at = time.localtime(now)
    return f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S %z', at)}"


# --- JSON -----------------------------------------------------------------------------------------

_JSON_ANSWERS: Final = {
    (kind, outcome, is_whole): f'"outcome": "{outcome}", "kind": "{kind}", '
    f'"complete": {"true" if is_whole else "false"}, "seconds": '
    for kind, outcome, is_whole in product(KINDS, OUTCOMES, (True, False))
}


def _plain_json_request(line: str) -> str:
    if line.startswith("GET ") and line.endswith(" HTTP/1.1"):  # half the time for nearly all
        return f'"method": "GET", "target": "{line[4:-9]}", "protocol": "HTTP/1.1"'
    method, target, protocol = line.split(" ")
    return f'"method": "{method}", "target": "{target}", "protocol": "{protocol}"'


def _json_request(line: bytes) -> str:
    method, target, protocol = (
        in_json(part, MAX_LINE_BYTES) for part in parts(line[:MAX_LINE_BYTES])
    )
    return f'"method": {method}, "target": {target}, "protocol": {protocol}'


def _json_tail(headers: Headers) -> str:
    referer, user_agent = in_json(raw(headers.referer)), in_json(raw(headers.user_agent))
    return f'"referer": {referer}, "user_agent": {user_agent}}}\n'


def _utc(now: float) -> str:
    """``2025-10-10T11:55:36.250Z``."""
    milliseconds = round(now * 1000)
    at = time.gmtime(milliseconds // 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', at)}.{milliseconds % 1000:03d}Z"


# --- squid ----------------------------------------------------------------------------------------

_ERROR: Final = Outcome.ERROR
_SQUID_CODES: Final = {
    Outcome.HIT_MEMORY: "TCP_MEM_HIT",
    Outcome.HIT_DISK: "TCP_HIT",
    Outcome.COALESCED: "TCP_CF_HIT",  # collapsed forwarding
    Outcome.STALE: "TCP_REFRESH_FAIL_HIT",
    Outcome.REVALIDATED: "TCP_REFRESH_UNMODIFIED",
    Outcome.MISS: "TCP_MISS",
    Outcome.BYPASS: "TCP_MISS",
    Outcome.ERROR: "NONE_NONE",  # nobody was asked for it, so it is no miss
}
_SQUID_RESULTS: Final = {
    (outcome, is_whole): f"{code}/" if is_whole else f"{code}_ABORTED/"
    for (outcome, code), is_whole in product(_SQUID_CODES.items(), (True, False))
}
_SQUID_TYPES: Final = {
    Kind.MANIFEST: "application/x-cvmfs",
    Kind.WHITELIST: "application/x-cvmfs",
    Kind.CATALOG: "application/octet-stream",
    Kind.OBJECT: "application/octet-stream",
    Kind.INFO: "application/json",
}
_SQUID_TAILS: Final = {kind: f" - HIER_NONE/- {_SQUID_TYPES.get(kind, '-')}\n" for kind in KINDS}
"""A mirror has no parents and asks nobody, so the hierarchy says nothing."""


def _plain_squid_request(line: str) -> str:
    return line[: line.rindex(" ")]


def _squid_request(line: bytes) -> str:
    method, target, _ = parts(line)
    return f"{in_url(method)} {in_url(target)}"
