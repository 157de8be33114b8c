"""Every replica fresh, by itself: what replaces cron, logrotate and a pager on a Stratum 1.

    rhythm      when to look at a repository again                    (pure)
    turns       who may fetch now, fairly
    keeper      one replica: look, fetch what is new, tell
    keeping     all of them, by APScheduler's clock
    situation   what is known of each replica, built from events
    group       mirrors behind one name, of which none goes back
    alarms      what somebody has to know                             (pure)
    advice      what to do about each kind of error                   (pure)
    status      the same as a document; status_model is its schema
    information the lists that others read beside the repositories
    api         HTTP for operators and machines; answers and replicas are what its parts share
      health          is it alive, should clients come                (pure)
      push, tokens    somebody says that there is news, and may
      notifications   the message of a new revision                   (pure)
      hub, stream     whoever wants to hear of our flips
      servermon, probes   for those who monitor with cvmfs-servermon
    subscriber  hears of other servers' flips
    live        status as another process asks for it

    clock ─► keeper ─► probe ─ news? ─► turn ─► snapshot ─► flip ─► notification
               ▲                                   │ events
    push ──────┘                                   ▼
                                               situation ─► alarms, status, metrics

Serving goes on in processes of its own, whatever happens here.
"""
