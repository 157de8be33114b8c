"""What members tell each other, as values and as JSON.

    {"sender": "a", "group": "5f0c…", "is_new": false, "silence_s": {"b": 0.4, "c": 61.0},
     "repositories": {"software.example.org": [7, 1767225600, 6, 1767222000, 7, 1767225600]}}

The numbers of a repository are revision and time of signing: of its floor, of what is served, and
of what is ready to be served. The same message is request and answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError

MAX_MESSAGE_BYTES: Final = 1024 * 1024
_MAX_NUMBER: Final = 2**64 - 1


class Version(NamedTuple):
    """What clients compare: the order of a repository's manifests."""

    revision: int
    published_at: int

    def __str__(self) -> str:
        return f"revision {self.revision}"


NOTHING: Final = Version(-1, 0)
"""Older than everything."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One repository at one member.

    Attributes:
        floor: nobody in the group may serve anything older.
        served: what its root files are.
        ready: the newest that it could serve; all objects are there.
    """

    floor: Version = NOTHING
    served: Version = NOTHING
    ready: Version = NOTHING


@dataclass(frozen=True, slots=True)
class Message:
    """What one member says.

    Attributes:
        sender: who.
        group: which; those of another table of members do not understand each other.
        is_new: it has no memory yet, so its word does not count towards a majority.
        silence_s: how long ago it last answered each of the others.
        repositories: by name.
    """

    sender: str
    group: str
    is_new: bool
    silence_s: Mapping[str, float] = field(default_factory=dict)
    repositories: Mapping[str, Standing] = field(default_factory=dict)


def dump_message(message: Message) -> bytes:
    """As JSON."""
    repositories = {
        name: [*each.floor, *each.served, *each.ready]
        for name, each in message.repositories.items()
    }
    document = {
        "sender": message.sender,
        "group": message.group,
        "is_new": message.is_new,
        "silence_s": dict(message.silence_s),
        "repositories": repositories,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def parse_message(raw: bytes) -> Message:
    """From JSON.

    Raises:
        FormatError: it is no message.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"a group's message is not JSON: {str(error)[:80]}") from error
    if not isinstance(document, dict):
        raise FormatError("a group's message is a JSON object")
    silence_s = _table(document, "silence_s")
    repositories = _table(document, "repositories")
    return Message(
        sender=_text(document, "sender"),
        group=_text(document, "group"),
        is_new=document.get("is_new") is not False,
        silence_s={name: _seconds(value) for name, value in silence_s.items()},
        repositories={Fqrn(name).name: _standing(each) for name, each in repositories.items()},
    )


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or len(value) > 100:
        raise FormatError(f"a group's message: {key} is no short text")
    return value


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise FormatError(f"a group's message: {key} is no object")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError("a group's message: silence_s has something that is no number")
    if not (math.isfinite(value) and 0 <= value <= _MAX_NUMBER):
        raise FormatError("a group's message: silence_s has something that is no time")
    return float(value)


def _standing(value: object) -> Standing:
    """Raises FormatError unless it is six numbers."""
    if not isinstance(value, list) or len(value) != 6:
        raise FormatError("a group's message: a repository has six numbers")
    for each in value:
        if not isinstance(each, int) or isinstance(each, bool) or not -1 <= each <= _MAX_NUMBER:
            raise FormatError("a group's message: a repository has something that is no number")
    return Standing(*(Version(*value[at : at + 2]) for at in (0, 2, 4)))
