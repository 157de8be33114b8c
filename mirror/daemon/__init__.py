"""Every replica fresh, by itself: what replaces cron, logrotate and a pager on a Stratum 1.

    rhythm      when to look at a repository again                    (pure)
    turns       who may fetch now, fairly
    keeper      one replica: look, fetch what is new, tell
    keeping     all of them, by APScheduler's clock
    replicating which are kept, as the configuration says
    situation   what is known of each replica, built from events
    group       mirrors behind one name, of which none goes back
    alarms      what somebody has to know                             (pure)
    advice      what to do about each kind of error                   (pure)
    status      the same as a document; status_model is its schema
    watching    keeps the alarms, tells of them, and tells systemd that we live
    giving      whether clients are given what we have; withholding knows the reasons why not
    information the lists that others read beside the repositories; listed writes them
    api         HTTP for operators and machines; answers and replicas are what its parts share
      health          is it alive, should clients come                (pure)
      push, tokens    somebody says that there is news, and may
      notifications   the message of a new revision                   (pure)
      hub, stream     whoever wants to hear of our flips
        telling           tells them, each revision in its turn
      servermon, probes   for those who monitor with cvmfs-servermon
        geo_question      what it asks of the geo API
    front       where the API listens; outward is all that others see of us
    subscriber  hears of other servers' flips; announced is all of them
    live        status as another process asks for it
    instance    one daemon for a spool directory
    sd_notify   what systemd wants to hear
    running     all of it, from the first client to the last

    clock ─► keeper ─► probe ─ news? ─► turn ─► snapshot ─► flip ─► notification
               ▲                                   │ events
    push ──────┘                                   ▼
                                               situation ─► alarms, status, metrics

Serving goes on in processes of its own, whatever happens here.
"""
