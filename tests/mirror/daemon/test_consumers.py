"""Those who read a Stratum 1's files today read ours (A.8, E.1): what each insists on, as tests.

The files are those that our snapshots leave and our daemon writes, one replica served and one of
which the first snapshot is under way.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from shutil import which

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mirror.cvmfs.paths import IS_SNAPSHOTTING, LAST_SNAPSHOT, STATUS
from mirror.daemon.information import Entry, Versions, repositories_text
from mirror.replication.state import date_text, tell_begun, tell_ended, tell_status, tell_succeeded
from mirror.store.memory import MemoryStore
from tests.support.clock import NOW
from tests.support.loops import run

NAME, NEW = "test.example.org", "new.example.org"
EARLIER = NOW - timedelta(hours=3)


async def _served(store: MemoryStore) -> None:
    """One that was collected and checked by ``cvmfs_server``, too."""
    await tell_status(
        store,
        last_gc=date_text(EARLIER),
        last_check=date_text(EARLIER),
        check_status="succeeded",
    )
    await tell_begun(store, EARLIER)
    await tell_succeeded(store, NOW)
    await tell_ended(store)


@dataclass
class Site:
    """What a web server would give: path → bytes."""

    files: dict[str, bytes] = field(default_factory=dict)

    def put(self, name: str, store: MemoryStore) -> None:
        """A replica's files."""
        self.files |= {f"/cvmfs/{name}/{path}": data for path, data in store.root_files.items()}

    def get(self, path: str) -> bytes:
        """As over HTTP; a KeyError is a 404."""
        return self.files[f"/cvmfs/{path}"]


@pytest.fixture(name="site", scope="module")
def fixture_site() -> Site:
    """See above."""
    site, served, new = Site(), MemoryStore(), MemoryStore()
    run(_served(served))
    run(tell_begun(new, NOW))
    site.put(NAME, served)
    site.put(NEW, new)
    entries = [Entry(NAME), Entry(NEW), Entry("far.example.org", is_pass_through=True)]
    text = repositories_text(entries, geodb_updated=EARLIER, versions=Versions.of_host())
    site.files["/cvmfs/info/v1/repositories.json"] = text.encode()
    return site


# --- EESSI's scraper: pydantic models -------------------------------------------------------------


def scraper_date(value: str) -> datetime:
    """In its one format."""
    return datetime.strptime(value, "%a %b %d %H:%M:%S %Z %Y").replace(tzinfo=UTC)


class _Place(BaseModel):
    name: str
    url: str


class _ScrapedList(BaseModel):
    """Refuses a list without versions, and one of a Stratum 0 and a Stratum 1 at once."""

    schema_version: int = Field(alias="schema", gt=0)
    last_geodb_update: datetime | None = None
    cvmfs_version: str
    os_id: str
    os_version_id: str
    os_pretty_name: str
    repositories: list[_Place] | None = None
    replicas: list[_Place] | None = None

    _date = field_validator("last_geodb_update", mode="before")(scraper_date)

    @model_validator(mode="after")
    def one_of_them(self) -> _ScrapedList:
        """As it is there."""
        if bool(self.repositories) == bool(self.replicas):
            raise ValueError("exactly one of repositories and replicas")
        return self


class _ScrapedStatus(BaseModel):
    last_snapshot: datetime | None = None
    last_gc: datetime | None = None

    _dates = field_validator("last_snapshot", "last_gc", mode="before")(scraper_date)


def test_the_scraper_takes_the_list(site: Site) -> None:
    """With the versions, which it insists on."""
    scraped = _ScrapedList.model_validate_json(site.get("info/v1/repositories.json"))
    assert [each.name for each in scraped.replicas or ()] == [
        "far.example.org",
        "new.example.org",
        "test.example.org",
    ]
    assert scraped.last_geodb_update == EARLIER
    with pytest.raises(ValidationError, match="cvmfs_version"):
        _ScrapedList.model_validate_json(repositories_text([Entry(NAME)]))


def test_the_scraper_takes_the_status(site: Site) -> None:
    """Dates in its format."""
    scraped = _ScrapedStatus.model_validate_json(site.get(f"{NAME}/{STATUS}"))
    assert (scraped.last_snapshot, scraped.last_gc) == (NOW, EARLIER)


# --- cvmfs-servermon's reader ---------------------------------------------------------------------


def servermon_status(site: Site, name: str) -> Mapping[str, object]:
    """What it gathers of one replica before it makes its tests."""
    try:
        status = dict(json.loads(site.get(f"{name}/{STATUS}")))
    except KeyError:  # 404: as it was before there was a status
        status = {}
        try:
            status["last_snapshot"] = site.get(f"{name}/{LAST_SNAPSHOT}").decode()
        except KeyError:
            status["snapshotting_since"] = site.get(f"{name}/{IS_SNAPSHOTTING}").decode()
    return status


def test_servermon_reads_a_served_replica(site: Site) -> None:
    """All that its tests need."""
    status = servermon_status(site, NAME)
    assert scraper_date(str(status["last_snapshot"])) == NOW
    assert scraper_date(str(status["last_gc"])) == EARLIER
    assert status["check_status"] == "succeeded"


def test_servermon_reads_a_first_snapshot(site: Site) -> None:
    """It is under way, and neither missing nor late."""
    since = servermon_status(site, NEW)["snapshotting_since"]
    assert scraper_date(str(since).strip()) == NOW


def test_servermon_finds_the_replicas(site: Site) -> None:
    """By their URLs, and leaves out what passes through."""
    told = json.loads(site.get("info/v1/repositories.json"))
    found = [
        each["url"].replace("/cvmfs/", "")
        for each in told["replicas"]
        if "pass-through" not in each or not each["pass-through"]
    ]
    assert found == [NEW, NAME]


# --- cvmfs_server itself --------------------------------------------------------------------------


def seconds_by_date(text: str) -> int:
    """As its shell reckons with dates."""
    command = ["date", "--date", text, "+%s"]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.parametrize(("key", "moment"), [("last_gc", EARLIER), ("last_check", EARLIER)])
def test_cvmfs_server_reckons_with_our_dates(site: Site, key: str, moment: datetime) -> None:
    """``gc -a`` and ``check -a`` skip what is not due yet."""
    status = json.loads(site.get(f"{NAME}/{STATUS}"))
    assert seconds_by_date(status[key]) == int(moment.timestamp())


@pytest.mark.skipif(which("jq") is None, reason="jq is not on PATH")
def test_cvmfs_server_goes_on_with_our_status(site: Site) -> None:
    """It sets a field with jq and keeps the others."""
    raw = site.get(f"{NAME}/{STATUS}")
    command = ["jq", '.last_gc="now"']
    done = subprocess.run(command, input=raw, capture_output=True, check=True)
    assert json.loads(done.stdout) == json.loads(raw) | {"last_gc": "now"}


def test_one_line_each(site: Site) -> None:
    """The older files are what ``date --utc > file`` writes."""
    for path in (f"{NAME}/{LAST_SNAPSHOT}", f"{NEW}/{IS_SNAPSHOTTING}"):
        assert site.get(path) == f"{date_text(NOW)}\n".encode()
    with pytest.raises(KeyError):
        site.get(f"{NAME}/{IS_SNAPSHOTTING}")
