"""What workers are told of the configuration."""

from __future__ import annotations

import json

from mirror.config import parse_settings
from mirror.serve.pass_through import Origin, origins
from mirror.serve_plan import serve_plan

CONFIG = """
[fetch]
proxy = "http://proxy:3128"
timeout_s = 5.0
[[replica]]
name = "stored.example.org"
stratum0 = "http://s0/stored"
keys = "/keys"
[[replica]]
name = "passed.example.org"
stratum0 = "http://s0/passed"
mirrors = ["http://s1/passed"]
ca_bundle = "/ca.pem"
pass_through = true
"""


def test_what_is_passed_through() -> None:
    """All its sources, and how to get there; and it can be told as JSON."""
    plan = serve_plan(parse_settings(CONFIG, "mirror.toml"))
    about = json.loads(json.dumps(dict(plan.about)))
    assert origins(about["pass_through"]) == {
        "passed.example.org": Origin(
            ["http://s0/passed", "http://s1/passed"], "http://proxy:3128", "/ca.pem", 5.0
        )
    }
