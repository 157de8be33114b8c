"""No power is cut here: what waits for the disk would only make the tests wait."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renames and writes stay as they are; see tests/mirror/store for syncs."""
    for module in ("local", "staging"):
        monkeypatch.setattr(f"mirror.store.{module}.syncfs", lambda _root: None)
