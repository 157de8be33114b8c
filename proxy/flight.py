"""One object on its way: fetched once, for everybody who asks meanwhile.

    upstream ─ pieces ─► flight ─ verified ─► memory, disk
                           │ as they come, but for the last ones
                           ▼
                        clients

What is on its way is given on as it comes, so that the first byte of a large object does not wait
for its last. The last bytes are held back until the hash is known: what turns out wrong is never
completed, and the client, which sees its connection cut, asks again. What is no larger than that is
verified before anybody gets anything.

Another upstream may be asked for all of it when one fails in the middle. Who has got something then
goes on if the new bytes begin like the old ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Hasher
from mirror.errors import Corrupted
from mirror.serve.content import FileRange, Found, Outcome
from mirror.serve.resources import Resource
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Refusal, Tell
from proxy.arrived import Arrived
from proxy.stream import Stream

HELD_BACK_BYTES: Final = 64 * 1024
_NEWS: Final = frozenset({Outcome.STALE, Outcome.REVALIDATED})
"""What came of asking for a root file again, whoever asked first."""
Landed = Callable[["Flight", bytes | FileRange], Found]
"""Takes all the bytes when they are verified, and makes of them what is given and kept."""


class Flight:
    """See above. Its fetcher calls `begun`, `received` and `ended` for each attempt, then `failed`.

    Attributes:
        wanted: what is fetched.
        expected: its hash; None for a root file, which has none.
        followers: how many asked, the first one included.
    """

    def __init__(
        self, wanted: Resource, expected: ContentHash | None, directory: Path | None, landed: Landed
    ) -> None:
        """Nothing has come yet; large ones gather in ``directory`` on their way."""
        self.wanted = wanted
        self.expected = expected
        self.followers = 0
        self._directory = directory
        self._landed = landed
        self._telling: list[Tell] = []
        self._found: Found | None = None
        self._stream: Stream | None = None
        self._streaming: Found | None = None
        self._refusal: Refusal | None = None
        self._arrived = Arrived(directory)
        self._before: Arrived | None = None
        self._hasher: Hasher | None = None  # until something comes

    # --- for clients ------------------------------------------------------------------------------

    def follow(self, tell: Tell) -> Callable[[], None]:
        """Tell somebody, later, when there is something to give; gives what ends the interest."""
        self.followers += 1
        outcome = self._told_by_now()
        if outcome is not None:
            return asyncio.get_running_loop().call_soon(tell, outcome).cancel
        self._telling.append(tell)

        def cancel() -> None:
            if tell in self._telling:
                self._telling.remove(tell)

        return cancel

    # --- for its fetcher --------------------------------------------------------------------------

    def begun(self, size_bytes: int | None) -> None:
        """An answer comes, of that size if that is said; from its first byte."""
        if self._arrived.size_bytes:
            self._before = self._before or self._arrived
            self._arrived = Arrived(self._directory)
        self._hasher = self.expected.algorithm.hasher() if self.expected else None
        if self._stream is not None and self._stream.size_bytes != size_bytes:
            self._give_up_stream()
        if self._stream is None:
            self._before = None
            if size_bytes is not None and size_bytes > HELD_BACK_BYTES and self.expected:
                self._begin_stream(size_bytes)

    def received(self, piece: bytes) -> None:
        """Some of it.

        Raises:
            OSError: our disk fails.
        """
        if self._hasher is not None:
            self._hasher.update(piece)
        self._arrived.add(piece)
        if self._stream is not None:
            self._release(self._stream, self._stream.size_bytes - HELD_BACK_BYTES)

    def ended(self) -> None:
        """All of it.

        Raises:
            Corrupted: it is not what it should be; nothing is completed, another attempt may be.
            OSError: our disk fails; likewise.
        """
        expected, hasher = self.expected, self._hasher
        if expected is not None and (hasher is None or hasher.digest() != expected.digest):
            raise Corrupted(f"{self.wanted.path} came with another hash")
        self._found = self._landed(self, self._arrived.whole)
        stream = self._stream
        if stream is not None and stream.size_bytes != self._arrived.size_bytes:
            self._give_up_stream()  # its length was a lie, though its bytes are right
        elif stream is not None:
            self._release(stream, stream.size_bytes)
        self._tell(self._found)

    def failed(self, refusal: Refusal) -> None:
        """Nobody gives it."""
        self._refusal = refusal
        self._streaming = None
        if self._stream is not None:
            self._stream.fail(str(refusal))
        self._tell(refusal)

    # --- inside -----------------------------------------------------------------------------------

    def _told_by_now(self) -> Told:
        """What somebody is told who comes late: others have asked for it, and wait no more."""
        outcome = self._found or self._streaming
        if outcome is None or outcome.outcome in _NEWS:
            return outcome or self._refusal
        return replace(outcome, outcome=Outcome.COALESCED)

    def _begin_stream(self, size_bytes: int) -> None:
        self._stream = Stream(size_bytes, self._arrived)
        head = self.wanted.head(size_bytes)
        self._streaming = Found(self.wanted, head, None, self._stream, Outcome.MISS, 0)
        self._tell(self._streaming)

    def _give_up_stream(self) -> None:
        if self._stream is not None:
            self._stream.fail(f"{self.wanted.path} came in two ways")
        self._stream = self._streaming = self._before = None

    def _release(self, stream: Stream, most: int) -> None:
        """Let clients have what has come, if it goes on as it began."""
        if self._before is not None:
            begun = stream.released_bytes
            if self._arrived.size_bytes < begun:
                return
            if not self._arrived.begins_like(self._before, begun):
                self._give_up_stream()
                return
            self._before = None
        stream.arrived = self._arrived
        stream.release(min(self._arrived.size_bytes, most))

    def _tell(self, outcome: Told) -> None:
        """Tell all who wait; the first one missed, the others were spared that (contract E.2)."""
        telling, self._telling = self._telling, []
        if telling and isinstance(outcome, Found) and outcome.outcome not in _NEWS:
            first, *telling = telling
            first(replace(outcome, outcome=Outcome.MISS))
            outcome = replace(outcome, outcome=Outcome.COALESCED) if telling else outcome
        for tell in telling:
            tell(outcome)
