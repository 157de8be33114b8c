"""Listening on addresses until told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from mirror.errors import ConfigError
from mirror.serve.app import create_app


@asynccontextmanager
async def serving(storage: Path, addresses: Sequence[tuple[str, int]]) -> AsyncIterator[list[str]]:
    """Serve the trees below ``storage``; gives the URLs, with the ports really taken.

    Args:
        storage: holds a directory for each repository.
        addresses: host and port each; an empty host is any, port 0 is whichever is free.

    Raises:
        ConfigError: an address cannot be listened on.
    """
    runner = web.AppRunner(create_app(storage), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        for host, port in addresses:
            try:
                await web.TCPSite(runner, host or None, port).start()
            except OSError as error:
                raise ConfigError(
                    [f"cannot listen on {host}:{port}: {error.strerror}; is the port taken?"]
                ) from error
        yield [_url(address) for address in runner.addresses]
    finally:
        await runner.cleanup()


def _url(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
