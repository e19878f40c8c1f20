"""The client of Obsrv's datasets, against the stand-in and against a far side that does what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from far_side import Act, answer, far_side, hang, record, reset, run, run_of, said

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable
from agent.ports import Parcel
from agent.sandbox.obsrv import Dataset, Key, Rbac, Sandbox
from agent.sandbox.obsrv.pipeline import Pipeline
from agent.schema import Secret
from agent.sinks.obsrv import Obsrv, datasets
from agent.sinks.obsrv.datasets import Datasets, open_datasets
from agent.sinks.obsrv.expected import Expected, Sample, expected, schema_of
from agent.sinks.obsrv.findings import FIELDS, findings
from agent.sinks.obsrv.verify import datasources
from agent.timing import Backoff

Call = Callable[[Datasets], Coroutine[Any, Any, Any]]
REQUEST = {"dataset_id": "lake", "name": "Lake", "type": "event"}
CREATE: Call = lambda lake: lake.create(REQUEST)  # noqa: E731
READ: Call = lambda lake: lake.read("lake", ["status"])  # noqa: E731
LIVE: Call = lambda lake: lake.transition("lake", "Live")  # noqa: E731
COUNT: Call = lambda lake: lake.query('SELECT COUNT(*) AS c FROM "lake"', datasources("lake"))  # noqa: E731


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "BACKOFF", Backoff(first=0.01))


def sink(url: str, **options: Any) -> Obsrv:
    return Obsrv(**{"url": url, "dataset": "lake", "timeout": 0.6, "connect_timeout": 0.5, **options})


async def asked(url: str, call: Call, **options: Any) -> Any:
    said_: list[str] = []
    async with open_datasets(sink(url, **options), say=said_.append) as lake:
        return await call(lake)


def test_a_dataset_is_created_published_read_and_queried() -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, open_datasets(sink(sandbox.url), say=print) as lake:
            assert await READ(lake) is None
            assert (await CREATE(lake)).isdigit()
            with pytest.raises(Rejected, match=r"already.*DATASET_EXISTS"):
                await CREATE(lake)
            with pytest.raises(Rejected, match=r"status does not allow this.*DATASET_LIVE_FAILURE"):
                await LIVE(lake)
            with pytest.raises(Retryable, match="no datasource lake or lake_events_druid or lake_druid"):
                await COUNT(lake)
            await lake.transition("lake", "ReadyToPublish")
            assert await READ(lake) is None
            assert (await lake.read("lake", ["status"], draft=True))["status"] == "ReadyToPublish"
            await LIVE(lake)
            row = await lake.read("lake", FIELDS)
            assert row["extraction_config"]["dedup_config"]["drop_duplicates"] is True
            assert row["validation_config"]["mode"] == "Strict"
            assert await COUNT(lake) == [{"c": 0}]
            with pytest.raises(Rejected, match=r"\[alias\] in the dataset cannot be found"):
                await lake.read("lake", ["alias"])

    run(main())


def test_rows_come_back_as_they_were_sent_and_never_more_than_5000() -> None:
    async def main() -> None:
        async with Sandbox.open([Dataset(id="lake")]) as sandbox:
            made = sink(sandbox.url, shape="flat")
            batch = run_of([record(b'{"n":%d}' % n, host="edge") for n in range(3)])
            async with made.open() as send:
                await send(Parcel("one", made.pack("one", 1, made.encode(batch)), 3))
            query = 'SELECT "host", n FROM "lake" LIMIT 2'
            rows = await asked(sandbox.url, lambda lake: lake.query(query, datasources("lake")))
            assert rows == [{"host": "edge", "n": 0}, {"host": "edge", "n": 1}]
            # Obsrv adds its own LIMIT to what is not written as it expects, and the database wonders.
            with pytest.raises(Rejected):
                await asked(sandbox.url, lambda lake: lake.query(query.replace("LIMIT", "limit"), datasources("lake")))

    run(main())


def test_without_its_command_service_obsrv_publishes_nothing_and_it_is_said_so() -> None:
    async def main() -> None:
        async with Sandbox.open([Dataset(id="lake", status="ReadyToPublish")], publishes=False) as sandbox:
            with pytest.raises(Retryable, match="does not reach its command service") as caught:
                await asked(sandbox.url, LIVE)
            assert caught.value.operator
            assert "127.0.0.1:18000" in caught.value.answer

    run(main())


@pytest.mark.parametrize(
    ("role", "call", "needs"),
    [
        ("ingestor", READ, "viewer"),
        ("ingestor", COUNT, "viewer"),
        ("viewer", CREATE, "dataset_creator"),
        ("dataset_creator", LIVE, "dataset_manager"),
    ],
)
def test_a_token_without_the_role_is_told_which_one_it_takes(role: str, call: Call, needs: str) -> None:
    key = Key.make()

    async def main() -> None:
        rows = [Dataset(id="lake", status="ReadyToPublish")]
        async with Sandbox.open(rows, rbac=Rbac(key=key)) as sandbox:
            with pytest.raises(AuthExpired, match=f"it takes {needs}.*FORBIDDEN ACCESS"):
                await asked(sandbox.url, call, token=Secret(key.token({"roles": [role], "exp": 2**33})))
            with pytest.raises(AuthExpired, match=r"has not expired.*UNAUTHORIZED"):
                await asked(sandbox.url, call, token=Secret(key.token({"roles": ["admin"], "exp": 1})))

    run(main())


def test_the_query_token_is_shown_before_the_sinks_and_another_before_both() -> None:
    key = Key.make()
    ingest, view, admin = (Secret(key.token({"roles": [each]})) for each in ("ingestor", "viewer", "admin"))

    async def main() -> None:
        async with Sandbox.open([Dataset(id="lake")], rbac=Rbac(key=key)) as sandbox:
            options = {"token": ingest, "query_token": view}
            assert await asked(sandbox.url, READ, **options)
            async with open_datasets(sink(sandbox.url, **options), token=admin, say=print) as lake:
                await lake.create({**REQUEST, "dataset_id": "other"})

    run(main())


def test_a_token_that_is_no_jwt_is_named_once_and_not_tried_again() -> None:
    async def main() -> None:
        async with Sandbox.open([Dataset(id="lake")], rbac=Rbac()) as sandbox:
            said_: list[str] = []
            made = sink(sandbox.url, token=Secret("opaque"), timeout=0.3, connect_timeout=0.3)
            async with open_datasets(made, say=said_.append) as lake:
                with pytest.raises(Retryable, match="the token is no JWT, and Obsrv leaves"):
                    await READ(lake)
            assert said_ == []

    run(main())


BUSY = said(503, message="away")
LOST = said(500, id="api.datasets.read", error={"code": 17, "message": "Kafka"})
SLOW_DOWN = answer(429, b"", {"Retry-After": "0"})
GOOD = said(200, id="x", params={"status": "SUCCESS"}, responseCode="OK", result={"status": "Live", "version_key": "7"})


@pytest.mark.parametrize(
    ("call", "acts", "requests", "expect"),
    [
        (READ, [BUSY, LOST, reset, GOOD], 4, {"status": "Live", "version_key": "7"}),
        (CREATE, [SLOW_DOWN, GOOD], 2, "7"),
        (CREATE, [BUSY, GOOD], 1, "503"),
        (CREATE, [LOST, GOOD], 1, r"whether it was done is not known.*"),
        (CREATE, [reset, GOOD], 1, "whether it was done is not known"),
        (CREATE, [hang, GOOD], 1, "whether it was done is not known"),
        (READ, [said(404, error={"code": "ROUTE_NOT_FOUND", "message": "Route not found"}), GOOD], 1, "correct url"),
        (READ, [answer(404, b"<html>nginx</html>"), GOOD], 1, "404"),
        (READ, [answer(200, b"<html>welcome</html>"), GOOD], 1, "expected an answer of Obsrv's"),
        (READ, [said(200, result=[1]), GOOD], 1, "expected a dataset as the result"),
        (COUNT, [said(200, result={"c": 1}), GOOD], 1, "expected a list of rows"),
        (CREATE, [said(400, error={"code": "DATASET_INVALID_INPUT", "message": "#no name"})], 1, "refused.*#no name"),
    ],
)
def test_only_what_may_be_asked_twice_is_asked_twice(call: Call, acts: list[Act], requests: int, expect: Any) -> None:
    async def main() -> None:
        async with far_side(*acts) as side:
            if isinstance(expect, str) and expect != "7":
                with pytest.raises(DeliveryError, match=expect):
                    await asked(side.url, call, timeout=0.5)
            else:
                assert await asked(side.url, call) == expect
            assert len(side.requests) == requests
            assert len({request.body for request in side.requests}) == 1, "a repeat is the same request"

    run(main())


def test_what_was_never_connected_is_tried_again_a_creation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "PATIENCE", 0.0)

    async def main() -> None:
        async with far_side() as side:
            url = side.url
        with pytest.raises(Retryable) as caught:
            await asked(url, CREATE)
        assert not caught.value.ambiguous
        assert "not known" not in caught.value.reason

    run(main())


# What the sink sends, and datasets that keep it or lose it.

HOST = Sample("host.load", {"host": "edge"}, {"load1": 0.5, "n": 1})
DEVICE = Sample("mqtt.plant", {"host": "edge", "topic": "t"}, {}, is_whole=False)


def sent(*samples: Sample, **options: Any) -> Expected:
    return expected(sink("http://lake", **{"id_key": "id", "time_key": "ets", **options}), samples or (HOST,))


def row_of(made: Expected, **changes: Any) -> dict[str, Any]:
    """The dataset of the example, Live, with other settings."""
    request: Any = made.create()["request"]
    return {**request, "status": "Live", "entry_topic": "t", "api_version": "v2", **changes}


@pytest.mark.parametrize("shape", ["record", "payload", "flat"])
@pytest.mark.parametrize("form", ["array", "single"])
@pytest.mark.parametrize("time_format", ["ms", "s", "rfc3339"])
def test_the_example_fits_what_the_sink_sends_and_the_pipeline_keeps_it(
    shape: str, form: str, time_format: str
) -> None:
    made = sent(HOST, DEVICE, shape=shape, form=form, time_format=time_format)
    row = row_of(made)
    assert [each for each in findings(row, made) if each.grade != "ok"] == []
    assert lost(row, made) == []
    kind = "string" if time_format == "rfc3339" else "integer"
    assert row["data_schema"]["properties"]["ets"] == {"type": kind}
    assert row["dataset_config"]["keys_config"] == {"timestamp_key": "ets"}


def lost(row: dict[str, Any], made: Expected) -> list[str]:
    """What the stand-in's pipeline does not store of the events, sent as the sink sends them."""
    dataset, pipeline = Dataset.of(row), Pipeline()
    events = [dict(event.value) for event in made.events]
    # Their ids are the record's; here each is one of its own.
    events = [{**event, **({made.id_key: str(n)} if made.id_key else {})} for n, event in enumerate(events)]
    if made.is_array:
        return [fate.reason for fate in pipeline.process(dataset, "m", events) if fate.reason]
    fates = [fate for event in events for fate in pipeline.process(dataset, "m", event)]
    return [fate.reason for fate in fates if fate.reason]


STRICT = {"validate": True, "mode": "Strict"}
BATCH = {"is_batch_event": True, "extraction_key": "events"}
SHORT = {"type": "object", "properties": {"ets": {"type": "integer"}}}
TWO = (HOST, HOST._replace(fields={"load1": 1.5, "n": 2}))


def keyed(timestamp_key: str) -> dict[str, Any]:
    return {"keys_config": {"timestamp_key": timestamp_key}}


def by(dedup_key: str) -> dict[str, Any]:
    return {"drop_duplicates": True, "dedup_key": dedup_key}


@pytest.mark.parametrize(
    ("samples", "options", "changes", "setting", "grade", "words"),
    [
        (TWO, {}, {"extraction_config": {"is_batch_event": False}}, "is_batch_event", "fault", "vanish after a 200"),
        (TWO, {}, {"status": "Retired"}, "status", "fault", "drops every event"),
        (TWO, {}, {"validation_config": STRICT, "data_schema": SHORT}, "mode", "fault", "to the topic failed"),
        (TWO, {}, {"validation_config": {"validate": True}, "data_schema": SHORT}, "mode", "fault", "source, tags"),
        (TWO, {}, {"data_schema": {"properties": {"ets": {"type": "string"}}}}, "timestamp_key", "fault", "as integer"),
        (TWO, {}, {"data_schema": {"properties": {"source": {"type": "integer"}}}}, "data_schema", "fault", "source"),
        (TWO, {}, {"data_schema": {"required": ["uid"]}}, "data_schema", "fault", "uid (required, and not sent)"),
        (TWO, {}, {"dataset_config": keyed("at")}, "timestamp_key", "fault", "ERR_ROUTER_1019"),
        (TWO, {}, {"dataset_config": keyed("tags")}, "timestamp_key", "fault", "ERR_ROUTER_1019"),
        (TWO, {}, {"dedup_config": by("source")}, "dedup_config", "fault", "id_key"),
        # What these cost is not the loss of these events.
        (TWO, {}, {"status": "Draft"}, "status", "fault", "404"),
        (TWO, {}, {"entry_topic": ""}, "entry_topic", "fault", "404"),
        (TWO, {}, {"dataset_config": {}}, "timestamp_key", "doubt", "dated when they arrive"),
        (TWO, {}, {"dataset_config": keyed("ts")}, "timestamp_key", "doubt", "dated by ts"),
        (TWO, {}, {"extraction_config": BATCH}, "extraction_config.dedup_config", "doubt", "stored twice"),
        (TWO, {}, {"dedup_config": {}}, "dedup_config", "doubt", "replayed in other batches"),
        (TWO, {"form": "single"}, {"dedup_config": {}}, "dedup_config", "doubt", "stored twice"),
        (TWO, {}, {"dedup_config": by("uid")}, "dedup_config", "doubt", "no uid"),
        (TWO, {}, {"data_schema": SHORT}, "data_schema.properties", "doubt", "columns"),
        ((DEVICE,), {}, {"validation_config": STRICT}, "validation_config.mode", "doubt", "fields of mqtt.plant"),
        ((DEVICE,), {}, {"dataset_config": keyed("fields.at")}, "timestamp_key", "doubt", "fields of mqtt.plant"),
        ((DEVICE,), {}, {"dataset_config": keyed("at")}, "timestamp_key", "fault", "mqtt.plant have no time in at"),
    ],
)  # fmt: skip
def test_what_a_dataset_would_lose_is_found_with_its_cost(
    samples: tuple[Sample, ...], options: dict[str, Any], changes: dict[str, Any], setting: str, grade: str, words: str
) -> None:
    made = sent(*samples, **options)
    row = row_of(made, **changes)
    (found,) = [each for each in findings(row, made) if each.grade != "ok" and each.setting.endswith(setting)]
    assert found.grade == grade
    assert words in found.cost
    # The stand-in's pipeline was written from the same facts by another way: it has to agree.
    silent = grade == "fault" and not found.cost.startswith("data-in answers 404")
    assert bool(lost({**row, "status": row["status"] if silent else "Live"}, made)) is silent or samples == (DEVICE,)


def test_what_nothing_checks_is_in_order() -> None:
    made = sent(*TWO, form="single")
    row = row_of(made, validation_config={"validate": False}, data_schema={}, extraction_config={})
    assert {each.grade for each in findings(row, made)} == {"ok"}
    assert lost(row, made) == []


def test_a_schema_is_made_of_all_events_and_leaves_out_what_has_several_types() -> None:
    events = [{"a": 1, "b": {"x": 1, "y": "s"}, "c": True}, {"a": 0.5, "b": {"x": 2, "y": 2, "z": []}, "c": "no"}]
    assert schema_of(events)["properties"] == {
        "a": {"type": "number"},
        "b": {
            "type": "object",
            "additionalProperties": True,
            "properties": {"x": {"type": "integer"}, "z": {"type": "array"}},
        },
    }


def test_a_request_to_create_has_the_envelope_that_obsrv_asks_for() -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, open_datasets(sink(sandbox.url), say=print) as lake:
            made = sent(form="single", shape="payload", id_key="id", time_key=None)
            body: Any = made.create()
            assert list(body) == ["id", "ver", "ts", "params", "request"]
            assert json.loads(json.dumps(body)) == body
            await lake.create(body["request"])
            row: Any = await lake.read("lake", FIELDS, draft=True)
            assert row["extraction_config"]["is_batch_event"] is False
            assert row["dataset_config"]["keys_config"] == {"timestamp_key": "obsrv_meta.syncts"}
            assert row["dedup_config"]["dedup_key"] == "id"

    run(main())
