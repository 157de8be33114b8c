"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from mirror.errors import ConfigError
from mirror.serve.worker_options import MAX_MESSAGE_BYTES, WorkerOptions, pack

_PATIENCE_S: Final = 60.0
"""With a worker that does not get ready; a machine that is busy takes seconds to start Python."""


class WorkerFailed(ConfigError):
    """A worker did not get ready; tells why."""


class WorkerHandle:
    """Started, heard of, told, and waited for."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, options: WorkerOptions) -> WorkerHandle:
        """Start one, and wait until it serves.

        Raises:
            WorkerFailed: it does not.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "mirror.serve.worker_process"),
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *options.inherited],
                    start_new_session=True,  # Ctrl-C is for us, and we tell them
                )
            except OSError as error:
                writer.close()
                raise WorkerFailed([f"no worker can be started: {error.strerror}"]) from error
            except BaseException:
                writer.close()
                raise
        worker = cls(process, reader, writer)
        try:
            await worker._get_ready(options)
        except BaseException:
            worker.kill()
            await worker.ended()
            raise
        return worker

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as we have heard."""
        return self._process.returncode is None

    def reopen(self) -> None:
        """Let it open its logs anew."""
        self._tell(do="reopen")

    def drain(self, within_s: float) -> None:
        """Let it end; it takes no new clients, and answers those it has."""
        self._tell(do="drain", within_s=within_s)

    def kill(self) -> None:
        """End it, whatever it is at."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._writer.close()

    async def ended(self) -> str:
        """Wait for its end; tells how that came."""
        status = await self._process.wait()
        self._writer.close()
        if status >= 0:
            return f"ended with status {status}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"

    async def _get_ready(self, options: WorkerOptions) -> None:
        self._tell(**pack(options))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await self._reader.readline()
        except TimeoutError as error:
            raise WorkerFailed([f"worker {self.process} does not get ready"]) from error
        except OSError:
            answer = b""  # it ended before it had read everything, which is an end like any other
        if not answer:
            raise WorkerFailed([f"worker {self.process} {await self.ended()} at its start"])
        told: Mapping[str, Any] = json.loads(answer)
        if told["is"] != "ready":
            raise WorkerFailed(told["problems"])

    def _tell(self, **message: object) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")
