"""How tables are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table

_WIDTH_OF_PIPES: Final = 200
"""Where nobody looks at a screen, lines stay whole for grep."""


def new_table(headings: Iterable[str]) -> Table:
    """One without lines, whose cells fold."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """As wide as the terminal, if it is one."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_PIPES)
    console.print(table)
