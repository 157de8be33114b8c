"""The daemon's status as another process asks for it: ``cvmfs-mirror status --live``.

Blocks, and needs no event loop: it is one request of one person.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from mirror.cvmfs.limits import MIB
from mirror.daemon.status_model import RepositoryStatus, Status
from mirror.errors import FormatError, Unavailable

_PATH: Final = "/api/v1/status"
_TIMEOUT_S: Final = 10.0
_MAX_BYTES: Final = 64 * MIB
HEADINGS: Final = ("REPOSITORY", "SERVED", "UPSTREAM", "LAG", "DOING", "NEXT LOOK", "STATE")


def fetch_status(where: str) -> Status:
    """Ask a daemon.

    Args:
        where: ``http://host:port``, or the path of its socket.

    Raises:
        Unavailable: nobody answers there, or not with a status.
        FormatError: what came is none; another version, perhaps.
    """
    try:
        with closing(_connection(where)) as connection:
            connection.request("GET", _PATH)
            answer = connection.getresponse()
            raw = answer.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        to_do = "is cvmfs-mirror run at work there?"
        raise Unavailable(f"{where}: {str(error) or type(error).__name__}; {to_do}") from error
    if answer.status != 200:
        raise Unavailable(f"{where}{_PATH}: {answer.status} {answer.reason}")
    try:
        return Status.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise FormatError(f"{where}{_PATH} is no status that we can read: {problem}") from error


def row(told: RepositoryStatus, now: datetime) -> tuple[str, ...]:
    """One repository for a table, under `HEADINGS`."""
    served, upstream = told.served, told.upstream
    wait = (told.next_look - now).total_seconds() if told.next_look is not None else None
    return (
        told.name,
        str(served.number) if served is not None else "-",
        str(upstream.number) if upstream is not None else "-",
        f"{told.lag_s:.0f} s" if told.lag_s else "-",
        _doing(told),
        f"in {max(0.0, wait):.0f} s" if wait is not None else "-",
        _state(told),
    )


def remarks(status: Status) -> Iterator[str]:
    """What somebody should read: each alarm, and each error that is none yet."""
    for told in status.repositories:
        for alarm in told.alarms:
            yield f"{told.name}: {alarm.name}: {alarm.sentence}; {alarm.what_to_do}"
        error = told.last_error
        if error is not None and not told.alarms:
            yield f"{told.name}: {error.kind}: {error.sentence}; {error.what_to_do}"


def _doing(told: RepositoryStatus) -> str:
    run = told.run
    if run is None or run.progress is None:
        return told.phase.value
    left = f", {run.eta_s:.0f} s left" if run.eta_s is not None else ""
    return f"{told.phase.value} {run.progress:.0%}{left}"


def _state(told: RepositoryStatus) -> str:
    if told.alarms:
        return ", ".join(alarm.name for alarm in told.alarms)
    if told.withheld is not None:
        return "withheld"
    if told.last_error is not None:
        return told.last_error.kind
    return "served" if told.served is not None else "no snapshot yet"


def _connection(where: str) -> http.client.HTTPConnection:
    if where.startswith("/"):
        return _OverSocket(Path(where))
    parts = urlsplit(where)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unavailable(f"{where!r} is no URL; write http://host:port")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("daemon", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
