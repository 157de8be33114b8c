"""What an operator should do about each kind of error; the table of README, for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mirror.errors import (
    BadSignature,
    Blacklisted,
    CertificateNotListed,
    ConfigError,
    Corrupted,
    DamageError,
    Equivocation,
    FormatError,
    Locked,
    MirrorError,
    NameMismatch,
    NotFound,
    ObjectMissing,
    Refused,
    Rollback,
    SnapshotFailed,
    StoreError,
    StoreFull,
    TooLarge,
    TrustError,
    UpstreamError,
    WhitelistExpired,
)

_REPAIR: Final = "run cvmfs-mirror snapshot --repair, then look at the disk"
_ADVICE: Final[tuple[tuple[type[MirrorError], str], ...]] = (
    (
        Rollback,
        "find out why; if the publisher meant it: cvmfs-mirror snapshot --accept-rollback",
    ),
    (Equivocation, "find out who has the publisher's key before anything else"),
    (WhitelistExpired, "ask the publisher to renew it (cvmfs_server resign)"),
    (CertificateNotListed, "ask the publisher which certificate is right, and to resign"),
    (Blacklisted, "nothing, if the blacklist is right; otherwise take the entry out of it"),
    (NameMismatch, "correct the URL of this repository's Stratum 0"),
    (BadSignature, "if it stays, compare from another network: somebody may sit in between"),
    (TrustError, "ask the publisher before anything else"),
    (Corrupted, "look at the origin's disk, and at whatever sits in between"),
    (NotFound, "ask the publisher whether the repository is whole: cvmfs_server check"),
    (Refused, "look at the URL, and whether Stratum 0 may be replicated (.cvmfs_master_replica)"),
    (TooLarge, "look at what answers at this URL: it is no repository's file"),
    (UpstreamError, "nothing, unless it stays: it is tried again by itself"),
    (StoreFull, "make room on the disk (df -h, df -i, quota): nothing is fetched twice"),
    (Locked, "nothing: another snapshot is at work; fuser -v on the lock tells which"),
    (ObjectMissing, _REPAIR),
    (StoreError, "look at the disk, its mount and its permissions"),
    (DamageError, _REPAIR),
    (ConfigError, "correct it, then send SIGHUP: systemctl reload cvmfs-mirror"),
    (FormatError, "look at what answers at this URL, and ask the publisher"),
)
_OTHERWISE: Final = "read the log"


def causes(error: MirrorError) -> Iterator[MirrorError]:
    """What it says, and what it sums up."""
    if isinstance(error, SnapshotFailed):
        for failure in error.failures:
            yield failure.error
    else:
        yield error


def what_to_do(error: MirrorError) -> str:
    """One sentence; of a whole run's failures the first counts."""
    cause = next(causes(error), error)
    return next((advice for kind, advice in _ADVICE if isinstance(cause, kind)), _OTHERWISE)
