"""What one member knows of its group, and whether it may serve: pure, time is told.

Two rules keep clients from going back. A member serves nothing below its *floor*, which rises with
whatever floor it hears of. And it serves only on a *lease*: a majority has answered requests that
it sent less than ``lease_s`` ago, so that it would have heard of a higher floor.

A floor counts when it is durable and what is older has been withheld; only then is it told. So
`unsettled` says what is to be made so, and `settled` that it is.

A member without a memory (its first start, a lost disk, a changed table of members) may once have
promised what it does not know. It says so, counts for nobody, and serves nothing until every other
member has answered it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mirror.daemon.group.council import Council
from mirror.daemon.group.message import NOTHING, Message, Standing, Version

JUST_STARTED: Final = "this mirror has just started and does not know yet what it has"


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether clients may have a manifest.

    Attributes:
        until: when that ends; 0 if they may not.
        reason: why they may not, or will not after that.
    """

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The last that a member said, and when."""

    message: Message
    at: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What is to be made durable before anybody hears of it.

    Attributes:
        floors: by repository.
        is_member: whether the one who makes it knows all that it ever promised before.
    """

    floors: Mapping[str, Version]
    is_member: bool


class Member:
    """One member.

    Attributes:
        name: its own.
        council: all of them.
        lease_s: how long an answer allows to serve.
        group: a mark of the table of members; leases must be equally long, too.
        is_new: whether it lacks a memory.
        heard: the last message of each of the others.
        answered: when it last answered each of them.
        contacts: when the last request was sent that each of them answered.
        troubles: why one does not answer.
        refused: reasons from elsewhere not to serve a repository.
    """

    def __init__(
        self,
        name: str,
        council: Council,
        lease_s: float,
        now: float,
        memory: Mapping[str, Version] | None,
    ) -> None:
        """With the floors that it remembers; None if it has no memory."""
        self.name = name
        self.council = council
        self.lease_s = lease_s
        self.group = _mark(council, lease_s)
        self.is_new = memory is None
        self.heard: dict[str, Heard] = {}
        self.others = tuple(each for each in council.members if each != name)
        self.answered = dict.fromkeys(self.others, now)  # before a start, nobody knows when
        self.contacts: dict[str, float] = {}
        self.troubles: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._met_new: set[str] = set()
        self._floors = dict(memory or {})
        self._durable = dict(memory or {})
        self._served: dict[str, Version] = {}
        self._ready: dict[str, Version] = {}

    # --- what happens -----------------------------------------------------------------------------

    def serves(self, repository: str, version: Version) -> None:
        """Its root files are of this version, which may be seen already; `NOTHING` for none."""
        self._served[repository] = version
        self.raise_floor(repository, version)

    def forget(self, repository: str) -> None:
        """It keeps this repository no longer; floors stay."""
        self._served.pop(repository, None)
        self._ready.pop(repository, None)

    def is_ready_for(self, repository: str, version: Version) -> None:
        """It has everything of this version."""
        self._ready[repository] = max(version, self._ready.get(repository, NOTHING))

    def raise_floor(self, repository: str, version: Version) -> None:
        """From now on nobody may serve what is older."""
        if version > self.floor(repository):
            self._floors[repository] = version

    def hear(self, message: Message, now: float, sent_at: float | None = None) -> None:
        """Take note of a message; ``sent_at`` if it answers a request sent then."""
        sender = message.sender
        if sender not in self.others:
            return
        if message.group != self.group:
            self.troubles[sender] = "it has another table of members, or another lease_s"
            return
        self.heard[sender] = Heard(message, now)
        for repository, standing in message.repositories.items():
            self.raise_floor(repository, standing.floor)
        if sent_at is not None:
            self.troubles.pop(sender, None)
            self._met(message, sent_at)

    def fails(self, name: str, reason: str) -> None:
        """One of the others did not answer."""
        self.troubles[name] = reason

    def unsettled(self) -> Promise | None:
        """What is to be made durable now, after permissions were taken back; None for nothing."""
        joins = self.is_new and not set(self.others) - self._known
        if self._floors == self._durable and not joins:
            return None
        return Promise(dict(self._floors), is_member=joins or not self.is_new)

    def settled(self, promise: Promise) -> None:
        """It is durable, and nothing older is served here."""
        self._durable = dict(promise.floors)
        self.is_new = not promise.is_member

    # --- what follows -----------------------------------------------------------------------------

    def compose(self, now: float, to: str | None = None) -> Message:
        """What is to be told; ``to`` whom, if that is an answer."""
        if to in self.answered:
            self.answered[to] = now
        names = self._durable.keys() | self._served.keys() | self._ready.keys()
        silence_s = {name: max(0.0, now - at) for name, at in self.answered.items()}
        repositories = {each: self.standing(each) for each in sorted(names)}
        return Message(self.name, self.group, self.is_new, silence_s, repositories)

    def standing(self, repository: str) -> Standing:
        """One repository here, as others may know it."""
        served = self._served.get(repository, NOTHING)
        ready = max(served, self._ready.get(repository, NOTHING))
        return Standing(self._durable.get(repository, NOTHING), served, ready)

    def floor(self, repository: str) -> Version:
        """The floor, be it durable or not."""
        return self._floors.get(repository, NOTHING)

    def live(self, now: float) -> dict[str, Message]:
        """The others that were heard in the time of a lease, with what they said."""
        return {
            name: each.message for name, each in self.heard.items() if now - each.at < self.lease_s
        }

    def newest_elsewhere(self, repository: str) -> Version:
        """The newest version that another member is ready for."""
        nothing = Standing()
        others = (each.message.repositories for each in self.heard.values())
        ready = (each.get(repository, nothing).ready for each in others)
        return max(ready, default=NOTHING)

    def lease_until(self, now: float) -> float:
        """When the lease ends; 0 if there is none."""
        if self.is_new:
            return 0.0
        sent_at = self.council.latest({**self.contacts, self.name: now})
        return min(sent_at, now) + self.lease_s if sent_at is not None else 0.0

    def permission(self, repository: str, now: float) -> Permission:
        """Whether clients may have this repository's manifest."""
        refusal = self.refused.get(repository) or self._refusal(repository)
        if refusal is not None:
            return Permission(0.0, refusal)
        until = self.lease_until(now)
        silent = ", ".join(sorted(each for each in self.others if self._is_silent(each, now)))
        reason = f"{self.name} has not heard from a majority of its group for {self.lease_s:g} s"
        lapsed = until <= now
        return Permission(0.0 if lapsed else until, f"{reason}: {silent}" if lapsed else reason)

    def _refusal(self, repository: str) -> str | None:
        if self.is_new:
            unknown = ", ".join(sorted(set(self.others) - self._known)) or "nobody"
            return f"{self.name} is new in its group and has yet to hear from {unknown}"
        if repository not in self._served:
            return JUST_STARTED
        served, floor = self._served[repository], self.floor(repository)
        if served < floor:
            ours = "nothing yet" if served == NOTHING else str(served)
            return f"the group is at {floor}, and {self.name} has {ours}; it follows by itself"
        return None

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _known(self) -> set[str]:
        return set(self.contacts) | self._met_new

    def _met(self, message: Message, sent_at: float) -> None:
        if message.is_new:
            self.contacts.pop(message.sender, None)
            self._met_new.add(message.sender)
        else:
            self.contacts[message.sender] = max(sent_at, self.contacts.get(message.sender, 0.0))

    def _is_silent(self, name: str, now: float) -> bool:
        return now - self.contacts.get(name, 0.0) >= self.lease_s


def _mark(council: Council, lease_s: float) -> str:
    text = f"{','.join(council.members)} {lease_s!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
