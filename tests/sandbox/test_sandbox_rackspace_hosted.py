"""The hosted personality of the Rackspace stand-in: Identity, the gate in front, and the rate."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from rackspace_far import TENANT, call, event, post, sign_in, token

from agent.sandbox import faults
from agent.sandbox.rackspace import Sandbox, User, failing

LIMITS = f"/v2.0/{TENANT}/limits"


def hosted(work: Callable[[Sandbox], None], **options: Any) -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True, **options) as sandbox:
            await asyncio.to_thread(work, sandbox)

    asyncio.run(main())


def status(sandbox: Sandbox, name: str | None, body: bytes | None = None) -> int | None:
    return post(sandbox.url, body, {"X-Auth-Token": name} if name else None).status


def test_a_token_is_asked_for_and_has_an_end() -> None:
    def work(sandbox: Sandbox) -> None:
        refused = post(sandbox.url)
        assert (refused.status, refused.json["unauthorized"]["code"]) == (401, 401)
        assert refused.headers["WWW-Authenticate"] == f"Keystone uri={sandbox.identity_url}/v2.0"
        assert status(sandbox, "invented") == 401
        name = token(sandbox.identity_url)
        assert status(sandbox, name) == 200
        elsewhere = call(sandbox.url, "POST", "/v2.0/999/events", event(), {"X-Auth-Token": name})
        assert elsewhere.status == 401
        sandbox.clock.offset = 86401
        assert status(sandbox, name, event(when=sandbox.clock.now_ms())) == 401
        again = token(sandbox.identity_url)
        assert again != name
        assert status(sandbox, again, event(when=sandbox.clock.now_ms())) == 200
        assert len(sandbox.events(TENANT)) == 2

    hosted(work)


def test_the_gate_is_before_everything_else() -> None:
    def work(sandbox: Sandbox) -> None:
        assert call(sandbox.url, "PUT", "/v2.0/x/y/z").status == 401
        assert call(sandbox.url, "POST", "/v2.0/x/events", b"x" * 2_000_000).status == 401
        assert call(sandbox.query_url, "GET", f"/v2.0/{TENANT}/events/getEvents?from=1").status == 401
        assert call(sandbox.url, "GET", LIMITS).status == 401

    hosted(work)


def test_the_rate_is_the_tenant_s_and_over_it_is_told_with_a_time() -> None:
    users = (User(tenants=(TENANT, "other")),)

    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        query = f"/v2.0/{TENANT}/events/getEvents?from=1"
        assert call(sandbox.query_url, "GET", query, None, {"X-Auth-Token": name}).status == 200
        assert [status(sandbox, name) for _ in range(4)] == [200, 200, 413, 413]
        over = post(sandbox.url, headers={"X-Auth-Token": name})
        assert 1 <= int(over.headers["Retry-After"]) <= 60
        assert over.json["overLimit"]["message"] == "OverLimit Retry..."
        assert datetime.fromisoformat(over.json["overLimit"]["retryAfter"]).timestamp() > time.time()
        other = token(sandbox.identity_url, tenantId="other")
        assert call(sandbox.url, "POST", "/v2.0/other/events", event(), {"X-Auth-Token": other}).status == 200
        sandbox.clock.offset += 60
        assert status(sandbox, name) == 200
        assert sandbox.busiest(TENANT) == 7

    hosted(work, rate=3, users=users)


def test_the_over_limit_answer_may_be_a_429_with_a_date_and_the_minute_short() -> None:
    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        assert status(sandbox, name) == 200
        over = post(sandbox.url, headers={"X-Auth-Token": name})
        assert over.status == 429
        assert 0 <= parsedate_to_datetime(over.headers["Retry-After"]).timestamp() - time.time() - 100 <= 1
        until = time.time() + 5
        while status(sandbox, name, event(when=sandbox.clock.now_ms())) == 429:
            assert time.time() < until

    hosted(work, rate=1, minute=0.3, over_limit=429, retry_after="date", clock_offset=100.0)


def test_limits_are_told_and_asking_costs_nothing() -> None:
    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        status(sandbox, name)
        for url in (sandbox.url, sandbox.query_url, sandbox.url):
            told = call(url, "GET", LIMITS, None, {"X-Auth-Token": name})
            assert told.status == 200
            [rate] = told.json["limits"]["rate"]
            [limit] = rate["limit"]
            assert datetime.fromisoformat(limit.pop("next-available"))
            assert limit == {"verb": "ALL", "value": 1000, "remaining": 999, "unit": "MINUTE"}

    async def alone() -> int | None:
        async with Sandbox.open() as sandbox:
            return (await asyncio.to_thread(call, sandbox.url, "GET", LIMITS)).status

    hosted(work)
    assert asyncio.run(alone()) == 404


def test_identity_gives_a_token_and_a_catalogue() -> None:
    def work(sandbox: Sandbox) -> None:
        reply = sign_in(sandbox.identity_url, tenantId=TENANT)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
        access = reply.json["access"]
        assert len(access["token"]["id"]) <= 250
        assert access["token"]["tenant"] == {"id": TENANT, "name": TENANT}
        expires = access["token"]["expires"]
        assert expires.endswith("Z")
        assert expires[-5] == "."  # milliseconds
        assert abs(datetime.fromisoformat(expires).timestamp() - time.time() - 86400) < 5
        metrics = {
            service["name"]: service["endpoints"][0]["publicURL"]
            for service in access["serviceCatalog"]
            if service["type"] == "rax:cloudmetrics"
        }
        assert metrics == {
            "cloudMetrics": f"{sandbox.query_url}/v2.0/{TENANT}",
            "cloudMetricsIngest": f"{sandbox.url}/v2.0/{TENANT}",
        }
        assert call(metrics["cloudMetricsIngest"], "POST", f"/v2.0/{TENANT}/events", event()).status == 401
        credentials = {"auth": {"RAX-KSKEY:apiKeyCredentials": {"username": "agent", "apiKey": "key-of-the-sandbox"}}}
        short = call(
            sandbox.identity_url,
            "POST",
            "/v2.0/tokens?include_endpoints=false",
            json.dumps(credentials).encode(),
            {"Content-Type": "application/json"},
        )
        assert short.json["access"]["serviceCatalog"] == []
        assert len(short.body) < len(reply.body)

    hosted(work)


def test_the_expiry_may_have_its_offset_in_digits() -> None:
    def work(sandbox: Sandbox) -> None:
        expires = sign_in(sandbox.identity_url).json["access"]["token"]["expires"]
        assert expires.endswith("+00:00")
        assert abs(datetime.fromisoformat(expires).timestamp() - time.time() - 20) < 5

    hosted(work, expires_form="offset", token_life=20.0)


def test_the_same_token_comes_until_its_last_hour_or_a_revocation() -> None:
    def work(sandbox: Sandbox) -> None:
        first = token(sandbox.identity_url)
        sandbox.clock.offset = 82_790
        assert token(sandbox.identity_url) == first
        sandbox.clock.offset = 82_810
        second = token(sandbox.identity_url)
        assert second != first
        now = sandbox.clock.now_ms()
        assert [status(sandbox, name, event(when=now)) for name in (first, second)] == [200, 200]
        sandbox.tokens.revoke_all()
        assert [status(sandbox, name, event(when=now)) for name in (first, second)] == [401, 401]
        third = token(sandbox.identity_url)
        assert status(sandbox, third, event(when=now)) == 200
        sandbox.tokens.distrust()  # refused at the gate, and Identity knows nothing of it
        assert status(sandbox, third, event(when=now)) == 401
        assert token(sandbox.identity_url) == third
        assert [item.again for item in sandbox.ledger.issued] == [False, True, False, False, True]

    hosted(work)


def test_what_identity_takes_and_refuses() -> None:
    def work(sandbox: Sandbox) -> None:
        json_type = {"Content-Type": "application/json"}
        url = sandbox.identity_url
        for body in (b"", b"[]", b'{"auth":{}}', b'{"auth":{"RAX-KSKEY:apiKeycredentials":{}}}', b'{"auth":null}'):
            reply = call(url, "POST", "/v2.0/tokens", body, json_type)
            assert (reply.status, reply.json["badRequest"]["code"]) == (400, 400), body
        assert sign_in(url, tenantId=TENANT, tenantName=TENANT).status == 400
        assert sign_in(url, tenantName=TENANT).status == 200
        assert sign_in(url, tenantId="999").status == 401
        wrong = sign_in(url, "wrong")
        assert (wrong.status, wrong.json["unauthorized"]["message"]) == (
            401,
            "Unable to authenticate user with credentials provided.",
        )
        assert sign_in(url, username="nobody").status == 401
        assert call(url, "POST", "/v2.0/tokens", b"{}", {"Content-Type": "text/plain"}).status == 415
        assert call(url, "GET", "/v2.0/tokens").status == 405
        assert call(url, "POST", "/v2.0/token", b"{}", json_type).status == 404
        sandbox.tokens.users["agent"].enabled = False
        disabled = sign_in(url)
        assert (disabled.status, disabled.json["userDisabled"]["code"]) == (403, 403)

    hosted(work)


def test_a_token_can_be_ended() -> None:
    def work(sandbox: Sandbox) -> None:
        url, name = sandbox.identity_url, token(sandbox.identity_url)
        assert call(url, "DELETE", f"/v2.0/tokens/{name}").status == 401
        assert call(url, "DELETE", "/v2.0/tokens/unknown", None, {"X-Auth-Token": name}).status == 404
        assert call(url, "DELETE", f"/v2.0/tokens/{name}", None, {"X-Auth-Token": name}).status == 204
        assert status(sandbox, name) == 401
        assert token(url) != name
        assert not [item for item in sandbox.ledger.requests if name in item.path]

    hosted(work)


def test_a_rotated_key_is_the_only_one_and_ends_the_tokens_unless_told() -> None:
    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        sandbox.tokens.rotate("agent", "second", revoke=False)
        assert sign_in(sandbox.identity_url).status == 401
        assert status(sandbox, name) == 200
        sandbox.tokens.rotate("agent", "third")
        assert status(sandbox, name) == 401
        assert status(sandbox, token(sandbox.identity_url, api_key="third")) == 200

    hosted(work)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (failing.over_limit(2), (413, "overLimit")),
        (failing.broken(), (500, "identityFault")),
        (failing.broken(503), (503, "serviceUnavailable")),
        (failing.unauthorized(), (401, "unauthorized")),
    ],
)
def test_identity_has_faults_of_its_own(fault: faults.Fault, expected: tuple[int, str]) -> None:
    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        sandbox.identity_faults.add(fault)
        reply = sign_in(sandbox.identity_url)
        assert (reply.status, next(iter(reply.json))) == expected
        assert status(sandbox, name) == 200  # the other sides are well
        sandbox.identity_faults.clear()
        sandbox.identity_faults.add(faults.reset())
        with pytest.raises(ConnectionError):
            sign_in(sandbox.identity_url)
        assert len(sandbox.ledger.issued) == 1

    hosted(work)


def test_a_storm_of_401_is_a_fault_that_no_token_ends() -> None:
    def work(sandbox: Sandbox) -> None:
        storm = sandbox.faults.add(failing.unauthorized(count=3))
        answers = [status(sandbox, token(sandbox.identity_url)) for _ in range(4)]
        assert answers == [401, 401, 401, 200]
        assert storm.hits == 3
        assert {item.again for item in sandbox.ledger.issued[1:]} == {True}

    hosted(work)
