"""Repositories that are passed through: there is nothing of them that a verb could look at."""

from __future__ import annotations

from collections.abc import Iterable

import click

from mirror.config import ReplicaSettings


def stored(wanted: Iterable[ReplicaSettings]) -> list[ReplicaSettings]:
    """Those of which something is stored; of the others it is said that nothing is."""
    kept: list[ReplicaSettings] = []
    for each in wanted:
        if each.pass_through:
            click.echo(
                f"{each.name}: passed through: nothing is stored, so there is nothing to do",
                err=True,
            )
        else:
            kept.append(each)
    return kept
