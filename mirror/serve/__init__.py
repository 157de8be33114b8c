"""HTTP for clients. Reads the trees, fetches nothing, trusts nothing anew.

    resources     which path names what, and with which headers it is answered (contract B.10)
    app           the aiohttp application
    running       listening on addresses until told to stop

What is served was verified before it was stored, so nothing here knows of upstream, trust or
replication.
"""
