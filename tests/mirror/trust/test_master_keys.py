from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.letter import Letter
from mirror.errors import BadSignature, ConfigError
from mirror.trust.master_keys import MasterKeys
from tests.support.keys import Keys, letter


def elliptic_pem() -> bytes:
    """A public key of the wrong kind."""
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def numbers(master_keys: MasterKeys) -> list[int]:
    """The keys, to be compared."""
    return [key.public_numbers().n for key in master_keys.keys]


def test_one_file(keys: Keys, tmp_path: Path) -> None:
    """A file holds one key, and is named as its origin."""
    file = tmp_path / "any.name"
    file.write_bytes(keys.master_pem)
    loaded = MasterKeys.load(file)
    assert numbers(loaded) == [keys.master.public_key().public_numbers().n]
    assert loaded.origin == str(file)


def test_directory(keys: Keys, other_keys: Keys, tmp_path: Path) -> None:
    """Of a directory all *.pub are keys, in the order of their names, and nothing else is."""
    (tmp_path / "b.pub").write_bytes(keys.master_pem)
    (tmp_path / "a.pub").write_bytes(other_keys.master_pem)
    (tmp_path / "README").write_text("no key")
    both = MasterKeys.from_pem([other_keys.master_pem, keys.master_pem], "memory")
    assert numbers(MasterKeys.load(tmp_path)) == numbers(both)


def test_real_keys(fixture_repository: Path, fixture_keys: Keys) -> None:
    """The real publisher's public key is that of its master key."""
    loaded = MasterKeys.load(fixture_repository / "keys")
    assert numbers(loaded) == numbers(fixture_keys.master_keys)


def test_empty_directory_is_refused(tmp_path: Path) -> None:
    """No key at all would trust nobody, so it is a mistake."""
    with pytest.raises(ConfigError, match=r"no \*\.pub file in this directory"):
        MasterKeys.load(tmp_path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """The file that is not there is named."""
    with pytest.raises(ConfigError, match="nowhere: No such file"):
        MasterKeys.load(tmp_path / "nowhere")


def test_directory_in_the_place_of_a_key_is_refused(tmp_path: Path) -> None:
    """What cannot be read is named."""
    (tmp_path / "a.pub").mkdir()
    with pytest.raises(ConfigError, match=r"a\.pub: Is a directory"):
        MasterKeys.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nxx\n"])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds no key is named."""
    (tmp_path / "a.pub").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.pub: not a public key in PEM"):
        MasterKeys.load(tmp_path)


def test_private_keys_and_certificates_are_refused(keys: Keys, tmp_path: Path) -> None:
    """A certificate is no master key."""
    (tmp_path / "a.pub").write_bytes(keys.certificate)
    with pytest.raises(ConfigError, match="not a public key in PEM"):
        MasterKeys.load(tmp_path)


def test_one_bad_key_spoils_the_directory(keys: Keys, tmp_path: Path) -> None:
    """A key that cannot be used is not passed over in silence."""
    (tmp_path / "a.pub").write_bytes(keys.master_pem)
    (tmp_path / "b.pub").write_bytes(elliptic_pem())
    with pytest.raises(ConfigError, match=r"b\.pub: not an RSA key"):
        MasterKeys.load(tmp_path)


def test_keys_from_memory_are_looked_at_too() -> None:
    """It does not matter where a key comes from."""
    with pytest.raises(ConfigError, match="the table: not an RSA key"):
        MasterKeys.from_pem([elliptic_pem()], "the table")


def signed(keys: Keys) -> Letter:
    """A letter signed by a master key."""
    return Letter.parse(letter(b"text\n", Algorithm.SHA1, keys.sign_whitelist), "it")


def test_any_key_will_do(keys: Keys, other_keys: Keys) -> None:
    """One signature by one of several keys is enough, whichever it is."""
    both = MasterKeys((keys.master.public_key(), other_keys.master.public_key()), "both")
    for signer in (keys, other_keys):
        both.require_signed(signed(signer), "it")


def test_no_other_key_will_do(keys: Keys, other_keys: Keys) -> None:
    """A signature by somebody else is none, and the origin of the keys is named."""
    with pytest.raises(BadSignature, match=r"1 master key.*in the test's keys"):
        keys.master_keys.require_signed(signed(other_keys), "it")


def test_no_key_trusts_nobody(keys: Keys) -> None:
    """Without any key nothing is signed."""
    with pytest.raises(BadSignature):
        MasterKeys((), "nowhere").require_signed(signed(keys), "it")
