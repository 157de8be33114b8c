"""A whole signed repository in memory: publish to it, tamper with it, hand its files out.

    repository = Repository(keys)
    repository.publish({"": {"README": b"hello"}, "/app": {"tool": b"…"}}, tag="v1")
    repository.files[".cvmfspublished"]      # as a web server would send it
    repository.resign(S="7")                 # the publisher lies, and signs it
    repository.flip(".cvmfswhitelist", 20)   # somebody on the way lies

`Repository.publish` writes what a Stratum 0 writes: objects, chunks, catalogs from the leaves up
(those that did not change keep their hash), history, meta info, certificate, whitelist, manifest.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.history import Tag
from mirror.cvmfs.manifest import ROOT_PATH_MD5
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, WHITELIST, object_path
from mirror.trust.trusted_ensemble import TrustAnchor
from tests.support.databases import (
    Chunk,
    Entry,
    Flag,
    Mount,
    catalog_database,
    history_database,
)
from tests.support.keys import Keys, letter

Tree = Mapping[str, Mapping[str, bytes]]
"""Mount point of a catalog (``""``: the root's) → path below it → content."""

FIRST_PUBLISHED: Final = datetime(2026, 1, 1, tzinfo=UTC)
FAR_FUTURE: Final = datetime(2099, 1, 1, tzinfo=UTC)
_SECONDS_BETWEEN_REVISIONS: Final = 60


@dataclass(frozen=True, slots=True)
class Revision:
    """What one publication made.

    Attributes:
        number: field S.
        root: the root catalog.
        root_bytes: its unpacked size.
        paths: every object that a whole replica of this revision has; no root files.
    """

    number: int
    root: ContentHash
    root_bytes: int
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Catalog:
    """A catalog as published, to be kept while its ingredients stay the same."""

    ingredients: object
    mount: Mount
    paths: frozenset[str]


class Repository:
    """A repository as it lies on a Stratum 0.

    Attributes:
        files: path below the repository → bytes; change it at will.
        revisions: what was published, oldest first.
        tags: by name; after a change, `sign` publishes them as a new history.
        timestamp: when it was published last, Unix time.
    """

    def __init__(
        self,
        keys: Keys,
        fqrn: str = "test.example.org",
        *,
        algorithm: Algorithm = Algorithm.SHA1,
        is_packed: bool = True,
        chunk_bytes: int = 1024 * 1024,
    ) -> None:
        """Begin an empty one; nothing is there before the first `publish`.

        Args:
            keys: whose.
            fqrn: its name.
            algorithm: hashes all objects, letters and fingerprints.
            is_packed: whether file contents are compressed; all else always is.
            chunk_bytes: larger files are cut in pieces of this size.
        """
        self.keys = keys
        self.fqrn = Fqrn(fqrn)
        self.algorithm = algorithm
        self.is_packed = is_packed
        self.chunk_bytes = chunk_bytes
        self.files: dict[str, bytes] = {}
        self.revisions: list[Revision] = []
        self.tags: dict[str, Tag] = {}
        self.timestamp = int(FIRST_PUBLISHED.timestamp())
        self._catalogs: dict[str, _Catalog] = {}

    @classmethod
    def from_directory(cls, directory: Path, keys: Keys, fqrn: str) -> Self:
        """Take an existing one, to serve it or tamper with it; `publish` would begin anew."""
        repository = cls(keys, fqrn)
        repository.files = {
            str(file.relative_to(directory)): file.read_bytes()
            for file in directory.rglob("*")
            if file.is_file()
        }
        return repository

    def write_to(self, directory: Path) -> None:
        """Lay the files out as a web server or another program wants them."""
        for path, content in self.files.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    @property
    def anchor(self) -> TrustAnchor:
        """What somebody who trusts this repository's master key would configure."""
        return TrustAnchor(self.fqrn, self.keys.master_keys)

    # --- publish ------------------------------------------------------------------------------

    def publish(
        self,
        tree: Tree,
        *,
        tag: str | None = None,
        entries: Mapping[str, Sequence[Entry]] | None = None,
        bind_mountpoints: Mapping[str, Sequence[Mount]] | None = None,
    ) -> Revision:
        """Publish a tree as the next revision; catalogs nest by the longest prefix.

        Args:
            tree: the whole content; what is missing in it is removed from the repository.
            tag: a name for the revision.
            entries: more entries (external files, …) by the mount point of their catalog.
            bind_mountpoints: the same for bind mount points.
        """
        self.timestamp += _SECONDS_BETWEEN_REVISIONS
        catalogs: dict[str, _Catalog] = {}
        for mount in sorted({"", *tree}, key=lambda mount: mount.count("/"), reverse=True):
            nested = {m: c for m, c in catalogs.items() if _parent(m, tree) == mount}
            catalogs[mount] = self._publish_catalog(
                mount,
                tree.get(mount, {}),
                nested,
                tuple((entries or {}).get(mount, ())),
                tuple((bind_mountpoints or {}).get(mount, ())),
            )
        self._catalogs = catalogs
        root = catalogs[""]
        number = len(self.revisions) + 1
        if tag is not None:
            self.tags[tag] = Tag(tag, root.mount.hash, number, self.timestamp, f"tag {tag}")
        self.revisions.append(Revision(number, root.mount.hash, root.mount.size, root.paths))
        self.sign()
        return self.revisions[-1]

    def sign(self) -> None:
        """Write history, meta info, certificate, whitelist and manifest for the last revision."""
        last = self.revisions[-1]
        history = self.add_history(self.tags.values()) if self.tags else None
        named = {
            "X": self.add_object(self.keys.certificate, Suffix.CERTIFICATE),
            "H": history,
            "M": self.add_meta_info({"administrator": "A. Tester"}),
        }
        hashes = {key: content_hash for key, content_hash in named.items() if content_hash}
        paths = last.paths | {object_path(content_hash) for content_hash in hashes.values()}
        self.revisions[-1] = Revision(last.number, last.root, last.root_bytes, paths)
        fields = {
            "C": last.root.text,
            "B": str(last.root_bytes),
            "R": ROOT_PATH_MD5,
            "D": "240",
            "S": str(last.number),
            "G": "yes",
            "A": "no",
            "N": self.fqrn.name,
            "T": str(self.timestamp),
        }
        self.write_manifest(
            fields | {key: content_hash.text for key, content_hash in hashes.items()}
        )
        self.write_whitelist()
        self.files[MASTER_REPLICA] = b""

    # --- single pieces ------------------------------------------------------------------------

    def add_object(
        self,
        content: bytes,
        suffix: Suffix = Suffix.NONE,
        *,
        is_packed: bool = True,
        algorithm: Algorithm | None = None,
    ) -> ContentHash:
        """Store an object; its hash is over the bytes as stored."""
        stored = zlib.compress(content) if is_packed else content
        name = ContentHash.of(self.algorithm if algorithm is None else algorithm, stored, suffix)
        self.files[object_path(name)] = stored
        return name

    def add_catalog(self, database: bytes) -> ContentHash:
        """Store a catalog made by `catalog_database`, honest or not."""
        return self.add_object(database, Suffix.CATALOG)

    def add_history(self, tags: Iterable[Tag]) -> ContentHash:
        """Store a history."""
        return self.add_object(history_database(self.fqrn.name, tags), Suffix.HISTORY)

    def add_meta_info(self, content: object) -> ContentHash:
        """Store meta information."""
        return self.add_object(json.dumps(content).encode(), Suffix.META_INFO)

    def write_manifest(self, fields: Mapping[str, str], *, keys: Keys | None = None) -> None:
        """Sign and store a manifest of these fields, in this order."""
        text = "".join(f"{key}{value}\n" for key, value in fields.items())
        sign = (keys or self.keys).sign_manifest
        self.files[MANIFEST] = letter(text.encode(), self.algorithm, sign)

    def write_whitelist(
        self,
        *,
        expires_at: datetime = FAR_FUTURE,
        fqrn: str | None = None,
        lines: Sequence[str] | None = None,
        keys: Keys | None = None,
    ) -> None:
        """Sign and store a whitelist; ``lines`` stand in for our certificate's fingerprint."""
        listed = [str(self.keys.fingerprint(self.algorithm))] if lines is None else lines
        head = [f"{FIRST_PUBLISHED:%Y%m%d%H%M%S}", f"E{expires_at:%Y%m%d%H%M%S}"]
        text = "\n".join([*head, f"N{fqrn or self.fqrn}", *listed, ""])
        sign = (keys or self.keys).sign_whitelist
        self.files[WHITELIST] = letter(text.encode(), self.algorithm, sign)

    # --- tamper -------------------------------------------------------------------------------

    def resign(self, keys: Keys | None = None, /, **changes: str | None) -> None:
        """Sign the manifest anew with other fields, ``resign(S="3", H=None)``; None removes."""
        text = self.files[MANIFEST].partition(b"\n--\n")[0].decode()
        fields = {line[0]: line[1:] for line in text.split("\n")} | changes
        self.write_manifest({k: v for k, v in fields.items() if v is not None}, keys=keys)

    def flip(self, path: str, index: int = -1, bit: int = 1) -> None:
        """Flip a bit of the byte at ``index``."""
        content = bytearray(self.files[path])
        content[index] ^= bit
        self.files[path] = bytes(content)

    def drop(self, path: str) -> None:
        """Lose a file."""
        del self.files[path]

    def collect(self) -> None:
        """Collect garbage: keep the objects of the last revision and of tagged ones only."""
        tagged = {tag.root_catalog for tag in self.tags.values()}
        kept = [revision for revision in self.revisions if revision.root in tagged]
        needed = self.revisions[-1].paths.union(*(revision.paths for revision in kept))
        for path in [path for path in self.files if path.startswith("data/")]:
            if path not in needed:
                self.drop(path)

    # --- one catalog --------------------------------------------------------------------------

    def _publish_catalog(
        self,
        mount: str,
        contents: Mapping[str, bytes],
        nested: Mapping[str, _Catalog],
        more: tuple[Entry, ...],
        binds: tuple[Mount, ...],
    ) -> _Catalog:
        """The catalog of one mount point; the one before, if nothing in it or below changed."""
        mounts = [catalog.mount for catalog in nested.values()]
        ingredients = (dict(contents), mounts, more, binds)
        before = self._catalogs.get(mount)
        if before and mount and before.ingredients == ingredients:
            return before
        files = [self._add_file(f"{mount}/{name}", content) for name, content in contents.items()]
        leaves = [*(entry.path for entry in files), *nested]
        entries = [*_directories(mount, leaves, nested), *files, *more]
        database = catalog_database(
            entries,
            nested=mounts,
            bind_mountpoints=binds,
            root_prefix=mount,
            revision=len(self.revisions) + 1,
            last_modified=self.timestamp,
            previous=before.mount.hash if before else None,
        )
        name = self.add_catalog(database)
        own = [name, *(c.hash for e in files for c in e.chunks), *(e.hash for e in files if e.hash)]
        paths = frozenset(map(object_path, own)).union(*(c.paths for c in nested.values()))
        return _Catalog(ingredients, Mount(mount, name, len(database)), paths)

    def _add_file(self, path: str, content: bytes) -> Entry:
        style = (self.algorithm, self.is_packed)
        if len(content) <= self.chunk_bytes:
            name = self.add_object(content, is_packed=self.is_packed)
            return Entry(path, Flag.FILE, name, len(content), (), *style)
        chunks = []
        for offset in range(0, len(content), self.chunk_bytes):
            piece = content[offset : offset + self.chunk_bytes]
            name = self.add_object(piece, Suffix.PARTIAL, is_packed=self.is_packed)
            chunks.append(Chunk(offset, len(piece), name))
        return Entry(path, Flag.FILE | Flag.CHUNKED, None, len(content), tuple(chunks), *style)


def _parent(mount: str, tree: Tree) -> str | None:
    """The catalog that ``mount`` is nested in: the longest mount point above it."""
    above = [other for other in {"", *tree} if mount.startswith(f"{other}/")]
    return max(above, key=len, default=None)


def _directories(mount: str, leaves: Sequence[str], nested: Iterable[str]) -> list[Entry]:
    """Entries of the mount point, of every folder on the way to a leaf, and of ``nested``."""
    folders = set()
    for leaf in leaves:
        folder = leaf.rpartition("/")[0]
        while len(folder) > len(mount):
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    root = Flag.DIRECTORY | Flag.NESTED_ROOT if mount else Flag.DIRECTORY
    entries = [Entry(mount, root), *(Entry(folder, Flag.DIRECTORY) for folder in sorted(folders))]
    return entries + [Entry(path, Flag.DIRECTORY | Flag.NESTED_MOUNT) for path in nested]
