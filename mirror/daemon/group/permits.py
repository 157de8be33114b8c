"""Permission for those who serve: notes in the trees, moved on while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mirror.daemon.group.member import Permission
from mirror.store.threads import in_thread
from mirror.store.withheld import Note

Told = Callable[[str, str | None], None]
"""Of a repository: why clients get no manifest; None if they do."""


class Permits(Protocol):
    """Where permissions become visible to those who serve."""

    async def show(self, permissions: Mapping[str, Permission]) -> None:
        """From its return on nobody serves by what was shown before.

        Raises:
            StoreError: it could not be done.
        """


class NotePermits:
    """Notes in the trees below a directory."""

    def __init__(self, storage: Path, told: Told, worth_s: float) -> None:
        """``told`` hears of each change; a lease is not moved on by less than ``worth_s``."""
        self._storage = storage
        self._told = told
        self._worth_s = worth_s
        self._notes: dict[str, Note] = {}
        self._shown: dict[str, Permission] = {}

    async def show(self, permissions: Mapping[str, Permission]) -> None:
        """As `Permits.show`."""
        changed = {name: each for name, each in permissions.items() if self._is_news(name, each)}
        for name in changed:
            self._shown.pop(name, None)  # unknown, until it is done
        if changed:
            await in_thread(lambda: self._write(changed))
        for name, permission in changed.items():
            self._shown[name] = permission
            self._told(name, None if permission.until else permission.reason)

    def _is_news(self, name: str, wanted: Permission) -> bool:
        shown = self._shown.get(name)
        if shown is None or shown.reason != wanted.reason:
            return True
        return not wanted.until == shown.until == 0 and (
            wanted.until - shown.until >= self._worth_s or wanted.until < shown.until
        )

    def _write(self, changed: Mapping[str, Permission]) -> None:
        for name, permission in changed.items():
            note = self._notes.setdefault(name, Note(self._storage / name))
            if permission.until:
                note.lend(permission.until, permission.reason)
            else:
                note.withhold(permission.reason, is_lender=True)


def give_back(storage: Path, names: list[str]) -> None:
    """End what is lent and withheld for a group of which this mirror is no part any more; blocks.

    Raises:
        StoreError: a note cannot be read or removed.
    """
    for name in names:
        note = Note(storage / name)
        if note.is_lease():
            note.clear()
