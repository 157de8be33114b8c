"""Which source each part of a bulk transfer comes from.

Any source will do, since names prove bytes. A part goes where the scoreboard sends it; what did not
come is asked of the next source, until all were asked. A part that takes far longer than parts
usually take is ordered a second time elsewhere, and whichever comes first counts: nobody waits for
the slow end of a slow server. A few that did not come are left to the careful way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import object_path
from mirror.errors import Corrupted, NotFound
from mirror.events import Emit, SourceLied, SourceRecovered, SourceSuspended
from mirror.replication.lanes import Lanes, Part, Wanted
from mirror.upstream.scoring import Scoreboard
from mirror.upstream.track_record import Delivery, Fault, ScoringPolicy

_FIRST_PATIENCE_S: Final = 1.0
"""While nothing is known."""
_LEAST_PATIENCE_S: Final = 0.25
_MOST_PATIENCE_S: Final = 5.0
_LIE_PAUSE_S: Final = 2.0
"""Shorter than for single objects: every byte is checked, and nine good objects of ten from a quick
source may be more than a slow one has to give."""
_FEW: Final = 16
"""So many that did not come are no bulk any more, and nobody else has to wait for them."""
_MUCH_WORSE: Final = 3.0


class Spread:
    """Fetches parts by lanes, from several sources; `close` it before the lanes."""

    def __init__(self, lanes: Lanes, urls: Sequence[str], fqrn: Fqrn, emit: Emit) -> None:
        """Prepare.

        Args:
            lanes: which know the sources by their numbers.
            urls: of the sources, in that order; Stratum 0 is the first, and spared.
            fqrn: of the repository.
            emit: hears how the sources do.
        """
        self._lanes = lanes
        self._urls = urls
        self._board = Scoreboard(
            len(urls), reserve=0, policy=ScoringPolicy(lie_pause_s=_LIE_PAUSE_S)
        )
        self._fqrn = fqrn
        self._emit = emit
        self._overtaken: set[asyncio.Task[Part]] = set()

    async def fetch(self, wanted: Sequence[Wanted]) -> list[Part]:
        """Fetch some objects that belong together; what no part has is for the careful way."""
        parts: list[Part] = []
        asked: set[int] = set()
        left = wanted
        while len(left) > (_FEW if asked else 0) and len(asked) < len(self._urls):
            index = self._board.choose(_now_s(), asked, even_suspended=not asked)
            if index is None:
                break
            part = await self._race(left, index, asked)
            parts.append(part)
            left = [each for each in left if each.content_hash in part.errors]
        return parts

    async def close(self) -> None:
        """Wait for those that were overtaken to have stopped."""
        await asyncio.gather(*self._overtaken, return_exceptions=True)

    async def _race(self, wanted: Sequence[Wanted], first: int, asked: set[int]) -> Part:
        """The part from ``first``, or from another source if that one takes too long."""
        asked.add(first)
        running = {asyncio.create_task(self._ask(wanted, first))}
        try:
            done, _ = await asyncio.wait(running, timeout=self._patience_s(first, asked))
            if not done:
                second = self._board.choose(_now_s(), asked, even_suspended=True)
                if second is not None:
                    asked.add(second)
                    self._straggles(first)
                    running.add(asyncio.create_task(self._ask(wanted, second)))
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            winner = max((task.result() for task in done), key=lambda part: part.count)
            if not winner.count and len(done) < len(running):
                done, _ = await asyncio.wait(running)
                winner = max((task.result() for task in done), key=lambda part: part.count)
        except BaseException:
            for task in running:
                self._stop(task)
            raise
        for task in running:
            if not task.done():
                self._stop(task)
            elif task.result() is not winner:
                self._lanes.drop(task.result())
        return winner

    def _stop(self, late: asyncio.Task[Part]) -> None:
        self._overtaken.add(late)
        late.add_done_callback(self._overtaken.discard)
        late.cancel()

    def _straggles(self, index: int) -> None:
        pause_s = self._board.record_straggler(index, _now_s())
        if pause_s is not None:
            reason = "others deliver before it again and again"
            self._emit(SourceSuspended(self._fqrn, self._urls[index], pause_s, reason))

    def _patience_s(self, index: int, asked: Collection[int]) -> float | None:
        """How long to wait for a part; None for as long as it takes, since nobody else is left."""
        if len(asked) == len(self._urls):
            return None
        usual_s = self._board.patience_s(index)
        if usual_s is None:
            return _FIRST_PATIENCE_S
        return min(_MOST_PATIENCE_S, max(_LEAST_PATIENCE_S, usual_s))

    async def _ask(self, wanted: Sequence[Wanted], index: int) -> Part:
        began_s = _now_s()
        self._board.begin(index)
        try:
            part = await self._lanes.fetch(wanted, index)
        except BaseException:
            self._board.release(index)
            raise
        self._judge(index, part, _now_s() - began_s)
        return part

    def _judge(self, index: int, part: Part, elapsed_s: float) -> None:
        if part.lane is None:
            self._board.release(index)  # ours, not the source, has failed
            return
        has_lied = self._tell_lies(index, part)
        if part.count and not (has_lied and self._has_rivals(index)):
            # what has to be asked for again elsewhere makes a source slower, and no more than that
            due_s = elapsed_s * len(part.wanted) / part.count
            delivery = Delivery(due_s, 0.0, sum(size or 0 for size in part.sizes))
            if self._board.record_success(index, _now_s(), delivery):
                self._emit(SourceRecovered(self._fqrn, self._urls[index]))
            return
        errors = list(part.errors.values())
        is_lacking = all(isinstance(error, NotFound) for error in errors)
        fault = Fault.LIED if has_lied else Fault.LACKING if is_lacking else Fault.FAILED
        pause_s = self._board.record_failure(index, _now_s(), fault)
        if pause_s is not None and len(self._urls) > 1:
            reason = "it delivered wrong bytes" if has_lied else str(errors[0])
            self._emit(SourceSuspended(self._fqrn, self._urls[index], pause_s, reason))

    def _tell_lies(self, index: int, part: Part) -> bool:
        lies = [item for item in part.errors.items() if isinstance(item[1], Corrupted)]
        for content_hash, error in lies:
            path = object_path(content_hash)
            self._emit(SourceLied(self._fqrn, self._urls[index], path, str(error)))
        return bool(lies)

    def _has_rivals(self, index: int) -> bool:
        """Whether some other source is, or may be, nearly as good: then nobody needs a liar."""
        costs_s = self._board.costs_s(_now_s())
        rivals = [n for n in range(len(costs_s)) if n != index and self._board.is_rival(n)]
        return any(costs_s[number] <= _MUCH_WORSE * costs_s[index] for number in rivals)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
