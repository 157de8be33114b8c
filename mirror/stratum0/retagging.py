"""Other tags for what is published: signed again, with the same content."""

from __future__ import annotations

from mirror.cvmfs.manifest import Manifest
from mirror.errors import ConfigError
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.packing import Packing
from mirror.stratum0.repository import Head, Stratum0Repository, now_after
from mirror.stratum0.tags import NamedRevision


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
