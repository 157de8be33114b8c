"""Catalogs, object …C: directory trees as SQLite files (contract B.7).

A replica needs little of one: which objects it refers to, which catalogs are nested in it, and
which came before it. Bind mount points and external files belong to others and are never followed.

Schemas 0.9 to 2.5: an absent table or column is one that this age did not have yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mirror.cvmfs.content_hash import DIGEST_BYTES, Algorithm, ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, Row, hash_text, integer, text
from mirror.cvmfs.limits import Limits
from mirror.errors import FormatError

_TABLES: Final = frozenset({"catalog", "chunks", "nested_catalogs", "properties"})
_OLDEST_SCHEMA: Final = 0.9
_NEWEST_SCHEMA: Final = 2.5
_ROUNDING: Final = 0.05
"""Schemas are stored as printed floats; the reference compares with some play too."""

_FLAG_DIRECTORY: Final = 1
_FLAG_EXTERNAL: Final = 128
_ALGORITHM_SHIFT: Final = 8
_COMPRESSION_SHIFT: Final = 11
_THREE_BITS: Final = 7


_ENTRIES: Final = (
    "SELECT md5path_1, md5path_2, 0, hash, size, flags FROM catalog WHERE hash IS NOT NULL"
    " ORDER BY md5path_1, md5path_2"
)
_CHUNKS: Final = (
    "SELECT chunks.md5path_1, chunks.md5path_2, chunks.offset, chunks.hash, chunks.size,"
    " catalog.flags FROM chunks, catalog"
    " WHERE chunks.md5path_1 = catalog.md5path_1 AND chunks.md5path_2 = catalog.md5path_2"
    " ORDER BY chunks.md5path_1, chunks.md5path_2, chunks.offset"
)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object that a catalog refers to.

    Attributes:
        hash: its name.
        size_bytes: unpacked size, as the catalog states it.
        is_packed: whether its stored bytes are a zlib stream.
    """

    hash: ContentHash
    size_bytes: int
    is_packed: bool

    @property
    def max_stored_bytes(self) -> int:
        """What its stored bytes cannot exceed: zlib adds a little to what does not shrink.

        With room to spare, since grafted entries are known to state sizes loosely.
        """
        return 2 * self.size_bytes + 1024 * 1024


@dataclass(frozen=True, slots=True)
class NestedRef:
    """A nested catalog.

    Attributes:
        mount_point: where it begins, absolute, without a slash at the end.
        hash: its name.
        size_bytes: unpacked size; None where the schema did not keep it.
    """

    mount_point: str
    hash: ContentHash
    size_bytes: int | None


class Catalog:
    """One catalog, open for reading. Close it, or use it as a context manager.

    Attributes:
        mount_point: where it stands: ``""`` for a root catalog.
        revision: the repository's revision it was last written for.
        last_modified: the same as a Unix time.
        previous_revision: the catalog it replaced; None in a repository's first.
    """

    def __init__(
        self, content: bytes | Path, mount_point: str, what: str, limits: Limits | None = None
    ) -> None:
        """Open.

        Args:
            content: the unpacked SQLite file, or where it lies.
            mount_point: where the catalog was found; everything nested must lie below.
            what: its name, for errors.
            limits: how much to read.

        Raises:
            FormatError: not a catalog, or of a schema this program does not know.
        """
        self.mount_point = mount_point
        self._limits = limits or Limits()
        self._database = HostileDatabase(content, what, wants=_TABLES)
        try:
            if "catalog" not in self._database.columns:
                raise FormatError(f"{what} has no table 'catalog'")
            properties = self._database.properties()
            self._require_known_schema(properties)
            self.revision = _number(properties, "revision")
            self.last_modified = _number(properties, "last_modified")
            self.previous_revision = _previous(properties, what)
        except BaseException:
            self._database.close()
            raise

    def objects(self, before: Catalog | None = None) -> Iterator[ObjectRef]:
        """Objects of entries and chunks, repeated as often as they occur; none external.

        Args:
            before: an older catalog of the same place: entries that it has too are left out. One
                that turns out to be damaged leaves out nothing more.

        Raises:
            FormatError: a hash, size or flag that is none, or more of them than the limit.
        """
        count = 0
        for query, is_chunk in self._queries():
            older = iter(()) if before is None else before.rows(query, is_chunk=is_chunk)
            with closing(self._database.rows(query)) as rows:
                for _, _, _, digest, size, flags in _news(rows, older):
                    ref = self._object(digest, size, flags, is_chunk=is_chunk)
                    if ref is not None:
                        yield ref
                    count += 1
                    noun = "entries and chunks" if is_chunk else "entries"
                    self._require_few(count, self._limits.catalog_entries, noun)

    def rows(self, query: str, *, is_chunk: bool) -> Iterator[Row]:
        """What a later catalog compares its own rows with; they end where damage begins."""
        if not is_chunk or "chunks" in self._database.columns:
            with suppress(FormatError):
                yield from self._database.rows(query)

    def _queries(self) -> list[tuple[str, bool]]:
        """How entries, and chunks, are asked for in the order of their paths."""
        queries = [(_ENTRIES, False)]
        if "chunks" in self._database.columns:
            queries.append((_CHUNKS, True))
        return queries

    def nested_catalogs(self) -> list[NestedRef]:
        """The catalogs nested in this one; bind mount points have a table of their own.

        Raises:
            FormatError: a mount point that does not lie below this catalog's, or too many.
        """
        columns = self._database.columns.get("nested_catalogs")
        if not columns:
            return []
        size_column = "size" if "size" in columns else "NULL"
        nested = []
        for path, digits, size in self._database.rows(
            f"SELECT path, sha1, {size_column} FROM nested_catalogs"  # noqa: S608 - two literals
        ):
            nested.append(self._nested(path, digits, size))
            self._require_few(len(nested), self._limits.nested_catalogs, "nested catalogs")
        return nested

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _what(self) -> str:
        return self._database.what

    def _require_known_schema(self, properties: dict[str, str]) -> None:
        try:
            schema = float(properties.get("schema", "1.0"))
        except ValueError:
            schema = -1.0
        if not _OLDEST_SCHEMA - _ROUNDING < schema < _NEWEST_SCHEMA + _ROUNDING:
            raise FormatError(
                f"{self._what} has schema {properties.get('schema')!r:.40}; this version reads "
                f"{_OLDEST_SCHEMA} to {_NEWEST_SCHEMA}"
            )

    def _require_few(self, count: int, limit: int, noun: str) -> None:
        if count > limit:
            raise FormatError(f"{self._what} has more than {limit} {noun}, the limit for them")

    def _object(
        self, digest: object, size: object, flags: object, *, is_chunk: bool
    ) -> ObjectRef | None:
        """One row as a reference; None if it refers to nothing that is ours to keep."""
        if digest is None or digest == b"":
            return None  # a directory, or a file that is kept in chunks only
        bits = integer(flags, f"{self._what}: flags")
        if bits & _FLAG_EXTERNAL:
            return None
        if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
            raise FormatError(f"{self._what}: an entry's hash is not 20 bytes: {digest!r:.60}")
        size_bytes = integer(size, f"{self._what}: size")
        if size_bytes < 0:
            raise FormatError(f"{self._what}: an entry's size is {size_bytes}")
        number = bits >> _ALGORITHM_SHIFT & _THREE_BITS
        if number >= len(Algorithm):
            raise FormatError(f"{self._what}: an entry has the unknown hash algorithm {number}")
        if is_chunk:
            suffix = Suffix.PARTIAL
        elif bits & _FLAG_DIRECTORY:
            suffix = Suffix.MICRO_CATALOG
        else:
            suffix = Suffix.NONE
        return ObjectRef(
            ContentHash(Algorithm(number), digest, suffix),
            size_bytes,
            is_packed=bits >> _COMPRESSION_SHIFT & _THREE_BITS == 0,
        )

    def _nested(self, path: object, digits: object, size: object) -> NestedRef:
        mount_point = text(path, f"{self._what}: a mount point")
        inside = mount_point.removeprefix(self.mount_point)
        is_below = mount_point.startswith(self.mount_point) and inside.startswith("/")
        parts = inside[1:].split("/")
        is_clean = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
        if not is_below or not is_clean or len(mount_point) > self._limits.path_bytes:
            raise FormatError(
                f"{self._what}: the nested catalog at {mount_point!r:.120} does not lie below "
                f"{self.mount_point or '/'!r}"
            )
        size_bytes = integer(size, f"{self._what}: size of a nested catalog")
        return NestedRef(
            mount_point,
            hash_text(digits, f"{self._what}: a nested catalog's hash", Suffix.CATALOG),
            size_bytes if size_bytes > 0 else None,
        )


def _news(rows: Iterator[Row], older: Iterator[Row]) -> Iterator[Row]:
    """Rows that are not among the older ones; both in the order of their first three columns.

    Where they are not, or are no numbers, too many are news: that costs a look at the store.
    """
    old = next(older, None)
    for row in rows:
        try:
            while old is not None and old[:3] < row[:3]:
                old = next(older, None)
        except TypeError:
            old = None
        if row != old:
            yield row


def _number(properties: dict[str, str], key: str) -> int:
    value = properties.get(key, "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0


def _previous(properties: dict[str, str], what: str) -> ContentHash | None:
    value = properties.get("previous_revision", "")
    if not value:
        return None
    try:
        previous = ContentHash.parse(value, Suffix.CATALOG)
    except FormatError as error:
        raise FormatError(f"{what}: property previous_revision: {error}") from error
    return previous if any(previous.digest) else None  # all zeros is how publishers write "none"
