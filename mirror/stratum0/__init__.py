"""A small Stratum 0: a directory or a tarball becomes the next signed revision of a repository.

Needs the publisher's keys and a place to write; no root, no FUSE, no overlay. What comes out is
what ``cvmfs_server publish`` writes, so its clients, its check and its replication read it, and a
repository it began can be continued here.

    source         what is to be published: entries of a directory, of a tarball, or made up
    entry          one of them: a file, directory, link or special file
    tar_stream     tarballs that must be whole
    chunking       large contents cut where they say, as the reference cuts them
    packer         contents → staged objects, compressed and hashed
    workers        an ordered map over processes
    worker_process what one of them does
    packing        packers at work, and the account of what is new
    tree           the whole repository while it changes, in a temporary database
    loading        what is published now → tree
    rows           entries → rows of the tree
    nesting        where nested catalogs begin: markers, ``.cvmfsdirtab``, size
    mounts         where they begin in a tree
    markers        marks for those that nobody marked
    catalogs       trees → catalog files, children before parents
    catalog_rows   published catalogs read back as rows
    tags           the history: named revisions, and the automatic ones
    keys           the publisher's keys, and what they sign
    repository     one repository on disk: what is published now, and putting the next in its place
    publishing     the flow: source → tree → catalogs → signatures
    retagging      the published revision, signed again with other tags
    collection     garbage collection at the origin: plan, then sweep
    synthetic      a source made up from a seed, for tests and benchmarks
"""
