"""What systemd wants to hear of a service: ready, reloading, stopping, alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Systemd:
    """Tells systemd, where it listens; anywhere else nothing happens."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Find out whom to tell, and how often that we are alive."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = environment.get("WATCHDOG_USEC", "0") if is_for_us else "0"
        self.watchdog_s = int(watchdog) / _MICROSECONDS if watchdog.isdecimal() else 0.0

    def ready(self, status: str) -> None:
        """Clients are served."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._tell(f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is read anew; `ready` says when that is done."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """No more clients are let in."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
            try:
                teller.sendto(message.encode(), address)
            except OSError:
                return  # systemd restarts, or is too busy: it asks again by its own means
