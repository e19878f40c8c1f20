"""From sensor to job: messages become objects, objects a job a batch; killed at any moment, nothing lost or twice."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from object_store import BUCKET, ObjectStore, object_store
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload
from scene import (
    Background,
    assert_books_balance,
    broker,
    drained,
    in_a_thread,
    mqtt_collector,
    say,
    subscribed,
    uid,
)

from agent.sandbox.faults import hang, reset
from agent.sandbox.ncloud import Key, Sandbox
from agent.sandbox.ncloud.flow.executions import Execution

JOB, AFTER = "J1", 5
START = f"POST /api/v1/jobs/{JOB}/executions"


def tables(broker_url: str, store: ObjectStore, far: Sandbox) -> str:
    return f"""
[agent]
hostname = "edge"
role = "leader"
{mqtt_collector(broker_url)}
[sinks.bucket]
type = "object_storage"
url = "{store.url}"
bucket = "{BUCKET}"
access_key = "{store.access}"
secret_key = "{store.secret}"
batch_records = 20
linger = "100ms"
[ncloud]
url = "{far.url}"
access_key = "AK"
secret_key = "SK"
[[dataflow]]
name = "etl"
sink = "bucket"
job = "{JOB}"
after_objects = {AFTER}
poll = "100ms"
settle = "500ms"
max_runs_per_day = 100
"""


def stored(store: ObjectStore) -> Counter[str]:
    """How often each message stands in the bucket."""
    lines = (line for key in store.names() for line in gzip.decompress(store.get(key)["Body"]).splitlines())
    return Counter(json.loads(line)["fields"]["uid"] for line in lines)


@pytest.mark.mosquitto
def test_each_message_becomes_part_of_one_object_and_each_batch_of_objects_one_job_through_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages, seconds = 500, 2.0
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    dice = Random(seed)
    moments = sorted(dice.uniform(0.1, seconds) for _ in range(3))
    first, reload, second = (f"{moment:.2f} s" for moment in moments)
    say(capsys, f"E2E_SEED={seed}: killed at {first}, reloaded at {reload}, killed at {second} and over a start")
    sandbox = Sandbox.open(keys=[Key("AK", "SK")], executions_wait=0.0, executions_take=0.15)
    with broker(tmp_path) as plant, object_store() as store, in_a_thread(sandbox) as far:
        far.flow.add_job(JOB)
        agent_toml = tables(plant.url, store, far)
        # Runs are counted by the day: it is about noon wherever this agent is, and no new day begins meanwhile.
        noon = {"TZ": f"NOON{time.gmtime().tm_hour - 12:+d}"}
        with AgentProcess(tmp_path / "agent", agent_toml, noon) as agent:
            agent.start()
            assert agent.child is not None
            subscribed(agent)
            far.faults.add(reset(stage="stored").only(dataset=START, count=1))  # the first answer is lost
            publisher = Publisher(plant.port)
            began = time.monotonic()
            publishing = Background(lambda: publisher.publish(range(messages), state_payload, rate=messages / seconds))
            for what, moment in enumerate(moments):
                # The moment is the dice's choice; nothing is waited for here.
                time.sleep(max(0.0, began + moment - time.monotonic()))
                if what == 1:
                    wait_for("the agent to hear signals", agent.is_ready)
                    agent.configure(agent_toml.replace('poll = "100ms"', 'poll = "110ms"'))
                    agent.child.send_signal(signal.SIGHUP)
                else:
                    agent.kill()
                    agent.start(ready=False)
            publishing.result()
            publisher.close()
            # Between a start and its answer, which never comes.
            far.faults.add(hang(stage="stored").only(dataset=START, count=1))
            hits = far.faults.hits
            publisher = Publisher(plant.port)
            publisher.publish(range(messages, messages + 20 * AFTER), state_payload)
            publisher.close()
            messages += 20 * AFTER
            wait_for("a start", lambda: far.faults.hits > hits)
            agent.kill()
            agent.start()
            wait_for("all to be stored", lambda: sum(stored(store).values()) >= messages)
            wait_for("the rule to be done", lambda: drained(agent, "bucket") and _is_done(agent))
            rule = agent.status()["dataflow"]["etl"]
            objects, runs = store.names(), _runs(far)
            say(capsys, f"{messages} messages in {len(objects)} objects, {len(runs)} runs; {rule['waiting']} wait")
            assert stored(store) == Counter(uid(number) for number in range(messages))
            assert len(runs) == rule["runs_today"]
            batches = _batches(agent)
            assert batches.keys() == {run.id for run in runs}
            assert min(batches.values()) >= AFTER
            assert sum(batches.values()) + rule["waiting"] == len(objects)
            assert agent.stop() == 0
            assert len(_runs(far)) == len(runs)
            assert_books_balance(agent)


def _runs(far: Sandbox) -> list[Execution]:
    return far.flow.executions(JOB)


def _batches(agent: AgentProcess) -> dict[str, int]:
    """Of how many objects each execution was, as the log has it at its start or, after a kill, at its end alone."""
    found = re.findall(r"Data Flow run has (?:started|completed) .* execution=(\w+) objects=(\d+)", agent.text())
    return {execution: int(objects) for execution, objects in found}


def _is_done(agent: AgentProcess) -> bool:
    rule = agent.status()["dataflow"]["etl"]
    return bool(rule["state"] == "waiting" and rule["waiting"] < AFTER)
