"""Keys: made once, kept from others, and only as a whole."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import ConfigError
from mirror.stratum0.keys import PublisherKeys
from mirror.trust.master_keys import MasterKeys
from tests.support.keys import Keys
from tests.support.origin import publisher_keys

NAME = Fqrn("test.example.org")
KINDS = ("masterkey", "pub", "key", "crt")


@pytest.fixture
def directory(keys: Keys, tmp_path: Path) -> Path:
    """Four files."""
    publisher_keys(keys).write_to(tmp_path / "keys", NAME)
    return tmp_path / "keys"


def test_keys_are_made_on_first_use_and_read_afterwards(tmp_path: Path) -> None:
    """The directory too."""
    made = PublisherKeys.load_or_make(tmp_path / "new" / "keys", NAME)
    read = PublisherKeys.load_or_make(tmp_path / "new" / "keys", NAME)
    assert read.certificate == made.certificate
    assert read.master_public_pem == made.master_public_pem


def test_secrets_are_for_their_owner_alone(directory: Path) -> None:
    """From the first moment on; public halves are for all to read."""
    modes = {kind: (directory / f"{NAME}.{kind}").stat().st_mode & 0o777 for kind in KINDS}
    assert modes == {"masterkey": 0o400, "key": 0o400, "pub": 0o444, "crt": 0o444}


@pytest.mark.parametrize("missing", KINDS)
def test_a_part_of_them_is_refused(directory: Path, missing: str) -> None:
    """New ones beside old ones would sign what nobody accepts."""
    (directory / f"{NAME}.{missing}").unlink()
    with pytest.raises(ConfigError, match=rf"{NAME}\.{missing}: missing, though .* restore it"):
        PublisherKeys.load_or_make(directory, NAME)
    assert len(list(directory.iterdir())) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_belong_together_is_refused(
    directory: Path, other_keys: Keys, tmp_path: Path, kind: str
) -> None:
    """A certificate of another key, a public half of another master."""
    publisher_keys(other_keys).write_to(tmp_path / "other", NAME)
    (directory / f"{NAME}.{kind}").unlink()
    shutil.copy(tmp_path / "other" / f"{NAME}.{kind}", directory)
    with pytest.raises(ConfigError, match="does not belong to"):
        PublisherKeys.load_or_make(directory, NAME)


@pytest.mark.parametrize("kind", ["masterkey", "key"])
def test_what_is_no_rsa_key_is_refused(directory: Path, kind: str) -> None:
    """By its name."""
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"hello", pem):
        (directory / f"{NAME}.{kind}").unlink()
        (directory / f"{NAME}.{kind}").write_bytes(content)
        with pytest.raises(ConfigError, match=rf"{NAME}\.{kind}: not an? "):
            PublisherKeys.load_or_make(directory, NAME)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file.*: (Not a directory|File exists)"):
        PublisherKeys.load_or_make(tmp_path / "file" / "keys", NAME)


def test_nothing_is_overwritten(directory: Path, other_keys: Keys) -> None:
    """Keys that are lost cannot be made again."""
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(FileExistsError):
        publisher_keys(other_keys).write_to(directory, NAME)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_whitelist_is_signed_by_the_master_key(keys: Keys, algorithm: Algorithm) -> None:
    """It lists the certificate, and ends when it was asked to."""
    mine = publisher_keys(keys)
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    whitelist = Whitelist.parse(mine.sign_whitelist(NAME, now, algorithm, 7))
    MasterKeys.from_pem([mine.master_public_pem], "x").require_signed(whitelist.letter, "it")
    assert whitelist.fingerprints & mine.fingerprints
    assert whitelist.expires_at == (now + timedelta(days=7)).replace(minute=0, second=0)
    assert mine.has_signed(whitelist.letter)


def test_others_did_not_sign_it(keys: Keys, other_keys: Keys) -> None:
    """As the master key's owner can tell."""
    raw = publisher_keys(keys).sign_whitelist(NAME, datetime.now(UTC), Algorithm.SHA1)
    assert not publisher_keys(other_keys).has_signed(Whitelist.parse(raw).letter)


def test_keys_are_not_shown() -> None:
    """Not in a log, not in a traceback."""
    assert repr(PublisherKeys.generate(NAME)) == "PublisherKeys()"


def test_a_manifest_has_its_fields_in_order(keys: Keys) -> None:
    """As they were given."""
    root = "0" * 40
    fields = [("C", root), ("B", "1"), ("R", "d41d8cd98f00b204e9800998ecf8427e"), ("D", "240")]
    raw = publisher_keys(keys).sign_manifest(
        [*fields, ("S", "3"), ("N", NAME.name)], Algorithm.SHA1
    )
    assert raw.startswith(b"C" + root.encode() + b"\nB1\nRd41d")
    assert Manifest.parse(raw).revision == 3
