"""Signature version 2: the vectors of public test suites, and others worked out apart from this code."""

from __future__ import annotations

import pytest

from agent.ncloud import signature

# Published: sjk4425/ncloud-mcp-server src/auth/signature.test.ts, then GreedyLabs/ncloud-community-sdk
# sdk/auth/hmacv2_test.go.
PUBLISHED = [
    (
        "GET", "/vserver/v2/getServerInstanceList?responseFormatType=json", 1234567890123,
        "TestAccessKey", "TestSecretKey", "FPsYYX8fuMAgi+cue3eACOW0dNtIwu1LYWfg/megA2M=",
    ),
    (
        "POST", "/vserver/v2/createServerInstances?regionCode=KR", 1700000000000,
        "AK_TEST", "SK_TEST", "xBcE26XFU55BMjppdPT7ZY3oDrqoOedfPyAn3Cq4lUw=",
    ),
]  # fmt: skip

WIDGET = "/cw_fea/real/cw/api/chart/dashboard/d1/widgets/w1"
# Computed with the standard library alone, for 1700000000000, AK_TEST and SK_TEST.
COMPUTED = [
    ("POST", "/cw_collector/real/data", "uWubogo+YSrfuUlY+msGAhQJrX3vpowqfvZe0mHZ5aI="),
    (
        "GET",
        f"{WIDGET}?startTime=1733097600000&endTime=1733148000000&widgetResolutionMode=AUTO",
        "TZAlCR0Hpn3bRsRTQS8gjRS9uADkSYojAQZwcA1c0Yc=",
    ),
    ("GET", "/cw_fea/real/cw/api/schema?prodName=Custom/MyProduct", "vo3mGBijKCOsCHGY6z7tCrS5c2Bn8iqcrgCXKm09gsg="),
    ("GET", "/cw_fea/real/cw/api/schema?prodName=Custom%2FMyProduct", "HBF7RB18LHFU30ADG8nrTxEst0SXv9DgEs6lsk5eaqs="),
    (
        "GET",
        "/api/v1/stats/executions?startDate=2025-03-19T00%3A00%3A00&endDate=2025-03-20T23%3A59%3A59",
        "vCHSzwv83Yj/z+pG9mcXB6xpBbnjPAV5oa1Slkrdxgw=",
    ),
    (
        "GET",
        "/api/v1/stats/executions?startDate=2025-03-19T00:00:00&endDate=2025-03-20T23:59:59",
        "sb1KLao8D1N4nc2FCP6PryyqU6IgN7cIaeQSQD5yWJk=",
    ),
    ("POST", "/api/v1/workflows/3tfNLP/executions", "l4+3TPhgoUJPQGaP9Qz55oxlfqXi6hR7QcmKmqt1ejg="),
    ("GET", "/photos/puppy.jpg?query1=&query2", "/mJ1EzdbBgHdNQmHAnXGxQ8RfeESiw9oMTj/W/jyAFE="),
]


@pytest.mark.parametrize(("method", "target", "at", "access", "secret", "expect"), PUBLISHED)
def test_it_gives_what_others_have_published(
    method: str, target: str, at: int, access: str, secret: str, expect: str
) -> None:
    assert signature(method, target, at, access, secret) == expect


@pytest.mark.parametrize(("method", "target", "expect"), COMPUTED)
def test_it_gives_what_the_standard_library_gives(method: str, target: str, expect: str) -> None:
    assert signature(method, target, 1700000000000, "AK_TEST", "SK_TEST") == expect
