"""Where the API listens."""

from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, web

from mirror.daemon.front import Front, close, socket_path, urls
from mirror.errors import ConfigError
from tests.support.loops import run
from tests.support.names import needs_localhost


@pytest.fixture(name="spool")
def fixture_spool() -> Iterator[Path]:
    """A short path."""
    with tempfile.TemporaryDirectory(prefix="s-") as directory:
        yield Path(directory)


def front(spool: Path) -> Front:
    """Of an API with one answer."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    return Front(app, socket_path(spool))


async def asked(url: str, path: Path | None = None) -> str:
    """What is answered there."""
    connector = UnixConnector(str(path)) if path is not None else None
    async with ClientSession(connector=connector) as session, session.get(url) as answer:
        return await answer.text()


def test_paths_that_are_too_long() -> None:
    """The configuration is wrong then, and it says by how much."""
    fits = Path("/" + "s" * (107 - len("//cvmfs-mirror.sock")))
    assert len(bytes(socket_path(fits))) == 107
    with pytest.raises(ConfigError, match=r"storage\.spool: .* 1 bytes shorter"):
        socket_path(fits.with_name(fits.name + "s"))


def test_the_socket(spool: Path) -> None:
    """Only ours, instead of one that was left by whoever was killed; gone in the end."""
    path = socket_path(spool)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def main() -> None:
        it = front(spool)
        await it.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await asked("http://daemon/", path) == "here"
        await it.stop()
        await it.stop()  # harmless
        assert not path.exists()

    run(main())


@needs_localhost
def test_addresses_come_and_go(spool: Path) -> None:
    """Those that stay are not touched; nobody else's are taken."""

    async def main() -> None:
        it = front(spool)
        await it.start()
        anywhere = ("127.0.0.1", 0)
        opened = it.open([anywhere])
        (url,) = urls(opened)
        await it.follow([anywhere], opened)
        assert await asked(url) == "here"
        assert it.open([anywhere]) == {}
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="another program has the port"):
            it.open([("127.0.0.1", 0), ("localhost", port)])
        await it.follow([], {})
        assert it.urls == []
        again = it.open([("127.0.0.1", port)])
        close(again)
        await it.stop()

    run(main())
