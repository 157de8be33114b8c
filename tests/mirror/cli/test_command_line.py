"""What an operator types and sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.cli.exit_codes import exit_code
from mirror.cli.main import run
from mirror.errors import (
    BadSignature,
    ConfigError,
    DamageError,
    Failure,
    FormatError,
    NotFound,
    SnapshotFailed,
    StoreFull,
)
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.site import Site

NAME = "test.example.org"
VERBS = (
    *("", "add-replica", "snapshot", "status", "check", "serve", "demo", "completion"),
    *("import", "follow", "export"),
    *("publish", "collect", "resign", "tag", "tag add", "tag remove", "tag list"),
)
TREE = {"": {"README": b"hello"}, "/app": {"tool": b"#!/bin/sh\n", "data": bytes(3_000_000)}}


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """One revision of a small repository."""
    repository = Repository(keys, NAME)
    repository.publish(TREE, tag="v1")
    return repository


def test_exit_codes_tell_the_family_of_an_error() -> None:
    """Of several errors the one that most needs a person wins."""
    assert exit_code() == 0
    assert exit_code(ConfigError(["x"])) == 2
    assert exit_code(NotFound("x")) == 3
    assert exit_code(FormatError("x")) == exit_code(BadSignature("x")) == 4
    assert exit_code(StoreFull("x"), NotFound("x")) == 5
    assert exit_code(DamageError("x")) == 6
    failures = [Failure("a", "/", NotFound("x")), Failure("b", "/", FormatError("y"))]
    assert exit_code(SnapshotFailed(failures, 2)) == 4
    assert exit_code(SnapshotFailed(failures[:1], 1)) == 3


def test_config_may_stand_before_and_behind_the_verb(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways read the same file."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert run(["--config", str(site.config), "snapshot"]) == 0
        assert run(["snapshot", "--config", str(site.config)]) == 0
    assert "up to date" in capsys.readouterr().out


def test_snapshot_says_what_it_did(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result on standard output, the way there on standard error."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert site.run("snapshot") == 0
    said = capsys.readouterr()
    assert f"{NAME}: serving revision 1; fetched" in said.out
    assert "first snapshot from" in said.err
    assert "signatures hold" in said.err


def test_snapshot_as_json(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document, for good and bad outcomes alike, and nothing else."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert site.run("snapshot", "--json") == 0
        good = json.loads(capsys.readouterr().out)[0]
        repository.flip(".cvmfspublished", 3)
        assert site.run("snapshot", "--json") == 4
        bad = json.loads(capsys.readouterr().out)[0]
    assert (good["ok"], good["revision"], good["previous_revision"]) == (True, 1, None)
    assert good["stored_objects"] == 6
    assert (bad["ok"], bad["error"]["kind"]) == (False, "BadSignature")


def test_a_dry_run_says_what_would_come_and_changes_nothing(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a directory is made."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        before = sorted(tmp_path.rglob("*"))
        assert site.run("snapshot", "--dry-run") == 0
        assert sorted(tmp_path.rglob("*")) == before
    said = capsys.readouterr().out
    assert "2 catalogs" in said
    assert "4 objects (at most 2.0 MB)" in said


def test_one_failing_replica_does_not_stop_the_others(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All are tried, and the exit code tells of the failure."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        text = site.config.read_text()
        dead = text[text.index("[[replica]]") :].replace(NAME, "dead.example.org")
        site.config.write_text(f"[fetch]\nretries = 0\n{text}{dead}")
        assert site.run("snapshot") == 3
    said = capsys.readouterr()
    assert f"{NAME}: serving revision 1" in said.out
    assert "dead.example.org: " in said.err


def test_status(repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after the first snapshot, for people and for machines."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert site.run("status") == 0
        assert "no snapshot yet" in capsys.readouterr().out
        assert site.run("snapshot") == 0
    capsys.readouterr()
    assert site.run("status") == 0
    assert "served" in capsys.readouterr().out
    assert site.run("status", "--json") == 0
    status = json.loads(capsys.readouterr().out)[0]
    assert (status["revision"], status["state"]) == (1, "served")
    assert status["whitelist_expires"] == "2099-01-01T00:00:00+00:00"


def test_status_names_what_is_wrong(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost whitelist, a damaged manifest: said, not thrown."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert site.run("snapshot") == 0
    (site.root / ".cvmfswhitelist").unlink()
    assert site.run("status") == 0
    (site.root / ".cvmfspublished").write_bytes(b"?")
    assert site.run("status", "--json") == 0
    said = capsys.readouterr().out
    assert ".cvmfswhitelist is missing" in said
    assert "move it away" in said


def test_check_finds_and_repair_mends(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost object and a flipped bit are found, named, fetched anew, and gone."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        assert site.run("snapshot") == 0
        plain = sorted(p for p in (site.root / "data").glob("??/*") if p.name[-1:].isalnum())
        lost, flipped = [path for path in plain if len(path.name) == 38][:2]
        lost.unlink()
        flipped.write_bytes(b"?" + flipped.read_bytes()[1:])
        assert site.run("check") == 6
        assert site.run("check", "--full", "--json") == 6
        report = json.loads(capsys.readouterr().out.partition("[\n")[2].join(["[\n", ""]))[0]
        assert {each["object"][-38:] for each in report["damage"]} == {lost.name, flipped.name}
        assert site.run("snapshot") == 0, "an ordinary snapshot trusts the catalogs that are here"
        assert site.run("check") == 6
        assert site.run("snapshot", "--repair") == 0
        assert site.run("check", "--full") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot", "--config", "/nonexistent/mirror.toml"],
        ["snapshot", "--nonsense"],
        ["nonsense"],
        ["serve", "--config", "/nonexistent/mirror.toml"],
        ["completion", "tcsh"],
    ],
)
def test_usage_errors_end_with_2(arguments: list[str]) -> None:
    """Whatever is wrong with the call or the configuration."""
    assert run(arguments) == 2


def test_unknown_replicas_and_bad_keys_end_with_2(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the fix in the message."""
    site = Site(tmp_path, NAME, "http://127.0.0.1:1/cvmfs/x", repository.keys.master_pem)
    assert site.run("snapshot", "tset.example.org") == 2
    assert "did you mean test.example.org" in capsys.readouterr().err
    site.key.write_text("not a key")
    assert site.run("snapshot") == 2
    assert "not a public key" in capsys.readouterr().err


def test_no_traceback_reaches_a_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Even a mistake of ours is one line and a code of its own, unless asked for more."""
    site = Site(tmp_path, NAME, "http://127.0.0.1:1/cvmfs/x", b"")
    monkeypatch.setattr("mirror.cli.status.run_async", lambda _: 1 / 0)
    monkeypatch.setattr("mirror.cli.status._status", lambda *_: None)
    assert site.run("status") == 70
    assert "internal error: ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setenv("CVMFS_MIRROR_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        site.run("status")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends well and says more than the usage."""
    assert run([*verb.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) > 8
    assert "\\b" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell gets a script that asks us for words."""
    assert run(["completion", shell]) == 0
    assert "_CVMFS_MIRROR_COMPLETE" in capsys.readouterr().out


def test_names_are_completed_from_the_configuration(tmp_path: Path, keys: Keys) -> None:
    """What bash would ask for after ``snapshot te``."""
    site = Site(tmp_path, NAME, "http://127.0.0.1:1/cvmfs/x", keys.master_pem)
    words = f"cvmfs-mirror --config {site.config} snapshot te"
    environment = {
        "PATH": os.environ["PATH"],
        "_CVMFS_MIRROR_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": "4",
    }
    program = str(Path(sys.executable).with_name("cvmfs-mirror"))
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"plain,{NAME}"


def test_sigterm_stops_a_snapshot_cleanly(repository: Repository, tmp_path: Path) -> None:
    """The lock is free, no temporary is left, and the next run finishes."""
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, NAME, stratum0.url, repository.keys.master_pem)
        hanging = next(path for path in repository.files if path.endswith("P"))
        arrived = stratum0.hang(hanging)
        program = str(Path(sys.executable).with_name("cvmfs-mirror"))
        process = subprocess.Popen([program, "-c", site.config, "snapshot"], stderr=subprocess.PIPE)
        assert arrived.wait(30)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert b"nothing is lost" in said
        assert site.temporaries() == []
        assert not (site.root / ".cvmfs_is_snapshotting").exists()
        stratum0.faults.clear()
        assert site.run("snapshot") == 0
