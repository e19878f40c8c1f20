"""Tokens: had once, renewed in time, and no storm of questions when they are refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from far_side import answer, far_side, hang, run, said, until
from notes import KEY, event, hosted, parcel, send
from structlog.testing import capture_logs

from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled
from agent.far_clock import FarClock
from agent.http import open_client
from agent.sandbox.faults import Fault
from agent.sandbox.rackspace import Sandbox, User, failing
from agent.schema import Secret
from agent.sinks.rackspace import Rackspace, identity
from agent.sinks.rackspace.catalog import ASSUMED_LIFE, INGEST_URL, QUERY_URL, access
from agent.sinks.rackspace.identity import Identity
from agent.timing import Backoff


def asked(sandbox: Sandbox) -> Counter[str]:
    return Counter(request.side for request in sandbox.ledger.requests)


def test_a_token_that_ends_in_mid_run_costs_one_request() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event("1")))
                sandbox.tokens.revoke_all()
                await deliver(parcel(sink, event("2")))
                await deliver(parcel(sink, event("3")))
            assert [each.what for each in sandbox.events()] == ["1", "2", "3"]
            assert [request.status for request in sandbox.requests] == [200, 401, 200, 200]
            assert asked(sandbox)["identity"] == 2

    run(main())


def test_a_token_is_renewed_before_it_ends() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True, token_life=0.5, renew_within=0.5) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                while len(sandbox.ledger.issued) < 4:
                    await deliver(parcel(sink, event()))
                    await asyncio.sleep(0.02)
            assert {request.status for request in sandbox.requests} == {200}

    run(main())


@pytest.mark.parametrize("form", ["Z", "offset"])
def test_a_day_is_used_until_its_last_hour(form: Any) -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True, expires_form=form) as sandbox:
            lives = set()
            for seed in range(20):
                sink = hosted(sandbox)
                async with open_client(sink) as client:
                    user = ("agent", Secret(KEY))
                    tokens = Identity(sink, sandbox.identity_url, *user, client, FarClock("x"), Random(seed))
                    await tokens.token()
                    lives.add(round(tokens._ends_at - tokens._renew_at))
            assert len(lives) > 15  # no two agents of a fleet at once
            assert min(lives) >= 30 * 60
            assert max(lives) <= 55 * 60

    run(main())


@pytest.mark.parametrize("fault", [failing.broken(), failing.unauthorized()], ids=["down", "refuses"])
def test_until_a_new_one_is_had_the_token_at_hand_goes_on(fault: Fault) -> None:
    """Identity is down in the last hour of a token, or the key was withdrawn: nothing is wrong yet."""

    async def main() -> None:
        async with Sandbox.open(hosted=True, token_life=2.0, renew_within=2.0) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event()))
                sandbox.identity_faults.add(fault)
                while asked(sandbox)["identity"] < 2:
                    await deliver(parcel(sink, event()))
                    await asyncio.sleep(0.02)
                await deliver(parcel(sink, event()))
                assert {request.status for request in sandbox.requests} == {200}
                sandbox.identity_faults.clear()

    with capture_logs() as logs:
        run(main())
    assert [each["event"] for each in logs] == ["token not renewed yet"]


def test_a_storm_of_401_costs_a_handful() -> None:
    """The service refuses everything, Identity gives a new token each time; delivery goes on trying."""

    async def main() -> None:
        async with Sandbox.open(hosted=True, renew_within=86400.0) as sandbox:
            sandbox.faults.add(failing.unauthorized())
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                for _ in range(20):
                    with pytest.raises(AuthExpired, match="a new token as well"):
                        await deliver(parcel(sink, event()))
            assert asked(sandbox) == {"identity": 2, "ingest": 2}

    run(main())


def test_after_the_storm_it_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "HOLD", Backoff(first=0.2, cap=0.2))

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sandbox.faults.add(failing.unauthorized(count=2))
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                assert await until_taken(sink, deliver) > 0
                assert await until_taken(sink, deliver) == 0

    run(main())


def test_each_time_it_is_held_back_longer_until_something_is_taken() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with open_client(sink) as client:
                tokens = Identity(sink, sandbox.identity_url, "agent", Secret(KEY), client, FarClock("x"), Random(1))
                waits = []
                for n in range(8):
                    if n == 6:
                        tokens.accepted()
                    tokens.hold("no")
                    waits.append(tokens._held_until - asyncio.get_running_loop().time())
                for wait, low in zip(waits, [30, 60, 120, 150, 150, 150, 30, 60], strict=True):
                    assert low - 1 <= wait <= low * 2 + 1

    run(main())


async def until_taken(sink: Rackspace, deliver: Any, within: float = 5.0) -> int:
    """Try as delivery does; gives how often it was in vain."""
    async with asyncio.timeout(within):
        for tries in range(10_000):
            try:
                await deliver(parcel(sink, event()))
            except AuthExpired:
                await asyncio.sleep(0.02)
            else:
                return tries
    raise AssertionError


def test_the_same_token_again_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "HOLD", Backoff(first=0.3, cap=0.3))

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event()))
                sandbox.tokens.distrust()
                for _ in range(10):
                    with pytest.raises(AuthExpired, match="the same again"):
                        await deliver(parcel(sink, event()))
                assert asked(sandbox) == {"identity": 2, "ingest": 2}
                sandbox.tokens.revoke_all()  # now Identity has another
                assert await until_taken(sink, deliver) > 0
            # One that was refused, one question for another, and the event.
            assert asked(sandbox) == {"identity": 3, "ingest": 4}
            assert {issued.again for issued in sandbox.ledger.issued} == {True, False}

    run(main())


def test_a_key_that_is_rotated_in_its_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox, api_key=Secret(path=str(file)))
            async with sink.open() as deliver:
                await deliver(parcel(sink, event("1")))
                file.write_text("another-key")
                sandbox.tokens.rotate("agent", "another-key")
                await deliver(parcel(sink, event("2")))
                await deliver(parcel(sink, event("3")))
            assert [each.what for each in sandbox.events()] == ["1", "2", "3"]

    with capture_logs() as logs:
        run(main())
    assert [each["event"] for each in logs] == ["credentials read again, they have changed"]
    assert "another-key" not in repr(logs)


def test_a_new_key_ends_the_waiting_for_another_token(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox, api_key=Secret(path=str(file)))
            async with sink.open() as deliver:
                await deliver(parcel(sink, event()))
                sandbox.tokens.distrust()
                with pytest.raises(AuthExpired, match="the same again"):
                    await deliver(parcel(sink, event()))
                file.write_text("another-key")
                sandbox.tokens.rotate("agent", "another-key")
                await deliver(parcel(sink, event()))
            assert [request.status for request in sandbox.requests] == [200, 401, 200]

    with capture_logs():
        run(main())


def test_a_refused_renewal_holds_nothing_back_that_has_a_token() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with open_client(sink) as client:
                tokens = Identity(sink, sandbox.identity_url, "agent", Secret(KEY), client, FarClock("x"), Random(1))
                first = await tokens.token()
                sandbox.identity_faults.add(failing.unauthorized())
                tokens._renew_at = 0.0
                assert await tokens.token() == first
                assert await tokens.token() == first
                assert asked(sandbox) == {"identity": 2}

    with capture_logs():
        run(main())


def test_requests_sent_again_count_for_the_pace() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox, rate=60)  # six at once
            async with sink.open() as deliver:
                await deliver(parcel(sink, event()))
                for _ in range(3):
                    sandbox.tokens.revoke_all()
                    await deliver(parcel(sink, event()))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(deliver(parcel(sink, event())), 0.3)
            assert len(sandbox.requests) == 7

    run(main())


def test_a_wrong_key_is_asked_about_once_until_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("wrong")

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox, api_key=Secret(path=str(file)))
            async with sink.open() as deliver:
                for _ in range(5):
                    with pytest.raises(AuthExpired, match="Identity answered 401 Unable to authenticate"):
                        await deliver(parcel(sink, event()))
                assert asked(sandbox) == {"identity": 1}
                file.write_text(KEY)  # within the minute that it is held back
                await deliver(parcel(sink, event()))
            assert asked(sandbox) == {"identity": 2, "ingest": 1}

    with capture_logs() as logs:
        run(main())
    assert len(logs) == 1


def test_while_identity_is_down_a_refused_token_is_not_sent_again() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event("1")))
                sandbox.tokens.revoke_all()
                sandbox.identity_faults.add(failing.broken(503))
                for _ in range(4):
                    with pytest.raises(Retryable, match="Identity answered 503"):
                        await deliver(parcel(sink, event("2")))
                assert asked(sandbox) == {"identity": 5, "ingest": 2}
                sandbox.identity_faults.clear()
                await deliver(parcel(sink, event("2")))
            assert [each.what for each in sandbox.events()] == ["1", "2"]

    run(main())


def test_requests_at_the_same_time_share_one_renewal() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await asyncio.gather(*(deliver(parcel(sink, event())) for _ in range(4)))
                assert asked(sandbox)["identity"] == 1
                sandbox.tokens.revoke_all()
                await asyncio.gather(*(deliver(parcel(sink, event())) for _ in range(4)))
                assert asked(sandbox)["identity"] == 2
            assert len(sandbox.events()) == 8

    run(main())


def test_requests_refused_at_the_same_time_ask_once_where_the_token_stays_the_same() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event()))
                sandbox.tokens.distrust()
                several = (deliver(parcel(sink, event())) for _ in range(4))
                outcomes = await asyncio.gather(*several, return_exceptions=True)
                assert [type(each) for each in outcomes] == [AuthExpired] * 4
                assert asked(sandbox)["identity"] == 2

    run(main())


@pytest.mark.parametrize(
    ("act", "expect", "operator"),
    [
        (said(400, badRequest={"code": 400, "message": "no"}), AuthExpired, None),
        (said(401, unauthorized={"code": 401, "message": "no"}), AuthExpired, None),
        (said(403, userDisabled={"code": 403, "message": "no"}), AuthExpired, None),
        (answer(404), Retryable, True),
        (answer(308, b"", {"Location": "https://elsewhere"}), Retryable, True),
        (answer(413, b"", {"Retry-After": "9"}), Throttled, None),
        (said(413, overLimit={"code": 413}), Throttled, None),
        (answer(429), Throttled, None),
        (answer(500), Retryable, False),
        (answer(503), Retryable, False),
        (answer(503, b"", {"Retry-After": "9"}), Throttled, None),
        (answer(200, b"<html>"), Retryable, True),
        (said(200, access={"token": {"id": "two words"}}), Retryable, True),
        (said(200, access=[]), Retryable, True),
        (hang, Retryable, False),
    ],
)
def test_what_identity_says_is_never_the_events_fault(
    act: Any, expect: type[DeliveryError], operator: bool | None
) -> None:
    async def main() -> None:
        async with far_side(act) as side, Sandbox.open(hosted=True) as sandbox:
            sink = hosted(sandbox, identity_url=side.url + "/v2.0/", timeout=0.3, connect_timeout=0.3)
            with pytest.raises(expect, match="Identity") as caught:
                await send(sink)
            assert type(caught.value) is expect
            assert not getattr(caught.value, "ambiguous", False)
            if operator is not None:
                assert getattr(caught.value, "operator", None) is operator
            assert side.requests[0].line == "POST /v2.0/tokens HTTP/1.1"
            body = json.loads(side.requests[0].body)
            assert body == {"auth": {"RAX-KSKEY:apiKeyCredentials": {"username": "agent", "apiKey": KEY}}}
            assert sandbox.requests == []

    run(main())


def test_a_disabled_account_waits_and_keeps_its_events() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True, users=[User(enabled=False)]) as sandbox:
            with pytest.raises(AuthExpired, match="disabled"):
                await send(hosted(sandbox))

    run(main())


def test_the_catalog_is_read_by_name() -> None:
    body = {
        "access": {
            "token": {"id": "t", "expires": "2026-01-01T12:00:00.000-06:00"},
            "serviceCatalog": [
                {"name": "cloudFiles", "endpoints": [{"publicURL": "https://files"}]},
                {
                    "name": "cloudMetrics",
                    "type": "rax:cloudmetrics",
                    "endpoints": [{"publicURL": "https://q/v2.0/123"}],
                },
                {"name": "cloudMetricsIngest", "endpoints": [{}, {"publicURL": "https://i:8443/base/v2.0/hybrid:1/"}]},
                "odd",
                {"name": "cloudMetricsIngest", "endpoints": None},
            ],
        }
    }
    now = datetime(2026, 1, 1, 17, 0, tzinfo=UTC).timestamp()
    got = access(json.dumps(body).encode(), now)
    assert (got.token, got.life, got.ingest, got.query) == ("t", 3600.0, "https://i:8443/base", "https://q")
    assert "'t'" not in repr(got)


@pytest.mark.parametrize("expires", [None, "soon", "1990-01-01T00:00:00Z", 17])
def test_what_is_missing_in_a_token_is_assumed(expires: Any) -> None:
    got = access(json.dumps({"access": {"token": {"id": "t", "expires": expires}}}).encode(), 1.7e9)
    assert (got.life, got.ingest, got.query) == (ASSUMED_LIFE, INGEST_URL, QUERY_URL)


def test_a_wrong_clock_here_does_not_shorten_a_token() -> None:
    """Both times are Identity's own: when it answered, and when the token ends."""
    later = datetime.now(UTC) + timedelta(days=30)

    async def main() -> None:
        async with Sandbox.open(hosted=True, clock_offset=30 * 86400.0) as sandbox:
            sink = hosted(sandbox)
            async with open_client(sink) as client:
                tokens = Identity(sink, sandbox.identity_url, "agent", Secret(KEY), client, FarClock("x"), Random(1))
                assert (await tokens.token()).life == pytest.approx(86400, abs=5)
                assert datetime.fromtimestamp(sandbox.clock.now(), UTC) >= later

    run(main())


def test_an_address_without_tls_in_the_catalog_gets_no_token() -> None:
    async def main() -> None:
        endpoints = [{"publicURL": "http://ingest.example.org/v2.0/123456"}]
        catalog = [{"name": "cloudMetricsIngest", "endpoints": endpoints}]
        token = {"id": "t", "expires": "2099-01-01T00:00:00Z"}
        async with far_side(said(200, access={"token": token, "serviceCatalog": catalog})) as side:
            with pytest.raises(Retryable, match="would show the secret") as caught:
                await send(Rackspace(tenant="1", username="u", api_key=Secret(KEY), identity_url=side.url))
            assert caught.value.operator

    run(main())


def test_limits_are_asked_for_once_there_is_much_to_send_and_heeded() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True, rate=8) as sandbox:
            sink = hosted(sandbox)
            async with sink.open() as deliver:
                for _ in range(5):
                    await deliver(parcel(sink, event()))
                task = asyncio.create_task(deliver(parcel(sink, event())))
                await until(lambda: any(request.path.endswith("/limits") for request in sandbox.requests))
                await asyncio.wait([task], timeout=0.3)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert len(sandbox.events()) in (5, 6)
            assert {request.status for request in sandbox.requests} == {200}

    with capture_logs() as logs:
        run(main())
    assert [(each["event"], each["a_minute"]) for each in logs] == [("the tenant's limit leaves less than rate", 3.0)]


def test_an_agent_with_a_few_events_asks_for_no_limits() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            await send(hosted(sandbox), *[event() for _ in range(4)])
            assert {request.path for request in sandbox.requests} == {"/v2.0/123456/events"}

    run(main())
