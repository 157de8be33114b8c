"""Where a directory of ``cvmfs_server``'s has another name than ours, a link leads to it.

An alias (``add-replica -n``) is a name for the directory only. Both tools then work in the same
tree under the same lock, and clients find it under both names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mirror.handover.small_files import Unreadable


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is needed.

    Attributes:
        path: where.
        target: where it leads.
    """

    path: Path
    target: Path

    def make(self) -> None:
        """Make it.

        Raises:
            Unreadable: the file system refuses.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.symlink_to(self._shortest())
        except OSError as error:
            raise Unreadable(f"{self.path}: {error.strerror}") from error

    def _shortest(self) -> Path:
        """Within one directory the name is enough, also when that is moved."""
        is_sibling = self.path.parent == self.target.parent
        return Path(self.target.name) if is_sibling else self.target


def link_between(ours: Path, theirs: Path) -> Link | None:
    """What it takes that both paths lead to the same place; None if they do.

    Raises:
        Unreadable: there is something else in the way.
    """
    if ours == theirs or not theirs.exists():
        return None
    if not os.path.lexists(ours):
        return Link(ours, theirs)
    if ours.exists() and ours.samefile(theirs):
        return None
    raise Unreadable(
        f"{ours} is something else than {theirs}, which cvmfs_server uses; "
        "move the one away that is not wanted"
    )
