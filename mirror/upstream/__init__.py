"""Where bytes come from.

    base          the protocol `Upstream`: one request, consumed once per attempt
    options       how to talk to servers
    answers       what an answer that is no success means
    client        which client asks: the quick one where it can, the general one where it must
    lean          the quick one
    connection    one connection of it, with several requests on their way
    bulk          many small objects from one server
    http          the general one: redirects, tunnels, credentials
    retrying      what is worth asking again; once past all caches when the hash is wrong
    retry_after   when a server in trouble wants to be asked again
    limited       how many requests are under way at once
    concurrency   the decision behind that: grow while it pays, shrink when it hurts
    paced         how many requests and bytes there are in a second
    pacing        the decision behind that: how long to wait
    schedule      the limits by time of day
    sources       several servers as one, each object from the best of them
    race          a second one is asked when the first is late
    scored        what a source does goes on the scoreboard
    scoring       the decision behind that: whom to ask
    track_record  what is known of one source, and when it is suspended

A wish that cuts across is a decorator of the same protocol, stacked in `mirror.wiring`.
"""
