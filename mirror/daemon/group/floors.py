"""What a member must never forget, in one file of the spool: the floors it has told others."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.group.member import Promise
from mirror.daemon.group.message import Version
from mirror.errors import FormatError
from mirror.store.file_errors import translated
from mirror.store.threads import in_thread

FILE: Final = "cvmfs-mirror.group.json"
_MAX_BYTES: Final = 16 * 1024 * 1024


class Memory(Protocol):
    """Where a member keeps what it has promised."""

    async def save(self, promise: Promise) -> None:
        """Make it durable.

        Raises:
            StoreError: it is not.
        """


class FloorsFile:
    """A file, synced before anybody is told of what is in it."""

    def __init__(self, spool: Path, group: str) -> None:
        """Of the group of this mark; nothing is read yet."""
        self._path = spool / FILE
        self._group = group

    def load(self) -> dict[str, Version] | None:
        """The floors; None if there are none of this group, as for a member that is new.

        Raises:
            FormatError: they are damaged.
            StoreError: they cannot be read.
        """
        with translated(self._path):
            try:
                with self._path.open("rb") as file:
                    raw = file.read(_MAX_BYTES)
            except FileNotFoundError:
                return None
        try:
            document = json.loads(raw)
            floors = {
                Fqrn(name).name: Version(int(revision), int(published_at))
                for name, (revision, published_at) in document["floors"].items()
            }
            is_ours = document["group"] == self._group
        except (ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
            raise FormatError(f"{self._path} is damaged: {str(error)[:80]}") from error
        return floors if is_ours else None

    async def save(self, promise: Promise) -> None:
        """As `Memory.save`; one that is still new keeps nothing, since it would not be believed."""
        if promise.is_member:
            await in_thread(lambda: self._save(promise.floors))

    def _save(self, floors: Mapping[str, Version]) -> None:
        document = {"group": self._group, "floors": floors}
        new = self._path.with_suffix(".new")
        with translated(self._path):
            with new.open("w", encoding="ascii") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
