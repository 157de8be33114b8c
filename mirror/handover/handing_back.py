"""Our replica as ``cvmfs_server`` would have configured it, so that it can go on.

What it writes is run by shells, so only values that no shell looks into are handed back. Where its
files are still there and say the same, nothing is to be done; lines of theirs that are none of our
business (groups, garbage collection) stay.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.errors import ConfigError
from mirror.handover.hosted import REPLICA_CONF, SERVER_CONF
from mirror.handover.shell_values import ShellValues, parse_values
from mirror.handover.small_files import Unreadable, read_text

_HARMLESS: Final = re.compile(r"[A-Za-z0-9_./:,@%+=-]*", re.ASCII)
_LAYOUT: Final = "143"
"""Of the trees of cvmfs_server since 2.2; the one that ours have."""
_PLACES: Final = frozenset({"CVMFS_SPOOL_DIR", "CVMFS_PUBLIC_KEY", "CVMFS_UPSTREAM_STORAGE"})
_THEIRS: Final = frozenset({"CVMFS_CREATOR_VERSION", "CVMFS_USER", "CVMFS_STRATUM1"})
"""What matters to it alone, and is left as it is where it is."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A replica of ours.

    Attributes:
        name: of the repository.
        stratum0: where it comes from.
        stratum1: where it is served on this host; cvmfs_server reads its own reflog from there.
        tree: where it lies.
        spool: for its lock and the reflog's checksum.
        keys: a file or directory of master keys.
        proxy: for Stratum 0; None for none.
        ca_bundle: likewise.
        timeout_s: likewise.
        retries: likewise.
        is_pass_through: nothing is stored.
    """

    name: str
    stratum0: str
    stratum1: str
    tree: Path
    spool: Path
    keys: Path
    proxy: str | None
    ca_bundle: Path | None
    timeout_s: int
    retries: int
    is_pass_through: bool


@dataclass(frozen=True, slots=True)
class ConfFile:
    """One file to hand back.

    Attributes:
        path: where.
        text: what it is to hold.
        is_there: whether it says so already.
        differs: what it says otherwise; empty for nothing.
    """

    path: Path
    text: str
    is_there: bool
    differs: tuple[str, ...]


def conf_files(ours: Ours, directory: Path, defaults: ShellValues | None = None) -> list[ConfFile]:
    """The two files in its directory below ``repositories.d``.

    Args:
        ours: what they are to say.
        directory: where they are, or will be.
        defaults: what holds where they say nothing.

    Raises:
        ConfigError: a value would mean something else to a shell.
    """
    described = {SERVER_CONF: _server_conf(ours), REPLICA_CONF: _replica_conf(ours)}
    problems = [
        f"{ours.name}: {key}={value!r} means something to a shell, and cvmfs_server reads it with "
        "one; use a name without such characters"
        for values in described.values()
        for key, value in values.items()
        if not _HARMLESS.fullmatch(value)
    ]
    if problems:
        raise ConfigError(problems)
    return [
        _conf_file(directory / name, values, defaults or ShellValues())
        for name, values in described.items()
    ]


def _server_conf(ours: Ours) -> dict[str, str]:
    values = {
        "CVMFS_CREATOR_VERSION": _LAYOUT,
        "CVMFS_REPOSITORY_NAME": ours.name,
        "CVMFS_REPOSITORY_TYPE": "stratum1",
        "CVMFS_USER": _owner(ours.tree),
        "CVMFS_SPOOL_DIR": str(ours.spool),
        "CVMFS_STRATUM0": ours.stratum0,
        "CVMFS_STRATUM1": ours.stratum1,
        "CVMFS_UPSTREAM_STORAGE": f"local,{ours.tree}/data/txn,{ours.tree}",
    }
    if ours.proxy:
        values["CVMFS_SERVER_PROXY"] = ours.proxy
    if ours.ca_bundle:
        values["X509_CERT_BUNDLE"] = str(ours.ca_bundle)
    return values


def _replica_conf(ours: Ours) -> dict[str, str]:
    if ours.is_pass_through:
        return {"CVMFS_PASSTHROUGH": "true"}
    return {
        "CVMFS_NUM_WORKERS": "16",
        "CVMFS_PUBLIC_KEY": str(ours.keys),
        "CVMFS_HTTP_TIMEOUT": str(ours.timeout_s),
        "CVMFS_HTTP_RETRIES": str(ours.retries),
    }


def _owner(tree: Path) -> str:
    try:
        return pwd.getpwuid(tree.stat().st_uid).pw_name
    except (OSError, KeyError):
        return "root"


def _conf_file(path: Path, values: Mapping[str, str], defaults: ShellValues) -> ConfFile:
    if not os.path.lexists(path):
        return ConfFile(path, _text(values, ShellValues()), is_there=False, differs=())
    try:
        alone, there = parse_values(text := read_text(path)), parse_values(text, defaults)
    except Unreadable as error:
        return ConfFile(path, _text(values, ShellValues()), is_there=False, differs=(str(error),))
    differs = tuple(
        f"{path}: {key} is {there.values.get(key, '')!r}, ours is {value!r}"
        for key, value in values.items()
        if not _is_same(key, there.values.get(key), value)
    )
    return ConfFile(path, _text(values, alone), is_there=not differs, differs=differs)


def _is_same(key: str, theirs: str | None, ours: str) -> bool:
    """Whether it means the same; how many times it tries, and as whom, it may decide itself."""
    if key in _THEIRS or (theirs is not None and key.startswith(("CVMFS_HTTP_", "CVMFS_NUM_"))):
        return theirs is not None
    if theirs is None or key not in _PLACES:
        return _plain(theirs or "") == _plain(ours)
    return _resolved(theirs) == _resolved(ours)


def _plain(value: str) -> str:
    """A URL as it is compared; without a scheme it is http."""
    return value.rstrip("/").removeprefix("http://")


def _resolved(value: str) -> tuple[Path, ...]:
    """Files behind names, whatever links lead there."""
    found: set[Path] = set()
    for each in re.split(r"[:,]", value):
        if each.startswith("/"):
            place = Path(each)
            keys = sorted(place.glob("*.pub")) if place.is_dir() else []
            found |= {key.resolve() for key in keys or [place]}
    return tuple(sorted(found))


def _text(values: Mapping[str, str], there: ShellValues) -> str:
    """Ours, and behind them what the file says of other things."""
    others = {
        key: value
        for key, value in there.values.items()
        if key not in values and key.startswith("CVMFS_") and _HARMLESS.fullmatch(value)
    }
    lines = [f"{key}={value}" for key, value in {**values, **others}.items()]
    return "\n".join(["# Written by cvmfs-mirror export.", *lines, ""])
