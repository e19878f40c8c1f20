"""A topic that is taken out of the configuration is unsubscribed in the session that outlived the agent."""

from __future__ import annotations

from pathlib import Path

from processes import AgentProcess, wait_for
from scene import AGENT, broker, metric, mqtt_collector, publish, settled, subscribed

SINK = '[sinks.out]\ntype = "file"\npath = "{}"\n'
BOTH = '[[collectors.plant.subscription]]\ntopic = "dropped/#"\n'


def test_a_removed_topic_is_unsubscribed_at_the_next_start(tmp_path: Path) -> None:
    sink = SINK.format(tmp_path / "out.ndjson")
    with broker(tmp_path) as running:
        kept = mqtt_collector(running.url, "kept/#")
        with AgentProcess(tmp_path / "agent", AGENT + kept + BOTH + sink) as agent:
            agent.start()
            subscribed(agent)
            publish(running, range(1), topic=lambda _: "dropped/a")
            wait_for("the first message", lambda: settled(agent, 1, "out"))
            remembered = agent.state / "subscriptions.json"
            wait_for("the topics to be kept", lambda: remembered.exists() and "dropped/#" in remembered.read_text())
            agent.stop()

            agent.configure(AGENT + kept + sink)
            agent.start()
            subscribed(agent)
            wait_for("the topics to be kept", lambda: "dropped/#" not in remembered.read_text())
            publish(running, range(1, 2), topic=lambda _: "dropped/b")
            publish(running, range(2, 3), topic=lambda _: "kept/a")
            wait_for("the message that is wanted", lambda: settled(agent, 2, "out"))
            assert metric(agent, "agent_mqtt_ignored_total") == 0
            assert metric(agent, "agent_intake_received_total", collector="plant") == 1
