"""One repository as ``cvmfs_server`` has it: ``repositories.d/<alias>/{server,replica}.conf``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError, printable
from mirror.handover.shell_values import ShellValues, parse_values
from mirror.handover.small_files import Unreadable, read_text

SERVER_CONF: Final = "server.conf"
REPLICA_CONF: Final = "replica.conf"
SERVER_LOCAL: Final = "server.local"
LOCAL_UPSTREAM: Final = "local"
_MOST_REPOSITORIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Hosted:
    """One replica of cvmfs_server's.

    Attributes:
        alias: its directory's name, mostly the repository's.
        fqrn: which repository.
        stratum0: where it comes from.
        tree: where it lies.
        spool: for its lock and the reflog's checksum.
        keys: what the master keys are in, files or directories.
        is_pass_through: nothing is stored.
        values: everything its files say.
    """

    alias: str
    fqrn: Fqrn
    stratum0: str
    tree: Path
    spool: Path
    keys: tuple[Path, ...]
    is_pass_through: bool
    values: ShellValues

    def text(self, key: str) -> str | None:
        """One of its values; None for none, or an empty one."""
        return self.values.values.get(key) or None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One that is not taken over, and why."""

    name: str
    reason: str


def read_all_hosted(repositories: Path) -> list[Hosted | Skipped]:
    """All of ``/etc/cvmfs/repositories.d``; what holds for all of them lies beside it.

    Raises:
        Unreadable: there is no such directory, or ``server.local`` is not to be understood.
    """
    defaults = read_defaults(repositories)
    try:
        directories = sorted(repositories.iterdir())
    except OSError as error:
        raise Unreadable(
            f"{repositories}: {error.strerror}; name the directory with --repositories"
        ) from error
    if len(directories) > _MOST_REPOSITORIES:
        raise Unreadable(f"{repositories}: more than {_MOST_REPOSITORIES:,} entries")
    return [read_hosted(each, defaults) for each in directories]


def read_defaults(repositories: Path) -> ShellValues:
    """What holds for all of them.

    Raises:
        Unreadable: ``server.local`` is not to be understood.
    """
    local = repositories.parent / SERVER_LOCAL
    return parse_values(read_text(local)) if local.exists() else ShellValues()


def read_hosted(directory: Path, defaults: ShellValues) -> Hosted | Skipped:
    """One of them; nothing that is not wholly understood is taken."""
    alias = printable(directory.name)
    try:
        if directory.is_symlink() or not directory.is_dir():
            raise Unreadable(f"{directory}: no directory; move it away")
        if not (directory / REPLICA_CONF).exists() and (directory / SERVER_CONF).exists():
            return Skipped(alias, "a Stratum 0: it is published on this host, not replicated")
        values = defaults
        for name in (SERVER_CONF, REPLICA_CONF):
            values = parse_values(read_text(directory / name), values)
        return _understood(directory, values)
    except (Unreadable, FormatError) as error:
        return Skipped(alias, str(error))


def _understood(directory: Path, values: ShellValues) -> Hosted | Skipped:
    reason = next(_objections(directory, values), None)
    if reason is not None:
        return Skipped(printable(directory.name), reason)
    said = values.values
    tree = Path(said["CVMFS_UPSTREAM_STORAGE"].split(",")[2])
    return Hosted(
        alias=Fqrn(directory.name).name,
        fqrn=Fqrn(said["CVMFS_REPOSITORY_NAME"]),
        stratum0=said["CVMFS_STRATUM0"],
        tree=tree,
        spool=Path(said["CVMFS_SPOOL_DIR"]),
        keys=tuple(Path(each) for each in said.get("CVMFS_PUBLIC_KEY", "").split(":") if each),
        is_pass_through=said.get("CVMFS_PASSTHROUGH") == "true",
        values=values,
    )


_NEEDED: Final = (
    *("CVMFS_REPOSITORY_NAME", "CVMFS_STRATUM0"),
    *("CVMFS_UPSTREAM_STORAGE", "CVMFS_SPOOL_DIR"),
)
_MATTERING: Final = (
    *_NEEDED,
    *("CVMFS_REPOSITORY_TYPE", "CVMFS_REPLICA_ACTIVE", "CVMFS_PUBLIC_KEY", "CVMFS_PASSTHROUGH"),
    *("CVMFS_SERVER_PROXY", "X509_CERT_BUNDLE", "CVMFS_PARTIAL_REPLICATION"),
)


def _objections(directory: Path, values: ShellValues) -> Iterator[str]:
    """Reasons not to take it over, the first of which is said."""
    said = values.values
    for key in _MATTERING:
        if key in values.unusable:
            yield f"{key} in {directory}: {values.unusable[key]}"
    if said.get("CVMFS_REPOSITORY_TYPE") == "stratum0":
        yield "a Stratum 0: it is published on this host, not replicated"
    for key in _NEEDED:
        if not said.get(key):
            yield f"{key} is missing in {directory / SERVER_CONF}; add it"
    yield from _storage_objections(said["CVMFS_UPSTREAM_STORAGE"], said["CVMFS_SPOOL_DIR"])
    if said.get("CVMFS_REPLICA_ACTIVE") == "no":
        yield (
            "inactive (CVMFS_REPLICA_ACTIVE=no): its tree stays as it is and is served; "
            "to keep it fresh, use cvmfs-mirror add-replica"
        )
    if said.get("CVMFS_PARTIAL_REPLICATION") == "true":
        yield "a partial replica (CVMFS_PARTIAL_REPLICATION): ours are always whole"


def _storage_objections(upstream: str, spool: str) -> Iterator[str]:
    kind, _, place = upstream.partition(",")
    tree = place.partition(",")[2]
    if kind != LOCAL_UPSTREAM:
        yield (
            f"its storage is {printable(kind)}, not local: objects are kept in files only; "
            "cvmfs_server can go on with it"
        )
    for path in (tree, spool):
        if not Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
            yield f"{printable(path)!r} is no absolute path; write the whole path from /"
