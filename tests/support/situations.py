"""Replicas as the daemon knows them, without a daemon."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.situation import Revision, Situation, Trouble
from mirror.errors import MirrorError
from tests.support.clock import NOW

FQRN: Final = Fqrn("test.example.org")
STRATUM0: Final = "http://stratum0/cvmfs/test.example.org"
MIRROR: Final = "http://mirror/cvmfs/test.example.org"


def revision(number: int, *, age_s: float = 600.0, certificate: str = "aaX") -> Revision:
    """One that was signed so long before the tests' now."""
    return Revision(number, int(NOW.timestamp() - age_s), f"{number:040x}", certificate)


def situation(fqrn: Fqrn = FQRN, served: int | None = 7) -> Situation:
    """All is well, or nothing was ever fetched."""
    made = Situation(fqrn, stratum0=STRATUM0, last_look=NOW)
    if served is not None:
        made.served = revision(served)
        made.see(made.served)
        made.last_success = NOW
        made.whitelist_expires = NOW + timedelta(days=20)
    return made


def failing(situation: Situation, error: MirrorError, times: int = 1, at: datetime = NOW) -> None:
    """So many attempts in a row ended like this."""
    situation.trouble = Trouble(error, at)
    situation.failures += times
