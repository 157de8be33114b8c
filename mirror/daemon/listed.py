"""The lists that others read beside the repositories, from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mirror.config import Settings
from mirror.daemon.information import Contact, Entry, InformationFiles, Versions, repositories_text
from mirror.errors import StoreError
from mirror.store.threads import in_thread


async def write_lists(settings: Settings, say: Callable[[str], None]) -> None:
    """Write what has changed; where that cannot be done, say so and go on."""
    try:
        await in_thread(lambda: _write(settings))
    except StoreError as error:
        say(f"the list of repositories cannot be written: {error}")


def geodb_updated(databases: Iterable[Path]) -> datetime | None:
    """When the newest of the files of places came; None if there is none. Blocks."""
    times: list[float] = []
    for each in databases:
        with suppress(OSError):
            times.append(each.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _write(settings: Settings) -> None:
    files = InformationFiles(settings.storage.path)
    entries = [Entry(each.name, is_pass_through=each.pass_through) for each in settings.replica]
    updated = geodb_updated(settings.geo.databases)
    text = repositories_text(entries, geodb_updated=updated, versions=Versions.of_host())
    files.write_repositories(text)
    files.write_meta(Contact())
