"""What we tell the world about snapshots: three files that monitoring already parses (B.6).

Dates look like ``date --utc`` prints them in the C locale, since that is what scripts expect.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from mirror.cvmfs.paths import IS_SNAPSHOTTING, LAST_SNAPSHOT, STATUS
from mirror.errors import FormatError
from mirror.store.base import ObjectReader, ObjectStore

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MAX_BYTES: Final = 64 * 1024


def date_text(moment: datetime) -> str:
    """As ``date --utc``: ``Sat Nov 21 09:30:24 UTC 2026``, whatever the locale."""
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day} {month} {utc.day:2} {utc:%H:%M:%S} UTC {utc.year:04}"


def parse_date(text: str) -> datetime:
    """The inverse of `date_text`.

    Raises:
        FormatError: it is not such a date.
    """
    try:
        _, month, day, time, zone, year = text.split()
        if zone != "UTC":
            raise ValueError(zone)
        moment = datetime.strptime(time, "%H:%M:%S").replace(tzinfo=UTC)
        return moment.replace(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError as error:
        raise FormatError(f"{text[:80]!r} is not a date as 'date --utc' prints it") from error


async def is_initial(store: ObjectReader) -> bool:
    """Whether no snapshot ever ended well here."""
    return await _read(store, LAST_SNAPSHOT) is None


async def last_snapshot(store: ObjectReader) -> datetime | None:
    """When the last one ended; None if none did, or the file is unreadable."""
    raw = await _read(store, LAST_SNAPSHOT)
    try:
        return parse_date(raw.decode("ascii", "replace")) if raw is not None else None
    except FormatError:
        return None


async def tell_begun(store: ObjectStore, now: datetime) -> None:
    """A snapshot is under way."""
    line = f"{date_text(now)}\n".encode()
    await store.write_root_file(IS_SNAPSHOTTING, line, is_durable=False)


async def tell_ended(store: ObjectStore) -> None:
    """None is any more."""
    await store.remove_root_file(IS_SNAPSHOTTING)


async def tell_succeeded(store: ObjectStore, now: datetime) -> None:
    """It ended well; what other tools keep in the status file stays."""
    await tell_status(store, last_snapshot=date_text(now))
    line = f"{date_text(now)}\n".encode()
    await store.write_root_file(LAST_SNAPSHOT, line, is_durable=False)


async def tell_status(store: ObjectStore, **facts: str) -> None:
    """Set some facts in ``.cvmfs_status.json`` and keep the others."""
    status = {**await read_status(store), **facts}
    text = json.dumps(status, indent=2) + "\n"
    await store.write_root_file(STATUS, text.encode(), is_durable=False)


async def read_status(store: ObjectReader) -> dict[str, object]:
    """The facts in ``.cvmfs_status.json``; none if it is unreadable."""
    raw = await _read(store, STATUS)
    try:
        status = json.loads(raw) if raw is not None else {}
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) else {}


async def _read(store: ObjectReader, name: str) -> bytes | None:
    """What other tools may have written; nothing legible if it is far too long."""
    try:
        return await store.read_root_file(name, _MAX_BYTES)
    except FormatError:
        return b""
