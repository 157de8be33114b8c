"""Root files: small, replaced now and then, and three of them only together.

Manifest, whitelist and its companion belong to one flip. A snapshot replaces them one after the
other, each at once, and holds a lock on the repository's directory meanwhile (`flock`, see
`LocalStore.flip`); here they are read together while nobody holds it. Until the manifest, which
comes last, is replaced, the former ones are served, whole; if it is another one than we know, the
former may be older than what somebody has seen, so clients wait for the end of the flip. Others
have no lock, so of `cvmfs_server`'s replicas only each file by itself is sure to be whole.

Whether a file changed is asked of the file system at every request: two microseconds, and a new
revision is served as soon as it is there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.cvmfs.paths import MANIFEST, WHITELIST, WHITELIST_PKCS7
from mirror.serve.content import Found, OpenFile
from mirror.serve.opening import Opener
from mirror.serve.resources import Resource
from mirror.store.withheld import NoteReader

_TOGETHER: Final = (MANIFEST, WHITELIST, WHITELIST_PKCS7)
_MAX_IN_MEMORY_BYTES: Final = 256 * 1024
_MAX_REPOSITORIES: Final = 10_000
_FLIP_S: Final = 1.0
"""So long after it was withheld a manifest is waited for: members of a group are about to flip, and
a real client that gets 503 from all of them looks again after minutes only."""
Stamp = tuple[int, int, int, int]
"""What changes when a file is replaced: device, inode, size, time."""


class Withheld(OSError):
    """Clients are not to get the manifest; the reason is for them, too."""


class BeingReplaced(Exception):
    """A flip is going on, and there is nothing older to serve."""


@dataclass(frozen=True, slots=True)
class _Ensemble:
    """The root files of one flip, as they were read together."""

    stamps: tuple[Stamp | None, ...]
    contents: Mapping[str, bytes | None]


class RootFiles:
    """The root files of all repositories below a directory."""

    def __init__(self, storage: Path) -> None:
        """Of the tree at ``storage``; nothing is read yet."""
        self._storage = storage
        self._notes = NoteReader(storage)
        self._ensembles: dict[str, _Ensemble] = {}
        self._found: dict[str, tuple[bytes | Stamp, Found]] = {}

    def find(self, resource: Resource, *, may_wait: bool = False) -> Found | None:
        """A root file as it is now; None if there is none.

        Args:
            resource: which.
            may_wait: for a flip that is going on.

        Raises:
            BeingReplaced: there is nothing to serve before the flip is over, or it failed to end.
            Withheld: it is there, but not for clients.
            OSError: it cannot be read.
        """
        repository, _, name = resource.path.rpartition("/")
        if (
            name == MANIFEST
        ):  # asked first: what is read afterwards is no older than what may be had
            wait_s = _FLIP_S if may_wait else 0.0
            reason = self._notes.reason(repository, wait_s)
            if reason is not None:
                raise Withheld(reason)
        if name in _TOGETHER:
            content = self._ensemble(repository, may_wait=may_wait).contents[name]
            return None if content is None else self._in_memory(resource, content, content)
        return self._alone(resource)

    def _ensemble(self, repository: str, *, may_wait: bool) -> _Ensemble:
        directory = f"{self._storage}/{repository}"
        known, stamps = self._ensembles.get(repository), _stamps(directory)
        if known is not None and known.stamps == stamps:
            return known
        try:
            read = _read_together(directory, may_wait=may_wait)
        except BlockingIOError:
            if known is not None and known.stamps[0] == stamps[0]:
                return known
            raise BeingReplaced(f"{directory}: its root files are being replaced") from None
        if len(self._ensembles) >= _MAX_REPOSITORIES:
            self._ensembles.clear()
        self._ensembles[repository] = read
        return read

    def _alone(self, resource: Resource) -> Found | None:
        path = f"{self._storage}/{resource.path}"
        stamp = _stamp(path)
        if stamp is None:
            return None
        kept = self._found.get(resource.path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        file = Opener.wait_for(path)
        if file is None or file.size_bytes > _MAX_IN_MEMORY_BYTES:
            return None if file is None else Found.on_disk(resource, file)
        return self._in_memory(resource, stamp, _content(file))

    def _in_memory(self, resource: Resource, key: bytes | Stamp, content: bytes) -> Found:
        kept = self._found.get(resource.path)
        if kept is not None and (kept[0] is key or kept[0] == key):
            return kept[1]
        if len(self._found) >= _MAX_REPOSITORIES:
            self._found.clear()
        found = Found.in_memory(resource, content)
        self._found[resource.path] = key, found
        return found


def _read_together(directory: str, *, may_wait: bool) -> _Ensemble:
    """All of them, of one flip.

    Raises:
        BlockingIOError: they are being replaced.
    """
    with _nobody_replaces(directory, may_wait=may_wait):
        stamps = _stamps(directory)
        contents = {name: _read(f"{directory}/{name}") for name in _TOGETHER}
    return _Ensemble(stamps, contents)


@contextmanager
def _nobody_replaces(directory: str, *, may_wait: bool) -> Iterator[None]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield  # no such repository, so nothing in it either
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | (0 if may_wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _read(path: str) -> bytes | None:
    file = Opener.wait_for(path)
    return None if file is None else _content(file)


def _content(file: OpenFile) -> bytes:
    return os.pread(file.descriptor, _MAX_IN_MEMORY_BYTES, 0)


def _stamps(directory: str) -> tuple[Stamp | None, ...]:
    return tuple(_stamp(f"{directory}/{name}") for name in _TOGETHER)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
