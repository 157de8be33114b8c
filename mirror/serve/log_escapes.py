r"""What strangers wrote, made safe for a line of a log.

Whatever a client sends, it can neither begin a line nor end a quoted field: bytes that are not
printable ASCII, quotes and backslashes are written as ``\xHH``, as nginx does. Nearly no request
needs that, so the question is asked of all lines of a batch at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

MAX_LINE_BYTES: Final = 8192
"""Of a request line, in a log. The server takes no longer ones, unless it is told to."""
MAX_FIELD_BYTES: Final = 1024
"""Of any other field. With everything escaped, the longest line has less than 64 KiB."""
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))
_PLAIN_BUT_SPACE: Final = _PLAIN.replace(b" ", b"")
_QUOTED: Final = {byte: f"\\x{byte:02X}" for byte in range(256) if byte not in _PLAIN}
_IN_URL: Final = {byte: f"%{byte:02X}" for byte in range(256) if byte not in _PLAIN_BUT_SPACE}


def plain_lines(lines: Sequence[bytes]) -> list[str] | None:
    """Request lines that are ``METHOD TARGET PROTOCOL`` and need no escaping; None if one is not.

    One call for all of them takes a third of the time of one for each.
    """
    joined = b"\n".join(lines)
    if joined.translate(None, _PLAIN_BUT_SPACE) != b"  \n" * (len(lines) - 1) + b"  ":
        return None
    has_nothing_between = b"  " in joined or b"\n " in joined or b" \n" in joined
    if has_nothing_between or joined[:1] == b" " or joined[-1:] == b" ":
        return None
    if max(map(len, lines)) > MAX_LINE_BYTES:
        return None
    return joined.decode("ascii").split("\n")


def raw(text: str) -> bytes:
    """A header as it came: what was not UTF-8 is hidden in surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def quoted(value: bytes, most: int = MAX_FIELD_BYTES) -> str:
    """For between quotes; a dash for nothing."""
    return value[:most].decode("latin-1").translate(_QUOTED) or "-"


def in_url(value: bytes) -> str:
    """For between spaces, as squid writes them; a dash for nothing."""
    return value[:MAX_LINE_BYTES].decode("latin-1").translate(_IN_URL) or "-"


def in_json(value: bytes, most: int = MAX_FIELD_BYTES) -> str:
    r"""A JSON string with its quotes; bytes that are not UTF-8 become ``\xHH`` in it."""
    text = json.dumps(value[:most].decode("utf-8", "backslashreplace"))
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON lets through


def parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Method, target and protocol of whatever a client sent as a request line."""
    method, _, rest = line.partition(b" ")
    target, separator, protocol = rest.rpartition(b" ")
    return (method, target, protocol) if separator else (method, rest, b"")
