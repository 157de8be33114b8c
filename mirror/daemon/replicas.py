"""Which repositories are ours just now, for those who name one in a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.answers import Problem
from mirror.daemon.situation import Situation
from mirror.errors import FormatError


class Replicas:
    """The situations of all replicas, by name."""

    def __init__(self, situations: Callable[[], Mapping[Fqrn, Situation]]) -> None:
        """``situations`` gives those that are kept at the moment."""
        self._situations = situations

    def all(self) -> list[Situation]:
        """In the order of their names."""
        return [situation for _, situation in sorted(self._situations().items())]

    def require(self, name: str) -> Situation:
        """The situation of a repository of this name.

        Raises:
            Problem: there is none.
        """
        try:
            situation = self._situations().get(Fqrn(name))
        except FormatError as error:
            raise Problem(404, str(error), "correct the name") from error
        if situation is None:
            to_do = "see /api/v1/status for those that are; cvmfs-mirror add-replica adds one"
            raise Problem(404, f"{name} is not replicated here", to_do)
        return situation
