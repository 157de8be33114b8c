"""Replicas kept in step with another server's list of them.

    listing     ``repositories.json`` of another server → names, as little of it as is needed
    reading     fetching it
    plan        what is to be added and removed   (pure)
    described   an entry of the list → a ``[[replica]]``, with the keys that fit its name

A list is signed by nobody. What it can do is to propose: only what the operator's patterns let in
and the operator's keys vouch for is added, and only what came from it is removed.
"""
