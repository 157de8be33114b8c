"""The main job on one machine in a minute: ``cvmfs-mirror demo``.

    stratum0      a real repository, published by the real tools, revision after revision
    tour          what is shown, step by step
    behind        the last step: a proxy in front of the mirror

The archive beside this file holds eight revisions as ``cvmfs_server`` 2.12.0 left them on its disk,
and the public master key. Its whitelist is valid for a hundred years.
"""
