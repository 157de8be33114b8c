"""Every error is the same on the other side of a pipe."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from mirror.cli.exit_codes import exit_code
from mirror.errors import ConfigError, Failure, MirrorError, SnapshotFailed, StoreFull


def families(error: type[MirrorError]) -> Iterator[type[MirrorError]]:
    """All below one."""
    for each in error.__subclasses__():
        yield each
        yield from families(each)


def samples() -> Iterator[MirrorError]:
    """One of each."""
    for kind in families(MirrorError):
        if kind is ConfigError:
            yield ConfigError(["first problem", "second problem"])
        elif kind is SnapshotFailed:
            yield SnapshotFailed([Failure("data/ab/cd", "/", StoreFull("no space"))], 7)
        else:
            yield kind("what happened; what to do")


@pytest.mark.parametrize("error", list(samples()), ids=lambda error: type(error).__name__)
def test_errors_can_be_sent_to_other_processes(error: MirrorError) -> None:
    """With their text, what they hold and their exit code."""
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is type(error)
    assert str(received) == str(error)
    assert vars(received).keys() == vars(error).keys()
    assert getattr(received, "problems", ()) == getattr(error, "problems", ())
    assert exit_code(received) == exit_code(error)
