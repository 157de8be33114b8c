"""Mirrors beside Stratum 0, each of which may be anybody's: dead, behind, slow, or lying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, WHITELIST, parse_object_path
from tests.support.hostile_http import content, silent, status
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import FIRST_PUBLISHED, Repository
from tests.support.site import Site

NAME = "test.example.org"
TREE = {"": {f"file{number}": b"%d" % number * 50 for number in range(100)}, "/app": {"x": b"x"}}
NO_RETRIES = "[fetch]\nretries = 0\n"
ONE_BY_ONE = f"{NO_RETRIES}processes = 0\n"
BY_LANES = f"{NO_RETRIES}processes = 2\n"
DEAD = f"http://127.0.0.1:1/cvmfs/{NAME}"


@dataclass
class Strata:
    """A Stratum 0, mirrors on servers of their own, and a replica.

    Attributes:
        repository: what is published.
        stratum0: serves it.
        directory: of the replica's host.
        servers: end with the test.
    """

    repository: Repository
    stratum0: HttpStratum0
    directory: Path
    servers: ExitStack
    mirrors: list[str] = field(default_factory=list)

    def mirror(self) -> HttpStratum0:
        """One that holds what is published now, as a Stratum 1 does: without the sentinel."""
        held = {**self.repository.files}
        del held[MASTER_REPLICA]
        server = self.servers.enter_context(HttpStratum0(held, NAME))
        self.mirrors.append(server.url)
        return server

    def site(self, stratum0: str | None = None, more: str = ONE_BY_ONE) -> Site:
        """The replica's host, configured with all of them."""
        key = self.repository.keys.master_pem
        site = Site(self.directory, NAME, stratum0 or self.stratum0.url, key)
        site.write_config(stratum0 or self.stratum0.url, more)
        site.add_mirrors(*self.mirrors)
        return site


@pytest.fixture
def strata(keys: Keys, tmp_path: Path) -> Iterator[Strata]:
    """Revision 1 is published, and nobody mirrors it yet."""
    repository = Repository(keys, NAME)
    repository.publish(TREE)
    with ExitStack() as servers:
        stratum0 = servers.enter_context(HttpStratum0(repository.files, NAME))
        yield Strata(repository, stratum0, tmp_path, servers)


def require_sound(site: Site) -> None:
    """Everything in the store is what its name says, and nothing is missing."""
    assert site.run("check", "--full") == 0
    for file in (site.root / "data").glob("[0-9a-f][0-9a-f]/*"):
        name = parse_object_path(f"data/{file.parent.name}/{file.name}")
        assert ContentHash.of(name.algorithm, file.read_bytes(), name.suffix) == name
    assert site.temporaries() == []


def revision(site: Site) -> int:
    """What is served."""
    return Manifest.parse((site.root / MANIFEST).read_bytes()).revision


@pytest.mark.parametrize("how", [ONE_BY_ONE, BY_LANES], ids=["one by one", "by lanes"])
def test_one_dead_one_slow_one_lying(
    strata: Strata, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """The snapshot succeeds, the liar is named, nothing wrong is stored."""
    slow, liar = strata.mirror(), strata.mirror()
    strata.mirrors.insert(0, DEAD)
    objects = sorted(path for path in liar.files if path.startswith("data/"))  # type: ignore[union-attr] # a mapping
    slow.faults = dict.fromkeys(objects[::10], silent)
    liar.faults = dict.fromkeys(objects[::10], content(b"lies"))
    site = strata.site(more=how)
    assert site.run("snapshot") == 0
    said = capsys.readouterr().err
    assert f"WRONG BYTES from {liar.url}" in said
    assert f"passed over {DEAD}" in said
    require_sound(site)


@pytest.mark.parametrize("how", [ONE_BY_ONE, BY_LANES], ids=["one by one", "by lanes"])
def test_stratum_0_dead(strata: Strata, capsys: pytest.CaptureFixture[str], how: str) -> None:
    """A good mirror is enough, for the first snapshot and for those that follow."""
    mirror = strata.mirror()
    site = strata.site(DEAD, how)
    assert site.run("snapshot") == 0
    strata.repository.publish({**TREE, "/new": {"file": b"new"}})
    mirror.files = dict(strata.repository.files)
    assert site.run("snapshot") == 0
    assert revision(site) == 2
    assert f"passed over {DEAD}" in capsys.readouterr().err
    require_sound(site)


def test_a_mirror_behind(strata: Strata, capsys: pytest.CaptureFixture[str]) -> None:
    """The newer manifest of Stratum 0 wins, and what the mirror lacks comes from there."""
    behind = strata.mirror()
    strata.repository.publish({**TREE, "/new": {"file": b"new"}})
    site = strata.site()
    assert site.run("snapshot") == 0
    assert revision(site) == 2
    said = capsys.readouterr().err
    assert f"passed over {behind.url}: revision 1 " in said
    assert "WRONG BYTES" not in said
    require_sound(site)


def test_a_forged_mirror(
    strata: Strata, other_keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its manifest is passed over, and its objects are nobody's."""
    forged = Repository(other_keys, NAME)
    for _ in range(3):
        forged.publish({"": {"malware": b"x"}})
    mirror = strata.mirror()
    mirror.files = forged.files
    site = strata.site()
    assert site.run("snapshot") == 0
    assert revision(site) == 1
    assert f"passed over {mirror.url}: " in capsys.readouterr().err
    require_sound(site)


def test_nobody_valid(strata: Strata, capsys: pytest.CaptureFixture[str]) -> None:
    """A matter of trust, and the reasons of all are told."""
    mirror = strata.mirror()
    mirror.files = {**strata.repository.files, WHITELIST: b"nonsense"}
    strata.repository.write_whitelist(expires_at=FIRST_PUBLISHED)
    site = strata.site()
    assert site.run("snapshot") == 4
    said = capsys.readouterr().err
    assert f"{strata.stratum0.url}: {WHITELIST} expired" in said
    assert f"{mirror.url}: {WHITELIST}" in said
    assert not (site.root / MANIFEST).exists()


def test_a_mirror_that_contradicts(strata: Strata, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody has the publisher's key: nothing is published, and both are named."""
    other = Repository(strata.repository.keys, NAME)
    other.publish({"": {"malware": b"x"}})
    mirror = strata.mirror()
    mirror.files = other.files
    site = strata.site()
    assert site.run("snapshot") == 4
    said = capsys.readouterr().err
    assert strata.stratum0.url in said
    assert mirror.url in said
    assert "signed for two root catalogs" in said


def test_what_only_one_has(strata: Strata) -> None:
    """Each lacks something else, Stratum 0 included."""
    one, two = strata.mirror(), strata.mirror()
    objects = sorted(path for path in strata.repository.files if path.startswith("data/"))
    for turn, server in enumerate((strata.stratum0, one, two)):
        lost = [path for number, path in enumerate(objects) if number % 3 != turn]
        server.faults = dict.fromkeys(lost, status(404))
    certificate = next(path for path in objects if path.endswith("X"))
    for server in (strata.stratum0, one, two):
        server.faults.pop(certificate, None)
    site = strata.site()
    assert site.run("snapshot") == 0
    require_sound(site)


def test_a_dry_run_with_mirrors(strata: Strata, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks them as a snapshot would."""
    strata.mirror()
    site = strata.site(DEAD)
    assert site.run("snapshot", "--dry-run") == 0
    assert "revision 1 would need" in capsys.readouterr().out


def test_add_replica_with_mirrors(strata: Strata, capsys: pytest.CaptureFixture[str]) -> None:
    """One of all sources must be right; those that are not are told, and stay configured."""
    mirror = strata.mirror()
    site = strata.site()
    site.config.write_text(f'[storage]\npath = "{site.storage}"\nspool = "{site.spool.parent}"\n')
    sources = ["--mirror", mirror.url, "--mirror", f"{mirror.url}/elsewhere"]
    assert site.run("add-replica", NAME, strata.stratum0.url, str(site.key), *sources) == 0
    said = capsys.readouterr()
    assert "at revision 1" in said.out
    assert f"{mirror.url}/elsewhere: " in said.err
    assert f'mirrors = ["{mirror.url}", "{mirror.url}/elsewhere"]' in site.config.read_text()
    assert site.run("snapshot") == 0
    assert any(path.startswith("data/") for path in mirror.paths)


def test_add_replica_refuses_the_same_source_twice(
    strata: Strata, capsys: pytest.CaptureFixture[str]
) -> None:
    """And leaves the configuration as it was."""
    site = strata.site()
    site.config.write_text("")
    twice = ["add-replica", NAME, strata.stratum0.url, str(site.key)]
    assert site.run(*twice, "--mirror", f"{strata.stratum0.url}/") == 2
    assert "is a source already" in capsys.readouterr().err
    assert site.config.read_text() == ""
