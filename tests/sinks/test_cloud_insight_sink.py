"""Sending to Cloud Insight over real sockets: what counts as taken, and what is not sent twice."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from far_side import FarSide, answer, far_side, hang, record, reset, run, said
from structlog.testing import capture_logs

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled
from agent.ports import Parcel
from agent.record import Run
from agent.sandbox import faults
from agent.sandbox.faults import Fault
from agent.sandbox.ncloud import Key, Sandbox
from agent.sandbox.ncloud.troubles import gateway, result, unconfirmed
from agent.schema import Secret
from agent.sinks.cloud_insight import CloudInsight, notes, sending
from agent.sinks.cloud_insight.schema import Metric, Schema

ACCESS, SECRET = "AK_TEST_17", "SK_TEST_4711"
KEYS = [Key(ACCESS, SECRET)]
MINUTE = 1_700_000_040_000
OK = said(200, result="success", dataId=-1, message="")


def cw_key(n: int) -> str:
    return f"46043847472251289{n}"


def row(n: int) -> dict[str, Any]:
    fields = [
        {"name": "device", "dataType": "STRING", "dimension": True, "idDimension": True},
        {"name": "v", "dataType": "FLOAT", "metric": True},
        {"name": "pad", "dataType": "STRING", "metric": True},
    ]
    return {"cw_key": cw_key(n), "prodName": f"Custom/P{n}", "fields": fields}


def sink(url: str, count: int = 1, **options: Any) -> CloudInsight:
    """A sink with so many schemas: number n takes its rows from the source s.<n>."""
    schemas = tuple(
        Schema(
            cw_key=cw_key(n),
            name=f"Custom/P{n}",
            select=(f"s.{n}",),
            dimensions={"device": "device"},
            metrics={"v": "v", "pad": Metric(field="pad", type="STRING")},
        )
        for n in range(count)
    )
    given = {"access_key": Secret(ACCESS), "secret_key": Secret(SECRET), "url": url, "schema": schemas, **options}
    return CloudInsight(**given)


def parcel(
    made: CloudInsight, devices: int = 1, pad: int = 0, name: str = "the-batch", sources: int | None = None
) -> Parcel:
    """A batch with a record of every source for so many devices."""
    fields = json.dumps({"v": 1, "pad": "x" * pad}).encode()
    records = [
        record(fields, ts=MINUTE, source=f"s.{n}", device=f"d{device:03}")
        for n in range(len(made.schema) if sources is None else sources)
        for device in range(devices)
    ]
    lengths = array("I", map(len, records))
    data = made.encode(Run(1, 0, b",".join(records), lengths, MINUTE, MINUTE + 1000))
    return Parcel(name, made.pack(name, MINUTE, data), len(records))


def kind(error: BaseException) -> str:
    marks = [name for name in ("ambiguous", "operator") if getattr(error, name, False)]
    return "+".join([type(error).__name__, *marks])


def sent(side: FarSide) -> list[tuple[str, int]]:
    """Which schema got how many rows in each request."""
    bodies = [json.loads(request.body) for request in side.requests]
    return [(body["cw_key"][-1], len(body["data"])) for body in bodies]


def stored(sandbox: Sandbox, count: int) -> list[int]:
    return [len(sandbox.stored(cw_key(n))) for n in range(count)]


def test_a_batch_is_a_request_for_each_schema_that_has_rows() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            made = sink(side.url, 3)
            async with made.open() as send:
                await send(parcel(made, 2, sources=2))
                await send(Parcel("nothing", b"", 7))
            assert {request.line for request in side.requests} == {"POST /cw_collector/real/data HTTP/1.1"}
            assert sent(side) == [("0", 2), ("1", 2)]
            assert json.loads(side.requests[0].body)["data"][1] == {"device": "d001", "v": 1.0, "pad": ""}

    run(main())


# The gateway's errors as the vendor's page lists them, and what a success by its status may hold instead of one.
ROWS: list[tuple[Fault, str, int]] = [
    (gateway("100"), "Retryable+ambiguous", 2),
    (gateway("200"), "AuthExpired", 1),
    (gateway("210"), "AuthExpired", 1),
    (gateway("230"), "AuthExpired", 1),
    (gateway("300"), "Retryable+operator", 2),
    (gateway("400"), "Throttled", 1),
    (gateway("410"), "Throttled", 1),
    (gateway("420"), "Throttled", 1),
    (gateway("500"), "Retryable", 1),
    (gateway("510"), "Retryable+ambiguous", 1),
    (gateway("510", stored=True), "Retryable+ambiguous", 1),
    (gateway("900"), "Retryable+ambiguous", 1),
    (result("fail", "invalid cw_key"), "Retryable+ambiguous", 2),
    (result("", ""), "Retryable+ambiguous", 2),
    (result("successful"), "Retryable+ambiguous", 2),
    (unconfirmed(""), "Retryable+ambiguous", 2),
    (unconfirmed("<html>welcome</html>"), "Retryable+ambiguous", 2),
    (unconfirmed("[1]", status=202), "Retryable+ambiguous", 2),
    (unconfirmed('{"result":null}'), "Retryable+ambiguous", 2),
    (faults.unavailable(), "Retryable", 1),
    (faults.unavailable(9), "Throttled", 1),
    (faults.reset("read"), "Retryable+ambiguous", 1),
    (faults.hang(), "Retryable+ambiguous", 1),
    (faults.half_answer(), "Retryable+ambiguous", 1),
]


SHAPED = [(*row, shape) for row in ROWS for shape in ("string", "number", "xml", "empty") if row[0].name == "answer"]
PLAIN = [(*row, "string") for row in ROWS if row[0].name != "answer"]


@pytest.mark.parametrize(("fault", "expect", "requests", "shape"), [*SHAPED, *PLAIN])
def test_every_answer_is_classed_and_tells_whether_the_other_schema_is_worth_a_try(
    fault: Fault, expect: str, requests: int, shape: Any
) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS, shape=shape) as sandbox:
            armed = fault.only(dataset=cw_key(0))
            sandbox.faults.add(armed)
            made = sink(sandbox.url, 2, timeout=0.4, connect_timeout=0.4)
            async with made.open() as send:
                with pytest.raises(DeliveryError) as caught:
                    await send(parcel(made))
                assert kind(caught.value) == expect
                assert len(sandbox.requests) == requests
                assert len(sandbox.stored(cw_key(1))) == requests - 1
                shown = f"{caught.value.reason} {caught.value.answer}"
                assert ACCESS not in shown
                assert SECRET not in shown
                # The retry sends what is missing, and nothing else.
                sandbox.faults.clear()
                await send(parcel(made))
            assert len(sandbox.requests) == requests + (1 if requests == 2 else 2)
            assert len(sandbox.stored(cw_key(1))) == 1
            assert len({request.stamp for request in sandbox.requests}) == len(sandbox.requests)

    run(main())


@pytest.mark.parametrize("word", ["success", "SUCCESS", "Success"])
def test_a_success_is_one_however_it_is_written(word: str) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, success=word) as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                await send(parcel(made))
            assert stored(sandbox, 1) == [1]

    run(main())


def test_a_wrong_result_names_its_schema_its_words_and_the_number_to_quote() -> None:
    async def main() -> None:
        refusal = answer(200, b'{"result":"fail","message":"no such key"}', {"x-ncp-trace-id": "7f3a"})
        async with far_side(refusal, OK) as side:
            made = sink(side.url, 2)
            async with made.open() as send:
                with pytest.raises(Retryable) as caught:
                    await send(parcel(made))
            told = 'Custom/P0: answered 200, the result is "fail" (no such key), x-ncp-trace-id 7f3a'
            assert caught.value.reason == told
            assert sent(side) == [("0", 1), ("1", 1)]

    run(main())


def test_two_schemas_refused_are_told_together() -> None:
    async def main() -> None:
        async with far_side(said(404), said(200, result="fail"), OK) as side:
            made = sink(side.url, 3)
            async with made.open() as send:
                with pytest.raises(Retryable, match=r"Custom/P0: .*; Custom/P1: answered 200") as caught:
                    await send(parcel(made))
                assert kind(caught.value) == "Retryable+ambiguous"
                await send(parcel(made))
            assert sent(side) == [("0", 1), ("1", 1), ("2", 1), ("0", 1), ("1", 1)]

    run(main())


def test_a_gateway_that_is_not_reached_is_asked_once() -> None:
    async def main() -> None:
        async with far_side(reset) as side:
            url = side.url
        made = sink(url, 5)
        async with made.open() as send:
            with pytest.raises(Retryable, match="cannot connect"):
                await send(parcel(made))

    run(main())


def test_of_a_schema_with_several_requests_the_accepted_ones_are_not_sent_again() -> None:
    async def main() -> None:
        async with far_side(OK, OK, reset, OK) as side:
            made = sink(side.url, 2, max_rows=10)
            async with made.open() as send:
                with pytest.raises(Retryable):
                    await send(parcel(made, 25))
                await send(parcel(made, 25))
            assert sent(side) == [("0", 10), ("0", 10), ("0", 5), ("0", 5), ("1", 10), ("1", 10), ("1", 5)]

    run(main())


def test_a_batch_of_another_name_is_another_batch() -> None:
    async def main() -> None:
        async with far_side(OK, reset, OK) as side:
            made = sink(side.url, 2)
            async with made.open() as send:
                with pytest.raises(Retryable):
                    await send(parcel(made, name="one"))
                await send(parcel(made, name="two"))
                await send(parcel(made, name="one"))
                await send(parcel(made, name="one"))
            assert [key for key, _ in sent(side)] == ["0", "1", "0", "1", "1", "0", "1"]

    run(main())


def test_what_is_remembered_of_batches_is_bounded() -> None:
    async def main() -> None:
        async with far_side(said(200, result="fail")) as side:
            made = sink(side.url)
            async with made.open() as send:
                for n in range(200):
                    with pytest.raises(Retryable):
                        await send(parcel(made, name=f"batch-{n}"))
                assert len(send.__self__._under_way) <= 64  # type: ignore[attr-defined]

    run(main())


def test_what_is_too_large_is_halved_and_the_size_is_kept() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, body_limit=4000) as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                await send(parcel(made, 40, pad=300))
                first = len(sandbox.requests)
                refused = sum(request.status == 413 for request in sandbox.requests)
                await send(parcel(made, 40, pad=300, name="the next"))
                again = sandbox.requests[first:]
            assert refused == 2  # 14 kB, 7 kB, then 3.5 kB
            assert all(request.status == 200 for request in again)
            devices = [row.dimensions["device"] for row in sandbox.stored(cw_key(0))]
            assert sorted(devices) == sorted(2 * [f"d{n:03}" for n in range(40)])

    run(main())


def test_a_row_that_is_too_large_by_itself_is_refused() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS, body_limit=4000) as sandbox:
            made = sink(sandbox.url, 2)
            async with made.open() as send:
                with pytest.raises(Rejected, match=r"Custom/P0: a row of 50\d\d bytes"):
                    await send(parcel(made, pad=5000, sources=1))

    run(main())


def test_that_nothing_at_all_is_sent_is_a_warning() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            given = sink(side.url, 2)
            narrow = sink(side.url, 1)  # its only schema takes s.0
            foreign = parcel(given, name="all")
            records = [record(b'{"v":1}', ts=MINUTE, source="s.1", device="d")]
            data = narrow.encode(Run(1, 0, records[0], array("I", map(len, records)), MINUTE, MINUTE + 1000))
            async with narrow.open() as send:
                with capture_logs() as logs:
                    await send(Parcel("one", data, 1))
                    await send(Parcel("two", data, 1))
            assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
                "no record feeds a schema, and nothing is sent"
            ]
            async with given.open() as send:
                with capture_logs() as logs:
                    await send(foreign)
            assert logs == []

    run(main())


def with_giants(made: CloudInsight, *giants: int, name: str) -> Parcel:
    """A batch with three devices in every schema; in schema 0 those of these numbers have too much to say."""
    records = [
        record(json.dumps({"v": 1, "pad": "x" * (5000 * (n == 0 and device in giants))}).encode(), ts=MINUTE,
               source=f"s.{n}", device=f"d{device}")
        for n in range(len(made.schema))
        for device in range(3)
    ]  # fmt: skip
    data = made.encode(Run(1, 0, b",".join(records), array("I", map(len, records)), MINUTE, MINUTE + 1000))
    return Parcel(name, data, len(records))


def test_a_row_that_is_too_large_costs_no_other_row_a_second_delivery() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS, body_limit=4000) as sandbox:
            made = sink(sandbox.url, 2)
            async with made.open() as send:
                with capture_logs() as logs:
                    await send(with_giants(made, 1, name="one"))
                    await send(with_giants(made, 0, name="two"))
            assert [row.dimensions["device"] for row in sandbox.stored(cw_key(0))] == ["d0", "d2", "d1", "d2"]
            assert [row.dimensions["device"] for row in sandbox.stored(cw_key(1))] == ["d0", "d1", "d2"] * 2
            (said,) = [line for line in logs if line["log_level"] == "error"]
            assert (said["event"], said["schema"], said["rows"]) == ("rows too large, and left out", "Custom/P0", 1)

    run(main())


@pytest.mark.parametrize("times", range(1, 4))
def test_what_is_too_large_for_a_moment_only_is_not_left_out(times: int) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS) as sandbox:
            made = sink(sandbox.url)
            sandbox.faults.add(gateway("430", count=times))
            async with made.open() as send:
                with capture_logs() as logs:
                    await send(with_giants(made, name="one"))
            assert sorted(row.dimensions["device"] for row in sandbox.stored(cw_key(0))) == ["d0", "d1", "d2"]
            assert not [line for line in logs if line["log_level"] == "error"]

    run(main())


def test_a_limit_that_was_raised_is_found_out_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, body_limit=4000) as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                await send(parcel(made, 40, pad=300))
                sandbox.settings.body_limit = 100_000
                first = len(sandbox.requests)
                await send(parcel(made, 40, pad=300, name="while it is kept"))
                kept = len(sandbox.requests) - first
                monkeypatch.setattr(sending, "ROOM_KEPT", 0.0)
                sandbox.settings.body_limit = 2000
                await send(parcel(made, 40, pad=300, name="refused once more"))
                sandbox.settings.body_limit = 100_000
                first = len(sandbox.requests)
                await send(parcel(made, 40, pad=300, name="the next"))
                assert (kept > 1, len(sandbox.requests) - first) == (True, 1)

    run(main())


def test_where_every_row_is_too_large_none_is_left_out() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, body_limit=4000) as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                for _ in range(2):
                    before = len(sandbox.requests)
                    with pytest.raises(Rejected), capture_logs() as logs:
                        await send(with_giants(made, 0, 1, 2, name="one"))
                    assert len(sandbox.requests) - before <= 5
                    assert not [line for line in logs if line["log_level"] == "error"]
                sandbox.settings.body_limit = 100_000
                await send(with_giants(made, 0, 1, 2, name="one"))
            assert stored(sandbox, 1) == [3]

    run(main())


def test_refused_rows_can_be_left_out_which_is_said_and_counted() -> None:
    async def main() -> None:
        async with Sandbox.open([row(1)], keys=KEYS) as sandbox:
            made = sink(sandbox.url, 2, on_refused="drop")
            async with made.open() as send:
                with capture_logs() as logs:
                    for n in range(3):
                        await send(parcel(made, 5, name=f"batch-{n}"))
                    sandbox.schemas.put(type(next(iter(sandbox.schemas))).of(row(0)))
                    await send(parcel(made, 5, name="the last"))
            told = [(line["event"], line.get("rows"), line.get("dropped")) for line in logs if "schema" in line]
            assert told == [("rows refused, and dropped", 5, None), ("rows accepted again", None, 15)]
            assert stored(sandbox, 2) == [5, 20]

    run(main())


def told_of_schemas(logs: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(each["log_level"], each["event"], each["schema"]) for each in logs if "schema" in each]


WAITS = ("error", "schema refused, its rows wait", "Custom/P0")
AGAIN = ("info", "schema taken again", "Custom/P0")


@pytest.mark.parametrize("refusal", [gateway("100"), gateway("300"), result("fail", "no such key")])
def test_a_schema_that_is_refused_while_others_are_taken_is_told_once_and_when_it_is_over(refusal: Fault) -> None:
    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS) as sandbox:
            made = sink(sandbox.url, 2, max_rows=2)
            sandbox.faults.add(refusal.only(dataset=cw_key(0)))
            async with made.open() as send:
                with capture_logs() as logs:
                    for name in ("one", "one", "two"):
                        with pytest.raises(Retryable):
                            await send(parcel(made, 3, name=name))
                    sandbox.faults.clear()
                    for name in ("one", "two", "three"):
                        await send(parcel(made, 3, name=name))
            assert told_of_schemas(logs) == [WAITS, AGAIN]
            (line,) = [each for each in logs if each["log_level"] == "error"]
            assert (line["cw_key"], line["rows"]) == (cw_key(0), 3)
            assert line["reason"].startswith("Custom/P0: ")
            assert "dimensions and metrics" in line["look_at"]

    run(main())


def test_a_schema_that_stays_refused_is_told_hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Sandbox.open([row(1)], keys=KEYS) as sandbox:
            made = sink(sandbox.url, 2)
            async with made.open() as send:
                with capture_logs() as logs:
                    for hour in (notes.REMIND, 0.0, notes.REMIND):
                        monkeypatch.setattr(notes, "REMIND", hour)
                        with pytest.raises(Retryable):
                            await send(parcel(made))
            assert told_of_schemas(logs) == [WAITS, WAITS]

    run(main())


def test_of_a_schema_that_is_taken_by_half_it_is_not_said_that_it_is_taken_again() -> None:
    async def main() -> None:
        half = said(200, result="fail")
        async with far_side(OK, half, OK, OK, OK, half, OK, OK, half, OK) as side:
            made = sink(side.url, 2, max_rows=2)
            async with made.open() as send:
                with capture_logs() as logs:
                    for name in ("one", "two"):
                        with pytest.raises(Retryable):
                            await send(parcel(made, 3, name=name))
                    assert told_of_schemas(logs) == [WAITS]
                    with pytest.raises(Retryable):
                        await send(parcel(made, 3, name="two"))
                    await send(parcel(made, 3, name="two"))
            assert told_of_schemas(logs) == [WAITS, AGAIN]

    run(main())


def test_of_schemas_that_are_all_refused_delivery_tells() -> None:
    async def main() -> None:
        async with Sandbox.open([], keys=KEYS) as sandbox:
            made = sink(sandbox.url, 2)
            async with made.open() as send:
                with capture_logs() as logs, pytest.raises(Retryable):
                    await send(parcel(made))
            assert told_of_schemas(logs) == []

    run(main())


def test_what_feeds_no_schema_is_said_once() -> None:
    async def main() -> None:
        async with far_side(OK) as side:
            made = sink(side.url, 1)
            async with made.open() as send:
                with capture_logs() as logs:
                    for n in range(3):
                        await send(parcel(made, name=f"{n}", sources=2))
                    await send(parcel(made, name="more", sources=3))
            assert [(line["event"], line["so_far"]) for line in logs] == [
                ("records feed no schema", {"s.1": 1}),
                ("records feed no schema", {"s.1": 4, "s.2": 1}),
            ]

    run(main())


def test_a_clock_ten_minutes_off_costs_one_request() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, clock_offset=600) as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                await send(parcel(made))
                await send(parcel(made, name="the next"))
            assert [request.status for request in sandbox.requests] == [401, 200, 200]
            assert stored(sandbox, 1) == [2]

    run(main())


def test_a_key_rotated_in_its_file_loses_nothing_and_is_told_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        files = {name: tmp_path / name for name in ("access_key", "secret_key")}
        for name, text in (("access_key", ACCESS), ("secret_key", SECRET)):
            files[name].write_text(text)
        async with Sandbox.open([row(0)], keys=KEYS) as sandbox:
            keys: dict[str, Any] = {name: Secret(path=str(file)) for name, file in files.items()}
            made = sink(sandbox.url, **keys)
            async with made.open() as send:
                with capture_logs() as logs:
                    await send(parcel(made, name="one"))
                    sandbox.keys.revoke(ACCESS)
                    with pytest.raises(AuthExpired):
                        await send(parcel(made, name="two"))
                    sandbox.keys.add(Key("AK_NEW", "SK_NEW"))
                    files["access_key"].write_text("AK_NEW")
                    files["secret_key"].write_text("SK_NEW")
                    for name in ("two", "three"):
                        await send(parcel(made, name=name))
            assert [line["event"] for line in logs] == ["credentials read again, they have changed"]
            assert stored(sandbox, 1) == [3]

    run(main())


def test_a_silent_gateway_is_waited_for_no_longer_than_the_timeout() -> None:
    async def main() -> None:
        async with far_side(hang) as side:
            made = sink(side.url, 5, timeout=0.2, connect_timeout=0.2)
            async with made.open() as send:
                with pytest.raises(Retryable, match=r"no answer within 0\.2 s"):
                    await send(parcel(made))
            assert len(side.requests) == 1

    run(main())


def test_a_quota_is_waited_out_for_minutes_and_a_wish_is_a_wish() -> None:
    async def main() -> None:
        async with Sandbox.open([row(0)], keys=KEYS, requests_per_minute=0, limit_code="400") as sandbox:
            made = sink(sandbox.url)
            async with made.open() as send:
                with pytest.raises(Throttled) as caught:
                    await send(parcel(made))
                assert caught.value.retry_after >= 120
                sandbox.settings.retry_after = "33"
                with pytest.raises(Throttled) as caught:
                    await send(parcel(made))
                assert caught.value.retry_after == 33.0

    run(main())


def test_rows_of_a_key_that_is_not_there_yet_wait_alone_and_go_once_it_is(tmp_path: Path) -> None:
    file = tmp_path / "p0.cw_key"

    async def main() -> None:
        async with Sandbox.open([row(0), row(1)], keys=KEYS) as sandbox:
            made = sink(sandbox.url, 2)
            late = replace(made.schema[0], cw_key=None, cw_key_file=file)
            made = replace(made, schema=(late, made.schema[1]))
            async with made.open() as send:
                batch = parcel(made)
                for text, reason in (("", "is not there: .*schema create"), ("key", "expected the digits")):
                    if text:
                        file.write_text(text)
                    with pytest.raises(Retryable, match=rf"p0.cw_key:? {reason}") as refused:
                        await send(batch)
                    assert refused.value.operator
                    assert stored(sandbox, 2) == [0, 1]
                file.write_text(f"{cw_key(0)}\n")
                await send(batch)
            assert stored(sandbox, 2) == [1, 1]

    run(main())
