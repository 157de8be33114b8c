"""Every replica fresh, by itself: what replaces cron, logrotate and a pager on a Stratum 1.

    rhythm      when to look at a repository again                    (pure)
    turns       who may fetch now, fairly
    keeper      one replica: look, fetch what is new, tell
    keeping     all of them, by APScheduler's clock
    situation   what is known of each replica, built from events
    alarms      what somebody has to know                             (pure)
    status      the same as a document with a schema
    api         HTTP for operators and machines: status, push, notifications, health

    clock ─► keeper ─► probe ─ news? ─► turn ─► snapshot ─► flip ─► notification
               ▲                                   │ events
    push ──────┘                                   ▼
                                               situation ─► alarms, status, metrics

Serving goes on in processes of its own, whatever happens here.
"""
