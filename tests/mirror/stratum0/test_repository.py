"""A repository on disk: what its manifest says, and who may write."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.reflog import Reflog
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import ConfigError, Locked, StoreUnavailable
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import PublicationOptions
from tests.support.keys import Keys
from tests.support.origin import Origin, publisher_keys
from tests.support.recorded import manifest_fields


@pytest.fixture
def origin(keys: Keys, tmp_path: Path) -> Origin:
    """With one revision."""
    origin = Origin(tmp_path, keys)
    origin.publish({b"/a": b"a"})
    return origin


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_manifest_names_what_there_is(keys: Keys, tmp_path: Path, algorithm: Algorithm) -> None:
    """In the reference's order; every object it names is sound, and so is the reflog."""
    origin = Origin(tmp_path, keys)
    origin.publish({}, PublicationOptions(packing=PackingOptions(algorithm)))
    fields = manifest_fields(origin.root)
    assert "".join(fields) == "CBRDSGANXHTMY"
    assert (fields["S"], fields["D"], fields["G"], fields["A"]) == ("1", "240", "yes", "no")
    root = origin.repository.unpacked(origin.manifest.root_catalog)
    assert fields["B"] == str(len(root))
    reflog = (origin.root / ".cvmfsreflog").read_bytes()
    assert fields["Y"] == ContentHash.of(algorithm, reflog).text


def test_the_reflog_has_all_that_was_ever_published(origin: Origin) -> None:
    """Root catalogs and histories of every revision, certificate and meta information once."""
    origin.publish({b"/a": b"b"})
    refs = Reflog.parse((origin.root / ".cvmfsreflog").read_bytes(), origin.repository.fqrn).refs
    kinds = sorted(each.suffix for each in refs)
    assert kinds == sorted([*"CCHH", *"MX"])
    assert Suffix.CATALOG in kinds


def test_mirrors_are_welcome(origin: Origin) -> None:
    """The file that permits replication is there, and it is empty."""
    assert (origin.root / ".cvmfs_master_replica").read_bytes() == b""


def test_meta_information_is_kept(origin: Origin) -> None:
    """Every key that the reference knows is there, and stays what it was."""
    name = origin.manifest.meta_info
    assert name is not None
    assert "administrator" in json.loads(origin.repository.unpacked(name))
    origin.publish({b"/b": b"b"})
    assert origin.manifest.meta_info == name


def test_two_writers_exclude_each_other(origin: Origin) -> None:
    """The second is told at once."""
    with origin.repository.locked(), pytest.raises(Locked):
        origin.publish({})
    origin.publish({})


def test_nothing_is_published_yet(keys: Keys, tmp_path: Path) -> None:
    """No manifest, no tags, no whitelist, an empty reflog."""
    repository = Origin(tmp_path, keys).repository
    assert repository.manifest() is None
    assert repository.tags(None).rows == ()
    assert repository.whitelist_expiry() is None
    assert repository.reflog().refs == {}


def test_a_damaged_manifest_is_not_taken_for_none(origin: Origin) -> None:
    """Or the repository would begin again at revision 1."""
    (origin.root / ".cvmfspublished").write_bytes(b"Cxyz\n--\n")
    with pytest.raises(StoreUnavailable, match=r"\.cvmfspublished is damaged"):
        origin.publish({})


def test_a_whitelist_is_valid_for_as_long_as_asked(origin: Origin) -> None:
    """From now; the first one for thirty days."""
    first = origin.repository.whitelist_expiry()
    assert first is not None
    assert timedelta(days=29) < first - datetime.now(UTC) < timedelta(days=31)
    expires = origin.repository.renew_whitelist(origin.keys, Algorithm.SHA1, 90)
    assert expires == origin.repository.whitelist_expiry()
    assert timedelta(days=89) < expires - datetime.now(UTC) < timedelta(days=91)


def test_other_keys_sign_nothing(origin: Origin, other_keys: Keys) -> None:
    """No client would accept it: neither a revision, nor a whitelist, nor is anything changed."""
    before = {path: path.read_bytes() for path in origin.root.rglob(".cvmfs*")}
    origin.keys = publisher_keys(other_keys)
    with pytest.raises(ConfigError, match="made with other keys than these; name the right"):
        origin.publish({b"/a": b"changed"})
    with pytest.raises(ConfigError, match="made with other keys"):
        origin.repository.renew_whitelist(origin.keys, Algorithm.SHA1, 30)
    assert {path: path.read_bytes() for path in origin.root.rglob(".cvmfs*")} == before


def test_a_publisher_need_not_have_the_right_master_key(origin: Origin, other_keys: Keys) -> None:
    """The certificate is listed; the whitelist stays as the master key's owner signed it."""
    raw = (origin.root / ".cvmfswhitelist").read_bytes()
    own = origin.keys
    origin.keys = type(own)(other_keys.master, own.publisher, own.certificate)
    assert origin.publish({b"/a": b"changed"}).revision == 2
    assert (origin.root / ".cvmfswhitelist").read_bytes() == raw
    assert own.has_signed(Whitelist.parse(raw).letter)
