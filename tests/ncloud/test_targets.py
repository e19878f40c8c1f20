"""What is asked for is escaped once, and signed over the bytes that a raw socket receives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from far_side import far_side, run, said
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Rejected
from agent.ncloud import CLOUD_INSIGHT, GatewayOptions, asked, open_gateway, segment, target
from agent.schema import Secret

ACCESS, SECRET = "AK_TARGETS", "SK_TARGETS_4711"
TEXT = st.text(st.characters(codec="utf-8"))


async def arrived(path: str) -> tuple[str, dict[str, str]]:
    """The request line's target and the headers, as the socket had them."""
    async with far_side(said(200, ok=True)) as side:
        options = GatewayOptions(access_key=Secret(ACCESS), secret_key=Secret(SECRET), url=side.url)
        async with open_gateway(options, CLOUD_INSIGHT, name="test") as gateway:
            await asked(gateway, "GET", path, repeat="safe")
        (request,) = side.requests
        return request.target, dict(request.headers)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ({"startDate": "2025-03-19T00:00:00"}, "startDate=2025-03-19T00:00:00"),
        ({"prodName": "Custom/My Product+1"}, "prodName=Custom/My%20Product%2B1"),
        ({"name": "서울 공장", "a&b": "c=d?#%"}, "name=%EC%84%9C%EC%9A%B8%20%EA%B3%B5%EC%9E%A5&a%26b=c%3Dd%3F%23%25"),
        ({"page": 0, "all": True, "none": None, "off": False, "empty": ""}, "page=0&all=true&off=false&empty="),
    ],
)
def test_a_query_is_signed_over_the_bytes_that_the_socket_receives(query: dict[str, str], sent: str) -> None:
    received, headers = run(arrived(target(f"/api/{segment('a/b:서')}", query)))
    assert received == f"/api/a%2Fb%3A%EC%84%9C?{sent}"
    text = f"GET {received}\n{headers['x-ncp-apigw-timestamp']}\n{ACCESS}"
    wanted = base64.b64encode(hmac.new(SECRET.encode(), text.encode("ascii"), hashlib.sha256).digest()).decode()
    assert headers["x-ncp-apigw-signature-v2"] == wanted


def test_without_a_query_there_is_no_question_mark() -> None:
    assert target("/cw_fea/real/cw/api/schema", {}) == target("/cw_fea/real/cw/api/schema", {"cw_key": None})
    assert target("/cw_fea/real/cw/api/schema") == "/cw_fea/real/cw/api/schema"


@given(st.dictionaries(TEXT, TEXT))
def test_any_query_is_a_target_of_plain_characters_that_reads_back_as_it_was(query: dict[str, str]) -> None:
    made = target("/p", query)
    assert re.fullmatch(r"/p(\?[A-Za-z0-9_.~:/%=&-]+)?", made)
    read = parse_qsl(urlsplit(made).query, keep_blank_values=True, strict_parsing=bool(query))
    assert read == list(query.items())


@given(TEXT.filter(lambda text: text not in ("", ".", "..")))
def test_any_text_makes_one_segment(text: str) -> None:
    made = segment(text)
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+", made)
    assert unquote(made) == text


@pytest.mark.parametrize("text", ["", ".", "..", "\udcff"])
def test_what_would_lead_elsewhere_or_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"expected .*, found"):
        segment(text)


def test_half_a_character_is_no_value() -> None:
    with pytest.raises(Rejected, match="UTF-8"):
        target("/p", {"name": "\udcff"})
