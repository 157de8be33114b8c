"""Which server is nearest: the Geo API by which clients sort their servers (contract B.11).

    request    the path of a request, and what says who asks                (pure)
    location   where something is; what knows that for addresses
    table      networks, addresses and host names of the configuration
    mmdb       one database file: any schema with latitude and longitude
    search_tree  addresses that a database has something to tell about
    databases  several of them, reloaded when they change; a damaged one is refused
    atlas      the table, then the databases
    naming     which texts are worth a look-up                              (pure)
    names      host names to locations: cached, bounded, never waited for long
    resolver   the system's resolver, off the event loop
    options    what the operator says of places
    limits     what a request may take
    ordering   servers by their distance                                    (pure)
    answering  from a request to the reply
    setting_up all of it, from the configuration
    explaining why an order came out
    fetching   a new database: fetched, checked, and put in place whole
    web        the way to a server that has one

    path, headers ─► request ─► names ─► resolver          known at once, or waited for a little
                                  │
                                  ▼
                       atlas ─► ordering ─► reply

A database makes the order right, but none is needed for an answer. How requests come
is not known here.
"""
