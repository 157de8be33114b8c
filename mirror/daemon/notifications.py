"""The message that says that a repository has a new revision (contract B.14).

    {"version": 1, "timestamp": "21 Nov 2026 18:46:09", "type": "activity",
     "repository": "software.example.org", "manifest": "<base64 of the signed manifest>"}

A gateway sends it to its subscribers, and so do we after our own flip. It is read with care and
believed in nothing but that it may be time to look. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import KIB, MIB
from mirror.cvmfs.manifest import Manifest
from mirror.errors import FormatError

MAX_MESSAGE_BYTES: Final = 4 * MIB // 3 + 16 * KIB
"""A manifest of 1 MiB, which is the longest that counts, in base64, and what stands around it."""
MAX_SUBSCRIPTION_BYTES: Final = 4 * KIB
_VERSION: Final = 1
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that could be read.

    Attributes:
        fqrn: of which repository.
        manifest: its manifest, parsed but not verified.
    """

    fqrn: Fqrn
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for.

    Attributes:
        fqrn: messages about this repository.
        wants_heartbeats: comment lines now and then. Nobody gets them unasked: the reference client
            takes each line for a message and gives up.
    """

    fqrn: Fqrn
    wants_heartbeats: bool = False


def make_notification(fqrn: Fqrn, manifest: bytes, now: datetime) -> str:
    """One line; the date as the reference writes it, in UTC."""
    utc = now.astimezone(UTC)
    message = {
        "version": _VERSION,
        "timestamp": f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year} {utc:%H:%M:%S}",
        "type": "activity",
        "repository": fqrn.name,
        "manifest": base64.b64encode(manifest).decode("ascii"),
    }
    return json.dumps(message)


def parse_notification(raw: bytes) -> Notification:
    """Read a message; what it says beyond repository and manifest is ignored.

    Raises:
        FormatError: too long, not of that form, or repository and manifest do not fit.
    """
    fields = _fields(raw, MAX_MESSAGE_BYTES, "the message")
    if fields.get("type") != "activity":
        raise FormatError(f"the message is of type {_shown(fields.get('type'))}, not 'activity'")
    fqrn = _repository(fields)
    manifest = Manifest.parse(_decoded(fields.get("manifest")))
    if manifest.fqrn is not None and manifest.fqrn != fqrn:
        raise FormatError(f"the message is about {fqrn}, but its manifest is of {manifest.fqrn}")
    return Notification(fqrn, manifest)


def make_wish(wish: Wish) -> bytes:
    """The body of a subscription; a gateway ignores what it does not know."""
    fields: dict[str, object] = {"version": _VERSION, "repository": wish.fqrn.name}
    if wish.wants_heartbeats:
        fields["heartbeats"] = True
    return json.dumps(fields).encode()


def parse_wish(raw: bytes) -> Wish:
    """The inverse of `make_wish`.

    Raises:
        FormatError: too long, or not of that form.
    """
    fields = _fields(raw, MAX_SUBSCRIPTION_BYTES, "the subscription")
    return Wish(_repository(fields), fields.get("heartbeats") is True)


def _fields(raw: bytes, max_bytes: int, what: str) -> Mapping[str, object]:
    if len(raw) > max_bytes:
        raise FormatError(f"{what} has {len(raw)} bytes; at most {max_bytes} are read")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is no JSON") from error
    if not isinstance(fields, dict):
        raise FormatError(f"{what} is no JSON object")
    return fields


def _repository(fields: Mapping[str, object]) -> Fqrn:
    name = fields.get("repository")
    if not isinstance(name, str):
        raise FormatError("the field 'repository' is missing or no text")
    return Fqrn(name)


def _decoded(manifest: object) -> bytes:
    if not isinstance(manifest, str):
        raise FormatError("the field 'manifest' is missing or no text")
    try:
        return base64.b64decode(manifest, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("the field 'manifest' is no base64") from error


def _shown(value: object) -> str:
    return ascii(value)[:40]
