"""The workers of one host, as one of them takes part: its own door, and the way to the others'."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mirror.upstream.options import HttpOptions
from proxy.siblings.asking import Siblings
from proxy.siblings.door import Directory, Door
from proxy.siblings.line import SiblingPool
from proxy.siblings.shelf import OwnShelf

_CONNECTIONS: Final = 256
_DRAIN_S: Final = 20.0


class Host:
    """See above.

    Attributes:
        siblings: the others, for whoever misses something.
    """

    def __init__(self, directory: Path, worker: int, workers: int, timeout_s: float) -> None:
        """Find the others; nobody is let in yet.

        Args:
            directory: of the sockets.
            worker: which of the workers we are.
            workers: how many there are.
            timeout_s: for one who owns something to begin with it, all its upstreams being slow.

        Raises:
            ConfigError: the directory is none of ours.
        """
        self._directory = Directory(directory)
        options = HttpOptions(timeout_s=timeout_s, max_connections=_CONNECTIONS)
        paths = [self._directory.socket_of(each) for each in range(workers)]
        self.siblings = Siblings([SiblingPool(each, options) for each in paths], worker)
        self._path = paths[worker]
        self._door: Door | None = None

    def share(self, shelf: OwnShelf) -> None:
        """Others may have what is on a shelf, from when we are open."""
        self._door = Door(self._path, shelf)

    async def open(self) -> None:
        """Let the others in.

        Raises:
            ConfigError: the socket cannot be made.
        """
        if self._door is not None:
            await self._door.open()

    def leave(self) -> None:
        """Leave what we own to our successor, if there is one."""
        if self._door is not None and self._door.leave():
            self.siblings.leave()

    async def drain(self, within_s: float | None) -> None:
        """Answer what is asked already."""
        if self._door is not None:
            await self._door.drain(_DRAIN_S if within_s is None else within_s)

    async def stop(self) -> None:
        """End, whatever is going on."""
        self.siblings.close()
        if self._door is not None:
            await self._door.stop()
        self._directory.close()
