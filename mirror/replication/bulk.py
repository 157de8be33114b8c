"""Small objects by the thousand: fetched by lanes, committed by us."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mirror.cvmfs.catalog import ObjectRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.replication.coalescing import Coalescing
from mirror.replication.lanes import PART_OBJECTS, Lanes, Wanted
from mirror.replication.spread import Spread
from mirror.store.local import LocalStore

_SMALL_BYTES: Final = 512 * 1024
"""Unpacked. A lane holds whole objects in memory; what is larger costs more for its bytes than for
being an object, and is fetched piece by piece."""
_ROOM_BYTES: Final = 64 * 1024
"""How much more than twice the stated size an object may have as stored, until it is fetched the
careful way, which allows more."""
_MOMENT_S: Final = 0.002
_WORTH_IT: Final = 500
"""Objects looked at, or missing, below which starting processes takes longer than it saves."""


class LaneBulk:
    """See `Bulk`."""

    def __init__(self, lanes: Lanes, spread: Spread, store: LocalStore) -> None:
        """Bring by ``lanes``, which stage in ``store``, from where ``spread`` says."""
        self._lanes = lanes
        self._spread = spread
        self._store = store
        self._looked_at = self._missing = 0  # until starting processes is worth it
        self._look = Coalescing(lanes.look, 4 * PART_OBJECTS, _MOMENT_S)
        self._fetch = Coalescing(self._fetch_all, 4 * PART_OBJECTS, _MOMENT_S)
        self._fetch_left = Coalescing(self._fetch_all, 4 * PART_OBJECTS, _MOMENT_S)

    def start(self) -> None:
        """As `Bulk.start`."""
        self._missing = _WORTH_IT
        self._lanes.start()

    async def look(self, hashes: Sequence[ContentHash]) -> set[ContentHash] | None:
        """As `Bulk.look`."""
        self._looked_at += len(hashes)
        return await self._look(hashes) if self._is_worth_it else None

    async def fetch(self, refs: Sequence[ObjectRef]) -> Mapping[ContentHash, int]:
        """As `Bulk.fetch`."""
        self._missing += len(refs)
        if not self._is_worth_it:
            return {}
        return await self._fetch([ref for ref in refs if ref.size_bytes <= _SMALL_BYTES])

    async def fetch_again(self, refs: Sequence[ObjectRef]) -> Mapping[ContentHash, int]:
        """As `Bulk.fetch_again`."""
        left = [ref for ref in refs if self._spread.asked(ref.hash)]
        return await self._fetch_left(left) if left else {}

    async def close(self) -> None:
        """Stop what is under way."""
        await self._look.close()
        await self._fetch.close()
        await self._fetch_left.close()
        await self._spread.close()

    @property
    def _is_worth_it(self) -> bool:
        return max(self._looked_at, self._missing) >= _WORTH_IT

    async def _fetch_all(self, refs: Sequence[ObjectRef]) -> Mapping[ContentHash, int]:
        found = await asyncio.gather(*map(self._spread.fetch, self._portions(refs)))
        parts = [part for some in found for part in some if part.count]
        await self._store.sync()
        revealed = await asyncio.gather(*map(self._lanes.reveal, parts))
        brought: dict[ContentHash, int] = {}
        for part, is_there in zip(parts, revealed, strict=True):
            if is_there:
                for each, size_bytes in zip(part.wanted, part.sizes, strict=True):
                    if size_bytes is not None:
                        brought[each.content_hash] = size_bytes
        return brought

    def _portions(self, refs: Sequence[ObjectRef]) -> Iterator[Sequence[Wanted]]:
        """Of those that have to come from elsewhere, the ones together that may come from there."""
        kinds: dict[frozenset[int], list[Wanted]] = {}
        for ref in refs:
            wanted = Wanted(ref.hash, 2 * ref.size_bytes + _ROOM_BYTES)
            kinds.setdefault(self._spread.asked(ref.hash), []).append(wanted)
        for kind in kinds.values():
            yield from (kind[n : n + PART_OBJECTS] for n in range(0, len(kind), PART_OBJECTS))
