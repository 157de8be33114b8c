"""Where siblings come in: a socket in a directory that is closed to everybody else.

Each worker makes its own, under a name of its own, and renames it to that of its place. So whoever
asks finds either the old worker or its successor, and never nobody.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirror.errors import ConfigError
from mirror.serve.app import create_app
from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.limits import ServeLimits
from mirror.serve.plain import Headers
from mirror.serve.running import Worker
from proxy.siblings.shelf import OwnShelf, SiblingShelf
from proxy.siblings.words import BLOCK

_LOOK_S: Final = 0.02
_ALWAYS_S: Final = 365 * 86_400.0


class Directory:
    """Where the sockets of all workers are."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            ConfigError: it is none of ours.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags)
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from error
        about = os.fstat(self._descriptor)
        if about.st_uid != os.geteuid() or about.st_mode & 0o077:
            os.close(self._descriptor)
            raise ConfigError([f"{path}: has to belong to us, and to be closed to all others"])

    def socket_of(self, worker: int) -> str:
        """The path of a worker's socket: through the descriptor, since addresses are short."""
        return f"/proc/self/fd/{self._descriptor}/slot-{worker}.sock"

    def close(self) -> None:
        """Use no path of it any more."""
        os.close(self._descriptor)


class Door:
    """A worker's own socket, and who came in there."""

    def __init__(self, path: str, shelf: OwnShelf) -> None:
        """Closed; siblings will find it at ``path``."""
        self._path = path
        self._gate = _SiblingGate(SiblingShelf(shelf))
        self._worker = Worker(self._gate, create_app)
        self._inode = 0

    async def open(self) -> None:
        """Let siblings in, here and no longer at our predecessor's.

        Raises:
            ConfigError: the socket cannot be made.
        """
        hidden = Path(f"{self._path}.{os.getpid()}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                self._bind(listener, hidden)
                await self._worker.start([(listener, None)])
                self._show(hidden)
            except OSError as error:
                raise ConfigError([f"{self._path}: {error.strerror}"]) from error

    def _bind(self, listener: socket.socket, hidden: Path) -> None:
        hidden.unlink(missing_ok=True)
        listener.setblocking(False)
        listener.bind(str(hidden))
        self._inode = hidden.stat().st_ino

    def _show(self, hidden: Path) -> None:
        hidden.rename(self._path)

    def leave(self) -> bool:
        """Take no new siblings; gives whether a successor does."""
        try:
            has_successor = Path(self._path).stat().st_ino != self._inode
            if not has_successor:
                Path(self._path).unlink()
        except OSError:
            return False
        return has_successor

    async def drain(self, within_s: float) -> None:
        """Answer what is asked already."""
        await self._worker.drain(0)
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        self._gate.dismiss_idle()
        while self._gate.connections and loop.time() < ends:
            await asyncio.sleep(_LOOK_S)
            self._gate.dismiss_idle()

    async def stop(self) -> None:
        """End, whatever is going on."""
        await self._worker.stop()


class _SiblingGate(Gate):
    """A gate for siblings: they are no clients, so nothing is entered and little is limited."""

    def __init__(self, shelf: SiblingShelf) -> None:
        limits = replace(ServeLimits(), idle_s=_ALWAYS_S, min_bytes_per_s=0, requests=2**62)
        limits = replace(limits, connections_per_address=limits.connections)
        super().__init__(shelf, Ledger(memoryview(bytearray(8 * COUNTERS)).cast("Q")), limits)
        self.plain[BLOCK] = Headers("", "")

    def dismiss_idle(self) -> None:
        """End connections on which nothing is asked."""
        for each in list(self._connections):
            each.end_if_idle()
