"""What else on this host works for ``cvmfs_server``, and would go on beside us; only named.

Nothing here is changed: it is the operator's, and may serve repositories that stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.handover.small_files import Unreadable, read_text


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A line of a file.

    Attributes:
        path: of the file.
        line: its number, from 1.
        does: what it does.
        advice: what to do about it.
    """

    path: Path
    line: int
    does: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Sign:
    files: tuple[str, ...]
    pattern: re.Pattern[str]
    does: str
    advice: str


_CLOCKS: Final = (
    *("etc/crontab", "etc/cron.d/*", "etc/cron.hourly/*", "etc/cron.daily/*", "etc/cron.weekly/*"),
    *("var/spool/cron/*", "var/spool/cron/crontabs/*", "etc/systemd/system/*.service"),
)
_WEB: Final = (
    *("etc/httpd/conf.d/*.conf", "etc/apache2/conf.d/*.conf", "etc/apache2/conf-enabled/*.conf"),
    *("etc/apache2/conf-available/*.conf", "etc/apache2/sites-available/*.conf"),
    "etc/apache2/sites-enabled/*.conf",
)
_SIGNS: Final = (
    _Sign(
        _CLOCKS,
        re.compile(r"\bcvmfs_server\s+snapshot\b|\bcvmfs_snapshot\b|\bcvmfs_server_snapshot\b"),
        "takes snapshots by the clock",
        "disable it when cvmfs-mirror run is at work; both at once only wait for each other",
    ),
    _Sign(
        _CLOCKS,
        re.compile(r"\bcvmfs_server\s+gc\b"),
        "collects garbage",
        "it may stay: it takes the lock that we take, and so waits for our snapshots",
    ),
    _Sign(
        _CLOCKS,
        re.compile(r"\bcvmfs_server\s+check\b"),
        "checks replicas",
        "it may stay, or give way to cvmfs-mirror check",
    ),
    _Sign(
        _CLOCKS,
        re.compile(r"\bcvmfs_server\s+update-geodb\b"),
        "updates the geo database",
        "keep it as long as Apache answers the geo API",
    ),
    _Sign(
        _CLOCKS,
        re.compile(r"\bmanage-replicas\b|\bcvmfs-manage-replicas\b"),
        "adds and removes replicas by another server's list",
        "disable it and use cvmfs-mirror follow",
    ),
    _Sign(
        _WEB,
        re.compile(
            r"^\s*(?:Alias|AliasMatch|WSGIScriptAlias\w*|ProxyPass|RewriteRule).*cvmfs",
            re.IGNORECASE,
        ),
        "serves /cvmfs by Apache",
        "disable it when cvmfs-mirror serve answers in its place",
    ),
    _Sign(
        ("etc/logrotate.d/*",),
        re.compile(r"/var/log/cvmfs\b"),
        "rotates the logs of cvmfs_server",
        "it may stay until these logs are gone",
    ),
)


def neighbours(root: Path = Path("/")) -> list[Neighbour]:
    """All that are found below ``root``, once for each file and what it does."""
    found: dict[tuple[Path, str], Neighbour] = {}
    for sign in _SIGNS:
        for pattern in sign.files:
            for path in sorted(root.glob(pattern)):
                for each in _in(path, sign):
                    found.setdefault((each.path, each.does), each)
    return sorted(found.values(), key=lambda each: (str(each.path), each.line))


def _in(path: Path, sign: _Sign) -> Iterator[Neighbour]:
    try:
        text = read_text(path)
    except Unreadable:
        return  # a link into another of these directories, or nothing that a clock would read
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#") and sign.pattern.search(line):
            yield Neighbour(path, number, sign.does, sign.advice)
