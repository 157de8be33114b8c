"""How many files and connections may be open at once."""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Final

from mirror.errors import ConfigError
from mirror.serve.limits import ServeLimits

_OTHERS: Final = 128
"""Descriptors for everything else: listening sockets, logs, root files being replaced, threads."""
_FEWEST_CONNECTIONS: Final = 64


def raise_descriptor_limit() -> int:
    """Take as many descriptors as we may have, for us and the processes we start; gives the limit.

    The soft limit is low for the sake of programs that use `select`, which we do not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def fitting(limits: ServeLimits, open_files: int, descriptors: int) -> tuple[ServeLimits, str]:
    """The limits, with no more connections than a worker has descriptors for, and why not more.

    Args:
        limits: as configured.
        open_files: that a worker keeps open.
        descriptors: that a process may have.

    Raises:
        ConfigError: there is room for next to none.
    """
    most = descriptors - open_files - _OTHERS
    if most < min(limits.connections, _FEWEST_CONNECTIONS):
        problem = (
            f"serve.open_files: {open_files} leave no room for connections below the limit of "
            f"{descriptors} descriptors; lower it, or raise the limit (LimitNOFILE=, ulimit -n)"
        )
        raise ConfigError([problem])
    if limits.connections <= most:
        return limits, ""
    warning = (
        f"{most} connections for each worker, not {limits.connections}: only {descriptors} "
        "descriptors may be open; raise that limit (LimitNOFILE=, ulimit -n)"
    )
    return replace(limits, connections=most), warning
