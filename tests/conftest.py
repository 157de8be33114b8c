"""Fixtures that the whole session shares: keys, because making them is slow, and real data."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.fixture import unpack_fixture
from tests.support.keys import Keys

settings.register_profile("mirror", deadline=None, max_examples=60)
settings.load_profile("mirror")  # no test may depend on how fast a machine is


@pytest.fixture(scope="session")
def keys() -> Keys:
    """A publisher's keys."""
    return Keys.generate()


@pytest.fixture(scope="session")
def other_keys() -> Keys:
    """Somebody else's keys."""
    return Keys.generate()


@pytest.fixture(scope="session")
def fixture_keys() -> Keys:
    """The keys of the repository that the real publisher made."""
    return Keys.from_fixture()


@pytest.fixture(scope="session")
def fixture_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the repository that the real publisher made lies: rev1 … rev8 and keys. Read only."""
    return unpack_fixture(tmp_path_factory.mktemp("fixture"))
