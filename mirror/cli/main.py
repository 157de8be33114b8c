"""Entry point and the group of verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Final, NoReturn

import click

from mirror.cli.door import Door
from mirror.cli.importing import importing
from mirror.cli.options import config_option

_VERBS: Final = MappingProxyType(
    {
        "add-replica": "add_replica",
        "import": "import_replicas",
        "follow": "follow",
        "export": "export_replicas",
        "snapshot": "snapshot",
        "status": "status",
        "check": "check",
        "serve": "serve",
        "run": "run",
        "demo": "demo",
        "publish": "publish",
        "tag": "tag",
        "collect": "collect",
        "resign": "resign",
        "geo": "geo",
        "completion": "completion",
    }
)
_DOOR: Final = Door("cvmfs-mirror", "CVMFS_MIRROR_DEBUG")

_EPILOG: Final = """\b
Exit codes:
  0  done
  2  usage or configuration
  3  upstream: Stratum 0 did not deliver
  4  trust: a signature, a name, a date or a format is wrong; look before you retry
  5  store: full, locked or not writable
  6  check found damage

\b
A first replica:
  cvmfs-mirror add-replica software.example.org \\
      http://stratum0.example.org/cvmfs/software.example.org /etc/cvmfs/keys/example.org
  cvmfs-mirror snapshot
  cvmfs-mirror serve
"""


class Verbs(click.Group):
    """Imports a verb's module when the verb is called, or all for --help: start-up stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's protocol
        """In the order in which a newcomer meets them."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's protocol
        """A verb by its name."""
        module = _VERBS.get(cmd_name)
        if module is None:
            return None
        with importing():
            found = import_module(f"mirror.cli.{module}").command
        return found if isinstance(found, click.Command) else None


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package_name="cvmfs-stratum1", prog_name="cvmfs-mirror")
@config_option
def commands() -> None:
    """Replicate CernVM-FS repositories from Stratum 0, verified, and serve them.

    A replica lies in exactly the tree that cvmfs_server keeps, so an existing one is adopted where
    it is, and can be handed back.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code, and shows no traceback to anybody."""
    return _DOOR.run(commands, arguments)
