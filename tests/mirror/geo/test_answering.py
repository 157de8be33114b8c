"""Replies, byte by byte, beside an implementation that knows only the contract."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mirror.geo.answering import Basis, Reply
from mirror.geo.location import Location
from mirror.geo.options import GeoOptions
from mirror.geo.request import Asker
from mirror.geo.setting_up import Geo
from tests.support.geo_reference import reference
from tests.support.geo_requests import Asked, Requests
from tests.support.geo_world import SITES, World, small_world, write_database

SOAK = bool(os.environ.get("CVMFS_MIRROR_SOAK"))
CERN, FNAL = "128.142.0.1", "131.225.0.1"
THREE = "ihep.example.org,cern.example.org,fnal.example.org"


def within(geo: Callable[[], Geo], work: Callable[[Geo], Coroutine[Any, Any, None]]) -> None:
    """Run something with a Geo that is ready."""

    async def run() -> None:
        ready = geo()
        async with ready.ready():
            await work(ready)

    asyncio.run(run())


def ask(options: GeoOptions, path: str, asker: Asker, world: World | None = None) -> Reply:
    """One question."""
    replies = []

    async def work(geo: Geo) -> None:
        replies.append(await geo.answer(path, asker))

    within(lambda: Geo(options, (world or small_world()).resolve), work)
    return replies[0]


@pytest.fixture(scope="module", params=["GeoLite2", "flat", "two files"])
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GeoOptions:
    """The small world in both schemas, and in a file for each family."""
    directory = tmp_path_factory.mktemp("geo")
    networks = small_world().networks
    if request.param != "two files":
        write_database(directory / "city.mmdb", networks, is_flat=request.param == "flat")
        return GeoOptions((directory / "city.mmdb",))
    v6 = {network: point for network, point in networks.items() if ":" in network}
    write_database(directory / "v4.mmdb", networks, version=4, is_flat=True)
    write_database(directory / "v6.mmdb", v6)
    return GeoOptions((directory / "v4.mmdb", directory / "v6.mmdb"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_random_requests(options: GeoOptions) -> None:
    """Status, text and age are the contract's, whatever is asked."""
    world = small_world()
    requests = Requests(world, seed=11)
    seen: set[tuple[int, str]] = set()

    async def work(geo: Geo) -> None:
        for _ in range(100_000 if SOAK else 5_000):
            asked = requests.next()
            expected = reference(*asked, world)
            assert await answered(geo, asked) == expected, asked
            seen.add((expected[0], expected[1][:24]))

    within(lambda: Geo(options, world.resolve), work)
    assert len([status for status, _ in seen if status == 400]) >= 5
    assert len(seen) > 50


async def answered(geo: Geo, asked: Asked) -> tuple[int, str, int]:
    """What we say."""
    headers = asked.headers
    asker = geo.asker(asked.peer, headers.get("X-Forwarded-For"), headers.get("CF-Connecting-IP"))
    reply = await geo.answer(asked.path, asker)
    return reply.status, reply.text, reply.max_age_s


def test_a_real_database() -> None:
    """The same with a city database, where one is installed: its points are the world's."""
    places = [Path("/usr/share/GeoIP"), Path("/var/lib/GeoIP"), Path("/var/lib/cvmfs-mirror")]
    places.append(Path(os.environ.get("CVMFS_MIRROR_GEO", "/var/lib/cvmfs-server/geo")))
    found = [file for place in places for file in sorted(place.glob("*[cC]ity*.mmdb"))]
    if not found:
        pytest.skip("no city database is installed; name its directory in CVMFS_MIRROR_GEO")
    for file in found:
        _compare_with(file)


def _compare_with(file: Path) -> None:
    random = Random(5)

    async def work(geo: Geo) -> None:
        addresses = [".".join(str(random.randrange(1, 224)) for _ in "1234") for _ in range(2_000)]
        places = {each: geo.atlas.location(each) for each in addresses}
        world = World({f"{each}/32": (at[0], at[1]) for each, at in places.items() if at})
        for _ in range(100_000 if SOAK else 2_000):
            servers = ",".join(random.sample(addresses, 5))
            asked = Asked(f"/r/v1.0/geo/x/{servers}", {}, random.choice(addresses))
            assert await answered(geo, asked) == reference(*asked, world)

    within(lambda: Geo(GeoOptions((file,))), work)


SITES_AT = {
    "cern": (46.23, 6.05),
    "ral": (51.57, -1.31),
    "fnal": (41.84, -88.25),
    "bnl": (40.87, -72.87),
    "asgc": (25.04, 121.61),
}


@pytest.mark.parametrize(
    ("place", "where", "expected"),
    [
        ("Geneva", (46.20, 6.14), "cern ral bnl fnal asgc"),
        ("Manchester", (53.48, -2.24), "ral cern bnl fnal asgc"),
        ("Lyon", (45.76, 4.84), "cern ral bnl fnal asgc"),
        ("Reykjavik", (64.15, -21.94), "ral cern bnl fnal asgc"),
        ("Chicago", (41.88, -87.63), "fnal bnl ral cern asgc"),
        ("New York", (40.71, -74.01), "bnl fnal ral cern asgc"),
        ("San Francisco", (37.77, -122.42), "fnal bnl ral cern asgc"),
        ("Tokyo", (35.68, 139.69), "asgc ral cern fnal bnl"),
        ("Beijing", (39.90, 116.41), "asgc ral cern fnal bnl"),
        ("Sydney", (-33.87, 151.21), "asgc fnal bnl cern ral"),
    ],
)
def test_geography(place: str, where: tuple[float, float], expected: str) -> None:
    """The Stratum 1 servers of the LHC, from ten places on Earth."""
    locations = {f"s1.{name}.example": Location(*at) for name, at in SITES_AT.items()}
    locations["192.0.2.0/24"] = Location(*where)
    servers = list(SITES_AT)
    path = "/r/v1.0/geo/x/" + ",".join(f"s1.{each}.example" for each in servers)
    reply = ask(GeoOptions(locations=locations), path, Asker("192.0.2.7"))
    order = [servers[int(each) - 1] for each in reply.text.split(",")]
    assert " ".join(order) == expected, place
    assert (reply.max_age_s, reply.basis) == (3600, Basis.DISTANCE)


def test_without_a_database() -> None:
    """The order as asked, the separator last, and caches ask again soon."""
    reply = ask(GeoOptions(), "/r/v1.0/geo/x/a.org,b.org,+PXYSEP+,c.org", Asker("192.0.2.1"))
    assert reply[:4] == (200, "1,2,4,3\n", 300, Basis.NO_DATABASE)


def test_the_operator_knows_best(options: GeoOptions) -> None:
    """A table counts before databases and resolvers, the narrowest network first."""
    table = {
        "128.142.0.0/16": Location(*SITES["ihep.example.org"][1]),
        "128.142.0.0/24": Location(*SITES["fnal.example.org"][1]),
        "Cern.example.org": Location(*SITES["ral.example.org"][1]),
    }
    asked = GeoOptions(options.databases, locations=table)
    path = f"/r/v1.0/geo/x/{THREE}"
    assert ask(asked, path, Asker("128.142.0.9")).text == "3,2,1\n"
    assert ask(asked, path, Asker("128.142.9.9")).text == "1,2,3\n"


def test_only_trusted_proxies_are_believed(options: GeoOptions) -> None:
    """Where some are named; by default anybody is, as in the reference."""
    path = f"/r/v1.0/geo/x/{THREE}"
    trusting = GeoOptions(options.databases, trusted_proxies=("131.225.0.0/16",))
    for peer, chosen, expected in (
        (FNAL, trusting, "2,3,1\n"),
        (f"::ffff:{FNAL}", trusting, "2,3,1\n"),
        ("117.103.96.1", trusting, "1,2,3\n"),
        ("117.103.96.1", options, "2,3,1\n"),
    ):
        replies: list[Reply] = []

        async def work(geo: Geo, peer: str = peer, replies: list[Reply] = replies) -> None:
            replies.append(await geo.answer(path, geo.asker(peer, CERN, None)))

        within(lambda chosen=chosen: Geo(chosen, small_world().resolve), work)  # type: ignore[misc]
        assert replies[0].text == expected


def test_unfit_servers_come_last(options: GeoOptions) -> None:
    """Where somebody tells which are; if all are, they stay as they are."""
    path = f"/r/v1.0/geo/x/{THREE}"
    for unfit, expected in (("cern", "3,1,2\n"), ("example", "2,3,1\n")):
        replies: list[Reply] = []

        async def work(geo: Geo, replies: list[Reply] = replies) -> None:
            replies.append(await geo.answer(path, Asker(CERN)))

        within(
            lambda unfit=unfit: Geo(options, small_world().resolve, lambda name: unfit in name),  # type: ignore[misc]
            work,
        )
        assert replies[0].text == expected


def test_points_a_hair_apart() -> None:
    """The cosine of their angle is more than one by rounding, of which the reference dies."""
    near = {"a.org": Location(0.1 + 0.2, 90.0), "b.org": Location(0.3, 90.0)}
    opposite = {"c.org": Location(-0.3, -90.0), "192.0.2.0/24": Location(0.3, 90.0)}
    options = GeoOptions(locations=near | opposite)
    reply = ask(options, "/r/v1.0/geo/x/c.org,a.org,b.org", Asker("192.0.2.1"))
    assert reply.text.endswith(",1\n")


def test_the_counter(options: GeoOptions) -> None:
    """A debugging aid of the reference, which its tests use."""
    assert ask(options, "/r/v1.0/geo/_namelookups_/", Asker("")).text == "0\n"
