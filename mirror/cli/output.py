"""How bytes, times and results are shown."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import click


def print_json(value: object) -> None:
    """One JSON document on standard output, for machines; names in it need not even be text."""
    click.echo(json.dumps(value, indent=2))


def size_text(size_bytes: float) -> str:
    """Bytes for people: ``1.4 MB``, decimal as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} PB"


def count_text(count: int, noun: str) -> str:
    """``1 object``, ``2,345 objects``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def age_text(moment: datetime | None, now: datetime) -> str:
    """How long ago: ``3 min ago``; ``never`` for no moment."""
    return "never" if moment is None else f"{duration_text(now - moment)} ago"


def duration_text(duration: timedelta) -> str:
    """The largest unit that is at least one."""
    seconds = max(0, int(duration.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
