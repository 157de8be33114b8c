"""One table from families of errors to exit codes."""

from __future__ import annotations

from typing import Final

from mirror.errors import (
    ConfigError,
    DamageError,
    FormatError,
    MirrorError,
    SnapshotFailed,
    StoreError,
    TrustError,
    UpstreamError,
)

_EXIT_CODES: Final[tuple[tuple[type[MirrorError], int], ...]] = (
    (ConfigError, 2),
    (UpstreamError, 3),
    (TrustError, 4),
    (FormatError, 4),
    (StoreError, 5),
    (DamageError, 6),
)
_GRAVITY: Final = (4, 5, 6, 3, 2)
"""Of several errors the one that most needs a person gives the exit code."""


def exit_code(*errors: MirrorError) -> int:
    """The exit code for one or several errors; 0 for none."""
    codes = {_one_code(error) for error in errors}
    return next((code for code in _GRAVITY if code in codes), 0)


def _one_code(error: MirrorError) -> int:
    if isinstance(error, SnapshotFailed):
        return exit_code(*(failure.error for failure in error.failures))
    return next(code for family, code in _EXIT_CODES if isinstance(error, family))
