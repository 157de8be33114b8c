"""The last step of the tour: a proxy in front of the mirror, a program of its own.

A mirror does not know its proxies, so it is started as an operator would start it, and what it did
is read where an operator would look: in its access log.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.errors import UpstreamError

_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.05
_FETCHED: Final = frozenset({"miss", "bypass"})
"""What the mirror was asked for; everything else the proxy had."""


@dataclass(frozen=True, slots=True)
class DemoProxy:
    """One that runs.

    Attributes:
        url: where clients find it.
        config: its configuration.
    """

    url: str
    config: Path
    _log: Path

    async def hits(self, requests: int) -> int:
        """How many of so many requests, all that were sent, did not go on to the mirror.

        Raises:
            UpstreamError: not all of them are in the log.
        """
        lines = await self._lines(requests)
        outcomes = [json.loads(line)["outcome"] for line in lines]
        if "error" in outcomes:
            raise UpstreamError(f"the proxy could not answer; {self._log} tells more")
        return sum(outcome not in _FETCHED for outcome in outcomes)

    async def _lines(self, count: int) -> list[str]:
        """Of the log, which is written a few times a second."""
        for _ in range(int(_PATIENCE_S / _LOOK_S)):
            lines = self._log.read_text().splitlines()
            if len(lines) >= count:
                return lines
            await asyncio.sleep(_LOOK_S)
        raise UpstreamError(f"the proxy has answered, and {self._log} does not say so")


@asynccontextmanager
async def proxy_before(mirror: str, directory: Path) -> AsyncIterator[DemoProxy]:
    """A proxy before a mirror, until the end; everything of it lies below ``directory``.

    Raises:
        UpstreamError: it does not start.
    """
    config, log = directory / "proxy.toml", directory / "proxy.log"
    config.write_text(
        "[proxy]\n"
        'listen = ["127.0.0.1:0"]\n'
        f'upstreams = ["{mirror}"]\n'
        "workers = 1\n"
        "[proxy.access_log]\n"
        f'path = "{log}"\n'
        'format = "json"\n'
        "[cache]\n"
        f'directory = "{directory / "cache"}"\n'
        'size = "1 GiB"\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "proxy", "run", "--config", str(config)),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us
    )
    try:
        yield DemoProxy(await _url(process), config, log)
    finally:
        process.terminate()
        await process.communicate()


async def _url(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()
    if " at http" not in said:
        raise UpstreamError(f"the proxy does not start: {said.strip()}")
    return said.rpartition(" at ")[2].strip()
