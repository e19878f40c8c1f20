"""What the stand-in says it stored, and why not the rest: accepted and stored are two things."""

from __future__ import annotations

import asyncio
from typing import Any

from far import put

from agent.sandbox.obsrv import Dataset, Sandbox

SCHEMA = {
    "type": "object",
    "properties": {
        "uid": {"type": "string"},
        "value": {"type": "number"},
        "place": {"type": "object", "properties": {"room": {"type": "integer"}}},
    },
    "required": ["uid"],
}


def fates(dataset: Dataset, *requests: tuple[str, object]) -> tuple[list[str], list[tuple[str, str]], Sandbox]:
    """Send these; the stored ids, the lost ones with reasons, and the books."""

    async def main() -> Sandbox:
        async with Sandbox.open([dataset]) as sandbox:
            for msgid, data in requests:
                assert await put(sandbox.port, msgid, data) == 200
            return sandbox

    sandbox = asyncio.run(main())
    return [item.id for item in sandbox.stored("lake")], [(item.id, item.reason) for item in sandbox.lost], sandbox


def rows(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"uid": uid, **more} for uid in ids]


def test_a_batch_sent_twice_under_its_msgid_is_accepted_twice_and_stored_once() -> None:
    stored, lost, sandbox = fates(Dataset(id="lake"), ("m", rows("a", "b")), ("m", rows("a", "b")))
    assert stored == ["a", "b"]
    assert lost == [("a", "duplicate batch"), ("b", "duplicate batch")]
    assert [entry.count for entry in sandbox.accepted] == [2, 2]
    assert sandbox.conflicts == []


def test_other_data_under_a_known_msgid_is_lost_and_reported_as_a_conflict() -> None:
    stored, lost, sandbox = fates(Dataset(id="lake"), ("m", rows("a")), ("m", rows("b")))
    assert stored == ["a"]
    assert lost == [("b", "duplicate batch")]
    assert [(conflict.dataset, conflict.msgid) for conflict in sandbox.conflicts] == [("lake", "m")]


def test_the_same_data_in_other_white_space_is_no_conflict_and_one_bit_less_is() -> None:
    _, _, same = fates(Dataset(id="lake"), ("m", [{"uid": "a", "v": 1.0}]), ("m", [{"uid": "a", "v": 1}]))
    _, _, other = fates(Dataset(id="lake"), ("m", [{"uid": "a", "v": 1}]), ("m", [{"uid": "a", "v": 2}]))
    assert (len(same.conflicts), len(other.conflicts)) == (0, 1)


def test_single_events_are_not_deduplicated_by_msgid() -> None:
    stored, lost, _ = fates(Dataset(id="lake"), ("m", {"uid": "a"}), ("m", {"uid": "a"}))
    assert (stored, lost) == (["a", "a"], [])


def test_single_events_are_deduplicated_by_the_dataset_s_own_key() -> None:
    dataset = Dataset(id="lake", dedup_config={"drop_duplicates": True, "dedup_key": "uid"})
    stored, lost, _ = fates(dataset, ("m", {"uid": "a"}), ("n", {"uid": "a"}), ("o", rows("a", "b")))
    assert stored == ["a", "b"]
    assert lost == [("a", "duplicate event")] * 2


def test_an_array_is_lost_whole_where_the_dataset_takes_no_batches() -> None:
    dataset = Dataset(id="lake", extraction_config={"is_batch_event": False})
    stored, lost, _ = fates(dataset, ("m", rows("a", "b")), ("n", {"uid": "c"}))
    assert (stored, lost) == (["c"], [("a", "EVENT_MISSING"), ("b", "EVENT_MISSING")])


def test_an_event_over_a_mebibyte_fails_alone() -> None:
    data = [{"uid": "small"}, {"uid": "large", "text": "x" * 1024 * 1024}]
    stored, lost, _ = fates(Dataset(id="lake"), ("m", data))
    assert (stored, lost) == (["small"], [("large", "ERR_EXT_1003 event too large")])


def test_a_dataset_that_is_not_live_takes_everything_and_stores_nothing() -> None:
    stored, lost, sandbox = fates(Dataset(id="lake", status="Retired"), ("m", rows("a")))
    assert (stored, lost, len(sandbox.accepted)) == ([], [("a", "dataset not Live")], 1)


def test_a_strict_schema_refuses_unknown_fields_and_the_lenient_mode_lets_them_pass() -> None:
    data = [
        {"uid": "good", "value": 1.5, "place": {"room": 3}},
        {"uid": "new", "extra": 1},
        {"uid": "deep", "place": {"floor": 1}},
        {"uid": "wrong", "value": "1.5"},
        {"value": 2},
    ]
    strict = Dataset(id="lake", data_schema=SCHEMA, validation_config={"validate": True, "mode": "Strict"})
    stored, lost, _ = fates(strict, ("m", data))
    assert (stored, [key for key, _ in lost]) == (["good"], ["new", "deep", "wrong", ""])
    lenient = Dataset(id="lake", data_schema=SCHEMA, validation_config={"validate": True, "mode": "IgnoreNewFields"})
    stored, lost, _ = fates(lenient, ("m", data))
    assert (stored, [key for key, _ in lost]) == (["good", "new", "deep"], ["wrong", ""])


def test_an_event_without_a_usable_timestamp_key_fails() -> None:
    dataset = Dataset(id="lake", dataset_config={"keys_config": {"timestamp_key": "at.time"}})
    times = [1711966306, 1711966306164, 1711966306164000, "2024-04-01", 17119, None, True]
    data = [{"uid": str(i), "at": {"time": value}} for i, value in enumerate(times)] + [{"uid": "none"}]
    stored, lost, _ = fates(dataset, ("m", data))
    assert stored == ["0", "1", "2", "3"]
    assert [key for key, reason in lost if reason.startswith("ERR_ROUTER_1019")] == ["4", "5", "6", "none"]


def test_a_dataset_is_created_published_and_written_to_through_the_api() -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:
            await manage(sandbox.port, "create", {"dataset_id": "lake", "name": "Lake", "type": "event"})
            assert await put(sandbox.port, "m", rows("a")) == 404
            await manage(sandbox.port, "status-transition", {"dataset_id": "lake", "status": "ReadyToPublish"})
            assert await put(sandbox.port, "m", rows("a")) == 404
            await manage(sandbox.port, "status-transition", {"dataset_id": "lake", "status": "Live"})
            assert await put(sandbox.port, "m", rows("a")) == 200
            # Created by the API: Strict, with an empty schema. That is how an eager operator loses everything.
            assert [item.reason for item in sandbox.lost] == ["schema"]

    asyncio.run(main())


async def manage(port: int, what: str, request: dict[str, Any]) -> None:
    import json

    from far import call

    body = {"id": f"api.datasets.{what}", "ver": "v2", "ts": "1", "params": {"msgid": "m"}, "request": request}
    path = f"/v2/datasets/{what}"
    status, _, answer = await asyncio.to_thread(call, port, "POST", path, json.dumps(body).encode())
    assert status == 200, answer
