"""Work shared among the workers of one host: each object is fetched by the one it belongs to.

    client ─► worker ─ not here, and not its own ─► the owner's socket ─► its cache, its one flight
                 ▲                                                                   │
                 └──────── streamed as it comes, verified again ◄────────────────────┘

Who owns an object follows from its name, so nobody has to be asked for that, and nothing has to be
agreed on. What comes in at a sibling's socket is never passed on to another sibling: there are no
loops, whoever is mistaken about who owns what. A sibling that cannot be asked is done without.

    words    what is said between siblings, and nowhere else
    line     connections to a sibling
    flight   what is on its way from one
    question one request to one of them
    asking   whom to ask, and what happens instead
    door     where siblings come in
    host     all of this, as a worker takes part
    shelf    what they are given
"""
