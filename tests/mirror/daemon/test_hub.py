"""All who listen are told, nobody waits for anybody, and room is limited."""

from __future__ import annotations

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.hub import Hub, HubLimits, Seat, TooManySubscribers
from tests.support.loops import run
from tests.support.situations import FQRN

OTHER = Fqrn("other.example.org")


def nothing() -> None:
    """A drop that hurts nobody."""


def taken(seat: Seat) -> list[str]:
    """What waits for a subscriber."""
    return list(seat.waiting)


def test_who_listens_is_told() -> None:
    """Of its own repository only."""
    hub = Hub()
    with hub.subscribe(FQRN, "a", nothing) as one, hub.subscribe(OTHER, "a", nothing) as other:
        hub.publish(FQRN, "first")
        hub.publish(FQRN, "second")
        assert (taken(one), taken(other)) == (["first", "second"], [])


def test_the_last_message_is_told_again() -> None:
    """To whoever comes; and never twice to those who had it."""
    hub = Hub()
    hub.publish(FQRN, "first")
    hub.publish(FQRN, "second")
    with hub.subscribe(FQRN, "a", nothing) as seat:
        hub.publish(FQRN, "second")
        assert taken(seat) == ["second"]


def test_who_takes_nothing_is_dropped() -> None:
    """The others go on."""
    dropped: list[str] = []
    hub = Hub(HubLimits(waiting=2))
    with (
        hub.subscribe(FQRN, "a", lambda: dropped.append("slow")) as slow,
        hub.subscribe(FQRN, "b", lambda: dropped.append("quick")) as quick,
    ):
        for number in range(4):
            hub.publish(FQRN, str(number))
            quick.waiting.clear()
        assert (set(dropped), hub.dropped > 0) == ({"slow"}, True)
        assert slow.is_over
        assert not quick.is_over


@pytest.mark.parametrize(
    "limits", [HubLimits(subscribers=2), HubLimits(per_address=2)], ids=["all", "address"]
)
def test_room(limits: HubLimits) -> None:
    """One leaves, and another one may come."""
    hub = Hub(limits)
    with hub.subscribe(FQRN, "a", nothing):
        with hub.subscribe(OTHER, "a", nothing):
            with pytest.raises(TooManySubscribers), hub.subscribe(FQRN, "a", nothing):
                pass
            assert hub.subscribers == 2
        with hub.subscribe(FQRN, "a", nothing):
            assert hub.subscribers == 2
    assert hub.subscribers == 0


def test_one_address_does_not_take_all() -> None:
    """Others still find room."""
    hub = Hub(HubLimits(per_address=1))
    with hub.subscribe(FQRN, "a", nothing), hub.subscribe(FQRN, "b", nothing):
        assert hub.subscribers == 2


@pytest.mark.parametrize("end", [Hub.close, lambda hub: hub.forget(FQRN)], ids=["close", "forget"])
def test_the_end(end: object) -> None:
    """What waits still goes out, then nothing."""

    async def main() -> None:
        hub = Hub()
        with hub.subscribe(FQRN, "a", nothing) as seat:
            hub.publish(FQRN, "last")
            assert callable(end)
            end(hub)
            assert [await seat.next(), await seat.next()] == ["last", None]

    run(main())


def test_closed() -> None:
    """Nobody comes in any more."""
    hub = Hub()
    hub.close()
    with pytest.raises(TooManySubscribers), hub.subscribe(FQRN, "a", nothing):
        pass
