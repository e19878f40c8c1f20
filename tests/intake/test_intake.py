import asyncio
import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from agent.errors import BadPayload
from agent.intake import Intake
from agent.options import Selection
from agent.record import Emission, Parsed, Stream
from agent.spool import Gap, Reader, Settings, Spool
from agent.stats import Health, Stats

EVERYTHING = Selection()
NOW = 1_795_000_000_000


@asynccontextmanager
async def intake_over(folder: Path, selections: Sequence[Selection] = (EVERYTHING,), max_record: int = 256 * 1024):
    stats = Stats()
    settings = Settings(directory=folder, max_bytes=8 << 20, min_free_bytes=0)
    readers = [Reader(f"sink{n}", selection.lane) for n, selection in enumerate(selections)]
    async with Spool.open(
        settings, readers, version="test", part=Health().part("spool", "writer"), stats=stats
    ) as spool:
        tags = {"host": "edge-1", "site": "global", "level": "global"}
        yield Intake(spool, selections, tags, max_record=max_record, stats=stats), spool, stats


async def stored(spool: Spool, lane: str) -> list[dict[str, object]]:
    """Every record of a lane, as a sink would read it."""
    found, at = [], 0
    while (run := await spool.lanes[lane].read(at, 500, 1 << 20)) is not None:
        assert not isinstance(run, Gap)
        found += [json.loads(record) for record in run.records()]
        at = run.end
    return found


def emission(streams: Sequence[Stream], payloads: Sequence[bytes], **columns: object) -> Emission:
    return Emission("plant", streams, payloads, NOW, **columns)  # type: ignore[arg-type]


def count(stats: Stats, name: str, **labels: str) -> float:
    return sum(
        sample.value for sample in stats.samples() if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_a_record_carries_time_source_tags_and_the_payload_untouched(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            stream = Stream("mqtt.plant", {"topic": "plant/a"})
            await intake.emitter("plant")(emission([stream], [b'{"t":21.50,"n":18446744073709551615}']))
            run = await spool.lanes["all"].read(0, 10, 1 << 20)
            expected = (
                b'{"ts":1795000000000,"source":"mqtt.plant",'
                b'"tags":{"host":"edge-1","site":"global","level":"global","topic":"plant/a"},'
                b'"fields":{"t":21.50,"n":18446744073709551615}}'
            )
            assert run.records() == [expected]

    asyncio.run(main())


def test_an_emission_of_nothing_is_done_and_stores_nothing(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            await asyncio.wait_for(intake.emitter("plant")(emission([], [])), 5)
            assert spool.lanes["all"].head == 0

    asyncio.run(main())


def test_of_two_places_that_give_a_tag_the_nearer_to_the_data_wins(tmp_path):
    def parse(payload: bytes) -> list[Parsed]:
        return [Parsed(payload, None, {"level": "payload"})]

    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            emit = intake.emitter("plant", {"site": "collector", "level": "collector", "own": "collector"})
            await emit(emission([Stream("s", {"level": "topic", "own": "topic"})], [b"{}"]))
            await emit(emission([Stream("s", {"level": "topic"}, parse)], [b"{}"]))
            first, second = await stored(spool, "all")
        assert first["tags"] == {"host": "edge-1", "site": "collector", "level": "topic", "own": "topic"}
        assert second["tags"] == {"host": "edge-1", "site": "collector", "level": "payload", "own": "collector"}

    asyncio.run(main())


def test_bad_payloads_become_dead_letters_and_the_others_of_the_group_are_stored(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, spool, stats):
            stream = Stream("mqtt.plant", {"topic": "t"})
            payloads = [b'{"a":1}', b"\xff\xfe", b'{"a":', b'[{"b":1},{"b":2}]', b"7"]
            await intake.emitter("plant")(emission([stream] * 5, payloads))
            records = await stored(spool, "all")
            letters = await stored(spool, "dead")
        assert [record["fields"] for record in records] == [{"a": 1}, {"b": 1}, {"b": 2}, {"value": 7}]
        assert [(letter["payload"], letter["encoding"]) for letter in letters] == [
            ("//4=", "base64"),
            ('{"a":', "utf8"),
        ]
        assert all(letter["sink"] == "intake" and letter["reason"] for letter in letters)
        assert count(stats, "agent_intake_received_total") == 5
        assert count(stats, "agent_intake_committed_total") == 3
        assert count(stats, "agent_intake_refused_total", reason="bad") == 2

    asyncio.run(main())


def test_bad_payloads_are_told_of_once_and_not_each_time(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, _, _):
            with capture_logs() as lines:
                for _ in range(3):
                    await intake.emitter("plant")(emission([Stream("s")] * 2, [b"{", b"{}"]))
        assert [(line["log_level"], line["collector"], line["count"]) for line in lines] == [("warning", "plant", 1)]

    asyncio.run(main())


def test_a_record_goes_to_every_lane_that_wants_it_and_to_no_other(tmp_path):
    alarms = Selection(select=("mqtt.*",), where={"topic": ("*/alarm",)})
    hosts = Selection(select=("host.*",))

    async def main():
        async with intake_over(tmp_path, [EVERYTHING, alarms, hosts]) as (intake, spool, _):
            emit = intake.emitter("plant")
            alarm, state = Stream("mqtt.plant", {"topic": "a/alarm"}), Stream("mqtt.plant", {"topic": "a/state"})
            await emit(emission([alarm, state, state], [b'{"n":1}', b'{"n":2}', b'{"n":3}']))
            await emit(emission([Stream("host.cpu")], [b'{"n":4}']))
            found = {
                lane: [record["fields"]["n"] for record in await stored(spool, lane)]
                for lane in ("all", alarms.lane, hosts.lane)
            }
        assert found == {"all": [1, 2, 3, 4], alarms.lane: [1], hosts.lane: [4]}

    asyncio.run(main())


def test_a_lane_that_wants_some_of_a_group_gets_their_packet_ids_and_what_no_lane_wants_is_counted(tmp_path):
    ovens, alarms = Selection(where={"kind": ("oven",)}), Selection(where={"topic": ("*/alarm",)})

    async def main():
        async with intake_over(tmp_path, [ovens, alarms]) as (intake, spool, stats):
            tags = [{"kind": "oven", "topic": "a/alarm"}, {"kind": "oven"}, {"kind": "press"}, {"topic": "b/alarm"}]
            columns = {"packets": [1, 2, 3, 4], "hashes": [11, 22, 33, 44]}
            group = emission(
                [Stream("mqtt.plant", each) for each in tags], [b'{"n":%d}' % n for n in range(4)], **columns
            )
            parts = {part.lane: (list(part.packets), list(part.hashes)) for part in intake.take(group).parts}
            await intake.emitter("plant")(group)
            found = {lane: [record["fields"]["n"] for record in await stored(spool, lane)] for lane in spool.lanes}
        assert parts == {ovens.lane: ([1, 2], [11, 22]), alarms.lane: ([1, 4], [11, 44])}
        assert (found[ovens.lane], found[alarms.lane]) == ([0, 1], [0, 3])
        assert count(stats, "agent_intake_refused_total", reason="unselected") == 1
        assert count(stats, "agent_intake_committed_total") == 3
        assert count(stats, "agent_intake_records_total") == 3

    asyncio.run(main())


def test_records_that_no_lane_wants_are_not_booked_as_stored_whichever_way_they_are_taken(tmp_path):
    async def main():
        async with intake_over(tmp_path, [Selection(where={"kind": ("oven",)})]) as (intake, _, stats):
            oven, press = Stream("mqtt.plant", {"kind": "oven"}), Stream("mqtt.plant", {"kind": "press"})
            await intake.emitter("plant")(emission([oven, press, press], [b"[{},{}]", b"[{},{}]", b"7"]))
        assert count(stats, "agent_intake_records_total") == 2
        assert count(stats, "agent_intake_refused_total", reason="unselected") == 2

    asyncio.run(main())


def test_a_stream_is_routed_anew_by_each_intake_wherever_that_lies_in_memory(tmp_path):
    stream = Stream("mqtt.plant")

    async def main():
        lanes = []
        async with intake_over(tmp_path) as (_, spool, stats):
            for site in ("a", "b") * 20:  # each goes before the next comes, so that their addresses are the same
                intake = Intake(spool, [EVERYTHING], {"site": site}, max_record=1000, stats=stats)
                intake.take(emission([stream], [b"{}"]))
                assert b'"site":"%b"' % site.encode() in stream.middle
                lanes.append(stream.route.lanes)
                del intake
        assert set(lanes) == {("all",)}

    asyncio.run(main())


def test_what_nobody_selects_is_counted_and_acknowledged(tmp_path):
    async def main():
        async with intake_over(tmp_path, [Selection(select=("host.*",))]) as (intake, _, stats):
            await intake.emitter("plant")(emission([Stream("mqtt.plant")] * 2, [b"{}", b"{}"]))
        assert count(stats, "agent_intake_refused_total", reason="unselected") == 2
        assert count(stats, "agent_intake_received_total") == 2
        assert count(stats, "agent_intake_committed_total") == 0

    asyncio.run(main())


def test_a_record_over_max_record_is_a_dead_letter_that_says_so(tmp_path):
    async def main():
        async with intake_over(tmp_path, max_record=1000) as (intake, spool, _):
            await intake.emitter("plant")(emission([Stream("s")] * 2, [b'{"a":"%b"}' % (b"x" * 2000), b"{}"]))
            assert len(await stored(spool, "all")) == 1
            (letter,) = await stored(spool, "dead")
        assert "max_record is 1000" in letter["reason"]
        assert letter["size"] == 2008

    asyncio.run(main())


def test_what_a_parser_refuses_is_a_dead_letter_with_its_reason(tmp_path):
    def parse(payload: bytes) -> list[Parsed]:
        raise BadPayload("no time under header.ts")

    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            await intake.emitter("plant")(emission([Stream("s", {}, parse)], [b"{}"]))
            (letter,) = await stored(spool, "dead")
        assert letter["reason"] == "no time under header.ts"

    asyncio.run(main())


def test_packet_ids_and_hashes_stay_with_their_records_when_a_group_holds_bad_ones(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            columns = {"packets": [1, 2, 3], "hashes": [11, 22, 33]}
            await intake.emitter("plant")(emission([Stream("s")] * 3, [b"{}", b"nonsense", b"[{},{}]"], **columns))
            await spool.flush()
        async with intake_over(tmp_path) as (_, spool, _):
            claims = spool.unacked("plant")
            assert claims == {1: 11, 2: 22, 3: 33}

    asyncio.run(main())


def test_a_bug_in_a_parser_costs_the_payload_that_found_it(tmp_path):
    def parse(payload: bytes) -> list[Parsed]:
        if b"odd" in payload:
            raise RuntimeError("never thought of that")
        return [Parsed(payload)]

    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            with capture_logs() as lines:
                await intake.emitter("plant")(emission([Stream("s", {}, parse)] * 3, [b"{}", b'{"odd":1}', b"{}"]))
            assert len(await stored(spool, "all")) == 2
            (letter,) = await stored(spool, "dead")
        assert "never thought of that" in letter["reason"]
        assert "bug in a parser, the payload is kept as a dead letter" in [line["event"] for line in lines]

    asyncio.run(main())


def test_an_array_of_very_many_objects_is_a_dead_letter(tmp_path):
    async def main():
        async with intake_over(tmp_path) as (intake, spool, _):
            await intake.emitter("plant")(emission([Stream("s")], [b"[" + b"{}," * 10_000 + b"{}]"]))
            (letter,) = await stored(spool, "dead")
        assert "10001 objects" in letter["reason"]

    asyncio.run(main())
