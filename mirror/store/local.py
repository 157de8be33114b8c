"""Files, in exactly the tree that cvmfs_server keeps (drawn in `mirror.cvmfs.paths`).

So an existing replica is adopted in place, and can be handed back. Temporaries lie in ``data/txn``,
on the same file system, under names of our own; only `LocalStore.prepare`, called under the
replica's lock, clears them. What the promises need from the file system: rename is atomic, renames
reach the disk in their order (every journaling file system), syncfs reports what it could not write
(Linux 5.8).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Final

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import (
    FAN_OUT,
    TEMPORARIES,
    alternative_path,
    alternative_target,
    is_root_file,
    object_path,
)
from mirror.errors import FormatError, ObjectMissing
from mirror.store.file_errors import translated
from mirror.store.group_commit import GroupCommit
from mirror.store.local_upload import FileCommit, LocalUpload, Source, unreserved
from mirror.store.reserve import Floor, Reserve
from mirror.store.staging import StagedCommit, Staging
from mirror.store.syncfs import syncfs
from mirror.store.threads import in_thread
from mirror.store.withheld import Note

_OURS: Final = "cvmfs-mirror."
_FOREIGN_LEFTOVER_S: Final = 2 * 86_400
"""Temporaries of other tools are left alone this long: a check or a collection may be using them
(operators' cron jobs clear them at this age too)."""
_BLOCK_BYTES: Final = 1024 * 1024


class LocalStore:
    """One repository's tree below ``root``; see `ObjectStore` for the contract."""

    def __init__(
        self, root: Path, reserve: Floor | None = None, cached_up_to: int | None = None
    ) -> None:
        """Point at ``<storage>/<fqrn>``; nothing is touched yet.

        Args:
            root: the tree.
            reserve: of the disk, that objects do not touch; None for nothing.
            cached_up_to: bytes of the largest new object that stays in memory; None for any.
        """
        self.root = root
        self._require = Reserve(root, reserve).require if reserve else unreserved
        self._cached_up_to = cached_up_to
        self._prefix = _fresh_prefix()
        self._numbers = count()  # unlike a generator, safe to draw from in several threads
        self._group = GroupCommit(lambda: syncfs(root))

    # --- reading ----------------------------------------------------------------------------------

    async def present(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.present`; one stat each."""
        return await in_thread(lambda: {each for each in hashes if self._is_present(each)})

    async def sound(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.sound`; reads every byte."""
        return await in_thread(lambda: {each for each in hashes if self._is_sound(each)})

    def open_object(self, content_hash: ContentHash) -> IO[bytes]:
        """As `ObjectReader.open_object`."""
        path = self._path(content_hash)
        with translated(path):
            try:
                return path.open("rb")
            except FileNotFoundError:
                raise ObjectMissing(f"{path} is missing") from None

    async def read_root_file(self, name: str, max_bytes: int) -> bytes | None:
        """As `ObjectReader.read_root_file`."""
        return await in_thread(lambda: self.read_root_file_now(name, max_bytes))

    def read_root_file_now(self, name: str, max_bytes: int) -> bytes | None:
        """As `read_root_file`; blocks."""
        path = self._root_file(name)
        with translated(path):
            try:
                with path.open("rb") as file:
                    data = file.read(max_bytes + 1)
            except FileNotFoundError:
                return None
        if len(data) > max_bytes:
            raise FormatError(f"{path} is larger than {max_bytes} bytes, the limit for it")
        return data

    # --- writing ----------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """As `ObjectStore.prepare`."""
        await in_thread(self._prepare)

    def upload(self, algorithm: Algorithm) -> LocalUpload:
        """As `ObjectStore.upload`."""
        return LocalUpload(algorithm, self._temporary, self._commit, self._require)

    async def sync(self) -> None:
        """Make durable what other processes have staged, before they give it names.

        Raises:
            StoreFull, StoreUnavailable: some of it did not reach the disk.
        """
        await self._group.carry_out(StagedCommit(self.root, ()))

    async def place_alternative(self, content_hash: ContentHash) -> None:
        """As `ObjectStore.place_alternative`: a relative link, as cvmfs_server makes it."""
        target = alternative_target(content_hash)
        link = self.root / alternative_path(content_hash)
        temporary = self._temporary()

        def place() -> None:
            with translated(link):
                temporary.symlink_to(target)
                try:
                    temporary.replace(link)
                except OSError:
                    temporary.unlink()
                    raise

        await in_thread(place)

    async def write_root_file(self, name: str, data: bytes, *, is_durable: bool = True) -> None:
        """As `ObjectStore.write_root_file`."""
        path = self._root_file(name)

        commit = FileCommit([data], self._temporary(), path)
        if is_durable:
            await self._group.carry_out(commit)
            await in_thread(lambda: syncfs(self.root))
        else:
            await in_thread(commit.carry_out_unsynced)

    @asynccontextmanager
    async def flip(self) -> AsyncIterator[None]:
        """As `ObjectStore.flip`: ``flock`` on the tree's directory, which ends with its holder."""
        with translated(self.root):
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # readers hold it for an instant only
            await in_thread(partial(fcntl.flock, descriptor, fcntl.LOCK_EX))
            yield
        finally:
            os.close(descriptor)

    async def withhold(self, reason: str | None) -> None:
        """Give clients no manifest for this reason, until called again with None.

        The note outlives this process: whoever serves the tree keeps to it.
        """
        note = Note(self.root)
        await in_thread(note.clear if reason is None else partial(note.withhold, reason))

    async def remove_root_file(self, name: str) -> None:
        """As `ObjectStore.remove_root_file`."""
        path = self._root_file(name)

        def remove() -> None:
            with translated(path):
                path.unlink(missing_ok=True)

        await in_thread(remove)

    # --- for publishers, who have no event loop ---------------------------------------------------

    def has(self, content_hash: ContentHash) -> bool:
        """Whether an object is there; blocks."""
        return self._is_present(content_hash)

    def staging(self) -> Staging:
        """A place for what is published next; `prepare` clears what a crash leaves there."""
        return Staging(self.root, _fresh_prefix())

    def prepare_now(self) -> None:
        """As `prepare`; blocks."""
        self._prepare()

    def write_root_file_now(self, name: str, data: bytes) -> None:
        """As `write_root_file`, durable; blocks."""
        commit = FileCommit([data], self._temporary(), self._root_file(name))
        commit.stage()
        syncfs(self.root)
        commit.reveal()
        syncfs(self.root)

    def delete_now(self, content_hash: ContentHash) -> None:
        """Remove an object; blocks, and is harmless if it is not there."""
        path = self._path(content_hash)
        with translated(path):
            path.unlink(missing_ok=True)

    def size_bytes(self, content_hash: ContentHash) -> int:
        """An object's size as stored, 0 if it is not there; blocks."""
        path = self._path(content_hash)
        with translated(path):
            return path.stat().st_size if path.exists() else 0

    def names(self, fan: str) -> list[str]:
        """What lies in ``data/<fan>``; blocks."""
        directory = self.root / "data" / fan
        with translated(directory):
            return sorted(each.name for each in os.scandir(directory))

    # --- inside -----------------------------------------------------------------------------------

    def _temporary(self) -> Path:
        return self.root / TEMPORARIES / f"{self._prefix}.{next(self._numbers)}"

    async def _commit(self, content_hash: ContentHash, source: Source) -> None:
        temporary, target = self._temporary(), self._path(content_hash)
        commit = FileCommit(source, temporary, target, self._require, self._cached_up_to)
        await self._group.carry_out(commit)

    def _path(self, content_hash: ContentHash) -> Path:
        return self.root / object_path(content_hash)

    def _root_file(self, name: str) -> Path:
        if not is_root_file(name):
            raise ValueError(f"{name!r} is not the name of a root file")
        return self.root / name

    def _is_present(self, content_hash: ContentHash) -> bool:
        path = self._path(content_hash)
        with translated(path):
            try:
                size_bytes = path.stat().st_size
            except FileNotFoundError:
                return False
        return size_bytes > 0 or _is_hash_of_nothing(content_hash)

    def _is_sound(self, content_hash: ContentHash) -> bool:
        try:
            file = self.open_object(content_hash)
        except ObjectMissing:
            return False
        with file, translated(self._path(content_hash)):
            hasher = content_hash.algorithm.hasher()
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
        return hasher.digest() == content_hash.digest

    def _prepare(self) -> None:
        temporaries = self.root / TEMPORARIES
        with translated(self.root):
            temporaries.mkdir(parents=True, exist_ok=True)
            for name in FAN_OUT:
                with suppress(FileExistsError):
                    (self.root / "data" / name).mkdir()
            too_old = time.time() - _FOREIGN_LEFTOVER_S
            with os.scandir(temporaries) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        is_dead = entry.name.startswith(_OURS) or entry.stat().st_mtime < too_old
                        if is_dead and not entry.is_dir(follow_symlinks=False):
                            Path(entry).unlink()


def _fresh_prefix() -> str:
    return f"{_OURS}{os.getpid()}.{secrets.token_hex(4)}"


def _is_hash_of_nothing(content_hash: ContentHash) -> bool:
    return content_hash.digest == content_hash.algorithm.hasher().digest()
