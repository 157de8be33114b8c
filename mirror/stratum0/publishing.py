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
from mirror.stratum0.catalogs import CatalogWriter, PublishedCatalog
from mirror.stratum0.entry import DIRECTORY, ROOT, Stored, parent_of
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.loading import load_published
from mirror.stratum0.markers import keep_markers, place_markers
from mirror.stratum0.mounts import mount_points
from mirror.stratum0.nesting import DEFAULT_LARGEST
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.packing import Packing
from mirror.stratum0.repository import Head, Stratum0Repository, now_after
from mirror.stratum0.rows import bare_directory, entry_row
from mirror.stratum0.source import Source, SourceEntry
from mirror.stratum0.tags import NamedRevision
from mirror.stratum0.tree import Changes, Tree

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
            before = load_published(self._repository, manifest, tree)
            self._take_in(source, tree, packing)
            packing.settle()
            changes = tree.changes()
            if manifest is not None and not changes and self._is_signed_as_wanted(manifest):
                return _report(manifest, changes, 0, packing, was_unchanged=True)
            writer = CatalogWriter(
                tree, before, now_after(manifest), lambda db: packing.store(db, Suffix.CATALOG)
            )
            if manifest is None or changes:
                mounts = mount_points(tree, self._repository, self._options.largest_catalog)
                place_markers(tree, mounts, packing.whole(b""), writer.now)
                packing.settle()
                root = writer.write(mounts)[ROOT]
                packing.settle()
            else:
                root = before[ROOT]
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
            tree.put(entry_row(self._options.base, entry, stored))
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
                tree.put(bare_directory(path, int(time.time())))
            elif not found.flags & DIRECTORY:
                raise ConfigError([f"--base: {path.decode(errors='replace')} is no directory"])

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
