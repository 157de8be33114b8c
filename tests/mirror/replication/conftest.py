"""A repository with one revision, and a replica beside it that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import CHUNK_BYTES, TREE


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """Published once, with everything that replication has to see to."""
    repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
    repository.publish(TREE)
    return repository


@pytest.fixture
def mirror(repository: Repository, tmp_path: Path) -> Mirror:
    """A replica in memory, before its first snapshot."""
    return Mirror.in_memory(repository, tmp_path)


@pytest.fixture
def mirror_on_disk(repository: Repository, tmp_path: Path) -> Mirror:
    """A replica on disk, before its first snapshot."""
    return Mirror.on_disk(repository, tmp_path)
