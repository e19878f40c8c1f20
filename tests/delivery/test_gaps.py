"""What is said of records that grew too old, and when."""

from __future__ import annotations

from structlog.testing import capture_logs

from agent.delivery.gaps import Gaps

AT_MS = 1_772_366_400_000


def test_that_records_begin_to_expire_is_said_at_once_and_their_sum_when_it_is_over() -> None:
    gaps = Gaps("insight", 300.0, lambda notice: None)
    with capture_logs() as logs:
        for minute in range(20):
            gaps.add(7, AT_MS + 60_000 * minute, AT_MS + 60_000 * minute + 50_000, 60.0 * minute)
            gaps.remind(60.0 * minute)
        assert [(line["log_level"], line["event"]) for line in logs] == [("error", "records begin to expire")]
        gaps.accepted(1200.0)
    [_, end] = logs
    assert (end["event"], end["records"], end["from"]) == ("records expired", 140, "2026-03-01T12:00:00.000Z")


def test_a_sink_that_is_always_too_slow_does_not_begin_every_minute() -> None:
    gaps = Gaps("insight", 300.0, lambda notice: None)
    with capture_logs() as logs:
        for second in range(0, 3000, 20):
            gaps.add(1, AT_MS, AT_MS, float(second))
            gaps.accepted(float(second))
        gaps.say(3000.0)
    assert [line["event"] for line in logs].count("records begin to expire") == 1
    assert sum(line["records"] for line in logs if line["event"] == "records expired") == 150
