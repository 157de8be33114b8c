"""Any history of a repository: publish, tag, collect, in any order, and a replica that follows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mirror.cvmfs.content_hash import Algorithm
from mirror.errors import ConfigError
from mirror.stratum0.source import DirectorySource, TarSource
from tests.support.editing import EDITS, NAMES, Edit, WorkingTree
from tests.support.histories import History, Settings
from tests.support.model import Tree, published, without
from tests.support.written import from_directory, from_tar, write_directory, write_tar

_IS_SOAK: Final = os.environ.get("CVMFS_MIRROR_SOAK") == "1"
_MEMORY: Final = Path("/dev/shm")  # a sync of it waits for nobody else's writes

_INDEX = st.integers(0, 40)
_SETTINGS = st.builds(
    Settings,
    algorithm=st.sampled_from(Algorithm),
    is_packed=st.booleans(),
    largest_catalog=st.sampled_from([200_000, 200_000, 4, 9]),
    is_garbage_collectable=st.sampled_from([True, True, True, False]),
)


class Histories(RuleBasedStateMachine):
    """Draws operations; after each one everything is compared with the model."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self._directory = Path(self._temporary.name)
        self._clock = count(1)
        self._numbers = count(1)
        self._working = WorkingTree(self._clock)
        self._history = History(self._directory, Settings())
        self._is_tar = False

    @initialize(settings=_SETTINGS, edits=st.lists(EDITS, max_size=8), is_tar=st.booleans())
    def begin(self, settings: Settings, edits: list[Edit], *, is_tar: bool) -> None:
        """The first revision."""
        self._history = History(self._directory, settings)
        self.publish_all(edits=edits, is_tar=is_tar, tag=None)

    # --- publish ----------------------------------------------------------------------------------

    @rule(
        edits=st.lists(EDITS, max_size=5),
        is_tar=st.booleans(),
        tag=st.none() | st.sampled_from(["v1", "v2", "v3"]),
    )
    def publish_all(self, edits: list[Edit], *, is_tar: bool, tag: str | None) -> None:
        """The whole tree after some edits."""
        assume(tag not in self._history.tags)
        self._working.edit(edits)
        self._publish(self._working.tree, is_tar=is_tar, tag=tag)

    @rule()
    def publish_unchanged(self) -> None:
        """The same again, told as the last was; `History.publish` knows whether that differs."""
        self._publish(self._working.tree, is_tar=self._is_tar)

    @rule(
        where=_INDEX,
        names=st.lists(st.sampled_from(NAMES), max_size=2),
        edits=st.lists(EDITS, max_size=6),
        overlays=st.booleans(),
        is_tar=st.booleans(),
        mentions_all=st.booleans(),
        deletes=st.lists(_INDEX, max_size=1),
    )
    def publish_at(
        self,
        where: int,
        names: list[bytes],
        edits: list[Edit],
        deletes: list[int],
        *,
        overlays: bool,
        is_tar: bool,
        mentions_all: bool,
    ) -> None:
        """Some other tree, somewhere, instead of what is there or over it."""
        head = self._history.head
        directories = sorted(path for path, node in head.items() if node.is_directory)
        base = b"/".join([directories[where % len(directories)], *names])
        gone = [sorted(head)[1:][each % (len(head) - 1)] for each in deletes if len(head) > 1]
        source = WorkingTree(self._clock)
        source.edit(edits)
        self._publish(
            source.tree,
            base=base,
            overlays=overlays,
            deletes=gone,
            is_tar=is_tar,
            mentions_all=mentions_all,
        )

    @rule(where=_INDEX, edits=st.lists(EDITS, max_size=4), is_tar=st.booleans())
    def publish_over(self, where: int, edits: list[Edit], *, is_tar: bool) -> None:
        """A part of what is published, edited, laid over itself."""
        head = self._history.head
        directories = sorted(path for path, node in head.items() if node.is_directory)
        base = directories[where % len(directories)]
        part = {
            path[len(base) :]: node
            for path, node in head.items()
            if path == base or path.startswith(base + b"/")
        }
        source = WorkingTree(self._clock, part)
        source.renew_links()
        source.edit(edits)
        self._publish(source.tree, base=base, overlays=True, is_tar=is_tar)

    def _publish(
        self,
        tree: Tree,
        *,
        base: bytes = b"",
        overlays: bool = False,
        deletes: Sequence[bytes] = (),
        tag: str | None = None,
        is_tar: bool,
        mentions_all: bool = True,
    ) -> None:
        history = self._history
        source: DirectorySource | TarSource
        made_up: list[bytes] = []
        if is_tar:
            mentioned = [path for path in tree if mentions_all or not tree[path].is_directory]
            tree = _whole(tree, mentioned)
            made_up = [path for path in tree if path not in mentioned]
            source = TarSource(BytesIO(write_tar(tree, mentions=mentioned)), "a tarball")
            told = from_tar(tree, mentions=mentioned)
        else:
            directory = self._directory / f"source{next(self._numbers)}"
            write_directory(tree, os.fsencode(directory))
            source = DirectorySource(directory)
            told = from_directory(tree)
        before = history.head
        for path in deletes:
            before = without(before, path)
        options = history.options(base, overlays=overlays, deletes=tuple(deletes), tag=tag)
        if _is_blocked(before, base):
            with pytest.raises(ConfigError, match="no directory"):
                history.publish(source, history.head, options)
        else:
            after = published(before, told, base=base, overlays=overlays, made_up=made_up)
            history.publish(source, after, options)
        self._is_tar = is_tar
        self._working = WorkingTree(self._clock, history.head)
        history.require_everything()

    # --- the rest ---------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["t1", "t2", "t3"]))
    def tag(self, name: str) -> None:
        """Name the head."""
        assume(name not in self._history.tags)
        self._history.tag(name)
        self._history.require_everything()

    @precondition(lambda self: self._history.named)
    @rule(numbers=st.lists(_INDEX, min_size=1, max_size=4), collects=st.booleans())
    def untag(self, numbers: list[int], *, collects: bool) -> None:
        """Forget some names, and perhaps sweep at once."""
        for number in numbers:
            named = self._history.named
            if named:
                self._history.untag(named[number % len(named)])
        if collects and self._history.settings.is_garbage_collectable:
            self._history.collect()
        self._history.require_everything()

    @precondition(lambda self: self._history.settings.is_garbage_collectable)
    @rule()
    def collect(self) -> None:
        """Sweep what nothing reaches."""
        self._history.collect()
        self._history.require_everything()

    @rule()
    def resign(self) -> None:
        """Renew the whitelist."""
        self._history.resign()
        self._history.require_everything()

    def teardown(self) -> None:
        """A replica that begins now has everything too."""
        try:
            if self._history.is_consistent:
                self._history.require_everything("fresh")
        finally:
            self._temporary.cleanup()


def _whole(tree: Tree, mentioned: list[bytes]) -> Tree:
    """What is mentioned, and the directories on the way to it."""
    needed = {b"", *mentioned}
    for path in mentioned:
        parts = path.split(b"/")
        needed |= {b"/".join(parts[:length]) for length in range(1, len(parts))}
    return {path: tree[path] for path in needed}


def _is_blocked(tree: Tree, base: bytes) -> bool:
    """Whether something on the way to the base is no directory."""
    parts = base.split(b"/")
    parents = (b"/".join(parts[:length]) for length in range(2, len(parts)))
    return any(parent in tree and not tree[parent].is_directory for parent in parents)


@pytest.mark.soak
def test_any_history() -> None:
    """Whatever was done in whatever order, origin and replica hold what the model says."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            deadline=None,
            max_examples=400 if _IS_SOAK else 14,
            stateful_step_count=30 if _IS_SOAK else 10,
            suppress_health_check=list(HealthCheck),
        ),
    )
