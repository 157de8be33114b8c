from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mirror.errors import StoreError, StoreFull, StoreUnavailable
from mirror.store.file_errors import translated

PATH = Path("/srv/cvmfs/test.example.org")


def told(error: OSError) -> StoreError:
    """What becomes of it."""
    with pytest.raises(StoreError) as caught, translated(PATH):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full(number: int) -> None:
    """No space and no quota are told as full, with what to do."""
    error = told(OSError(number, os.strerror(number)))
    assert type(error) is StoreFull
    assert str(error).startswith(f"{PATH}: {os.strerror(number)}; make room (df -h, df -i, quota)")


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "give this user the right"),
        (errno.EPERM, "give this user the right"),
        (errno.EROFS, "mount it writable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.EIO, "see the kernel's log"),
        (errno.ENOTDIR, "move it away"),
        (errno.EISDIR, "move it away"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_unavailable(number: int, fix: str) -> None:
    """Everything else that has a known fix says it."""
    error = told(OSError(number, os.strerror(number)))
    assert type(error) is StoreUnavailable
    assert fix in str(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOTEMPTY, "Directory not empty"), f"{PATH}: Directory not empty"),
        (OSError("no number"), f"{PATH}: no number"),
        (OSError(errno.ENOTEMPTY, "Not empty", "/other"), "/other: Not empty"),
    ],
    ids=["no fix", "no number", "another file"],
)
def test_other_errors(error: OSError, text: str) -> None:
    """An error without a known fix says what and where."""
    assert str(told(error)) == text


def test_other_exceptions_pass_through() -> None:
    """Only the operating system's errors are translated."""
    with pytest.raises(LookupError), translated(PATH):
        raise LookupError
