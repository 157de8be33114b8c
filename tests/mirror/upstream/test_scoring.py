from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.scoring import Scoreboard
from mirror.upstream.track_record import Condition, Delivery, Fault, ScoringPolicy

QUICK = Delivery(0.02, 0.01, 64 * 1024)
SLOW = Delivery(0.5, 1.0, 64 * 1024)


def delivered(
    board: Scoreboard, index: int, delivery: Delivery = QUICK, now_s: float = 0.0
) -> bool:
    """One request that went well."""
    board.begin(index)
    return board.record_success(index, now_s, delivery)


def failed(
    board: Scoreboard, index: int, fault: Fault = Fault.FAILED, now_s: float = 0.0
) -> float | None:
    """One request that did not."""
    board.begin(index)
    return board.record_failure(index, now_s, fault)


def known(*deliveries: Delivery, reserve: int | None = None) -> Scoreboard:
    """A board on which each source delivered like that, often enough to be known."""
    board = Scoreboard(len(deliveries), reserve=reserve)
    for index, delivery in enumerate(deliveries):
        for _ in range(10):
            delivered(board, index, delivery)
    return board


def handed_out(board: Scoreboard, count: int, now_s: float = 0.0) -> list[int]:
    """Where so many requests go that are all under way at once."""
    counts = [0] * len(board.shares(now_s))
    for _ in range(count):
        index = board.choose(now_s)
        assert index is not None
        board.begin(index)
        counts[index] += 1
    return counts


# --- whom to ask ----------------------------------------------------------------------------------


def test_the_better_one_is_asked() -> None:
    """One request goes to the one with the lowest latency."""
    assert known(SLOW, QUICK).choose(0.0) == 1


def test_many_requests_are_shared_by_merit() -> None:
    """The good one gets most of them, the other what fits it."""
    slow, quick = handed_out(known(Delivery(0.08, 0, 1), Delivery(0.02, 0, 1)), 100)
    assert slow == pytest.approx(25, abs=2)
    assert quick == pytest.approx(75, abs=2)


def test_rate_counts_as_latency_does() -> None:
    """A narrow line is as bad as a long one."""
    narrow = Delivery(0.01, 1.0, 64 * 1024)
    assert known(narrow, Delivery(0.2, 0.01, 64 * 1024)).choose(0.0) == 1


def test_one_that_hangs_gets_no_more() -> None:
    """Requests that do not come back speak against a source though no clock has run out."""
    board = known(QUICK, QUICK)
    for _ in range(50):
        board.begin(0)
    assert handed_out(board, 50) == [0, 50]


def test_who_is_excluded_is_not_asked() -> None:
    """The next best is, and in the end nobody."""
    board = known(SLOW, QUICK)
    assert board.choose(0.0, {1}) == 0
    assert board.choose(0.0, {0, 1}) is None


def test_one_that_lacks_much_is_asked_less() -> None:
    """What has to be asked for elsewhere all the same is no bargain, but no failure either."""
    board = known(QUICK, QUICK)
    for _ in range(100):
        assert failed(board, 0, Fault.LACKING) is None
    assert handed_out(board, 100)[0] <= 5
    assert board.ranking(0.0)[1].condition is Condition.GOOD


def test_what_is_known_fades() -> None:
    """One that was slow is tried again when nobody has asked it for long."""
    board = known(QUICK, SLOW)
    assert handed_out(board, 20, 0.0)[1] <= 1
    later = known(QUICK, SLOW)
    delivered(later, 0, now_s=300.0)
    assert handed_out(later, 20, 300.0)[1] == 10


def test_shares_add_up() -> None:
    """And go by merit; nobody suspended has one."""
    board = known(QUICK, SLOW, QUICK)
    failed(board, 2, Fault.LIED)
    shares = board.shares(0.0)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] > 0.9
    assert shares[2] == 0.0


# --- the reserve ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stratum0", "mirror", "spared"),
    [
        (QUICK, QUICK, True),
        (QUICK, Delivery(0.06, 0.03, 64 * 1024), True),
        (QUICK, Delivery(0.5, 0.3, 64 * 1024), True),
        (QUICK, SLOW, False),
        (SLOW, SLOW, True),
    ],
)
def test_stratum_0_is_spared_while_a_mirror_is_good(
    stratum0: Delivery, mirror: Delivery, *, spared: bool
) -> None:
    """Good is what is not bad in itself, or not much worse than Stratum 0."""
    counts = handed_out(known(stratum0, mirror, reserve=0), 100)
    assert (counts[0] == 0) is spared


def test_a_mirror_that_lacks_most_does_not_spare_stratum_0() -> None:
    """Asking it first would cost time and bring little; later on it is tried again."""
    board = known(QUICK, QUICK, reserve=0)
    for _ in range(30):
        failed(board, 1, Fault.LACKING)
    assert board.choose(0.0) == 0
    assert board.choose(300.0) == 1


def test_stratum_0_is_spared_before_anything_is_known() -> None:
    """Mirrors are tried first."""
    assert handed_out(Scoreboard(3, reserve=0), 10) == [0, 5, 5]


def test_stratum_0_is_asked_when_the_mirrors_were() -> None:
    """For what they did not deliver."""
    assert Scoreboard(3, reserve=0).choose(0.0, {1, 2}) == 0


def test_stratum_0_is_asked_while_mirrors_are_suspended() -> None:
    """And they are probed when their time has come."""
    board = Scoreboard(2, reserve=0)
    failed(board, 1, Fault.LIED)
    assert board.choose(0.0) == 0
    assert board.choose(60.0) == 1


def test_the_only_source_is_no_reserve() -> None:
    """Stratum 0 alone is asked for everything."""
    assert Scoreboard(1, reserve=0).choose(0.0) == 0


# --- suspension -----------------------------------------------------------------------------------


def test_failures_in_a_row_suspend() -> None:
    """The third one does."""
    board = Scoreboard(2)
    assert [failed(board, 0) for _ in range(3)] == [None, None, 5.0]
    assert handed_out(board, 10) == [0, 10]


def test_an_answer_in_between_is_a_new_beginning() -> None:
    """Be it that something is not there."""
    board = Scoreboard(2)
    for fault in (Fault.FAILED, Fault.FAILED, Fault.LACKING, Fault.FAILED, Fault.FAILED):
        assert failed(board, 0, fault) is None


def test_failing_too_often_suspends_too() -> None:
    """Though it is never three times in a row."""
    board = Scoreboard(2)
    pauses = []
    for _ in range(30):
        pauses += [failed(board, 0), failed(board, 0)]
        delivered(board, 0)
    assert any(pauses)


def test_after_the_pause_one_request_probes_it() -> None:
    """One and no more, until that has ended."""
    board = known(QUICK, QUICK)
    for _ in range(3):
        failed(board, 0)
    assert board.choose(4.9) == 1
    assert board.choose(5.0) == 0
    board.begin(0)
    assert board.ranking(5.0)[1].condition is Condition.ON_PROBATION
    assert board.choose(5.0) == 1
    assert board.record_success(0, 5.1, QUICK) is True
    assert board.ranking(5.1)[0].condition is Condition.GOOD


def test_a_failed_probe_doubles_the_pause() -> None:
    """Up to a limit."""
    board, now_s = Scoreboard(2), 0.0
    failed(board, 0)
    failed(board, 0)
    pauses = []
    for _ in range(8):
        pause_s = failed(board, 0, now_s=now_s)
        assert pause_s is not None
        pauses.append(pause_s)
        now_s += pause_s
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_one_that_proves_itself_is_forgiven() -> None:
    """After many good answers a suspension is a first one again; after a few it is not."""
    for answers, pause_s in ((5, 10.0), (30, 5.0)):
        board = Scoreboard(2)
        for _ in range(3):
            failed(board, 0)
        for _ in range(answers):
            delivered(board, 0, now_s=5.0)
        assert [failed(board, 0, now_s=5.0) for _ in range(3)] == [None, None, pause_s]


def test_what_was_under_way_when_it_was_suspended_is_no_news() -> None:
    """Ten requests that fail together are one suspension."""
    board = Scoreboard(2)
    for _ in range(10):
        board.begin(0)
    pauses = [board.record_failure(0, 0.0, Fault.FAILED) for _ in range(10)]
    assert [pause_s for pause_s in pauses if pause_s] == [5.0]


def test_a_cancelled_probe_is_made_again() -> None:
    """It proved nothing."""
    board = known(QUICK, QUICK)
    for _ in range(3):
        failed(board, 0)
    board.begin(0)
    board.release(0)
    assert board.choose(5.0) == 0


def test_wrong_bytes_suspend_at_once_and_longer_each_time() -> None:
    """And right ones in between change nothing."""
    board, now_s, pauses = Scoreboard(2), 0.0, []
    for _ in range(8):
        pause_s = failed(board, 0, Fault.LIED, now_s)
        assert pause_s is not None
        assert delivered(board, 0, now_s=now_s) is False
        assert board.choose(now_s + pause_s - 1) == 1
        pauses.append(pause_s)
        now_s += pause_s
        assert delivered(board, 0, now_s=now_s) is True
    assert pauses == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]


def test_lies_found_together_are_one_suspension() -> None:
    """What was under way when the first one was found may be as wrong."""
    board = Scoreboard(2)
    assert [failed(board, 0, Fault.LIED, float(second)) for second in range(3)] == [60, None, None]
    assert board.choose(60.0) == 0
    assert failed(board, 0, Fault.LIED, 60.0) == 120.0


def test_a_lie_may_be_found_after_the_delivery() -> None:
    """The success that was recorded does not help."""
    board = known(QUICK, QUICK)
    assert board.record_lie(0, 0.0) == 60.0
    assert board.choose(0.0) == 1
    assert board.ranking(0.0)[1].lies == 1


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    """At its first failure; but nobody gets an hour."""
    board = Scoreboard(2)
    board.begin(0)
    assert board.record_failure(0, 0.0, Fault.FAILED, 30.0) == 30.0
    assert board.choose(29.0) == 1
    assert board.choose(30.0) == 0
    board.begin(1)
    assert board.record_failure(1, 0.0, Fault.FAILED, 1e9) == 300.0


def test_stragglers_are_half_a_failure() -> None:
    """Six in a row suspend."""
    board = known(QUICK, QUICK)
    pauses = [board.record_straggler(0, 0.0) for _ in range(6)]
    assert pauses == [None] * 5 + [5.0]


def test_when_nobody_else_is_left_those_suspended_are_asked() -> None:
    """Rather one that failed than one that lied."""
    board = Scoreboard(2)
    failed(board, 0, Fault.LIED)
    for _ in range(3):
        failed(board, 1)
    assert board.choose(0.0) is None
    assert board.choose(0.0, even_suspended=True) == 1
    assert board.choose(0.0, {1}, even_suspended=True) == 0
    assert board.choose(0.0, {0, 1}, even_suspended=True) is None
    assert sum(board.shares(0.0)) == 0.0


def test_one_that_failed_and_delivers_all_the_same_is_good_again() -> None:
    """What was under way when it was suspended came after all."""
    board = Scoreboard(2)
    for _ in range(3):
        failed(board, 0)
    assert delivered(board, 0, now_s=1.0) is True
    assert board.choose(1.0) == 0


# --- what is known --------------------------------------------------------------------------------


def test_patience_is_known_when_the_source_is() -> None:
    """A little more than usual for one that is steady, and nothing for one nobody knows."""
    assert Scoreboard(1).patience_s(0) is None
    board = known(QUICK)
    for _ in range(30):
        delivered(board, 0)
    patience_s = board.patience_s(0)
    assert patience_s is not None
    assert 0.02 < patience_s < 0.1


def test_whether_one_ever_answered() -> None:
    """That something is not there is an answer; a failure is none."""
    board = Scoreboard(3)
    failed(board, 0)
    failed(board, 1, Fault.LACKING)
    delivered(board, 2)
    assert [board.has_answered(index) for index in range(3)] == [False, True, True]


def test_the_ranking_tells_what_is_known() -> None:
    """The best first, those suspended last."""
    board = known(SLOW, QUICK, QUICK)
    failed(board, 2, Fault.LIED)
    best, second, last = board.ranking(0.0)
    assert [best.index, second.index, last.index] == [1, 0, 2]
    assert (best.deliveries, best.delivered_bytes) == (10, 10 * 64 * 1024)
    assert best.latency_s == pytest.approx(0.02)
    assert best.bytes_per_s == pytest.approx(64 * 1024 / 0.01)
    assert (last.condition, last.suspended_until_s) == (Condition.SUSPENDED, 60.0)
    assert (last.failures, last.lies) == (1, 1)


Step = tuple[str, int, float]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["deliver", *Fault.__members__, "straggle", "lie", "cancel"]),
        st.integers(0, 2),
        st.floats(0, 100),
    ),
    max_size=60,
)


def happen(board: Scoreboard, step: Step, now_s: float) -> None:
    """One thing at one source."""
    what, index, measure = step
    if what in ("straggle", "lie"):
        record = board.record_straggler if what == "straggle" else board.record_lie
        record(index, now_s)
        return
    board.begin(index)
    if what == "deliver":
        board.record_success(index, now_s, Delivery(measure, measure, int(measure * 1000)))
    elif what == "cancel":
        board.release(index)
    else:
        board.record_failure(index, now_s, Fault[what])


@given(steps, st.sampled_from([None, 0]))
def test_whatever_happened_somebody_is_asked(story: list[Step], reserve: int | None) -> None:
    """Shares are shares, and after the longest pause everybody may prove themselves again."""
    board, now_s = Scoreboard(3, reserve=reserve), 0.0
    for step in story:
        happen(board, step, now_s)
        now_s += step[2]
        assert sum(board.shares(now_s)) == pytest.approx(1.0) or board.choose(now_s) is None
        assert board.choose(now_s, even_suspended=True) is not None
        assert sorted(each.index for each in board.ranking(now_s)) == [0, 1, 2]
    now_s += ScoringPolicy().max_lie_pause_s
    assert all(board.choose(now_s, {0, 1, 2} - {index}) == index for index in range(3))


@given(steps)
def test_the_same_story_leads_to_the_same_choice(story: list[Step]) -> None:
    """No chance, no clock."""
    boards = [Scoreboard(3, reserve=0), Scoreboard(3, reserve=0)]
    for board in boards:
        for moment, step in enumerate(story):
            happen(board, step, float(moment))
    assert len({board.choose(60.0) for board in boards}) == 1
    assert boards[0].ranking(60.0) == boards[1].ranking(60.0)
