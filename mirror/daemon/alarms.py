"""What somebody has to know about a replica: pure, from a situation, thresholds and the time.

    rollback       the origin went back
    equivocation   one revision was signed twice
    key_change     another certificate signs than before
    freeze         Stratum 0 stands still where it should not
    stale          clients are further behind the publisher than they may be
    whitelist      it expires soon, and then clients refuse the repository
    failed         several attempts in a row failed
    damage         what is served is not whole
    disk           there is no room

`AlarmBoard` remembers which are up and since when, and tells of each that comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.advice import causes, what_to_do
from mirror.daemon.situation import Situation
from mirror.errors import DamageError, Equivocation, ObjectMissing, Rollback, StoreFull
from mirror.events import Event


class AlarmName(StrEnum):
    """Of each kind of alarm."""

    ROLLBACK = "rollback"
    EQUIVOCATION = "equivocation"
    KEY_CHANGE = "key_change"
    FREEZE = "freeze"
    STALE = "stale"
    WHITELIST = "whitelist"
    FAILED = "failed"
    DAMAGE = "damage"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on somebody has to know.

    Attributes:
        stale_s: clients are so far behind, or for so long nobody knows.
        whitelist_s: before its expiry.
        failures: attempts that failed in a row.
        quiet_s: without a new signature, when the whitelist is near its end.
        key_change_s: how long another certificate is called a new one.
    """

    stale_s: float = 1800.0
    whitelist_s: float = 48 * 3600.0
    failures: int = 3
    quiet_s: float = 14 * 86_400.0
    key_change_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that somebody has to know.

    Attributes:
        name: of which kind.
        fqrn: of which repository.
        since: when it was first seen.
        sentence: what is wrong.
        what_to_do: about it.
    """

    name: AlarmName
    fqrn: Fqrn
    since: datetime
    sentence: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class AlarmRaised(Event):
    """Somebody has to know."""

    alarm: Alarm


@dataclass(frozen=True, slots=True)
class AlarmCleared(Event):
    """It is well again, ``after_s`` seconds after it was raised."""

    alarm: Alarm
    after_s: float


_Finding = tuple[AlarmName, str, str]
"""Name, sentence, what to do."""
_OF_ATTEMPTS: Final = frozenset({AlarmName.ROLLBACK, AlarmName.EQUIVOCATION})
"""Only an attempt that ends well speaks against these; another failure does not."""


def alarms(situation: Situation, thresholds: Thresholds, now: datetime) -> list[Alarm]:
    """What is wrong just now, in the order of `AlarmName`."""
    findings = {
        name: Alarm(name, situation.fqrn, now, sentence, to_do)
        for look in (_of_trouble, _of_sources, _of_time, _of_whitelist)
        for name, sentence, to_do in look(situation, thresholds, now)
    }
    return [findings[name] for name in AlarmName if name in findings]


class AlarmBoard:
    """Which alarms are up."""

    def __init__(
        self,
        situations: Callable[[], Iterable[Situation]],
        thresholds: Callable[[Fqrn], Thresholds] = lambda _fqrn: Thresholds(),
    ) -> None:
        """Nothing is up; ``situations`` gives those of all replicas that are kept now."""
        self._situations = situations
        self._thresholds = thresholds
        self._up: dict[tuple[Fqrn, AlarmName], Alarm] = {}

    def of(self, fqrn: Fqrn) -> list[Alarm]:
        """Those of one repository that are up."""
        return [alarm for (name, _), alarm in self._up.items() if name == fqrn]

    def update(self, now: datetime) -> list[Event]:
        """Look at everything; returns what was raised and what was cleared since the last time."""
        before, self._up = self._up, {}
        for situation in self._situations():
            situation.note_key(now)
            for alarm in self._standing(situation, before, now):
                self._up[alarm.fqrn, alarm.name] = alarm
        raised = [alarm for key, alarm in self._up.items() if key not in before]
        cleared = [alarm for key, alarm in before.items() if key not in self._up]
        return [
            *(AlarmRaised(alarm.fqrn, alarm) for alarm in raised),
            *(AlarmCleared(each.fqrn, each, _seconds(now - each.since)) for each in cleared),
        ]

    def _standing(
        self, situation: Situation, before: dict[tuple[Fqrn, AlarmName], Alarm], now: datetime
    ) -> Iterator[Alarm]:
        fqrn = situation.fqrn
        found = {each.name: each for each in alarms(situation, self._thresholds(fqrn), now)}
        for name in AlarmName:
            old, new = before.get((fqrn, name)), found.get(name)
            if new is not None:
                yield replace(new, since=old.since) if old is not None else new
            elif old is not None and name in _OF_ATTEMPTS and situation.failures:
                yield old


# --- what is looked at ----------------------------------------------------------------------------


def _of_trouble(situation: Situation, thresholds: Thresholds, _now: datetime) -> Iterator[_Finding]:
    if situation.damage is not None:
        yield AlarmName.DAMAGE, situation.damage, what_to_do(DamageError())
    if situation.trouble is None:
        return
    error = situation.trouble.error
    sentence, to_do = str(error), what_to_do(error)
    for cause in causes(error):
        name = _name_of(cause)
        if name is not None:
            yield name, str(cause), what_to_do(cause)
    if situation.failures >= thresholds.failures:
        yield AlarmName.FAILED, f"{situation.failures} attempts in a row failed: {sentence}", to_do


def _name_of(cause: Exception) -> AlarmName | None:
    match cause:
        case Rollback():
            return AlarmName.ROLLBACK
        case Equivocation():
            return AlarmName.EQUIVOCATION
        case StoreFull():
            return AlarmName.DISK
        case DamageError() | ObjectMissing():
            return AlarmName.DAMAGE
    return None


def _of_sources(situation: Situation, thresholds: Thresholds, now: datetime) -> Iterator[_Finding]:
    stratum0 = situation.sources.get(situation.stratum0)
    if stratum0 is not None and stratum0.is_behind:
        sentence = f"Stratum 0 stands still while others move on: {stratum0.problem}"
        yield AlarmName.FREEZE, sentence, "ask the publisher; somebody may hold back its answers"
    since = situation.key_changed
    if since is not None and _seconds(now - since) < thresholds.key_change_s:
        certificate = situation.served.certificate if situation.served is not None else "?"
        sentence = f"another certificate than before signs this repository: {certificate}"
        to_do = "ask the publisher whether they changed it; the whitelist lists it"
        yield AlarmName.KEY_CHANGE, sentence, to_do


def _of_time(situation: Situation, thresholds: Thresholds, now: datetime) -> Iterator[_Finding]:
    lag_s = situation.lag_s(now.timestamp()) if situation.served is not None else 0.0
    unseen_s = _seconds(now - situation.last_look) if situation.last_look is not None else 0.0
    if lag_s > thresholds.stale_s:
        sentence = f"clients are {_text(lag_s)} behind the publisher"
    elif unseen_s > thresholds.stale_s and situation.failures:
        sentence = f"nobody knows what the publisher did in the last {_text(unseen_s)}"
    else:
        return
    trouble = situation.trouble
    to_do = what_to_do(trouble.error) if trouble is not None else "look at what the run is doing"
    yield AlarmName.STALE, sentence, to_do


def _of_whitelist(
    situation: Situation, thresholds: Thresholds, now: datetime
) -> Iterator[_Finding]:
    expires = situation.whitelist_expires
    if expires is None or _seconds(expires - now) > thresholds.whitelist_s:
        return
    to_do = "ask the publisher to renew it (cvmfs_server resign)"
    if now >= expires:
        yield AlarmName.WHITELIST, "the whitelist has expired: clients refuse it", to_do
    else:
        left = _text(_seconds(expires - now))
        yield AlarmName.WHITELIST, f"the whitelist expires in {left}", to_do
    served = situation.served
    if served is None or situation.failures or not served.published_at:
        return
    quiet_s = now.timestamp() - served.published_at
    if quiet_s > thresholds.quiet_s:
        signed = datetime.fromtimestamp(served.published_at, UTC)
        sentence = f"nothing was signed since {signed:%Y-%m-%d}, and the whitelist is near its end"
        to_do = "compare with the publisher: somebody may hold back its answers"
        yield AlarmName.FREEZE, sentence, to_do


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


def _text(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
