"""The real client follows our flips at once, and the real publisher's message is one that we read.

A client that polls would wait for the manifest's time to live, four minutes.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.api import create_api
from mirror.daemon.hub import HubLimits
from mirror.daemon.notifications import make_notification, parse_notification
from tests.support.api import Daemon
from tests.support.clock import NOW
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.reference_tools import mounted, needs, needs_fuse
from tests.support.situations import FQRN

_PATIENCE_S: Final = 60.0


class Api:
    """The daemon's HTTP in a thread."""

    def __init__(self, url: str, daemon: Daemon, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.daemon = daemon
        self._loop = loop

    def publish(self, manifest: bytes) -> None:
        """Tell all who listen."""
        message = make_notification(FQRN, manifest, NOW)
        self._loop.call_soon_threadsafe(self.daemon.hub.publish, FQRN, message)


@contextmanager
def api() -> Iterator[Api]:
    """On a port of loopback."""
    loop, daemon = asyncio.new_event_loop(), Daemon(HubLimits(heartbeat_s=0.05))
    thread = threading.Thread(target=loop.run_forever, name="api")
    thread.start()
    server = TestServer(create_api(daemon.parts), loop=loop)
    try:
        asyncio.run_coroutine_threadsafe(server.start_server(), loop).result()
        yield Api(f"http://127.0.0.1:{server.port}/api/v1", daemon, loop)
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for another program."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@needs("cvmfs2")
@needs_fuse
def test_the_real_client_is_told_of_each_flip(keys: Keys, tmp_path: Path) -> None:
    """Twice, without a reconnection in between."""
    key = tmp_path / "master.pub"
    key.write_bytes(keys.master_pem)
    repository = Repository(keys)
    repository.publish({"": {"file": b"1"}})
    with HttpStratum0(repository.files) as stratum0, api() as told:
        more = f"CVMFS_NOTIFICATION_SERVER={told.url}\n"
        origin = stratum0.url.partition("/cvmfs/")[0]
        with mounted(FQRN.name, origin, key, tmp_path / "m", more) as mount:
            hub = told.daemon.hub
            eventually(lambda: hub.subscribers == 1, "the client does not subscribe")
            for text in (b"2", b"3"):
                assert (mount / "file").read_bytes() != text
                repository.publish({"": {"file": text}})
                told.publish(repository.files[MANIFEST])
                eventually(lambda: (mount / "file").read_bytes() == text, "not told")  # noqa: B023
            assert hub.came == 1


@needs("cvmfs_swissknife")
def test_the_message_of_the_real_publisher(keys: Keys) -> None:
    """``notify -p`` sends what we read."""
    repository = Repository(keys)
    repository.publish({"": {"file": b"1"}})
    received: list[bytes] = []

    async def publish(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.json_response({"status": "ok"})

    async def main(origin: str) -> None:
        app = web.Application()
        app.router.add_post("/api/v1/notifications/publish", publish)
        async with TestServer(app) as server:
            url = str(server.make_url("/api/v1"))
            command = ["cvmfs_swissknife", "notify", "-p", "-u", url, "-r", origin]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, check=False
            )
        assert done.returncode == 0, done.stdout

    with HttpStratum0(repository.files) as stratum0:
        run(main(stratum0.url))
    heard = parse_notification(received[0])
    assert (heard.fqrn, heard.manifest.raw) == (FQRN, repository.files[MANIFEST])
    assert b"\n" not in received[0], "else it could not stand behind 'data:'"
