"""What to fetch, in which order, and when to say so.

Two laws rule this room, and every replica ever made by cvmfs_server obeys them too:

1. **Children before parents.** A catalog is committed only after all its objects and all its
   nested catalogs are. Hence the presence of a catalog proves that its whole tree is present, and
   a run may skip every catalog that it finds.
2. **Root files last.** Certificate, meta info, history, reflog, alternative paths, whitelist,
   manifest. Until the manifest is replaced, clients see the old, complete revision.

snapshot      `SnapshotRun`: one attempt to bring one replica to the current revision
survey        which source has the newest revision that may be believed
origin        what it asks for beside the trees: root files, certificate, history, meta info
meanwhile     what is needed later is begun now
walk          the tree of catalogs as one pipeline: everything in flight together
room          how much of it at once
graph         the decisions of the walk: what is next, what may be committed now
catalog_file  a stored catalog, unpacked and opened
transfer      one object from upstream into the store, believed only when its hash is right
fetching      what the walk does at each step of a snapshot
served_tree   what we serve, to compare new catalogs with
bulk          its quicker way for small objects: fetched by lanes, committed by us
coalescing    small calls that come close together become one
spread        which source each part of a bulk transfer comes from
lanes         the processes that do so, seen from their parent
lane          what one of them does
lane_options  what it needs to know
lane_process  the same as a process of its own
repairing     the same, but believing nothing that is in the store
tallying      what it does in a dry run
hash_set      content hashes seen, however many
publication   the second law
reflog_file   the reflog and its checksum, kept in step
replica       one replica as configured: what runs, checks and status start from
lock          one writer per replica, cvmfs_server included
state         what we tell the world about snapshots
"""
