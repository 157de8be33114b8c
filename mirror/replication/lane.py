"""What one lane does for one replica: fetch in bulk, verify, and write where nobody looks.

    parent → lane                                         lane → parent
    {"id": 7, "do": "fetch", "source": 0, "objects":      {"id": 7, "sizes": [812, null, …],
       [["ab12…-rmd160", "P", max_bytes], …]}              "errors": [[1, "NotFound", "http…"], …]}
    {"id": 8, "do": "reveal", "part": 7}                  {"id": 8, "error": null}
    {"do": "drop", "part": 7}
    {"id": 9, "do": "look", "objects": [["ab…", "P"]…]}   {"id": 9, "present": [true, …]}

One line of JSON each. What goes to the lane also says for which replica, ``"at": 1``; that begins
with ``"do": "open"`` and all of its `LaneOptions`, and ends with ``"do": "close"``.

Between `fetch` and `reveal` the parent makes durable what was written. A lane decides nothing: what
it could not bring, its parent fetches the careful way, which also finds the right words for the
operator. It ends when its parent does.

Looking and renaming are work for lanes too: where one thread of Python waits for a disk and another
for the network, they spend more time on waking each other than on working.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.paths import object_path
from mirror.errors import Corrupted, MirrorError, StoreError
from mirror.replication.lane_options import LaneOptions
from mirror.store.base import require_hash
from mirror.store.local import LocalStore
from mirror.store.reserve import Reserve
from mirror.store.staging import Staged, StagedCommit
from mirror.upstream.bulk import BulkClient, Order
from mirror.upstream.concurrency import AdaptiveLimit


@dataclass(slots=True)
class _Part:
    """Objects that were ordered together, and are answered for together."""

    number: int
    client: BulkClient
    hashes: list[ContentHash]
    left: int
    sizes: list[int | None]
    errors: list[tuple[int, str, str]] = field(default_factory=list)
    staged: list[Staged] = field(default_factory=list)


class Lane:
    """Takes messages, gives messages; its event loop belongs to it alone, so it may block."""

    def __init__(self, options: LaneOptions, reply: Callable[[bytes], None]) -> None:
        """Prepare; ``reply`` takes a message to the parent."""
        self._staging = options.staging
        self._reserve = Reserve(options.staging.root, options.reserve)
        self._reply = reply
        self._clients = [
            BulkClient(server, AdaptiveLimit(options.concurrency), self._arrived)
            for server in options.servers
        ]
        self._ordered: dict[int, tuple[_Part, int]] = {}
        self._numbers = count()
        self._fetching: dict[int, _Part] = {}
        self._parts: dict[int, _Part] = {}

    def hear(self, asked: dict[str, Any]) -> None:
        """Do what the parent asks for."""
        match asked["do"]:
            case "fetch":
                self._fetch(asked)
            case "reveal":
                self._reveal(asked)
            case "drop":
                self._drop(asked["part"])
            case "look":
                self._look(asked)

    def close(self) -> None:
        """Let go of all connections."""
        for client in self._clients:
            client.close()

    # --- fetching ---------------------------------------------------------------------------------

    def _fetch(self, asked: dict[str, Any]) -> None:
        objects = asked["objects"]
        hashes = [ContentHash.parse(text, Suffix(suffix)) for text, suffix, _ in objects]
        client = self._clients[asked["source"]]
        part = _Part(asked["id"], client, hashes, len(hashes), [None] * len(hashes))
        self._fetching[part.number] = part
        orders = []
        for position, (content_hash, (_, _, max_bytes)) in enumerate(
            zip(hashes, objects, strict=True)
        ):
            number = next(self._numbers)
            self._ordered[number] = part, position
            orders.append(Order(number, object_path(content_hash), max_bytes))
        if orders:
            client.submit(orders)
        else:
            self._settle(part)

    def _arrived(self, number: int, outcome: bytes | MirrorError) -> None:
        part, position = self._ordered.pop(number)
        if isinstance(outcome, bytes) and part.number in self._fetching:
            try:
                part.staged.append(self._stage(part.hashes[position], outcome))
                part.sizes[position] = len(outcome)
            except (Corrupted, StoreError) as error:
                outcome = error
        if isinstance(outcome, Corrupted):
            part.client.suspect()
        if isinstance(outcome, MirrorError):
            part.errors.append((position, type(outcome).__name__, str(outcome)))
        part.left -= 1
        if not part.left:
            self._settle(part)

    def _settle(self, part: _Part) -> None:
        if self._fetching.pop(part.number, None) is None:
            return  # it was dropped
        self._parts[part.number] = part
        self._tell(id=part.number, sizes=part.sizes, errors=part.errors)

    def _stage(self, content_hash: ContentHash, body: bytes) -> Staged:
        actual = ContentHash.of(content_hash.algorithm, body, content_hash.suffix)
        require_hash(content_hash, actual, len(body))
        self._reserve.require(len(body))
        return self._staging.write(content_hash, body)

    # --- the rest ---------------------------------------------------------------------------------

    def _reveal(self, asked: dict[str, Any]) -> None:
        commit = StagedCommit(self._staging.root, self._parts.pop(asked["part"]).staged)
        error = None
        try:
            commit.reveal()
        except StoreError as caught:
            error = str(caught)
            with suppress(StoreError):  # the first error is the one to tell
                commit.discard()
        self._tell(id=asked["id"], error=error)

    def _drop(self, number: int) -> None:
        """Forget a part, finished or not; what is on its way already goes nowhere."""
        part = self._parts.pop(number, None)
        if part is None:
            part = self._fetching.pop(number)
            ordered = {each for each, (of, _) in self._ordered.items() if of is part}
            for each in part.client.withdraw(ordered):
                del self._ordered[each]
        with suppress(StoreError):  # swept at the end
            StagedCommit(self._staging.root, part.staged).discard()

    def _look(self, asked: dict[str, Any]) -> None:
        root = self._staging.root
        store = LocalStore(root)
        hashes = [ContentHash.parse(text, Suffix(suffix)) for text, suffix in asked["objects"]]
        present = None
        with suppress(StoreError):  # nobody has looked then
            present = [
                # most are not there, and then this costs no exception
                os.access(f"{root}/{object_path(each)}", os.F_OK) and store.has(each)
                for each in hashes
            ]
        self._tell(id=asked["id"], present=present)

    def _tell(self, **message: object) -> None:
        self._reply(json.dumps(message).encode() + b"\n")
