"""Where an access log goes: a file, standard output, or the journal.

Several workers write to the same place. Their lines never mix: a write is whole lines, and one that
the disk takes only a part of is taken back. A lock keeps others from writing in between; it is
held for one write, and only if writes are so large that nobody feels it.

To journald goes a datagram for each request, by its own protocol, rather than lines to standard
error: these would be cut and mixed where several workers share that stream, they would take its
rate limit from messages that matter, and an operator could not ask for ``CVMFS_STATUS=404``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from mirror.errors import ConfigError
from mirror.serve.ledger import Served
from mirror.serve.log_formats import FORMATS, LogFormat
from mirror.serve.log_settings import JOURNAL, STANDARD_OUTPUT, AccessLogSettings

MAX_WRITE_BYTES: Final = 64 * 1024
"""Of one write to a file."""
_MAX_STREAM_BYTES: Final = 4096
"""Of one write to a pipe or a socket: what the kernel never splits (PIPE_BUF)."""
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE: Final = 0o640
_JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_IDENTIFIER: Final = "cvmfs-mirror"

Lose = Callable[[int, str], None]
"""Takes how many records could not be written, and why."""


class Target(Protocol):
    """Where lines go. One thread uses it."""

    def write(self, now: float, records: Sequence[Served], lose: Lose) -> None:
        """Write them, waiting as long as it takes; raises nothing."""

    def reopen(self) -> None:
        """Begin anew where the path leads now.

        Raises:
            OSError: that is not possible; what was open before still is.
        """

    def close(self) -> None:
        """No more."""


def open_target(settings: AccessLogSettings) -> Target | None:
    """Where the settings say; None for no log.

    Raises:
        ConfigError: it cannot be written to.
    """
    layout = FORMATS[settings.format]
    if settings.path is None:
        return None
    try:
        if settings.path == STANDARD_OUTPUT:
            return StreamTarget(os.dup(1), layout)
        if settings.path == JOURNAL:
            return JournalTarget(layout)
        return FileTarget(settings.path, layout)
    except OSError as error:
        problem = f"serve.access_log.path: {settings.path}: {_explained(settings.path, error)}"
        raise ConfigError([problem]) from error


class StreamTarget:
    """A pipe, a terminal, or whatever else a descriptor that somebody else opened leads to."""

    def __init__(
        self, descriptor: int, layout: LogFormat, most_bytes: int = _MAX_STREAM_BYTES
    ) -> None:
        """Take the descriptor over; no write to it has more than ``most_bytes``."""
        self._descriptor = descriptor
        self._layout = layout
        self._most_bytes = most_bytes

    def write(self, now: float, records: Sequence[Served], lose: Lose) -> None:
        """As `Target.write`."""
        for piece in pieces(self._layout(now, records), self._most_bytes):
            try:
                self._append(piece)
            except OSError as error:
                lose(piece.count(b"\n"), error.strerror or str(error))

    def reopen(self) -> None:
        """Nothing: it has no name."""

    def close(self) -> None:
        """As `Target.close`."""
        os.close(self._descriptor)

    def _append(self, piece: bytes) -> None:
        _write_all(self._descriptor, piece)


class FileTarget(StreamTarget):
    """A file that may be renamed by whoever rotates logs."""

    def __init__(self, path: str, layout: LogFormat) -> None:
        """Open it, or make it.

        Raises:
            OSError: that is not possible.
        """
        self._path = path
        descriptor, most_bytes = _opened(path)
        super().__init__(descriptor, layout, most_bytes)

    def reopen(self) -> None:
        """As `Target.reopen`."""
        before = self._descriptor
        self._descriptor, self._most_bytes = _opened(self._path)
        os.close(before)

    def _append(self, piece: bytes) -> None:
        """All of it or nothing, so that no line is ever half of one."""
        with _locked(self._descriptor):
            before = os.fstat(self._descriptor).st_size
            try:
                _write_all(self._descriptor, piece)
            except OSError:
                with suppress(OSError):  # no file but a pipe, which takes all or nothing by itself
                    os.ftruncate(self._descriptor, before)
                raise


class JournalTarget:
    """journald, by its native protocol: fields that can be searched for."""

    def __init__(self, layout: LogFormat, path: str = _JOURNAL_SOCKET) -> None:
        """Talk to it there; its message is a line of this format.

        Raises:
            OSError: there is none.
        """
        self._layout = layout
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(path)
        except OSError:
            self._socket.close()
            raise

    def write(self, now: float, records: Sequence[Served], lose: Lose) -> None:
        """As `Target.write`."""
        for each in records:
            try:
                self._socket.sendto(self._entry(now, each), self._path)
            except OSError as error:
                lose(1, error.strerror or str(error))

    def _entry(self, now: float, served: Served) -> bytes:
        """One entry; its message is one line, so no field needs its length told."""
        return (
            f"PRIORITY=6\nSYSLOG_IDENTIFIER={_IDENTIFIER}\nCVMFS_CLIENT={served.peer}\n"
            f"CVMFS_STATUS={served.status}\nCVMFS_BYTES={served.body_bytes}\n"
            f"CVMFS_OUTCOME={served.outcome}\nCVMFS_KIND={served.kind}\nMESSAGE="
        ).encode() + self._layout(now, [served])

    def reopen(self) -> None:
        """Nothing: each datagram finds its way anew, so journald may be restarted."""

    def close(self) -> None:
        """As `Target.close`."""
        self._socket.close()


def pieces(text: bytes, most_bytes: int) -> Iterator[bytes]:
    """Whole lines, as many at a time as fit; a line that alone is longer comes alone."""
    start = 0
    while len(text) - start > most_bytes:
        end = text.rfind(b"\n", start, start + most_bytes) + 1 or text.index(b"\n", start) + 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _opened(path: str) -> tuple[int, int]:
    """The descriptor, and how much may be written to it at once."""
    descriptor = os.open(path, _FLAGS, _MODE)
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return descriptor, MAX_WRITE_BYTES if is_file else _MAX_STREAM_BYTES


def _write_all(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    with suppress(OSError):  # some network file systems have no locks; lines are worth more
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _explained(path: str, error: OSError) -> str:
    """Why it cannot be opened, and what to do."""
    parent = Path(path).parent
    match error.errno:
        case _ if path == JOURNAL:
            return f"journald does not listen at {_JOURNAL_SOCKET}; name a file, or '-'"
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no directory {parent}; create it, owned by user {os.geteuid()}"
        case errno.EACCES | errno.EPERM:
            return (
                f"user {os.geteuid()} may not write it; give that user the file, "
                f"and the right to make files in {parent}"
            )
        case errno.EISDIR:
            return "is a directory; add the name of a file"
        case errno.ENXIO:
            return "is a pipe that nobody reads; start its reader before"
        case _:
            return f"{error.strerror}; repair that, or name another file"
