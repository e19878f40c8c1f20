"""What a status, a pause and a failure mean for the data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeliveryError, Throttled
from agent.http import LONGEST_PAUSE, MAX_QUOTE, Answer, HttpOptions, option_problems, quoted, refusal, url_problems
from agent.schema import Secret

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def meaning(error: DeliveryError | None) -> str:
    if error is None:
        return "taken"
    marks = [name for name in ("ambiguous", "operator") if getattr(error, name, False)]
    return "+".join([type(error).__name__, *marks])


@pytest.mark.parametrize(
    ("status", "expect"),
    [
        (200, "taken"),
        (204, "taken"),
        (301, "Retryable+operator"),
        (304, "Retryable+operator"),
        (307, "Retryable+operator"),
        (400, "Rejected"),
        (401, "AuthExpired"),
        (403, "AuthExpired"),
        (404, "Retryable+operator"),
        (405, "Retryable+operator"),
        (407, "Retryable+operator"),
        (408, "Retryable"),
        (409, "Retryable+operator"),
        (410, "Retryable+operator"),
        (413, "TooLarge"),
        (415, "Rejected"),
        (418, "Retryable+operator"),
        (422, "Rejected"),
        (425, "Retryable"),
        (429, "Throttled"),
        (500, "Retryable+ambiguous"),
        (501, "Retryable+ambiguous"),
        (502, "Retryable"),
        (503, "Retryable"),
        (504, "Retryable"),
        (505, "Retryable+ambiguous"),
        (599, "Retryable+ambiguous"),
        (799, "Retryable+ambiguous"),
    ],
)
def test_a_status_means(status: int, expect: str) -> None:
    judged = refusal(status, b"why not")
    assert meaning(judged) == expect
    if judged is not None:
        assert (judged.status, judged.answer) == (status, "why not")
        assert str(status) in judged.reason


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_whoever_names_a_pause_gets_it(status: int) -> None:
    judged = refusal(status, b"", 12.5)
    assert isinstance(judged, Throttled)
    assert judged.retry_after == 12.5


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:40:00 GMT", 0.0),  # in the past
        ("Sun, 06 Nov 2094 08:40:00 GMT", LONGEST_PAUSE),
        ("9" * 400, LONGEST_PAUSE),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("\u0663", None),  # a digit to Python, not to HTTP
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_a_pause_is_read_by_the_far_sides_own_clock(text: str, pause: float | None) -> None:
    assert Answer(503, {"retry-after": text, "date": DATE}, b"").retry_after == pause


@given(text=st.text(), date=st.text())
def test_no_header_is_too_strange(text: str, date: str) -> None:
    answer = Answer(503, {"retry-after": text, "date": date}, b"")
    assert answer.retry_after is None or 0 <= answer.retry_after <= LONGEST_PAUSE


def test_the_far_sides_clock_can_be_read() -> None:
    assert Answer(200, {"date": DATE}, b"").date == 784111777.0
    assert Answer(200, {"date": "now"}, b"").date is None
    assert Answer(200, {}, b"").date is None


@given(st.binary(max_size=3000))
def test_what_is_quoted_is_one_short_printable_line(said: bytes) -> None:
    assert len(quoted(said)) <= MAX_QUOTE
    assert quoted(said).isprintable()


def test_a_quotation_keeps_words_and_drops_control_characters() -> None:
    assert quoted("온도 \x1b[31mred\r\n\x00 end".encode()) == "온도 [31mred end"
    assert quoted(b"a" * 1000).endswith("a...")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, []),
        ({"client_cert": "c.pem", "client_key": "k.pem"}, []),
        ({"client_key": "k.pem"}, ["client_key"]),
        ({"connect_timeout": 31.0}, ["connect_timeout"]),
        ({"proxy": "http://proxy.example:3128"}, []),
        ({"proxy": "http://127.0.0.1:3128", "proxy_user": "u", "proxy_password": Secret("p")}, []),
        ({"proxy": "https://proxy.example", "proxy_user": "u", "proxy_password": Secret("p")}, []),
        ({"proxy": "http://proxy.example:3128", "proxy_user": "u", "proxy_password": Secret("p")}, ["proxy"]),
        ({"proxy": "http://u:p@proxy.example:3128"}, ["proxy"]),
        ({"proxy": "socks5://proxy.example"}, ["proxy"]),
        ({"proxy": "http://proxy:port"}, ["proxy"]),
        ({"proxy_user": "u"}, ["proxy_user"]),
        ({"proxy": "http://127.0.0.1:1", "proxy_password": Secret("p")}, ["proxy_password"]),
    ],
)
def test_options_are_checked_together(options: dict[str, object], where: list[str]) -> None:
    assert [place for place, _ in option_problems(HttpOptions(**options))] == where  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://obsrv.example.org", True),
        ("https://obsrv.example.org:8443/base/", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("http://localhost", True),
        ("http://obsrv.example.org", False),  # the secret would be seen
        ("http://10.0.0.1", False),
        ("ftp://127.0.0.1", False),
        ("obsrv.example.org", False),
        ("https://", False),
        ("https://host:99999", False),
        ("https://host:0", False),
        ("https://[::1", False),
        ("https://user@host", False),
        ("https://host/?a=b", False),
        ("https://host/#x", False),
        ("https://a..b", False),
        ("https://a b", False),
        (f"https://{'a' * 64}.example", False),
        ("https://\u00fcber.example", True),
        ("", False),
    ],
)
def test_a_url_is_checked(url: str, fine: bool) -> None:
    assert (url_problems("url", url, Secret("s"), HttpOptions()) == []) is fine


def test_plain_http_is_fine_without_a_secret_or_with_permission() -> None:
    assert url_problems("url", "http://host", None, HttpOptions()) == []
    assert url_problems("url", "http://host", Secret("s"), HttpOptions(allow_insecure=True)) == []
