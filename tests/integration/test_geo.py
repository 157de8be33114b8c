"""The real client sorts its servers by what we tell it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mirror.geo.location import Location
from mirror.geo.options import GeoOptions
from tests.integration.test_reference_tools import FQRN, fixture_site, key_file
from tests.support.geo_served import geo_served
from tests.support.geo_world import World
from tests.support.reference_tools import mounted, needs, needs_fuse

pytestmark = pytest.mark.integration

CLIENT = Location(46.2, 6.1)
NEAR, FAR, FARTHEST = Location(51.6, -1.3), Location(41.8, -88.3), Location(-33.9, 151.2)


@needs("cvmfs2")
@needs("cvmfs_talk")
@needs_fuse
@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((FARTHEST, NEAR, FAR), (3, 4, 2)),
        ((NEAR, FAR, FARTHEST), (2, 3, 4)),
        ((FAR, FARTHEST, NEAR), (4, 2, 3)),
    ],
)
def test_the_real_client_follows_the_order(
    fixture_repository: Path,
    tmp_path: Path,
    places: tuple[Location, ...],
    expected: tuple[int, ...],
) -> None:
    """Three names of one server: it asks, and puts them in the order of the answer."""
    hosts = {f"127.0.0.{number}": place for number, place in enumerate(places, 2)}
    options = GeoOptions(locations={**hosts, "127.0.0.1": CLIENT})
    with fixture_site(tmp_path, fixture_repository, 5) as (site, _):
        assert site.run("snapshot") == 0
    with geo_served(site.storage, options, World().resolve, host="0.0.0.0") as url:
        port = url.rpartition(":")[2]
        urls = ";".join(f"http://{host}:{port}/cvmfs/@fqrn@" for host in hosts)
        more = f"CVMFS_SERVER_URL='{urls}'\nCVMFS_USE_GEOAPI=yes\n"
        key = key_file(fixture_repository)
        with mounted(FQRN, url, key, tmp_path / "client", more) as mount:
            assert any(mount.iterdir())
            told = host_info(tmp_path / "client" / "cache")
    listed = re.findall(r"http://127\.0\.0\.(\d):", told)[:3]  # behind them is the one in use
    assert [int(each) for each in listed] == list(expected)


def host_info(cache: Path) -> str:
    """The client's servers, in the order in which it would use them."""
    (pipe,) = cache.rglob(f"cvmfs_io.{FQRN}")
    done = subprocess.run(
        ["cvmfs_talk", "-p", pipe, "host", "info"], capture_output=True, text=True, check=True
    )
    return done.stdout
