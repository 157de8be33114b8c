"""The document of ``GET /api/v1/status``: what each field means, and its schema.

Times are ISO 8601 in UTC. Fields may be added to a version, none is ever removed or changed.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mirror.daemon.alarms import AlarmName
from mirror.daemon.situation import Phase

SCHEMA_ID: Final = "/api/v1/status/schema"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class RevisionStatus(_Part):
    """One signed state of a repository."""

    number: int
    published: datetime | None = Field(description="when it was signed; null if it is not told")
    root: str = Field(description="hash of the root catalog")
    certificate: str = Field(description="hash of the signer's certificate")


class RunStatus(_Part):
    """A snapshot under way."""

    began: datetime
    is_initial: bool
    revision: int | None
    wanted_objects: int = Field(description="known so far to be missing; grows with the catalogs")
    wanted_bytes: int = Field(description="of these, unpacked")
    objects: int = Field(description="of the wanted ones stored")
    object_bytes: int = Field(description="of these, unpacked")
    fetched_bytes: int = Field(description="as they came over the network")
    catalogs: int
    present: int = Field(description="objects that were here already")
    failed: int
    progress: float | None = Field(description="0 to 1, of what is known so far")
    eta_s: float | None = Field(description="at the rate until now, of what is known so far")


class FlipStatus(_Part):
    """A revision that came before clients."""

    revision: int
    published: datetime | None
    at: datetime
    seconds: float = Field(description="how long the snapshot took")
    objects: int
    stored_bytes: int


class ErrorStatus(_Part):
    """Why the last attempt failed."""

    kind: str
    sentence: str
    what_to_do: str
    at: datetime
    failures: int = Field(description="in a row")


class SourceStatus(_Part):
    """A server that has the repository."""

    url: str
    is_stratum0: bool
    state: Literal["good", "behind", "suspended"]
    problem: str | None
    lies: int = Field(description="objects delivered with wrong bytes since the daemon started")
    failures: int = Field(description="requests that another source answered instead, likewise")


class AlarmStatus(_Part):
    """What somebody has to know."""

    name: AlarmName
    since: datetime
    sentence: str
    what_to_do: str


class RepositoryStatus(_Part):
    """One replica."""

    name: str
    served: RevisionStatus | None = Field(description="null before the first snapshot")
    upstream: RevisionStatus | None = Field(description="the newest that was seen and verified")
    lag_s: float = Field(description="since the first revision not served was published; 0: none")
    phase: Phase
    run: RunStatus | None
    flips: list[FlipStatus] = Field(description="the last ones, newest first")
    last_error: ErrorStatus | None
    withheld: str | None = Field(description="why clients get no manifest; null if they do")
    whitelist_expires: datetime | None
    last_look: datetime | None
    last_success: datetime | None
    next_look: datetime | None
    sources: list[SourceStatus]
    alarms: list[AlarmStatus]


class DaemonStatus(_Part):
    """The service itself."""

    version: str
    started: datetime
    uptime_s: float
    workers: int = Field(description="processes that answer clients")
    waiting: int = Field(description="snapshots that wait for their turn")


class Status(_Part):
    """All of it."""

    schema_version: Literal[1] = 1
    now: datetime
    daemon: DaemonStatus
    repositories: list[RepositoryStatus]


def schema() -> str:
    """As it is published, and committed as docs/status.schema.json."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **Status.model_json_schema(mode="serialization"),
    }
    return json.dumps(document, indent=2) + "\n"
