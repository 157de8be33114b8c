"""How much of everything we are willing to read. Nothing from outside is read without one."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds; generous for what exists today, small enough to stay alive under attack.

    Attributes:
        letter_bytes: manifest, whitelist and certificate (the reference client reads 1 MiB too).
        meta_info_bytes: meta information, as stored and unpacked.
        history_bytes: a history database, as stored and unpacked.
        reflog_bytes: our own reflog.
        catalog_bytes: one catalog, as stored and unpacked.
        object_bytes: a data object, as stored, where its catalog does not say less.
        nested_catalogs: nested catalogs of one catalog.
        catalog_entries: entries and chunks of one catalog.
        tags: tags of one history.
        path_bytes: the path of a mount point.
        depth: nested catalogs below one another.
    """

    letter_bytes: int = 1 * MIB
    meta_info_bytes: int = 1 * MIB
    history_bytes: int = 256 * MIB
    reflog_bytes: int = 256 * MIB
    catalog_bytes: int = 4 * GIB
    object_bytes: int = 64 * GIB
    nested_catalogs: int = 100_000
    catalog_entries: int = 100_000_000
    tags: int = 1_000_000
    path_bytes: int = 4 * KIB
    depth: int = 256
