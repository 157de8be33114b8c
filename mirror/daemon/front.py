"""Where the API listens: a socket of this host for our workers, and addresses for others.

The socket is in the spool directory, and only the user that runs the daemon may connect. Workers
pass on to it what clients ask at the mirror's own port.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from mirror.errors import ConfigError
from mirror.serve.listening import Address, listen, url_of
from mirror.store.file_errors import translated

SOCKET: Final = "cvmfs-mirror.sock"
_LONGEST: Final = 107
"""Bytes of a socket's path that the kernel takes."""
_BACKLOG: Final = 1024
_MODE: Final = 0o600
_TO_END_S: Final = 1.0

Opened = Mapping[Address, Sequence[socket.socket]]
"""New listening sockets that serve nobody yet."""


def socket_path(spool: Path) -> Path:
    """Where the socket is.

    Raises:
        ConfigError: its path is too long for one.
    """
    path = spool / SOCKET
    length = len(bytes(path))
    if length > _LONGEST:
        to_do = f"choose a directory whose path is {length - _LONGEST} bytes shorter"
        problem = (
            f"storage.spool: {path} has {length} bytes, and a socket's path at most {_LONGEST}"
        )
        raise ConfigError([f"{problem}; {to_do}"])
    return path


class Front:
    """The API, listening."""

    def __init__(self, app: web.Application, path: Path) -> None:
        """Nothing listens yet; ``path`` is the socket's."""
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=_TO_END_S
        )
        self._path = path
        self._sites: dict[Address, list[web.SockSite]] = {}
        self._is_open = False

    @property
    def urls(self) -> list[str]:
        """Of the addresses."""
        return [each.name for sites in self._sites.values() for each in sites]

    async def start(self) -> None:
        """Listen on the socket, instead of whoever left it there: there is one daemon for a spool.

        Raises:
            StoreError: it cannot be made.
        """
        await self._runner.setup()
        self._is_open = True
        with translated(self._path):
            listener = _only_for_us(self._path)
        await web.SockSite(self._runner, listener).start()

    def open(self, addresses: Sequence[Address]) -> Opened:
        """Sockets for those that are new; to be given to `follow`, or closed.

        Raises:
            ConfigError: one of them cannot be listened on; then nothing was opened.
        """
        opened: dict[Address, list[socket.socket]] = {}
        with ExitStack() as undo:
            for address in dict.fromkeys(addresses):
                if address not in self._sites:
                    sockets = [each for found in listen(address, 1).values() for each in found]
                    opened[address] = [undo.enter_context(each) for each in sockets]
            undo.pop_all()
        return opened

    async def follow(self, addresses: Sequence[Address], opened: Opened) -> None:
        """Listen on these addresses, and no others."""
        for address, sockets in opened.items():
            sites = [web.SockSite(self._runner, each) for each in sockets]
            self._sites[address] = sites
            for site in sites:
                await site.start()
        for address in self._sites.keys() - set(addresses):
            for site in self._sites.pop(address):
                await site.stop()

    async def stop(self) -> None:
        """Let nobody in any more, and end what is going on, streams too."""
        if self._is_open:
            self._is_open = False
            await self._runner.cleanup()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def close(opened: Opened) -> None:
    """They are not needed after all."""
    for sockets in opened.values():
        for each in sockets:
            each.close()


def urls(opened: Opened) -> list[str]:
    """Of sockets that were opened."""
    return [url_of(each) for sockets in opened.values() for each in sockets]


def _only_for_us(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(_MODE)  # nobody can connect before it listens
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
