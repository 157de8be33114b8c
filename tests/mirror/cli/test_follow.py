"""Keeping in step with another server's list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cli.main import run
from mirror.config import load_settings
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository

NAME = "test.example.org"
LIST = "/cvmfs/info/v1/repositories.json"


class Follower:
    """A mirror of ours, and the server whose list it follows."""

    def __init__(self, directory: Path, server: HttpStratum0, files: dict[str, bytes]) -> None:
        self.config = directory / "mirror.toml"
        self.keys = directory / "keys"
        self.server = server.url.partition("/cvmfs")[0]
        self._http = server
        self._files = files
        self.keys.mkdir()
        self.config.write_text(f'# mine\n[storage]\npath = "{directory}/srv"\n')
        self.lists(NAME)

    def lists(self, *names: str) -> None:
        """Change the list."""
        entries = [{"name": name, "url": f"/cvmfs/{name}"} for name in names]
        self.lists_bytes(json.dumps({"schema": 1, "replicas": entries}).encode())

    def lists_bytes(self, raw: bytes) -> None:
        """Change it to whatever comes to mind."""
        self._http.files = {**self._files, LIST: raw}

    def follow(self, *more: str) -> int:
        """Run the verb."""
        where = [self.server, "--keys", str(self.keys)]
        return run(["--config", str(self.config), "follow", *where, *more])

    @property
    def names(self) -> list[str]:
        """What is configured."""
        return [each.name for each in load_settings(self.config).replica]


@pytest.fixture
def follower(tmp_path: Path, keys: Keys) -> Iterator[Follower]:
    """With the key of the only repository there."""
    repository = Repository(keys, NAME)
    repository.publish({"": {"README": b"hello"}})
    with HttpStratum0({}) as server:
        follower = Follower(tmp_path, server, dict(repository.files))
        (follower.keys / "example.org.pub").write_bytes(keys.master_pem)
        yield follower


def test_what_is_new_is_added_and_can_be_fetched(
    follower: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its mark; a second time there is nothing to do."""
    assert follower.follow() == 0
    (replica,) = load_settings(follower.config).replica
    assert replica.followed == f"{follower.server}{LIST}"
    assert replica.stratum0 == f"{follower.server}/cvmfs/{NAME}"
    assert replica.keys == follower.keys / "example.org.pub"
    text = follower.config.read_text()
    assert text.startswith("# mine\n")
    assert follower.follow() == 0
    assert follower.config.read_text() == text
    assert "kept 1 replica" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    """And changes nothing."""
    before = follower.config.read_text()
    assert follower.follow("--dry-run") == 0
    assert f"would add {NAME} from {follower.server}" in capsys.readouterr().out
    assert follower.follow("--dry-run", "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["add"][0]["name"] == NAME
    assert not answer["added"]
    assert follower.config.read_text() == before


def test_what_is_gone_is_removed_when_asked_for(
    follower: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never without a word, and nothing that was configured by hand."""
    assert follower.follow() == 0
    by_hand = (
        f'\n[[replica]]\nname = "hand.org"\nstratum0 = "http://x/"\nkeys = "{follower.keys}"\n'
    )
    follower.config.write_text(follower.config.read_text() + by_hand)
    follower.lists("other.example.com")
    assert follower.follow("--include", "none.*") == 0
    assert "--remove takes it out" in capsys.readouterr().out
    assert follower.names == [NAME, "hand.org"]
    assert follower.follow("--include", "none.*", "--remove") == 2
    assert "nobody is here to ask; add --yes" in capsys.readouterr().err
    assert follower.names == [NAME, "hand.org"]
    assert follower.follow("--include", "none.*", "--remove", "--yes") == 0
    assert follower.names == ["hand.org"]


def test_without_a_key_nothing_is_added(
    follower: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are."""
    follower.lists("a.example.com", NAME)
    assert follower.follow() == 2
    assert "a.example.com: no key in" in capsys.readouterr().err
    assert follower.names == [NAME]


def test_what_is_not_signed_for_that_name_is_not_added(
    follower: Follower, other_keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list is signed by nobody."""
    (follower.keys / "example.org.pub").write_bytes(other_keys.master_pem)
    assert follower.follow() == 4
    assert f"not added: {NAME}: " in capsys.readouterr().err
    assert follower.names == []


def test_a_known_stratum_0_is_asked_and_the_server_is_a_mirror(follower: Follower) -> None:
    """So the list's server need not allow replication."""
    url = f"{follower.server}/cvmfs/@fqrn@"
    assert follower.follow("--stratum0", url) == 0
    (replica,) = load_settings(follower.config).replica
    assert (replica.stratum0, replica.mirrors) == (f"{follower.server}/cvmfs/{NAME}", [])
    follower.config.write_text("")
    assert follower.follow("--stratum0", "http://s0.org/@fqrn@", "--offline") == 0
    (replica,) = load_settings(follower.config).replica
    assert replica.stratum0 == f"http://s0.org/{NAME}"
    assert replica.mirrors == [f"{follower.server}/cvmfs/{NAME}"]


def test_lists_of_the_configuration(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a URL, all of them; without any, an error that says how."""
    assert run(["--config", str(follower.config), "follow"]) == 2
    assert "add a [[follow]]" in capsys.readouterr().err
    table = f'[[follow]]\nurl = "{follower.server}{LIST}"\nkeys = "{follower.keys}"\n'
    follower.config.write_text(follower.config.read_text() + table + table)
    assert run(["--config", str(follower.config), "follow"]) == 0
    assert follower.names == [NAME]


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"<html>", 4), (b"[]", 4), (b" " * (5 * 1024 * 1024), 3), (b'{"replicas": 3}', 4)],
    ids=["html", "array", "large", "no array"],
)
def test_what_is_no_list_changes_nothing(follower: Follower, raw: bytes, code: int) -> None:
    """Least of all does it remove."""
    assert follower.follow() == 0
    before = follower.config.read_text()
    follower.lists_bytes(raw)
    assert follower.follow("--remove", "--yes") == code
    follower.lists()
    assert follower.follow("--remove", "--yes") == 0
    assert follower.config.read_text() == before


def test_options_that_are_wrong(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    """They are looked at like the configuration."""
    assert follower.follow("--stratum0", "http://same/") == 2
    assert "put @fqrn@ into it" in capsys.readouterr().err
