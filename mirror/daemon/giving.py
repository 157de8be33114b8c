"""Whether clients are given what we have: the group may say no, and so may a replica's age.

In a group the note that keeps a manifest from clients is the group's, which is told of any other
reason; otherwise it is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirror import wiring
from mirror.config import Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.daemon.group.set_up import Groups, Place
from mirror.daemon.situation import Situation
from mirror.daemon.turns import Turns
from mirror.daemon.withholding import Withholding


class Giving:
    """See above.

    Attributes:
        groups: the mirrors behind the same name, if there are any.
        withholding: other reasons.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        situations: Mapping[Fqrn, Situation],
        look: Callable[[Fqrn], None],
        say: Callable[[str], None],
    ) -> None:
        """In no group yet.

        Args:
            settings: that are followed now.
            situations: of all replicas.
            look: looks at one, if it is kept.
            say: takes what operators should know.
        """
        self._settings = settings
        self._situations = situations
        storage = settings().storage
        self.groups = Groups(
            Place(storage.path, storage.spool, lambda name: look(Fqrn(name)), self._withheld, say)
        )
        self.withholding = Withholding(self._withhold)

    async def follow(self, settings: Settings) -> None:
        """Be in the configured group from now on, before anybody serves by this configuration.

        Raises:
            ConfigError, StoreError: it cannot be.
        """
        names = [each.name for each in settings.replica if not each.pass_through]
        await self.groups.follow(settings.group, names)
        for situation in self._situations.values():
            self.tell(situation)

    def tell(self, situation: Situation) -> None:
        """The group shall know what a replica has, if that is known."""
        if situation.served is not None or situation.trouble is None:
            self.groups.serves(situation.fqrn, situation.served)

    async def before_flip(self, fqrn: Fqrn, turns: Turns, manifest: Manifest) -> None:
        """Wait for the group, if there is one; others may fetch meanwhile."""
        if self.groups.group is not None:
            async with turns.lent():
                await self.groups.before_flip(fqrn, manifest)

    async def _withhold(self, fqrn: Fqrn, reason: str | None) -> None:
        if self.groups.group is not None:
            self.groups.group.refuse(fqrn.name, reason)
        else:
            await wiring.local_store(self._settings(), fqrn).withhold(reason)
            self._withheld(fqrn.name, reason)

    def _withheld(self, name: str, reason: str | None) -> None:
        situation = self._situations.get(Fqrn(name))
        if situation is not None:
            situation.withheld = reason
