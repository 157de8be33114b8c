"""A worker as a process of its own: ``python -P -m mirror.serve.worker_process DESCRIPTOR``.

The descriptor is one end of a socket pair, on which a line of JSON is a message.

    supervisor → worker                              worker → supervisor
    its options (`worker_options`)                   {"is": "ready"}
    {"do": "reopen"}        log files                {"is": "refused", "problems": ["…"]}
    {"do": "drain", "within_s": 20.0}

It drains and ends when it is told to, and when its supervisor is no more. What it serves is named
in its options, so that a proxy's workers are the same program.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys
from contextlib import ExitStack
from pkgutil import resolve_name
from typing import Any

from mirror.errors import ConfigError
from mirror.serve.running import Worker
from mirror.serve.tls import tls_context
from mirror.serve.worker_options import MAX_MESSAGE_BYTES, WorkerOptions, unpack


async def _serve(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=control, limit=MAX_MESSAGE_BYTES)

    def tell(**message: object) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    try:
        options = unpack(json.loads(await reader.readline()))
        try:
            worker = await _started(options)
        except ConfigError as error:
            tell(**{"is": "refused", "problems": error.problems})
            return
        _leave_garbage_alone()
        tell(**{"is": "ready"})
        await _until_drained(reader, worker, options)
        await worker.stop()
    finally:
        writer.close()


async def _started(options: WorkerOptions) -> Worker:
    """The worker, which has copies of its own of the sockets: it may close them."""
    worker: Worker = resolve_name(options.job)(options)
    tls = tls_context(options.tls) if options.tls else None
    with ExitStack() as inherited:
        plain, secure = (
            [inherited.enter_context(socket.socket(fileno=each)) for each in descriptors]
            for descriptors in (options.plain, options.secure)
        )
        await worker.start([(each, None) for each in plain] + [(each, tls) for each in secure])
    return worker


async def _until_drained(
    reader: asyncio.StreamReader, worker: Worker, options: WorkerOptions
) -> None:
    within_s = await _hear(reader, worker)
    # whoever asks for logs to be reopened does not know that we are about to end
    hearing = asyncio.ensure_future(_hear(reader, worker))
    try:
        await worker.drain(options.limits.drain_s if within_s is None else within_s)
    finally:
        hearing.cancel()


async def _hear(reader: asyncio.StreamReader, worker: Worker) -> float | None:
    """Do what we are told, up to the order to drain; gives the time for it, None for all of it."""
    try:
        while message := await reader.readline():
            asked: dict[str, Any] = json.loads(message)
            match asked["do"]:
                case "reopen":
                    worker.reopen()
                case "drain":
                    within_s: float = asked["within_s"]
                    return within_s
    except ConnectionError:
        pass  # our supervisor has ended
    return None


def _leave_garbage_alone() -> None:
    """Look for garbage seldom, and never among what is there to stay.

    Measured: with 20,000 answers kept at hand, collections of all generations took 30 ms each,
    which is what the slowest percent of the clients waited for. A request makes no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def main() -> None:
    """Run until told to end."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)  # the supervisor's affair; it tells us
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
