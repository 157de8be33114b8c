"""``/cvmfs/info/v1/repositories.json`` and ``meta.json``, as ``cvmfs_server`` writes them (B.6).

Written below the storage, where the workers serve them from; each at once, and only if it changes,
so that its time says when that was. A ``meta.json`` that is there is the operator's, and stays.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mirror import __version__
from mirror.replication.state import date_text
from mirror.store.file_errors import translated

_DIRECTORY: Final = "info/v1"
_REPOSITORIES: Final = "repositories.json"
_META: Final = "meta.json"
_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Entry:
    """One repository in the list.

    Attributes:
        name: fully qualified.
        alias: what its directory is called; None for the same.
        is_pass_through: it is not kept here but asked for at its origin each time.
    """

    name: str
    alias: str | None = None
    is_pass_through: bool = False

    @property
    def directory(self) -> str:
        """In its URL."""
        return self.alias or self.name


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs here. Some who read the list refuse it without (E.1)."""

    software: str
    os_id: str
    os_version_id: str
    os_pretty_name: str

    @classmethod
    def of_host(cls) -> Versions:
        """Of this software and this system; blocks."""
        try:
            system = platform.freedesktop_os_release()
        except OSError:
            system = {}
        known = [system.get(key, "unknown") for key in ("ID", "VERSION_ID", "PRETTY_NAME")]
        return cls(__version__, *known)


@dataclass(frozen=True, slots=True)
class Contact:
    """Who runs this server."""

    administrator: str = "Your Name"
    email: str = "you@organisation.org"
    organisation: str = "Your Organisation"


def repositories_text(
    replicas: Sequence[Entry],
    repositories: Sequence[Entry] = (),
    geodb_updated: datetime | None = None,
    versions: Versions | None = None,
) -> str:
    """The list, in the order and with the blanks of the reference: some read it line by line.

    Args:
        replicas: what we are a Stratum 1 of.
        repositories: what we are the Stratum 0 of.
        geodb_updated: of the file of places; None for none.
        versions: of what runs here; None to keep quiet.
    """
    lines = ["{", '  "schema" : 1,']
    if geodb_updated is not None:
        lines.append(f'  "last_geodb_update" : {_quoted(date_text(geodb_updated))},')
    if versions is not None:
        lines.append(f'  "cvmfs_version" : {_quoted(versions.software)},')
        lines += [
            f'  "{name}" : {_quoted(getattr(versions, name))}, '
            for name in ("os_id", "os_version_id", "os_pretty_name")
        ]
    lines += ['  "repositories" : [', *_entries(repositories), "  ],"]
    lines += ['  "replicas" : [', *_entries(replicas), "  ]", "}"]
    return "\n".join(lines) + "\n"


def meta_text(contact: Contact) -> str:
    """What ``cvmfs_server`` leaves for the operator to edit, with what we know of them."""
    return (
        "{\n"
        f'  "administrator" : {_quoted(contact.administrator)},\n'
        f'  "email"         : {_quoted(contact.email)},\n'
        f'  "organisation"  : {_quoted(contact.organisation)},\n'
        "\n"
        '  "custom" : {\n'
        '    "_comment" : "Put arbitrary structured data here"\n'
        "  }\n"
        "}\n"
    )


class InformationFiles:
    """The files of one storage; all methods block."""

    def __init__(self, storage: Path) -> None:
        """Of the tree at ``storage``."""
        self._directory = storage / _DIRECTORY

    def write_repositories(self, text: str) -> bool:
        """Replace the list, if it is another one; returns whether it was.

        Raises:
            StoreError: why it could not be written.
        """
        return self._write(_REPOSITORIES, text)

    def write_meta(self, contact: Contact) -> bool:
        """Write who runs this server, if nobody wrote it before; returns whether.

        Raises:
            StoreError: why it could not be written.
        """
        if (self._directory / _META).exists():
            return False
        return self._write(_META, meta_text(contact))

    def _write(self, name: str, text: str) -> bool:
        path, data = self._directory / name, text.encode()
        with translated(path):
            with suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    return False
            self._directory.mkdir(parents=True, exist_ok=True)
            _replace(path, data)
        return True


def _replace(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.txn.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _entries(entries: Sequence[Entry]) -> list[str]:
    blocks = [_block(entry) for entry in sorted(entries, key=lambda entry: entry.directory)]
    return [",\n".join(blocks)] if blocks else []


def _block(entry: Entry) -> str:
    lines = ["    {", f'      "name"  : {_quoted(entry.name)},']
    if entry.directory != entry.name:
        lines.append(f'      "alias" : {_quoted(entry.directory)},')
    if entry.is_pass_through:
        lines.append('      "pass-through" : true,')
    lines += [f'      "url"   : {_quoted(f"/cvmfs/{entry.directory}")}', "    }"]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
