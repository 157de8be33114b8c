"""When a new revision may come before clients: pure, time is told.

    began      the others that are alive get ``wait_s`` to be ready, too
    raised     our floor is the new revision: we serve nothing, and tell everybody
    shown      nobody in the group can serve anything older any more

The last is so when a majority has the floor, and each member outside it either has it, too, or has
no lease left: none of that majority has answered it for longer than a lease lasts. Whoever has
been dead for a while therefore costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mirror.daemon.group.member import Member
from mirror.daemon.group.message import NOTHING, Standing, Version

LEASE_MARGIN: Final = 1.1
"""So much longer than a lease we wait: clocks of different hosts do not run at the same rate."""


class Flip:
    """One member's way to one version of one repository."""

    def __init__(
        self, member: Member, repository: str, target: Version, wait_s: float, now: float
    ) -> None:
        """Begin: everything of ``target`` is here."""
        self._member = member
        self._repository = repository
        self._target = target
        self._no_longer_than = now + wait_s
        self._acknowledged: dict[str, Mapping[str, float]] = {}
        self._voters: set[str] = set()
        member.is_ready_for(repository, target)

    def may_raise(self, now: float) -> bool:
        """Whether it is time to raise the floor, for which others may have to stop serving."""
        member = self._member
        if member.floor(self._repository) >= self._target:
            return True
        if member.lease_until(now) <= now:
            return False
        others = self._others(now)
        behind = [each for each in others if each.ready < self._target]
        if not behind:
            return True
        stopped = sum(each.served >= each.floor for each in behind)
        goes_on = 1 + len(others) - len(behind)
        return now >= self._no_longer_than and goes_on >= stopped

    def may_show(self, now: float) -> bool:
        """Whether clients may see it, as far as all others are concerned."""
        if self._member.standing(self._repository).floor > self._target:
            return True  # overtaken: it is withheld, whatever the root files are
        self._collect()
        if not self._member.council.is_majority(self._voters):
            return False
        missing = set(self._member.council.members) - self._acknowledged.keys()
        return all(now >= self._lapsed(each) for each in missing)

    def _others(self, now: float) -> list[Standing]:
        """The members alive that serve this repository."""
        said = self._member.live(now).values()
        standings = (each.repositories.get(self._repository, Standing()) for each in said)
        return [each for each in standings if each.served != NOTHING]

    def _collect(self) -> None:
        """Who has the floor, and when it had last answered each of the others by then."""
        member = self._member
        if member.standing(self._repository).floor >= self._target:
            self._acknowledge(member.name, dict(member.answered), is_new=member.is_new)
        for name, heard in member.heard.items():
            said = heard.message
            if said.repositories.get(self._repository, Standing()).floor >= self._target:
                answered = {each: heard.at - s for each, s in said.silence_s.items()}
                self._acknowledge(name, answered, is_new=said.is_new)

    def _acknowledge(self, name: str, answered: Mapping[str, float], *, is_new: bool) -> None:
        """The first time counts: what it answered later told of the floor."""
        if name in self._voters or (is_new and name in self._acknowledged):
            return
        self._acknowledged[name] = answered
        if not is_new:
            self._voters.add(name)

    def _lapsed(self, name: str) -> float:
        """When the last lease of this member from before the floor has ended."""
        answered = {each: self._acknowledged[each].get(name, float("inf")) for each in self._voters}
        last = self._member.council.earliest(answered)
        return float("inf") if last is None else last + self._member.lease_s * LEASE_MARGIN
