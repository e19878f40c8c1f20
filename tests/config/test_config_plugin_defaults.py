"""What a sink's plugin has as its own defaults for the options that every sink's table takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar

import pytest
from conftest import Load, Problems

from agent import sinks
from agent.config import resolved
from agent.ports import Limits, Send
from agent.record import Run
from agent.schema import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """A bell that rings for events, by the minute."""

    kind: ClassVar[str] = "bell"
    selects: ClassVar[tuple[str, ...]] = ("event.*", "alarm.*")
    name: str = option("Its name.", "big")

    @property
    def limits(self) -> Limits:
        return Limits(window=60.0, max_age=300.0)

    def encode(self, run: Run) -> bytes:
        return run.body

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    def open(self) -> AbstractAsyncContextManager[Send]:
        raise OSError("no bell here")


@pytest.fixture(autouse=True)
def _bell(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sinks.KINDS, "bell", f"{__name__}:Bell")  # type: ignore[arg-type]
    return None


TANK = '[collectors.me]\ntype = "tank"\n'
BELL = TANK + '[sinks.tower]\ntype = "bell"\n'


def test_a_sink_selects_what_its_plugin_is_made_for_unless_its_table_says_otherwise(read: Load) -> None:
    config = read(BELL + '[sinks.all]\ntype = "stdout"\n[sinks.other]\ntype = "bell"\nselect = "host.*"\n')
    tower, everything, other = config.sinks.values()
    assert tower.selection.select == ("event.*", "alarm.*")
    assert tower.selection.lane.startswith("sel-")
    assert not tower.selection.matches("host.cpu", {})
    assert everything.selection.lane == "all"
    assert other.selection.select == ("host.*",)
    assert resolved(config)["sinks"]["tower"]["select"] == ["event.*", "alarm.*"]


def test_what_else_the_table_says_of_the_selection_stays(read: Load) -> None:
    [tower] = read(BELL + 'exclude = "event.agent"\nwhere = { site = "busan" }\n').sinks.values()
    assert tower.selection.matches("event.disk", {"site": "busan"})
    assert not tower.selection.matches("event.agent", {"site": "busan"})
    assert not tower.selection.matches("event.disk", {"site": "seoul"})


def test_what_a_sink_is_made_for_and_no_collector_gives_is_doubted(read: Load) -> None:
    host = '[collectors.me]\ntype = "host"\n[sinks.tower]\ntype = "bell"\n'
    [doubtful] = read(host).warnings
    assert '"alarm.*", which it is to get, fits no collector' in doubtful.text
    [doubtful] = read(host + 'select = "alarm.*"\n').warnings
    assert "fits no collector" in doubtful.text


def test_a_sink_by_the_minute_needs_records_to_live_for_two(problems: Problems, read: Load) -> None:
    text = "expected at least 2m, as sinks.tower sends together what was taken in within 1m"
    assert problems(BELL + 'max_age = "90s"\n') == [f"agent.toml:5 sinks.tower.max_age: {text}"]
    assert problems('[spool]\nmax_age = "1m"\n' + BELL) == [f"agent.toml:2 spool.max_age: {text}"]
    assert read('[spool]\nmax_age = "1m"\n' + BELL + 'max_age = "2m"\n').sinks["tower"].delivery.max_age == 120.0


def test_a_schema_fed_by_a_misspelt_source_is_doubted(read: Load) -> None:
    text = (
        '[collectors.plant]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1"\n[[collectors.plant.subscription]]\ntopic = "a"\n'
        '[sinks.insight]\ntype = "cloud_insight"\naccess_key = "a"\nsecret_key = "s"\n'
        '[[sinks.insight.schema]]\ncw_key = "1"\nselect = "mqtt.plnat"\nmetrics = {v = "v"}\n'
    )
    [doubtful] = read(text).warnings
    assert doubtful.where.endswith("sinks.insight")
    assert '"mqtt.plnat", which it is to get, fits no collector' in doubtful.text
    assert read(text.replace("plnat", "plant")).warnings == ()
