"""Objects that several processes stage: written where nobody looks, then named all at once.

A publisher spreads compression over processes, a snapshot spreads fetching, so whatever they need
to know fits into a small value that can be sent to them. One process syncs before anything gets its
name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.paths import TEMPORARIES, object_path
from mirror.errors import StoreError
from mirror.store.file_errors import translated
from mirror.store.local_upload import create, write_all
from mirror.store.syncfs import syncfs


class Staged(NamedTuple):
    """An object that waits for its name; plain text, since there are millions.

    Attributes:
        temporary: where it lies.
        target: where it belongs.
        size_bytes: as stored.
    """

    temporary: str
    target: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Staging:
    """One publication's place for what it stages, known to all its processes; everything blocks.

    Attributes:
        root: the repository's tree.
        prefix: how the names of its temporaries begin, and nobody else's.
    """

    root: Path
    prefix: str

    def stage(self, content_hash: ContentHash, data: bytes) -> Staged | None:
        """Write an object; None if it is in the store. The caller has hashed ``data`` itself.

        Raises:
            StoreFull, StoreUnavailable: it cannot be kept.
        """
        target = f"{self.root}/{object_path(content_hash)}"
        with translated(self.root), suppress(FileNotFoundError):
            if os.stat(target).st_size == len(data):  # noqa: PTH116 - text is quicker
                return None
        return self.write(content_hash, data)

    def write(self, content_hash: ContentHash, data: bytes) -> Staged:
        """As `stage`, whether it is in the store or not.

        Raises:
            StoreFull, StoreUnavailable: it cannot be kept.
        """
        target = f"{self.root}/{object_path(content_hash)}"
        temporary = f"{self.root}/{TEMPORARIES}/{self.prefix}.{os.urandom(8).hex()}"
        with translated(self.root):
            descriptor = create(temporary)
            try:
                write_all(descriptor, data)
            except OSError:
                os.unlink(temporary)  # noqa: PTH108 - as above
                raise
            finally:
                os.close(descriptor)
        return Staged(temporary, target, len(data))

    def reveal(self, staged: Iterable[Staged]) -> None:
        """Sync once, then give objects their names.

        Raises:
            StoreFull, StoreUnavailable: what was not revealed stays hidden.
        """
        syncfs(self.root)
        StagedCommit(self.root, tuple(staged)).reveal()

    def discard(self, staged: Staged) -> None:
        """Remove an object that was not revealed."""
        with translated(self.root):
            os.unlink(staged.temporary)  # noqa: PTH108 - as above

    def sweep(self) -> None:
        """Remove everything that was not revealed, whichever process staged it.

        What resists is left to the next `LocalStore.prepare`: nobody sees it.
        """
        with suppress(OSError, StoreError), os.scandir(self.root / TEMPORARIES) as entries:
            for entry in entries:
                if entry.name.startswith(self.prefix):
                    with suppress(FileNotFoundError):
                        Path(entry).unlink()


@dataclass(frozen=True, slots=True)
class StagedCommit:
    """Objects that are staged already, as a `group_commit.Commit`: all of them or an error."""

    root: Path
    staged: Sequence[Staged]

    def stage(self) -> None:
        """Nothing: it was done."""

    def reveal(self) -> None:
        """Rename them."""
        with translated(self.root):
            for temporary, target, _ in self.staged:
                os.replace(temporary, target)  # noqa: PTH105 - text is quicker

    def discard(self) -> None:
        """Remove those that were not renamed."""
        with translated(self.root):
            for temporary, _, _ in self.staged:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)  # noqa: PTH108 - as above
