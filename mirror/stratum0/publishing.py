"""The flow: source → tree → catalogs → signatures.

    publication = Publication(repository, keys, options)
    report = publication.run(DirectorySource(path))

Whatever stops it leaves the published revision as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.errors import ConfigError
from mirror.stratum0.catalog_rows import pack_chunks, read_catalog, row_algorithm
from mirror.stratum0.catalogs import CatalogWriter, PublishedCatalog
from mirror.stratum0.entry import (
    CATALOG_MARKER,
    DIRECTORY,
    DIRTAB,
    ROOT,
    Stored,
    kind_flags,
    parent_of,
)
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.markers import (
    AUTOMATIC_MARKER,
    entries_by_directory,
    keep_markers,
    place_markers,
)
from mirror.stratum0.nesting import DEFAULT_LARGEST, Dirtab, split_by_size
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.packing import Packing
from mirror.stratum0.repository import Head, Stratum0Repository
from mirror.stratum0.source import Source, SourceEntry
from mirror.stratum0.tags import NamedRevision
from mirror.stratum0.tree import Changes, Row, Tree

_DIRECTORY_BYTES = 4096
_DIRECTORY_MODE = 0o40755

Progress = Callable[[int, int], None]
"""Hears how many entries, and how many bytes of content, were taken in so far."""


@dataclass(frozen=True, slots=True)
class PublicationOptions:
    """What an operator may ask for.

    Attributes:
        base: where the source's root goes: a path like ``b"/software/pkg"``, or the root.
        overlays: add to what is at ``base`` instead of replacing it.
        deletes: paths to remove first.
        tag: a name for the revision; None gives it an automatic one.
        message: the tag's description.
        packing: how contents become objects.
        is_garbage_collectable: whether old revisions may be swept; None leaves it as it is.
        largest_catalog: entries of one catalog, beyond which it is split.
    """

    base: bytes = ROOT
    overlays: bool = False
    deletes: tuple[bytes, ...] = ()
    tag: str | None = None
    message: str = ""
    packing: PackingOptions = field(default_factory=PackingOptions)
    is_garbage_collectable: bool | None = None
    largest_catalog: int = DEFAULT_LARGEST


@dataclass(frozen=True, slots=True)
class PublicationReport:
    """What a publication did.

    Attributes:
        revision: published now.
        root: its root catalog.
        was_unchanged: whether the content was the one published already.
        changes: entries added, changed, removed.
        written_catalogs: how many were.
        new_objects: stored because they were not there, catalogs included.
        new_bytes: as stored.
    """

    revision: int
    root: ContentHash
    was_unchanged: bool
    changes: Changes
    written_catalogs: int
    new_objects: int
    new_bytes: int


class Publication:
    """One publication; use it once, under the repository's lock."""

    def __init__(
        self,
        repository: Stratum0Repository,
        keys: PublisherKeys,
        options: PublicationOptions,
        progress: Progress = lambda _entries, _bytes: None,
    ) -> None:
        """Prepare; nothing happens until `run`."""
        self._repository = repository
        self._keys = keys
        self._options = options
        self._progress = progress

    def run(self, source: Source) -> PublicationReport:
        """Do it.

        Raises:
            ConfigError: the source cannot be read, or an option does not fit what is published.
            FormatError: the source, or what is published, is malformed.
            StoreError: it cannot be written.
        """
        self._repository.require_certificate(self._keys)
        manifest = self._repository.manifest()
        with Tree() as tree, Packing(self._repository.store, self._packing(manifest)) as packing:
            before = self._load(manifest, tree)
            self._take_in(source, tree, packing)
            packing.settle()
            changes = tree.changes()
            if manifest is not None and not changes and self._is_signed_as_wanted(manifest):
                return _report(manifest, changes, 0, packing, was_unchanged=True)
            writer = CatalogWriter(
                tree, before, now_after(manifest), lambda db: packing.store(db, Suffix.CATALOG)
            )
            root = before[ROOT]
            if manifest is None or changes:
                root = writer.write(self._marked_mounts(tree, packing, writer.now))[ROOT]
                packing.settle()
            head = self._head(manifest, root, writer.now)
            published = self._publish(manifest, head, packing)
            return _report(published, changes, writer.written, packing, was_unchanged=False)

    def _is_signed_as_wanted(self, manifest: Manifest) -> bool:
        collects = self._options.is_garbage_collectable
        return self._options.tag is None and collects in (None, manifest.is_garbage_collectable)

    # --- the steps --------------------------------------------------------------------------------

    def _packing(self, manifest: Manifest | None) -> PackingOptions:
        """The hash algorithm stays what it was: a repository has one."""
        if manifest is None:
            return self._options.packing
        return replace(self._options.packing, algorithm=manifest.root_catalog.algorithm)

    def _load(self, manifest: Manifest | None, tree: Tree) -> dict[bytes, PublishedCatalog]:
        """Everything that is published now, entries and catalogs."""
        if manifest is None:
            placeholder = ContentHash.of(self._options.packing.algorithm, b"", Suffix.CATALOG)
            tree.load([_root_row()])
            return {ROOT: PublishedCatalog(placeholder, 0, 0, {}, {})}
        published: dict[bytes, PublishedCatalog] = {}
        waiting = [(ROOT, manifest.root_catalog)]
        while waiting:
            mount, name = waiting.pop()
            content = self._repository.unpacked(name)
            catalog = read_catalog(content, mount, f"the catalog {name}")
            tree.load(row for row in catalog.rows)
            published[mount] = PublishedCatalog(
                name,
                len(content),
                catalog.revision,
                catalog.own,
                catalog.subtree,
                tuple(catalog.nested),
            )
            waiting.extend(catalog.nested.items())
        return published

    def _take_in(self, source: Source, tree: Tree, packing: Packing) -> None:
        options = self._options
        for path in options.deletes:
            if path == ROOT or tree.get(path) is None:
                raise ConfigError([f"--delete {path.decode(errors='replace')}: no such path"])
            tree.remove(path)
        self._make_parents(tree)
        size_bytes = 0
        for count, (entry, stored) in enumerate(packing.pack(source.entries()), start=1):
            self._put(entry, stored, tree)
            size_bytes += entry.size_bytes
            self._progress(count, size_bytes)
        keep_markers(tree)
        if not options.overlays:
            tree.remove_unkept(options.base)
        tree.settle_links()

    def _put(self, entry: SourceEntry, stored: Stored | None, tree: Tree) -> None:
        path = self._options.base + entry.path
        if entry.is_made_up and (found := tree.get(path)) and found.flags & DIRECTORY:
            tree.keep(path)
            return
        if entry.link_to is None:
            tree.put(_row(self._options.base, entry, stored))
            return
        target = tree.get(self._options.base + entry.link_to)
        if target is None:
            raise ConfigError([f"{entry.path!r} is a hard link to {entry.link_to!r}, not there"])
        if parent_of(target.path) == parent_of(path):
            target = target._replace(links=target.links or target.path)
            tree.put(target)
            tree.put(target._replace(path=path))
        else:
            tree.put(target._replace(path=path, links=None))

    def _make_parents(self, tree: Tree) -> None:
        """Directories on the way to ``base`` that are not there yet."""
        parts = self._options.base.split(b"/")
        for length in range(2, len(parts)):
            path = b"/".join(parts[:length])
            found = tree.get(path)
            if found is None:
                tree.put(_root_row()._replace(path=path, mtime=int(time.time())))
            elif not found.flags & DIRECTORY:
                raise ConfigError([f"--base: {path.decode(errors='replace')} is no directory"])

    def _marked_mounts(self, tree: Tree, packing: Packing, now: int) -> frozenset[bytes]:
        """Where catalogs begin now; each has its marker, which is no change of the content."""
        mounts = self._mounts(tree)
        place_markers(tree, mounts, packing.whole(b""), now)
        packing.settle()
        return mounts

    def _mounts(self, tree: Tree) -> frozenset[bytes]:
        directories = entries_by_directory(tree)
        marked = tree.named(CATALOG_MARKER) - tree.named(AUTOMATIC_MARKER)
        marked &= directories.keys()
        dirtab = Dirtab.parse(self._dirtab(tree))
        if dirtab.wanted:
            marked |= {path for path in directories if path != ROOT and dirtab.names(path)}
        more = split_by_size(directories, marked, self._options.largest_catalog)
        return frozenset({ROOT, *marked, *more})

    def _dirtab(self, tree: Tree) -> bytes:
        row = tree.get(DIRTAB)
        if row is not None and row.chunks:
            raise ConfigError([f"{DIRTAB.decode()} is larger than a chunk: write shorter patterns"])
        if row is None or row.hash is None:
            return b""
        name = ContentHash(row_algorithm(row), row.hash)
        with self._repository.store.open_object(name) as file:
            stored = file.read()
        is_packed = row.flags >> 11 & 7 == 0
        return self._repository.unpacked(name) if is_packed else stored

    def _head(self, manifest: Manifest | None, root: PublishedCatalog, now: int) -> Head:
        collects = self._options.is_garbage_collectable
        if collects is None:
            collects = manifest is None or manifest.is_garbage_collectable
        is_new = manifest is None or root.hash != manifest.root_catalog
        return Head(
            root=root.hash,
            root_bytes=root.size_bytes,
            revision=(manifest.revision if manifest else 0) + is_new,
            timestamp=now,
            is_garbage_collectable=collects,
        )

    def _publish(self, manifest: Manifest | None, head: Head, packing: Packing) -> Manifest:
        tags = self._repository.tags(manifest)
        is_new = manifest is None or head.root != manifest.root_catalog
        if is_new or self._options.tag is not None:
            tags = tags.published(
                NamedRevision("", head.root, head.root_bytes, head.revision, head.timestamp),
                self._options.tag,
                self._options.message,
            )
        return self._repository.publish(head, tags, self._keys, packing.store, packing.settle)


def retag(
    repository: Stratum0Repository,
    keys: PublisherKeys,
    *,
    add: tuple[str, str] | None = None,
    remove: tuple[str, ...] = (),
) -> Manifest:
    """Sign the published revision again with other tags.

    Args:
        repository: whose, under its lock.
        keys: sign it.
        add: name and description of a tag for the head.
        remove: names of tags.

    Raises:
        ConfigError: nothing is published, a name is taken, or none.
    """
    manifest = repository.manifest()
    if manifest is None:
        raise ConfigError([f"{repository.fqrn}: nothing is published yet"])
    head = Head(
        root=manifest.root_catalog,
        root_bytes=manifest.root_catalog_bytes or 0,
        revision=manifest.revision,
        timestamp=now_after(manifest),
        is_garbage_collectable=manifest.is_garbage_collectable,
    )
    tags = repository.tags(manifest).without(remove)
    if add is not None:
        name, message = add
        row = NamedRevision(
            name, head.root, head.root_bytes, head.revision, manifest.published_at, message
        )
        tags = tags.with_tag(row)
    options = PackingOptions(algorithm=manifest.root_catalog.algorithm)
    with Packing(repository.store, options) as packing:
        return repository.publish(head, tags, keys, packing.store, packing.settle)


def now_after(manifest: Manifest | None) -> int:
    """The clock, but never before what is published: clients would not follow."""
    return max(int(time.time()), manifest.published_at if manifest else 0)


def _row(base: bytes, entry: SourceEntry, stored: Stored | None) -> Row:
    attributes = entry.attributes
    if attributes.is_directory:
        size = _DIRECTORY_BYTES
    elif attributes.is_symlink:
        size = len(entry.symlink)
    else:
        size = stored.size_bytes if stored else attributes.rdev
    return Row(
        path=base + entry.path,
        flags=kind_flags(attributes) | (stored.flags if stored else 0),
        hash=stored.hash.digest if stored and stored.hash else None,
        size=size,
        mode=attributes.mode,
        mtime=attributes.mtime,
        mtimens=attributes.mtime_ns,
        symlink=entry.symlink,
        uid=attributes.uid,
        gid=attributes.gid,
        xattr=entry.xattrs,
        chunks=pack_chunks(
            (piece.offset, piece.size_bytes, piece.hash.digest)
            for piece in (stored.chunks if stored else ())
        ),
        links=None if entry.links is None else base + entry.links,
    )


def _root_row() -> Row:
    return Row(
        ROOT,
        DIRECTORY,
        None,
        _DIRECTORY_BYTES,
        _DIRECTORY_MODE,
        0,
        None,
        b"",
        0,
        0,
        None,
        b"",
        None,
    )


def _report(
    manifest: Manifest, changes: Changes, written: int, packing: Packing, *, was_unchanged: bool
) -> PublicationReport:
    return PublicationReport(
        revision=manifest.revision,
        root=manifest.root_catalog,
        was_unchanged=was_unchanged,
        changes=changes,
        written_catalogs=written,
        new_objects=packing.new_objects,
        new_bytes=packing.new_bytes,
    )
