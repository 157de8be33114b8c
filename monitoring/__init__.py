"""Metrics, dashboards and alerts: listens to the events of `mirror` and `proxy`."""
