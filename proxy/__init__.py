"""The caching proxy in front of mirrors: a mirror whose store is a cache.

    client ─► gate ─► shelf ─► memory ─► cache (disk) ─► flight ─► fetching ─► mirror
           (may it?) (what, whence)                    (one for all)

cli           ``cvmfs-proxy``: its verbs
config        TOML → settings; openness: what would be an open proxy
plan          settings → what the supervisor of workers follows
running       a worker: everything below, put together

gate          which clients may come in
refusals      methods that are not offered
destinations  which servers clients may name; guarded: which addresses these may have
lines         what a request line names
shelf         what there is, and where to get what there is not
roots         root files: for a minute, and old ones while nobody answers
relay         the Geo API; replies: its answers, kept by their URL
cache         the disk tier
reading       one look at the disk for everybody who asks meanwhile
flight        one object on its way, for everybody who asks meanwhile
stream        what clients read of it; arrived: what has come of it
fetching      which upstream is asked, and which one next
pool          connections to one upstream
siblings      the other workers of this host
"""
