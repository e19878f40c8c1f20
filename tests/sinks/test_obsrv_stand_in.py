"""The sink and the stand-in were written apart from the same description: they have to agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from far_side import record, run, run_of

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, TooLarge, Unverified
from agent.ports import Parcel
from agent.record import Run, batch_id
from agent.sandbox import faults
from agent.sandbox.faults import Fault
from agent.sandbox.obsrv import Dataset, Key, Rbac, Sandbox
from agent.schema import Secret
from agent.sinks.obsrv import Obsrv, verify

LAKE = Dataset(id="lake", dataset_config={"keys_config": {"timestamp_key": "ets"}})
FIELDS = b'{"n":%d,"ns":1668591949682123456,"u":18446744073709551615,"f":0.1}'
RUN = run_of([record(FIELDS % n, host="edge") for n in range(3)])
EXACT = {"ns": "1668591949682123456", "u": "18446744073709551615", "f": 0.1}


def parcel(sink: Obsrv, run: Run = RUN) -> Parcel:
    data = sink.encode(run)
    name = batch_id(run.segment_id, run.first, run.count, 0)
    return Parcel(name, sink.pack(name, run.newest_ms, data), run.count)


async def send(sandbox: Sandbox, run: Run = RUN, **options: Any) -> None:
    sink = Obsrv(**{"url": sandbox.url, "dataset": "lake", "time_key": "ets", **options})
    async with sink.open() as deliver:
        await deliver(parcel(sink, run))


@pytest.mark.parametrize("shape", ["record", "payload", "flat"])
@pytest.mark.parametrize("compressed", [True, False])
def test_every_shape_is_stored_with_its_numbers_exact(shape: str, compressed: bool) -> None:
    async def main() -> list[Any]:
        async with Sandbox.open([LAKE]) as sandbox:
            await send(sandbox, shape=shape, gzip=compressed, id_key="id", host_key="host")
            assert sandbox.lost == []
            return [entry.event for entry in sandbox.stored("lake")]

    events = run(main())
    assert len(events) == 3
    for n, event in enumerate(events):
        fields = event["fields"] if shape == "record" else event
        assert fields.items() >= {**EXACT, "n": n}.items()
        assert event.items() >= {"id": f"a1b2c3d4e5f60718-{40 + n}", "ets": 1700000000000, "host": "edge"}.items()


def test_a_resend_is_stored_once() -> None:
    async def main() -> None:
        async with Sandbox.open([LAKE]) as sandbox:
            sandbox.faults.add(faults.error(stored=True, count=1))
            with pytest.raises(Retryable) as caught:
                await send(sandbox)
            assert caught.value.ambiguous
            await send(sandbox)
            assert len(sandbox.accepted) == 2
            assert len({request.crc for request in sandbox.requests}) == 1
            assert len(sandbox.stored("lake")) == 3
            assert sandbox.conflicts == []

    run(main())


def test_a_single_event_sent_twice_is_stored_once_by_its_own_id() -> None:
    lake = Dataset(
        id="lake",
        extraction_config={"is_batch_event": False},
        dedup_config={"drop_duplicates": True, "dedup_key": "id"},
    )

    async def main() -> None:
        async with Sandbox.open([lake]) as sandbox:
            for _ in range(2):
                await send(sandbox, RUN.slice(1, 2), form="single", id_key="id")
            assert [entry.id for entry in sandbox.stored("lake")] == ["a1b2c3d4e5f60718-41"]

    run(main())


@pytest.mark.parametrize(
    ("fault", "expect", "marks"),
    [
        (faults.unavailable(), Retryable, set()),
        (faults.error(), Retryable, {"ambiguous"}),
        (faults.reset(), Retryable, {"ambiguous"}),
        (faults.hang(), Retryable, {"ambiguous"}),
        (faults.half_answer(), Retryable, {"ambiguous"}),
        (faults.refuse(), Rejected, set()),
        (faults.too_large(10), TooLarge, set()),
    ],
    ids=["unavailable", "error", "reset", "hang", "half", "refuse", "too large"],
)
def test_what_goes_wrong_there_is_understood_here(fault: Fault, expect: type[DeliveryError], marks: set[str]) -> None:
    async def main() -> None:
        async with Sandbox.open([LAKE]) as sandbox:
            sandbox.faults.add(fault)
            with pytest.raises(expect) as caught:
                await send(sandbox, timeout=0.5, connect_timeout=0.5)
            assert {name for name in ("ambiguous", "operator") if getattr(caught.value, name, False)} == marks

    run(main())


@pytest.mark.parametrize("status", ["Draft", "ReadyToPublish"])
def test_a_dataset_that_is_not_live_yet_is_for_the_operator(status: Any) -> None:
    async def main() -> None:
        async with Sandbox.open([Dataset(id="lake", status=status)]) as sandbox:
            with pytest.raises(Retryable, match="publish it") as caught:
                await send(sandbox)
            assert caught.value.operator

    run(main())


def test_only_a_token_with_the_role_gets_in() -> None:
    key = Key.make()

    async def main() -> None:
        async with Sandbox.open([LAKE], rbac=Rbac(key=key)) as sandbox:
            for token in (None, Secret(key.token({"roles": ["viewer"]})), Secret(key.token({"roles": []}))):
                with pytest.raises(AuthExpired):
                    await send(sandbox, token=token)
            with pytest.raises(Retryable, match="no JWT"):
                await send(sandbox, token=Secret("not-a-jwt"), timeout=0.5, connect_timeout=0.5)
            await send(sandbox, token=Secret(key.token({"roles": ["ingestor"], "exp": 2**33})))
            assert len(sandbox.stored("lake")) == 3

    run(main())


@pytest.mark.parametrize(
    ("options", "column"),
    [
        ({}, "source = verify."),
        ({"shape": "payload"}, "verify = "),
        ({"shape": "flat", "id_key": "id"}, "id = "),
        ({"form": "single", "id_key": "id"}, "id = "),
    ],
)
def test_delivery_is_verified_by_a_query_for_the_one_event_sent(options: dict[str, Any], column: str) -> None:
    async def main() -> None:
        async with Sandbox.open([LAKE]) as sandbox:
            await send(sandbox, id_key="id")  # others are there too
            said: list[str] = []
            sink = Obsrv(url=sandbox.url, dataset="lake", time_key="ets", **options)
            evidence = await sink.verify(said.append)
            assert evidence.startswith("1 event with ")
            assert evidence.endswith(" in lake_events_druid")
            assert column in said[0]
            assert len(sandbox.stored("lake")) == 4

    run(main())


def test_an_event_that_the_pipeline_drops_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(verify, "PATIENCE", 0.2)
        monkeypatch.setattr(verify, "ASK_AGAIN", 0.05)
        async with Sandbox.open([LAKE]) as sandbox:
            with pytest.raises(Unverified, match="found 0 events within"):
                # Without the dataset's timestamp key the event is accepted and lost.
                await Obsrv(url=sandbox.url, dataset="lake").verify(lambda text: None)
            assert len(sandbox.accepted) == 1

    run(main())


def test_a_token_that_may_not_query_is_named_with_the_way_out() -> None:
    key = Key.make()
    ingest, general = (key.token({"roles": [role], "exp": 2**33}) for role in ("ingestor", "viewer"))

    async def main() -> None:
        async with Sandbox.open([LAKE], rbac=Rbac(key=key)) as sandbox:
            sink = Obsrv(url=sandbox.url, dataset="lake", time_key="ets", token=Secret(ingest))
            with pytest.raises(Unverified, match="query_token"):
                await sink.verify(lambda text: None)
            allowed = replace(sink, query_token=Secret(general))
            assert "1 event" in await allowed.verify(lambda text: None)

    run(main())
