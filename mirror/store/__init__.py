"""Where bytes are kept: they become visible only by ``commit(expected hash)``.

base          the protocols `ObjectReader`, `ObjectStore`, `Upload`: the contract
local         files, in exactly the tree that cvmfs_server keeps
group_commit  many commits, one sync: durable before visible, without an fsync per file
threads       how blocking file work leaves the event loop
memory        the same promises in a dictionary: for tests, and the shortest explanation
"""
