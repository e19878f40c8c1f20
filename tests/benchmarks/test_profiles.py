"""How a profile is made out of what py-spy has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import profiles
from benchmarks.programs import ROOT, Failed
from benchmarks.workloads import WORKLOADS

LIB = "/usr/lib/python3.11"
LOOP = f"run ({ROOT}/agent/service/process.py:50);BaseEventLoop._run_once ({LIB}/asyncio/base_events.py:1922)"
INBOX = f"Inbox.flush ({ROOT}/agent/collectors/mqtt/inbox.py:200)"
RAW = f"""\
thread (7): MainThread;{LOOP};{INBOX};dumps ({LIB}/json/__init__.py:1) 30
thread (7): MainThread;{LOOP};EpollSelector.select ({LIB}/selectors.py:468) 10
thread (8): agent-pool_0;_worker ({LIB}/concurrent/futures/thread.py:81) 1
thread (9): agent-pool_1;_worker ({LIB}/concurrent/futures/thread.py:81) 3
"""


class Delivered:
    """All of a run's result that a profile looks at."""

    delivered = 1000


def test_a_stack_is_the_doing_of_the_agents_innermost_frame() -> None:
    first, second, third, fourth = profiles.stacks(RAW)
    assert first.blamed == ("agent.collectors.mqtt.inbox", "Inbox.flush")
    assert second.blamed == ("selectors", "EpollSelector.select")  # of the loop's own, not of who has started the loop
    assert (third.name, fourth.name) == ("agent-pool", "agent-pool")
    assert (third.thread, first.samples) == (8, 30)


def test_samples_share_the_cpu_that_their_thread_has_had(tmp_path: Path) -> None:
    path = tmp_path / "stacks.txt"
    path.write_text(RAW)
    recording = profiles.Recording(path=path, cpu={7: 0.004, 8: 0.001, 9: 0.001, 10: 0.002})
    result: Any = Delivered
    lines = profiles.report(WORKLOADS["w2"], result, recording).splitlines()
    assert lines[2] == "6.00 in all, and 2.00 in threads that were never seen"
    assert "   4.000  MainThread" in lines
    assert "   2.000  agent-pool" in lines
    assert "   3.000  agent.collectors.mqtt.inbox" in lines
    assert "   3.000  read from the broker, parse, route, acknowledge" in lines
    assert f"   3.000  {profiles.ELSE}" in lines  # the loop's own and the pool's
    assert "   1.000  selectors" in lines
    assert "   3.000    3.000  json  dumps" in lines


def test_another_format_is_refused() -> None:
    with pytest.raises(Failed, match="expected a line to begin with thread"):
        list(profiles.stacks("run (x.py:1) 3"))
