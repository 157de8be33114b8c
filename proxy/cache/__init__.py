"""Where a proxy keeps objects: bytes in segments, found by an index, lost without regret.

    name ─► partition ─► index (memory-mapped) ─► segment, offset, length ─► bytes ─► verified

Everything here may be wrong, cut short or gone: an object's name proves its bytes, so whatever is
read is verified before it counts, and what does not match is a miss. That is why nothing is ever
synced, nothing is scanned at start, and a kill costs at most what was not yet written.

    index       which names are where: 20 bytes for each, shared by all workers of a host
    segments    files that are filled from front to end
    ring        which of them is filled next: the oldest
    partition   one index and two rings: newcomers, and what was asked for again
    disk        all partitions of a cache directory
"""
