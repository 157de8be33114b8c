"""Never a step back (contract C.4): clients refuse it, and an attacker would like it.

The same revision may be signed again later with another history or meta info: a tag was added or
removed, the publisher collected garbage. Its root catalog may not change.
"""

from __future__ import annotations

from mirror.cvmfs.manifest import Manifest
from mirror.errors import Equivocation, Rollback

_WAY_OUT = "if the publisher went back on purpose: cvmfs-mirror snapshot --accept-rollback"


def require_progress(served: Manifest | None, offered: Manifest) -> None:
    """Compare what is offered with what we serve.

    Raises:
        Rollback: an older revision, or an older signature.
        Equivocation: the same revision with another root catalog.
    """
    if served is None:
        return
    if offered.revision < served.revision:
        raise Rollback(
            f"revision {offered.revision} is offered, but revision {served.revision} "
            f"({served.published_text}) is served already; {_WAY_OUT}"
        )
    if offered.revision == served.revision and offered.root_catalog != served.root_catalog:
        raise Equivocation(
            f"revision {offered.revision} was signed for two root catalogs: "
            f"{served.root_catalog} is served, {offered.root_catalog} is offered; {_WAY_OUT}"
        )
    if offered.published_at < served.published_at:
        raise Rollback(
            f"revision {offered.revision} is offered with a signature of {offered.published_text}, "
            f"older than that of the served one ({served.published_text}); {_WAY_OUT}"
        )
