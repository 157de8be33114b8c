"""The history, object …H: the repository's tags as an SQLite file (contract B.8)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, Row, hash_text, integer, text
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.errors import FormatError, NameMismatch

_TABLES: Final = frozenset({"tags", "properties"})
_WHAT: Final = "the history"


@dataclass(frozen=True, slots=True)
class Tag:
    """A named revision.

    Attributes:
        name: as the publisher called it.
        root_catalog: its root.
        revision: its number.
        timestamp: when it was made, Unix time.
        description: in the publisher's words.
        root_bytes: size of the root, unpacked; None where the schema did not keep it.
    """

    name: str
    root_catalog: ContentHash
    revision: int
    timestamp: int
    description: str
    root_bytes: int | None = None


def read_history(content: bytes | Path, fqrn: Fqrn, limits: Limits | None = None) -> list[Tag]:
    """List the tags of an unpacked history, newest revision first.

    Raises:
        FormatError: not a history, or more tags than the limit.
        NameMismatch: the history of another repository.
    """
    limits = limits or Limits()
    with HostileDatabase(content, _WHAT, wants=_TABLES) as database:
        if "tags" not in database.columns:
            raise FormatError(f"{_WHAT} has no table 'tags'")
        name = database.properties().get("fqrn", fqrn.name)
        if name != fqrn.name:
            raise NameMismatch(f"{_WHAT} belongs to {name!r:.120}, not to {fqrn}")
        tags = []
        size = "size" if "size" in database.columns["tags"] else "NULL"
        for row in database.rows(
            f"SELECT name, hash, revision, timestamp, description, {size} FROM tags"  # noqa: S608 - two literals
        ):
            tags.append(_tag(row))
            if len(tags) > limits.tags:
                raise FormatError(f"{_WHAT} has more than {limits.tags} tags, the limit for them")
    return sorted(tags, key=lambda tag: (-tag.revision, tag.name))


def _tag(row: Row) -> Tag:
    name, digits, revision, timestamp, description, size = row
    root_bytes = integer(size, f"{_WHAT}: a tag's size")
    return Tag(
        name=text(name, f"{_WHAT}: a tag's name"),
        root_catalog=hash_text(digits, f"{_WHAT}: a tag's hash", Suffix.CATALOG),
        revision=integer(revision, f"{_WHAT}: a tag's revision"),
        timestamp=integer(timestamp, f"{_WHAT}: a tag's time"),
        description=""
        if description is None
        else text(description, f"{_WHAT}: a tag's description"),
        root_bytes=root_bytes if root_bytes > 0 else None,
    )
