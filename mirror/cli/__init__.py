"""``cvmfs-mirror``: one file per verb, one table from errors to exit codes.

main            entry point, the group of verbs
door            errors → lines and exit codes, for every program
importing       how that starts quickly
exit_codes      that table
options         options that several verbs share, and how coroutines are run
origin_options  the same for the verbs of a Stratum 0
progress        live bars on a terminal, plain lines elsewhere
bar             the live bar
counts          what the events of a run add up to
passing         repositories of which nothing is stored
tables          how tables are shown
status_live     what a daemon says of itself
output          how bytes, times and results are shown
…               the verbs of a mirror: add_replica, import_replicas, follow,
                export_replicas, snapshot, status, check, serve, demo,
                completion; and those of a Stratum 0: publish, tag, collect, resign
"""

from mirror.cli.importing import importing

with importing():
    from mirror.cli.main import main

__all__ = ["main"]
