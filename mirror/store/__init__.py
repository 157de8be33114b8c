"""Where bytes are kept: they become visible only by ``commit(expected hash)``.

base          the protocols `ObjectReader`, `ObjectStore`, `Upload`: the contract
local         files, in exactly the tree that cvmfs_server keeps
local_upload  an object on its way into one
staging       objects of a publisher, which several processes write and one reveals
group_commit  many commits, one sync: durable before visible, without an fsync per file
reserve       stop before the disk is full
page_cache    written pages that nobody will ask for soon make room
withheld      the note that keeps a manifest from clients, at once or from a moment on
threads       how blocking file work leaves the event loop
syncfs        the system call that makes a whole file system durable
file_errors   the operating system's errors, turned into ours with the fix
memory        the same promises in a dictionary: for tests, and the shortest explanation
"""
