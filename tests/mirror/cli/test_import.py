"""Taking over what cvmfs_server left, hostile files included."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mirror.cli.main import run
from mirror.config import load_settings
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reference_host import ReferenceHost
from tests.support.served import served

NAME = "test.example.org"
Make = Callable[[Path], object]
URL = f"http://stratum0.example.org/cvmfs/{NAME}"


@pytest.fixture
def host(tmp_path: Path, keys: Keys) -> ReferenceHost:
    """A host with one key and no replica yet."""
    host = ReferenceHost(tmp_path / "host")
    host.add_key(f"{NAME}.pub", keys.master_pem)
    return host


def found(host: ReferenceHost, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """What an import says to machines."""
    assert run(host.import_arguments("--json", *more)) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def reason(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> str:
    """Why the only replica is skipped."""
    answer = found(host, capsys)
    assert answer["add"] == []
    (skipped,) = answer["skipped"]
    text: str = skipped["reason"]
    return text


def test_it_prints_what_it_would_add_and_changes_nothing(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output is TOML, for the configuration."""
    host.add_replica(NAME, URL, host.keys / f"{NAME}.pub")
    assert run(host.import_arguments()) == 0
    said = capsys.readouterr()
    assert tomllib.loads(said.out) == {
        "replica": [{"name": NAME, "stratum0": URL, "keys": str(host.keys / f"{NAME}.pub")}]
    }
    assert "nothing was changed; --write adds this" in said.err
    assert not host.config.exists()


def test_written_once_there_is_nothing_to_do(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run says so and leaves the file alone."""
    host.add_replica(NAME, URL, host.keys)
    assert run(host.import_arguments("--write")) == 0
    written = host.config.read_text()
    settings = load_settings(host.config)
    assert settings.storage.path == host.storage
    assert settings.storage.spool == host.spool
    capsys.readouterr()
    assert run(host.import_arguments("--write")) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing to do: 1 replica of cvmfs_server" in said.err
    assert host.config.read_text() == written


def test_an_operators_file_keeps_its_comments(host: ReferenceHost) -> None:
    """As with add-replica."""
    host.add_replica(NAME, URL, host.keys)
    places = f'path = "{host.storage}"\nspool = "{host.spool}"\n'
    host.put("etc/cvmfs-mirror/mirror.toml", f"# mine\n[storage] # and mine\n{places}")
    assert run(host.import_arguments("--write")) == 0
    text = host.config.read_text()
    assert text.startswith("# mine\n[storage] # and mine\n")
    assert [each.name for each in load_settings(host.config).replica] == [NAME]


def test_an_alias_gets_links_and_can_be_fetched_under_its_name(
    host: ReferenceHost, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree and the spool directory are cvmfs_server's, under our names."""
    repository = Repository(keys, NAME)
    repository.publish({"": {"README": b"hello"}})
    with HttpStratum0(repository.files) as stratum0:
        host.add_replica(NAME, stratum0.url, host.keys, alias="short.org")
        answer = found(host, capsys)
        assert [each["path"] for each in answer["links"]] == [
            str(host.storage / NAME),
            str(host.spool / NAME),
        ]
        assert run(host.import_arguments("--write")) == 0
        assert (host.storage / NAME).readlink() == Path("short.org")
        assert run(["--config", str(host.config), "snapshot"]) == 0
    assert (host.storage / "short.org" / ".cvmfspublished").is_file()
    assert (host.spool / "short.org" / "reflog.chksum").is_file()
    with served(host.storage) as url:
        manifests = [
            urlopen(f"{url}/cvmfs/{each}/.cvmfspublished").read() for each in (NAME, "short.org")
        ]
    assert manifests[0] == manifests[1] == repository.files[".cvmfspublished"]
    assert run(["--config", str(host.config), "check", "--full"]) == 0
    capsys.readouterr()
    again = found(host, capsys, "--write")
    assert (again["links"], again["add"], again["written"]) == ([], [], False)


def test_an_alias_in_whose_way_something_is(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trees are not one."""
    host.add_replica(NAME, URL, host.keys, alias="short.org")
    (host.storage / NAME).mkdir()
    assert f"{host.storage / NAME} is something else than" in reason(host, capsys)


def test_two_of_one_repository(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> None:
    """The one with its name is taken; the other is another tree, and stays cvmfs_server's."""
    host.add_replica(NAME, URL, host.keys)
    host.add_replica(NAME, URL, host.keys, alias="zz.org")
    answer = found(host, capsys)
    assert [each["name"] for each in answer["add"]] == [NAME]
    assert [each["name"] for each in answer["skipped"]] == ["zz.org"]


def test_keys_in_several_places_are_collected(
    host: ReferenceHost, keys: Keys, other_keys: Keys
) -> None:
    """A list with colons becomes a directory of links."""
    one = host.add_key("one/key.pub", keys.master_pem)
    two = host.add_key("two/key.pub", other_keys.master_pem)
    host.add_replica(NAME, URL, f"{one}:{two}")
    assert run(host.import_arguments("--write")) == 0
    (replica,) = load_settings(host.config).replica
    assert replica.keys == host.config.parent / "keys" / NAME
    assert sorted(each.read_bytes() for each in replica.keys.iterdir()) == sorted(
        [keys.master_pem, other_keys.master_pem]
    )


def test_a_list_of_all_keys_of_a_directory_is_that_directory(
    host: ReferenceHost, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing needs to be made for it."""
    files = [host.add_key(f"one/{number}.pub", keys.master_pem) for number in (1, 2)]
    host.add_replica(NAME, URL, ":".join(map(str, files)))
    assert found(host, capsys)["add"][0]["keys"] == str(host.keys / "one")


@pytest.mark.parametrize("key", [f"{NAME}.pub", "example.org/a.pub", "example.org.pub"])
def test_where_no_key_is_named_one_that_fits_is_taken(
    tmp_path: Path, keys: Keys, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name, or by its domain."""
    host = ReferenceHost(tmp_path / "other")
    path = host.add_key(key, keys.master_pem)
    host.add_replica(NAME, URL, "")
    fitting = path.parent if path.name == "a.pub" else path
    assert found(host, capsys)["add"][0]["keys"] == str(fitting)


def test_what_has_a_setting_of_ours_is_taken_over(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what has none is said."""
    host.put("etc/cvmfs/server.local", "CVMFS_SERVER_PROXY='proxy.example.org:3128' # all\n")
    host.add_replica(
        NAME,
        URL,
        host.keys,
        server='export X509_CERT_BUNDLE="/etc/ssl/ca.pem"\nCVMFS_SNAPSHOT_GROUP=night\n'
        "CVMFS_AUTO_GC=true; CVMFS_FOLLOW_REDIRECTS=yes\n",
        replica="CVMFS_HTTP_TIMEOUT=60\n",
    )
    answer = found(host, capsys)
    assert answer["add"] == [
        {
            "name": NAME,
            "stratum0": URL,
            "keys": str(host.keys),
            "proxy": "http://proxy.example.org:3128",
            "ca_bundle": "/etc/ssl/ca.pem",
        }
    ]
    said = " ".join(answer["notes"][NAME])
    for word in ("group night", "CVMFS_AUTO_GC", "CVMFS_HTTP_TIMEOUT=60", "follow_redirects"):
        assert word in said


def test_pass_through(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no key, and no link; snapshot, check and status say what it is."""
    host.add_pass_through(NAME, URL)
    assert run(host.import_arguments("--write")) == 0
    (replica,) = load_settings(host.config).replica
    assert replica.pass_through
    assert "keys" not in host.config.read_text()
    capsys.readouterr()
    for verb in ("snapshot", "check", "status"):
        assert run(["--config", str(host.config), verb]) == 0
        said = capsys.readouterr()
        assert "nothing is stored" in said.out + said.err


@pytest.mark.parametrize(
    ("server", "word"),
    [
        ("CVMFS_REPLICA_ACTIVE=no\n", "inactive"),
        ("CVMFS_REPOSITORY_TYPE=stratum0\n", "a Stratum 0"),
        ("CVMFS_UPSTREAM_STORAGE=S3,/tmp,test@/etc/s3.conf\n", "its storage is S3, not local"),
        ("CVMFS_PARTIAL_REPLICATION=true\n", "a partial replica"),
        ("CVMFS_STRATUM0=\n", "CVMFS_STRATUM0 is missing"),
        ("CVMFS_STRATUM0=$(curl http://evil/)\n", "it would run a command"),
        ("CVMFS_STRATUM0=`touch {root}/evil`\n", "it would run a command"),
        ('CVMFS_STRATUM0="http://x/$(touch {root}/evil)"\n', "it would run a command"),
        ("CVMFS_STRATUM0=http://x/${SECRET}\n", "it uses $SECRET, which is not known"),
        ("CVMFS_STRATUM0=http://x/ & touch {root}/evil\n", ""),
        ("CVMFS_STRATUM0=http://x/;touch {root}/evil\n", ""),
        ("CVMFS_STRATUM0='http://x/\n", "its quote is never closed"),
        ("CVMFS_STRATUM0=ftp://x/\n", "'ftp://x/' is no URL"),
        ("CVMFS_SERVER_PROXY=socks5://x\n", "'socks5://x' is no proxy"),
        ("CVMFS_SERVER_PROXY=~/x\n", "it names a home directory"),
        ("CVMFS_REPOSITORY_NAME=../../etc\n", "is no repository name"),
        ("CVMFS_REPOSITORY_NAME=a/b\n", "is no repository name"),
        ("CVMFS_UPSTREAM_STORAGE=local,/tmp,../../etc\n", "is no absolute path"),
        ("CVMFS_SPOOL_DIR=/var/../etc\n", "is no absolute path"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}=1\n", ""),
    ],
)
def test_what_is_not_for_us_is_skipped_with_the_reason(
    host: ReferenceHost, server: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is ever run."""
    host.add_replica(NAME, URL, host.keys, server=server.replace("{root}", str(host.root)))
    if word:
        assert word in reason(host, capsys)
    else:
        assert found(host, capsys)["notes"][NAME][-1].startswith("left out: line 11")
    assert not (host.root / "evil").exists()


def test_a_stratum_0_has_no_replica_conf(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is how cvmfs_server tells them apart."""
    directory = host.add_replica(NAME, URL, host.keys)
    (directory / "replica.conf").unlink()
    assert "a Stratum 0" in reason(host, capsys)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a link"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.mkdir(), "s a directory"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10**8), "larger than"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
    ],
    ids=["link", "pipe", "directory", "100 MB", "bytes"],
)
def test_files_that_are_none(
    host: ReferenceHost, make: Make, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of what a link leads to is shown, and no pipe is waited for."""
    directory = host.add_replica(NAME, URL, host.keys)
    (directory / "server.conf").unlink()
    make(directory / "server.conf")
    text = reason(host, capsys)
    assert word in text
    assert "root:" not in text


def test_a_directory_that_is_none(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, or a link, among the directories of repositories."""
    (host.repositories / "README").write_text("hello")
    (host.repositories / "link").symlink_to("/etc")
    assert [each["name"] for each in found(host, capsys)["skipped"]] == ["README", "link"]


def test_keys_that_are_none(host: ReferenceHost, capsys: pytest.CaptureFixture[str]) -> None:
    """Found out now, not at night."""
    bad = host.keys / "bad.pub"
    bad.write_text("secret")
    host.add_replica(NAME, URL, bad)
    text = reason(host, capsys)
    assert "not a public key in PEM" in text
    assert "secret" not in text


def test_a_storage_that_is_not_the_configured_one(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of the two is right only the operator knows."""
    host.put("etc/cvmfs-mirror/mirror.toml", '[storage]\npath = "/elsewhere"\n')
    assert run(host.import_arguments()) == 2
    assert "storage.path is /elsewhere, --from says" in capsys.readouterr().err


def test_no_configuration_of_cvmfs_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says where it was looked for."""
    arguments = ["import", "--repositories", str(tmp_path / "none"), "--config", "/x/mirror.toml"]
    assert run(arguments) == 2
    assert "name the directory with --repositories" in capsys.readouterr().err


def test_what_works_beside_us_is_named_and_left_alone(
    host: ReferenceHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its file and line."""
    host.put(
        "etc/cron.d/cvmfs", "# cvmfs_server snapshot\n*/5 * * * * root cvmfs_server snapshot -ai\n"
    )
    host.put("etc/apache2/conf-enabled/cvmfs.conf", f"Alias /cvmfs/{NAME} /srv/cvmfs/{NAME}\n")
    host.put("etc/logrotate.d/cvmfs", "/var/log/cvmfs/*.log {\n}\n")
    host.put("etc/cron.d/other", "0 0 * * * root true\n")
    (host.root / "etc/cron.d/link").symlink_to("/etc/passwd")
    beside = found(host, capsys)["beside"]
    assert [(Path(each["path"]).name, each["line"]) for each in beside] == [
        ("cvmfs.conf", 1),
        ("cvmfs", 2),
        ("cvmfs", 1),
    ]
    assert run(host.import_arguments()) == 0
    assert "cron.d/cvmfs, line 2: takes snapshots by the clock: disable" in capsys.readouterr().err
