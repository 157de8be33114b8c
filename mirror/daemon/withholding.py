"""Which manifests are kept from clients, and why: several may want that, one note says so.

A repository has one note in its tree (`mirror.store.withheld`). Whoever has a reason says it here
under a name of its own; clients get the manifest again when nobody has one any more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import MirrorError

_log: Final = logging.getLogger(__name__)

Write = Callable[[Fqrn, str | None], Awaitable[None]]
"""Withhold a repository's manifest for this reason; with None, give it to clients.

Raises `StoreError` where it could not be done.
"""


class Withholding:
    """Reasons, by repository and by who has them."""

    def __init__(self, write: Write) -> None:
        """Nobody has a reason; notes from before stay until somebody says something."""
        self._write = write
        self._reasons: dict[Fqrn, dict[str, str]] = {}
        self._written: dict[Fqrn, str | None] = {}

    async def say(self, fqrn: Fqrn, owner: str, reason: str | None) -> bool:
        """``owner`` has this reason, or none any more; returns whether it is obeyed.

        Where the note could not be written that is logged, and done when it is said again.
        """
        reasons = self._reasons.setdefault(fqrn, {})
        if reason is None:
            reasons.pop(owner, None)
        else:
            reasons[owner] = reason
        return await self._obey(fqrn)

    def again(self) -> None:
        """The way in which it is written may be another one now: write what is said next."""
        self._written.clear()

    def forget(self, fqrn: Fqrn) -> None:
        """The repository is not ours any more; its note stays with its tree."""
        self._reasons.pop(fqrn, None)
        self._written.pop(fqrn, None)

    async def _obey(self, fqrn: Fqrn) -> bool:
        reason = "; ".join(self._reasons[fqrn].values()) or None
        if fqrn in self._written and self._written[fqrn] == reason:
            return True
        try:
            await self._write(fqrn, reason)
        except MirrorError as error:
            self._written.pop(fqrn, None)
            _log.error("%s: its manifest cannot be withheld or given: %s", fqrn, error)
            return False
        self._written[fqrn] = reason
        return True
