"""All sockets of a supervisor: for each place it listens at, one for each of its workers.

A value: another configuration gives other doors, which have in common with these whatever both of
them need. So a socket that goes on being needed is never closed, and who waits in its queue stays.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mirror.errors import ConfigError
from mirror.serve.listening import Address, Listeners, Place, listen, url_of


@dataclass(frozen=True, slots=True)
class Doors:
    """Sockets that are open.

    Attributes:
        plain: where HTTP is spoken, in the order of the configuration.
        secure: where TLS is.
    """

    plain: Mapping[Place, Listeners] = field(default_factory=dict)
    secure: Mapping[Place, Listeners] = field(default_factory=dict)

    def changed(self, plain: Sequence[Address], secure: Sequence[Address], workers: int) -> Doors:
        """Doors at these addresses for so many workers; these here stay open, all of them.

        Raises:
            ConfigError: somewhere one cannot listen; nothing was opened then.
        """
        known = {**self.plain, **self.secure}
        found: list[dict[Place, Listeners]] = [{}, {}]
        try:
            for places, addresses in zip(found, (plain, secure), strict=True):
                for address in addresses:
                    opened = listen(address, workers, known)
                    known.update(opened)
                    places.update(opened)
            if twice := found[0].keys() & found[1].keys():
                raise ConfigError([f"serve.tls.listen: {_name(twice.pop())} is in serve.listen"])
        except ConfigError:
            Doors(*found).close_but(self)
            raise
        return Doors(*found)

    def of(self, worker: int) -> tuple[list[socket.socket], list[socket.socket]]:
        """The sockets of the worker with this number: for HTTP, for TLS."""
        return (
            [each[worker] for each in self.plain.values()],
            [each[worker] for each in self.secure.values()],
        )

    @property
    def urls(self) -> list[str]:
        """Where clients find us."""
        plain, secure = self.of(0)
        return [url_of(each) for each in plain] + [url_of(each, "https") for each in secure]

    def close_but(self, others: Doors | None = None) -> None:
        """Close what is not among the others."""
        kept = set(others.sockets) if others else set()
        for each in self.sockets:
            if each not in kept:
                each.close()

    @property
    def sockets(self) -> Iterator[socket.socket]:
        """All of them."""
        for places in (self.plain, self.secure):
            for listeners in places.values():
                yield from listeners


def _name(place: Place) -> str:
    return f"{place.host}:{place.port}"
