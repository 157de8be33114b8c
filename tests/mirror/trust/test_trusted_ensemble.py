from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mirror.cvmfs.blacklist import Blacklist
from mirror.cvmfs.content_hash import Algorithm, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, object_path
from mirror.errors import (
    BadSignature,
    Blacklisted,
    CertificateNotListed,
    Corrupted,
    Equivocation,
    FormatError,
    MirrorError,
    NameMismatch,
    Rollback,
    TrustError,
    WhitelistExpired,
)
from mirror.trust.master_keys import MasterKeys
from mirror.trust.trusted_ensemble import Ensemble, TrustAnchor, TrustedEnsemble
from tests.support.fixture import REVISIONS
from tests.support.keys import FIXTURE_NAME, Keys, self_signed
from tests.support.publisher import Repository

NOW = datetime(2026, 12, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """A repository with one revision."""
    made = Repository(keys)
    made.publish({"": {"README": b"hello"}})
    return made


def trust(
    repository: Repository,
    *,
    anchor: TrustAnchor | None = None,
    served: Manifest | None = None,
    now: datetime = NOW,
    limits: Limits | None = None,
) -> Ensemble:
    """Take the three files in their order; whichever certificate is asked for, ours is sent."""
    ensemble = TrustedEnsemble(anchor or repository.anchor, now, served=served, limits=limits)
    certificate = ensemble.accept_manifest(repository.files[MANIFEST])
    genuine = repository.keys.stored_certificate
    ensemble.accept_certificate(repository.files.get(object_path(certificate), genuine))
    return ensemble.accept_whitelist(repository.files[WHITELIST])


def certificate_path(repository: Repository) -> str:
    """Where the certificate lies."""
    certificate = Manifest.parse(repository.files[MANIFEST]).certificate
    assert certificate is not None
    return object_path(certificate)


def replace_certificate(repository: Repository, pem: bytes) -> None:
    """Let the manifest, signed as ever, name another certificate."""
    repository.resign(X=repository.add_object(pem, Suffix.CERTIFICATE).text)


def blacklisting(repository: Repository, text: str) -> TrustAnchor:
    """What we would believe, but for a blacklist."""
    return replace(repository.anchor, blacklist=Blacklist.parse(text))


# --- what is believed ---------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", Algorithm)
def test_whole_chain_is_believed(keys: Keys, algorithm: Algorithm) -> None:
    """Three files that belong together are believed, and handed back as they came."""
    repository = Repository(keys, algorithm=algorithm)
    repository.publish({})
    ensemble = trust(repository)
    assert ensemble.manifest.raw == repository.files[MANIFEST]
    assert ensemble.certificate == repository.files[certificate_path(repository)]
    assert ensemble.whitelist.raw == repository.files[WHITELIST]


def test_real_revisions_are_believed_in_order(fixture_repository: Path, fixture_keys: Keys) -> None:
    """Each of the real publisher's revisions is progress from the one before."""
    served = None
    anchor = TrustAnchor(Fqrn(FIXTURE_NAME), MasterKeys.load(fixture_repository / "keys"))
    for revision in REVISIONS:
        directory = fixture_repository / revision
        repository = Repository.from_directory(directory, fixture_keys, FIXTURE_NAME)
        served = trust(repository, anchor=anchor, served=served).manifest
        assert served.revision == min(int(revision[3:]), 6)


@pytest.mark.parametrize("name", [MANIFEST, WHITELIST])
@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_every_byte_counts(
    fixture_repository: Path, fixture_keys: Keys, name: str, bit: int
) -> None:
    """Flip a bit of any byte of manifest or whitelist, and nothing is believed."""
    directory = fixture_repository / "rev8"
    repository = Repository.from_directory(directory, fixture_keys, FIXTURE_NAME)
    believed = []
    for index in range(len(repository.files[name])):
        repository.flip(name, index, bit)
        if is_believed(repository):
            believed.append(index)
        repository.flip(name, index, bit)
    assert believed == []
    assert is_believed(repository)


def is_believed(repository: Repository) -> bool:
    """Whether the chain holds; nothing but our own errors may say that it does not."""
    try:
        trust(repository)
    except MirrorError:
        return False
    return True


# --- the right order ----------------------------------------------------------------------------


def test_certificate_before_manifest_is_a_mistake(repository: Repository) -> None:
    """Which certificate is due is known from the manifest only."""
    ensemble = TrustedEnsemble(repository.anchor, NOW)
    with pytest.raises(RuntimeError, match="accept_manifest comes first"):
        ensemble.accept_certificate(repository.files[certificate_path(repository)])


def test_whitelist_before_manifest_is_a_mistake(repository: Repository) -> None:
    """A whitelist alone says nothing."""
    ensemble = TrustedEnsemble(repository.anchor, NOW)
    with pytest.raises(RuntimeError, match="accept_manifest comes first"):
        ensemble.accept_whitelist(repository.files[WHITELIST])


def test_whitelist_before_certificate_is_a_mistake(repository: Repository) -> None:
    """A manifest whose signature nobody looked at is not believed."""
    ensemble = TrustedEnsemble(repository.anchor, NOW)
    ensemble.accept_manifest(repository.files[MANIFEST])
    with pytest.raises(RuntimeError, match="accept_certificate comes before"):
        ensemble.accept_whitelist(repository.files[WHITELIST])


def test_certificate_counts_for_one_manifest(repository: Repository, other_keys: Keys) -> None:
    """A certificate accepted for one manifest does not vouch for another that comes later."""
    ensemble = TrustedEnsemble(repository.anchor, NOW)
    ensemble.accept_manifest(repository.files[MANIFEST])
    ensemble.accept_certificate(repository.files[certificate_path(repository)])
    repository.resign(other_keys, S="99")
    ensemble.accept_manifest(repository.files[MANIFEST])
    with pytest.raises(RuntimeError, match="accept_certificate comes before"):
        ensemble.accept_whitelist(repository.files[WHITELIST])


# --- rule 1: parsed, our name, the root ---------------------------------------------------------


def test_manifest_of_another_repository(repository: Repository) -> None:
    """Rule 1: the manifest carries our repository's name."""
    repository.resign(N="other.example.org")
    with pytest.raises(NameMismatch, match=r"belongs to other\.example\.org, not to test"):
        trust(repository)


def test_manifest_without_a_name(repository: Repository) -> None:
    """Rule 1: the name may be left out, as old publishers did; the whitelist has it."""
    repository.resign(N=None)
    assert trust(repository).manifest.fqrn is None


def test_manifest_of_a_subtree(repository: Repository) -> None:
    """Rule 1: the manifest is for the repository's root."""
    repository.resign(R="0" * 32)
    with pytest.raises(NameMismatch, match="not for its root"):
        trust(repository)


def test_manifest_that_is_none(repository: Repository) -> None:
    """Rule 1: what is no manifest is refused before all else."""
    repository.files[MANIFEST] = b"<html>"
    with pytest.raises(FormatError):
        trust(repository)


def test_manifest_without_a_certificate(repository: Repository) -> None:
    """Rule 1: a manifest that names no certificate has nobody to vouch for it."""
    repository.resign(X=None)
    with pytest.raises(FormatError, match="names no certificate"):
        trust(repository)


# --- rule 2: no step back, not blacklisted ------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("S", "0", Rollback), ("T", "1", Rollback), ("C", "a" * 40, Equivocation)],
)
def test_steps_back(
    repository: Repository, field: str, value: str, error: type[MirrorError]
) -> None:
    """Rule 2: what is older than what we serve, or contradicts it, is refused though signed."""
    served = Manifest.parse(repository.files[MANIFEST])
    repository.resign(**{field: value})
    trust(repository)
    with pytest.raises(error):
        trust(repository, served=served)


@pytest.mark.parametrize(("minimum", "passes"), [(1, True), (2, False)])
def test_blacklisted_revision(repository: Repository, minimum: int, passes: bool) -> None:
    """Rule 2: revisions below that on the blacklist are refused, and that one is not."""
    anchor = blacklisting(repository, f"<{repository.fqrn} {minimum}")
    if passes:
        trust(repository, anchor=anchor)
    else:
        with pytest.raises(Blacklisted, match=r"revision 1 .* is below 2"):
            trust(repository, anchor=anchor)


def test_blacklisted_revision_of_another_repository(repository: Repository) -> None:
    """Rule 2: a revision on the blacklist is that of one repository."""
    trust(repository, anchor=blacklisting(repository, "<other.example.org 100"))


# --- rule 3: the certificate has its hash -------------------------------------------------------


def test_certificate_with_another_hash(repository: Repository) -> None:
    """Rule 3: a certificate that is not byte for byte the one named is refused."""
    path = certificate_path(repository)
    repository.files[path] = zlib.compress(zlib.decompress(repository.files[path]), 1)
    with pytest.raises(Corrupted, match="was delivered with the hash"):
        trust(repository)


@pytest.mark.parametrize("pem", [b"", b"nonsense"])
def test_certificate_that_is_none(repository: Repository, pem: bytes) -> None:
    """Rule 3: what has the right hash and is no certificate is refused."""
    replace_certificate(repository, pem)
    with pytest.raises(FormatError, match="certificate cannot be read"):
        trust(repository)


def test_certificate_without_an_rsa_key(repository: Repository) -> None:
    """Rule 3: only RSA keys sign manifests."""
    replace_certificate(repository, self_signed(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(FormatError, match="no RSA key"):
        trust(repository)


def test_certificate_too_large(repository: Repository) -> None:
    """Rule 3: a certificate is unpacked to the limit and no further."""
    with pytest.raises(FormatError, match="more than 100 bytes"):
        trust(repository, limits=Limits(letter_bytes=100))


# --- rule 4: the text fits the hash, and the certificate signed that ----------------------------


@pytest.mark.parametrize("name", [MANIFEST, WHITELIST])
def test_text_that_does_not_fit_its_hash(repository: Repository, name: str) -> None:
    """Rules 4 and 5: a text changed under a good signature of the old hash is refused."""
    old, new = (b"D240\n", b"D241\n") if name == MANIFEST else (b"20260101", b"20260102")
    assert old in repository.files[name]
    repository.files[name] = repository.files[name].replace(old, new, 1)
    with pytest.raises(BadSignature, match=f"{name} hashes to"):
        trust(repository)


def test_manifest_signed_by_another_key(repository: Repository, other_keys: Keys) -> None:
    """Rule 4: a manifest that names our certificate and was signed by another key is refused."""
    repository.resign(other_keys)
    with pytest.raises(BadSignature, match="not signed by the certificate"):
        trust(repository)


def test_manifest_signed_by_the_master_key(repository: Repository, keys: Keys) -> None:
    """Rule 4: not even the master key signs manifests."""
    repository.resign(replace(keys, publisher=keys.master))
    with pytest.raises(BadSignature, match="not signed by the certificate"):
        trust(repository)


# --- rule 5: the whitelist ----------------------------------------------------------------------


def test_whitelist_of_another_repository(repository: Repository) -> None:
    """Rule 5: a whitelist signed by our master key for another repository is refused."""
    repository.write_whitelist(fqrn="other.example.org")
    with pytest.raises(NameMismatch, match=r"belongs to other\.example\.org, not to test"):
        trust(repository)


@pytest.mark.parametrize(
    ("minutes", "passes"),
    [(60, True), (31, True), (30, True), (29, False), (0, False), (-60, False)],
)
def test_whitelist_expires_by_the_hour(repository: Repository, minutes: int, passes: bool) -> None:
    """Rule 5: at 12:30 a whitelist that expires at 13:00 holds, and one at 12:59 does not."""
    repository.write_whitelist(expires_at=NOW + timedelta(minutes=minutes))
    if passes:
        trust(repository)
    else:
        with pytest.raises(WhitelistExpired, match="must renew it"):
            trust(repository)


def test_whitelist_signed_by_another_key(repository: Repository, other_keys: Keys) -> None:
    """Rule 5: a whitelist that no master key of ours signed is refused."""
    repository.write_whitelist(keys=other_keys)
    with pytest.raises(BadSignature, match="not signed by any of the 1 master key"):
        trust(repository)


def test_whitelist_signed_by_the_publisher(repository: Repository, keys: Keys) -> None:
    """Rule 5: a publisher cannot list itself."""
    repository.write_whitelist(keys=replace(keys, master=keys.publisher))
    with pytest.raises(BadSignature, match="not signed by any"):
        trust(repository)


def test_whitelist_signed_by_one_of_several_keys(repository: Repository, other_keys: Keys) -> None:
    """Rule 5: several master keys may be ours, and one of them is enough."""
    both = (other_keys.master.public_key(), *repository.anchor.keys.keys)
    trust(repository, anchor=replace(repository.anchor, keys=MasterKeys(both, "both")))


def test_whitelist_that_demands_more(repository: Repository) -> None:
    """Rule 5: what we cannot check is not taken for granted."""
    fingerprint = str(repository.keys.fingerprint())
    repository.write_whitelist(lines=["Wcachain", fingerprint])
    with pytest.raises(TrustError, match="Wcachain"):
        trust(repository)


def test_whitelist_that_is_none(repository: Repository) -> None:
    """Rule 5: what is no whitelist is refused."""
    repository.files[WHITELIST] = b"<html>"
    with pytest.raises(FormatError):
        trust(repository)


# --- rule 6: listed, and not blacklisted --------------------------------------------------------


@pytest.mark.parametrize(("lines", "says"), [([], "none"), (["AB:" * 19 + "AB"], "AB:AB")])
def test_certificate_not_listed(repository: Repository, lines: list[str], says: str) -> None:
    """Rule 6: a certificate that the whitelist does not list is refused, and the list is told."""
    repository.write_whitelist(lines=lines)
    with pytest.raises(CertificateNotListed, match=f"lists only {says}"):
        trust(repository)


def test_another_publishers_own_certificate(repository: Repository, other_keys: Keys) -> None:
    """Rule 6: somebody with a key and certificate of their own gets through rules 1 to 5 only."""
    pem = other_keys.certificate
    name = repository.add_object(pem, Suffix.CERTIFICATE)
    repository.resign(other_keys, X=name.text)
    with pytest.raises(CertificateNotListed):
        trust(repository)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_certificate_listed_by_any_algorithm(repository: Repository, algorithm: Algorithm) -> None:
    """Rule 6: a list may name the certificate by any of the three algorithms."""
    repository.write_whitelist(lines=[str(repository.keys.fingerprint(algorithm))])
    trust(repository)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_blacklisted_certificate(repository: Repository, algorithm: Algorithm) -> None:
    """Rule 6: a certificate on our blacklist is refused, by whichever algorithm it is named."""
    text = str(repository.keys.fingerprint(algorithm))
    with pytest.raises(Blacklisted, match=r"certificate .* is on the blacklist"):
        trust(repository, anchor=blacklisting(repository, text))
