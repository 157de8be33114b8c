"""The settings, from one TOML file; all its problems are reported at once.

[storage]
path = "/srv/cvmfs"                 # <path>/<repository>/: the tree cvmfs_server keeps
spool = "/var/spool/cvmfs"          # locks and reflog checksums, shared with cvmfs_server
reserve = "1 %"                     # or a size, stays free; default: 1 %, at most 10 GiB
cached_up_to = "1 MiB"              # larger objects leave the page cache when they are on the disk
[serve]
listen = ["127.0.0.1:8000"]         # host:port; [::]:8000 for IPv6, *:8000 for every address
workers = 2                         # processes that answer; default: one for each core
memory = "256 MiB"                  # for objects that are asked for often, in sum
open_files = 1024                   # of other objects, kept open by each worker
[serve.access_log]
path = "/var/log/cvmfs-mirror.log"  # or "-" or "journal"; default: none is kept
format = "combined"                 # or "json" or "squid"
[serve.tls]                         # default: none; read again on SIGHUP
listen = ["127.0.0.1:8443"]
certificate = "/etc/ssl/mirror.pem" # followed by those that lead to its authority
key = "/etc/ssl/private/mirror.key" # without a password
[serve.limits]                      # of each worker
connections = 10_000                # at the same time; fewer where the system allows fewer files
connections_per_address = 2_000     # of these
requests = 1_000_000                # on one connection; then the client connects anew
line_bytes = 8190                   # of a request line, and of a header
headers = 64                        # of a request
header_s = 15.0                     # for a client to send them
idle_s = 75.0                       # between two requests
stalled_s = 30.0                    # how long a client may take less than the next line
min_bytes_per_s = 1024
drain_s = 20.0                      # for requests under way when a worker is to end
[fetch]
timeout_s = 10.0                    # to connect, to answer, and the window of the next line
min_bytes_per_s = 1024              # slower than this counts as dead
retries = 3                         # five times as many while the server answers others
max_connections = 512
processes = 2                       # that fetch small objects; 0 for none
follow_redirects = false
proxy = "http://proxy:3128"         # default: none
ca_bundle = "/etc/ssl/my-ca.pem"    # default: the system's
requests_per_s = 500                # in sum; default: no limit, and so the next three
bytes_per_s = "100 MiB"
source_requests_per_s = 200         # to each server
source_bytes_per_s = "50 MiB"
[[fetch.window]]                    # other limits at these hours, in local time
from = "22:00"
to = "06:00"
bytes_per_s = "1 GiB"               # or any of the four; the others stay
[geo]                               # which server is nearest; without any, the order as asked
databases = ["/var/lib/cvmfs-mirror/GeoLite2-City.mmdb"]   # any mmdb with places; the best first
trusted_proxies = ["192.0.2.0/24"]  # whose X-Forwarded-For counts; default: anybody's
[geo.locations]                     # network, address or host name -> latitude, longitude
"10.20.0.0/16" = [46.23, 6.05]
"s1.example.org" = [41.84, -88.25]
[trust]
blacklist = "/etc/cvmfs/blacklist"  # default: that file, if it exists
[snapshot]
predecessor_days = 3                # how far back replaced revisions are still fetched
parallel = 4                        # replicas at the same time
io_priority = "best-effort"         # last in the queue for the disk; "idle" or "none"
nice = 0                            # leaves processors to others, up to 19
[run]                               # the daemon, cvmfs-mirror run
interval_s = 60.0                   # between looks at a repository that changes
slowest_s = 600.0                   # between looks at one that does not
backoff_s = 1800.0                  # between attempts that fail, at most
whitelist_s = 3600.0                # whitelists are renewed without a new revision
listen = ["127.0.0.1:8001"]         # status and push, beside serve.listen; default: only there
tokens = "/etc/cvmfs-mirror/tokens" # who may push, one a line; default: nobody
announcements = ["http://gateway.example.org:4929"]   # tell of publications; default: none
stale_s = 1800.0                    # an alarm where clients are further behind
whitelist_warning_s = 172800.0      # an alarm so long before one expires
[group]                             # mirrors behind one name; default: none
name = "mirror1"                    # of this one
members = { mirror1 = "http://10.0.0.1:8001", mirror2 = "http://10.0.0.2:8001" }
token = "/etc/cvmfs-mirror/group.token"   # the same for all members, and nobody else's
lease_s = 6.0                       # a member that hears from no majority for so long gives 503
wait_s = 30.0                       # a flip waits so long for members that are not ready
[[replica]]
name = "software.example.org"
stratum0 = "http://stratum0.example.org/cvmfs/software.example.org"
keys = "/etc/cvmfs/keys/example.org"   # file or directory of *.pub
mirrors = ["http://stratum1.example.net/cvmfs/software.example.org"]   # asked before Stratum 0
proxy = "…"                         # and ca_bundle: for this replica alone
priority = 0                        # one step is worth a minute of waiting for a turn to fetch
hours = [{ from = "22:00", to = "06:00" }]   # when it is looked at, unless pushed; default: always
refuse_after_s = 86400              # clients get 503 from a mirror so far behind; default: never
pass_through = false                # store nothing, ask Stratum 0 for each request; needs no keys
followed = "…"                      # the list it came from; without this it is never removed
[[follow]]                          # replicas kept in step with another server's list
url = "http://stratum1.example.net/cvmfs/info/v1/repositories.json"
keys = "/etc/cvmfs/keys"            # chosen by name or domain; what has no key is not taken
include = ["*.example.net"]         # default: everything
exclude = ["test-*"]
stratum0 = "http://stratum0.example.net/cvmfs/@fqrn@"   # default: the server of the list
every_s = 3600.0
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from mirror.amounts import FloorSize, Size, problem
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import GIB, MIB
from mirror.errors import ConfigError, FormatError
from mirror.fetch_settings import FetchSettings, ProxyUrl
from mirror.follow_settings import UNUSED_KEYS, FollowSettings
from mirror.geo_settings import GeoSettings
from mirror.group_settings import GroupSettings
from mirror.run_settings import HoursList, RunSettings
from mirror.serve_settings import ServeSettings
from mirror.store.reserve import Floor
from mirror.tables import AbsolutePath, HttpUrl, Table
from mirror.toml_settings import read_text, tables, validated

DEFAULT_CONFIG: Final = Path("/etc/cvmfs-mirror/mirror.toml")
DEFAULT_STORAGE: Final = Path("/srv/cvmfs")
DEFAULT_SPOOL: Final = Path("/var/spool/cvmfs")
DEFAULT_BLACKLIST: Final = Path("/etc/cvmfs/blacklist")


def _fqrn(name: str) -> str:
    try:
        return Fqrn(name).name
    except FormatError as error:
        raise problem(str(error)) from error


class StorageSettings(Table):
    """Where replicas lie."""

    path: AbsolutePath = DEFAULT_STORAGE
    spool: AbsolutePath = DEFAULT_SPOOL
    reserve: FloorSize = Floor(0.01, 10 * GIB)
    cached_up_to: Size = MIB


class TrustSettings(Table):
    """What to refuse though it is validly signed."""

    blacklist: AbsolutePath | None = None


class SnapshotSettings(Table):
    """What belongs to a snapshot."""

    predecessor_days: Annotated[int, Field(ge=0, le=36_500)] = 3
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    io_priority: Literal["none", "best-effort", "idle"] = "best-effort"
    nice: Annotated[int, Field(ge=0, le=19)] = 0


class ReplicaSettings(Table):
    """One repository to replicate."""

    name: Annotated[str, AfterValidator(_fqrn)]
    stratum0: HttpUrl
    keys: AbsolutePath
    mirrors: list[HttpUrl] = Field(default=[])
    proxy: ProxyUrl | None = None
    ca_bundle: AbsolutePath | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    hours: HoursList = Field(default=[])
    refuse_after_s: Annotated[float, Field(ge=60)] | None = None
    pass_through: bool = False
    followed: HttpUrl | None = None

    @model_validator(mode="before")
    @classmethod
    def _needs_no_keys(cls, table: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
        """Who passes through verifies nothing, as clients do."""
        if isinstance(table, dict) and table.get("pass_through") is True:
            return {"keys": UNUSED_KEYS, **table}
        return table

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it comes from: Stratum 0, then the mirrors."""
        return (self.stratum0, *self.mirrors)


class Settings(Table):
    """The whole file."""

    storage: StorageSettings = StorageSettings()
    serve: ServeSettings = ServeSettings()
    fetch: FetchSettings = FetchSettings()
    geo: GeoSettings = GeoSettings()
    trust: TrustSettings = TrustSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    run: RunSettings = RunSettings()
    group: GroupSettings | None = None
    replica: list[ReplicaSettings] = Field(default=[])
    follow: list[FollowSettings] = Field(default=[])

    def select(self, names: tuple[str, ...]) -> list[ReplicaSettings]:
        """The replicas of these names, or all if none is given.

        Raises:
            ConfigError: one of them is not configured, or none is.
        """
        known = {replica.name: replica for replica in self.replica}
        unknown = [_unknown_replica(name, list(known)) for name in names if name not in known]
        if unknown:
            raise ConfigError(unknown)
        if not known:
            raise ConfigError(["no [[replica]] is configured; add one: cvmfs-mirror add-replica"])
        return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def load_settings(path: Path) -> Settings:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong; every problem is listed with
            the file, the key and the fix.
    """
    text = read_text(path, "name yours with --config, or run cvmfs-mirror add-replica")
    return parse_settings(text, str(path))


def parse_settings(text: str, origin: str) -> Settings:
    """Read TOML text; ``origin`` names it in errors.

    Raises:
        ConfigError: as `load_settings`.
    """
    content = tables(text, origin)
    return validated(Settings, content, origin, list(_duplicates(content)))


def _duplicates(content: dict[str, Any]) -> Iterator[str]:
    replicas = content.get("replica", [])
    if not isinstance(replicas, list):
        return
    tables = [each for each in replicas if isinstance(each, dict)]
    for name, count in Counter(str(each.get("name")) for each in tables).items():
        if count > 1:
            yield f"replica: {name} is there {count} times; keep one"
    for number, table in enumerate(tables, start=1):
        mirrors = table.get("mirrors")
        if isinstance(mirrors, list):
            urls = [str(url).rstrip("/") for url in (table.get("stratum0"), *mirrors)]
            for url in [url for url, count in Counter(urls).items() if count > 1]:
                yield f"replica[{number}].mirrors: {url} is a source already; keep it once"


def _unknown_replica(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"configured: {', '.join(known) or 'none'}"
    return f"{name}: no such replica; {hint}"
