"""The proxy's configuration: all problems at once, and never an open proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.errors import ConfigError
from proxy.config import load_settings, merged, parse_settings
from proxy.openness import is_anything
from proxy.plan import proxy_plan
from proxy.running import ProxyOptions

MIRROR = '[proxy]\nupstreams = ["http://mirror:8000"]\n'


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as raised:
        parse_settings(text, "proxy.toml")
    return list(raised.value.problems)


def test_a_mirror_is_all_it_needs() -> None:
    """Everything else has a default, and the default lets in nobody from outside."""
    settings = parse_settings(MIRROR, "proxy.toml")
    assert settings.proxy.listen == ["127.0.0.1:3128"]
    assert "10.0.0.0/8" in settings.access.clients
    assert "0.0.0.0/0" not in settings.access.clients
    assert settings.access.hosts == []


def test_all_problems_are_told_at_once() -> None:
    """Each with its key and the fix."""
    found = problems(
        '[proxy]\nlisten = ["x"]\nupstreams = ["http://mirror/deep", "mirror:8000"]\nworker = 2\n'
        'memory = "5 apples"\n[cache]\ndirectory = "here"\nsize = "1 MiB"\n'
        '[access]\nclients = ["10.0.0.1/8"]\nports = [22]\nservers = ["mirror"]\n'
        'hosts = ["127.1"]\n'
    )
    text = "\n".join(found)
    assert len(found) == 11
    for part in (
        "proxy.listen[1]: 'x' is no address; write host:port",
        "proxy.upstreams[1]: 'http://mirror/deep' goes too far; write http://host:port",
        "proxy.upstreams[2]: 'mirror:8000' is no URL",
        "proxy.worker: no such setting; did you mean workers?",
        "proxy.memory: '5 apples' is no size",
        "cache.directory: 'here' is relative",
        "cache.size: input should be greater than or equal to 67108864",
        "access.clients[1]: '10.0.0.1/8' is no network",
        "access.ports[1]: 22 belongs to another service",
        "access.servers[1]: 'mirror' is no server; write mirror.example.org:8000",
        "access.hosts[1]: '127.1' is no name",
    ):
        assert part in text


def test_somebody_has_to_be_asked() -> None:
    """Neither upstreams nor hosts is a mistake."""
    (problem,) = problems("")
    assert "add a mirror: --upstream http://mirror:8000" in problem


@pytest.mark.parametrize(
    ("listen", "upstream"),
    [
        ("127.0.0.1:3128", "http://127.0.0.1:3128"),
        ("*:3128", "http://127.0.0.2:3128"),
        ("0.0.0.0:80", "http://127.0.0.1"),
    ],
)
def test_it_does_not_ask_itself(listen: str, upstream: str) -> None:
    """That would go round and round."""
    (problem,) = problems(f'[proxy]\nlisten = ["{listen}"]\nupstreams = ["{upstream}"]\n')
    assert "is this proxy itself; name the mirror" in problem


@pytest.mark.parametrize("clients", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "203.0.113.0/24", "8.8.8.8"])
@pytest.mark.parametrize("hosts", ["*", "*.*", "*.org", "*org", "mirror*", "*example.org", "**"])
def test_an_open_proxy_is_refused(clients: str, hosts: str) -> None:
    """Anybody who may go anywhere; it says why."""
    (problem,) = problems(
        f'{MIRROR}[access]\nclients = ["10.0.0.0/8", "{clients}"]\nhosts = ["{hosts}"]\n'
    )
    assert "together that is an open proxy" in problem
    assert f'"{hosts}"' in problem


@pytest.mark.parametrize(
    ("clients", "hosts"),
    [
        ("10.0.0.0/8", "*"),
        ("fd00::/8", "*.org"),
        ("0.0.0.0/0", "*.example.org"),
        ("0.0.0.0/0", "mirror.example.org"),
        ("::/0", "cvmfs*.example.org"),
    ],
)
def test_either_may_be_wide(clients: str, hosts: str) -> None:
    """A site's own clients, or the mirrors of one owner."""
    parse_settings(f'[access]\nclients = ["{clients}"]\nhosts = ["{hosts}"]\n', "proxy.toml")


def test_what_is_anything() -> None:
    """What leaves no domain of one owner."""
    assert all(map(is_anything, ("*", "*.", "a*", "*.org", "*.org.", "a.*", "*..", "*x.org")))
    assert not any(map(is_anything, ("a.org", "*.a.org", "s1*.a.org", "*x.a.org")))


def test_the_command_line_goes_first(tmp_path: Path) -> None:
    """Key by key; what it does not say the file says."""
    path = tmp_path / "proxy.toml"
    path.write_text(f'{MIRROR}workers = 2\n[cache]\nsize = "1 GiB"\n')
    settings = load_settings(path, {"proxy": {"workers": 3}, "cache": {"directory": "/x"}})
    assert settings.proxy.workers == 3
    assert settings.proxy.upstreams == ["http://mirror:8000"]
    assert settings.cache.size == 1024**3
    assert merged({"proxy": "no table"}, {"proxy": {"workers": 3}}) == {"proxy": "no table"}


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    """The default one need not."""
    with pytest.raises(ConfigError, match="no such file; name yours with --config"):
        load_settings(tmp_path / "none.toml", {})


def test_workers_share_what_is_configured() -> None:
    """Memory is of all of them together; the rest is told to each."""
    settings = parse_settings(
        '[proxy]\nupstreams = ["http://mirror:8000/cvmfs/"]\nworkers = 4\nmemory = "1 GiB"\n'
        '[cache]\ndirectory = "/var/cache/p"\n[access]\nservers = ["Mirror2:8000"]\n'
        "[stale]\nroot_files_s = 5\n",
        "proxy.toml",
    )
    plan = proxy_plan(settings)
    about = ProxyOptions.unpack(dict(plan.about))
    assert plan.workers == 4
    assert plan.listen == (("127.0.0.1", 3128),)
    assert about.memory_bytes == 256 * 1024**2
    assert about.upstreams == ["http://mirror:8000"]
    assert about.servers == ["mirror2:8000"]
    assert about.stale_s == 5
