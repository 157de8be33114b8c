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

from mirror.cvmfs.content_hash import ContentHash
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
_MUCH_WORSE: Final = 2.0
_MOMENT_S: Final = 0.001
"""Nobody is better than another because of less than this."""
_WRONG_BYTES: Final = "it delivered wrong bytes"
_ROUNDS_A_PART: Final = 4
"""A part is as good as so many requests one after the other, before more is known."""


class Spread:
    """Fetches parts by lanes, from several sources; `close` it before the lanes."""

    def __init__(
        self,
        lanes: Lanes,
        urls: Sequence[str],
        fqrn: Fqrn,
        emit: Emit,
        singles: Scoreboard | None = None,
    ) -> None:
        """Prepare.

        Args:
            lanes: which know the sources by their numbers.
            urls: of the sources, in that order; Stratum 0 is the first, and spared.
            fqrn: of the repository.
            emit: hears how the sources do.
            singles: of the same sources, asked for one thing at a time. What they did then counts
                at first, and who lies here is not asked there.
        """
        self._lanes = lanes
        self._urls = urls
        self._board = Scoreboard(
            len(urls), reserve=0, policy=ScoringPolicy(lie_pause_s=_LIE_PAUSE_S)
        )
        self._fqrn = fqrn
        self._emit = emit
        self._singles = singles or Scoreboard(len(urls), reserve=0)
        self._has_begun = False
        self._asked: dict[ContentHash, frozenset[int]] = {}
        self._overtaken: set[asyncio.Task[Part]] = set()

    async def fetch(self, wanted: Sequence[Wanted]) -> list[Part]:
        """Fetch some objects that belong together.

        A few that did not come may be ordered once more, together with others like them, from those
        who were not `asked` for them; the rest is for the careful way.
        """
        if not self._has_begun:
            self._has_begun = True
            self._learn()
        before = [self._asked.pop(each.content_hash, frozenset()) for each in wanted]
        asked = set(frozenset[int].intersection(*before)) if before else set()
        is_first = not asked
        parts: list[Part] = []
        left = wanted
        while len(left) > (_FEW if parts else 0) and len(asked) < len(self._urls):
            index = self._board.choose(_now_s(), asked, even_suspended=not asked)
            if index is None:
                break
            part = await self._race(left, index, asked)
            parts.append(part)
            left = [each for each in left if each.content_hash in part.errors]
        if is_first and len(asked) < len(self._urls):
            self._asked |= dict.fromkeys((each.content_hash for each in left), frozenset(asked))
        return parts

    def asked(self, content_hash: ContentHash) -> frozenset[int]:
        """Who did not have it, if it is worth ordering again; nobody if it never was ordered."""
        return self._asked.get(content_hash, frozenset())

    async def close(self) -> None:
        """Wait for those that were overtaken to have stopped."""
        await asyncio.gather(*self._overtaken, return_exceptions=True)

    def _learn(self) -> None:
        """Who was quick, slow or dead when asked for the manifest."""
        for known in self._singles.ranking(_now_s()):
            if known.deliveries:
                self._board.begin(known.index)
                usual = Delivery(_ROUNDS_A_PART * known.least_latency_s, 0.0, 0)
                self._board.record_success(known.index, _now_s(), usual)
            elif known.failures:
                self._suspended(
                    known.index,
                    self._board.suspend(known.index, _now_s()),
                    "it delivered nothing yet",
                )

    def _suspended(self, index: int, pause_s: float | None, reason: str) -> None:
        if pause_s is not None and len(self._urls) > 1:
            self._emit(SourceSuspended(self._fqrn, self._urls[index], pause_s, reason))

    async def _race(self, wanted: Sequence[Wanted], first: int, asked: set[int]) -> Part:
        """The part from ``first``, or from another source if that one takes too long."""
        asked.add(first)
        slow = asyncio.create_task(self._ask(wanted, first))
        running = {slow}
        try:
            done, _ = await asyncio.wait(running, timeout=self._patience_s(first, asked))
            if not done:
                second = self._board.choose(_now_s(), asked, even_suspended=True)
                if second is not None:
                    asked.add(second)
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
        if winner.count and slow not in done:
            self._straggles(first)
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
        self._suspended(index, pause_s, "others deliver before it again and again")

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
        together = self._board.under_way(index)
        try:
            part = await self._lanes.fetch(wanted, index)
        except BaseException:
            self._board.release(index)
            raise
        self._judge(index, part, _now_s() - began_s, together)
        return part

    def _judge(self, index: int, part: Part, elapsed_s: float, together: int) -> None:
        if part.lane is None:
            self._board.release(index)  # ours, not the source, has failed
            return
        has_lied = self._tell_lies(index, part)
        if part.count and not (has_lied and self._has_rivals(index)):
            # what has to be asked for again elsewhere makes a source slower, and no more than that
            due_s = elapsed_s * len(part.wanted) / part.count
            received_bytes = sum(size or 0 for size in part.sizes)
            delivery = Delivery(due_s, 0.0, received_bytes, together)
            if self._board.record_success(index, _now_s(), delivery):
                self._emit(SourceRecovered(self._fqrn, self._urls[index]))
            return
        errors = list(part.errors.values())
        is_lacking = all(isinstance(error, NotFound) for error in errors)
        fault = Fault.LIED if has_lied else Fault.LACKING if is_lacking else Fault.FAILED
        pause_s = self._board.record_failure(index, _now_s(), fault)
        self._suspended(index, pause_s, _WRONG_BYTES if has_lied else str(errors[0]))

    def _tell_lies(self, index: int, part: Part) -> bool:
        lies = [item for item in part.errors.items() if isinstance(item[1], Corrupted)]
        for content_hash, error in lies:
            path = object_path(content_hash)
            self._emit(SourceLied(self._fqrn, self._urls[index], path, str(error)))
        if lies:
            self._suspended(index, self._singles.record_lie(index, _now_s()), _WRONG_BYTES)
        return bool(lies)

    def _has_rivals(self, index: int) -> bool:
        """Whether some other source is, or may be, nearly as good: then nobody needs a liar."""
        return any(
            self._board.is_rival(number) and self._is_nearly_as_good(number, index)
            for number in range(len(self._urls))
            if number != index
        )

    def _is_nearly_as_good(self, rival: int, index: int) -> bool:
        """Be there much or little under way at either of them."""
        ours, theirs = self._board.time(index), self._board.time(rival)
        return (
            theirs.latency_s <= _MUCH_WORSE * ours.latency_s + _MOMENT_S
            and theirs.share_s <= _MUCH_WORSE * ours.share_s + _MOMENT_S
        )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
