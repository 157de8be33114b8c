"""The fully qualified repository name: the one guard between a name and a path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirror.errors import FormatError

_MAX_LENGTH = 255
"""A directory is named after it, and a domain name is no longer."""

_LABELS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True, order=True)
class Fqrn:
    """A name like ``software.example.org``; safe to use as one path component.

    Raises:
        FormatError: for anything but dot-separated labels of letters, digits, ``-`` and ``_``,
            so neither ``..`` nor ``/`` nor a leading dot can ever reach a path.
    """

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > _MAX_LENGTH or not _LABELS.fullmatch(self.name):
            raise FormatError(
                f"{self.name[:_MAX_LENGTH]!r} is no repository name: expected labels of letters, "
                "digits, '-' and '_' separated by single dots, like software.example.org"
            )

    def __str__(self) -> str:
        return self.name
