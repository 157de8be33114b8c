"""``cvmfs-proxy``.

main            entry point, the group of verbs
run             the proxy, in the foreground
report          what it did, in a line
check           whether a configuration is right
completion      the completion script of a shell
"""

from mirror.cli.importing import importing

with importing():
    from proxy.cli.main import main

__all__ = ["main"]
