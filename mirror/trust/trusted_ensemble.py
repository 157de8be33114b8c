"""Manifest, certificate and whitelist, accepted in the one right order (contract B.3, B.4).

The rules:

1. The manifest is parsed; it must carry our repository's name and the MD5 of the empty root path.
2. The certificate it names must have that hash.
3. The manifest's text must fit its printed hash, and the certificate must have signed that.
4. The whitelist must be for our repository and not expired, its text must fit its hash, and a
   master key must have signed that.
5. The certificate must be listed there, and must not be on our blacklist.
6. The manifest, now known to be the publisher's, must not be older than what we serve
   (`rollback`), nor blacklisted by its revision. Judged last, so that noise on the line cannot
   raise the alarms of an attack.

Until the last rule nothing counts as trusted. No input or output happens here and the time is fixed
at construction, so every rule can be tested, and read, alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from mirror.cvmfs.blacklist import Blacklist
from mirror.cvmfs.certificate import Certificate
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import ROOT_PATH_MD5, Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import (
    Blacklisted,
    CertificateNotListed,
    Corrupted,
    FormatError,
    NameMismatch,
    TrustError,
    WhitelistExpired,
)
from mirror.trust.master_keys import MasterKeys
from mirror.trust.rollback import require_progress
from mirror.trust.signature import require_manifest_signature


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """What an operator decides about a repository, and all trust hangs from.

    Attributes:
        fqrn: the repository we want.
        keys: whose word on its whitelist counts.
        blacklist: what to refuse all the same.
    """

    fqrn: Fqrn
    keys: MasterKeys
    blacklist: Blacklist = field(default_factory=Blacklist)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Three files that belong together; whoever holds one may believe the manifest.

    Attributes:
        manifest: which revision.
        certificate: the stored bytes of object …X.
        whitelist: who may sign.
    """

    manifest: Manifest
    certificate: bytes
    whitelist: Whitelist


class TrustedEnsemble:
    """Takes the three files one after the other, each as soon as it is known which one is due."""

    def __init__(
        self,
        anchor: TrustAnchor,
        now: datetime,
        *,
        served: Manifest | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Set the rules.

        Args:
            anchor: what we believe to begin with.
            now: the moment of comparison, UTC.
            served: the manifest we serve, and must not fall behind; None for none.
            limits: how much to unpack.
        """
        self._fqrn = anchor.fqrn
        self._keys = anchor.keys
        self._blacklist = anchor.blacklist
        self._now = now
        self._served = served
        self._limits = limits or Limits()
        self._manifest: tuple[Manifest, ContentHash] | None = None
        self._certificate: tuple[Certificate, bytes] | None = None

    def accept_manifest(self, raw: bytes) -> ContentHash:
        """Rule 1; returns which certificate is due.

        Raises:
            NameMismatch: another repository's.
            FormatError: not a manifest.
        """
        manifest = Manifest.parse(raw)
        if manifest.fqrn is not None and manifest.fqrn != self._fqrn:
            raise NameMismatch(
                f"{MANIFEST} belongs to {manifest.fqrn}, not to {self._fqrn}; check the URL"
            )
        if manifest.root_path_md5 != ROOT_PATH_MD5:
            raise NameMismatch(f"{MANIFEST} is for a path inside a repository, not for its root")
        if manifest.certificate is None:
            raise FormatError(f"{MANIFEST} names no certificate (field X), so nothing vouches")
        self._manifest = manifest, manifest.certificate
        self._certificate = None  # one accepted before vouches for another manifest
        return manifest.certificate

    def accept_certificate(self, stored: bytes) -> None:
        """Rules 2 and 3.

        Raises:
            Corrupted: not the bytes that the manifest names.
            BadSignature: the manifest is not signed by it.
            FormatError: not a certificate.
            RuntimeError: called before `accept_manifest`.
        """
        manifest, due = self._require_manifest()
        actual = ContentHash.of(due.algorithm, stored, due.suffix)
        if actual != due:
            raise Corrupted(f"the certificate {due} was delivered with the hash {actual}")
        certificate = Certificate.parse(stored, self._limits.letter_bytes)
        manifest.letter.require_intact(MANIFEST)
        letter = manifest.letter
        require_manifest_signature(certificate.public_key, letter.printed_hash, letter.signature)
        self._certificate = (certificate, stored)

    def accept_whitelist(self, raw: bytes) -> Ensemble:
        """Rules 4 to 6; returns what may now be believed.

        Raises:
            TrustError: expired, another repository's, not signed by a master key; the
                certificate is not listed or is blacklisted; the manifest is a step back.
            FormatError: not a whitelist.
            RuntimeError: called before `accept_certificate`.
        """
        manifest, _ = self._require_manifest()
        if self._certificate is None:
            raise RuntimeError("accept_certificate comes before accept_whitelist")
        certificate, stored = self._certificate
        whitelist = Whitelist.parse(raw)
        self._require_valid(whitelist)
        if certificate.fingerprints & self._blacklist.fingerprints:
            raise Blacklisted("the certificate that signed the manifest is on the blacklist")
        if not certificate.fingerprints & whitelist.fingerprints:
            fingerprint = certificate.fingerprint(manifest.root_catalog.algorithm)
            raise CertificateNotListed(
                f"the certificate {fingerprint} signed the manifest, but {WHITELIST} lists "
                f"only {', '.join(sorted(map(str, whitelist.fingerprints))) or 'none'}"
            )
        self._require_progress(manifest)
        return Ensemble(manifest, stored, whitelist)

    def _require_progress(self, manifest: Manifest) -> None:
        minimum = self._blacklist.minimum_revisions.get(self._fqrn, 0)
        if manifest.revision < minimum:
            raise Blacklisted(
                f"revision {manifest.revision} of {self._fqrn} is below {minimum}, "
                "the lowest one that the blacklist lets pass"
            )
        require_progress(self._served, manifest)

    def _require_valid(self, whitelist: Whitelist) -> None:
        if whitelist.fqrn != self._fqrn:
            raise NameMismatch(f"{WHITELIST} belongs to {whitelist.fqrn}, not to {self._fqrn}")
        if whitelist.is_expired(self._now):
            raise WhitelistExpired(
                f"{WHITELIST} expired at {whitelist.expires_at:%Y-%m-%d %H:%M UTC}; the "
                "publisher must renew it with the master key (cvmfs_server resign)"
            )
        if whitelist.demands_ca_chain:
            raise TrustError(
                f"{WHITELIST} demands certificates that chain to an authority (Wcachain), "
                "which this version cannot check"
            )
        whitelist.letter.require_intact(WHITELIST)
        self._keys.require_signed(whitelist.letter, WHITELIST)

    def _require_manifest(self) -> tuple[Manifest, ContentHash]:
        if self._manifest is None:
            raise RuntimeError("accept_manifest comes first")
        return self._manifest
