"""Handing replicas back to cvmfs_server, and there and back again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cli.main import run
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reference_host import ReferenceHost
from tests.support.reference_tools import needs
from tests.support.served import served

NAME = "test.example.org"
TREE = {"": {"README": b"hello"}, "/app": {"tool": b"#!/bin/sh\n"}}


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """One revision of a small repository."""
    repository = Repository(keys, NAME)
    repository.publish(TREE)
    return repository


@pytest.fixture
def stratum0(repository: Repository) -> Iterator[HttpStratum0]:
    """Where it is published."""
    with HttpStratum0(repository.files) as stratum0:
        yield stratum0


@pytest.fixture
def host(tmp_path: Path, keys: Keys, stratum0: HttpStratum0) -> ReferenceHost:
    """A host of ours with that replica, on which cvmfs_server never was."""
    host = ReferenceHost(tmp_path / "host")
    key = host.add_key(f"{NAME}.pub", keys.master_pem)
    host.put(
        "etc/cvmfs-mirror/mirror.toml",
        f'[storage]\npath = "{host.storage}"\nspool = "{host.spool}"\n'
        f'[[replica]]\nname = "{NAME}"\nstratum0 = "{stratum0.url}"\nkeys = "{key}"\n',
    )
    return host


def ours(host: ReferenceHost, *arguments: str) -> int:
    """Run ``cvmfs-mirror`` there."""
    return run(["--config", str(host.config), *arguments])


def export(host: ReferenceHost, *more: str) -> int:
    """Run an export there."""
    return ours(host, "export", "--repositories", str(host.repositories), *more)


def test_it_shows_what_it_would_write(
    host: ReferenceHost, stratum0: HttpStratum0, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files as cvmfs_server would have made them; nothing is changed."""
    assert export(host, NAME) == 0
    said = capsys.readouterr()
    for line in (
        f"# {host.repositories}/{NAME}/server.conf",
        f"CVMFS_REPOSITORY_NAME={NAME}",
        "CVMFS_REPOSITORY_TYPE=stratum1",
        f"CVMFS_SPOOL_DIR={host.spool}/{NAME}",
        f"CVMFS_STRATUM0={stratum0.url}",
        f"CVMFS_UPSTREAM_STORAGE=local,{host.storage}/{NAME}/data/txn,{host.storage}/{NAME}",
        f"# {host.repositories}/{NAME}/replica.conf",
        f"CVMFS_PUBLIC_KEY={host.keys}/{NAME}.pub",
    ):
        assert line in said.out.splitlines()
    assert "looks for checksums of reflogs in /var/spool/cvmfs only" in said.err
    assert list(host.repositories.iterdir()) == []


def test_written_once_it_is_there_already(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the checksum of the reflog, even where that was lost; a second time nothing changes."""
    assert ours(host, "snapshot") == 0
    checksum = host.spool / NAME / "reflog.chksum"
    kept = checksum.read_text()
    checksum.unlink()
    assert export(host, "--write") == 0
    assert checksum.read_text() == kept
    assert (host.spool / NAME / "tmp").readlink() == host.storage / NAME / "data" / "txn"
    capsys.readouterr()
    assert export(host, "--write", "--json") == 0
    assert {each["state"] for each in json.loads(capsys.readouterr().out)} == {"same"}
    assert run(host.import_arguments("--write")) == 0
    assert "nothing to do: 1 replica" in capsys.readouterr().err


def test_a_file_that_says_something_else_stays(
    host: ReferenceHost, stratum0: HttpStratum0, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it is to be replaced; and then lines that are none of our business stay."""
    host.add_replica(NAME, "http://other/", host.keys, server="CVMFS_SNAPSHOT_GROUP=night\n")
    conf = host.repositories / NAME / "server.conf"
    before = conf.read_text()
    assert export(host, "--write") == 2
    assert "CVMFS_STRATUM0 is 'http://other/', ours is" in capsys.readouterr().err
    assert conf.read_text() == before
    assert export(host, "--write", "--force") == 0
    assert f"CVMFS_STRATUM0={stratum0.url}\n" in conf.read_text()
    assert "CVMFS_SNAPSHOT_GROUP=night\n" in conf.read_text()


def test_a_link_is_replaced_not_followed(host: ReferenceHost, tmp_path: Path) -> None:
    """Whoever put it there does not choose what we write to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    conf = host.repositories / NAME / "server.conf"
    conf.parent.mkdir()
    conf.symlink_to(victim)
    assert export(host, "--write") == 2
    assert export(host, "--write", "--force") == 0
    assert victim.read_text() == "precious"
    assert not conf.is_symlink()


def test_nothing_that_a_shell_would_look_into(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """cvmfs_server runs these files as root."""
    text = host.config.read_text().replace("/cvmfs/test", "/$(reboot)/test")
    host.config.write_text(text)
    assert export(host, "--write") == 2
    assert "means something to a shell" in capsys.readouterr().err
    assert list(host.repositories.iterdir()) == []


def test_pass_through_and_proxies(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> None:
    """What cvmfs_server has words for."""
    lines = 'proxy = "http://p:3128"\nca_bundle = "/ca.pem"\npass_through = true\n'
    host.config.write_text(host.config.read_text() + lines)
    assert export(host, "--write") == 0
    assert "CVMFS_PASSTHROUGH=true\n" in (host.repositories / NAME / "replica.conf").read_text()
    text = (host.repositories / NAME / "server.conf").read_text()
    assert "CVMFS_SERVER_PROXY=http://p:3128\nX509_CERT_BUNDLE=/ca.pem\n" in text
    capsys.readouterr()
    assert run(host.import_arguments("--write")) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_mirrors_are_not_for_cvmfs_server(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said that they are left out."""
    host.config.write_text(host.config.read_text() + 'mirrors = ["http://one/"]\n')
    assert export(host) == 0
    assert "asks Stratum 0 only, not its mirrors" in capsys.readouterr().err


@pytest.mark.integration
@needs("cvmfs_server")
@needs("unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="cvmfs_server needs root")
@pytest.mark.parametrize("alias", ["", "short.org"])
def test_there_and_back_again(
    tmp_path: Path,
    keys: Keys,
    repository: Repository,
    stratum0: HttpStratum0,
    *,
    alias: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Imported, fetched by us, exported, fetched by cvmfs_server, and by us again."""
    host = ReferenceHost(tmp_path / "theirs")
    host.add_key(f"{NAME}.pub", keys.master_pem)
    host.add_replica(NAME, stratum0.url, host.keys / f"{NAME}.pub", alias=alias)
    assert run(host.import_arguments("--write")) == 0
    assert ours(host, "snapshot") == 0
    conf = host.repositories / (alias or NAME) / "server.conf"
    if not alias:
        conf.unlink()
    with served(host.storage) as url:
        if alias:
            conf.write_text(f"{conf.read_text()}CVMFS_STRATUM1={url}/cvmfs/{alias}\n")
        assert export(host, "--write", "--stratum1", f"{url}/cvmfs/@fqrn@") == 0
        assert (alias or NAME) + " (stratum1 / local)" in theirs(host, "list")
        repository.publish(TREE | {"/more": {"file": b"new"}})
        theirs(host, f"snapshot {alias or NAME}")
    assert ours(host, "check", "--full") == 0
    capsys.readouterr()
    assert ours(host, "snapshot") == 0
    assert "revision 2, up to date" in capsys.readouterr().out
    assert run(host.import_arguments("--write")) == 0
    assert "nothing to do: 1 replica" in capsys.readouterr().err


def theirs(host: ReferenceHost, command: str) -> str:
    """Run ``cvmfs_server`` in a name space of its own, where its fixed paths lead to the host."""
    root = shlex.quote(str(host.root))
    script = (
        f"set -e; mount --bind {root}/etc/cvmfs /etc/cvmfs; "
        "mount -t tmpfs none /var/spool; mkdir /var/spool/cvmfs; "
        f"mount --bind {root}/var/spool/cvmfs /var/spool/cvmfs; cvmfs_server {command}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
