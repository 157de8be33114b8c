"""What the tests are made with: things that behave, under their own names, and no mocks.

keys        master key, publisher key and certificate; how letters are signed
databases   catalogs and histories as SQLite files of every schema, and ways to spoil them
publisher   a whole signed repository in memory, which a test publishes to and tampers with
fixture     the repository that the real publisher made
trees       contents of repositories: small, and with everything that replication has to see to
everything  a directory with everything a file system can hold, and what a client sees of it
origin      a repository that our own publisher keeps
recorded    published trees taken apart, row by row, and the directory they came from
simulated   a Stratum 0 without a network, which remembers what it was asked for
servers     servers in the loop of the test itself: well-behaved, raw, or with TLS
faults      whatever goes wrong on the way
watched     a store of which somebody sees every operation: records, is full, is killed
disks       real disks that are full
clock       time that passes only when somebody sleeps
loops       running coroutines from plain functions, and stopping them at any moment
replicas    a replica beside the Stratum 0 that it follows, both to hand
"""
