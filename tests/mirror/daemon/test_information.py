"""The lists beside the repositories are byte by byte those of ``cvmfs_server``."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.daemon.information import (
    Contact,
    Entry,
    InformationFiles,
    Versions,
    meta_text,
    repositories_text,
)
from mirror.errors import StoreFull, StoreUnavailable

PLAIN, ALIASED = Entry("b.example.org"), Entry("c.example.org", "a")
PASSING = Entry("d.example.org", is_pass_through=True)
GEODB = datetime(2026, 11, 1, 9, 30, 24, tzinfo=UTC)


def test_byte_by_byte() -> None:
    """As its shell writes it: by directory, blanks and all."""
    assert repositories_text([PASSING, PLAIN, ALIASED], [Entry("s.example.org")], GEODB) == (
        "{\n"
        '  "schema" : 1,\n'
        '  "last_geodb_update" : "Sun Nov  1 09:30:24 UTC 2026",\n'
        '  "repositories" : [\n'
        "    {\n"
        '      "name"  : "s.example.org",\n'
        '      "url"   : "/cvmfs/s.example.org"\n'
        "    }\n"
        "  ],\n"
        '  "replicas" : [\n'
        "    {\n"
        '      "name"  : "c.example.org",\n'
        '      "alias" : "a",\n'
        '      "url"   : "/cvmfs/a"\n'
        "    },\n"
        "    {\n"
        '      "name"  : "b.example.org",\n'
        '      "url"   : "/cvmfs/b.example.org"\n'
        "    },\n"
        "    {\n"
        '      "name"  : "d.example.org",\n'
        '      "pass-through" : true,\n'
        '      "url"   : "/cvmfs/d.example.org"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_nothing_at_all() -> None:
    """Is still a list."""
    assert json.loads(repositories_text([])) == {"schema": 1, "repositories": [], "replicas": []}


def test_versions() -> None:
    """Only for those who publish them, in their order."""
    text = repositories_text([], versions=Versions("2.12", "debian", "12", "Debian 12"))
    keys = list(json.loads(text))
    assert keys == [
        *("schema", "cvmfs_version", "os_id", "os_version_id", "os_pretty_name"),
        *("repositories", "replicas"),
    ]


@given(st.text(), st.text())
def test_any_text(name: str, organisation: str) -> None:
    """Cannot break out of its quotes."""
    told = json.loads(repositories_text([Entry(name or "x", "alias")]))
    assert told["replicas"][0]["name"] == (name or "x")
    assert json.loads(meta_text(Contact(organisation=organisation)))["organisation"] == organisation


def test_meta() -> None:
    """What ``cvmfs_server`` leaves to be edited."""
    assert json.loads(meta_text(Contact())) == {
        "administrator": "Your Name",
        "email": "you@organisation.org",
        "organisation": "Your Organisation",
        "custom": {"_comment": "Put arbitrary structured data here"},
    }


# --- files ----------------------------------------------------------------------------------------


def test_written_at_once_and_only_when_it_changes(tmp_path: Path) -> None:
    """With the mode that web servers can read, and nothing left beside it."""
    files, path = InformationFiles(tmp_path), tmp_path / "info" / "v1" / "repositories.json"
    assert files.write_repositories("{}\n")
    before = path.stat()
    assert before.st_mode & 0o777 == 0o644
    assert not files.write_repositories("{}\n")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert files.write_repositories("{ }\n")
    assert path.read_text() == "{ }\n"
    assert path.stat().st_ino != before.st_ino, "whoever has it open reads the old one to its end"
    assert list(path.parent.iterdir()) == [path]


def test_meta_of_the_operator_stays(tmp_path: Path) -> None:
    """Whatever is in it."""
    files, path = InformationFiles(tmp_path), tmp_path / "info" / "v1" / "meta.json"
    assert files.write_meta(Contact("Ann"))
    assert json.loads(path.read_text())["administrator"] == "Ann"
    path.write_text("mine")
    assert not files.write_meta(Contact("Bob"))
    assert path.read_text() == "mine"


def test_not_writable(tmp_path: Path) -> None:
    """Says so, and leaves nothing."""
    (tmp_path / "info").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="info"):
        InformationFiles(tmp_path).write_repositories("{}")


# --- those who read them --------------------------------------------------------------------------


def test_servermon_reads_the_list() -> None:
    """Directories from URLs, without what passes through; the date in its format (A.8)."""
    told = json.loads(repositories_text([PLAIN, ALIASED, PASSING], geodb_updated=GEODB))
    names = [
        each["url"].replace("/cvmfs/", "")
        for each in told["replicas"]
        if not each.get("pass-through")
    ]
    assert names == ["a", "b.example.org"]
    form = "%a %b %d %H:%M:%S %Z %Y"
    updated = datetime.strptime(told["last_geodb_update"], form).replace(tzinfo=UTC)
    assert updated == GEODB


def test_the_scraper_reads_the_list() -> None:
    """It wants the schema, names, and URLs that lead to manifests (E.1)."""
    told = json.loads(repositories_text([PLAIN, ALIASED]))
    assert told["schema"] == 1
    for each in told["replicas"] + told["repositories"]:
        assert re.fullmatch(r"/cvmfs/[\w.-]+", each["url"])
        assert each["name"]


def test_scripts_read_it_line_by_line() -> None:
    """With sed, where there is no jq."""
    text = repositories_text([PLAIN, ALIASED])
    assert re.findall(r'^ *"name" *: *"([^"]*)"', text, re.MULTILINE) == [
        "c.example.org",
        "b.example.org",
    ]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the former list, and nothing beside it."""
    files, path = InformationFiles(tmp_path), tmp_path / "info" / "v1" / "repositories.json"
    files.write_repositories("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull):
        files.write_repositories("new")
    assert (path.read_text(), list(path.parent.iterdir())) == ("old", [path])


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is unknown; readers insist on the fields."""

    def nothing() -> dict[str, str]:
        raise FileNotFoundError

    monkeypatch.setattr(platform, "freedesktop_os_release", nothing)
    assert Versions.of_host().os_pretty_name == "unknown"
