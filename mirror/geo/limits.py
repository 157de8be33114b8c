"""What a request may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeoLimits:
    """Limits of one worker process.

    Attributes:
        answer_s: after which there is an answer, whatever the resolver does.
        age_s: how long a name's location is used without asking again; the reference's.
        names: that are remembered; the reference's.
        look_up_s: after which a look-up counts as failed.
        look_ups: under way at once.
        look_ups_per_request: begun for one request.
        answers: that are remembered.
        answer_bytes: of one request that is remembered.
    """

    answer_s: float = 2.0
    age_s: float = 300.0
    names: int = 100_000
    look_up_s: float = 30.0
    look_ups: int = 128
    look_ups_per_request: int = 32
    answers: int = 16_384
    answer_bytes: int = 2048
