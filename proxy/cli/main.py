"""Entry point and the group of verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from mirror.cli.door import Door
from proxy.cli.check import command as check
from proxy.cli.completion import command as completion
from proxy.cli.run import command as run_command

_DOOR: Final = Door("cvmfs-proxy", "CVMFS_PROXY_DEBUG", "stopped")
_EPILOG: Final = """\b
Exit codes:
  0  done
  2  usage or configuration

\b
A site's proxy, and clients that use it:
  cvmfs-proxy run --listen 0.0.0.0:3128 --upstream http://mirror.example.org:8000 \\
      --cache-dir /var/cache/cvmfs-proxy --cache-size 100G --memory 4G
  CVMFS_HTTP_PROXY="http://this-host:3128"    in /etc/cvmfs/default.local
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package_name="cvmfs-stratum1", prog_name="cvmfs-proxy")
def commands() -> None:
    """Cache CernVM-FS for a site: what its clients ask for comes from a mirror once.

    It stands where Squid stood. Every object is verified by its name before it is kept, and no
    client gets the end of one that is wrong.
    """


for _each in (run_command, check, completion):
    commands.add_command(_each)


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code, and shows no traceback to anybody."""
    return _DOOR.run(commands, arguments)
