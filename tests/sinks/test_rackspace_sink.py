"""Sending events to the stand-in of Rackspace, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from far_side import answer, far_side, hang, record, reset, run
from notes import event, hosted, now_ms, own, parcel, send
from structlog.testing import capture_logs

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge, Unfit, Unverified
from agent.sandbox.faults import Fault
from agent.sandbox.rackspace import Sandbox, failing
from agent.schema import Secret
from agent.sinks.rackspace import Rackspace, probing
from agent.sinks.rackspace import sink as module
from agent.sinks.rackspace.sending import NEWEST_MS, OLDEST_MS

NASTY = (
    'a "quoted" word',
    "C:\\Program Files\\new",
    "line\nbreak\tand tab",
    "\x00\x01\x1f",
    '{"json":["a","b\\n"]}',
    "\\u0041 \\n stay as they are",
    "emoji 😀 and 日本語",
    "ends in a backslash \\",
)
INJECTION = 'x","tenantId":"other'
DAY = 86_400.0


@pytest.fixture(autouse=True)
def _soon_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "WAITS", (0.02, 0.05))


def test_an_event_is_one_request() -> None:
    async def main() -> None:
        async with far_side(answer(200)) as side:
            sink = Rackspace(tenant="hybrid:123", url=side.url + "/")
            await send(sink, event("disk full", ts=(at := now_ms())))
            (request,) = side.requests
            assert request.line == "POST /v2.0/hybrid:123/events HTTP/1.1"
            assert request.headers["content-type"] == "application/json"
            assert {"tenantid", "x-auth-token", "content-encoding", "expect"}.isdisjoint(request.headers)
            assert json.loads(request.body) == {
                "what": "disk full",
                "when": at,
                "tags": "web1 firing",
                "data": "id=a1b2c3d4e5f60718-40, host=web1, state=firing",
            }

    run(main())


def test_empty_tags_and_data_are_left_out() -> None:
    async def main() -> None:
        async with far_side(answer(200)) as side:
            await send(Rackspace(tenant="1", url=side.url, tags="{fields.none}", data=""))
            assert set(json.loads(side.requests[0].body)) == {"what", "when"}

    run(main())


def test_hosted_the_addresses_come_out_of_the_catalog_and_the_token_goes_along() -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox:
            await send(hosted(sandbox), event(), event())
            first, second = sandbox.requests
            assert first.path == "/v2.0/123456/events"
            assert first.headers["X-Auth-Token"] == second.headers["X-Auth-Token"]
            assert "tenantId" not in first.headers
            assert len(sandbox.events("123456")) == 2
            assert len(sandbox.ledger.issued) == 1

    run(main())


@pytest.mark.parametrize("server", ["naive", "escaped"])
def test_what_needs_escaping_arrives_as_it_was_meant(server: Any) -> None:
    """`auto`: one event of our own finds out how, and nothing is posted for values that need none."""

    async def main() -> None:
        async with Sandbox.open(mode=server, visible_after=0.0) as sandbox:
            sink = own(sandbox, tags="{fields.x}", data="{fields.x}")
            await send(sink, event("plain 😀"), *(event(text, x=text) for text in NASTY))
            plain, test, *stored = sandbox.events("123456")
            assert plain.what == "plain 😀"
            assert test.tags == "telemetry-agent-self-test"
            assert [each.what for each in stored] == list(NASTY)
            assert [each.data for each in stored] == list(NASTY)
            assert [each.tags for each in stored] == list(NASTY)
            assert sandbox.ledger.lost == []

    run(main())


@pytest.mark.parametrize("server", ["naive", "escaped"])
@pytest.mark.parametrize("escape", ["auto", "json", "replace", "none"])
@pytest.mark.parametrize("readable", [True, False])
def test_an_injection_reaches_no_other_tenant(server: Any, escape: Any, readable: bool) -> None:
    async def main() -> None:
        async with Sandbox.open(mode=server, visible_after=0.0) as sandbox:
            more = {} if readable else {"query_url": None}
            sink = own(sandbox, escape=escape, tags="{fields.x}", data="{fields.x}", **more)
            refused = []
            for source in (event(INJECTION), event("tags and data", x=INJECTION)):
                try:
                    await send(sink, source)
                except Unfit as unfit:
                    refused.append(unfit)
            assert set(sandbox.tenants()) <= {"123456"}
            assert not any(each.doubled for each in sandbox.events())
            arrived = [each for each in sandbox.events() if each.tags != "telemetry-agent-self-test"]
            assert len(arrived) + len(refused) == 2
            assert all("does not escape" in str(each) for each in refused)
            as_meant = (server, escape) in (("naive", "json"), ("escaped", "none")) or (escape == "auto" and readable)
            for each in arrived if as_meant else ():
                assert INJECTION in (each.what, each.data)

    with capture_logs():
        run(main())


@pytest.mark.parametrize("server", ["naive", "escaped"])
def test_replaced_values_arrive_readable_on_either_server(server: Any) -> None:
    async def main() -> None:
        async with Sandbox.open(mode=server) as sandbox:
            await send(own(sandbox, escape="replace"), event('C:\\dir "x"\n'))
            assert [each.what for each in sandbox.events()] == ["C:/dir 'x' "]

    run(main())


def test_where_nothing_can_be_read_back_values_are_replaced_and_that_is_told_once() -> None:
    async def main() -> None:
        async with Sandbox.open(visible_after=0.0) as sandbox:
            await send(own(sandbox, query_url=None), event('"1"'), event('"2"'))
            assert [each.what for each in sandbox.events()] == ["'1'", "'2'"], "no self-test that nobody could read"

    with capture_logs() as logs:
        run(main())
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert "query_url is not set" in line["reason"]


def test_a_server_that_does_something_else_to_values_gets_them_replaced() -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:

            async def altered(writer: asyncio.StreamWriter) -> None:
                data = f"{sandbox.events()[0].data} and more"
                await answer(200, json.dumps([{"data": data}]))(writer)

            async with far_side(altered) as side:
                await send(own(sandbox, query_url=side.url), event('"1"'))
            assert [each.what for each in sandbox.events()][1:] == ["'1'"]

    with capture_logs() as logs:
        run(main())
    assert "holds something else" in logs[0]["reason"]


def test_a_failed_self_test_is_done_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "ASK_AGAIN", 0.05)

    async def main() -> None:
        async with Sandbox.open(visible_after=0.0) as sandbox:
            sandbox.query_faults.add(failing.BY_NAME["unavailable"]())
            sink = own(sandbox)
            async with sink.open() as deliver:
                while len([each for each in sandbox.ledger.requests if each.side == "query"]) < 3:
                    await deliver(parcel(sink, event('"1"')))
                    await asyncio.sleep(0.02)
                sandbox.query_faults.clear()
                while sandbox.events()[-1].what == "'1'":
                    await deliver(parcel(sink, event('"1"')))
            assert sandbox.events()[-1].what == '"1"'

    with capture_logs() as logs:
        run(main())
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == [logs[0]["event"]]
    assert logs[-1]["escape"] == "json"


def test_an_event_waits_where_the_self_test_cannot_even_be_sent() -> None:
    async def main() -> None:
        async with Sandbox.open(visible_after=0.0) as sandbox:
            sandbox.faults.add(failing.no_elasticsearch(count=1))
            sink = own(sandbox)
            async with sink.open() as deliver:
                with pytest.raises(Retryable, match="Unable to reach"):
                    await deliver(parcel(sink, event('"1"')))
                await deliver(parcel(sink, event('"1"')))
            assert [each.what for each in sandbox.events()][-1] == '"1"'

    run(main())


def test_long_values_arrive_cut_and_are_taken() -> None:
    async def main() -> None:
        for server in ("naive", "escaped"):
            async with Sandbox.open(mode=server, visible_after=0.0) as sandbox:  # type: ignore[arg-type]
                sink = own(sandbox, tags="{fields.x}", data="{fields.x}")
                for char in ("😀", '"', "\x00", "\\"):
                    await send(sink, event(char * 40_000, x=char * 40_000))
                stored = [each for each in sandbox.events() if each.tags != "telemetry-agent-self-test"]
                assert len(stored) == 4
                for each in stored:
                    for value in (each.what, each.tags, each.data):
                        assert value is not None
                        assert value.endswith("…")
                        assert 32_760 < len(value.encode()) <= 32_766
                assert all(request.plain < 1_048_576 for request in sandbox.requests)

    run(main())


@pytest.mark.parametrize(
    ("age", "reason"),
    [(OLDEST_MS / 1000 + 5, "3.0 days old"), (5 * DAY, "5.0 days old"), (-(NEWEST_MS / 1000 + 5), "minutes ahead")],
)
def test_what_the_window_refuses_is_never_sent(age: float, reason: str) -> None:
    async def main() -> None:
        async with far_side(answer(200)) as side:
            with pytest.raises(Unfit, match=reason) as caught:
                await send(Rackspace(tenant="1", url=side.url), event(ts=now_ms(-age)))
            assert list(caught.value.reasons) == [0]
            assert side.requests == []

    run(main())


@pytest.mark.parametrize("age", [OLDEST_MS / 1000 - 5, -(NEWEST_MS / 1000 - 5), 3600.0])
def test_what_is_within_the_window_keeps_its_time(age: float) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:
            await send(own(sandbox), event(ts=(at := now_ms(-age))))
            assert [each.when for each in sandbox.events()] == [at]

    run(main())


@pytest.mark.parametrize("age", [4 * DAY, -3600.0])
def test_stamped_anew_an_event_keeps_its_own_time_in_its_data(age: float) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:
            before, at = now_ms(), now_ms(-age)
            await send(own(sandbox, outside_window="restamp"), event(ts=at))
            (stored,) = sandbox.events()
            assert before <= stored.when <= now_ms()
            assert stored.data is not None
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at / 1000))
            assert stored.data.startswith(f"time={moment}.{at % 1000:03}Z, id=")

    run(main())


@pytest.mark.parametrize("offset", [4 * DAY, -1200.0])
def test_the_agents_own_stamps_are_corrected_by_the_far_sides_clock(offset: float) -> None:
    """A refusal for the time is enough; nothing was said against the event."""

    async def main() -> None:
        async with Sandbox.open(clock_offset=offset) as sandbox:
            sink = own(sandbox)
            async with sink.open() as deliver:
                with pytest.raises(Retryable, match="far side's clock") as caught:
                    await deliver(parcel(sink, event("mine")))
                assert not caught.value.ambiguous
                await deliver(parcel(sink, event("mine")))
                device = now_ms(offset - 100)
                await deliver(parcel(sink, event("device's", ts=device), newest=now_ms()))
            mine, its = sandbox.events()
            assert abs(mine.when - now_ms(offset)) < 5000
            assert its.when == device

    with capture_logs() as logs:
        run(main())
    assert [each["seconds"] for each in logs] == [pytest.approx(offset, abs=2)]


@pytest.mark.parametrize("offset", [3600.0, -3600.0])
def test_what_the_agent_says_of_its_own_past_is_corrected_too(offset: float) -> None:
    """A stop is told after the next start, with its own time: no device gave that, however long ago it was."""

    async def main() -> None:
        async with Sandbox.open(clock_offset=offset) as sandbox:
            sink, ago = own(sandbox), 5 * 60.0
            stopped = record(b'{"what":"stopped","state":"stopped"}', ts=now_ms(-ago), source="event.agent", host="a")
            async with sink.open() as deliver:
                for each in (event(), event(), stopped):
                    try:
                        await deliver(parcel(sink, each))
                    except Retryable:  # refused for its time, which teaches the difference
                        await deliver(parcel(sink, each))
            (mine,) = [each for each in sandbox.events() if each.what == "stopped"]
            assert abs(mine.when - now_ms(offset - ago)) < 5000

    with capture_logs():
        run(main())


def test_two_answers_that_agree_teach_the_difference_too() -> None:
    async def main() -> None:
        async with Sandbox.open(clock_offset=1200.0) as sandbox:
            await send(own(sandbox), *[event() for _ in range(3)])
            ahead = [round((now_ms(1200) - each.when) / 60_000) for each in sandbox.events()]
            assert ahead == [20, 20, 0]

    with capture_logs():
        run(main())


@pytest.mark.parametrize(
    ("fault", "expect", "marks"),
    [
        (failing.refuse(), Rejected, set()),
        (failing.unauthorized(), AuthExpired, set()),
        (failing.forbidden(), AuthExpired, set()),
        (failing.over_limit(3), Throttled, set()),
        (failing.over_limit(None), Throttled, set()),
        (failing.over_limit(3, 429), Throttled, set()),
        (failing.too_large(), TooLarge, set()),
        (failing.no_elasticsearch(), Retryable, set()),
        (failing.overloaded(), Retryable, set()),
        (failing.broken_store(), Retryable, set()),
        (failing.unparsable(), Rejected, set()),
        (failing.BY_NAME["unavailable"](retry_after=9), Throttled, set()),
        (failing.BY_NAME["unavailable"](), Retryable, set()),
        (failing.BY_NAME["reset"](), Retryable, {"ambiguous"}),
        (failing.BY_NAME["half_answer"](), Retryable, {"ambiguous"}),
        (failing.BY_NAME["hang"](), Retryable, {"ambiguous"}),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_what_goes_wrong_there_is_understood_here(fault: Fault, expect: type[DeliveryError], marks: set[str]) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:
            sandbox.faults.add(fault)
            sink = own(sandbox, timeout=0.3, connect_timeout=0.3)
            with pytest.raises(expect) as caught:
                await send(sink)
            assert type(caught.value) is expect
            assert {name for name in ("ambiguous", "operator") if getattr(caught.value, name, False)} == marks
            if isinstance(caught.value, Throttled) and fault.retry_after:
                asked = float(fault.retry_after)
                assert asked <= caught.value.retry_after <= asked * 1.5 + 5

    run(main())


def test_a_request_that_is_never_answered_is_only_ever_a_timeout() -> None:
    async def main() -> None:
        async with far_side(hang, reset) as side:
            for _ in range(2):
                with pytest.raises(Retryable) as caught:
                    await send(Rackspace(tenant="1", url=side.url, timeout=0.2, connect_timeout=0.2))
                assert caught.value.ambiguous

    run(main())


@pytest.mark.parametrize("hostedness", ["hosted", "own"])
def test_delivery_is_proven_by_reading_back(hostedness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERIFY_WAITS", (0.05,) * 20)

    async def main() -> str:
        async with Sandbox.open(hosted=hostedness == "hosted", visible_after=0.2) as sandbox:
            sink = hosted(sandbox) if hostedness == "hosted" else own(sandbox)
            said: list[str] = []
            evidence = await sink.verify(said.append)
            (stored,) = sandbox.events("123456")
            assert stored.tags is not None
            assert stored.tags in evidence
            assert stored.tags in said[0]
            return evidence

    assert "once, for tenant 123456" in run(main())


def test_copies_are_told_and_what_cannot_be_read_back_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERIFY_WAITS", (0.01, 0.01))

    async def main() -> None:
        async with Sandbox.open(visible_after=0.0) as sandbox:
            with pytest.raises(Unverified, match="query_url"):
                await own(sandbox, query_url=None).verify(lambda line: None)
            assert not sandbox.requests, "what cannot be proven need not be tried"
        async with Sandbox.open(visible_after=60.0) as sandbox:
            with pytest.raises(Unverified, match="could not be read within"):
                await own(sandbox).verify(lambda line: None)
        async with Sandbox.open() as sandbox, far_side(answer(200, b'[{"data":"no"}]')) as side:
            with pytest.raises(Unverified, match="could not be read"):
                await own(sandbox, query_url=side.url).verify(lambda line: None)
            sandbox.faults.add(failing.refuse())
            with pytest.raises(Rejected):
                await own(sandbox).verify(lambda line: None)

    run(main())


def test_neither_key_nor_token_shows(tmp_path: Path) -> None:
    async def main() -> list[str]:
        shown = []
        async with Sandbox.open(hosted=True) as sandbox:
            sandbox.faults.add(failing.forbidden())
            sink = hosted(sandbox)
            with pytest.raises(AuthExpired) as caught:
                await send(sink)
            token = sandbox.requests[0].headers["X-Auth-Token"]
            shown += [repr(caught.value), caught.value.answer, repr(sink)]
        refusing = answer(400, f'{{"errors":[{{"message":"token {token} is odd"}}]}}')
        async with far_side(refusing) as side, Sandbox.open(hosted=True) as sandbox:
            sandbox.tokens._tokens.append(_token(sandbox, token))
            with pytest.raises(Rejected, match=r"token \*\*\*") as refused:
                await send(hosted(sandbox, url=side.url))
            shown += [repr(refused.value), refused.value.answer]
        assert all(token not in text and "key-of-the-sandbox" not in text for text in shown)
        return shown

    with capture_logs() as logs:
        assert len(run(main())) == 5
    assert "key-of-the-sandbox" not in repr(logs)


def _token(sandbox: Sandbox, name: str) -> Any:
    from agent.sandbox.rackspace.tokens import Token

    return Token(id=name, username="agent", tenant="123456", expires=sandbox.clock.now() + 86400)


def test_what_is_refused_for_its_values_puts_the_finding_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server was exchanged for one that does not serialise."""
    monkeypatch.setattr(probing, "ASK_AGAIN", 0.0)

    async def main() -> None:
        async with Sandbox.open(mode="escaped", visible_after=0.0) as sandbox:
            sink = own(sandbox)
            async with sink.open() as deliver:
                await deliver(parcel(sink, event('"1"')))
                sandbox.state.mode = "naive"
                with pytest.raises((Rejected, Retryable)):
                    await deliver(parcel(sink, event('"2"')))
                await deliver(parcel(sink, event('"2"')))
            assert [each.what for each in sandbox.events() if each.tags == "web1 firing"] == ['"1"', '"2"']

    with capture_logs():
        run(main())


def test_the_packed_event_is_data_and_time_alone() -> None:
    """It is kept on disk's behalf for retries: nothing in it depends on the moment or holds a secret."""
    sink = Rackspace(tenant="1", username="u", api_key=Secret("s3cret"))
    body = orjson.loads(parcel(sink, event(ts=5), newest=7).body)
    assert set(body) == {"ts", "newest", "what", "tags", "data", "is_own"}
    assert (body["ts"], body["newest"]) == (5, 7)
