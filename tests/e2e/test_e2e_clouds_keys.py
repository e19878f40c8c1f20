"""Keys that are rotated in their files while records flow: no restart, nothing lost, a line in the log for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from clouds import TENANT, USER, clouds_inside, cw_key, schema, schema_table
from processes import AgentProcess, wait_for
from publisher import Publisher
from scene import AGENT, Background, assert_books_balance, broker, drained, mqtt_collector, subscribed, uid

from agent.sandbox.ncloud import Key
from agent.sandbox.obsrv import Key as TokenKey
from agent.sandbox.obsrv import Rbac

RATE = 200.0
ALARM = 20  # one message in so many is an alarm
REREAD = "credentials read again, they have changed"


def payload(number: int) -> bytes:
    return b'{"uid":"m-%d","one":1,"what":"alarm %d"}' % (number, number)


def topic(number: int) -> str:
    return "alarm/x" if number % ALARM == 0 else "plant/x"


@pytest.mark.mosquitto
def test_a_key_rotated_under_load_costs_no_record_at_any_of_the_three(tmp_path: Path) -> None:
    claims = {"sub": "agent", "roles": ["ingestor"]}
    former, latter = TokenKey.make(), TokenKey.make()
    (tmp_path / "token").write_text(former.token(claims))
    with (
        broker(tmp_path) as plant,
        clouds_inside(schemas=[schema(0, "messages")], lake={"rbac": Rbac(key=former)}, notes={"rate": 100_000}) as far,
    ):
        config = (
            AGENT
            + mqtt_collector(plant.url)
            + mqtt_collector(plant.url, "alarm/#", "alarm")
            + far.sinks(
                tmp_path,
                lake=f'token_file = "{tmp_path}/token"',
                notes='select = ["mqtt.alarm"]\nrate = 6000',
                schemas=schema_table(messages='{ field = "one", rollup = "sum" }'),
            )
        )
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            subscribed(agent, "alarm")
            publisher = Publisher(plant.port)
            ending = False

            def flow() -> int:
                number = 0
                while not ending:
                    publisher.publish(range(number, number + 20), payload, topic, rate=RATE)
                    number += 20
                return number

            def rows() -> int:
                return len(far.insight.stored(cw_key()))

            flowing = Background(flow)
            wait_for("all three to flow", lambda: rows() and far.notes.events(TENANT) and far.lake_uids())

            far.insight.keys.add(Key("ACCESS-KEY-NEW", "SECRET-KEY-NEW"))
            (tmp_path / "access").write_text("ACCESS-KEY-NEW")
            (tmp_path / "secret").write_text("SECRET-KEY-NEW")
            (tmp_path / "api-key").write_text("another-key-of-the-sandbox")
            (tmp_path / "token").write_text(latter.token(claims))
            far.insight.keys.revoke("ACCESS-KEY-OLD")
            far.notes.tokens.rotate(USER, "another-key-of-the-sandbox")
            far.lake.state.rbac = Rbac(key=latter)
            before = rows(), len(far.notes.events(TENANT)), far.lake_uids().total()

            def goes_on() -> bool:
                after = rows(), len(far.notes.events(TENANT)), far.lake_uids().total()
                return all(now >= then + 2 for then, now in zip(before, after, strict=True))

            wait_for("all three to flow on", goes_on)
            ending = True
            count = flowing.result()
            publisher.close()
            wait_for("the flow to end", lambda: all(drained(agent, name) for name in ("lake", "insight", "notes")))
            assert far.lake_uids() == {uid(n): 1 for n in range(count)}
            assert sum(float(row.metrics["messages"]) for row in far.insight.stored(cw_key())) == count
            events = sorted(event.what or "" for event in far.notes.events(TENANT))
            assert events == sorted(f"alarm {n}" for n in range(0, count, ALARM))
            assert agent.stop() == 0
            told = [line for line in agent.text().splitlines() if REREAD in line]
            for far_side in ("cloud_insight", "rackspace", "obsrv"):
                assert sum(far_side in line for line in told) == 1, (far_side, told)
            assert len(told) == 3
            assert agent.text().count("durability=strict") == 1  # of the line that says that it runs
            for secret in ("KEY-NEW", "KEY-OLD", "of-the-sandbox", former.token(claims)):
                assert secret not in agent.text()
            assert_books_balance(agent)
