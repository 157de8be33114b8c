"""Options of ``run`` and ``check``: each goes before a key of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mirror.amounts import size_bytes
from proxy.config import DEFAULT_CONFIG, Settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])
_KEYS: Final = {
    "listen": ("proxy", "listen"),
    "upstream": ("proxy", "upstreams"),
    "cache_dir": ("cache", "directory"),
    "cache_size": ("cache", "size"),
    "memory": ("proxy", "memory"),
    "workers": ("proxy", "workers"),
}


class SizeType(click.ParamType[int]):
    """``10G``, ``10 GiB`` or ``1.5 GB``."""

    name = "size"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's protocol
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """As in the configuration."""
        try:
            return size_bytes(int(value) if str(value).isdecimal() else value)
        except ValueError:
            self.fail(f"{value!r} is no size; write it like 10G or '1.5 GB'", param, ctx)


def proxy_options(function: F) -> F:
    """All of them."""
    for each in reversed(_OPTIONS):
        function = each(function)
    return function


def settings(config: Path | None, said: dict[str, Any]) -> Settings:
    """The configuration, and what was said on the command line instead.

    Raises:
        ConfigError: something is wrong.
    """
    instead: dict[str, dict[str, Any]] = {}
    for name, value in said.items():
        if value not in (None, ()):
            table, key = _KEYS[name]
            instead.setdefault(table, {})[key] = list(value) if isinstance(value, tuple) else value
    return load_settings(config, instead)


_OPTIONS: Final = (
    click.option(
        "--config",
        "-c",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="CVMFS_PROXY_CONFIG",
        show_envvar=True,
        help=f"Configuration file.  [default: {DEFAULT_CONFIG}, if there is one]",
    ),
    click.option(
        "--listen",
        multiple=True,
        metavar="HOST:PORT",
        help="Where clients find it; may be given several times.  [default: 127.0.0.1:3128]",
    ),
    click.option(
        "--upstream",
        multiple=True,
        metavar="URL",
        help="A mirror, http://host:port; several are asked in this order.",
    ),
    click.option(
        "--cache-dir",
        type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
        metavar="DIR",
        help="Keep objects on this disk, too; they are there after a restart.",
    ),
    click.option("--cache-size", type=SizeType(), help="Of the disk at most.  [default: 10 GiB]"),
    click.option(
        "--memory", type=SizeType(), help="For objects, of all workers.  [default: 256 MiB]"
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 256),
        help="So many processes.  [default: one for each core]",
    ),
)
