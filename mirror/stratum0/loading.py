"""What is published now: entries into a tree, and the catalogs that hold them."""

from __future__ import annotations

from mirror.cvmfs.manifest import Manifest
from mirror.stratum0.catalog_rows import read_catalog
from mirror.stratum0.catalogs import PublishedCatalog
from mirror.stratum0.entry import ROOT
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.rows import bare_directory
from mirror.stratum0.tree import Tree


def load_published(
    repository: Stratum0Repository, manifest: Manifest | None, tree: Tree
) -> dict[bytes, PublishedCatalog]:
    """Fill the tree with everything that is published now; its catalogs by their mount points.

    If that is nothing, with a bare root, and there is no catalog.

    Raises:
        FormatError: a catalog is malformed.
        StoreError: one is missing, or cannot be read.
    """
    if manifest is None:
        tree.load([bare_directory()])
        return {}
    published: dict[bytes, PublishedCatalog] = {}
    waiting = [(ROOT, manifest.root_catalog)]
    while waiting:
        mount, name = waiting.pop()
        content = repository.unpacked(name)
        catalog = read_catalog(content, mount, f"the catalog {name}")
        tree.load(catalog.rows)
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
