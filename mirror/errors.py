"""Every exception of the package, in families named by whose fault it is and what to do.

    MirrorError
    ├─ UpstreamError   their server: try again, or elsewhere      exit 3
    ├─ TrustError      who signed it, or what it claims: an alarm exit 4
    ├─ FormatError     cannot be read at all, though delivered    exit 4
    ├─ StoreError      our own disk                               exit 5
    └─ DamageError     `check` found something missing or wrong   exit 6
    ConfigError        usage or configuration                     exit 2

``str()`` of each is one line an operator can act on: it names the file or the object, the value,
and the fix; and it is the same in another process. `SnapshotFailed` sums up the failures of a whole
run and takes the exit code of the gravest. A RuntimeError is always a mistake of ours and is never
caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def printable(text: str) -> str:
    """What a stranger wrote, so that it breaks no line and moves no cursor; quoted if it would."""
    return text if text.isprintable() else ascii(text)


class MirrorError(Exception):
    """Anything that stops an operation for a reason the operator can understand."""


class ConfigError(MirrorError):
    """The command line or the configuration file is wrong; lists every problem found."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        return type(self), (self.problems,)


# --- their server ---------------------------------------------------------------------------------


class UpstreamError(MirrorError):
    """A server did not deliver what was asked for.

    Attributes:
        status: of HTTP, where it answered with one that is no success; None elsewhere.
    """

    status: int | None = None


class NotFound(UpstreamError):
    """The server answered that it does not have it (404 or 410)."""


class Unavailable(UpstreamError):
    """No usable answer: connection refused or broken, a 5xx or 429, a body cut short.

    Attributes:
        retry_after_s: how long the server asks to be left alone; None if it did not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class TooSlow(UpstreamError):
    """Nothing, or next to nothing, arrived for the time-out."""


class TooLarge(UpstreamError):
    """More bytes came than can belong to what was asked for; reading was stopped there."""


class Refused(UpstreamError):
    """The server answered, but with a redirect or a status that says no."""


class Corrupted(UpstreamError):
    """The bytes delivered do not have the hash they are named by."""


# --- whom to believe ------------------------------------------------------------------------------


class TrustError(MirrorError):
    """The chain master key → whitelist → certificate → manifest does not hold."""


class BadSignature(TrustError):
    """A letter's signature, or the hash it signs, does not fit its text."""


class CertificateNotListed(TrustError):
    """The publisher's certificate is not in the whitelist."""


class Blacklisted(TrustError):
    """The certificate or the revision is on the local blacklist."""


class WhitelistExpired(TrustError):
    """The whitelist's expiry date has passed."""


class NameMismatch(TrustError):
    """A signed file belongs to another repository."""


class Rollback(TrustError):
    """The origin offers an older revision, or an older signature, than the one we serve."""


class Equivocation(TrustError):
    """The same revision number was signed for two different root catalogs."""


# --- unreadable -----------------------------------------------------------------------------------


class FormatError(MirrorError):
    """A file does not have the form the contract gives it."""


# --- our own disk ---------------------------------------------------------------------------------


class StoreError(MirrorError):
    """The store cannot keep or give back bytes."""


class ObjectMissing(StoreError):
    """An object that must be in the store is not."""


class StoreFull(StoreError):
    """No space, or no quota, is left."""


class StoreUnavailable(StoreError):
    """Not writable, not readable, or out of file descriptors."""


class Locked(StoreError):
    """Another process is writing to this replica."""


# --- sums of a run --------------------------------------------------------------------------------


class DamageError(MirrorError):
    """`check` found that the replica is not whole."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that a run could not bring home.

    Attributes:
        name: the object's path below the repository, ``data/ab/cdef…``.
        catalog_path: the mount point of the catalog that refers to it; ``/`` for the root.
        error: why.
    """

    name: str
    catalog_path: str
    error: MirrorError

    def __str__(self) -> str:
        return f"{self.name} (of the catalog at {printable(self.catalog_path)}): {self.error}"


class SnapshotFailed(MirrorError):
    """Some objects could not be fetched; nothing was published and the old revision is served.

    Attributes:
        failures: the first ones, in the order they happened.
        count: how many there were in all.
    """

    def __init__(self, failures: Sequence[Failure], count: int) -> None:
        self.failures = tuple(failures)
        self.count = count
        shown = "; ".join(str(failure) for failure in failures[:3])
        more = f"; and {count - 3} more" if count > 3 else ""
        super().__init__(
            f"{count} object{'s' if count != 1 else ''} could not be fetched, so nothing was "
            f"published and the old revision is still served: {shown}{more}"
        )

    def __reduce__(self) -> tuple[type[SnapshotFailed], tuple[object, ...]]:
        return type(self), (self.failures, self.count)
