"""Options that several verbs share, and how coroutines are run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from mirror.config import DEFAULT_CONFIG, Settings, load_settings
from mirror.errors import ConfigError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

CONFIG_KEY: Final = "config"
_CONFIG_HELP: Final = f"Configuration file.  [default: {DEFAULT_CONFIG}]"


def config_option(function: F) -> F:
    """``--config FILE``, which may stand before the verb as well as behind it."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_remember_config,
        envvar="CVMFS_MIRROR_CONFIG",
        show_envvar=True,
        help=_CONFIG_HELP,
    )(function)


def json_option(function: F) -> F:
    """``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead, for machines."
    )(function)


def names_argument(function: F) -> F:
    """``[NAME]...``, completed from the configuration."""
    return click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=_complete_name)(
        function
    )


def config_path(context: click.Context) -> Path:
    """What ``--config`` said last, or the default."""
    path = context.find_root().meta.get(CONFIG_KEY)
    return path if isinstance(path, Path) else DEFAULT_CONFIG


def settings(context: click.Context) -> Settings:
    """The configuration.

    Raises:
        ConfigError: it is missing or wrong.
    """
    return load_settings(config_path(context))


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM, like Ctrl-C, cancels it, so that everything is cleaned up."""

    async def cancellable() -> T:
        task = asyncio.ensure_future(main)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return asyncio.run(cancellable())


def _remember_config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    is_said = context.get_parameter_source("config") is ParameterSource.COMMANDLINE
    if value is not None and (is_said or CONFIG_KEY not in context.find_root().meta):
        context.find_root().meta[CONFIG_KEY] = value


def _complete_name(
    context: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    try:
        configured = settings(context).replica
    except ConfigError:
        return []
    return [CompletionItem(each.name) for each in configured if each.name.startswith(incomplete)]
