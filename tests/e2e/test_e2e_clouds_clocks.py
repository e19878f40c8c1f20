"""The whole agent beside clouds whose clocks are ten minutes from this machine's."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from clouds import TENANT, clouds, cw_key, insight_sink, notes_sink, schema_table
from processes import AgentProcess, wait_for
from scene import AGENT, assert_books_balance, obsrv_sink

from agent.sandbox.ncloud.ledger import read_journal
from agent.sandbox.rackspace.ledger import Stored

# Two rules that fire with the first sample: the second event goes right after the first.
CONFIG = (
    AGENT
    + """
[collectors.host]
type = "host"
interval = "200ms"
groups = ["load"]
[[events]]
name = "one"
when = "host.load.load1 >= 0"
[[events]]
name = "two"
when = "host.load.load5 >= 0"
"""
)


@dataclass(frozen=True)
class Life:
    """What an agent came to beside far sides `offset` seconds ahead of it, and between which times of its own clock."""

    offset: float
    statuses: list[int]  # of the requests to the gateway
    events: list[Stored]
    began: float
    ended: float

    def dated(self, event: Stored) -> bool:
        """Whether the event has its time by the far side's clock, whose Date counts whole seconds, cut off."""
        return self.began - 1 <= event.when / 1000 - self.offset <= self.ended


@pytest.fixture(scope="module", params=[600.0, -600.0], ids=["behind the clouds'", "ahead of the clouds'"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder, offset, began = tmp_path_factory.mktemp("life"), request.param, time.time()
    with clouds(folder / "clouds", offset=offset) as far:
        config = (
            CONFIG
            + obsrv_sink(far.lake.url)
            + insight_sink(far.insight.url, folder, schemas=schema_table(v='"host.load.load1"'))
            + notes_sink(far.notes.identity_url, folder)
        )
        with AgentProcess(folder / "agent", config) as agent:
            agent.start()
            wait_for("rows", lambda: len(far.insight.rows(cw_key())) >= 2)
            wait_for("the events", lambda: len(far.notes.events(TENANT)) == 2)
            assert agent.stop() == 0
            # Once for each far side that has a clock.
            assert agent.text().count("this clock differs from the far side's") == 2
            assert_books_balance(agent)
        statuses = [each["status"] for each in read_journal(far.insight.journal)["request"]]
        return Life(offset, statuses, far.notes.events(TENANT), began, time.time())


def test_a_clock_ten_minutes_off_costs_a_single_refusal(life: Life) -> None:
    assert life.statuses[:2] == [401, 200]
    assert sum(status != 200 for status in life.statuses) == 1


def test_events_are_dated_by_the_far_sides_clock(life: Life) -> None:
    assert life.dated(life.events[1])


def test_the_very_first_event_is_dated_so_too(life: Life) -> None:
    assert life.dated(life.events[0])
