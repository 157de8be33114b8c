"""The format: bytes in, values out. No network, no clock, no store.

What is on the wire, and where it is read. B.n are the sections of the contract we keep to in
``docs/contract.md``.

    on the wire               module            section
    ------------------------  ----------------  -------
    fully qualified name      fqrn              B.6
    ``data/ab/cdef…C``        content_hash,     B.5
                              paths
    stored bytes              compression       B.5
    text, ``--``, signature   letter            B.2
    ``.cvmfspublished``       manifest          B.1
    ``.cvmfswhitelist``       whitelist         B.4
    object …X                 certificate       B.2
    /etc/cvmfs/blacklist      blacklist         B.3
    object …C                 catalog           B.7
    object …H                 history           B.8
    ``.cvmfsreflog``          reflog            B.9
    object …M                 meta_info         B.6
    all three SQLite kinds    database          B.7

Everything here comes from outside and is read with a limit: see `limits`. Whatever is wrong with
it is a `FormatError` that names the file and the field, and never any other exception.
"""
