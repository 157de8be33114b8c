"""``cvmfs-mirror``: one file per verb, one table from errors to exit codes.

main          entry point, the group of verbs, errors → exit codes
options       options that several verbs share, and how coroutines are run
progress      live bars on a terminal, plain lines elsewhere
output        how bytes, times and results are shown
…             the verbs: add_replica, snapshot, status, check, serve, demo, completion
"""

from mirror.cli.main import main

__all__ = ["main"]
