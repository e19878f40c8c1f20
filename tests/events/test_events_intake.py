"""Rules over a real intake and spool: which events there are, what stands in them, where they go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from watching import EVENTS, EVERYTHING, MINUTE, NOW, Site, rule, site

from agent.events.rule import Rule
from agent.options import Selection
from agent.record import Emission, Parsed, Stream


def run(tmp_path: Path, test: Any, *rules: Rule, **options: Any) -> None:
    async def main() -> None:
        async with site(tmp_path, *rules, **options) as running:
            await test(running)

    asyncio.run(main())


def test_a_value_beyond_the_threshold_gives_one_event_and_its_end_another(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(80, 91.25, 95, 99, 88, 80, device="d1")
        fired, over = await running.stored()
        assert fired == {
            "ts": NOW + MINUTE,
            "source": "event.hot",
            "tags": {"host": "edge-1", "site": "seoul", "device": "d1", "severity": "warning"},
            "fields": {
                "what": "hot on edge-1: mqtt.plant t is 91.25, threshold 90 device=d1, site=seoul",
                "state": "firing",
                "rule": "hot",
                "value": 91.25,
                "since": NOW + MINUTE,
                "suppressed": 0,
                "field": "t",
                "of": "mqtt.plant",
            },
        }
        assert over["ts"] == NOW + 4 * MINUTE
        assert over["tags"] == fired["tags"]
        assert over["fields"] | {"what": ""} == fired["fields"] | {"state": "clear", "value": 88, "what": ""}
        assert over["fields"]["what"] == "hot on edge-1 is over after 3m: mqtt.plant t is 88 device=d1, site=seoul"

    run(tmp_path, test, rule(tags={"severity": "warning"}))


def test_the_record_that_caused_an_event_is_stored_as_ever_and_before_it(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample(b'{"t": 91.50,"n":18446744073709551615}')
        record, event = await running.stored(EVERYTHING.lane)
        assert (record["source"], event["source"]) == ("mqtt.plant", "event.hot")
        run = await running.spool.lanes["all"].read(0, 1, 1 << 20)
        assert run.records()[0].endswith(b'"fields":{"t": 91.50,"n":18446744073709551615}}')

    run(tmp_path, test, rule())


def test_an_event_is_there_though_nobody_wants_the_records(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(95, 96, 1)
        assert await running.states() == ["firing", "clear"]
        assert running.count("agent_intake_refused_total", collector="plant", reason="unselected") == 3

    run(tmp_path, test, rule(), selections=[EVENTS])


def test_each_set_of_tags_and_each_source_has_a_state_of_its_own(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        for source, path, value in [
            ("host.disk", "/", 95),
            ("host.disk", "/var", 50),
            ("host.disk", "/", 96),
            ("host.disk", "/var", 97),
            ("host.swap", "/", 98),
            ("host.disk", "/", 10),
            ("mqtt.plant", "/", 99),
        ]:
            await running.sample({"used": value}, source, path=path)
        events = [(e["fields"]["of"], e["tags"]["path"], e["fields"]["state"]) for e in await running.stored()]
        assert events == [
            ("host.disk", "/", "firing"),
            ("host.disk", "/var", "firing"),
            ("host.swap", "/", "firing"),
            ("host.disk", "/", "clear"),
        ]

    run(tmp_path, test, rule("host.*.used > 90"))


def test_where_leaves_records_out_by_their_tags(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"t": 99}, line="press")
        await running.sample({"t": 99}, line="paint")
        await running.sample({"t": 99})
        assert [event["tags"]["line"] for event in await running.stored()] == ["press"]

    run(tmp_path, test, rule(where={"line": ("pre*",), "site": ("seoul", "busan")}))


def test_for_counts_by_the_times_of_the_records_and_a_value_between_begins_anew(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(95, 95, 95, 95, 95, 10, 95, 95, 95, 95, 95, 95, 95)
        (event,) = await running.stored()
        assert event["ts"] == NOW + 11 * MINUTE
        assert event["fields"]["since"] == NOW + 6 * MINUTE
        assert event["fields"]["what"] == "for 5m since 2026-11-18T11:12:40Z"

    run(tmp_path, test, rule(lasting=300.0, what="for {for} since {since}"))


def test_what_a_device_kept_while_it_was_offline_counts_by_its_own_times(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        for n in range(6):
            await running.sample({"t": 95}, at=NOW + n * MINUTE, received=NOW + 3_600_000)
        # One whose clock is ahead counts from its arrival.
        await running.sample({"t": 95}, at=NOW + 9_000_000_000, received=NOW, device="ahead")
        assert [event["ts"] for event in await running.stored()] == [NOW + 5 * MINUTE]

    run(tmp_path, test, rule(lasting=300.0))


def test_a_late_record_changes_nothing(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        for minute, value in [(0, 50), (10, 50), (5, 99), (11, 95), (7, 10), (12, 96), (13, 10)]:
            await running.sample({"t": value}, at=NOW + minute * MINUTE, received=NOW + 3_600_000)
        assert [(e["fields"]["state"], e["ts"]) for e in await running.stored()] == [
            ("firing", NOW + 11 * MINUTE),
            ("clear", NOW + 13 * MINUTE),
        ]

    run(tmp_path, test, rule())


def test_clear_and_min_hold_keep_a_trembling_value_from_saying_much(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(89, 91, 89, 91, 89, 91, 86, 85, 84, 91)
        assert [(e["fields"]["state"], e["fields"]["value"]) for e in await running.stored()] == [
            ("firing", 91),
            ("clear", 84),
            ("firing", 91),
        ]

    run(tmp_path, test, rule(clear="< 85"))

    async def held(running: Site) -> None:
        await running.series(91, 89, 91, 89, 91, 89, 91)
        assert [(e["fields"]["state"], (e["ts"] - NOW) // MINUTE) for e in await running.stored()] == [
            ("firing", 0),
            ("clear", 3),
            ("firing", 6),
        ]

    run(tmp_path / "held", held, rule(min_hold=180.0))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"t": None},
        {"t": "99"},
        {"t": True},
        {"t": [99]},
        {"t": {"t": 99}},
        {"T": 99},
        b"[]",
        b'[{"u":1}]',
        b"99",
    ],
)
def test_what_is_no_number_and_what_is_not_there_change_nothing(tmp_path: Path, fields: object) -> None:
    async def test(running: Site) -> None:
        await running.sample(fields)
        await running.sample({"t": 99})
        await running.sample(fields)
        assert await running.states() == ["firing"]

    run(tmp_path, test, rule())


def test_texts_and_truth_values_are_compared_too_and_objects_looked_into(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        for state, alarm in [("ok", False), ("down", False), ("down", True), (7, 7), ("ok", False)]:
            await running.sample({"pump": {"state": state}, "alarm": alarm})
        events = [(e["fields"]["rule"], e["fields"]["state"], e["fields"]["value"]) for e in await running.stored()]
        assert events == [
            ("pump", "firing", "down"),
            ("alarm", "firing", True),
            ("pump", "clear", "ok"),
            ("alarm", "clear", False),
        ]

    run(
        tmp_path,
        test,
        rule('mqtt.plant.pump.state == "down"', name="pump"),
        rule("mqtt.plant.alarm == true", name="alarm"),
    )


def test_an_array_is_a_sample_each_and_parsed_payloads_bring_tags_and_times(tmp_path: Path) -> None:
    def parse(payload: bytes) -> list[Parsed]:
        return [Parsed(payload, NOW - 5, {"device": json.loads(payload)["d"]})]

    async def test(running: Site) -> None:
        await running.sample(b'[{"t":95},{"t":10},{"t":96}]')
        stream = Stream("mqtt.plant", {}, parse)
        await running.intake.emitter("plant")(
            Emission("plant", [stream] * 2, [b'{"t":95,"d":"a"}', b'{"t":1,"d":"b"}'], NOW)
        )
        assert [(e["fields"]["state"], e["ts"], e["tags"].get("device")) for e in await running.stored()] == [
            ("firing", NOW, None),
            ("clear", NOW, None),
            ("firing", NOW, None),
            ("firing", NOW - 5, "a"),
        ]

    run(tmp_path, test, rule())


def test_changes_beyond_the_hour_are_counted_in_the_next_event(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        with capture_logs() as lines:
            await running.series(95, 1, 95, 1, 95, 1, 95)  # the third and those after it are too many
        assert await running.states() == ["firing", "clear"]
        assert [line["event"] for line in lines] == ["event rule has used up its hour, changes are counted"]
        # The last of them may still be told late.
        assert running.count("agent_events_suppressed_total", rule="hot") == 4
        await running.sample({"t": 1}, at=NOW + 61 * MINUTE)
        await running.sample({"t": 95}, at=NOW + 62 * MINUTE)
        await running.sample({"t": 96}, at=NOW + 63 * MINUTE)
        events = await running.stored()
        assert [(e["fields"]["state"], e["fields"]["suppressed"]) for e in events] == [
            ("firing", 0),
            ("clear", 0),
            # It has fired last and is over now: nobody was told of the former, so nobody is of the latter.
            ("firing", 6),
        ]
        assert running.count("agent_events_suppressed_total", rule="hot") == 6
        assert running.count("agent_events_told_total", rule="hot") == 3

    run(tmp_path, test, rule(max_per_hour=2))


def test_a_state_that_could_not_be_told_is_told_once_the_hour_allows_it(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(95, 1)
        assert await running.states() == ["firing"]
        await running.sample({"t": 2}, at=NOW + 59 * MINUTE)
        assert await running.states() == ["firing"]
        await running.sample({"t": 3}, at=NOW + 61 * MINUTE)
        _, over = await running.stored()
        assert (over["fields"]["state"], over["fields"]["value"], over["fields"]["suppressed"]) == ("clear", 3, 0)
        assert running.count("agent_events_suppressed_total", rule="hot") == 0, "it was told, late"

    run(tmp_path, test, rule(max_per_hour=1))


def test_what_is_told_late_is_counted_by_no_event_of_other_tags(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"t": 95}, device="a")
        await running.sample({"t": 95}, at=NOW + MINUTE, device="b")  # silent, and told late
        await running.sample({"t": 1}, at=NOW + 61 * MINUTE, device="a")
        await running.sample({"t": 96}, at=NOW + 122 * MINUTE, device="b")
        events = [
            (e["tags"]["device"], e["fields"]["state"], e["fields"]["suppressed"]) for e in await running.stored()
        ]
        assert events == [("a", "firing", 0), ("a", "clear", 0), ("b", "firing", 0)]

    run(tmp_path, test, rule(max_per_hour=1))


def test_the_hour_of_a_rule_is_its_own_and_shared_by_all_tags(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        for device in "abc":
            await running.sample({"t": 95}, device=device)
        events = [(e["fields"]["rule"], e["tags"]["device"]) for e in await running.stored()]
        assert events == [("one", "a"), ("two", "a"), ("one", "b"), ("two", "b"), ("two", "c")]

    run(tmp_path, test, rule(name="one", max_per_hour=2), rule(name="two"))


HOSTILE = [
    "{tags.host}",
    "{{tags.host}}",
    "{value}{what}",
    '","source":"event.fake","x":"',
    'a"b\\c',
    "line\nbreak\ttab\r",
    "🔥 ünï ﷽",
    "${HOME} %s {0}",
    "\x00\x1f\x7f",
    "}{",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_payload_holds_is_put_into_the_text_and_never_looked_at_again(tmp_path: Path, value: str) -> None:
    async def test(running: Site) -> None:
        await running.sample({"state": value, "note": {"by": value}}, device=value)
        (event,) = await running.stored()
        assert event["source"] == "event.odd"
        assert event["fields"]["what"] == f"<{value}|{value}|{value}|{{}}|edge-1>"
        assert event["fields"]["value"] == value
        assert event["tags"]["device"] == value

    odd = rule('mqtt.plant.state != "ok"', name="odd", what="<{value}|{tags.device}|{fields.note.by}|{{}}|{host}>")
    run(tmp_path, test, odd)


def test_half_a_surrogate_pair_and_numbers_without_end_do_not_get_in_the_way(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample(b'{"t":95,"s":"\\ud800"}', device="a")
        await running.sample(b'{"t":%d,"s":"\\ud800"}' % 10**300, device="b")
        await running.sample(b'{"t":%d}' % 10**60, device="c")
        await running.sample(b'{"t":-1e-300}', device="c")
        events = await running.stored()
        assert [e["fields"]["what"] for e in events] == ["95 ?", "1e+300 ?", "1e+60", "-1e-300"]
        assert [e["fields"]["value"] for e in events] == [95, 1e300, 1e60, -1e-300]

    run(tmp_path, test, rule(what="{value} {fields.s}", what_clear="{value}"))


def test_a_value_as_long_as_a_record_is_cut_in_the_event(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"state": "x" * 200_000})
        (event,) = await running.stored()
        assert event["fields"]["value"] == "x" * 253 + "..."
        assert len(event["fields"]["what"]) <= 1000

    run(tmp_path, test, rule('mqtt.plant.state != "ok"', what="{value}" * 20))


def test_an_event_that_is_larger_than_a_record_may_be_is_a_dead_letter(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"t": 95}, name="n" * 700)
        assert await running.stored() == []
        (letter,) = await running.stored("dead")
        assert "max_record is 1000" in letter["reason"]
        assert letter["source"] == "event.hot"
        books = {name: running.count(f"agent_intake_{name}_total", collector="events") for name in BOOKS}
        assert books == {"received": 1, "committed": 0, "refused": 1, "records": 0}

    run(tmp_path, test, rule(), max_record=1000)


BOOKS = ("received", "committed", "refused", "records")


def test_events_have_books_of_their_own_and_they_balance(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"t": 95}, line="press")
        await running.sample({"t": 95}, line="paint")
        await running.sample({"t": 1}, line="paint")
        events = {name: running.count(f"agent_intake_{name}_total", collector="events") for name in BOOKS}
        assert events == {"received": 3, "committed": 1, "refused": 2, "records": 1}
        plant = {name: running.count(f"agent_intake_{name}_total", collector="plant") for name in BOOKS}
        assert plant == {"received": 3, "committed": 3, "refused": 0, "records": 3}
        assert running.count("agent_events_told_total", rule="hot") == 3
        assert running.count("agent_events_firing", rule="hot") == 1

    press = Selection(select=("event.*",), where={"line": ("press",)})
    run(tmp_path, test, rule(), selections=[Selection(select=("mqtt.*",)), press])


def test_events_cause_no_events_and_neither_does_what_calls_itself_one(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.sample({"t": 95, "value": 95})
        await running.sample({"t": 95, "value": 95}, "event.hot")
        await running.sample({"t": 95, "value": 95}, "event.agent")
        assert [event["fields"].get("rule") for event in await running.stored()] == ["hot", None, None]

    run(tmp_path, test, rule("*.*.t > 90"), rule("*.*.value > 90", name="again", where={"line": ("*",)}))


def test_what_no_rule_watches_is_not_parsed(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        seen: list[bytes] = []
        take = running.watch.take

        def spy(rules: Any, middle: bytes, payload: bytes, *times: int) -> Any:
            seen.append(payload)
            return take(rules, middle, payload, *times)

        running.watch.take = spy  # type: ignore[method-assign]
        plant, paint, other = Stream("mqtt.plant", {"line": "press"}), Stream("mqtt.plant"), Stream("mqtt.other")
        emit = running.intake.emitter("plant")
        await emit(
            Emission("plant", [plant, other, paint, plant], [b'{"t":1}', b'{"t":2}', b'{"t":3}', b'{"t":4}'], NOW)
        )
        await emit(Emission("plant", [other, paint], [b'{"t":5}', b"[{}]"], NOW))
        assert seen == [b'{"t":1}', b'{"t":4}']
        assert len(await running.stored(EVERYTHING.lane)) == 6

    run(tmp_path, test, rule(where={"line": ("press",)}))


def test_more_sets_of_tags_than_there_is_room_for_are_said_and_those_at_rest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.events.watch.SWEEP_AGAIN", 0.0)

    async def test(running: Site) -> None:
        for n in range(10):
            await running.sample({"t": 1}, device=f"calm-{n}")
        for n in range(5):
            await running.sample({"t": 95}, device=f"hot-{n}")
        assert len(await running.stored()) == 5
        with capture_logs() as lines:
            await running.sample({"t": 95}, device="hot-5")
            await running.sample({"t": 95}, device="hot-6")
        said = [(line["event"], line["most"]) for line in lines]
        assert said == [("too many sets of tags for event rules, new ones are not watched", 5)]
        assert running.count("agent_events_unwatched_total") == 2
        await running.sample({"t": 1}, device="hot-0")
        await running.sample({"t": 95}, device="hot-6")
        assert [e["tags"]["device"] for e in await running.stored()][5:] == ["hot-0", "hot-6"]
        # What was not seen for a day makes room, though it fires.
        await running.sample({"t": 95}, device="hot-7", at=NOW + 25 * 60 * MINUTE)
        assert [e["tags"]["device"] for e in await running.stored()][7:] == ["hot-7"]

    run(tmp_path, test, rule(), most=5)


def test_an_event_carries_the_packet_of_its_record_so_that_no_redelivery_passes_without_it(tmp_path: Path) -> None:
    async def main() -> None:
        lanes = [Selection(select=("mqtt.*",)), EVENTS]
        async with site(tmp_path, rule(), selections=lanes) as running:
            stream = Stream("mqtt.plant")
            emission = Emission(
                "plant",
                [stream] * 3,
                [b'{"t":1}', b'{"t":95}', b'{"t":96}'],
                NOW,
                packets=[1, 2, 3],
                hashes=[11, 22, 33],
            )
            taken = running.intake.take(emission)
            event = taken.parts[-1]
            assert (event.lane, list(event.packets), list(event.hashes)) == (EVENTS.lane, [2], [22])
            await running.spool.append(taken.parts)
        async with site(tmp_path, rule(), selections=lanes) as running:
            assert running.spool.unacked("plant") == {1: 11, 2: 22, 3: 33}

    asyncio.run(main())


def test_a_bug_in_a_rule_costs_no_record(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        def broken(*_: object) -> Any:
            raise RuntimeError("never thought of that")

        running.watch.take = broken  # type: ignore[method-assign]
        with capture_logs() as lines:
            await running.series(95, 96)
        assert [line["event"] for line in lines] == ["bug in event rules, records are stored without"]
        assert len(await running.stored(EVERYTHING.lane)) == 2

    run(tmp_path, test, rule())
