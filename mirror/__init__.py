"""A CernVM-FS Stratum 1 mirror: the rooms, in the order in which the data flows.

Stratum 0 ─► upstream ─► trust ─► replication ─► store ─► serve ─► proxy ─► client

cvmfs         The format: what manifests, whitelists, catalogs and hashes look like.
upstream      Where bytes come from: HTTP with time-outs, retries, limits.
trust         Who may say so: signatures, whitelist, certificate, no step back.
store         Where bytes are kept: they become visible only by commit(expected hash).
replication   What to fetch and in which order: one `SnapshotRun` is one attempt.
upkeep        Keeping it sound: `check`.
serve         HTTP for clients; reads the store, fetches nothing.
geo           Which server is nearest: the Geo API, its databases and names.
stratum0      A small publisher: a directory or a tarball becomes a signed revision.
handover      To and from ``cvmfs_server``: its files, read and written, never run.
following     Replicas in step with another server's list of them.
demo          The main job on one machine in a minute.

events        Facts that the rooms emit; progress bars and metrics listen.
errors        What can go wrong, by what the operator must do about it.
priority      How much fetching gives way to serving.
config        The settings, from one TOML file.
wiring        Where all of the above is put together; the only module that knows everyone.
cli           ``cvmfs-mirror``.
"""

__version__ = "0.1.0"
