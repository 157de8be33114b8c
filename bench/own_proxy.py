"""Our proxy in one process, as a worker is, for benches: ``python own_proxy.py OPTIONS PORT``."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mirror.serve.limits import ServeLimits
from mirror.serve.listening import listening
from mirror.serve.worker_options import WorkerOptions
from proxy.running import proxy_worker


async def _run(about: str, port: int) -> None:
    worker = proxy_worker(WorkerOptions(job="", about=json.loads(about), limits=ServeLimits()))
    asked_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
    with listening([("127.0.0.1", port)]) as sockets:
        await worker.start([(each, None) for each in sockets])
        _leave_garbage_alone()
        await asked_to_end.wait()
        await worker.stop()


def _leave_garbage_alone() -> None:
    """As `mirror.serve.worker_process` does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
