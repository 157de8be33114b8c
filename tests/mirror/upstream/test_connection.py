"""One connection against a wire that delivers whatever a server may think of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamError
from tests.support.exchanges import (
    NOTHING,
    OK,
    Remembered,
    Said,
    Wire,
    chunked,
    cut,
    expected,
    interim,
    last,
    refused,
    sized,
    until_end,
)
from tests.support.loops import run_timeless, turns

EVERY_KIND = [
    sized(b"hello"),
    chunked(b"some", b"more"),
    refused(404, b"<html>"),
    NOTHING,
    interim(sized(b"after all")),
    sized(b""),
    refused(503, b""),
    chunked(),
    last(b"the last"),
]


def converse(
    answers: list[Said], cuts: list[int], received: int | None = None, asked: int | None = None
) -> list[bytes | str | None]:
    """Ask for as much as is answered, let it arrive in pieces, and end the connection."""
    sent = b"".join(answer.sent for answer in answers)[:received]

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask(len(answers) if asked is None else asked)
        wire.answer(*cut(sent, cuts))
        wire.hang_up()
        assert not wire.connection.is_open
        assert not wire.connection.outstanding
        return exchanges

    return [each.said for each in run_timeless(main())]


# --- orderly answers ------------------------------------------------------------------------------


def test_answers_in_one_piece() -> None:
    """Each request gets its own, in the order in which they were sent."""
    assert converse(EVERY_KIND, []) == [each.outcome for each in EVERY_KIND]


def test_answers_byte_by_byte() -> None:
    """However the network cuts them."""
    assert converse(EVERY_KIND, [*range(2000)]) == [each.outcome for each in EVERY_KIND]


def test_answers_cut_in_two_anywhere() -> None:
    """Wherever the cut is."""
    length = sum(len(each.sent) for each in EVERY_KIND)
    for place in range(length):
        assert converse(EVERY_KIND, [place]) == [each.outcome for each in EVERY_KIND]


def test_the_end_ends_a_body_without_length() -> None:
    """As in HTTP/1.0; those behind it get nothing."""
    assert converse([until_end(b"hello")], [], asked=3) == [b"hello", "Dropped", "Dropped"]


@pytest.mark.parametrize("coding", [b"identity", b"chunked, gzip"])
def test_an_encoding_that_only_the_end_ends(coding: bytes) -> None:
    """Not every transfer encoding tells where it ends."""
    head = OK + b"Transfer-Encoding: %s\r\n\r\n" % coding
    assert converse([Said(head, b"hello", b"hello")], []) == [b"hello"]


def test_requests_go_out_together() -> None:
    """In one go, and in order."""

    async def main() -> bytes:
        wire = Wire()
        wire.ask(2)
        return wire.sent

    assert run_timeless(main()) == b"GET /0 HTTP/1.1\r\n\r\nGET /1 HTTP/1.1\r\n\r\n"


def test_a_connection_is_used_again() -> None:
    """After an answer, and after an error page; it is known to be kept alive then."""

    async def main() -> None:
        wire = Wire()
        for answer in [sized(b"hello"), refused(404, b"<html>"), sized(b"bye")]:
            (exchange,) = wire.ask()
            wire.answer(answer.sent)
            assert exchange.said == answer.outcome
            assert wire.connection.is_open
            assert wire.connection.is_kept_alive
        assert wire.changes == 3

    run_timeless(main())


def test_apache_offers_another_protocol() -> None:
    """Which it does with every first answer, and means nothing."""
    head = OK + b"Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\nContent-Length: 5\r\n\r\n"
    assert converse([Said(head, b"hello", b"hello"), sized(b"more")], []) == [b"hello", b"more"]


def test_sending_after_the_end() -> None:
    """Is a mistake of ours."""

    async def main() -> None:
        wire = Wire()
        wire.connection.close()
        wire.connection.close()
        with pytest.raises(RuntimeError):
            wire.ask()

    run_timeless(main())


# --- the server hangs up --------------------------------------------------------------------------


@pytest.mark.parametrize("answered", range(4))
def test_closed_after_some_answers(answered: int) -> None:
    """Only those that were not answered were dropped, and may be asked for again."""
    outcomes = converse([sized(b"hello")] * answered, [], asked=4)
    assert outcomes == [b"hello"] * answered + ["Dropped"] * (4 - answered)


def test_cut_short_anywhere() -> None:
    """What has begun is not dropped but broken, what has not is, and nothing is taken for whole."""
    answers = [*EVERY_KIND[:-1], until_end(b"to the end")]
    for received in range(sum(len(each.sent) for each in answers)):
        outcomes = converse(answers, [], received)
        assert outcomes == expected(answers, received, len(answers)), received


def test_reset() -> None:
    """The same without a farewell."""

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask(3)
        wire.answer(sized(b"hello").sent + sized(b"more").sent[:-1])
        wire.hang_up(ConnectionResetError())
        return exchanges

    assert [each.said for each in run_timeless(main())] == [b"hello", "Unavailable", "Dropped"]


def test_a_reset_ends_no_body() -> None:
    """Even one that only the end of the connection would end."""

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask()
        wire.answer(until_end(b"hello").sent)
        wire.hang_up(ConnectionResetError())
        return exchanges

    assert [each.said for each in run_timeless(main())] == ["Unavailable"]


def test_errors_name_their_own_url() -> None:
    """Also those of many that go down together."""

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask(4)
        wire.answer(b"hello\r\n\r\n")
        return exchanges

    exchanges = run_timeless(main())
    assert [each.said for each in exchanges] == ["Unavailable"] + ["Dropped"] * 3
    assert [each.url in str(each.outcome) for each in exchanges] == [True] * 4


def test_we_hang_up() -> None:
    """Everything under way fails, and nothing that comes later is heard."""

    async def main() -> list[Remembered]:
        wire = Wire()
        exchanges = wire.ask(2)
        wire.answer(sized(b"hello").sent[:-1])
        wire.connection.close()
        await turns(2)
        return exchanges

    assert all(isinstance(each.outcome, UpstreamError) for each in run_timeless(main()))


# --- what is no HTTP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"hello",
        b"\0" * 100,
        b"HTTP/1.1 ",
        b"HTTP/1.1 twohundred OK\r\n",
        b"HTTP/1.1 000 Interim?\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 099 Interim?\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + sized(b"hello").sent,
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"Content-Length : 5\r\n\r\nhello",
        OK + b"\tfolded: 5\r\n\r\n",
    ],
)
def test_garbage(sent: bytes) -> None:
    """Nothing of it counts, and nothing after it can be attributed to anybody."""
    outcomes = converse([Said(b"", sent + sized(b"hello").sent, "")], [], asked=2)
    assert outcomes[0] in ("Unavailable", "TooLarge")
    assert outcomes[1] == "Dropped"


@pytest.mark.parametrize(
    "chunk", [b"x\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nhelloX", b"5 5\r\n"]
)
def test_garbage_for_a_chunk(chunk: bytes) -> None:
    """A body that stops making sense is one that did not come."""
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    outcomes = converse([Said(head, chunk + b"\r\n" * 3, "")], [], asked=2)
    assert outcomes == ["Unavailable", "Dropped"]


@pytest.mark.parametrize("is_together", [True, False])
def test_more_answers_than_requests(is_together: bool) -> None:
    """A server that goes on by itself is not listened to; what was asked for has come."""

    async def main() -> None:
        wire = Wire()
        (exchange,) = wire.ask()
        two = [sized(b"hello").sent, sized(b"and more").sent]
        wire.answer(*([b"".join(two)] if is_together else two))
        assert exchange.said == b"hello"
        assert not wire.connection.is_open
        assert wire.is_closed

    run_timeless(main())


def test_an_answer_to_nothing() -> None:
    """Before anything was asked: nobody will be told that this is the answer."""

    async def main() -> None:
        wire = Wire()
        wire.answer(sized(b"poison").sent)
        assert not wire.connection.is_open

    run_timeless(main())


def test_an_empty_line_between_answers() -> None:
    """Some servers send one too many."""
    first, second = sized(b"hello"), sized(b"bye")
    answers = [first, Said(b"\r\n" + second.head, second.body, b"bye")]
    assert converse(answers, []) == [b"hello", b"bye"]


# --- anything at all ------------------------------------------------------------------------------

SMALL = st.binary(max_size=40)
ANSWERS = st.one_of(
    SMALL.map(sized),
    st.lists(SMALL.filter(bool), max_size=4).map(lambda chunks: chunked(*chunks)),
    st.builds(refused, st.sampled_from([404, 403, 500, 503]), SMALL),
    SMALL.map(sized).map(interim),
    st.just(NOTHING),
)
LAST = st.one_of(SMALL.map(until_end), SMALL.map(last))
CUTS = st.lists(st.integers(0, 2000), max_size=8)


@given(answers=st.lists(ANSWERS, max_size=6), tail=LAST | st.none(), cuts=CUTS, data=st.data())
def test_random_conversations(
    answers: list[Said], tail: Said | None, cuts: list[int], data: st.DataObject
) -> None:
    """Any answers, cut anywhere, ended anywhere, for as many requests or more."""
    answers = answers + ([tail] if tail else [])
    received = data.draw(st.integers(0, sum(len(each.sent) for each in answers)))
    asked = len(answers) + data.draw(st.integers(0, 2))
    outcomes = converse(answers, cuts, received, asked)
    assert outcomes == expected(answers, received, asked)


@given(answers=st.lists(ANSWERS, min_size=1, max_size=4), cuts=CUTS, data=st.data())
def test_random_damage(answers: list[Said], cuts: list[int], data: st.DataObject) -> None:
    """Whatever is sent, each request ends once, as `Remembered` sees; what came before counts."""
    sent = b"".join(each.sent for each in answers)
    start = data.draw(st.integers(0, len(sent)))
    end = data.draw(st.integers(start, min(len(sent), start + 5)))
    damaged = sent[:start] + data.draw(st.binary(max_size=5)) + sent[end:]
    outcomes = converse([Said(b"", damaged, "")], cuts, asked=len(answers))
    assert None not in outcomes
    for answer, outcome in zip(answers, outcomes, strict=True):
        start -= len(answer.sent)
        if start < 0:
            break
        assert outcome == answer.outcome


@given(sent=st.binary(max_size=200), cuts=CUTS, is_http=st.booleans())
def test_random_bytes(sent: bytes, cuts: list[int], is_http: bool) -> None:
    """The same for bytes that nobody thought about."""
    start = b"HTTP/1.1 200 OK\r\n" if is_http else b""
    assert None not in converse([Said(start, sent, "")], cuts, asked=3)
