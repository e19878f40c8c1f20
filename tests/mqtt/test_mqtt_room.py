"""Who was told to stop reading is told to go on, whatever was read or asked meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from mqtt_harness import Intake, run

from agent.collectors.mqtt import inbox as inboxes
from agent.collectors.mqtt.inbox import Inbox
from agent.collectors.mqtt.topics import Routes, Source, parse_filter
from agent.collectors.mqtt.wire import QOS1
from agent.stats import Stats


class Told:
    """A connection of which all that matters is whether it was told to read on."""

    times = 0

    def acknowledge(self, words: list[int]) -> None:
        pass

    def resume(self) -> None:
        self.times += 1


def test_a_question_while_there_is_some_room_does_not_make_it_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "MAX_OUTSTANDING", 100_000)

    async def main() -> None:
        intake, told = Intake(commits=False), Told()
        routes = Routes("mqtt.plant", {}, [Source(parse_filter("t/#"), True, None)], topic_tag=False)
        inbox = Inbox("plant", intake.emit, routes, Stats(), None, expect=False)
        inbox.begin(cast("Any", told), resumed=False)
        for number in range(1, 5):
            inbox.publish("t/x", b"x" * 30_000, number, QOS1)
            inbox.flush()
        assert inbox.must_wait()
        intake._open.pop(0).set_result(None)  # the first is on the disk: below the limit, above the half of it
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 50_000 < inbox.outstanding < 100_000
        assert inbox.must_wait()  # so a read asks that was under way when it was told to stop
        assert told.times == 0
        intake.commit()
        for _ in range(5):
            await asyncio.sleep(0)
        assert inbox.outstanding == 0
        assert told.times == 1
        assert not inbox.must_wait()

    run(main())
