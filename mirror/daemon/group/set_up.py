"""A group from the configuration, and its place in the daemon.

`Groups` is what the daemon holds, with a group or without one. Everything is withheld before
workers start, and exchanges begin when it is known what the trees have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.daemon.group.council import Council
from mirror.daemon.group.endpoint import Endpoint
from mirror.daemon.group.floors import FloorsFile
from mirror.daemon.group.group import Around, Group
from mirror.daemon.group.links import HttpLink
from mirror.daemon.group.member import Member
from mirror.daemon.group.message import NOTHING, Version
from mirror.daemon.group.permits import NotePermits, Told, give_back
from mirror.daemon.situation import Revision
from mirror.daemon.tokens import Tokens
from mirror.errors import ConfigError, FormatError
from mirror.group_settings import GroupSettings
from mirror.store.threads import in_thread
from mirror.store.withheld import boot_clock

Say = Callable[[str], None]
BeforeFlip = Callable[[Manifest], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group is at work.

    Attributes:
        storage: of the trees.
        spool: for floors.
        look: has a repository looked at.
        told: hears why a repository's manifest is withheld.
        say: takes what operators should know.
    """

    storage: Path
    spool: Path
    look: Callable[[str], None]
    told: Told
    say: Say


@dataclass(slots=True)
class _Open:
    """The group we are in, and what ends with it."""

    settings: GroupSettings
    group: Group
    tokens: Tokens
    session: aiohttp.ClientSession


class Groups:
    """The group that this mirror is in, if any."""

    def __init__(self, place: Place) -> None:
        """In none yet."""
        self._place = place
        self._open: _Open | None = None

    @property
    def group(self) -> Group | None:
        """The one of now."""
        return self._open.group if self._open is not None else None

    def add_routes(self, app: web.Application) -> None:
        """What others ask."""
        Endpoint(self._ours).add_routes(app)

    async def follow(self, settings: GroupSettings | None, repositories: Iterable[str]) -> None:
        """Be in this group with these repositories from now on, which are withheld first.

        Raises:
            ConfigError: the token cannot be read.
            StoreError: the repositories cannot be withheld.
        """
        wanted = list(repositories)
        if self._open is not None and self._open.settings != settings:
            await self.close()
        if settings is None:
            await in_thread(partial(give_back, self._place.storage, wanted))
            return
        if self._open is None:
            self._open = await self._enter(settings)
        await self._open.group.keep(wanted)

    def start(self) -> None:
        """Exchange with the others; harmless when repeated."""
        if self._open is not None:
            self._open.group.start()

    async def close(self) -> None:
        """Leave; what was lent ends by itself."""
        opened, self._open = self._open, None
        if opened is not None:
            await opened.group.stop()
            await opened.session.close()

    def serves(self, fqrn: Fqrn, revision: Revision | None) -> None:
        """Our root files are of this revision now; None for nothing."""
        if self._open is not None:
            version = Version(revision.number, revision.published_at) if revision else NOTHING
            self._open.group.serves(fqrn.name, version)

    async def before_flip(self, fqrn: Fqrn, manifest: Manifest) -> None:
        """Wait until this manifest may be put before clients; no time without a group."""
        if self._open is not None:
            version = Version(manifest.revision, manifest.published_at)
            await self._open.group.before_flip(fqrn.name, version)

    async def _enter(self, settings: GroupSettings) -> _Open:
        tokens, token = await in_thread(partial(_tokens, settings.token))
        council = Council(settings.members)
        mark = Member(settings.name, council, settings.lease_s, 0.0, None).group
        floors = FloorsFile(self._place.spool, mark)
        try:
            memory = await in_thread(floors.load)
        except FormatError as error:
            self._place.say(f"{error}; this member starts as a new one")
            memory = None
        member = Member(settings.name, council, settings.lease_s, boot_clock(), memory)
        session = aiohttp.ClientSession()
        timeout_s = settings.lease_s / 3
        links = {
            name: HttpLink(session, settings.members[name], name, token, timeout_s)
            for name in member.others
        }
        permits = NotePermits(self._place.storage, self._place.told, settings.lease_s / 10)
        look, wait_s = self._place.look, settings.wait_s
        around = Around(links, floors, permits, boot_clock, look, wait_s)
        return _Open(settings, Group(member, around), tokens, session)

    def _ours(self) -> tuple[Group, Tokens] | None:
        return (self._open.group, self._open.tokens) if self._open is not None else None


def _tokens(file: Path) -> tuple[Tokens, str]:
    """All that are accepted, and the first, which is sent."""
    tokens = Tokens.read([file])
    words = (line.split() for line in file.read_text("utf-8", "replace").splitlines())
    first = next((each[0] for each in words if each and not each[0].startswith("#")), None)
    if first is None:
        raise ConfigError([f"{file} has no token; make one: openssl rand -hex 32"])
    return tokens, first
