"""Where catalogs begin in a tree: what `nesting` decides, from what the tree holds."""

from __future__ import annotations

from mirror.cvmfs.content_hash import ContentHash
from mirror.errors import ConfigError
from mirror.stratum0.catalog_rows import row_algorithm
from mirror.stratum0.entry import CATALOG_MARKER, DIRTAB, ROOT
from mirror.stratum0.markers import AUTOMATIC_MARKER, entries_by_directory
from mirror.stratum0.nesting import Dirtab, split_by_size
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.tree import Tree


def mount_points(tree: Tree, repository: Stratum0Repository, largest: int) -> frozenset[bytes]:
    """The directories at which a catalog begins, the root among them.

    Args:
        tree: the entries; the content of their ``.cvmfsdirtab`` is visible in the store.
        repository: its store.
        largest: entries of one catalog.

    Raises:
        ConfigError: ``.cvmfsdirtab`` is too large.
        StoreError: it cannot be read.
    """
    directories = entries_by_directory(tree)
    marked = tree.named(CATALOG_MARKER) - tree.named(AUTOMATIC_MARKER)
    marked &= directories.keys()
    dirtab = Dirtab.parse(_dirtab(tree, repository))
    if dirtab.wanted:
        marked |= {path for path in directories if path != ROOT and dirtab.names(path)}
    more = split_by_size(directories, marked, largest)
    return frozenset({ROOT, *marked, *more})


def _dirtab(tree: Tree, repository: Stratum0Repository) -> bytes:
    row = tree.get(DIRTAB)
    if row is not None and row.chunks:
        raise ConfigError([f"{DIRTAB.decode()} is larger than a chunk: write shorter patterns"])
    if row is None or row.hash is None:
        return b""
    name = ContentHash(row_algorithm(row), row.hash)
    with repository.store.open_object(name) as file:
        stored = file.read()
    is_packed = row.flags >> 11 & 7 == 0
    return repository.unpacked(name) if is_packed else stored
