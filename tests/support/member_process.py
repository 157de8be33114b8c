"""One member of a group as a process: the daemon, and the group's part of its HTTP.

python -m tests.support.member_process CONFIG PORT
"""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

from aiohttp import web

from mirror.config import load_settings
from mirror.daemon.answers import in_our_words
from mirror.daemon.running import running


async def main(config: Path, port: int) -> None:
    """Until SIGTERM."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with running(partial(load_settings, config), partial(print, flush=True)) as daemon:
        app = web.Application(middlewares=[in_our_words])
        daemon.groups.add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await over.wait()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
