"""The table [geo]: what it takes, and what it says of the rest."""

from __future__ import annotations

import json

import pytest

from mirror.config import parse_settings
from mirror.errors import ConfigError
from mirror.geo.options import GeoOptions
from mirror.serve_plan import serve_plan

GOOD = """
[geo]
databases = ["/var/lib/cvmfs-mirror/GeoLite2-City.mmdb"]
trusted_proxies = ["192.0.2.0/24", "2001:db8::1"]
[geo.locations]
"10.20.0.0/16" = [46.23, 6.05]
"s1.example.org" = [41, -88.25]
"""


def test_what_workers_are_told() -> None:
    """The same as in the file, through JSON."""
    settings = parse_settings(GOOD, "mirror.toml")
    about = json.loads(json.dumps(dict(serve_plan(settings).about)))
    options = GeoOptions.unpack(about["geo"])
    assert options == settings.geo.options
    assert options.locations["s1.example.org"] == (41.0, -88.25)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[geo]\ndatabases = ["city.mmdb"]', "geo.databases[1]"),
        ('[geo]\ntrusted_proxies = ["proxy.example.org"]', "geo.trusted_proxies[1]"),
        ('[geo.locations]\n"10.0.0.0/99" = [1, 2]', "10.0.0.0/99"),
        ('[geo.locations]\n"10.0.0.1/8" = [1, 2]', "write 10.0.0.0/8"),
        ('[geo.locations]\n"a b" = [1, 2]', "no host name"),
        ('[geo.locations]\n"a.org" = [91, 2]', "geo.locations.a.org"),
        ('[geo.locations]\n"a.org" = [1]', "geo.locations.a.org"),
        ("[geo]\ndatabase = []", "did you mean databases?"),
    ],
)
def test_problems_are_told(table: str, key: str) -> None:
    """With the key, or the fix."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(table, "mirror.toml")
    assert key in str(caught.value)
