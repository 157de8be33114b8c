"""Several servers that have the same repository, as one `Upstream`.

An object's name proves its bytes, so any source will do: `AnyOf` asks the one that the scoreboard
recommends, and whatever goes wrong there the next best one, at once and without a pause. A request
whose answer is late is hedged (`Race`), rarely enough that a slow hour does not double the load.

What no hash names, the root files, has to be asked of each source alone: that is what `Sources` is
for. Stratum 0 is the first of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import (
    Corrupted,
    NotFound,
    Refused,
    TooLarge,
    TooSlow,
    Unavailable,
    UpstreamError,
)
from mirror.events import Emit, SourceFailed
from mirror.upstream.base import Consume, Request, T, Upstream
from mirror.upstream.race import Ask, Race
from mirror.upstream.retrying import Retrying, RetryPolicy
from mirror.upstream.scored import Scored
from mirror.upstream.scoring import Scoreboard

_MOST_HOPEFUL_FIRST: Final = (Unavailable, TooSlow, Corrupted, TooLarge, Refused, NotFound)
"""Of several failures the one that another attempt may mend speaks for all."""
_FIRST_PATIENCE_S: Final = 1.0
"""For a source whose usual latency is not known yet."""
_LEAST_PATIENCE_S: Final = 0.05
_MOST_PATIENCE_S: Final = 5.0
_HEDGES_PER_REQUEST: Final = 0.1
"""At most so many hedges for each request under way, but"""
_FEW_HEDGES: Final = 2
"""always so many: the end of a run is a handful of stragglers."""


class AnyOf:
    """Asks whichever source is best, and the others when that one fails.

    An attempt is one round over all sources, so `Retrying` belongs outside: a dead source costs
    nothing but its time-out, and once it is suspended not even that.
    """

    def __init__(
        self, sources: Sequence[Scored], board: Scoreboard, fqrn: Fqrn, emit: Emit
    ) -> None:
        """Choose among ``sources``, which are numbered on ``board`` in this order."""
        self._sources = sources
        self._board = board
        self._fqrn = fqrn
        self._emit = emit
        self._under_way = self._hedges = 0

    @property
    def source(self) -> str:
        """The first one's, and how many others there are."""
        others = len(self._sources) - 1
        return f"{self._sources[0].source} and {others} mirror{'s' if others > 1 else ''}"

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch from one of them.

        Raises:
            NotFound: all say so, but for those that have never answered anything.
            UpstreamError: no one delivered; the text says why for each.
        """
        round_ = _Round(self, request)
        self._under_way += 1
        try:
            while (index := self._next(round_)) is not None:
                try:
                    return await round_.attempt(index, consume)
                except UpstreamError:
                    continue  # the round knows
        finally:
            self._under_way -= 1
        raise self._sum_of(round_.failed)

    def late(self, first: int, excluded: Collection[int]) -> int | None:
        """The first one's answer is late: whom to ask beside; None for nobody now.

        Hedges are limited, so that a slow hour of everybody's does not double the load; but not
        those for a source that is known to be in trouble. Each ends with `hedge_ended`.
        """
        most = max(_FEW_HEDGES, _HEDGES_PER_REQUEST * self._under_way)
        if self._hedges >= most and not self._board.is_suspended(first):
            return None
        index = self._board.choose(_now_s(), {first, *excluded})
        self._hedges += index is not None
        return index

    def hedge_ended(self) -> None:
        """However it ended."""
        self._hedges -= 1

    def patience_s(self, index: int) -> float:
        """After how long an answer is late."""
        usual_s = self._board.patience_s(index)
        if usual_s is None:
            return _FIRST_PATIENCE_S
        return min(_MOST_PATIENCE_S, max(_LEAST_PATIENCE_S, usual_s))

    def tell(self, index: int, request: Request, error: UpstreamError) -> None:
        """A source failed; mirrors lag behind, so it is no news that something is not there.

        That one lied was told already.
        """
        if not isinstance(error, NotFound | Corrupted):
            source = self._sources[index].source
            self._emit(SourceFailed(self._fqrn, source, request.path, str(error)))

    def of(self, index: int) -> Scored:
        """The source of that number."""
        return self._sources[index]

    def _next(self, round_: _Round) -> int | None:
        """Whom to ask now: first those that were not asked, then those that were overtaken.

        In the end also those suspended, since one of them may have it. But once somebody said that
        it is not there, those that never answered at all are left out: waiting for the dead would
        be the price of every object that is gone.
        """
        now_s, failed = _now_s(), round_.failed
        for excluded in ({*failed, *round_.overtaken}, set(failed)):
            index = self._board.choose(now_s, excluded)
            if index is not None:
                return index
        excluded = set(failed)
        if any(isinstance(error, NotFound) for error in failed.values()):
            excluded |= self._silent()
        return self._board.choose(now_s, excluded, even_suspended=True)

    def _sum_of(self, failed: dict[int, UpstreamError]) -> UpstreamError:
        """One error for all; what the dead would have said does not make a NotFound doubtful."""
        if any(isinstance(error, NotFound) for error in failed.values()):
            silent = self._silent()
            failed = {index: error for index, error in failed.items() if index not in silent}
        gravest = min(failed.values(), key=_hope)
        text = "; ".join(self._text(index, failed[index]) for index in sorted(failed))
        if isinstance(gravest, Unavailable):
            asked_s = [e.retry_after_s for e in failed.values() if isinstance(e, Unavailable)]
            return Unavailable(text, min((each or 0.0 for each in asked_s), default=None))
        return type(gravest)(text)

    def _silent(self) -> set[int]:
        return {i for i in range(len(self._sources)) if not self._board.has_answered(i)}

    def _text(self, index: int, error: UpstreamError) -> str:
        source = self._sources[index].source
        return str(error) if source in str(error) else f"{source}: {error}"


class _Round:
    """One request on its way round the sources.

    Attributes:
        failed: who was asked in vain, and why.
        overtaken: who was asked, and did not answer in time.
    """

    def __init__(self, any_of: AnyOf, request: Request) -> None:
        self._any_of = any_of
        self._request = request
        self._beside: int | None = None
        self.failed: dict[int, UpstreamError] = {}
        self.overtaken: set[int] = set()

    async def attempt(self, index: int, consume: Consume[T]) -> T:
        """Ask that source, and another one should it be late."""
        self._beside = None
        race: Race[T] = Race(
            self._ask(index),
            lambda: self._ask_beside(index),
            lambda: self._any_of.patience_s(index),
        )
        try:
            return await race.run(consume)
        except UpstreamError as error:
            answered = self._beside if race.is_second_consumed else index
            if answered is not None and answered not in self.failed:
                # It came whole, so its own part had ended well; only then was it found wrong.
                if isinstance(error, Corrupted):
                    self._any_of.of(answered).lied(self._request, error)
                self._note(answered, error)
            raise
        finally:
            if self._beside is not None:
                self._any_of.hedge_ended()
            if race.is_overtaken:
                self.overtaken.add(index)
                self._any_of.of(index).overtaken()

    def _ask_beside(self, index: int) -> Ask | None:
        self._beside = self._any_of.late(index, {*self.failed, *self.overtaken})
        return None if self._beside is None else self._ask(self._beside)

    def _ask(self, index: int) -> Ask:
        async def ask(consume: Consume[T]) -> T:
            try:
                return await self._any_of.of(index).fetch(self._request, consume)
            except UpstreamError as error:
                self._note(index, error)
                raise

        return ask

    def _note(self, index: int, error: UpstreamError) -> None:
        self.failed[index] = error
        self._any_of.tell(index, self._request, error)


@dataclass(frozen=True, slots=True)
class Sources:
    """All servers of one repository, together for objects and one by one for root files.

    Attributes:
        everywhere: for what a hash names.
        once: each alone, asked once; Stratum 0 is the first.
        patiently: each alone, asked again if that is worth it; in the same order.
    """

    everywhere: Upstream
    once: Sequence[Upstream]
    patiently: Sequence[Upstream]

    @classmethod
    def of(cls, upstream: Upstream) -> Self:
        """The sources behind an upstream; itself alone if it is a single one."""
        return upstream if isinstance(upstream, cls) else cls(upstream, [upstream], [upstream])

    @property
    def source(self) -> str:
        """For people."""
        return self.everywhere.source

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """An object, from wherever."""
        return await self.everywhere.fetch(request, consume)


def sources(  # noqa: PLR0913 - what they are made of
    upstreams: Sequence[Upstream],
    policy: RetryPolicy,
    fqrn: Fqrn,
    emit: Emit,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    *,
    board: Scoreboard | None = None,
) -> Sources:
    """Put together what is asked for one repository.

    Args:
        upstreams: Stratum 0, then the mirrors; each limited as it needs to be.
        policy: how often all of them are asked again.
        fqrn: of the repository.
        emit: hears how they do.
        sleep: waits between attempts.
        board: where it is written down how they do; a new one by default.
    """

    def retrying(inner: Upstream) -> Upstream:
        return Retrying(inner, policy, fqrn, emit, sleep)

    if len(upstreams) == 1:
        return Sources.of(retrying(upstreams[0]))
    board = board or Scoreboard(len(upstreams), reserve=0)
    scored = [Scored(each, board, index, fqrn, emit) for index, each in enumerate(upstreams)]
    any_of = AnyOf(scored, board, fqrn, emit)
    return Sources(retrying(any_of), scored, [retrying(each) for each in scored])


def _hope(error: UpstreamError) -> int:
    kinds = enumerate(_MOST_HOPEFUL_FIRST)
    return next(
        (place for place, kind in kinds if isinstance(error, kind)), len(_MOST_HOPEFUL_FIRST)
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
