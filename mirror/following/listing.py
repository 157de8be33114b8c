"""``/cvmfs/info/v1/repositories.json`` of another server (contract B.6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import MIB
from mirror.errors import FormatError, printable

INFO: Final = "cvmfs/info/v1/repositories.json"
LIST_BYTES: Final = 4 * MIB
_MOST: Final = 10_000
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Listed:
    """One repository of a list.

    Attributes:
        name: fully qualified.
        url: where that server has it.
        is_pass_through: it has nothing of it itself.
    """

    name: str
    url: str
    is_pass_through: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list.

    Attributes:
        repositories: by their order in it, each once.
        problems: what in it is no repository.
    """

    repositories: tuple[Listed, ...]
    problems: tuple[str, ...] = ()


def server_of(url: str) -> tuple[str, str]:
    """A list's server and the path there; just a server will do."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or INFO


def list_url(url: str) -> str:
    """A list by its one name, which is the mark of what came from it."""
    return "/".join(server_of(url))


def parse_listing(raw: bytes, server: str) -> Listing:
    """Read a list; an entry that is none of a repository is a problem, not the end.

    Args:
        raw: JSON.
        server: ``http://host:port``, which the URLs of entries are relative to.

    Raises:
        FormatError: it is no list of repositories at all.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the list of {server} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(f"the list of {server} is no JSON object")
    entries = [*_entries(content, "repositories", server), *_entries(content, "replicas", server)]
    if len(entries) > _MOST:
        raise FormatError(f"the list of {server} has more than {_MOST:,} entries")
    found: dict[str, Listed] = {}
    problems: list[str] = []
    for each in entries:
        try:
            listed = _listed(each, server)
            found.setdefault(listed.name, listed)
        except FormatError as error:
            problems.append(str(error))
    return Listing(tuple(found.values()), tuple(problems))


def _entries(content: dict[str, Any], key: str, server: str) -> list[Any]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise FormatError(f"the list of {server} has no array {key!r}")
    return entries


def _listed(entry: object, server: str) -> Listed:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise FormatError(f"no repository: {printable(str(entry)[:_SHOWN])}")
    fqrn = Fqrn(entry["name"])
    path = entry.get("url", f"/cvmfs/{fqrn}")
    before, _, alias = path.rpartition("/") if isinstance(path, str) else ("", "", "")
    if before != "/cvmfs":
        raise FormatError(f"{fqrn}: {printable(str(path)[:_SHOWN])} is no path like /cvmfs/{fqrn}")
    url = f"{server}/cvmfs/{Fqrn(alias).name}"
    return Listed(fqrn.name, url, is_pass_through=entry.get("pass-through") is True)
