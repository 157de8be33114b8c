"""The verbs of a Stratum 0: what an operator types, sees, and gets as exit code."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from mirror.cli.main import run
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.whitelist import Whitelist
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.repository import Stratum0Repository
from tests.support.keys import Keys
from tests.support.origin import publisher_keys
from tests.support.reachable import reachable_objects
from tests.support.recorded import catalogs, manifest_fields, rebuild

NAME = "test.example.org"


class Desk:
    """An operator's directory: software, keys, storage."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self.keys = directory / "keys"
        publisher_keys(keys).write_to(self.keys, Fqrn(NAME))
        self.storage = directory / "storage"
        self.root = self.storage / NAME
        self.software = directory / "software"
        self.software.mkdir()
        (self.software / "tool").write_text("1")
        self.where = ("--name", NAME, "--into", str(self.storage))

    def run(self, verb: str, *arguments: str) -> int:
        """Run a verb that signs."""
        return run([*verb.split(), *self.where, "--keys", str(self.keys), *arguments])

    def collect(self, *arguments: str) -> int:
        """Run the one that does not."""
        return run(["collect", *self.where, *arguments])

    def publish(self, content: str = "", *arguments: str) -> int:
        """Publish the software, with other content if any is given."""
        if content:
            (self.software / "tool").write_text(content)
        return self.run("publish", str(self.software), *arguments)

    def files(self, scratch: Path) -> dict[str, bytes]:
        """What is published."""
        rebuild(self.root, scratch)
        found = (path for path in scratch.rglob("*") if path.is_file())
        return {str(path.relative_to(scratch)): path.read_bytes() for path in found}


@pytest.fixture
def desk(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """With keys, and nothing published."""
    for module in ("local", "staging"):
        monkeypatch.setattr(f"mirror.store.{module}.syncfs", lambda _root: None)
    return Desk(tmp_path, keys)


@pytest.fixture
def published(desk: Desk, capsys: pytest.CaptureFixture[str]) -> Desk:
    """With one revision."""
    assert desk.publish() == 0
    capsys.readouterr()
    return desk


# --- publish --------------------------------------------------------------------------------------


def test_a_publication_says_what_it_did(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """And which key clients need."""
    assert desk.publish() == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{NAME}: published revision 1: 1 entries added, ")
    assert second == f"{NAME}: clients and mirrors verify it with {desk.keys / NAME}.pub"
    assert desk.publish() == 0
    assert capsys.readouterr().out == f"{NAME}: nothing changed; still revision 1\n"


def test_json_says_the_same(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, and nothing else on standard output."""
    assert desk.publish("", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == NAME
    assert (said["revision"], said["was_unchanged"]) == (1, False)
    assert said["root"] == manifest_fields(desk.root)["C"]
    assert said["changes"]["added"] == 1
    assert said["public_key"] == str(desk.keys / f"{NAME}.pub")


def test_keys_are_made_on_first_use(tmp_path: Path) -> None:
    """Where they were asked for; all four."""
    (tmp_path / "software").mkdir()
    where = ["--name", NAME, "--into", str(tmp_path / "s"), "--keys", str(tmp_path / "new")]
    assert run(["publish", str(tmp_path / "software"), *where]) == 0
    assert len(list((tmp_path / "new").iterdir())) == 4


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_a_tarball_is_published_from_standard_input(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compression: str
) -> None:
    """Of any compression, below a base."""
    stdin = io.TextIOWrapper(io.BytesIO(tarball(compression)))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert desk.run("publish", "-", "--base", "/pkg") == 0
    assert desk.files(tmp_path / "x") == {"pkg/dir/file": b"content"}


def test_a_tarball_is_published_from_a_file(desk: Desk, tmp_path: Path) -> None:
    """What is no directory is one."""
    (tmp_path / "x.tar.gz").write_bytes(tarball("gz"))
    assert desk.run("publish", str(tmp_path / "x.tar.gz")) == 0
    assert desk.files(tmp_path / "x") == {"dir/file": b"content"}


def tarball(compression: str = "") -> bytes:
    """One file in a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("dir/file")
        info.size = 7
        tar.addfile(info, io.BytesIO(b"content"))
    return buffer.getvalue()


def test_half_a_tarball_publishes_nothing(
    published: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download that broke off is a format error, and the old revision stays."""
    (tmp_path / "half.tar").write_bytes(tarball()[:1024])
    assert published.run("publish", str(tmp_path / "half.tar")) == 4
    assert "half.tar is not a sound tarball" in capsys.readouterr().err
    assert published.files(tmp_path / "x") == {"tool": b"1"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"tool"}),
        (("--base", "a/b/"), {"tool", "a/b/tool"}),
        (("--base", "/a", "--overlay"), {"tool", "a/tool"}),
        (("--delete", "tool", "--overlay", "--base", "/n"), {"n/tool"}),
    ],
)
def test_options_say_where(
    published: Desk, tmp_path: Path, options: tuple[str, ...], expected: set[str]
) -> None:
    """Slashes at the ends do not count."""
    assert published.publish("2", *options) == 0
    assert published.files(tmp_path / "x").keys() == expected


@pytest.mark.parametrize("algorithm", ["sha1", "rmd160", "shake128"])
@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_hash_and_compression_can_be_chosen(desk: Desk, algorithm: str, compression: str) -> None:
    """For the first publication."""
    assert desk.publish("x", "--hash", algorithm, "--compression", compression) == 0
    label = "" if algorithm == "sha1" else f"-{algorithm}"
    assert manifest_fields(desk.root)["C"][40:] == label


def test_made_up_content_is_published(desk: Desk) -> None:
    """And changed by a share."""
    made_up = ("--synthetic", "files=20,catalogs=2,median=10,seed=1")
    assert desk.run("publish", *made_up) == 0
    assert len(catalogs(desk.root)) == 3
    assert desk.run("publish", *made_up, "--change", "10%") == 0
    assert manifest_fields(desk.root)["S"] == "2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a directory, a tarball, or -"),
        (("x", "--synthetic", "files=1"), "name a directory, a tarball, or -"),
        (("/no/such/thing",), "/no/such/thing: No such file or directory"),
        (("{software}", "--base", "/a/../b"), "without . or .."),
        (("{software}", "--delete", "/none"), "--delete /none: no such path"),
        (("{software}", "--base", "/tool/x"), "/tool is no directory"),
        (("{software}", "--tag", "no name"), "'no name' is no name for a tag"),
        (("{software}", "--tag", "trunk"), "trunk follows the newest revision by itself"),
        (("{software}", "--hash", "md5"), "'md5' is not one of"),
        (("{software}", "--compression", "lz4"), "'lz4' is not one of"),
        (("--synthetic", "files=x"), "write a number"),
        (("--synthetic", "files=1", "--change", "7"), "write a share"),
        (("{software}", "--no-such-option"), "No such option"),
    ],
)
def test_what_is_wrong_is_told_with_exit_code_2(
    published: Desk, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    """In words that say what to do, and nothing is published."""
    filled = [each.format(software=published.software) for each in arguments]
    assert published.run("publish", *filled) == 2
    assert words in capsys.readouterr().err
    assert manifest_fields(published.root)["S"] == "1"


@pytest.mark.parametrize("verb", ["publish x", "collect", "resign", "tag list", "tag add v1"])
@pytest.mark.parametrize("name", ["nodots", "../x.y", "a/b.c", ""])
def test_what_is_no_name_of_a_repository_is_refused(tmp_path: Path, verb: str, name: str) -> None:
    """Before anything is touched."""
    assert run([*verb.split(), "--name", name, "--into", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["publish", "tag add v9", "resign"])
def test_other_keys_are_refused(
    published: Desk, other_keys: Keys, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    """What they sign no client accepts."""
    published.keys = tmp_path / "other"
    publisher_keys(other_keys).write_to(published.keys, Fqrn(NAME))
    before = {path: path.read_bytes() for path in published.root.glob(".cvmfs*")}
    content = [str(published.software), "--tag", "v1"] if verb == "publish" else []
    assert published.run(verb, *content) == 2
    assert "made with other keys than these; name the right --keys" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in published.root.glob(".cvmfs*")} == before


def test_a_master_key_is_replaced_as_the_error_says(
    published: Desk, other_keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whitelist goes, the new key signs another, and publishing goes on."""
    master = publisher_keys(other_keys).master
    own = PublisherKeys.load_or_make(published.keys, Fqrn(NAME))
    for file in published.keys.iterdir():
        file.unlink()
    PublisherKeys(master, own.publisher, own.certificate).write_to(published.keys, Fqrn(NAME))
    whitelist = published.root / ".cvmfswhitelist"
    assert published.run("resign") == 2
    told = f"{whitelist} was made with other keys than these; name the right --keys; if the master"
    assert told in capsys.readouterr().err
    whitelist.unlink()
    assert published.run("resign") == 0
    keys = PublisherKeys.load_or_make(published.keys, Fqrn(NAME))
    assert keys.has_signed(Whitelist.parse(whitelist.read_bytes()).letter)
    assert published.publish("changed") == 0


@pytest.mark.parametrize("verb", ["tag add v9", "tag remove v9", "resign"])
def test_keys_are_not_made_for_a_repository_that_has_some(
    published: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    """Verbs of a published one want them to be there."""
    published.keys = tmp_path / "empty"
    assert published.run(verb) == 2
    assert f"no keys of {NAME} there; name the right --keys" in capsys.readouterr().err
    assert not published.keys.exists()


def test_half_a_set_of_keys_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With the name of what is missing."""
    (desk.keys / f"{NAME}.key").unlink()
    assert desk.publish() == 2
    assert f"{NAME}.key: missing, though" in capsys.readouterr().err


# --- locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["publish", "tag add v9", "tag remove v9", "resign", "collect"])
def test_a_locked_repository_is_exit_code_5(
    published: Desk, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """Somebody else is at work: nothing waits, nothing is changed."""
    with Stratum0Repository(published.storage, Fqrn(NAME)).locked():
        if verb == "collect":
            assert published.collect() == 5
        else:
            content = [str(published.software)] if verb == "publish" else []
            assert published.run(verb, *content) == 5
    assert "cvmfs-mirror.lock" in capsys.readouterr().err


def test_reading_needs_no_lock(published: Desk) -> None:
    """Tags can be listed meanwhile."""
    with Stratum0Repository(published.storage, Fqrn(NAME)).locked():
        assert run(["tag", "list", *published.where]) == 0


# --- tag, collect, resign -------------------------------------------------------------------------


def test_tags_are_listed_newest_first(published: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With number, time and description; as JSON too."""
    assert published.publish("2", "--tag", "v2", "--message", "the second") == 0
    assert published.run("tag add also", "--message", "the same") == 0
    capsys.readouterr()
    assert run(["tag", "list", *published.where]) == 0
    assert "the second" in capsys.readouterr().out
    assert run(["tag", "list", *published.where, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["revision"] for row in rows] == [2, 2, 2, 1, 1]
    assert {row["name"]: row["description"] for row in rows}["also"] == "the same"
    assert rows[0]["root"] == manifest_fields(published.root)["C"]


def test_tags_come_and_go(published: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The revision stays what it is."""
    assert published.run("tag add v1") == 0
    assert capsys.readouterr().out == f"{NAME}: revision 1 is tagged v1\n"
    assert published.run("tag add v1") == 2
    assert "v1 exists already; remove it first" in capsys.readouterr().err
    assert published.run("tag remove v1") == 0
    assert capsys.readouterr().out == f"{NAME}: removed v1\n"
    assert published.run("tag remove v1") == 2
    assert "there is no tag v1" in capsys.readouterr().err


def generic_tags(desk: Desk) -> list[str]:
    """The automatic ones."""
    repository = Stratum0Repository(desk.storage, Fqrn(NAME))
    rows = repository.tags(repository.manifest()).rows
    return [row.name for row in rows if row.name.startswith("generic")]


def test_collect_deletes_what_nothing_needs(
    published: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """First said, then done; and what is kept is whole."""
    for content in ("2", "3", "4"):
        assert published.publish(content) == 0
    assert published.run("tag remove", *generic_tags(published)) == 0
    capsys.readouterr()
    assert published.collect("--keep-days", "1", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["dry_run"], len(plan["condemned_roots"])) == (True, 0)  # of today
    assert published.collect() == 0
    assert f"{NAME}: deleted " in capsys.readouterr().out
    objects = {str(path.relative_to(published.root)) for path in published.root.glob("data/??/*")}
    assert reachable_objects(published.root) <= objects


def test_old_revisions_go(
    published: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they are older than the days to keep."""
    for content in ("2", "3"):
        assert published.publish(content) == 0
    assert published.run("tag remove", *generic_tags(published)) == 0
    capsys.readouterr()
    monkeypatch.setattr("mirror.cli.collect.time.time", lambda: 2.0**33)
    assert published.collect("--dry-run") == 0
    assert "would delete" in capsys.readouterr().out
    assert published.collect() == 0
    assert "of 1 revision; 2 revisions kept" in capsys.readouterr().out
    objects = {str(path.relative_to(published.root)) for path in published.root.glob("data/??/*")}
    assert objects == reachable_objects(published.root)


def test_collect_asks_the_publisher(published: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository published with --no-gc keeps everything."""
    assert published.publish("", "--no-gc") == 0
    assert published.collect() == 2
    assert "does not allow garbage collection; publish it with --gc" in capsys.readouterr().err
    assert published.publish("", "--gc") == 0
    assert published.collect() == 0


def test_collect_sees_what_was_published_while_it_waited(
    published: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest counts that is there under the lock."""
    locked = Stratum0Repository.locked

    def late(repository: Stratum0Repository) -> object:
        monkeypatch.setattr(Stratum0Repository, "locked", locked)
        assert published.publish("meanwhile") == 0
        return locked(repository)

    monkeypatch.setattr("mirror.cli.collect.time.time", lambda: 2.0**33)
    monkeypatch.setattr(Stratum0Repository, "locked", late)
    assert published.collect() == 0
    reachable_objects(published.root)  # reads every catalog and the history
    assert published.publish("afterwards") == 0


def test_resign_renews_the_whitelist_only(
    published: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says until when it is valid."""
    manifest = (published.root / ".cvmfspublished").read_bytes()
    whitelist = (published.root / ".cvmfswhitelist").read_bytes()
    assert published.run("resign", "--days", "400") == 0
    assert capsys.readouterr().out.startswith(f"{NAME}: whitelist valid until 2")
    assert (published.root / ".cvmfspublished").read_bytes() == manifest
    assert (published.root / ".cvmfswhitelist").read_bytes() != whitelist
    assert published.run("resign", "--days", "0") == 2


@pytest.mark.parametrize("verb", ["tag list", "tag add v1", "tag remove v1", "collect", "resign"])
def test_what_is_not_published_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """And no directory is made for it."""
    assert run([*verb.split(), "--name", NAME, "--into", str(tmp_path / "new")]) == 2
    assert "no repository there; publish it first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_storage_that_cannot_be_written_is_exit_code_5(desk: Desk) -> None:
    """With the name of the directory."""
    desk.storage.mkdir(mode=0o500)
    assert desk.publish() == 5
