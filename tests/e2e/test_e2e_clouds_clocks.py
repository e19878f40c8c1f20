"""The whole agent beside clouds whose clocks are ten minutes from this machine's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from clouds import clouds, cw_key, insight_sink, notes_sink, schema_table
from processes import AgentProcess, wait_for
from scene import AGENT, assert_books_balance, obsrv_sink

from agent.sandbox.ncloud.ledger import read_journal

HOST = '[collectors.host]\ntype = "host"\ninterval = "200ms"\ngroups = ["load"]\n'
# Two rules that fire with the first sample: the second event is sent right after the first.
EVENTS = """
[[events]]
name = "one"
when = "host.load.load1 >= 0"
[[events]]
name = "two"
when = "host.load.load5 >= 0"
"""


@pytest.mark.parametrize("offset", [600.0, -600.0], ids=["behind the clouds'", "ahead of the clouds'"])
def test_ten_minutes_off_cost_one_refusal_and_no_event_gets_a_wrong_time(tmp_path: Path, offset: float) -> None:
    began = time.time()
    with clouds(tmp_path / "clouds", offset=offset) as far:
        config = (
            AGENT
            + HOST
            + EVENTS
            + obsrv_sink(far.lake.url)
            + insight_sink(far.insight.url, tmp_path, schemas=schema_table(v='"host.load.load1"'))
            + notes_sink(far.notes.identity_url, tmp_path)
        )
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            wait_for("rows", lambda: len(far.insight.rows(cw_key())) >= 3)
            wait_for("the events", lambda: len(far.notes.events()) >= 2)
            assert agent.stop() == 0
            ended = time.time()
            requests = read_journal(far.insight.journal)["request"]
            assert [each["status"] for each in requests][:2] == [401, 200]
            assert sum(each["status"] != 200 for each in requests) == 1
            for event in far.notes.events():
                assert began - 1 <= event.when / 1000 - offset <= ended + 1, (event.what, event.when / 1000 - began)
            assert len(far.notes.events()) == 2
            assert agent.text().count("this clock differs from the far side's") == 2  # once for each of the two
            assert_books_balance(agent)
