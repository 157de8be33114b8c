"""A reload that fails: the service goes on, and somebody hears why."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from mirror.cli.signals import Signals
from mirror.errors import ConfigError, StoreUnavailable
from tests.support.loops import run


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError(["no such key"]), "no such key"),
        (StoreUnavailable("the disk is gone"), "not taken over in full: the disk is gone"),
        (RuntimeError("nobody thought of it"), "a mistake of ours"),
    ],
)
def test_reasons_are_told(error: Exception, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever they are; and the next signal is obeyed."""
    said: list[str] = []

    async def main() -> None:
        signals = Signals()
        is_over = asyncio.Event()

        async def reload() -> None:
            try:
                raise error
            finally:
                is_over.set()

        async def ask() -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            await is_over.wait()
            os.kill(os.getpid(), signal.SIGTERM)

        asking = asyncio.create_task(ask())
        assert await signals.obey(reload, lambda: None, said.append) is None
        await asking
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            asyncio.get_running_loop().remove_signal_handler(each)

    caplog.set_level(logging.INFO)
    run(main())
    assert words in "\n".join([*said, caplog.text])
