"""Which texts are worth a look-up: pure.

The reference asks its resolver for whatever stands in a request, even for the UUID that a client
without a proxy sends. Here a text is an address, or looks like a name, or is left alone.
"""

from __future__ import annotations

import re
import socket
from typing import Final

_MAX_CHARACTERS: Final = 256
_ALLOWED: Final = re.compile(r"[0-9a-zA-Z.:-]+", re.ASCII)
_LABEL: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?", re.ASCII)


def address_of(text: str) -> str | None:
    """The address that a text is, in its usual spelling; None if it is none.

    Also ``1.2`` and ``0x7f000001`` are addresses, to a resolver and to the reader of databases.
    """
    if len(text) > _MAX_CHARACTERS or not _ALLOWED.fullmatch(text):
        return None
    try:
        if ":" in text:
            return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
        return socket.inet_ntop(socket.AF_INET, socket.inet_aton(text))
    except OSError:
        return None


def unmapped(address: str) -> str:
    """An IPv4 address that a socket for both families writes as ``::ffff:192.0.2.1``, itself."""
    return address.removeprefix("::ffff:") if "." in address else address


def is_worth_a_look(text: str) -> bool:
    """Whether a text has a domain, or is an address; newer references ask that, too (#3920)."""
    return "." in text or ":" in text


def is_host_name(text: str) -> bool:
    """Whether somebody could have given a host this name."""
    if len(text) > _MAX_CHARACTERS or not is_worth_a_look(text):
        return False
    return all(map(_LABEL.fullmatch, text.removesuffix(".").split(".")))
