"""Markers of the nested catalogs that nobody marked: the reference's check misses them otherwise.

Where ``.cvmfsdirtab`` or size makes a catalog begin, two empty files are put, as the reference's
own balancer puts them: ``.cvmfscatalog``, and beside it ``.cvmfsautocatalog``, which says that a
publisher made both and may take them away again. No source has them, and its lacking them removes
nothing.
"""

from __future__ import annotations

import stat
from typing import Final

from mirror.stratum0.entry import CATALOG_MARKER, FILE, Stored
from mirror.stratum0.tree import Row, Tree

AUTOMATIC_MARKER: Final = b".cvmfsautocatalog"
_MODE: Final = stat.S_IFREG | 0o644


def keep_markers(tree: Tree) -> None:
    """Once a source was laid over a tree: what a publisher put stays where its directory does.

    A marker of the source's own takes the place of one that was made.
    """
    for directory in tree.named(AUTOMATIC_MARKER):
        marker, automatic = (directory + b"/" + name for name in (CATALOG_MARKER, AUTOMATIC_MARKER))
        if tree.is_kept(automatic):
            continue
        if tree.is_kept(marker):
            tree.remove(automatic)
        elif tree.is_kept(directory):
            tree.keep(marker)
            tree.keep(automatic)


def entries_by_directory(tree: Tree) -> dict[bytes, int]:
    """Every directory and how many entries it holds, made markers not counted.

    Otherwise what one publication decided would push the next one to decide otherwise.
    """
    counts = tree.directories()
    for name in (CATALOG_MARKER, AUTOMATIC_MARKER):
        for directory in tree.named(name) & tree.named(AUTOMATIC_MARKER):
            counts[directory] -= 1
    return counts


def place_markers(tree: Tree, mounts: frozenset[bytes], empty: Stored, now: int) -> None:
    """Mark the mount points that are not marked, and take the mark from what is none any more.

    Args:
        tree: the entries.
        mounts: where catalogs begin; the root needs no marker.
        empty: the object of an empty file.
        now: Unix time.
    """
    for directory in sorted(tree.named(AUTOMATIC_MARKER) - mounts):
        tree.remove(directory + b"/" + CATALOG_MARKER)
        tree.remove(directory + b"/" + AUTOMATIC_MARKER)
    for directory in sorted(mounts - tree.named(CATALOG_MARKER)):
        owner = tree.get(directory)
        if owner is None or not directory:
            continue
        for name in (CATALOG_MARKER, AUTOMATIC_MARKER):
            path = directory + b"/" + name
            digest = empty.hash.digest if empty.hash else None
            tree.put(
                Row(
                    *(path, FILE | empty.flags, digest, 0, _MODE, now, None, b""),
                    *(owner.uid, owner.gid, None, b"", None),
                )
            )
