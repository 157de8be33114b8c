"""An entry of a list as a ``[[replica]]`` of ours."""

from __future__ import annotations

from pathlib import Path

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError
from mirror.follow_settings import NAME_IN_URL, FollowSettings
from mirror.following.listing import Listed, list_url
from mirror.following.plan import Rules
from mirror.handover.key_files import keys_of
from mirror.trust.master_keys import MasterKeys


def rules_of(follow: FollowSettings) -> Rules:
    """What the configuration wants of a list."""
    return Rules(
        url=list_url(follow.url),
        include=tuple(follow.include),
        exclude=tuple(follow.exclude),
        asks_stratum0=follow.stratum0 is not None,
    )


def replica_table(listed: Listed, follow: FollowSettings) -> dict[str, object]:
    """What the configuration gets.

    Where the Stratum 0 is known it is asked, and the server of the list is a mirror; otherwise that
    server takes its place, which it allows only if it has ``.cvmfs_master_replica``.

    Raises:
        ConfigError: no key fits its name, or one that does is none.
    """
    table: dict[str, object] = {"name": listed.name, "stratum0": listed.url}
    if follow.stratum0 is not None:
        table["stratum0"] = follow.stratum0.replace(NAME_IN_URL, listed.name)
        if not listed.is_pass_through and listed.url != table["stratum0"]:
            table["mirrors"] = [listed.url]
    return {**table, "keys": str(_keys(listed, follow.keys)), "followed": list_url(follow.url)}


def _keys(listed: Listed, directory: Path) -> Path:
    keys = keys_of(Fqrn(listed.name), directory)
    if keys is None:
        raise ConfigError([f"{listed.name}: no key in {directory} fits its name or domain"])
    MasterKeys.load(keys)
    return keys
