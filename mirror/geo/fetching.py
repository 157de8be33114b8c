"""A new database: fetched, checked, and put in place whole.

    checksum ─ same as of the one in place? ─► nothing to do
        │
    archive ─► temporary file ─► right checksum? ─► unpacked ─► sound? ─► synced ─► renamed

The checksum of what a database came in is kept beside it, ``<database>.sha256``. Who reads the
database sees the old one or the new one, never half of either.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from mirror.errors import Corrupted, FormatError, StoreUnavailable, printable
from mirror.geo.mmdb import Database
from mirror.geo.web import Web
from mirror.store.threads import in_thread

MAXMIND: Final = "https://download.maxmind.com/geoip/databases/{edition}/download?suffix=tar.gz"
_MAX_ARCHIVE_BYTES: Final = 1024**3
_MAX_DATABASE_BYTES: Final = 2 * 1024**3
_MAX_CHECKSUM_BYTES: Final = 4096
_HEX: Final = frozenset("0123456789abcdef")
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a database comes from.

    Attributes:
        url: of the database, or an archive with it: ``.mmdb``, ``.mmdb.gz``, ``.tar.gz``.
        checksum: SHA-256 of what is there, in hex, or the URL of a text that begins with it.
        user: name and password, for both; None where nobody asks for it.
    """

    url: str
    checksum: str
    user: tuple[str, str] | None = None

    @staticmethod
    def maxmind(account: str, licence_key: str, edition: str) -> Origin:
        """MaxMind's own server."""
        url = MAXMIND.format(edition=edition)
        return Origin(url, f"{url}.sha256", (account, licence_key))


async def checksum_of(origin: Origin, web: Web) -> str:
    """The SHA-256 that the origin's archive has to have.

    Raises:
        UpstreamError: it is not to be had.
    """
    text = origin.checksum
    if text.startswith(("http://", "https://")):
        raw = await web.text(text, origin.user, _MAX_CHECKSUM_BYTES)
        text = (raw.split() or [""])[0]
    text = text.strip().lower()
    if len(text) != 64 or not set(text) <= _HEX:
        raise Corrupted(f"{origin.checksum}: {printable(text[:80])!r} is no SHA-256 in hex")
    return text


def is_current(target: Path, checksum: str) -> bool:
    """Whether what is in place came in the archive of this checksum."""
    try:
        return target.exists() and _note(target).read_text("ascii").strip() == checksum
    except (OSError, UnicodeDecodeError):
        return False


async def fetch(
    origin: Origin, checksum: str, target: Path, web: Web, tell: Callable[[int, int | None], None]
) -> int:
    """Put a new database in place; gives when it was made, Unix time.

    Args:
        origin: where it is.
        checksum: of what is there.
        target: where it belongs.
        web: the way there.
        tell: takes the bytes that have come, and how many there will be if that is known.

    Raises:
        UpstreamError: it did not come, or with other bytes than the checksum says.
        FormatError: it is no sound database of places.
        StoreError: it cannot be kept.
    """
    with _translated(target):
        await in_thread(lambda: target.parent.mkdir(parents=True, exist_ok=True))
        with _temporary(target) as archive, _temporary(target) as database:
            digest = hashlib.sha256()

            def take(piece: bytes) -> None:
                digest.update(piece)
                archive.write(piece)

            await web.fetch(origin.url, origin.user, _MAX_ARCHIVE_BYTES, take, tell)
            if digest.hexdigest() != checksum:
                found = digest.hexdigest()
                raise Corrupted(f"{origin.url}: SHA-256 is {found}, and not {checksum}")
            return await in_thread(lambda: _install(archive, database, target, checksum))


def _install(archive: IO[bytes], database: IO[bytes], target: Path, checksum: str) -> int:
    archive.flush()
    _unpack(Path(archive.name), database)
    database.flush()
    os.fsync(database.fileno())
    built_at = Database.open(Path(database.name)).built_at
    Path(database.name).chmod(0o644)
    Path(database.name).replace(target)
    _note(target).write_text(f"{checksum}\n")
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return built_at


def _unpack(archive: Path, database: IO[bytes]) -> None:
    """The database in an archive, or the archive itself if it is one.

    Raises:
        FormatError: there is none, or it is too large.
    """
    with archive.open("rb") as file:
        is_packed = file.read(2) == _GZIP
    try:
        if not is_packed:
            with archive.open("rb") as file:
                _copy(file, database)
        elif tarfile.is_tarfile(archive):
            _from_tar(archive, database)
        else:
            with gzip.open(archive) as packed:
                _copy(packed, database)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"the archive is damaged: {error}") from error


def _from_tar(archive: Path, database: IO[bytes]) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".mmdb"):
                found = tar.extractfile(member)
                if found is not None:
                    _copy(found, database)
                    return
    raise FormatError("no .mmdb is in the archive")


def _copy(source: IO[bytes] | gzip.GzipFile, database: IO[bytes]) -> None:
    left = _MAX_DATABASE_BYTES
    while piece := source.read(1024 * 1024):
        left -= len(piece)
        if left < 0:
            raise FormatError(f"the database is larger than {_MAX_DATABASE_BYTES} bytes")
        database.write(piece)


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


@contextmanager
def _temporary(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target, gone afterwards unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        os.close(descriptor)
        with Path(name).open("wb") as file:
            yield file
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{target}: {error.strerror or error}") from error
