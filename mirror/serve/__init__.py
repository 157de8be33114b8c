"""HTTP for clients. Reads the trees, fetches nothing, trusts nothing anew.

What is answered:
    resources     which path names what, and with which headers it is answered (contract B.10)
    content       bodies, in memory or in files
    tree          the trees of all replicas, as answers: what is asked for often is at hand
    hot           a bounded map that keeps what is asked for again
    opening       opening files without waiting, where the kernel can
    root_files    the files that a new revision replaces, of one revision together
    ranges        parts of a body
    shelf         where answers come from: what a tree and a proxy's cache have in common

How a client gets it:
    gate          what all connections of a worker share, and the list of them
    connection    one client's connection: plain requests are answered here
    plain         headers that need no second look
    app           the aiohttp application, which answers everything else
    geo           the Geo API's way to clients
    offences      what a request must not be, beyond what aiohttp refuses itself
    forwarding    what the daemon answers, not the worker
    pass_through  what is not stored, from its Stratum 0
    writing       small answers, in one system call
    sending       large bodies, at the pace of the client
    acknowledged  what a client has taken
    limits        what it may take
    clock         the time, looked at a few times a second
    ledger        what was served: counted at once, told in pieces

What is told of it:
    counters      of all workers, in memory that they share with the supervisor
    access_log    written by a thread of its own
    log_settings  where it goes, as the configuration says it
    log_formats   what a line looks like
    log_escapes   what clients wrote, so that it breaks no line
    log_targets   files, standard output, the journal
    losses        lines that did not get into it

Who does it:
    running         one worker: listening sockets, a gate, and an orderly end
    worker_process  a worker as a process of its own
    worker_options  what it is told before it begins
    worker_handle   one worker process, as its supervisor sees it
    slot            the place of one worker: there is always one in it
    backoff         how long to wait before one that ended is started again
    workers         the supervisor
    doors           all its sockets
    listening       one address
    tls             a certificate and its key
    descriptors     how many files and connections may be open at once

What is served was verified before it was stored, so nothing here knows of upstream, trust or
replication.
"""
