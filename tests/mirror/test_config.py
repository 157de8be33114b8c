from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from mirror.config import load_settings, parse_settings
from mirror.errors import ConfigError
from mirror.serve.limits import ServeLimits
from mirror.serve_plan import serve_plan
from mirror.serve_settings import split_address
from mirror.upstream.schedule import Pace

REPLICA = """
[[replica]]
name = "software.example.org"
stratum0 = "http://stratum0.example.org/cvmfs/software.example.org/"
keys = "/etc/cvmfs/keys/example.org"
"""

WINDOW = """
[[fetch.window]]
from = "22:00"
to = "06:00"
bytes_per_s = 1
"""


def problems(text: str) -> tuple[str, ...]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "mirror.toml")
    return caught.value.problems


def test_the_shortest_useful_file() -> None:
    """A replica is all there must be; the rest has defaults that suit cvmfs_server's layout."""
    settings = parse_settings(REPLICA, "mirror.toml")
    assert settings.storage.path == Path("/srv/cvmfs")
    assert settings.storage.spool == Path("/var/spool/cvmfs")
    assert settings.serve.listen == ["127.0.0.1:8000"]
    assert settings.replica[0].stratum0.endswith("/software.example.org")


def test_all_problems_are_reported_at_once() -> None:
    """Each with the file, the key, the value and the fix."""
    found = problems(
        '[storage]\npath = "srv"\npaht = "/x"\n'
        '[serve]\nlisten = ["8000"]\n'
        "[fetch]\ntimeout_s = -1\nproxy = 'socks://x'\n"
        '[[replica]]\nname = "../etc"\nstratum0 = "ftp://x"\n' + REPLICA + REPLICA
    )
    assert [line.partition(": ")[2].partition(": ")[0] for line in found] == [
        "storage.path",
        "storage.paht",
        "serve.listen[1]",
        "fetch.timeout_s",
        "fetch.proxy",
        "replica[1].name",
        "replica[1].stratum0",
        "replica[1].keys",
        "replica",
    ]
    assert all(line.startswith("mirror.toml: ") for line in found)
    assert "mirror.toml: storage.paht: no such setting; did you mean path?" in found


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[storage", "not TOML"),
        ("nonsense = 1", "no such setting"),
        ("replica = 3", "replica"),
        ("[[replica]]\n", "replica[1].name: missing"),
        (REPLICA.replace("org/c", "org/?c"), "leave off"),
        (REPLICA + "mirrors = ['ftp://x']", "replica[1].mirrors[1]: 'ftp://x' is no URL"),
        (REPLICA + "mirrors = 'http://x/'", "replica[1].mirrors: "),
        (
            REPLICA + "mirrors = ['http://x/', 'http://x']",
            "replica[1].mirrors: http://x is a source already",
        ),
        (
            REPLICA + "mirrors = ['http://stratum0.example.org/cvmfs/software.example.org']",
            "is a source already; keep it once",
        ),
        ("[serve]\nlisten = []", "serve.listen"),
        ("[serve]\nlisten = ['::1:80']", "[::]:8000"),
        ("[serve]\nworkers = 0", "serve.workers"),
        ("[serve]\nmemory = 'much'", "serve.memory: 'much' is no size"),
        ("[serve.limits]\nconections = 1", "serve.limits.conections: no such setting; did you"),
        ("[serve.limits]\nidle_s = 0", "serve.limits.idle_s"),
        ("[serve.tls]\ncertificate = '/c'\nkey = '/k'", "serve.tls.listen: missing"),
        ("[serve.tls]\nlisten = [':1']\nkey = 'k'", "serve.tls.key: 'k' is relative"),
        (
            "[serve.tls]\ncertificat = '/c'",
            "serve.tls.certificat: no such setting; did you mean ce",
        ),
        ("[snapshot]\npredecessor_days = 'three'", "snapshot.predecessor_days"),
        ("[snapshot]\nio_priority = 'idel'", "'idle'"),
        ("[storage]\nreserve = '1 GBit'", "storage.reserve: "),
        ("[fetch]\nbytes_per_s = 'fast'", '"50 MiB"'),
        ("[fetch]\nbytes_per_s = 0", "fetch.bytes_per_s"),
        ("[fetch]\nrequests_per_s = inf", "fetch.requests_per_s"),
        (WINDOW.replace("22:00", "ten"), "fetch.window[1].from: 'ten' is no time of day"),
        (
            WINDOW.replace("from", "form"),
            "fetch.window[1].form: no such setting; did you mean from",
        ),
        (WINDOW.replace("22:00", "06:00"), "fetch.window: [1] begins when it ends"),
        (WINDOW.replace("bytes_per_s = 1", ""), "fetch.window: [1] limits nothing"),
        (WINDOW + WINDOW.replace("22:00", "05:00"), "fetch.window: [1] and [2] overlap"),
    ],
)
def test_each_problem_says_what_to_do(text: str, word: str) -> None:
    """The message holds what one has to know to mend it."""
    assert any(word in line for line in problems(text))


def test_stratum_0_is_the_first_source() -> None:
    """Then the mirrors, in their order; without any it is the only one."""
    (alone,) = parse_settings(REPLICA, "mirror.toml").replica
    assert alone.sources == (alone.stratum0,)
    mirrors = 'mirrors = ["http://one/x/", "https://two/x"]'
    (replica,) = parse_settings(REPLICA + mirrors, "mirror.toml").replica
    assert replica.sources == (alone.stratum0, "http://one/x", "https://two/x")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:8000", ("::1", 8000)),
        (":8000", ("", 8000)),
        ("*:8000", ("", 8000)),
        ("mirror.example.org:0", ("mirror.example.org", 0)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Host and port, IPv6 in brackets, nothing or a star for every interface."""
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", "8000", "host:", "host:x", "::1:80", "host:70000"])
def test_no_addresses(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError):
        split_address(text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a directory, not UTF-8: a ConfigError that names the file."""
    (tmp_path / "latin").write_bytes(b"\xff")
    for name in ("missing", ".", "latin"):
        with pytest.raises(ConfigError, match=str(tmp_path)):
            load_settings(tmp_path / name)


def test_limits_by_the_hour() -> None:
    """In sum and for each server; a window changes what it states, and nothing else."""
    limits = "[fetch]\nrequests_per_s = 7\nsource_bytes_per_s = '1 kB'\n"
    fetch = parse_settings(limits + WINDOW, "mirror.toml").fetch
    assert fetch.total_schedule.pace_at(time(12)) == Pace(7, None)
    assert fetch.total_schedule.pace_at(time(23)) == Pace(7, 1)
    assert fetch.source_schedule.pace_at(time(12)) == Pace(None, 1000)
    assert fetch.source_schedule.pace_at(time(23)) == Pace(None, 1000)


def test_nothing_is_limited_unless_asked() -> None:
    """But a reserve of the disk is kept, the smaller of a hundredth and 10 GiB."""
    settings = parse_settings("", "mirror.toml")
    assert not settings.fetch.total_schedule.is_limited
    assert not settings.fetch.source_schedule.is_limited
    assert settings.storage.reserve.of(100 * 2**30) == 2**30
    assert settings.storage.reserve.of(10**15) == 10 * 2**30


def test_what_clients_may_take_has_one_set_of_defaults() -> None:
    """The serving core's; and every limit can be set."""
    limits = parse_settings("", "mirror.toml").serve.limits
    assert limits.limits == ServeLimits()
    changed = parse_settings("[serve.limits]\nidle_s = 5\ndrain_s = 0", "mirror.toml")
    assert changed.serve.limits.limits == ServeLimits(idle_s=5, drain_s=0)


def test_memory_is_shared_by_the_workers() -> None:
    """So much in sum, however many there are; and the command line has the last word."""
    text = "[serve]\nworkers = 4\nmemory = '400 MiB'\nlisten = [':1']"
    settings = parse_settings(text, "mirror.toml")
    plan = serve_plan(settings)
    assert (plan.workers, plan.listen) == (4, (("", 1),))
    assert plan.about["room"]["memory_bytes"] == 100 * 2**20
    plan = serve_plan(settings, [("::1", 2)], 1)
    assert (plan.workers, plan.listen) == (1, (("::1", 2),))
    assert plan.about["room"]["memory_bytes"] == 400 * 2**20


def test_selecting_replicas() -> None:
    """By name, each once, in the order asked; an unknown one is a problem with a hint."""
    two = REPLICA + REPLICA.replace("software.", "data.")
    settings = parse_settings(two, "mirror.toml")
    names = [each.name for each in settings.select(("data.example.org", "data.example.org"))]
    assert names == ["data.example.org"]
    assert len(settings.select(())) == 2
    with pytest.raises(ConfigError, match=r"did you mean data\.example\.org"):
        settings.select(("dat.example.org",))
    with pytest.raises(ConfigError, match="add-replica"):
        parse_settings("", "mirror.toml").select(())


def test_the_reference_at_the_top_of_the_module_is_valid() -> None:
    """The annotated example names every setting there is."""
    import mirror.config  # noqa: PLC0415

    example = (mirror.config.__doc__ or "").partition("\n\n")[2].replace("…", "http://p:1")
    settings = parse_settings(example.replace("\n    ", "\n"), "docstring")
    for table in settings.model_fields_set - {"replica", "follow"}:
        model = getattr(settings, table)
        assert model.model_fields_set == set(type(model).model_fields)
