"""N mirrors behind one name: none gives clients what is older than what another one gave them.

    council    who is a majority                                              (pure)
    message    what members tell each other                                   (pure)
    member     what one member knows, and whether it may serve                (pure)
    flip       when a new revision may come before clients                    (pure)
    group      one member at work: exchanges, keeps floors, lends permission
    floors     what a member must never forget, on the disk
    permits    permission for those who serve, as notes in the trees
    links      the way to the other members, by HTTP
    endpoint   their way to us; and for people, how the group is
    set_up     all of it from the configuration

    run ─ all is fetched ─► flip: others ready? ─► floor ─► majority, leases ─► root files
                                      ▲              │
    links, endpoint ─► member ────────┘              ▼
                          └────► permits        floors on the disk

Why that is safe is written in docs/decisions.
"""
