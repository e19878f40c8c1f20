"""What the log says of a connection over a day: changes of state, and by the hour what goes on."""

from __future__ import annotations

import structlog
from mqtt_harness import logged

from agent.collectors.mqtt.telling import LOSSES, REMIND, STEADY, Telling

DAY = 86_400


def told() -> Telling:
    return Telling(structlog.get_logger())


def said(lines: list[dict[str, object]]) -> list[str]:
    """The events at INFO and above, without their common word."""
    return [str(line["event"]).removeprefix("mqtt ") for line in lines if line["log_level"] != "debug"]


def test_an_outage_is_told_at_both_ends_and_once_an_hour_between() -> None:
    with logged() as lines:
        telling = told()
        telling.up(0.0, kept=False)
        for minute in range(4 * 60):
            telling.down("connection refused", 60.0 * minute, was_open=not minute, operator=False)
        telling.up(4 * 3600.0, kept=True)
    assert said(lines) == ["connected", "disconnected", *["has not recovered"] * 3, "connected"]
    assert (lines[-2]["seconds"], lines[-2]["reason"]) == (3 * 3600, "connection refused")
    assert (lines[-1]["down_seconds"], lines[-1]["tries"]) == (4 * 3600, 4 * 60)


def test_reasons_that_take_turns_are_told_once_each_and_not_without_end() -> None:
    with logged() as lines:
        telling = told()
        for n in range(600):
            telling.down(f"reason {n % 2 if n < 300 else n}", float(n), was_open=False, operator=False)
    assert said(lines) == ["cannot connect"] * 5


def test_a_connection_that_comes_and_goes_all_day_is_told_by_the_hour_and_closed_with_its_counts() -> None:
    with logged() as lines:
        telling = told()
        now, losses, away = 0.0, 0, 0.0
        while now < DAY:
            telling.up(now, kept=True)
            now += 40
            telling.look(now)
            telling.down("the broker closed the connection", now, was_open=True, operator=False)
            losses += 1
            now += 20
            away += 20
        telling.up(now, kept=True)
        telling.look(now + STEADY - 1)
        assert "connection is steady again" not in said(lines)
        telling.look(now + STEADY)
    told_of = said(lines)
    assert told_of[: 2 * LOSSES] == [
        *["connected", "disconnected"] * (LOSSES - 1),
        "connected",
        "connection is unsteady",
    ]
    assert set(told_of[2 * LOSSES : -1]) == {"connection is still unsteady"}
    assert DAY / REMIND - 2 <= len(told_of[2 * LOSSES : -1]) <= DAY / REMIND
    last = lines[-1]
    assert last["event"] == "mqtt connection is steady again"
    assert last["losses"] == losses - LOSSES + 1
    assert last["down_seconds"] == away - 20 * (LOSSES - 1)


def test_what_only_a_person_can_mend_is_told_though_the_connection_is_unsteady() -> None:
    with logged() as lines:
        telling = told()
        for n in range(LOSSES):
            telling.up(100.0 * n, kept=True)
            telling.down("reset", 100.0 * n + 50, was_open=True, operator=False)
        for n in range(100):
            telling.down("not authorized", 400.0 + n, was_open=False, operator=True)
    assert [line["reason"] for line in lines if line["log_level"] == "error"] == ["not authorized"]


def test_after_a_quiet_time_a_loss_is_a_change_of_state_again() -> None:
    with logged() as lines:
        telling = told()
        for n in range(LOSSES):
            telling.up(100.0 * n, kept=True)
            telling.down("reset", 100.0 * n + 50, was_open=True, operator=False)
        telling.up(500.0, kept=True)
        telling.look(500.0 + STEADY)
        telling.down("reset", 600.0 + STEADY, was_open=True, operator=False)
    assert said(lines)[-2:] == ["connection is steady again", "disconnected"]
