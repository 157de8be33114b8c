"""Addresses that a database has something to tell about: a walk through its search tree.

The reader can list all records, too, but that takes minutes, and for ever where a damaged tree has
a circle. This goes down at random, so often and no deeper than an address is
long, whatever stands in the nodes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

_WALKS: Final = 2_048
_V4_BELOW: Final = 96
"""IPv4 lies below so many zeros in a tree of IPv6."""


@dataclass(frozen=True, slots=True)
class SearchTree:
    """The first part of a database.

    Attributes:
        data: all of the file.
        nodes: how many there are.
        record_bits: of each of a node's two records: 24, 28 or 32.
        address_bits: 32 or 128.
    """

    data: memoryview
    nodes: int
    record_bits: int
    address_bits: int

    @property
    def size_bytes(self) -> int:
        """Of the tree."""
        return self.nodes * self.record_bits // 4

    def addresses(self) -> Iterator[str]:
        """Addresses that have a record, all over the tree; the same each time."""
        random = Random(0)  # noqa: S311 - no secret
        for number in range(_WALKS):
            is_v4_in_v6 = self.address_bits == 128 and number % 2
            found = self._walk(random.getrandbits, _V4_BELOW if is_v4_in_v6 else 0)
            if found is not None:
                yield self._text(found)

    def _walk(self, bits: Callable[[int], int], zeros: int) -> int | None:
        """An address that leads to a record; None if the walk led nowhere."""
        node = address = 0
        for depth in range(self.address_bits):
            bit = 0 if depth < zeros else bits(1)
            following = self._record(node, bit)
            if following == self.nodes and depth >= zeros:
                bit = 1 - bit
                following = self._record(node, bit)
            address |= bit << (self.address_bits - 1 - depth)
            if following >= self.nodes:
                return address if following > self.nodes else None
            node = following
        return None

    def _record(self, node: int, bit: int) -> int:
        size = self.record_bits // 4
        raw = self.data[node * size : (node + 1) * size]
        if self.record_bits == 28:
            high = raw[3] >> 4 if bit == 0 else raw[3] & 0xF
            return high << 24 | int.from_bytes(raw[4 * bit : 4 * bit + 3], "big")
        half = size // 2
        return int.from_bytes(raw[bit * half : (bit + 1) * half], "big")

    def _text(self, address: int) -> str:
        if self.address_bits == 32 or address < 2**32:
            return socket.inet_ntop(socket.AF_INET, (address % 2**32).to_bytes(4, "big"))
        return socket.inet_ntop(socket.AF_INET6, address.to_bytes(16, "big"))
