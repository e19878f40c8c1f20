"""SIGHUP while everything works, and while a sink hangs: what changed is swapped, what did not notices nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from e2e import scene as e2e
from processes import AgentProcess
from service.reloading import connects, hup, outcomes

from faults.rows import fault
from faults.stage import PATIENCE, Scene, Stage, lake, wait_for

RATE = 1000.0  # messages a second
PART, EXTRA = "part", "extra"
# Seconds a reload may take beside a sink that hangs for longer: what it has under way gets one for its answer.
SHORT = 5.0


@fault("reload-under-load")
def under_load(stage: Stage) -> None:
    """
    One part after the other changes: a sink, its selection, a collector, rules, the log; others come and go.

    The collector `plant` and the sink `lake` stay as they are; `barn` and `part` are changed all the time.
    """
    folder = stage.place()
    with (
        e2e.broker(folder) as broker,
        e2e.cloud(folder, e2e.DATASET, PART, EXTRA) as cloud,
        AgentProcess(folder / "agent", _config(broker.url, cloud.url, 0)) as agent,
    ):
        receivers = [lake(cloud), lake(cloud, PART, "part")]
        scene = Scene(folder, agent, receivers, stage.rng, broker, cloud, trials=stage.times)
        agent.start()
        for name in ("plant", "barn"):
            e2e.subscribed(agent, name)
        publishing = e2e.Background(lambda: _publish_until(scene, is_over=lambda: len(outcomes(agent)) >= stage.times))
        seconds = []
        for n in range(1, stage.times + 1):
            agent.configure(_config(broker.url, cloud.url, n, is_broken=n % 10 == 0))
            began = time.monotonic()
            hup(agent)
            wait_for("the reload", lambda n=n: len(outcomes(agent)) >= n)
            seconds.append(time.monotonic() - began)
            time.sleep(stage.rng.uniform(0.0, 0.05))  # the moment of the next is the dice's choice
        publishing.result(PATIENCE)
        scene.settle()
        stage.judge(scene)
    broken = stage.times // 10
    found = [each.split(" ")[0] for each in outcomes(agent)]
    stage.outcome.notes |= {"longest reload in seconds": round(max(seconds), 3)}
    _expect(stage, "swaps", found.count("reloaded"), stage.times - broken)
    _expect(stage, "files refused", found.count("not"), broken)
    _expect(stage, "connections of the collector that stays", connects(broker, "plant"), 1)
    _expect(stage, "copies beyond the first", stage.outcome.twice, 0)


def _publish_until(scene: Scene, is_over: Callable[[], bool]) -> None:
    """To both collectors in turn, at the rate of the row."""
    publisher, first = scene.publisher(), 0
    while not is_over():
        some = range(first, first + int(RATE / 4))
        publisher.publish(some, e2e.state_payload, topic=lambda n: f"{('plant', 'barn')[n % 2]}/{n % 50}", rate=RATE)
        first = some.stop
    publisher.close()


def _config(broker: str, cloud: str, n: int, *, is_broken: bool = False) -> str:
    """The n-th: each differs from the one before in one or two parts."""
    turn, kind = divmod(n, 6)
    part = f"batch_records = {200 + turn + (kind >= 1)}\n"  # the sink
    selection = f'select = ["mqtt.*"]\nexclude = ["none-{turn + (kind >= 2)}"]\n'  # its selection: another lane
    barn = f'coalesce = "{20 + turn % 2 + (kind >= 3)}ms"'
    rules = f'[[events]]\nname = "hot"\nwhen = "mqtt.plant.temperature > {1000 + turn + (kind >= 4)}"\n'
    comes_and_goes = e2e.obsrv_sink(cloud, "extra", dataset=EXTRA, more='start = "newest"') if kind >= 5 else ""
    level = f'[log]\nlevel = "{"debug" if kind == 5 else "info"}"\n'
    text = (
        e2e.AGENT
        + level
        + e2e.mqtt_collector(broker, "plant/#")
        + e2e.mqtt_collector(broker, "barn/#", "barn", options=barn)
        + e2e.obsrv_sink(cloud, more='select = "mqtt.*"')
        + e2e.obsrv_sink(cloud, "part", dataset=PART, more=part + selection)
        + comes_and_goes
        + rules
    )
    return text.replace("timeout", "timeuot", 1) if is_broken else text


@fault("reload-in-outage")
def in_outage(stage: Stage) -> None:
    """A sink hangs for a minute: another part is changed, then that sink; neither reload waits for it."""
    for _ in range(stage.times):
        notes = f'[sinks.notes]\ntype = "file"\npath = "{stage.folder}/notes"\nkeep = 5\n'
        with stage.scene(timeout="60s", sink='linger = "20ms"', more=notes) as scene:
            scene.cloud.fault("hang", stage="stored")
            scene.publish(range(500))
            wait_for("a request that hangs", lambda scene=scene: scene.cloud.hits() > 0)
            config = scene.agent.config.read_text()
            config = config.replace("keep = 5", "keep = 6")
            beside = _reload(scene, config)
            scene.publish(range(500, 800), name="later")
            scene.cloud.heal()  # for what comes: the request under way goes on hanging
            itself = _reload(scene, config.replace('timeout = "60s"', 'timeout = "50s"'))
            scene.settle()
        stage.outcome.notes |= {"seconds beside it": round(beside, 2), "seconds of itself": round(itself, 2)}
        if max(beside, itself) > SHORT:
            stage.outcome.problems.append(f"reloads took {beside:.1f} and {itself:.1f} s")
    _expect(stage, "copies beyond the first", stage.outcome.twice, 0)


def _reload(scene: Scene, text: str) -> float:
    before = len(outcomes(scene.agent))
    scene.agent.config.write_text(text)
    began = time.monotonic()
    hup(scene.agent)
    wait_for("the reload", lambda: len(outcomes(scene.agent)) > before)
    return time.monotonic() - began


def _expect(stage: Stage, what: str, found: object, expected: object) -> None:
    stage.outcome.notes[what] = found
    if found != expected:
        stage.outcome.problems.append(f"{what}: {found}, and not {expected}")
