"""What start-up leaves out, told by a process of its own: here everything is imported already."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from mirror.cli.importing import importing

_COUNTING = """
import gc, importlib.metadata, sys
seen = []
gc.callbacks.append(lambda phase, _: seen.append(phase == "start"))
read, importlib.metadata.distributions = [], lambda: read.append(1) or []
import mirror.cli
sys.modules["mirror.cli.main"].commands.get_command(None, "snapshot")
import mirror.config
mirror.config.parse_settings("", "")
print(sum(seen), len(read), gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


def test_no_garbage_is_looked_for_and_no_plugins() -> None:
    """Neither is there, and both take long to find."""
    command = [sys.executable, "-I", "-c", _COUNTING]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    collections, *others = told.split()
    assert int(collections) < 10  # between the imports; else a hundred
    assert others == ["0", "True", "True"]  # plugins, as before, not looked at again


@pytest.mark.parametrize("is_enabled", [True, False])
def test_whoever_wants_no_collections_gets_none(*, is_enabled: bool) -> None:
    """Afterwards it is as it was."""
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        frozen = gc.get_freeze_count()
        with importing():
            assert not gc.isenabled()
        assert gc.get_freeze_count() == frozen  # nothing was imported
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
